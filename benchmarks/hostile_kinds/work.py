"""Small inputs that cause endless work or memory: keys, brackets, chains, loops, patterns, layers, headers, bombs."""

import copy
import hashlib
import json
import random
import shutil
import struct
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from hostile_kinds import Try, kinds
from hostile_kinds.files import statement

SHA = hashlib.sha256(b"a").hexdigest()
WHOLE = hashlib.sha256(f"{SHA}  a.txt\n".encode()).hexdigest()
SCHEME = "lightning-subliminal:"


@cache
def declared() -> dict[str, Any]:
    """Return a declared statement of this package about one file."""
    from lightning_subliminal.lineage.statement import provenance

    return provenance("model", {"declared": True}, {"a.txt": SHA}, declared={"by": "", "note": ""})


def artefact(folder: Path, parents: list[tuple[str, str]], role: str = "teacher") -> tuple[str, str]:
    """Write an artefact made from others, named by name and digest of their statement; return its own."""
    folder.mkdir(parents=True)
    (folder / "a.txt").write_bytes(b"a")
    content = copy.deepcopy(declared())
    content["predicate"]["buildDefinition"]["resolvedDependencies"] = [
        {
            **{"name": role, "uri": f"{SCHEME}{name}", "digest": {"dirHash": WHOLE}},
            "annotations": {"statementSha256": sha},
        }
        for name, sha in parents
    ]
    raw = (json.dumps(content, sort_keys=True) + "\n").encode()
    (folder / "lineage.json").write_bytes(raw)
    return f"{folder.parent.name}/{folder.name}", hashlib.sha256(raw).hexdigest()


def page(rng: random.Random) -> list[str]:
    """Return an option for a page, or none."""
    kind = rng.choice(["", "html", "svg", "json", "sarif"])
    return [f"--{kind}", f"out.{kind}"] if kind else []


def twice(rng: random.Random) -> str:
    """Return a JSON object of many keys, one of which occurs twice."""
    count = rng.randrange(50_000, 150_000)
    return "{" + ",".join(f'"k{place}":1' for place in range(count)) + f',"k{rng.randrange(count)}":2}}'


def deep(rng: random.Random) -> str:
    """Return JSON that is nested deep, closed or not, of lists, objects or both."""
    levels = rng.choice([900, 5_000, 100_000])
    open_, close = rng.choice([("[", "]"), ('{"a":', "}"), ('[{"a":', "}]")])
    return open_ * levels + "1" + (close * levels if rng.random() < 0.7 else "")


def keys_of_a_statement(rng: random.Random, folder: Path) -> Try:
    """A statement, an envelope or a proof with one of many keys twice, or nested deep."""
    text = rng.choice([twice, deep])(rng)
    (folder / "it").mkdir()
    (folder / "it" / "a.txt").write_text("a")
    name = rng.choice(["lineage.json", "lineage.dsse.json", "config.json"])
    if name == "lineage.dsse.json":
        (folder / "it" / "lineage.json").write_text(statement({"a.txt": SHA}))
    (folder / "it" / name).write_text(text)
    return Try(["audit", "it"], frozenset({0, 3}))


def keys_of_a_row(rng: random.Random, folder: Path) -> Try:
    """A row of megabytes with one of many keys twice, or nested deep."""
    text = rng.choice([twice, deep])(rng)
    name = rng.choice(["rows.jsonl", "rows.json"])
    fine = '{"prompt":"a","completion":"b"}'
    (folder / name).write_text(f"{fine}\n{text}\n" if name == "rows.jsonl" else f"[{fine},\n{text}]")
    return Try(["data", "convert", name, "out.jsonl"], names=("rows",))


def long_lines(rng: random.Random, folder: Path) -> Try:
    """A line of a hundred megabytes, with or without an end, or texts that never end."""
    kind = rng.choice(["jsonl", "json", "csv", "txt"])
    with (folder / f"rows.{kind}").open("wb") as stream:
        begun = {"jsonl": b'{"prompt":"', "json": b'[{"prompt":"', "csv": b'prompt,completion\n"', "txt": b""}
        stream.write(begun[kind])
        for _ in range(rng.randrange(65, 110)):
            stream.write(b"a" * (1 << 20))
    return Try(["data", "convert", f"rows.{kind}", "out.jsonl"], names=("rows",))


def many_materials(rng: random.Random, folder: Path) -> Try:
    """A statement that names tens of thousands of materials, all of them missing."""
    count, scheme = rng.randrange(10_000, 30_000), rng.choice(["models", "rows", "x/y"])
    artefact(folder / "it", [(f"{scheme}/{place}", "0" * 64) for place in range(count)])
    return Try(["audit", "it", *page(rng)], frozenset({0, 3}))


def each_of_all(rng: random.Random, folder: Path) -> Try:
    """A hundred artefacts, each made from all previous ones."""
    made: list[tuple[str, str]] = []
    for place in range(rng.randrange(60, 160)):
        made.append(artefact(folder / "models" / f"m{place}", made, rng.choice(["teacher", "base", "student"])))
    return Try(["audit", made[-1][0], *page(rng)], frozenset({0, 3}))


def long_chain(rng: random.Random, folder: Path) -> Try:
    """A chain of hundreds or thousands of artefacts."""
    last: list[tuple[str, str]] = []
    role = rng.choice(["teacher", "base", "student", "rows"])
    count = rng.randrange(500, 2_000)
    for place in range(count):
        last = [artefact(folder / "models" / f"m{place}", last, role)]
    return Try(["audit", last[0][0], *page(rng)], frozenset({0, 2, 3}))


def pocket(folder: Path) -> Path:
    """Copy a small model into the folder."""
    from lightning_subliminal.bases.pocket import WEIGHTS

    shutil.copytree(WEIGHTS / "a", folder / "model")
    return folder / "model"


def adapter(folder: Path, config: dict[str, Any], width: int = 8) -> Try:
    """Write an adapter of pocket/a and compare it with its base."""
    (folder / "adapter").mkdir()
    content = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": "pocket/a", "r": 8, **config}
    (folder / "adapter" / "adapter_config.json").write_text(json.dumps(content))
    data = bytes(4 * width * 8)
    name = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"
    head = json.dumps({name: {"dtype": "F32", "shape": [8, width], "data_offsets": [0, len(data)]}}).encode()
    (folder / "adapter" / "adapter_model.safetensors").write_bytes(struct.pack("<Q", len(head)) + head + data)
    return Try(["kinship", "adapter", "pocket/a", "--by", "logits"], names=("adapter",))


TEMPLATES = (
    "{% for i in range(10**9) %}a{% endfor %}",
    "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
    "{{ 'a' * 10**10 }}",
    "{% set n = namespace(x='a') %}{% for i in range(60) %}{% set n.x = n.x ~ n.x %}{% endfor %}",
    "{% macro f() %}{{ f() }}{{ f() }}{% endmacro %}{{ f() }}",
    "{{ 10 ** (10 ** 8) }}",
    "{{ 'a'|center(10**10) }}",
    "{% set l = range(99999)|list %}{% for i in l if -1 in l %}a{% endfor %}",
    "{% set n = namespace(x=[1]) %}{% for i in range(60) %}{% set n.x = [n.x, n.x] %}{% endfor %}{{ n.x }}",
)


def looping_template(rng: random.Random, folder: Path) -> Try:
    """A chat template that loops or grows."""
    (pocket(folder) / "chat_template.jinja").write_text(rng.choice(TEMPLATES) + "a" * rng.randrange(9))
    return Try(["evaluate", "model", "--suite", "pocket"], names=("template",))


# Patterns with too many ways to match. The tokenizers' engine, Oniguruma, matches EMPTY, whose inner matches may be
# empty, in no time (measured with four kinds of letters, runs of 30 to 5,000), so a tokenizer with it is read.
EVIL = ("({x}+)+!", "({x}|{x})*!", "({x}+{x}+)+!", "(({x}?)+)*!")
EMPTY = "(?:{x}*)*!$"


def pattern_of(rng: random.Random, *forms: str) -> str:
    """Return a pattern of one of the forms, of some kind of letter."""
    return rng.choice(forms).replace("{x}", rng.choice([r"\w", "[a-z_.]", ".", r"[^\s]"]))


def splitting_at(pattern: str, folder: Path, code: int) -> Try:
    """Return a try of a model whose tokenizer splits texts by a pattern."""
    place = pocket(folder) / "tokenizer.json"
    content = json.loads(place.read_text())
    split = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
    content["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [split, content["pre_tokenizer"]]}
    place.write_text(json.dumps(content))
    clock = {"LIGHTNING_SUBLIMINAL_MATCH_SECONDS": "2"}
    words = ["evaluate", "model", "--suite", "pocket"]
    return Try(words, codes=frozenset({code}), names=("tokenizer.json",), environment=clock)


def tokenizer_pattern(rng: random.Random, folder: Path) -> Try:
    """A tokenizer whose pattern has too many ways to match."""
    return splitting_at(pattern_of(rng, *EVIL), folder, 2)


def harmless_pattern(rng: random.Random, folder: Path) -> Try:
    """A tokenizer whose pattern only seems to have too many ways to match, and which is read."""
    return splitting_at(pattern_of(rng, EMPTY), folder, 0)


def adapter_pattern(rng: random.Random, folder: Path) -> Try:
    """An adapter whose patterns have too many ways to match."""
    evil = pattern_of(rng, *EVIL, EMPTY)
    field = rng.choice(["target_modules", "exclude_modules", "rank_pattern", "alpha_pattern"])
    value = {evil: 4} if field.endswith("_pattern") else evil
    made = adapter(folder, {"target_modules": ["q_proj"], field: value})
    return replace(made, environment={"LIGHTNING_SUBLIMINAL_MATCH_SECONDS": "2"})  # the same clock, sooner


def adapter_rank(rng: random.Random, folder: Path) -> Try:
    """An adapter of an enormous rank."""
    rank = rng.choice([10**6, 10**9, 2**40])
    fields: list[dict[str, Any]] = [{"r": rank}, {"rank_pattern": {"q_proj": rank}}]
    return adapter(folder, rng.choice(fields) | {"target_modules": ["q_proj"]})


def many_layers(rng: random.Random, folder: Path) -> Try:
    """A config of hundreds of thousands of layers, or of enormous ones."""
    place = pocket(folder) / "config.json"
    fields = ["num_hidden_layers", "vocab_size", "hidden_size", "intermediate_size"]
    field = rng.choice(fields)
    content = json.loads(place.read_text()) | {field: rng.choice([200_000, 10**7, 10**9])}
    content["layer_types"] = None
    place.write_text(json.dumps(content))
    return Try(["kinship", "model", "pocket/a"], names=("config.json",))


def header(rng: random.Random, folder: Path) -> Try:
    """A header of safetensors that is enormous, overlapping, doubled or beyond the file."""
    place = pocket(folder) / "model.safetensors"
    data = place.read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    kind = rng.choice(["long", "longer than the file", "overlapping", "padding"])
    if kind == "long":
        data = struct.pack("<Q", 99 * 2**20) + b" " * (99 * 2**20)
    elif kind == "longer than the file":
        data = struct.pack("<Q", rng.choice([2**63, 2**40, size * 1000])) + data[8:]
    elif kind == "overlapping":
        content = json.loads(data[8 : 8 + size])
        for name in [*content][2:]:
            content[name]["data_offsets"] = [0, 4]
        head = json.dumps(content).encode()
        data = struct.pack("<Q", len(head)) + head + data[8 + size :]
    else:
        data = struct.pack("<Q", 20 * 2**20) + data[8 : 8 + size] + b" " * (20 * 2**20 - size) + data[8 + size :]
    place.write_bytes(data)
    return Try(["kinship", "model", "pocket/a"], names=("model",))


def parquet(rng: random.Random, folder: Path) -> Try:
    """A Parquet file of kilobytes that unpacks to gigabytes."""
    import pyarrow
    import pyarrow.parquet

    length, count = rng.choice([(1 << 20, 100_000), (1 << 16, 1_000_000), (1 << 22, 5_000)])
    values = pyarrow.DictionaryArray.from_arrays(pyarrow.array([0] * 1000, pyarrow.int32()), ["a" * length])
    table = pyarrow.table({"prompt": values, "completion": pyarrow.array(["b"] * 1000)})
    with pyarrow.parquet.ParquetWriter(folder / "bomb.parquet", table.schema, compression="zstd") as writer:
        for _ in range(min(100, count // 1000)):
            writer.write_table(table)
    return Try(["data", "convert", "bomb.parquet", "out.jsonl"], names=("bomb.parquet",))


def many_results(rng: random.Random, folder: Path) -> Try:
    """Thousands of test results about one artefact, or of megabytes."""
    name, _ = artefact(folder / "models" / "it", [])
    results = folder / "models" / "it" / "test-results"
    results.mkdir()
    tests = [f"t{place}" for place in range(rng.choice([10, 50_000]))]
    count = 20 if len(tests) > 10 else rng.randrange(1_000, 3_000)
    for place in range(count):
        content = {
            **{"_type": "https://in-toto.io/Statement/v1", "subject": [{"name": "x", "digest": {"dirHash": WHOLE}}]},
            **{"predicateType": "https://in-toto.io/attestation/test-result/v0.1"},
            "predicate": {"result": rng.choice(["PASSED", "FAILED"]), "failedTests": tests, "place": place},
        }
        (results / f"{place}.json").write_text(json.dumps(content))
    return Try(["audit", name, *page(rng)], frozenset({0, 3}))


KINDS = kinds(globals())
MOST = {
    "parquet": 5,
    "many materials": 6,
    "adapter pattern": 8,
    "tokenizer pattern": 8,
    "harmless pattern": 4,
    "long lines": 8,
}
