"""The one error that means: the user can mend this."""

__all__ = ["InputError"]


class InputError(ValueError):
    """A user's mistake, told in one line: what was wrong, what was expected, how to mend it.

    The command line prints it as ``error: ...`` without a stack trace and exits with 2.
    """
