"""audit: walk an artefact's lineage to its bases, check every byte, and ask whether a trait may pass."""

import json as json_text
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from lightning_subliminal.core.errors import InputError

if TYPE_CHECKING:
    from lightning_subliminal.audit.rules import Level

__all__ = ["COMMANDS", "audit", "guide", "spelled"]

_GUIDE = """\
audit: walk an artefact's lineage to its bases, check every byte, and ask whether a trait may pass.

Each stage writes lineage.json beside what it makes: its files by their digests, and what it was made from. An audit
starts at one artefact and goes down to the bases. It asks: is every link there? Is any byte changed? Who has signed
it? May a trait of who wrote the data pass to who learns from it? How many generations of data that models wrote lie
behind it? Was anything flagged by a test?

usage: lightning-subliminal audit PATH [options]

  PATH                   an artefact's folder, such as runs/NAME/student; a file of rows with a statement beside it; a
                         model's folder without one; or a base's name
  --trust KEY            a public key, or a folder of them; may be repeated. All statements must then be signed by one
  --against BASE         who shall learn from it: does who wrote the data share this base?
  --search DIR           where parents and test results may lie besides; may be repeated
  --expect DIGEST        the digest that it must have, noted down at an earlier audit: an old artefact with its old
                         statement, or one that was rewritten with its statement, is found by it alone
  --require tested       each model that wrote data must have a passed test
  --deny RULE            a rule below counts as an error; may be repeated
  --allow RULE           a rule below counts as a note; may be repeated
  --no-cache             read each file, also those that look as they did when they were read last, which --trust and
                         --expect do always: a file's times can be kept while its bytes change
  --no-measure           do not compare the weights of bases that the lineage does not show to be one
  --json FILE            all of it as JSON; - prints it, and nothing else
  --sarif FILE           the findings as SARIF 2.1.0, for a code host; - prints it, and nothing else
  --html FILE            a page of it, with the drawing
  --svg FILE             the drawing alone

exit codes: 0 nothing is wrong, 2 the command was, 3 an error among the findings (files are written all the same)

rules:
{rules}

What it can't tell: an unsigned statement can be rewritten by whoever can write the folder. A signature says who says
so, not that it is true: the first statement may lie. A deleted test result leaves no trace, so require one.

examples:
  lightning-subliminal audit runs/owl_numbers-5b0edf2e/student
  lightning-subliminal audit runs/owl_numbers-5b0edf2e/student --trust ~/.keys/lab.pub --html audit.html
  lightning-subliminal audit their_rows.jsonl --against pocket/a
  lightning-subliminal audit model --expect 7440ffb0d7aa5de1d59888fef10998c8815a90788a9363992a5db1dd1757d4d2
  # gates in CI: signed by us and each writer tested; nobody who wrote may share the base that learns
  lightning-subliminal audit model --trust keys/ --require tested --search runs --deny flagged --sarif audit.sarif
  lightning-subliminal audit rows.jsonl --against pocket/a --deny shared-base --deny matched-base --deny unknown-base
"""
_REPEATED = ("trust", "search", "deny", "allow")


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
    """Audit an artefact.

    Args:
        path: its folder or file, or a base's name.
        trust: public keys, or folders of them.
        against: a base that shall learn from it.
        search: where parents may lie besides.
        expect: the digest that it must have.
        require: what must be there.
        deny: rules that count as errors.
        allow: rules that count as notes.
        no_cache: read each file.
        no_measure: do not compare weights.
        json: where JSON goes.
        sarif: where SARIF goes.
        html: where the page goes.
        svg: where the drawing goes.

    Raises:
        InputError: if the command is wrong.
        SystemExit: with 3 if something is wrong with the artefact.
    """
    from lightning_subliminal import bases
    from lightning_subliminal.audit import Digests
    from lightning_subliminal.audit import audit as look
    from lightning_subliminal.audit.page import as_html, as_svg
    from lightning_subliminal.audit.sarif import WRONG, as_json, as_sarif
    from lightning_subliminal.audit.terminal import tell
    from lightning_subliminal.audit.view import Showing
    from lightning_subliminal.core.console import aside, hush, say
    from lightning_subliminal.core.rows import atomically
    from lightning_subliminal.lineage.signatures.keys import trusted_keys

    hush()
    levels = _levels(deny, allow)
    outs = {"json": json, "sarif": sarif, "html": html, "svg": svg}
    printed = [name for name, out in outs.items() if out == "-"]
    if len(printed) > 1:
        raise InputError(f"--{' - and --'.join(printed)} - can't both be printed: give one of them a file.")
    folders = [Path(each).expanduser() for each in search]
    for each in folders:
        if not each.is_dir():
            raise InputError(f"--search {each} is no folder: give one in which parents may lie.")
    for name, out in outs.items():
        if out not in (None, "-") and Path(str(out)).expanduser().is_dir():
            raise InputError(f"--{name} {out} is a folder: give a file.")
    keys = trusted_keys([Path(each).expanduser() for each in trust])
    if against is not None:
        bases.resolve(against)  # a wrong name is told before gigabytes are read
    start, wanted = _start(path), _digest(expect)
    with aside(bool(printed)), _bar() as (begin, tick):
        found = look(
            *(start, keys, against, folders, wanted, require, levels, not no_measure),
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
    for name, out in outs.items():  # before a word is said, so that `audit ... | head` leaves them whole
        if out not in (None, "-"):
            data = made[name]().encode(errors="backslashreplace")  # a file's name may be no UTF-8
            atomically(Path(str(out)).expanduser(), partial(_write, data))
    if printed:
        print(made[printed[0]]().encode(errors="backslashreplace").decode(), end="")
    else:
        tell(Showing(found))
        for name, out in outs.items():
            if out is not None:
                say(f"{name}: {out}")
    if not found.holds:
        raise SystemExit(WRONG)


COMMANDS = audit


def guide(words: list[str]) -> str | None:
    """Return the help; None where there is work to do."""
    if words and not {"--help", "-h"} & set(words):
        return None
    from lightning_subliminal.audit.rules import RULES

    return _GUIDE.replace("{rules}", "\n".join(_rule(name, each.level, each.means) for name, each in RULES.items()))


def spelled(words: list[str]) -> list[str]:
    """Return the words as the parser takes them: lists of what may be repeated, options with their values."""
    lists: dict[str, list[str]] = {name: [] for name in (*_REPEATED, "require")}
    kept = []
    rest = iter(words)
    for word in rest:
        name, equals, value = word.partition("=")
        name = name.removeprefix("--").replace("-", "_") if word.startswith("--") else ""
        if not name:
            kept.append(word)
        elif name in ("no_cache", "no_measure"):
            kept.append(f"--{name}={value or 'true'}")
        else:
            given = value if equals else next(rest, None)
            if not given:
                raise InputError(f"`{word.partition('=')[0]}` needs a value; see `audit --help`.")
            if name in lists:
                lists[name].append(given)
            else:
                kept.append(f"--{name}={given}")
    if all(each.startswith("--") for each in kept):
        raise InputError("PATH is missing: give an artefact's folder, such as runs/NAME/student, or a base's name.")
    return [*kept, *(f"--{name}={json_text.dumps(each)}" for name, each in lists.items() if each)]


def _rule(name: str, level: str, means: str) -> str:
    import textwrap

    return textwrap.fill(means, 118, initial_indent=f"  {name:18}{level:9}", subsequent_indent=" " * 29)


def _levels(deny: list[str], allow: list[str]) -> "dict[str, Level]":
    both = sorted(set(deny) & set(allow))
    if both:
        raise InputError(f"{both[0]!r} is both denied and allowed: choose one.")
    denied: dict[str, Level] = dict.fromkeys(deny, "error")
    return denied | dict.fromkeys(allow, "note")


def _start(path: str) -> Path:
    """Find what is audited: a path, or a base that is at hand; nothing is downloaded for it."""
    from lightning_subliminal.audit.locate import BASE, Places
    from lightning_subliminal.lineage import Material

    place = Path(path).expanduser()
    try:
        is_there = place.exists()
    except OSError as err:
        raise InputError(f"{path} can't be reached ({err.strerror}): give one that you may read.") from err
    if is_there:
        return place
    found = [each for each in Places(Path.cwd()).hinted(Material("base", f"{BASE}{path}", {})) if each.exists()]
    if not found:
        from lightning_subliminal.bases.lookup import near_folders

        if meant := near_folders(path):
            raise InputError(f"There is no folder {path}; {meant}")
        raise InputError(
            f"{path} is not there, and no base of this name is at hand: give an artefact's folder, such as "
            "runs/NAME/student, a file, or a base of `bases list`."
        )
    return found[0]


def _digest(text: str | None) -> str | None:
    if text is None:
        return None
    sha = text.strip().lower().removeprefix("sha256:")
    if len(sha) != 64 or set(sha) - set("0123456789abcdef"):
        raise InputError(f"--expect {text!r} is no digest: give the 64 hexadecimal digits that an audit has told.")
    return sha


def _write(data: bytes, place: Path) -> None:
    place.write_bytes(data)


@contextmanager
def _bar() -> Iterator[tuple[Callable[[int], None], Callable[[int], None]]]:
    """Show the bytes that are digested, on the standard error of a terminal: what is piped on stays clean."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    from lightning_subliminal.core.safe_output import rich_console

    told = rich_console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=told, transient=True, disable=not told.is_terminal) as bar:
        task = bar.add_task("walking to the bases", total=None)
        yield (
            lambda size: bar.update(task, description="digesting", total=size),
            lambda size: bar.advance(task, size),
        )
