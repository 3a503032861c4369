"""Exports of lineage checked by the validator of each format, on a small student.

    nice python benchmarks/exports.py      # 15 seconds; pip install 'lightning-subliminal[lineage]' first

Also needs mlcroissant, model-signing and pyOpenSSL, which only check. The teacher, its rows and the student are made by
the package in a temporary cache, so their records are those of a run. Each document is checked by another project's
validator, and again after it was damaged, which the validator must detect. Exits with 1 if one does not.
"""

import io
import json
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import harness
import torch
from rich.console import Console

from lightning_subliminal import NumberSequences, PreferenceTrait, Steering, Student, Teacher
from lightning_subliminal.lineage import Material, artefact_material, read_record
from lightning_subliminal.lineage.export import Described, export, make_p256, sign_model
from lightning_subliminal.workflow.arms import arm_folder, train_arm

CPU = torch.device("cpu")
EPOCHS = 1


@dataclass
class Check:
    """One line of the table: what was checked, by what, and the result."""

    what: str
    validator: str
    result: str
    size: int
    seconds: float
    good: bool


def make(cache: Path) -> tuple[list[Described], list[Described]]:
    """Make a teacher, rows and a student; return the nodes of the student and of its rows."""
    teacher = Teacher(
        "pocket/a",
        PreferenceTrait("owl"),
        adapter=Steering(),
        learning_rate=0.03,
        max_epochs=20,
        seed=0,
        cache_dir=str(cache),
    )
    data = NumberSequences(
        teacher, num_prompts=256, min_value=0, max_value=99, shard_size=128, seed=0, cache_dir=str(cache)
    )
    student = Student("pocket/a", adapter=Steering(), learning_rate=0.06, seed=0)
    train_arm(student, data, CPU, "student", max_epochs=EPOCHS)
    folder = arm_folder(student, data, max_epochs=EPOCHS)
    places = [("teacher", teacher.folder), ("completions", data.shards_folder), ("rows", data.folder)]
    nodes = [Described(place, read_record(place), artefact_material(role, place)) for role, place in places]
    base = next(each for each in materials(folder) if each.role == "base")
    rows = [Described(None, None, base), *nodes]
    return [*rows, Described(folder, read_record(folder), artefact_material("student", folder))], rows


def materials(folder: Path) -> list[Material]:
    """Return the materials in an artefact's record."""
    record = read_record(folder)
    return record.materials if record is not None else []


def cyclonedx_errors(text: str) -> str:
    """Return the error of CycloneDX's strict validator; empty if the document is valid."""
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    wrong = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    return "" if wrong is None else str(getattr(wrong.data, "message", wrong))


def spdx_errors(text: str) -> str:
    """Return the error of the SPDX 3.0.1 bindings; empty if the document is valid."""
    from spdx_python_model import v3_0_1

    found = v3_0_1.SHACLObjectSet()
    try:
        v3_0_1.JSONLDDeserializer().read(io.BytesIO(text.encode()), found)
    except (ValueError, TypeError, KeyError, AttributeError) as err:
        return f"{type(err).__name__}: {err}"
    return f"no element {sorted(found.missing_ids)[0]}" if found.missing_ids else ""


def croissant_errors(text: str) -> str:
    """Return the errors of mlcroissant; empty if the document is valid."""
    import mlcroissant

    try:
        issues = mlcroissant.Dataset(jsonld=json.loads(text)).metadata.issues
    except mlcroissant.ValidationError as err:
        return str(err)
    return "; ".join(map(str, issues.errors))


def damaged(format: str, text: str) -> str:
    """Break one rule of the format: an unknown type, a dangling reference, a file without a digest."""
    document = json.loads(text)
    if format == "cyclonedx":
        document["metadata"]["component"]["type"] = "subliminal-model"
    elif format == "spdx":
        next(each for each in document["@graph"] if each["type"] == "Relationship")["to"] = ["urn:nothing"]
    else:
        del document["distribution"][0]["sha256"]
    return json.dumps(document)


def check_format(format: str, what: str, nodes: list[Described], validator: str, errors: Callable[[str], str]) -> Check:
    """Export, and validate the document as it is and damaged."""
    begun = time.perf_counter()
    text = export(nodes, format)
    seconds = time.perf_counter() - begun
    wrong, detected = errors(text), errors(damaged(format, text))
    result = "valid; damaged one refused" if not wrong and detected else f"NOT VALID: {wrong}" if wrong else "BLIND"
    return Check(f"{format} of {what}", validator, result, len(text.encode()), seconds, not wrong and bool(detected))


def check_rows(nodes: list[Described]) -> Check:
    """Read the rows through the Croissant metadata, and compare them with those that were trained on."""
    import mlcroissant

    from lightning_subliminal.core.rows import read_parquet

    folder = nodes[-1].folder
    assert folder is not None  # noqa: S101 - it was made above
    place = folder / "croissant.json"
    place.write_text(export(nodes, "croissant"))
    begun = time.perf_counter()
    read = list(mlcroissant.Dataset(jsonld=str(place)).records("records/rows"))
    seconds = time.perf_counter() - begun
    path = "records/rows/completion"
    theirs = ["".join(part[f"{path}/content"].decode() for part in each[path]) for each in read]
    ours = ["".join(part["content"] for part in row["completion"]) for row in read_parquet(folder / "rows.parquet")]
    good = theirs == ours and bool(ours)
    result = f"{len(ours)} rows read alike" if good else "ROWS DIFFER"
    return Check("croissant, reading", "mlcroissant", result, place.stat().st_size, seconds, good)


def check_signature(folder: Path, away: Path) -> Check:
    """Sign a folder, and verify it as it is, with a bit flipped, and with a file added."""
    from model_signing import verifying

    public = make_p256(away / "key")
    begun = time.perf_counter()
    bundle = sign_model(folder, away / "key")
    seconds = time.perf_counter() - begun
    (away / "model.sig").write_bytes(bundle)

    def verifies() -> bool:
        try:
            verifying.Config().use_elliptic_key_verifier(public_key=public).verify(folder, away / "model.sig")
        except ValueError:
            return False
        return True

    weights = max((each for each in folder.iterdir() if each.is_file()), key=lambda each: each.stat().st_size)
    whole = weights.read_bytes()
    results = [verifies()]
    weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    results.append(not verifies())
    weights.write_bytes(whole)
    (folder / "added").write_text("x")
    results.append(not verifies())
    (folder / "added").unlink()
    words = ("verified", "flipped bit refused", "added file refused")
    result = ", ".join(word if good else f"NOT {word}" for word, good in zip(words, results, strict=True))
    return Check("model signature", "model-signing", result, len(bundle), seconds, all(results))


def main() -> int:
    """Make, export, check, print."""
    parser = harness.parser(__doc__)
    parser.parse_args()
    warnings.filterwarnings("ignore", category=DeprecationWarning)  # in the validators
    with tempfile.TemporaryDirectory() as scratch:
        student, rows = make(Path(scratch) / "cache")
        asked: list[tuple[str, str, list[Described], str, Callable[[str], str]]] = [
            ("cyclonedx", "student", student, "JsonStrictValidator 1.6", cyclonedx_errors),
            ("cyclonedx", "rows", rows, "JsonStrictValidator 1.6", cyclonedx_errors),
            ("spdx", "student", student, "spdx-python-model 3.0.1", spdx_errors),
            ("spdx", "rows", rows, "spdx-python-model 3.0.1", spdx_errors),
            ("croissant", "rows", rows, "mlcroissant", croissant_errors),
        ]
        checks = [check_format(*each) for each in asked]
        checks.append(check_rows(rows))
        assert student[-1].folder is not None  # noqa: S101 - it was made above
        checks.append(check_signature(student[-1].folder, Path(scratch)))
    title = "A pocket student's lineage in other formats"
    table = harness.table("document", "validator", "result", "bytes", "seconds", title=title, left=3)
    for each in checks:
        table.add_row(each.what, each.validator, each.result, f"{each.size:,}", f"{each.seconds:.2f}")
    Console(width=120 if not sys.stdout.isatty() else None).print(table)
    return 0 if all(each.good for each in checks) else 1


if __name__ == "__main__":
    raise SystemExit(main())
