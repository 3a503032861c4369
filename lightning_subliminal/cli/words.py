"""Words of the command line as the parser takes them: ``export RUN OUT`` is ``--run=RUN --out=OUT``."""

import difflib
import inspect
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args, get_origin

from lightning_subliminal.core.config.shipped import meant_config
from lightning_subliminal.core.errors import InputError

__all__ = ["check_once", "parameter_of", "spell", "unknown"]

Parameters = Mapping[str, inspect.Parameter]

_OF_PARSER = ("config", "print_config")  # options that jsonargparse adds itself


def spell(takes: Parameters, places: int, words: Sequence[str], usage: str, hints: Mapping[str, str]) -> list[str]:
    """Return the words as the parser takes them: ``--parameter=value`` each, repeated options as one list.

    Args:
        takes: the parameters of a command.
        places: how many of them words without an option fill, in order; the last one takes all further words if it is
            a list.
        words: the words after the command.
        usage: how the command is typed, for messages.
        hints: by a pattern of unknown options, the ones that are likely meant.

    Raises:
        InputError: if an option is unknown, has no value or several, or a word is too many.
    """
    given: list[tuple[str, str]] = []
    lists: dict[str, list[str]] = defaultdict(list)
    bare, rest = list(takes)[:places], list(words)
    while rest:
        word = rest.pop(0)
        typed, equals, value = word.partition("=")
        if not typed.startswith("--") and typed != "-c":
            if not bare:
                meant = meant_config(word) if "config" in takes else ""
                raise InputError(f"unexpected word {word!r}: {meant or f'expected `{usage}`.'}")
            if _list_of(takes[bare[0]]):
                lists[bare[0]].append(word)
            else:
                given.append((bare.pop(0), word))
            continue
        option = "--config" if typed == "-c" else typed
        key, tail = parameter_of(takes, option), option.partition(".")[2].replace("-", "_")
        if not key:
            near = next((text for pattern, text in hints.items() if re.search(pattern, option)), "")
            raise unknown("option", option, [_option(each) for each in takes], near)
        if key == "print_config":
            given.append((key, value))
            continue
        if tail and key in takes and not _list_of(takes[key]) and _is_plain(takes[key]):
            near = next((text for pattern, text in hints.items() if re.search(pattern, option)), "")
            meant = f"did you mean {near}? To change a setting of a config, " if near else "to change one of a config, "
            raise InputError(
                f"`{option}`: `{_option(key)}` takes one value here and has no settings; {meant}edit a copy of it."
            )
        flag = key in takes and takes[key].annotation is bool
        if not equals and rest and (rest[0] in ("true", "false") if flag else not rest[0].startswith("--")):
            value = rest.pop(0)
        elif not equals and flag:
            value = "true"
        if not value:
            raise InputError(f"`{typed}` needs a value: expected `{usage}`.")
        kind = _list_of(takes[key]) if key in takes else None
        if kind in (str, Path):
            lists[key].append(f"{tail}={value}" if tail else value)
            given += [(f"{key}.{tail}", value)] if tail else []
        elif flag and not key.startswith("no_") and option.startswith("--no"):
            given.append((key, {"true": "false", "false": "true"}.get(value, value)))
        else:
            begins = kind is not None and not tail and value[0] != "["  # another part of the list
            given.append((f"{key}{'+' if begins else ''}{f'.{tail}' if tail else ''}", value))
    check_once(given, () if "config" in takes else ("config",))
    kept = [f"--{key}={value}".rstrip("=") for key, value in given if key.partition(".")[0] not in lists]
    return [*kept, *(f"--{key}={json.dumps(each)}" for key, each in lists.items())]


def parameter_of(takes: Parameters, option: str) -> str:
    """Return the parameter that an option sets, such as ``older_than`` for ``--older-than AGE``; else nothing."""
    name = re.split(r"[ .:+=]", option.removeprefix("--"), maxsplit=1)[0].replace("-", "_")
    if name.startswith("no_") and name not in takes:  # --no-card is --card=false
        positive = name.removeprefix("no_")
        return positive if positive in takes and takes[positive].annotation is bool else ""
    return next((each for each in (name, f"{name}_") if each in takes), name if name in _OF_PARSER else "")


def check_once(given: Iterable[tuple[str, str]], repeated: Sequence[str] = ("config",)) -> None:
    """Refuse an option with two values, of which the parser would silently use the last.

    An option that ends with ``+`` begins another part with arguments of its own (``--filters.words``).

    Args:
        given: names of options without dashes, and their values.
        repeated: names of options whose values the parser reads one after another.

    Raises:
        InputError: naming the first option with two values.
    """
    values: dict[str, str] = {}
    for key, value in given:
        if key.endswith("+"):
            values = {each: kept for each, kept in values.items() if not each.startswith(f"{key[:-1]}.")}
        elif key in values and key not in repeated:
            raise InputError(f"`{_option(key)}` takes one value, got {values[key]} and {value}: leave one out.")
        else:
            values[key] = value


def unknown(what: str, name: str, known: Sequence[str], meant: str = "") -> InputError:
    """Return the error about an unknown command or option.

    Args:
        what: command or option.
        name: the unknown one; its last word is compared.
        known: those that exist.
        meant: what was likely meant, if it is not the nearest name.
    """
    words = {re.split(" |--", each)[-1]: each for each in known}
    near = difflib.get_close_matches(re.split(" |--", name)[-1], sorted(words), n=1, cutoff=0.6)
    meant = meant or "".join(repr(words[each]) for each in near)
    hint = f"did you mean {meant}?" if meant else f"expected one of {', '.join(known)}."
    return InputError(f"unknown {what} {name!r}: {hint}")


def _option(key: str) -> str:
    return f"--{key.rstrip('_')}" if "." in key else f"--{key.rstrip('_').replace('_', '-')}"


def _is_plain(parameter: inspect.Parameter) -> bool:
    """Return whether a parameter takes a text, a path or a number: nothing that has parts."""
    kinds = get_args(parameter.annotation) or (parameter.annotation,)
    return all(each in (str, Path, int, float, bool, type(None)) for each in kinds)


def _list_of(parameter: inspect.Parameter) -> Any:
    """Return the type of the elements of a parameter that takes a list; None if it takes none."""
    kinds = (parameter.annotation, *get_args(parameter.annotation))
    return next((get_args(each)[0] for each in kinds if get_origin(each) is list), None)
