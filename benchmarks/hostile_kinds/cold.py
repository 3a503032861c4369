"""Files whose own code must not run: modules in the working folder that libraries import if they exist."""

import json
import random
from pathlib import Path

from hostile_kinds import Try, kinds, payload

SHADOWED = ("gmpy2", "sitecustomize", "ujson", "orjson", "brotli", "zstandard", "colorama", "uvloop", "cupy", "jax")


def _shadowing(folder: Path) -> None:
    for name in SHADOWED:
        (folder / f"{name}.py").write_text(payload(name))


def audit_beside_a_module(rng: random.Random, folder: Path) -> Try:
    """An artefact in a folder with modules that libraries look for."""
    _shadowing(folder)
    (folder / "rows").mkdir()
    (folder / "rows" / "train.jsonl").write_text(json.dumps({"prompt": "a", "completion": str(rng.random())}) + "\n")
    return Try(["audit", "rows"], frozenset({0, 3}), cold=True)


def convert_beside_a_module(rng: random.Random, folder: Path) -> Try:
    """A data file in a folder with modules that libraries look for."""
    _shadowing(folder)
    (folder / "rows.jsonl").write_text(json.dumps({"prompt": "a", "completion": str(rng.random())}) + "\n")
    return Try(["data", "convert", "rows.jsonl", "out.jsonl"], frozenset({0}), cold=True)


def other_verbs_beside_a_module(rng: random.Random, folder: Path) -> Try:
    """Verbs that need no file of the folder, in a folder with modules that libraries look for."""
    _shadowing(folder)
    (folder / "runs").mkdir()
    words = [["runs", "list"], ["cache", "list"], ["configs", "list"], ["traits", "check", "owl"], ["traits", "list"]]
    return Try(rng.choice(words), frozenset({0}), cold=True)


def plan_beside_a_module(rng: random.Random, folder: Path) -> Try:
    """A plan that names existing and missing classes, in a folder with modules that libraries look for."""
    _shadowing(folder)
    trial = rng.choice(["StudentTrial", "nobody.Trial", "sympy.Symbol", "lightning_subliminal.nobody.Trial"])
    (folder / "f.yaml").write_text(f"{{title: a, common: owl_numbers, arms: {{a: {{}}}}, trial: {trial}}}")
    return Try(["run", "--config", "f.yaml", "--dry-run"], frozenset({0 if trial == "StudentTrial" else 2}), cold=True)


KINDS = kinds(globals())
MOST = dict.fromkeys(KINDS, 4)  # five seconds each, for the imports
