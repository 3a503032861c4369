"""Words without an option before them, as the parser takes them: ``export RUN OUT`` is ``--run=RUN --out=OUT``."""

from collections.abc import Collection, Sequence

__all__ = ["positional"]


def positional(words: Sequence[str], names: Sequence[str], flags: Collection[str] = ()) -> list[str]:
    """Return the words with the first ones that belong to no option under the options' names.

    Args:
        words: of the command line.
        names: options that the words stand for, in their order.
        flags: options that take no value.
    """
    left = iter(names)
    spelt: list[str] = []
    rest = iter(words)
    for word in rest:
        if word.startswith("--"):
            spelt.append(word)
            takes_value = "=" not in word and word not in flags
            if takes_value and (following := next(rest, None)) is not None:
                spelt.append(following)
        else:
            name = next(left, None)
            spelt.append(f"{name}={word}" if name else word)
    return spelt
