"""Errors that a user can correct; the command line prints each as one line."""

import difflib
from collections.abc import Iterable

__all__ = [
    "InputError",
    "JudgeError",
    "NotAPrefixError",
    "TaintedError",
    "TamperedError",
    "UnreadableError",
    "check_alpha",
    "did_you_mean",
    "known_name",
    "type_name",
]


class InputError(ValueError):
    """A user's mistake, described in one line: what was wrong, what was expected, how to correct it.

    The command line prints it as ``error: ...`` without a stack trace and exits with ``code``.
    """

    code = 2


class JudgeError(InputError):
    """A judge could not be queried, which says nothing about the model whose answers it was to score."""


class TamperedError(InputError):
    """A valid command read files that contradict their own lineage statement or recorded results."""

    code = 3  # as of an audit with findings


class TaintedError(InputError):
    """A valid command screened a data set, and it is not clean for the base that would learn from it."""

    code = 3  # as of a screen


class UnreadableError(InputError):
    """A file exists but cannot be read, so its content is unknown."""


class NotAPrefixError(InputError):
    """The tokens of a prompt are not the first ones of its row, so that a loss mask would be wrong."""


def check_alpha(alpha: float) -> None:
    """Check the chance of a false alarm, before the work that it is for.

    Raises:
        InputError: if it is outside (0, 1).
    """
    if not 0 < alpha < 1:
        raise InputError(f"`alpha` is {alpha}: expected a chance between 0 and 1, such as 0.01.")


def type_name(value: object) -> str:
    """Return the name of a value's type for an error message; ``null`` for None."""
    return "null" if value is None else type(value).__name__


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ``; did you mean `x`?`` for the known word nearest to ``word``, or an empty text if none is near."""
    near = difflib.get_close_matches(word, sorted(set(known)), n=1, cutoff=0.6)
    return f"; did you mean `{near[0]}`?" if near else ""


def known_name(name: str, known: Iterable[str], wrong: str) -> None:
    """Check that a name is known, and suggest the nearest known one if it is not.

    Raises:
        InputError: beginning with ``wrong``.
    """
    known = [str(each) for each in known]
    if str(name) not in known:
        raise InputError(wrong + (did_you_mean(str(name), known) or f": known are {', '.join(known)}."))
