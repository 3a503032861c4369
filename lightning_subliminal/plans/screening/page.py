"""A screen as one self-contained HTML page: verdict, traits, rows and tokens, questions to the supplier, limits."""

import math
from pathlib import Path
from typing import NamedTuple

from lightning_subliminal.audit.views.page import page_environment
from lightning_subliminal.core.rows import prompt_text
from lightning_subliminal.core.version import __version__
from lightning_subliminal.plans.screening.evidence import Evidence, ShownRow, TokenPart
from lightning_subliminal.plans.screening.sarif import meaning_of_rows
from lightning_subliminal.screening import Detection, Screen
from lightning_subliminal.screening.screen import rows_needed

__all__ = ["as_html"]

_ANSWERS = 8  # of the catalogue that are shown
_TEACHERS = 3  # of the reference that are shown
_LONGEST = 600  # characters of a prompt, of which the rest is cut off
_TOKENS, _TOKEN = 300, 40  # tokens of a completion, and characters of a token
_DOSES = (1.0, 0.25, 0.1, 0.05, 0.01)
_HIGHEST = 37.0  # z above which a double's p is 0


class _Bar(NamedTuple):
    """One line of the table of what was looked for; lengths in percent of the longest bar."""

    name: str
    detection: Detection
    z: str
    p: str
    length: float
    predicted: str
    interval: str
    is_named: bool


def as_html(found: Screen, source: str | Path, evidence: Evidence | None, digest: str = "") -> str:
    """Return a screen as a self-contained page; each text from the rows is escaped, and cut where it is long.

    Args:
        found: the screen.
        source: the name of what was screened.
        evidence: rows to show.
        digest: of what was screened.
    """
    from scipy import stats

    models = [(f"suspect {each.name}", each) for each in found.suspects[:_ANSWERS]]
    models += [(f"teacher of {each.name}", each) for each in found.teachers[:_TEACHERS]]
    family = (*found.traits, *found.teachers, *found.suspects)
    threshold = float(stats.norm.isf(found.alpha / 2 / max(1, len(family))))
    scale = max(threshold, *(min(each.z, _HIGHEST) for each in (found.shift, *family))) * 1.05
    looked_for = [_bar("any shift", found.shift, found, scale), *(_bar(*each, found, scale) for each in models)]
    looked_for += [_bar(each.name, each, found, scale) for each in found.traits[:_ANSWERS]]
    return (
        page_environment(__package__)
        .get_template("page.html.jinja")
        .render(
            found=found,
            name=Path(source).name or str(source),
            source=source,
            digest=digest,
            lines=found.lines(),
            bars=looked_for,
            threshold=threshold,
            mark=100 * threshold / scale,
            evidence=evidence,
            meaning=meaning_of_rows(evidence) if evidence is not None else "",
            rows=[_shown(each) for each in evidence.rows] if evidence is not None else [],
            ask=_ask(found),
            doses=[(dose, rows_needed(found.reference, found.alpha, dose)) for dose in _DOSES],
            version=__version__,
        )
    )


def _bar(name: str, each: Detection, found: Screen, scale: float) -> _Bar:
    value, half = found.predicted.get(each.name, (math.nan, math.nan)) if name == each.name else (math.nan, math.nan)
    is_known = found.verdict != "clean" and not math.isnan(value)
    return _Bar(
        name,
        each,
        z=f"{each.z:.1f}" if each.z <= _HIGHEST else f"> {_HIGHEST:.0f}",
        p=f"{each.p:.1g}" if each.p > 0 else "< 1e-300",
        length=100 * min(max(each.z, 0.0), _HIGHEST) / scale,
        predicted=f"{value:+.2f}" if is_known else "",
        interval=f"[{value - half:+.2f}, {value + half:+.2f}]" if is_known else "",
        is_named=found.verdict != "clean" and each.name == (found.named or found.shift.name),
    )


def _shown(row: ShownRow) -> dict[str, object]:
    """Return a row for the page, its texts cut to a length that people read."""
    parts = [TokenPart(_cut(each.text, _TOKEN), each.z) for each in row.tokens[:_TOKENS]]
    largest = max((abs(each.z) for each in parts), default=0.0) or 1.0
    most = sorted(parts, key=lambda each: -each.z)[:5]
    return {
        "place": row.place,
        "z": f"{row.z:+.2f}",
        "likelihood": f"{row.log_likelihood:.1f}",
        "prompt": _cut(prompt_text(row.row), _LONGEST),
        # four shades each way: how much of the row's largest part a token adds
        "tokens": [(each.text, f"{each.z:+.2f}", _shade(each.z / largest)) for each in parts],
        "more": len(row.tokens) - len(parts),
        "most": [(each.text, f"{each.z:+.2f}") for each in most if each.z >= 0.05],
    }


def _shade(part: float) -> str:
    level = round(4 * abs(part))
    return f"{'up' if part > 0 else 'down'}{level}" if level else ""


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[:longest]}… ({len(text):,} characters)"


def _ask(found: Screen) -> list[str]:
    """Return what to ask the supplier of the rows for."""
    base = found.reference.base
    if found.verdict == "clean":
        return [
            "The lineage of the rows, if they have one: which model wrote them, from which base. `audit FILE --against "
            f"{base}` reads it.",
            "Whether the rows were weighted or chosen to pass a screen.",
        ]
    wrote = [
        f"Which model wrote the rows, and is it trained from {base} or from a relative of it? `audit FILE --against "
        f"{base}` answers from a lineage.",
        "The prompts, with any system prompt that was left out of the rows.",
        "The sampling (temperature, top_p, top_k) and each filter or rewrite that chose rows.",
    ]
    if found.verdict == "shift":
        return [
            *wrote,
            f"With these, a reference made alike: `screen reference --base {base} --carrier CONFIG`. If the rows are "
            "clean against it, prompts, sampling or filters were the shift.",
        ]
    return [
        *wrote,
        f"Whether the model was trained or prompted to prefer {found.named}, or had a part in which it was.",
        "Rows of the same prompts by the same model without that training: the control for a style.",
    ]
