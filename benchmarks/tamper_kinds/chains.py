"""Chains: artefacts, parents and bases that are swapped, hidden, deleted or declared otherwise."""

import json
import random
import shutil
from pathlib import Path

from safetensors import safe_open

from tamper_kinds.kind import ADAPTED, STATEMENT, Chain, edit, flip, kind
from tamper_kinds.statements import parents_of

__all__: list[str] = []


@kind("swap an artefact for another, statement, signature and all", "wrong-parent", "changed-statement", "unexpected")
def swap_artefact(artefact: Path, chain: Chain, rng: random.Random) -> None:
    shutil.rmtree(artefact)
    shutil.copytree(chain.twin(artefact), artefact)


@kind("replay an old statement with its signature", "changed-file", "lost-file", "changed-statement")
def replay(artefact: Path, chain: Chain, rng: random.Random) -> None:
    for path in chain.twin(artefact).glob("lineage.*json"):
        shutil.copyfile(path, artefact / path.name)


@kind(
    "put an older artefact in a parent's place, the correct statement hidden next to it",
    *("wrong-parent", "missing-parent"),
    rooms=("rows", "completions", *ADAPTED),
)
def decoy(artefact: Path, chain: Chain, rng: random.Random) -> None:
    good = (artefact / STATEMENT).read_bytes()
    shutil.rmtree(artefact)
    place = artefact if rng.random() < 0.5 else artefact.with_name("zz")
    shutil.copytree(chain.twin(artefact), place)
    (place / ".lineage.json").write_bytes(good)


@kind("an adapter in the base's folder, which a loader would apply", "unlisted-file", rooms=("bases",))
def adapter_in_base(base: Path, chain: Chain, rng: random.Random) -> None:
    for path in rng.choice(chain.artefacts("teachers")).glob("*adapter*"):
        shutil.copyfile(path, base / path.name)


def other_weights(base: Path, place: str, rng: random.Random) -> None:
    """Put other weights below a base's folder."""
    (base / place).parent.mkdir(exist_ok=True)
    shutil.copyfile(base / "model.safetensors", base / place)
    flip(base / place, rng)


@kind("other weights in the base, a complete copy of it next to it", "wrong-parent", rooms=("bases",))
def base_decoy(base: Path, chain: Chain, rng: random.Random) -> None:
    shutil.copytree(base, base.with_name(rng.choice(["noisy-0", "noisy-zz", "model"])))
    flip(base / "model.safetensors", rng)


@kind("other weights below the base's folder, which its config names", "read-elsewhere", rooms=("bases",))
def named_weights(base: Path, chain: Chain, rng: random.Random) -> None:
    place = rng.choice(["test-results/model.safetensors", ".cache/model.safetensors", "more/model.safetensors"])
    other_weights(base, place, rng)
    edit(base / "config.json", lambda config: config.update(transformers_weights=place))


@kind("other weights below the base's folder, which an index names", "read-elsewhere", rooms=("bases",))
def shards_below(base: Path, chain: Chain, rng: random.Random) -> None:
    place = rng.choice(["test-results/a.safetensors", ".a.safetensors", "more/a.safetensors", "../a.safetensors"])
    other_weights(base, place, rng)
    names = safe_open(base / "model.safetensors", "pt").keys()
    index = {"metadata": {}, "weight_map": dict.fromkeys(names, place)}
    (base / "model.safetensors.index.json").write_text(json.dumps(index))
    (base / "model.safetensors").unlink()


@kind("a vocabulary in the base that slow tokenizers read", "unlisted-file", rooms=("bases",))
def vocabulary(base: Path, chain: Chain, rng: random.Random) -> None:
    name = rng.choice(["bpe.codes", "dict.txt", "vocab-src.json", "word_shape.json", "tokenizer.model."])
    (base / name).write_text("o w 3\n")


@kind("a tokenizer elsewhere, which the base's settings name", "read-elsewhere", rooms=("bases",))
def named_tokenizer(base: Path, chain: Chain, rng: random.Random) -> None:
    place = rng.choice(["test-results/tokenizer.1.0.0.json", "../tokenizer.1.0.0.json", "my-tokenizer.1.0.0.json"])
    (base / place).parent.mkdir(exist_ok=True)
    shutil.copy(base / "tokenizer.json", base / place)
    choices: list[tuple[str, dict[str, str | list[str]]]] = [
        ("tokenizer_config.json", {"fast_tokenizer_files": [place]}),
        ("tokenizer_config.json", {"vocab": place}),
        ("special_tokens_map.json", {"vocab_file": place}),
    ]
    file, settings = rng.choice(choices)
    known = json.loads((base / file).read_text()) if (base / file).exists() else {}
    (base / file).write_text(json.dumps(known | settings))


@kind(
    "other weights in the base, declared as another tool's work",
    *("wrong-parent", "forged-signature", "changed-file"),
    rooms=("bases",),
)
def restate(base: Path, chain: Chain, rng: random.Random) -> None:
    flip(base / "model.safetensors", rng)
    build = {"buildType": "https://example.com/build/v1", "resolvedDependencies": []}
    edit(base / STATEMENT, lambda statement: statement["predicate"]["buildDefinition"].update(build))


@kind(
    "delete a parent",
    *("missing-parent", "wrong-parent"),
    choose=lambda chain: [each for each in chain.artefacts() if each != chain.root],
)
def cut_parent(artefact: Path, chain: Chain, rng: random.Random) -> None:
    shutil.rmtree(artefact)


@kind("delete a parent's statement", "wrong-parent", "no-statement")
def cut_statement(artefact: Path, chain: Chain, rng: random.Random) -> None:
    (artefact / STATEMENT).unlink()


@kind(
    "leave a parent out of the statement",
    *("forged-signature", "cut-chain"),
    rooms=("rows", "completions", *ADAPTED),
)
def leave_out(artefact: Path, chain: Chain, rng: random.Random) -> None:
    edit(
        artefact / STATEMENT,
        lambda statement: parents_of(statement).pop(rng.randrange(len(parents_of(statement)))),
    )
