"""The one error that means: the user can mend this."""

from collections.abc import Iterable

__all__ = ["InputError", "JudgeError", "known_name"]


class InputError(ValueError):
    """A user's mistake, told in one line: what was wrong, what was expected, how to mend it.

    The command line prints it as ``error: ...`` without a stack trace and exits with 2.
    """


class JudgeError(InputError):
    """A judge that can't be asked: it says nothing about the model whose answers it was to read."""


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
