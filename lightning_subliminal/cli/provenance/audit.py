"""audit: follow an artefact's lineage to its bases, check every byte, and report whether a trait may pass."""

import json as json_text
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from lightning_subliminal.cli.verb import Verb
from lightning_subliminal.core.errors import InputError

if TYPE_CHECKING:
    from lightning_subliminal.audit.rules import Level

__all__ = ["VERB", "audit"]


def audit(
    path: str,
    trust: list[str] = [],  # noqa: B006 - jsonargparse reads these, nothing changes them
    against: str | None = None,
    search: list[str] = [],  # noqa: B006
    expect: str | None = None,
    require: list[str] = [],  # noqa: B006
    deny: list[str] = [],  # noqa: B006
    allow: list[str] = [],  # noqa: B006
    no_cache: bool = False,
    no_measure: bool = False,
    json: str | None = None,
    sarif: str | None = None,
    html: str | None = None,
    svg: str | None = None,
) -> None:
    """Follow an artefact's lineage to its bases, check every byte, and report whether a trait may pass.

    Args:
        path: an artefact's folder, such as runs/NAME/student; a file of rows with a statement next to it; a model's
            folder without one; or a base's name.
        trust: a public key, or a folder of them; may be repeated. Every statement must then be signed by one.
        against: the base that will learn from it: does the writer of the data share it?
        search: a further folder for parents and test results; may be repeated.
        expect: the digest noted at an earlier audit: only it reveals an old artefact with its old statement, or one
            rewritten with its statement.
        require: tested: each model that wrote data must have passed a test; screened: each data set must have a clean
            screen for the base that learns from it. May be repeated.
        deny: count findings of this rule as errors; may be repeated.
        allow: count findings of this rule as notes; may be repeated.
        no_cache: read each file again, as with --trust and --expect; without it, files with unchanged times are
            skipped, and times can be kept while bytes change.
        no_measure: do not compare the weights of bases that the lineage does not show to be the same one.
        json: write everything to this file as JSON; - prints it, and nothing else.
        sarif: write the findings to this file as SARIF 2.1.0, which GitHub shows; - prints them, and nothing else.
        html: write a page with the drawing to this file.
        svg: write the drawing to this file.

    Raises:
        InputError: if the command is wrong.
        SystemExit: with 3 if something is wrong with the artefact.
    """
    from lightning_subliminal import bases
    from lightning_subliminal.audit import Digests
    from lightning_subliminal.audit import audit as look
    from lightning_subliminal.audit.views.page import as_html, as_svg
    from lightning_subliminal.audit.views.sarif import WRONG, as_json, as_sarif
    from lightning_subliminal.audit.views.terminal import print_audit
    from lightning_subliminal.audit.views.view import AuditView
    from lightning_subliminal.core.console import aside, hush, say
    from lightning_subliminal.core.rows import atomically
    from lightning_subliminal.lineage.signatures.keys import trusted_keys

    hush()
    if both := sorted(set(deny) & set(allow)):
        raise InputError(f"{both[0]!r} is both denied and allowed: choose one.")
    levels: dict[str, Level] = dict.fromkeys(deny, "error")
    levels |= dict.fromkeys(allow, "note")
    outs = {"json": json, "sarif": sarif, "html": html, "svg": svg}
    printed = [name for name, out in outs.items() if out == "-"]
    if len(printed) > 1:
        raise InputError(f"--{' - and --'.join(printed)} - can't both be printed: write one of them to a file.")
    folders = [Path(each).expanduser() for each in search]
    for each in folders:
        if not each.is_dir():
            raise InputError(f"--search {each} is not a folder: expected one that may hold parents.")
    for name, out in outs.items():
        if out not in (None, "-") and Path(str(out)).expanduser().is_dir():
            raise InputError(f"--{name} {out} is a folder: expected a file.")
    keys = trusted_keys([Path(each).expanduser() for each in trust])
    if against is not None:
        bases.resolve(against)  # a wrong name is reported before gigabytes are read
    start, expected = _start(path), _digest(expect)
    with aside(bool(printed)), _bar() as (begin, tick):
        found = look(
            *(start, keys, against, folders, expected, require, levels, not no_measure),
            digests=Digests(remember=not (no_cache or trust or expect)),
            tick=tick,
            begin=begin,
        )
    made: dict[str, Callable[[], str]] = {
        "json": lambda: json_text.dumps(as_json(found), indent=1, allow_nan=False) + "\n",
        "sarif": lambda: json_text.dumps(as_sarif(found), indent=1, allow_nan=False) + "\n",
        "html": lambda: as_html(found),
        "svg": lambda: as_svg(found) + "\n",
    }
    for name, out in outs.items():  # before anything is printed, so that `audit ... | head` leaves them whole
        if out not in (None, "-"):
            data = made[name]().encode(errors="backslashreplace")  # a file's name may not be UTF-8
            atomically(Path(str(out)).expanduser(), partial(Path.write_bytes, data=data))
    if printed:
        print(made[printed[0]]().encode(errors="backslashreplace").decode(), end="")
    else:
        print_audit(AuditView(found))
        for name, out in outs.items():
            if out is not None:
                say(f"{name}: {out}")
    if not found.holds:
        raise SystemExit(WRONG)


def _start(path: str) -> Path:
    """Return the artefact of a path or a base's name; nothing is downloaded."""
    from lightning_subliminal.audit.locate import BASE, Places
    from lightning_subliminal.lineage import Material

    place = Path(path).expanduser()
    try:
        is_there = place.exists()
    except OSError as err:
        raise InputError(f"{path} can't be reached ({err.strerror}): expected a readable path.") from err
    if is_there:
        return place
    found = [each for each in Places(Path.cwd()).hinted(Material("base", f"{BASE}{path}", {})) if each.exists()]
    if not found:
        from lightning_subliminal.bases.lookup import beside, near_folders

        if meant := near_folders(path):
            raise InputError(f"{path} does not exist; {meant}")
        raise InputError(
            f"{path} does not exist, and is not a base on this machine: expected an artefact's folder, such as "
            f"runs/NAME/student, a file, or a base of `bases list`{beside(place)}."
        )
    return found[0]


def _digest(text: str | None) -> str | None:
    if text is None:
        return None
    sha = text.strip().lower().removeprefix("sha256:")
    if len(sha) != 64 or set(sha) - set("0123456789abcdef"):
        raise InputError(f"--expect {text!r} is not a digest: expected 64 hexadecimal digits, as an audit prints.")
    return sha


@contextmanager
def _bar() -> Iterator[tuple[Callable[[int], None], Callable[[int], None]]]:
    """Show the progress of hashing on the standard error of a terminal."""
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    from lightning_subliminal.core.safe_output import stderr_bar

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with stderr_bar(*columns, TimeRemainingColumn()) as bar:
        task = bar.add_task("following the lineage", total=None)
        yield (
            lambda size: bar.update(task, description="hashing", total=size),
            lambda size: bar.advance(task, size),
        )


def _rules() -> str:
    """Return the table of all rules."""
    import textwrap

    from lightning_subliminal.audit.rules import RULES

    lines = [
        textwrap.fill(each.means, 100, initial_indent=f"  {name:18}{each.level:9}", subsequent_indent=" " * 29)
        for name, each in RULES.items()
    ]
    return "\n".join(["rules:", *lines, ""])


VERB = Verb(
    audit,
    [
        "audit runs/owl-5b0edf2e/student --trust lab.pub --html audit.html",
        "audit their_rows.jsonl --against pocket/a --deny shared-base",
        "audit model --require tested --search runs --deny flagged --sarif audit.sarif",
    ],
    ["PATH"],
    [
        *("--trust KEY", "--against BASE", "--search DIR", "--expect DIGEST", "--require CONDITION", "--deny RULE"),
        *("--allow RULE", "--json FILE", "--sarif FILE", "--html FILE"),
    ],
    """\
An audit starts at one artefact and follows lineage.json, which each stage writes, to the bases: are
links missing, bytes changed, statements signed, tests flagged? How many generations of data that
models wrote are behind it, and may a trait of a writer pass to a learner? --help=all lists the rules.

Limits: an unsigned statement can be rewritten by whoever can write the folder; a signature proves who
states something, not that it is true; a deleted test result leaves no trace, so require one.

exit codes: 0 no errors; 2 the command was wrong; 3 errors found (files are written all the same)
""",
    more=_rules,
)
