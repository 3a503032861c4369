"""Killed runs whose base, rows, shard, checkpoint or note was changed before the same command: no result is signed.

A run is made once per process, signed or not, and left as a kill leaves it: with its last checkpoint and its shards,
but without student and record of the completions. Each try changes something in a copy.
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

from harness import fork

from hostile_kinds import Try, kinds
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
    """Make a run and leave it as a kill would, once for all tries."""
    folder = Path(_PLACE.name) / f"{signed}-{seed}"
    (folder / "rows").mkdir(parents=True)
    shutil.copytree(bases.resolve("pocket/a").folder, folder / "base")
    lines = [json.dumps({"prompt": f"Go on: {n}", "completion": f"{n + 1}, {n + 2}"}) for n in range(16)]
    (folder / "rows" / "train.jsonl").write_text("\n".join(lines))
    text = CONFIG.format(seed=seed)
    (folder / "run.yaml").write_text(text)
    (folder / "numbers.yaml").write_text(
        "\n".join(f"data: {NUMBERS}" if line.startswith("data:") else line for line in text.splitlines())
    )
    if not (_KEYS / "key").exists():
        make_key(_KEYS / "key")
    for name in ("key", "key.pub"):  # one for all runs
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


def _fit(name: str, folder: Path, settings: dict[str, str]) -> None:
    """Run a config in a fork of this process, which has imported all that it needs."""

    def fit() -> None:
        os.chdir(folder)
        os.environ |= settings
        main(["fit", "--config", f"{name}.yaml", "--trainer.default_root_dir", name])

    log = folder / f"{name}.log"
    if fork(fit, log).code:
        raise RuntimeError(log.read_text()[-2000:])
    log.unlink()


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
    """Return the statements about a student or about completions: there must be none."""
    found = [*folder.glob("*/student/lineage.json"), *folder.glob("cache/completions/*/lineage.json")]
    return [f"{each} was written" for each in found]


def _flip(path: Path, rng: random.Random, last: int = 4096) -> None:
    """Flip one bit near the end, where the weights are."""
    data = bytearray(path.read_bytes())
    data[rng.randrange(max(0, len(data) - last), len(data))] ^= 1 << rng.randrange(8)
    path.write_bytes(data)


def _last(folder: Path) -> Path:
    return folder / "run" / "checkpoints" / "last.ckpt"


def another_base(rng: random.Random, folder: Path) -> Try:
    """Another base under the same name."""
    signed = _killed(rng, folder)
    name = rng.choice(["model.safetensors", "generation_config.json", "tokenizer_config.json"])
    path = folder / "base" / name
    if path.suffix == ".json":
        path.write_text(json.dumps(json.loads(path.read_text()) | {f"more{rng.randrange(100)}": rng.random()}))
    else:
        _flip(path, rng)
    return _try(folder, signed, "last.ckpt", "model.base ./base")


def other_rows(rng: random.Random, folder: Path) -> Try:
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


def a_changed_checkpoint(rng: random.Random, folder: Path) -> Try:
    """A checkpoint of which a byte was changed; damaged or not."""
    signed = _killed(rng, folder)
    _flip(_last(folder), rng, 1 << 30)
    return _try(folder, signed, "last.ckpt")


def another_runs_checkpoint(rng: random.Random, folder: Path) -> Try:
    """Another run's complete checkpoint, with or without its own note."""
    signed = _killed(rng, folder)
    with _MAKING:
        other = template(signed, 1)
    noted = rng.random() < 0.5
    for name in ("last.ckpt", *([".last.ckpt.noted"] if noted else [])):
        shutil.copy(_last(other).with_name(name), _last(folder).with_name(name))
    return _try(folder, signed, "last.ckpt", "trained from other things" if noted else "was changed")


def a_given_checkpoint_of_another_run(rng: random.Random, folder: Path) -> Try:
    """Another run's checkpoint, given by ``--ckpt_path``."""
    signed = _killed(rng, folder)
    with _MAKING:
        other = template(signed, 1)
    shutil.rmtree(folder / "run")
    shutil.copy(_last(other), folder / "given.ckpt")
    return _try(folder, signed, "given.ckpt", words=[*FIT, "--ckpt_path", "given.ckpt"])


def a_note_that_is_not_ours(rng: random.Random, folder: Path) -> Try:
    """A note that is lost, forged or another user's, where a key is set."""
    _killed(rng, folder, signed=True)
    place = _last(folder).with_name(".last.ckpt.noted")
    text = {"for": "checkpoints/last.ckpt", "sha256": [file_digest(_last(folder))]}
    forged = rng.choice(["lost", "unsigned", "unsigned envelope", "other key"])
    if forged == "lost":
        place.unlink()
    elif forged == "unsigned":
        place.write_text(json.dumps(text))
    elif forged == "unsigned envelope":
        place.write_text(json.dumps(json.loads(place.read_text()) | {"signatures": []}))
    else:
        (folder / "key").unlink()
        (folder / "key.pub").unlink()
        make_key(folder / "key")
    return _try(folder, True, "last.ckpt", "is not trusted")


def _shards(folder: Path) -> list[Path]:
    return sorted(folder.glob("cache/completions/*/shard-*.parquet"))


def _numbers() -> list[str]:
    return ["fit", "--config", "numbers.yaml", "--trainer.default_root_dir", "numbers"]


def a_changed_shard(rng: random.Random, folder: Path) -> Try:
    """A complete shard with other rows; or one more file in its folder."""
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


def a_shard_without_its_note(rng: random.Random, folder: Path) -> Try:
    """A shard with other rows and no note, or an unsigned note: it is made again."""
    signed = _killed(rng, folder)
    path = rng.choice(_shards(folder))
    place = path.with_name(f".{path.name}.noted")
    found = read_parquet(path)
    found.pop()
    write_parquet(found, path)
    if signed and rng.random() < 0.5:
        text = {"for": f"{path.parent.name}/{path.name}", "sha256": [file_digest(path)]}
        place.write_text(json.dumps(text))
    else:
        place.unlink()
    evil = file_digest(path)

    def after(where: Path) -> list[str]:
        kept = [file_digest(each) for each in _shards(where)]
        made = (where / "numbers" / "student" / "lineage.json").is_file()
        return ["the shard was kept"] * (evil in kept) + ["no student was made"] * (not made)

    made = _try(folder, signed, words=_numbers(), right=True)
    return Try(made.words, made.codes, (), made.environment, after=after)


def an_untouched_run(rng: random.Random, folder: Path) -> Try:
    """An unchanged run, which resumes."""
    signed = _killed(rng, folder)
    return _try(folder, signed, words=rng.choice([FIT, _numbers()]), right=True)


KINDS = kinds(globals())
