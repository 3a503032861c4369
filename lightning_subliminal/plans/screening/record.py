"""A screen in the lineage: an in-toto test result about the bytes that were screened, for one base."""

import hashlib
from pathlib import Path

from lightning_subliminal import bases
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.io.files import finite
from lightning_subliminal.lineage import Material, RowsTree, result_statement, source_material, write_statement
from lightning_subliminal.lineage.names import RESULTS
from lightning_subliminal.lineage.test_results import file_name
from lightning_subliminal.plans.screening.row_sample import RowSample
from lightning_subliminal.screening import Reference, Screen

__all__ = ["check_subject", "subject_of", "write_screen_result"]

_URN = "urn:x-lightning-subliminal:"


def subject_of(source: str | Path) -> Material | None:
    """Return what a screen of a source is about: its digests now; None for the standard input or a set on the hub."""
    path = Path(source)
    return source_material("rows", path) if path.exists() else None


def check_subject(source: str | Path, before: Material | None) -> None:
    """Check that a source has not changed since ``subject_of``.

    Raises:
        InputError: if it has.
    """
    if before is not None and subject_of(source) != before:
        raise InputError(f"{source} changed while it was screened: run again once it is written.")


def write_screen_result(
    folder: Path,
    found: Screen,
    base: str,
    subject: Material,
    tree: RowsTree | None = None,
    sample: RowSample | None = None,
) -> Path:
    """Write a screen as a test result into ``folder/test-results``, which `audit --require screened` reads.

    The subject has the digests of the file or folder, and the root over its rows, by which a copy of the same rows in
    another container is known. PASSED is clean; FAILED is a shift or a trait; WARNED is clean, but of a part of the
    rows, or of so few that nothing could have been seen.

    Args:
        folder: where; the statement's name holds subject and base.
        found: the screen.
        base: that it was made for.
        subject: what was screened, as ``subject_of`` returned it before.
        tree: of the rows that were read.
        sample: of its rows that was screened; None for all.

    Returns:
        The statement's file.

    Raises:
        InputError: if it can't be written.
    """
    test, doubts = f"clean for {base}", _doubts(found, sample)
    passed: list[str] = []
    warned: list[str] = []
    failed: list[str] = []
    if found.verdict != "clean":
        failed.append(f"{test}: {found.verdict}{f' {found.named}' if found.named else ''}")
    else:
        (warned if doubts else passed).append(test)
    about = subject.as_json()
    if tree is not None:
        about["digest"] |= {"merkleSha256": tree.root()}
    seen = {
        "verdict": found.verdict,
        "named": found.named,
        "alpha": found.alpha,
        "rows": found.rows,
        "skipped": found.skipped,
        "shift": finite(found.shift._asdict()),
        "visibleDose": found.visible_dose,
    }
    setup = [
        bases.material(base),
        _reference_material(found.reference),
        Material("screen", f"{_URN}screen", {}, annotations=seen | ({"doubts": doubts} if doubts else {})),
    ]
    statement = result_statement([about], passed, warned, failed, [each.as_json() for each in setup])
    name = f"{subject.uri.rpartition('/')[2]} {next(iter(subject.digest.values()))[:8]} for {base}"
    path = folder / RESULTS / f"{file_name(name)}.json"
    write_statement(path, statement)
    return path


def _doubts(found: Screen, sample: RowSample | None) -> list[str]:
    """Return why a clean verdict does not speak for the whole data set."""
    doubts: list[str] = []
    if sample is not None:
        doubts.append(f"only {sample} were screened")
    if found.gap is not None:
        doubts.append(found.gap)
    if found.visible_dose >= 1:
        doubts.append(f"{found.rows:,} rows would not show even a set of nothing else")
    return doubts


def _reference_material(reference: Reference) -> Material:
    """Return a reference by the SHA-256 of its numbers, as its file holds them."""
    sha = hashlib.sha256()
    loose = () if reference.loose is None else (reference.loose.mean, reference.loose.fisher)
    for each in (reference.mean, reference.fisher, reference.catalogue.gradients, *loose):
        sha.update(each.float().contiguous().numpy().tobytes())
    notes = {"rows": reference.rows, "layers": list(reference.layers)}
    return Material("reference", f"{_URN}reference:{reference.carrier}", {"sha256": sha.hexdigest()}, annotations=notes)
