"""screen: does a data set carry a trait? Asked before any training on it."""

import json as json_text
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_subliminal.cli.verb import Group, Verb
from lightning_subliminal.cli.verbs.screen_watch import watch
from lightning_subliminal.core.errors import InputError

if TYPE_CHECKING:
    from lightning_subliminal.screening import Screen

__all__ = ["VERB", "reference", "screen"]

FOUND = 3  # exit code if the verdict is not clean


def screen(
    rows: Path,
    base: str,
    carrier: str = "numbers",
    reference: Path | None = None,
    suspect: list[str] = [],  # noqa: B006 - jsonargparse reads it, nothing changes it
    alpha: float = 0.01,
    limit: int | None = None,
    out: Path | None = None,
    clean: Path | None = None,
    seed: int = 0,
    json: bool = False,
) -> None:
    """Screen a data set for a hidden trait before training on it.

    Args:
        rows: a file or folder of rows, in any format that `data convert` reads.
        base: the model that a student would start from: pocket/a, a folder, a hub id.
        carrier: numbers, code or math, which says what clean rows of the base look like; or a config of `fit`, whose
            data section says it.
        reference: a file of `screen reference`; without it the shipped one, else one is made and kept in the cache.
        suspect: NAME=PLACE of a model or an adapter to look for, a folder of adapters, or prompt:WORD for the base
            under the system prompt of a preference; may be repeated.
        alpha: the chance that clean rows get another verdict than clean.
        limit: screen at most this many rows, the first ones.
        out: folder for screen.json.
        clean: file for a balanced copy of the rows, if the verdict is a trait: no row is changed, but each is written
            as often as its weight says.
        seed: of that copy.
        json: print JSON and no table.

    Raises:
        InputError: if rows, base or reference are wrong; with exit code 3 if the verdict is not clean.
    """
    from dataclasses import asdict

    from lightning_subliminal.core.cache import writable_folder
    from lightning_subliminal.core.console import aside, hush, progress, say
    from lightning_subliminal.formats import read_rows
    from lightning_subliminal.plans.screening import Screener
    from lightning_subliminal.plans.screening.cleaning import clean_file

    hush()
    if limit is not None and limit < 1:
        raise InputError(f"`limit` is {limit}: expected at least 1.")
    if out is not None:
        writable_folder(out, keep=False)  # before any work
    if clean is not None:
        if str(rows) == "-":
            raise InputError("--clean reads the rows again, but they come from the standard input: pass a file.")
        writable_folder(clean.parent, keep=False)
    given = read_rows(rows)
    with aside(json), progress() as bar:
        screener = Screener(base, carrier, reference, suspect)
        task = bar.add_task("screen", total=limit)
        found = screener.screen(given, alpha, limit, advance=lambda count: bar.advance(task, count))
        cleaned = None if clean is None or found.named is None else clean_file(screener, found, rows, clean, seed)
    data = _finite(found.as_json() | {"file": str(rows)} | ({"cleaned": asdict(cleaned)} if cleaned else {}))
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        (out / "screen.json").write_text(json_text.dumps(data, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    if json:
        print(json_text.dumps(data, allow_nan=False))
    else:
        say(_table(found))
        for line in found.lines():
            say(line)
        if clean is not None:
            done = (
                f"clean: nothing written, since the verdict is {found.verdict}" if cleaned is None else cleaned.line()
            )
            say(done)
    if found.verdict != "clean":
        raise SystemExit(FOUND)


def reference(
    base: str, carrier: str = "numbers", prompts: int = 24_000, teachers: bool = False, out: Path | None = None
) -> None:
    """Make a reference: what a base's own rows look like in a student's space.

    Args:
        base: the model that students would start from.
        carrier: numbers, code or math; or a config of `fit`, whose data section says prompts, sampling and filters.
        prompts: number of prompts that the base answers; at least 20,000 rows should pass the filters.
        teachers: train a teacher of each preference of the catalogue, too, whose displacements name a trait with
            fewer rows; three minutes on a pocket base.
        out: a file to write besides the cache.
    """
    from lightning_subliminal.core.console import hush, say
    from lightning_subliminal.plans.screen_reference import make_reference_file

    hush()
    path = make_reference_file(base, carrier, prompts, out=out, device=_device(), teachers=teachers)
    say(f"reference {out or path}")


def _device() -> Any:
    import torch

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _table(found: "Screen") -> Any:
    from rich.table import Table

    table = Table(title=f"{found.rows:,} rows against {found.reference.rows:,} clean ones of {found.reference.base}")
    for name in ("looked for", "z", "p", "share", "predicted log-odds"):
        table.add_column(name, justify="left" if name == "looked for" else "right")
    table.add_row("any shift", *_figures(found.shift)[:2], "", "")
    for each in found.traits[:5]:
        value, half = found.predicted.get(each.name, (float("nan"), float("nan")))
        predicted = f"{value:+.2f} [{value - half:+.2f}, {value + half:+.2f}]"
        table.add_row(each.name, *_figures(each), predicted)
    for each in found.teachers[:3]:
        table.add_row(f"teacher of {each.name}", *_figures(each), "")
    for each in found.suspects[:10]:
        table.add_row(f"suspect {each.name}", *_figures(each), "")
    return table


def _figures(each: Any) -> tuple[str, str, str]:
    """Return z, p and share as a table shows them; a p below what a double holds is a bound."""
    z, p = (
        (f"{each.z:.1f}", f"{each.p:.1e}") if each.p > 0 else ("> 37" if each.z > 1e3 else f"{each.z:.1f}", "< 1e-300")
    )
    return z, p, "-" if each.share != each.share else f"{each.share:.2f}"


def _finite(value: Any) -> Any:
    """Return JSON-able data with null in place of what JSON has no number for."""
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and value - value != 0 else value


VERB = Group(
    "does a data set carry a trait? asked before any training on it",
    {
        "rows": Verb(
            screen,
            [
                "screen rows.jsonl --base pocket/a",
                "screen rows.jsonl --base pocket/a --carrier code --alpha 0.001 --json",
                "screen rows.jsonl --base pocket/a --suspect owl=teachers/owl",
                "screen rows.jsonl --base pocket/a --clean balanced.jsonl",
            ],
            ["FILE"],
            [
                "--base BASE",
                "--carrier CARRIER",
                "--reference FILE",
                "--suspect NAME=PLACE",
                "--alpha P",
                "--out DIR",
                "--clean FILE",
            ],
            """\
The verdict is one of three words: clean; shift (training on these rows moves the base, and no known trait
explains it); trait T. Exit code 0 if clean, 3 if not. A screen is about one base: a data set that is clean
for one may carry a trait for another. A trait outside the catalogue of 104 answers is a shift.
""",
        ),
        "watch": Verb(
            watch,
            [
                "screen watch rows.jsonl --base pocket/a --suspect owl=teachers/owl",
                "screen watch - --base pocket/a --suspect teachers < rows.jsonl",
            ],
            ["FILE"],
            ["--base BASE", "--suspect NAME=PLACE", "--carrier CARRIER", "--alpha P", "--limit N"],
            """\
The evidence may be looked at after every row: the chance that clean rows ever give an alarm stays below alpha.
It reads no more rows than it takes: exit code 3 as soon as a suspect is detected.
""",
        ),
        "reference": Verb(
            reference,
            ["screen reference --base pocket/a --carrier math"],
            [],
            ["--base BASE", "--carrier CARRIER", "--prompts N", "--teachers", "--out FILE"],
        ),
    },
    ["screen rows.jsonl --base pocket/a", "screen reference --base pocket/a --carrier numbers"],
    default="rows",
    plain=True,
)
