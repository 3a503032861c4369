"""Detection of tamperings by an audit, each for a correct reason, and false alarms on untouched chains.

    python benchmarks/tampering.py                       # 1,000 tamperings, 200 clean audits: 5 minutes on one core
    python benchmarks/tampering.py --tamperings 80 --clean 20

A small chain is made as `fit` makes it and signed: teacher, completions, rows, student, a second generation that the
student writes, and an evaluation. Each tampering is done on a fresh copy, by a user without the key. The audit trusts
the key, and gets the digest that the artefact should have, since without it an old chain with its old signatures is as
valid as a new one. Then the same tamperings are done on an unsigned chain without such a digest, to show what is found
without keys.

A tampering counts as found if a finding at the level of an error has its reason and names the artefact.
"""

import argparse
import random
import shutil
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import harness
import torch
from harness import environment
from rich.table import Table
from tamper_kinds import KINDS, Chain, Tampering

from lightning_subliminal import NumberSequences, PreferenceTrait, Sampling, Steering, Student, Teacher
from lightning_subliminal.audit import Audit, Digests, audit
from lightning_subliminal.core.console import console, progress
from lightning_subliminal.lineage.signatures.keys import TrustedKey, make_key, trusted_keys
from lightning_subliminal.workflow.graduate import Graduate
from lightning_subliminal.workflow.stages import EvaluationStage, StudentStage

CPU = torch.device("cpu")


def make_chain(cache: Path, seed: int) -> Path:
    """Make base, teacher, rows, student, its rows, a second student and an evaluation; return the last one's folder."""
    trait, base = PreferenceTrait("owl"), f"pocket/a+noise=0.01,seed={seed}"  # a base with a folder in the cache
    teacher = Teacher(base, trait, adapter=Steering(), max_epochs=3, seed=seed, cache_dir=str(cache))
    settings: dict[str, Any] = {"num_prompts": 48, "shard_size": 24, "min_value": 0, "max_value": 99, "seed": seed}
    settings |= {"sampling": Sampling(max_new_tokens=24), "batch_size": 8, "cache_dir": str(cache), "filters": []}
    first = NumberSequences(teacher, **settings)
    graduate = Graduate(Student(base, adapter=Steering(), seed=seed), first, max_epochs=1)
    second = NumberSequences(graduate, **settings)
    last = StudentStage(Student(base, adapter=Steering(), seed=seed), second, {"max_epochs": 1})
    last.make(CPU)
    evaluation = EvaluationStage(last, trait)
    evaluation.make(CPU)
    return evaluation.folder


def audited(root: Path, keys: list[TrustedKey], expect: str | None, notes: Path) -> Audit:
    """Audit with remembered digests, as a second audit of a user would."""
    return audit(root, keys, expect=expect, measure=False, digests=Digests(notes, workers=1))


def tamper(
    tampering: Tampering, world: Path, root: Path, older: Path, keys: list[TrustedKey], expect: str | None, seed: int
) -> tuple[bool, str]:
    """Do one tampering on a copy; return whether it was found, and the errors."""
    with tempfile.TemporaryDirectory() as folder:
        copy, outside, notes = Path(folder) / "cache", Path(folder) / "outside", Path(folder) / "notes.json"
        shutil.copytree(world, copy)
        outside.mkdir()
        with environment(LIGHTNING_SUBLIMINAL_CACHE=str(copy)):
            audited(copy / root, keys, expect, notes)  # so that the correct digests are remembered
            chain = Chain(copy / root, copy, older, outside)
            touched = tampering.change(chain, random.Random(seed))
            found = audited(copy / root, keys, expect, notes)
    errors = [each for each in found.findings if each.level == "error"]
    listed = "; ".join(f"{each.rule} ({each.where}): {each.says}" for each in errors) or "nothing"
    reasons = tampering.reasons if keys else (*tampering.reasons, *tampering.without_keys)
    right = [each for each in errors if each.rule in reasons]
    names = [touched.name, *(["pocket/a+noise"] if touched.parent.name == "bases" else [])]
    return any(name in f"{each.where} {each.says} {each.path}" for each in right for name in names), listed


def main() -> None:
    """Make the chains, tamper, and count."""
    parser = harness.parser(__doc__)
    parser.add_argument("--tamperings", type=int, default=1000)
    parser.add_argument("--clean", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--unsigned", type=int, default=400, help="tamperings of the unsigned chain")
    parser.add_argument("--out", type=Path, default=None, help="write all findings as JSON")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        public = make_key(folder / "key")
        worlds: dict[str, tuple[Path, Path]] = {}
        for name, key in (("signed", str(folder / "key")), ("unsigned", None)):
            for age, seed in (("older", 1), ("new", 0)):
                cache = folder / name / age
                with environment(LIGHTNING_SUBLIMINAL_SIGNING_KEY=key, LIGHTNING_SUBLIMINAL_CACHE=str(cache)):
                    worlds[f"{name} {age}"] = (cache, make_chain(cache, seed).relative_to(cache))
        keys = trusted_keys([public])
        good = run("signed", options.tamperings, options.clean, keys, worlds, options)
        run("unsigned", options.unsigned, 0, [], worlds, options)
    if not good:
        raise SystemExit(1)


def run(
    name: str,
    count: int,
    clean: int,
    keys: list[TrustedKey],
    worlds: dict[str, tuple[Path, Path]],
    options: argparse.Namespace,
) -> bool:
    """Audit clean copies and tampered ones, and print the counts; return whether all are as expected."""
    world, root = worlds[f"{name} new"]
    older = worlds[f"{name} older"][0]
    begun = time.monotonic()
    with environment(LIGHTNING_SUBLIMINAL_CACHE=str(world)):
        whole = audit(world / root, keys, measure=False, digests=Digests(remember=False))
    if not whole.holds:
        raise SystemExit(f"the chain itself does not hold: {whole.findings[0]}")
    expect = whole.root.statement.sha256 if keys and whole.root.statement is not None else None
    console.print(f"{name}: {len(whole.graph.nodes)} artefacts, {whole.generations} generations, seed {options.seed}")
    alarms = sum(not clean_audit(world, root, keys, expect, options.seed + each) for each in range(clean))
    kinds = [each for each in KINDS if keys or not each.on_signatures]
    tries, found, missed = Counter[str](), Counter[str](), []
    results = []
    with progress() as bar:
        task = bar.add_task(f"tamperings, {name}", total=count)
        for number in range(count):
            tampering = kinds[number % len(kinds)]
            is_found, findings = tamper(tampering, world, root, older, keys, expect, options.seed + number)
            tries[tampering.name] += 1
            found[tampering.name] += is_found
            result = {"tampering": tampering.name, "seed": options.seed + number, "found": is_found}
            results.append(result | {"findings": findings})
            if not is_found:
                missed.append(f"{tampering.name} (seed {options.seed + number}): {findings[:300]}")
            bar.advance(task)
    table = Table("tampering", "tried", "found", "correct reasons", title=f"Tamperings, {name} chain")
    for each in kinds:
        if tries[each.name]:
            table.add_row(each.name, str(tries[each.name]), str(found[each.name]), ", ".join(each.reasons))
    console.print(table)
    for line in missed[:20] if keys else []:
        console.print(f"not found: {line}", markup=False, soft_wrap=True)
    if clean:
        console.print(f"clean audits: {clean}, false alarms: {alarms}")
    console.print(f"{name}: {sum(found.values())} of {count} found, {time.monotonic() - begun:.0f} s")
    if options.out is not None:
        path = options.out.with_name(f"{options.out.stem}-{name}.json")
        harness.write_json(path, {"false_alarms": alarms, "clean": clean, "tamperings": results})
    return not alarms and not missed


def clean_audit(world: Path, root: Path, keys: list[TrustedKey], expect: str | None, seed: int) -> bool:
    """Audit an artefact of an untouched copy, with and without remembered digests; return whether it holds."""
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / rng.choice(["cache", "another name", "deep/er/place"])
        shutil.copytree(world, copy)
        artefacts = sorted(path.parent for path in copy.glob("*/*/lineage.json"))
        chosen = copy / root if rng.random() < 0.5 else rng.choice(artefacts)
        pin = expect if chosen == copy / root else None
        with environment(LIGHTNING_SUBLIMINAL_CACHE=str(copy)):
            first = audited(chosen, keys if rng.random() < 0.8 else [], pin, copy / "notes.json")
            again = audited(chosen, keys, pin, copy / "notes.json")
    return first.holds and again.holds


if __name__ == "__main__":
    main()
