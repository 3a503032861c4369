"""A screen as SARIF 2.1.0, which code hosts display."""

from pathlib import Path
from typing import Any

from lightning_subliminal.audit.rules import Rule
from lightning_subliminal.audit.views.sarif import artifact_location, fingerprint, message_text, sarif_log
from lightning_subliminal.core.io.files import finite
from lightning_subliminal.plans.screening.evidence import Evidence, ShownRow
from lightning_subliminal.screening import Screen

__all__ = ["FOUND", "RULES", "as_sarif", "meaning_of_rows"]

FOUND = 3  # exit code if the verdict is not clean
RULES = {
    "screen-trait": Rule("error", "training on the rows moves the base towards a known trait"),
    "screen-shift": Rule("warning", "training on the rows moves the base, and no known trait explains it"),
}


def as_sarif(found: Screen, source: str | Path, evidence: Evidence | None, here: Path | None = None) -> dict[str, Any]:
    """Return a screen as a SARIF log of one run: a result for its verdict, none if that is clean.

    Args:
        found: the screen.
        source: the file or folder that was screened.
        evidence: rows to point at.
        here: paths below this folder are written relative to it; None for the working directory.
    """
    here = (here or Path.cwd()).absolute()
    results = [] if found.verdict == "clean" else [_result(found, Path(source), evidence, here)]
    return sarif_log(RULES, results, FOUND if results else 0, found.lines()[0], here)


def meaning_of_rows(evidence: Evidence) -> str:
    """Return what the scores of single rows mean, and what they do not."""
    from scipy import stats

    chance = float(stats.norm.cdf(evidence.mean / 2**0.5))
    return (
        f"The verdict is about the set: its mean row points {evidence.mean:+.2f} standard deviations of clean rows "
        f"along {evidence.direction}, so a row of it drawn at random points further that way than a clean one "
        f"{chance:.0%} of the time, where 50% is chance. A single row proves nothing: scores of clean rows have long "
        "tails (the highest of 4,040 of pocket/a was +6.4 along owl). Dropping the rows shown does not clean the set."
    )


def _result(found: Screen, path: Path, evidence: Evidence | None, here: Path) -> dict[str, Any]:
    rule = f"screen-{found.verdict}"
    said, place = found.lines(), artifact_location(path.absolute(), here)
    text = message_text(f"{said[0].removeprefix('verdict: ')}. {said[1]}.")
    rows = evidence.rows if evidence is not None else ()
    if evidence is not None:
        links = ", ".join(f"[{each.place}]({number})" for number, each in enumerate(rows, start=1))
        text += f" {message_text(meaning_of_rows(evidence))} Highest rows: {links}."
    named = next(
        (each for each in (*found.suspects, *found.teachers, *found.traits) if each.name == found.named), found.shift
    )
    result = {
        "ruleId": rule,
        "ruleIndex": list(RULES).index(rule),
        "level": RULES[rule].level,
        "message": {"text": text},
        "locations": [{"physicalLocation": {"artifactLocation": place}}],
        "partialFingerprints": fingerprint(rule, found.named or "", found.reference.base, path.name),
        "properties": finite({"verdict": found.verdict, "base": found.reference.base, **named._asdict()}),
    }
    if rows:
        result["relatedLocations"] = [_row(number, each, path, here) for number, each in enumerate(rows, start=1)]
    return result


def _row(number: int, row: ShownRow, path: Path, here: Path) -> dict[str, Any]:
    own = Path(row.source)
    physical: dict[str, Any] = {
        "artifactLocation": artifact_location((own if own.is_file() else path).absolute(), here)
    }
    location: dict[str, Any] = {"id": number, "physicalLocation": physical, "message": {"text": f"score {row.z:+.1f}"}}
    if row.is_line and not row.source.endswith(".gz"):  # the file itself has other lines than the unpacked text
        physical["region"] = {"startLine": row.number}
    else:
        location["logicalLocations"] = [{"name": row.place, "kind": "row"}]
    return location
