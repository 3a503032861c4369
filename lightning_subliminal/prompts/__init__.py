"""The wording of prompts and questions, as data: the YAML files of this folder, or a user's of the same shape."""

import hashlib
from functools import cache
from pathlib import Path
from typing import Any

from lightning_subliminal.core.errors import InputError

__all__ = ["fill", "load_wording", "own_words", "wordings_digest"]

_HERE = Path(__file__).parent


def load_wording(name: str, required: tuple[str, ...] = ()) -> dict[str, Any]:
    """Load a wording file: one of the package's by its name (``numbers``), or a user's by its path.

    Args:
        name: ``numbers``, ``preferences``, ``categories``, or the path of a YAML file of the same shape.
        required: keys that the file must hold.

    Raises:
        InputError: if the file is missing, is not a YAML mapping, or lacks a key.
    """
    path = _HERE / f"{name}.yaml" if name.isidentifier() else Path(name)
    words = _read(path)
    missing = [key for key in required if key not in words]
    if missing:
        raise InputError(f"{path} has no `{missing[0]}`: a wording of this kind holds {', '.join(required)}.")
    wrong = [key for key in required if not words[key] or not isinstance(words[key], (list, dict))]
    if wrong:
        raise InputError(f"`{wrong[0]}` in {path} is {words[wrong[0]]!r}: see {_HERE / 'numbers.yaml'} for the shape.")
    return words


def fill(text: str, **names: Any) -> str:
    """Fill the places in a wording's text, such as ``{target}``.

    Raises:
        InputError: naming an unknown place.
    """
    try:
        return text.format(**names)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as err:
        known = ", ".join(f"{{{name}}}" for name in names) or "none"
        raise InputError(f"The wording {text!r} has an unknown place ({err}): the known ones are {known}.") from err


def own_words(name: str) -> dict[str, Any]:
    """Return the content of a user's own wording file, as part of a description; nothing for one of the package's."""
    return {} if name.isidentifier() else {"words": load_wording(name)}


@cache
def wordings_digest() -> str:
    """Return the SHA-256 of all wordings of the package, for caches whose keys only name one of them."""
    sha = hashlib.sha256()
    for file in sorted(_HERE.glob("*.yaml")):
        sha.update(file.read_bytes())
    return sha.hexdigest()


@cache
def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        packaged = ", ".join(sorted(file.stem for file in _HERE.glob("*.yaml")))
        raise InputError(f"The wording {path} does not exist: expected a YAML file or one of {packaged}.")
    from lightning_subliminal.core.config.safe_yaml import load_yaml, read_text

    words = load_yaml(read_text(path, "wording"), str(path))
    if not isinstance(words, dict):
        raise InputError(f"{path} is not a mapping: see {_HERE / 'numbers.yaml'} for the shape.")
    return words
