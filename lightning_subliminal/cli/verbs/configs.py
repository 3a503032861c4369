"""configs: what comes with the package, by name; copy one to change it."""

import os
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from lightning_subliminal.cli.positional import show_guide
from lightning_subliminal.core.config.safe_yaml import read_yaml
from lightning_subliminal.core.config.shipped import find_config, shipped_config, shipped_configs
from lightning_subliminal.core.errors import InputError

__all__ = ["COMMANDS", "copy", "guide", "purpose", "references", "show", "spelled"]

_GUIDE = """\
configs: the YAML files that come with the package. Each verb takes them by name, wherever you are.

usage: lightning-subliminal configs [list]
       lightning-subliminal configs copy NAME [TO]

  list                   every name, with what it is for
  copy NAME [TO]         copy one, and the files that it refers to, into the folder TO (default: where you are), under
                         its own name; TO may be a file such as mine.yaml for a config that refers to no other.
                         Nothing is overwritten

examples:
  lightning-subliminal fit --config owl_numbers
  lightning-subliminal run --config experiments/paper --dry-run
  lightning-subliminal configs copy owl_numbers mine.yaml
  lightning-subliminal configs copy experiments/preferences my_plans
"""

_VERBS = {  # by the folder of a name
    "": "fit --config {name}",
    "experiments": "run --config {name}",
    "suites": "evaluate MODEL ... --suite {name}",
}


def show() -> None:
    """List the shipped configs with their purpose, by the verb that takes them."""
    known = shipped_configs()
    width = max(map(len, known), default=0)
    for folder, verb in _VERBS.items():
        print(f"lightning-subliminal {verb.format(name='NAME')}")
        for name, path in known.items():
            if name.rpartition("/")[0] == folder:
                print(f"  {name:{width}}  {purpose(path)}")
        print()
    print("Change one: lightning-subliminal configs copy NAME [TO]")


def copy(name: str, to: Path = Path(".")) -> None:
    """Copy a shipped config and the files that it refers to; nothing is overwritten.

    Args:
        name: one of `configs list`.
        to: a folder; or a file that ends in .yaml, for a config that refers to no other.

    Raises:
        InputError: if there is no such config, another file is in the place of a copy, or it can't be written.
    """
    source = shipped_config(name)
    names = {path: each for each, path in shipped_configs().items()}
    needed = list(dict.fromkeys([source, *_all_references(source)]))
    one_file = to.suffix in (".yaml", ".yml") and not to.is_dir()
    if one_file and len(needed) > 1:
        raise InputError(f"{name} refers to {len(needed) - 1} other files, so {to} can't hold it: give a folder.")
    places = {to if one_file else to / f"{names[path]}.yaml": path for path in needed}
    equal = [place for place, path in places.items() if _is_there(place, path)]  # all are checked before one is written
    for place, path in places.items():
        if place in equal:
            print(f"{place}: already there, equal")
        else:
            _write(place, path.read_bytes())
            print(f"{place}: written")
    verb = _VERBS[name.rpartition("/")[0]].format(name=next(iter(places)))
    print(f"now: lightning-subliminal {verb}")


COMMANDS = {"list": show, "copy": copy}
guide = partial(show_guide, _GUIDE, with_no_words=False)


def spelled(words: list[str]) -> list[str]:
    """Return the words as the parser takes them: TO as an option."""
    if words[:1] == ["copy"] and len(words) == 3 and not any(word.startswith("-") for word in words):
        return [*words[:2], f"--to={words[2]}"]
    return words


def purpose(path: Path) -> str:
    """Return the first sentence of the comment that a YAML begins with."""
    text = []
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            if not line.startswith("#"):
                break
            text.append(line.lstrip("#").strip())
    return re.split(r"(?<=[.?!])\s", " ".join(text), maxsplit=1)[0]


def references(path: Path) -> list[Path]:
    """Return the configs that a plan names as ``include`` or ``common``."""
    words = _named(read_yaml(path))
    return list(dict.fromkeys(find_config(word, folder=path.parent).resolve() for word in words))


def _all_references(path: Path) -> Iterator[Path]:
    for each in references(path):
        yield each
        yield from _all_references(each)


def _named(told: Any) -> Iterator[str]:
    """Yield what stands under ``include`` and ``common``, at any depth."""
    if isinstance(told, dict):
        for key, value in told.items():
            if key in ("include", "common"):
                yield from (each for each in (value if isinstance(value, list) else [value]) if isinstance(each, str))
            yield from _named(value)
    elif isinstance(told, list):
        for each in told:
            yield from _named(each)


def _is_there(place: Path, path: Path) -> bool:
    """Tell whether a copy is there already.

    Raises:
        InputError: if something else is.
    """
    if not os.path.lexists(place):
        return False
    if place.is_file() and place.read_bytes() == path.read_bytes():
        return True
    raise InputError(f"{place} is there and differs, and nothing is overwritten: move it, or give another TO.")


def _write(place: Path, data: bytes) -> None:
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with place.open("xb") as file:
            file.write(data)
    except OSError as err:
        raise InputError(f"{place} can't be written ({err.strerror}): give another TO.") from err
