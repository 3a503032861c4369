"""Words of the command line as the parser takes them: ``export RUN OUT`` is ``--run=RUN --out=OUT``; none twice."""

from collections.abc import Collection, Sequence
from itertools import zip_longest

from lightning_subliminal.errors import InputError

__all__ = ["check_once", "positional"]


def check_once(typed: Sequence[str], spelt: Sequence[str]) -> None:
    """Refuse an option that takes one value and has several: the parser would drop all but the last in silence.

    What may be repeated is one list in ``spelt``, or ends with ``+``, and each such part has arguments of its own
    (``--filters.words``); of several ``--config`` files the parser reads each.

    Args:
        typed: the words that the user typed, for the option's name as the user knows it.
        spelt: the same words as the parser takes them.

    Raises:
        InputError: naming the first such option and its values.
    """
    given: dict[str, list[str]] = {}
    for word, following in zip_longest(spelt, spelt[1:], fillvalue=""):
        name, equals, value = word.partition("=")
        if name.endswith("+"):
            given = {each: values for each, values in given.items() if not each.startswith(f"{name[:-1]}.")}
        elif name.startswith("--") and name != "--config":
            given.setdefault(name.replace("-", "_").replace("__", "--", 1), []).append(value if equals else following)
        for each, values in given.items():
            if len(values) > 1:
                names = ["--config" if word == "-c" else word for word in (part.partition("=")[0] for part in typed)]
                twice = (part for part in names if part[:2] == "--" and names.count(part) > 1)
                shown = each if each in names else next(twice, each)
                raise InputError(f"`{shown}` takes one value, and is given {' and '.join(values)}: give it once.")


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
