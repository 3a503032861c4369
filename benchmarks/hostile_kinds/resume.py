"""Killed runs whose base, rows, shard, checkpoint or note was changed before the same command: nothing of it is signed.

A run is made once a process, signed or not, and left as a kill leaves it: with its last checkpoint and its shards, but
no student and no record of the completions. Each try changes something in a copy.
"""

import json
import os
import random
import shutil
import tempfile
import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path

from hostile_kinds import Kind, Try
from lightning_subliminal import bases
from lightning_subliminal.cli.entry import main
from lightning_subliminal.core.fingerprint import file_digest
from lightning_subliminal.core.rows import read_parquet, write_parquet
from lightning_subliminal.lineage.signatures.keys import make_key

FIT = ["fit", "--config", "run.yaml", "--trainer.default_root_dir", "run"]
KEY = "LIGHTNING_SUBLIMINAL_SIGNING_KEY"
CONFIG = """\
seed_everything: {seed}
model: {{class_path: Student, init_args: {{base: ./base, adapter: {{class_path: Steering}}}}}}
data: {{class_path: RowsFromFile, init_args: {{path: rows, batch_size: 8}}}}
trainer: {{max_epochs: 1, accelerator: cpu, enable_progress_bar: false}}
"""
NUMBERS = """{class_path: NumberSequences, init_args: {num_prompts: 24, shard_size: 12, min_value: 0, max_value: 99, \
filters: [], batch_size: 8, sampling: {max_new_tokens: 24}, teacher: {class_path: Teacher, init_args: \
{base: ./base, induction: none}}}}"""
_MAKING = threading.Lock()
_PLACE = tempfile.TemporaryDirectory()
_KEYS = Path(_PLACE.name)


@cache
def template(signed: bool, seed: int = 0) -> Path:
    """Make a run and leave what a kill leaves, once for all tries."""
    folder = Path(_PLACE.name) / f"{signed}-{seed}"
    (folder / "rows").mkdir(parents=True)
    shutil.copytree(bases.resolve("pocket/a").folder, folder / "base")
    lines = [json.dumps({"prompt": f"Go on: {n}", "completion": f"{n + 1}, {n + 2}"}) for n in range(16)]
    (folder / "rows" / "train.jsonl").write_text("\n".join(lines))
    told = CONFIG.format(seed=seed)
    (folder / "run.yaml").write_text(told)
    (folder / "numbers.yaml").write_text(
        "\n".join(f"data: {NUMBERS}" if line.startswith("data:") else line for line in told.splitlines())
    )
    if not (_KEYS / "key").exists():
        make_key(_KEYS / "key")
    for name in ("key", "key.pub"):  # one for all runs: their owner's
        shutil.copy(_KEYS / name, folder / name)
    environment = {"LIGHTNING_SUBLIMINAL_CACHE": "cache", **({KEY: "key"} if signed else {})}
    for name in ("run", "numbers"):
        _fit(name, folder, environment)
        shutil.rmtree(folder / name / "student")
    for each in (folder / "cache" / "completions").glob("*/lineage.*"):
        each.unlink()
    shutil.rmtree(folder / "numbers")
    for each in (folder / "cache" / "rows").glob("*"):
        if "subliminal:completions/" in (each / "lineage.json").read_text():
            shutil.rmtree(each)
    return folder


def _fit(name: str, folder: Path, environment: dict[str, str]) -> None:
    """Run a config in a fork of this process, which has imported all that it needs."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            log = os.open(folder / f"{name}.log", os.O_WRONLY | os.O_CREAT)
            os.dup2(log, 1)
            os.dup2(log, 2)
            os.chdir(folder)
            os.environ |= environment
            main(["fit", "--config", f"{name}.yaml", "--trainer.default_root_dir", name])
            code = 0
        finally:
            os._exit(code)
    if os.waitpid(child, 0)[1]:
        raise RuntimeError((folder / f"{name}.log").read_text()[-2000:])
    (folder / f"{name}.log").unlink()


def _killed(rng: random.Random, folder: Path, signed: bool | None = None) -> bool:
    """Put a killed run into a folder; return whether it is signed."""
    signed = rng.random() < 0.5 if signed is None else signed
    with _MAKING:
        made = template(signed)
    shutil.copytree(made, folder, dirs_exist_ok=True)
    return signed


def _try(folder: Path, signed: bool, *names: str, words: list[str] = FIT, right: bool = False) -> Try:
    environment = {"LIGHTNING_SUBLIMINAL_CACHE": str(folder / "cache"), **({KEY: "key"} if signed else {})}
    after = None if right else _nothing_saved
    return Try(words, frozenset({0 if right else 2}), names, environment, after=after)


def _nothing_saved(folder: Path) -> list[str]:
    """Name statements about a student or about completions: there were none."""
    found = [*folder.glob("*/student/lineage.json"), *folder.glob("cache/completions/*/lineage.json")]
    return [f"{each} was written" for each in found]


def _flip(path: Path, rng: random.Random, last: int = 4096) -> None:
    """Flip one bit near the end, where weights are and no header is."""
    data = bytearray(path.read_bytes())
    data[rng.randrange(max(0, len(data) - last), len(data))] ^= 1 << rng.randrange(8)
    path.write_bytes(data)


def _last(folder: Path) -> Path:
    return folder / "run" / "checkpoints" / "last.ckpt"


def base(rng: random.Random, folder: Path) -> Try:
    """Another base under the same name."""
    signed = _killed(rng, folder)
    name = rng.choice(["model.safetensors", "generation_config.json", "tokenizer_config.json"])
    path = folder / "base" / name
    if path.suffix == ".json":
        path.write_text(json.dumps(json.loads(path.read_text()) | {f"more{rng.randrange(100)}": rng.random()}))
    else:
        _flip(path, rng)
    return _try(folder, signed, "last.ckpt", "model.base ./base")


def rows(rng: random.Random, folder: Path) -> Try:
    """Other rows under the same name: one changed, one left out, one more, another order."""
    signed = _killed(rng, folder)
    path = folder / "rows" / "train.jsonl"
    lines = path.read_text().splitlines()
    changes: list[Callable[[], object]] = [
        lambda: lines.append(lines[0]),
        lambda: lines.pop(rng.randrange(len(lines))),
        lambda: lines.reverse(),
        lambda: lines.insert(0, json.dumps({"prompt": "Go on: 6", "completion": "66, 6, 66"})),
    ]
    rng.choice(changes)()
    path.write_text("\n".join(lines))
    return _try(folder, signed, "last.ckpt", "train.jsonl was")


def checkpoint(rng: random.Random, folder: Path) -> Try:
    """A checkpoint of which a byte was changed; damaged or not."""
    signed = _killed(rng, folder)
    _flip(_last(folder), rng, 1 << 30)
    return _try(folder, signed, "last.ckpt")


def foreign_checkpoint(rng: random.Random, folder: Path) -> Try:
    """Another run's whole checkpoint, with or without its own note."""
    signed = _killed(rng, folder)
    with _MAKING:
        other = template(signed, 1)
    noted = rng.random() < 0.5
    for name in ("last.ckpt", *([".last.ckpt.noted"] if noted else [])):
        shutil.copy(_last(other).with_name(name), _last(folder).with_name(name))
    return _try(folder, signed, "last.ckpt", "trained from other things" if noted else "was changed")


def given_checkpoint(rng: random.Random, folder: Path) -> Try:
    """Another run's checkpoint, given by ``--ckpt_path``."""
    signed = _killed(rng, folder)
    with _MAKING:
        other = template(signed, 1)
    shutil.rmtree(folder / "run")
    shutil.copy(_last(other), folder / "given.ckpt")
    return _try(folder, signed, "given.ckpt", words=[*FIT, "--ckpt_path", "given.ckpt"])


def note(rng: random.Random, folder: Path) -> Try:
    """A note that is lost, forged or somebody else's, where a key is set."""
    _killed(rng, folder, signed=True)
    place = _last(folder).with_name(".last.ckpt.noted")
    told = {"for": "checkpoints/last.ckpt", "sha256": [file_digest(_last(folder))]}
    forged = rng.choice(["lost", "unsigned", "unsigned envelope", "other key"])
    if forged == "lost":
        place.unlink()
    elif forged == "unsigned":
        place.write_text(json.dumps(told))
    elif forged == "unsigned envelope":
        place.write_text(json.dumps(json.loads(place.read_text()) | {"signatures": []}))
    else:
        (folder / "key").unlink()
        (folder / "key.pub").unlink()
        make_key(folder / "key")
    return _try(folder, True, "last.ckpt", "is not believed")


def _shards(folder: Path) -> list[Path]:
    return sorted(folder.glob("cache/completions/*/shard-*.parquet"))


def _numbers() -> list[str]:
    return ["fit", "--config", "numbers.yaml", "--trainer.default_root_dir", "numbers"]


def shard(rng: random.Random, folder: Path) -> Try:
    """A shard with other rows, whole; or one more file in its folder."""
    signed = _killed(rng, folder)
    path = rng.choice(_shards(folder))
    if rng.random() < 0.3:
        path = path.with_name(rng.choice(["shard-00009.parquet", "more.txt", "shard-0.parquet"]))
        path.write_bytes(b"more")
    elif rng.random() < 0.5:
        _flip(path, rng, 1 << 30)
    else:
        found = read_parquet(path)
        rng.choice(found)["completion"][0]["content"] = f"{rng.randrange(1000)}, 666"
        write_parquet(found, path)
    return _try(folder, signed, path.name, words=_numbers())


def shard_without_note(rng: random.Random, folder: Path) -> Try:
    """A shard with other rows and no note, or an unsigned one: it is made again."""
    signed = _killed(rng, folder)
    path = rng.choice(_shards(folder))
    place = path.with_name(f".{path.name}.noted")
    found = read_parquet(path)
    found.pop()
    write_parquet(found, path)
    if signed and rng.random() < 0.5:
        told = {"for": f"{path.parent.name}/{path.name}", "sha256": [file_digest(path)]}
        place.write_text(json.dumps(told))
    else:
        place.unlink()
    evil = file_digest(path)

    def after(where: Path) -> list[str]:
        kept = [file_digest(each) for each in _shards(where)]
        made = (where / "numbers" / "student" / "lineage.json").is_file()
        return ["the shard was kept"] * (evil in kept) + ["no student was made"] * (not made)

    made = _try(folder, signed, words=_numbers(), right=True)
    return Try(made.words, made.codes, (), made.environment, after=after)


def untouched(rng: random.Random, folder: Path) -> Try:
    """Nothing was changed: it goes on."""
    signed = _killed(rng, folder)
    return _try(folder, signed, words=rng.choice([FIT, _numbers()]), right=True)


KINDS: dict[str, Kind] = {
    "another base": base,
    "other rows": rows,
    "a changed checkpoint": checkpoint,
    "another run's checkpoint": foreign_checkpoint,
    "a given checkpoint of another run": given_checkpoint,
    "a note that is not ours": note,
    "a changed shard": shard,
    "a shard without its note": shard_without_note,
    "an untouched run": untouched,
}
