"""Words of the command line as the parser takes them: ``export RUN OUT`` is ``--run=RUN --out=OUT``; none twice."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest

from lightning_subliminal.core.errors import InputError

__all__ = ["Spelling", "check_once", "show_guide"]


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


@dataclass(frozen=True)
class Spelling:
    """How the words of a verb differ from what its parser takes; calling it with the words returns the parser's.

    Attributes:
        bare: options that the words without an option stand for, in their order.
        listed: whether these words are one list, the parser's first argument.
        repeated: options that may be given again; the parser takes the values as one list.
        switches: options that need no value.
        renamed: what the parser calls an option, by what users call it.
    """

    bare: Sequence[str] = ()
    listed: bool = False
    repeated: Sequence[str] = ()
    switches: Collection[str] = ()
    renamed: Mapping[str, str] = field(default_factory=dict)

    def __call__(self, words: Sequence[str]) -> list[str]:
        """Return the words as the parser takes them.

        Raises:
            InputError: if a repeated or renamed option has no value.
        """
        kept: list[str] = []
        bare: list[str] = []
        lists: dict[str, list[str]] = {name: [] for name in self.repeated}
        left, rest = iter(self.bare), list(words)
        while rest:
            word = rest.pop(0)
            typed, equals, value = word.partition("=")
            name = self.renamed.get(typed, typed)
            if not name.startswith("--"):
                option = next(left, None)
                (bare if self.listed else kept).append(f"{option}={word}" if option else word)
                continue
            if name in self.switches:
                kept.append(f"{name}={value or 'true'}")
                continue
            if not equals and rest and not rest[0].startswith("--"):
                value = rest.pop(0)
            if not value and (name in lists or typed in ("--config", "-c")):
                raise InputError(f"`{typed}` needs a value{'' if name in lists else ': the path of a YAML file'}.")
            if name in lists:
                lists[name].append(value)
            else:
                kept += [f"{name}={value}"] if equals else [name, *([value] if value else [])]
        together = [f"{name}={json.dumps(each)}" for name, each in lists.items() if each]
        return (
            [json.dumps(bare), *together, *kept] if bare else [*together, *kept] if self.listed else [*kept, *together]
        )


def show_guide(text: str, words: Sequence[str], with_no_words: bool = True) -> str | None:
    """Return a verb's help where the words ask for it, or where there are none; None where there is work to do."""
    return text if (with_no_words and not words) or {"--help", "-h"} & set(words) else None
