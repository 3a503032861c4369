"""screen: check whether a data set carries a trait, before any training on it."""

import json as json_text
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_subliminal.cli.verb import Group, Verb
from lightning_subliminal.cli.verbs.screen_reference import reference
from lightning_subliminal.cli.verbs.screen_watch import watch
from lightning_subliminal.core.errors import InputError, check_alpha

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lightning_subliminal.core.rows import Row
    from lightning_subliminal.screening import Detection, Screen

__all__ = ["VERB", "reference", "screen"]

FOUND = 3  # exit code if the verdict is not clean
SEEN = 0.05  # p of the shift, above which the table shows no shares


def screen(
    rows: Path,
    base: str,
    carrier: str | None = None,
    reference: Path | None = None,
    suspect: list[str] = [],  # noqa: B006 - jsonargparse reads it, nothing changes it
    alpha: float = 0.01,
    limit: int | None = None,
    out: Path | None = None,
    clean: Path | None = None,
    seed: int = 0,
    html: Path | None = None,
    sarif: Path | None = None,
    baselines: bool = False,
    json: bool = False,
) -> None:
    """Screen a data set for a hidden trait before training on it.

    Args:
        rows: a file or folder of rows, in any format that `data convert` reads.
        base: the model that a student would start from: pocket/a, a folder, a hub id.
        carrier: numbers, code or math, which says what clean rows of the base look like; or a config of `fit`, whose
            data section says it; by default numbers.
        reference: a file of `screen reference`; without it the shipped one, else one is made and kept in the cache.
        suspect: NAME=PLACE of a model or an adapter to look for, a folder of adapters, or prompt:WORD for the base
            under the system prompt of a preference; may be repeated.
        alpha: the chance that clean rows get another verdict than clean.
        limit: screen at most this many rows, drawn at random; of the standard input the first ones.
        out: folder for screen.json, and for the test result that `audit --require screened` reads.
        clean: file for a balanced copy of the rows, if the verdict is a trait: no row is changed, but each is written
            as often as its weight says.
        seed: seed of that copy, and of the rows that --limit draws.
        html: file for a page: traits, rows and tokens, what to ask their supplier.
        sarif: file for the findings as SARIF 2.1.0, which GitHub shows.
        baselines: compare words, loss and length with those of rows that the base writes, too.
        json: print JSON and no table.

    Raises:
        InputError: if rows, base or reference are wrong, or more than 1 % of the rows of a clean verdict have no
            score; with exit code 3 if the verdict is not clean.
    """
    from dataclasses import asdict

    views = {name: path for name, path in (("html", html), ("sarif", sarif)) if path is not None}
    files = views | ({"clean": clean} if clean is not None else {})
    for name in [*files, *(["baselines"] if baselines else [])]:
        if str(rows) == "-":
            raise InputError(f"--{name} reads the rows again, but they come from the standard input: pass a file.")
    for name, path in files.items():
        if path.is_dir():
            raise InputError(f"--{name} {path} is a folder: expected a file.")
        if path.exists() and rows.exists() and path.samefile(rows):
            raise InputError(f"--{name} {path} is the data set itself: expected another file.")
    if clean is not None and limit is not None:
        raise InputError("--clean balances all rows, and --limit screens a part of them: leave one out.")
    check_alpha(alpha)
    opened = _opened(rows)

    from lightning_subliminal.core.cache import writable_folder
    from lightning_subliminal.core.console import aside, hush, progress, say
    from lightning_subliminal.core.io.files import finite
    from lightning_subliminal.lineage import RowsTree
    from lightning_subliminal.plans.screening import Screener
    from lightning_subliminal.plans.screening.baselines import compare_file
    from lightning_subliminal.plans.screening.cleaning import clean_file
    from lightning_subliminal.plans.screening.evidence import find_evidence
    from lightning_subliminal.plans.screening.first_rows import FirstRows
    from lightning_subliminal.plans.screening.record import check_subject, subject_of, write_screen_result
    from lightning_subliminal.plans.screening.row_sample import RowSample

    hush()
    for folder in [*([out] if out is not None else []), *(path.parent for path in files.values())]:
        writable_folder(folder, keep=False)  # before any work
    subject, tree = subject_of(rows), RowsTree()
    sample = RowSample.of_file(rows, limit, seed)
    with aside(json), progress() as bar:
        given = FirstRows(opened, base, carrier, str(rows))
        screener = Screener(base, carrier or "numbers", reference, suspect, check=given.check)
        task = bar.add_task("screen", total=None if sample is None else sample.rows)
        found = screener.screen(
            given,
            alpha,
            sample,
            tree=tree,
            advance=lambda count: bar.advance(task, count),
            key=None if subject is None else next(iter(subject.digest.values())),
        )
        evidence = find_evidence(screener, found, rows, sample) if views else None
        cleaned = None if clean is None or found.named is None else clean_file(screener, found, rows, clean, seed)
        compared = compare_file(screener, rows, sample) if baselines else []
    check_subject(rows, subject)
    more: dict[str, Any] = {"cleaned": asdict(cleaned)} if cleaned else {}
    more |= {"baselines": [each._asdict() for each in compared]} if baselines else {}
    data = finite(found.as_json() | {"file": str(rows), "sample": str(sample) if sample else None} | more)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        (out / "screen.json").write_text(json_text.dumps(data, indent=2, allow_nan=False) + "\n", encoding="utf-8")
        if subject is not None:
            write_screen_result(out, found, base, subject, tree, sample)
    for name, path in views.items():
        _write(name, path, found, rows, evidence, next(iter(subject.digest.values())) if subject is not None else "")
    if json:
        print(json_text.dumps(data, allow_nan=False))
    else:
        say(_table(found, compared))
        for line in [*found.lines(), *([f"sample: {sample}; the others were not screened"] if sample else [])]:
            say(line)
        if clean is not None:
            done = (
                f"clean: nothing written, since the verdict is {found.verdict}" if cleaned is None else cleaned.line()
            )
            say(done)
        for name, path in (views | ({"out": out} if out is not None else {})).items():
            say(f"{name}: {path}")
    if found.verdict != "clean":
        raise SystemExit(FOUND)
    if found.gap is not None:
        raise InputError(f"{rows}: {found.gap}, so clean is not a verdict on all: take them out, and screen again.")


def _opened(rows: Path) -> "Iterator[Row]":
    """Read a data set's first row, so that a wrong file is reported at once, before the imports of a model's libraries.

    Raises:
        InputError: if there is no such file, its first row is wrong, or it holds no rows.
    """
    from itertools import chain

    from lightning_subliminal.formats import read_rows

    given = read_rows(rows)
    first = next(given, None)
    if first is None:
        raise InputError(f"{rows} holds no rows.")
    return chain([first], given)


def _table(found: "Screen", baselines: "Sequence[Detection]") -> Any:
    from statistics import NormalDist

    from rich.table import Table

    table = Table(title=f"{found.rows:,} rows against {found.reference.rows:,} clean ones of {found.reference.base}")
    count = len(found.traits)
    chosen = ""
    if count:  # the middle of the highest of so many z of clean rows, as if they were independent
        highest = NormalDist().inv_cdf(0.5 ** (1 / count))
        chosen = f"Of {count} answers, the five highest: by chance the first is near {highest:.1f}. "
    table.caption = (
        f"z: above clean rows, in standard deviations of their mean. {chosen}Share: how much of the whole movement "
        "lies that way, at most 1. Predicted: what training on these rows adds."
    )
    table.add_column("looked for", overflow="fold")
    for name in ("z", "p", "share", "predicted log-odds"):
        table.add_column(name, justify="right")
    table.add_row("any shift", *_figures(found.shift)[:2], "", "")
    moved = found.shift.p < SEEN
    for each in found.traits[:5]:
        value, half = found.predicted.get(each.name, (float("nan"), float("nan")))
        known = found.verdict != "clean" and value == value  # the highest of many answers of clean rows say nothing
        predicted = f"{value:+.2f} [{value - half:+.2f}, {value + half:+.2f}]" if known else "-"
        table.add_row(each.name, *_figures(each, moved), predicted)
    for each in found.teachers[:3]:
        table.add_row(f"teacher of {each.name}", *_figures(each, moved), "")
    for each in found.suspects[:10]:
        table.add_row(f"suspect {each.name}", *_figures(each, moved), "")
    for each in baselines:
        table.add_row(f"baseline: {each.name}", *_figures(each), "")
    return table


def _figures(each: Any, moved: bool = True) -> tuple[str, str, str]:
    """Return z, p and share as a table shows them; a p below what a double holds is a bound.

    Where the rows hardly ``moved`` the base, there is no movement to have a share of.
    """
    z, p = (
        (f"{each.z:.1f}", f"{each.p:.1e}") if each.p > 0 else ("> 37" if each.z > 1e3 else f"{each.z:.1f}", "< 1e-300")
    )
    return z, p, f"{each.share:.2f}" if moved and each.share == each.share else "-"


def _write(name: str, path: Path, found: "Screen", rows: Path, evidence: Any, digest: str) -> None:
    from functools import partial

    from lightning_subliminal.core.rows import atomically
    from lightning_subliminal.plans.screening.page import as_html
    from lightning_subliminal.plans.screening.sarif import as_sarif

    if name == "html":
        text = as_html(found, rows, evidence, digest)
    else:
        text = json_text.dumps(as_sarif(found, rows, evidence), indent=1, allow_nan=False) + "\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    atomically(path, partial(Path.write_bytes, data=text.encode(errors="backslashreplace")))


VERB = Group(
    "check whether a data set carries a trait, before any training on it",
    {
        "rows": Verb(
            screen,
            [
                "screen rows.jsonl --base pocket/a",
                "screen rows.jsonl --base pocket/a --carrier code --alpha 0.001 --json",
                "screen rows.jsonl --base pocket/a --suspect owl=teachers/owl",
                "screen rows.jsonl --base pocket/a --clean balanced.jsonl",
                "screen rows.jsonl --base pocket/a --html screen.html --sarif screen.sarif",
            ],
            ["FILE"],
            [
                *("--base BASE", "--carrier CARRIER", "--reference FILE", "--suspect NAME=PLACE", "--alpha P"),
                *("--out DIR", "--clean FILE", "--html FILE", "--sarif FILE", "--baselines"),
            ],
            """\
The verdict is one of three words: clean; shift (training on these rows moves the base, and no known trait
explains it); trait T. Exit code 0 if clean, 3 if not, 2 without a verdict (over 1 % of rows unscored).
A screen is about one base: a data set that is clean for one may carry a trait for another. A trait outside
the catalogue of 104 answers is a shift.
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
            [
                "screen reference --base pocket/a --carrier math",
                "screen reference --base smollm2-135m --prompts-from rows.jsonl --out own.ref",
            ],
            [],
            [
                *("--base BASE", "--carrier CARRIER", "--prompts N", "--prompts-from FILE", "--space SPACE"),
                *("--dtype DTYPE", "--teachers", "--out FILE"),
            ],
        ),
    },
    ["screen rows.jsonl --base pocket/a", "screen reference --base pocket/a --carrier numbers"],
    default="rows",
    plain=True,
)
