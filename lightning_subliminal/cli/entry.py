"""The command line: ``lightning-subliminal VERB ...``.

``fit``, ``validate``, ``test`` and ``predict`` are LightningCLI's; the entries of the other verbs are in the modules
that ``table.py`` names. Heavy libraries are imported when a verb needs them. A mistake is reported in one line;
``--traceback`` adds the stack trace.
"""

import os
import signal
import sys
import traceback
import warnings
from collections.abc import Sequence
from importlib import import_module

from lightning_subliminal.cli.table import MODULES, OVERVIEW, OVERVIEW_ALL, TRAINER_VERBS, entry_of, trainer_help
from lightning_subliminal.cli.verb import Group, Verb
from lightning_subliminal.cli.words import unknown
from lightning_subliminal.core.collector import importing, sparing
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.later import import_later
from lightning_subliminal.core.safe_output import clean_output, shorten
from lightning_subliminal.core.threads import choosing_threads

__all__ = ["main"]


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line; return on success.

    Args:
        args: the words after the program's name; None for those of the process.

    Raises:
        SystemExit: with 2 after a user's mistake, 3 after a check that found something, 1 after an unexpected error,
            130 after Ctrl-C.
    """
    words = list(sys.argv[1:] if args is None else args)
    wants_traceback = "--traceback" in words or os.environ.get("LIGHTNING_SUBLIMINAL_TRACEBACK", "0") not in ("", "0")
    words = [word for word in words if word != "--traceback"]
    import_later()
    old_handler = signal.getsignal(signal.SIGINT)
    with clean_output(), warnings.catch_warnings(), choosing_threads(), sparing():
        warnings.showwarning = _show_warning
        code = _guarded(words, wants_traceback)
    if code == 130 and callable(old_handler):
        signal.signal(signal.SIGINT, old_handler)  # Lightning turns Ctrl-C off while it shuts down
    if code:
        raise SystemExit(code)


def _guarded(words: list[str], wants_traceback: bool) -> int:
    """Run; turn an exception into one line and an exit code."""
    try:
        _run(words)
    except KeyboardInterrupt:
        return _interrupted()
    except SystemExit as stop:
        if isinstance(stop.__context__, KeyboardInterrupt):  # Lightning catches Ctrl-C itself and exits
            return _interrupted()
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BrokenPipeError:  # the reader of our output has gone, as in `... | head`
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - else Python reports it again at exit
        return 141
    except Exception as err:
        from lightning_subliminal.core.error_messages import one_line

        if wants_traceback:
            traceback.print_exception(err)
        line, mistake = one_line(err)
        hint = "" if mistake or wants_traceback else " (--traceback shows where)"
        print(f"error: {shorten(line)}{hint}", file=sys.stderr)
        return (err.code if isinstance(err, InputError) else 2) if mistake else 1
    except BaseException as err:
        if type(err).__name__ != "PanicException":  # of a library in Rust, such as tokenizers
            raise
        print(f"error: a library can't read its input ({shorten(' '.join(str(err).split()))})", file=sys.stderr)
        return 2
    return 0


def _run(words: list[str]) -> None:
    verb, rest = (words[0], words[1:]) if words else ("--help", [])
    if verb in ("--help", "-h", "help"):
        print(OVERVIEW, end="")
    elif verb == "--help=all":
        print(OVERVIEW_ALL, end="")
    elif verb == "--version":
        from lightning_subliminal.core.version import __version__

        print(f"lightning-subliminal {__version__}")
    elif verb not in MODULES:
        raise unknown("command", verb, list(MODULES))
    elif verb in TRAINER_VERBS:
        if "--help" in rest or "-h" in rest:
            print(trainer_help(verb), end="")
            return
        if not rest:  # a script's variable may be empty, which must not pass for a success
            print(trainer_help(verb), file=sys.stderr)
            raise InputError(f"`{verb}` has no settings: expected `{verb} --config FILE [options]`.")
        _check_signing_key()
        rest = ["--help" if word == "--help=all" else word for word in rest]
        with importing():
            module = import_module(f"lightning_subliminal.cli.{MODULES[verb]}")
        module.run_verb(verb, rest)
    else:
        if verb != "lineage":  # `lineage keygen` makes the key
            _check_signing_key()
        _run_own(verb, rest)


def _check_signing_key() -> None:
    """Refuse an unusable key before hours of work end with it."""
    if os.environ.get("LIGHTNING_SUBLIMINAL_SIGNING_KEY"):
        from lightning_subliminal.lineage.signatures.sign import own_key

        own_key()


def _run_own(name: str, words: Sequence[str]) -> None:
    """Run a verb by its entry in the table, or print its help.

    Raises:
        InputError: if the words are wrong, or there are none where some are needed; then the help comes first.
    """
    entry = entry_of(name)
    if not words and (isinstance(entry, Verb) or not entry.default):
        print(entry.help(name), file=sys.stderr)
    asks = bool({"--help", "-h"} & set(words))
    if isinstance(entry, Group):
        if words[:1] in (["--help"], ["-h"]):
            print(entry.help(name), end="")
            return
        if words[:1] == ["--help=all"]:
            print(entry.full_help(name), end="")
            return
        group, typed = entry, words
        chosen, entry, words = group.choose(name, words)
        name = name if group.plain and words is typed else chosen  # `screen FILE` is `screen rows FILE`
    if asks:
        print(entry.help(name), end="")
    elif "--help=all" in words:
        print(entry.full_help(name), end="")
    else:
        entry(name, words)


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    """Print a warning as one line, without its place in the code."""
    print(f"warning: {shorten(' '.join(str(message).split()))}", file=sys.stderr)


def _interrupted() -> int:
    print("interrupted: run the same command again, which uses what was finished", file=sys.stderr)
    return 130
