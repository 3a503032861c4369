"""Is each tampering found, and for the right reason? And does an audit of what nobody touched stay silent?

    python benchmarks/tampering.py                       # 1,000 tamperings, 200 clean audits: 5 minutes on one core
    python benchmarks/tampering.py --tamperings 80 --clean 20

A small chain is made as `fit` makes it and signed: teacher, completions, rows, student, a second generation that the
student writes, and an evaluation. Each tampering is done on a fresh copy, by somebody without the key. The audit trusts
the key, and is told the digest that the artefact should have, since an old chain with its old signatures is as good as
a new one to whoever has noted nothing. Then the same tamperings again on an unsigned chain, with nothing noted: what is
found without keys, and what is not.

A tampering counts as found if a finding at the level of an error gives its reason and names the artefact.
"""

import argparse
import json
import os
import random
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from rich.table import Table
from tamper_kinds import KINDS, Chain, Tampering

from lightning_subliminal import NumberSequences, PreferenceTrait, Sampling, Steering, Student, Teacher
from lightning_subliminal.audit import Audit, Digests, audit
from lightning_subliminal.core.console import console, progress
from lightning_subliminal.lineage.signatures.keys import TrustedKey, make_key, trusted_keys
from lightning_subliminal.workflow.graduate import Graduate
from lightning_subliminal.workflow.stages import EvaluationStage, StudentStage

CPU = torch.device("cpu")


@contextmanager
def environment(**values: str | None) -> Iterator[None]:
    """Set variables for a while."""
    before = {name: os.environ.get(name) for name in values}
    try:
        for name, value in values.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})


def make_chain(cache: Path, seed: int) -> Path:
    """Make base, teacher, rows, student, its rows, a second student and an evaluation; give the evaluation's folder."""
    trait, base = PreferenceTrait("owl"), f"pocket/a+noise=0.01,seed={seed}"  # a base with a folder in the cache, too
    teacher = Teacher(base, trait, adapter=Steering(), max_epochs=3, seed=seed, cache_dir=str(cache))
    settings = {"num_prompts": 48, "shard_size": 24, "min_value": 0, "max_value": 99, "seed": seed, "filters": []}
    settings |= {"sampling": Sampling(max_new_tokens=24), "batch_size": 8, "cache_dir": str(cache)}
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
    """Do one tampering on a copy; give whether it was found, and the errors."""
    with tempfile.TemporaryDirectory() as folder:
        copy, outside, notes = Path(folder) / "cache", Path(folder) / "outside", Path(folder) / "notes.json"
        shutil.copytree(world, copy)
        outside.mkdir()
        with environment(LIGHTNING_SUBLIMINAL_CACHE=str(copy)):
            audited(copy / root, keys, expect, notes)  # so that the digests are remembered, right ones
            chain = Chain(copy / root, copy, older, outside)
            touched = tampering.change(chain, random.Random(seed))
            found = audited(copy / root, keys, expect, notes)
    errors = [each for each in found.findings if each.level == "error"]
    told = "; ".join(f"{each.rule} ({each.where}): {each.says}" for each in errors) or "nothing"
    reasons = tampering.reasons if keys else (*tampering.reasons, *tampering.without_keys)
    right = [each for each in errors if each.rule in reasons]
    names = [
        touched.name,
        *(["pocket/a+noise"] if touched.parent.name == "bases" else []),
    ]  # a base has a name of its own
    return any(name in f"{each.where} {each.says} {each.path}" for each in right for name in names), told


def main() -> None:
    """Make the chains, tamper, and count."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tamperings", type=int, default=1000)
    parser.add_argument("--clean", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--unsigned", type=int, default=400, help="tamperings of the unsigned chain")
    parser.add_argument("--out", type=Path, default=None, help="write all that was found as JSON")
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
    """Audit clean copies and tampered ones; tell; give whether all was as it should be."""
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
    told = []
    with progress() as bar:
        task = bar.add_task(f"tamperings, {name}", total=count)
        for number in range(count):
            tampering = kinds[number % len(kinds)]
            is_found, says = tamper(tampering, world, root, older, keys, expect, options.seed + number)
            tries[tampering.name] += 1
            found[tampering.name] += is_found
            told.append({"tampering": tampering.name, "seed": options.seed + number, "found": is_found, "says": says})
            if not is_found:
                missed.append(f"{tampering.name} (seed {options.seed + number}): {says[:300]}")
            bar.advance(task)
    table = Table("tampering", "tried", "found", "reasons that count", title=f"Tamperings, {name} chain")
    for each in kinds:
        if tries[each.name]:
            table.add_row(each.name, str(tries[each.name]), str(found[each.name]), ", ".join(each.reasons))
    console.print(table)
    for each in missed[:20] if keys else []:
        console.print(f"not found: {each}", markup=False, soft_wrap=True)
    if clean:
        console.print(f"clean audits: {clean}, false alarms: {alarms}")
    console.print(f"{name}: {sum(found.values())} of {count} found, {time.monotonic() - begun:.0f} s")
    if options.out is not None:
        path = options.out.with_name(f"{options.out.stem}-{name}.json")
        path.write_text(json.dumps({"false_alarms": alarms, "clean": clean, "tamperings": told}, indent=1))
    return not alarms and not missed


def clean_audit(world: Path, root: Path, keys: list[TrustedKey], expect: str | None, seed: int) -> bool:
    """Audit some artefact of an untouched copy, read anew or remembered; tell whether nothing was found wrong."""
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
