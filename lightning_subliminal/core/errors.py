"""The one error that means: the user can mend this."""

from collections.abc import Iterable

__all__ = ["InputError", "JudgeError", "TamperedError", "UnreadableError", "kind_of", "known_name"]


class InputError(ValueError):
    """A user's mistake, told in one line: what was wrong, what was expected, how to mend it.

    The command line prints it as ``error: ...`` without a stack trace and exits with ``code``.
    """

    code = 2


class JudgeError(InputError):
    """A judge that can't be asked: it says nothing about the model whose answers it was to read."""


class TamperedError(InputError):
    """The command was right, and what it was to read is not what its statement or its own figures say."""

    code = 3  # as of an audit that finds something


class UnreadableError(InputError):
    """Something is there and can't be read, so that nothing is known of it."""


def kind_of(value: object) -> str:
    """Return what a value is called in an error: the name of its class, or ``null``."""
    return "null" if value is None else type(value).__name__


def known_name(name: str, known: Iterable[str], wrong: str) -> None:
    """Refuse a name that is not known, with the one that was likely meant.

    Raises:
        InputError: beginning with ``wrong``.
    """
    import difflib

    known = [str(each) for each in known]
    if str(name) in known:
        return
    near = difflib.get_close_matches(str(name), known, n=1, cutoff=0.6)
    raise InputError(f"{wrong}{f'; did you mean `{near[0]}`?' if near else ': known are ' + ', '.join(known) + '.'}")
