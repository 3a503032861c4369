"""The command line: ``lightning-subliminal VERB ...``.

``fit``, ``validate``, ``test`` and ``predict`` are LightningCLI's; the other verbs are typed functions in ``verbs/``
and the folders beside it. Nothing heavy is imported before a verb needs it. A mistake is reported in one line;
``--traceback`` shows all of it.
"""

import os
import signal
import sys
import traceback
import warnings
from collections.abc import Sequence
from importlib import import_module

from lightning_subliminal.cli.guide import OVERVIEW, verb_guide
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.safe_output import clean_output, shorten
from lightning_subliminal.core.threads import choosing_threads

__all__ = ["main"]

TRAINER_VERBS = ("fit", "validate", "test", "predict")
_FOLDERS = {"theory": "theory"} | dict.fromkeys(("audit", "lineage", "export", "kinship"), "provenance")
OWN_VERBS = (
    "audit",
    "bases",
    "cache",
    "chat",
    "compare",
    "configs",
    "data",
    "evaluate",
    "export",
    "lineage",
    "kinship",
    "report",
    "run",
    "runs",
    "theory",
    "traits",
)  # each is a module in cli/ with a dict COMMANDS


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line; give back on success.

    Args:
        args: the words after the program's name; None takes those of the process.

    Raises:
        SystemExit: with 2 after a user's mistake, 3 after a check that found something, 1 after a surprise, 130 after
            Ctrl-C.
    """
    words = list(sys.argv[1:] if args is None else args)
    wants_traceback = "--traceback" in words or os.environ.get("LIGHTNING_SUBLIMINAL_TRACEBACK", "0") not in ("", "0")
    words = [word for word in words if word != "--traceback"]
    old_handler = signal.getsignal(signal.SIGINT)
    with clean_output(), warnings.catch_warnings(), choosing_threads():
        warnings.showwarning = _show_warning
        code = _guarded(words, wants_traceback)
    if code == 130 and callable(old_handler):
        signal.signal(signal.SIGINT, old_handler)  # Lightning turns Ctrl-C off while it shuts down
    if code:
        raise SystemExit(code)


def _guarded(words: list[str], wants_traceback: bool) -> int:
    """Run, and turn whatever is raised into one line and an exit code."""
    try:
        _run(words)
    except KeyboardInterrupt:
        return _interrupted()
    except SystemExit as stop:
        if isinstance(stop.__context__, KeyboardInterrupt):  # Lightning catches Ctrl-C itself and exits
            return _interrupted()
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BrokenPipeError:  # the reader of our output has gone, as in `... | head`
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - else Python complains once more at its own end
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
        print(f"error: a library can't read what it was given ({shorten(' '.join(str(err).split()))})", file=sys.stderr)
        return 2
    return 0


def _run(words: list[str]) -> None:
    verb, rest = (words[0], words[1:]) if words else ("--help", [])
    if verb in ("--help", "-h", "help"):
        print(OVERVIEW, end="")
    elif verb == "--version":
        from lightning_subliminal.core.version import __version__

        print(f"lightning-subliminal {__version__}")
    elif verb in TRAINER_VERBS:
        if not rest or "--help" in rest or "-h" in rest:
            print(verb_guide(verb), end="")
            return
        _check_signing_key()
        rest = ["--help" if word == "--help=all" else word for word in rest]
        import_module("lightning_subliminal.cli.verbs.trainer").run_verb(verb, rest)
    elif verb in OWN_VERBS:
        if verb != "lineage":  # `lineage keygen` makes the key
            _check_signing_key()
        _run_own(verb, rest)
    else:
        from lightning_subliminal.core.error_messages import did_you_mean

        known = (*TRAINER_VERBS, *OWN_VERBS)
        hint = did_you_mean(verb, known) or f": choose {', '.join(known[:-1])} or {known[-1]}; see --help"
        raise InputError(f"unknown command {verb!r}{hint}")


def _check_signing_key() -> None:
    """Refuse a key that can't sign before hours of work end with it."""
    if os.environ.get("LIGHTNING_SUBLIMINAL_SIGNING_KEY"):
        from lightning_subliminal.lineage.signatures.sign import check_signing_key

        check_signing_key()


def _run_own(verb: str, words: list[str]) -> None:
    """Run one of our own verbs: a dict of typed functions, of which `list` is the one without a name.

    A verb may have help of its own, ``guide(words)``, and a spelling of its options, ``spelled(words)``.
    """
    room = import_module(f"lightning_subliminal.cli.{_FOLDERS.get(verb, 'verbs')}.{verb}")
    told = room.guide(words) if hasattr(room, "guide") else None
    if told is not None:
        print(told, end="")
        return
    from jsonargparse import auto_cli

    from lightning_subliminal.cli.positional import check_once
    from lightning_subliminal.core.error_messages import OneLineParser

    spelt = room.spelled(words) if hasattr(room, "spelled") else words
    check_once(words, spelt)
    auto_cli(
        room.COMMANDS,
        args=spelt or ["list"],
        parser_class=OneLineParser,
        description=(room.__doc__ or "").strip(),
        prog=f"lightning-subliminal {verb}",
    )


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: object = None,
    line: str | None = None,
) -> None:
    """Print a warning as one line, without the place in a library's code."""
    print(f"warning: {shorten(' '.join(str(message).split()))}", file=sys.stderr)


def _interrupted() -> int:
    print("interrupted: run the same command again to go on", file=sys.stderr)
    return 130
