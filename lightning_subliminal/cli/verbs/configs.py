"""configs: list the shipped YAML files, and copy one to change it."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lightning_subliminal.cli.verb import Group, Verb
from lightning_subliminal.core.config.safe_yaml import read_yaml
from lightning_subliminal.core.config.shipped import find_config, shipped_config, shipped_configs
from lightning_subliminal.core.errors import InputError

__all__ = ["VERB", "copy", "purpose", "references", "show"]

_VERBS = {  # by the folder of a name
    "": "fit --config {name}",
    "experiments": "run --config {name}",
    "suites": "evaluate MODEL ... --suite {name}",
}


def show() -> None:
    """List the shipped configs and their purpose, by the verb that takes them."""
    known = shipped_configs()
    width = max(map(len, known), default=0)
    for folder, verb in _VERBS.items():
        print(f"lightning-subliminal {verb.format(name='NAME')}")
        for name, path in known.items():
            if name.rpartition("/")[0] == folder:
                print(f"  {name:{width}}  {purpose(path)}")
        print()
    print("To change one: lightning-subliminal configs copy NAME [TO]")


def copy(name: str, to: Path = Path(".")) -> None:
    """Copy a shipped config and the files that it refers to; nothing is overwritten.

    Args:
        name: one of `configs list`.
        to: a folder, or a file that ends in .yaml for a config that refers to no other.

    Raises:
        InputError: if there is no such config, a copy would replace another file, or it can't be written.
    """
    source = shipped_config(name)
    names = {path: each for each, path in shipped_configs().items()}
    needed = list(dict.fromkeys([source, *_all_references(source)]))
    one_file = to.suffix in (".yaml", ".yml") and not to.is_dir()
    if one_file and len(needed) > 1:
        raise InputError(f"{name} refers to {len(needed) - 1} other files, so {to} can't hold it: choose a folder.")
    places = {to if one_file else to / f"{names[path]}.yaml": path for path in needed}
    equal = [place for place, path in places.items() if _exists(place, path)]  # all are checked before one is written
    for place, path in places.items():
        if place in equal:
            print(f"{place}: exists already, equal")
        else:
            _write(place, path.read_bytes())
            print(f"{place}: written")
    verb = _VERBS[name.rpartition("/")[0]].format(name=next(iter(places)))
    print(f"now: lightning-subliminal {verb}")


VERB = Group(
    "the YAML files that come with the package; each verb takes them by name, in any folder",
    {
        "list": Verb(show, ["configs list"]),
        "copy": Verb(
            copy,
            ["configs copy owl_numbers mine.yaml", "configs copy experiments/preferences my_plans"],
            ["NAME", "TO"],
        ),
    },
    [
        "configs",
        "fit --config owl_numbers",
        "run --config experiments/paper --dry-run",
        "configs copy owl_numbers mine.yaml",
    ],
    default="list",
)


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


def _named(value: Any) -> Iterator[str]:
    """Yield the texts under ``include`` and ``common``, at any depth."""
    for key, each in value.items() if isinstance(value, dict) else ():
        if key in ("include", "common"):
            yield from (word for word in (each if isinstance(each, list) else [each]) if isinstance(word, str))
        yield from _named(each)
    for each in value if isinstance(value, list) else ():
        yield from _named(each)


def _exists(place: Path, path: Path) -> bool:
    """Return whether a copy exists already.

    Raises:
        InputError: if the place holds another file.
    """
    if not os.path.lexists(place):
        return False
    if place.is_file() and place.read_bytes() == path.read_bytes():
        return True
    raise InputError(f"{place} exists and differs, and nothing is overwritten: move it, or choose another TO.")


def _write(place: Path, data: bytes) -> None:
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with place.open("xb") as file:
            file.write(data)
    except OSError as err:
        raise InputError(f"{place} can't be written ({err.strerror}): choose another TO.") from err
