"""What model cards and configurations of Hugging Face say of parents: claims that anybody can write, never trusted."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning_subliminal.core.config.safe_yaml import load_yaml
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.io.adapter_names import OWN_FILES, PEFT_FILES
from lightning_subliminal.core.io.bounds import MAX_CARD
from lightning_subliminal.lineage.material import Material
from lightning_subliminal.lineage.strict_json import parse, read_bytes

__all__ = ["card_claims"]

_CARD = "model card, unverified"
_WEAK = "{}, unverified, and often the place of a copy"
# The expression of huggingface_hub's repocard.py and of the Hub itself: what it does not match is no front matter.
_FRONT = re.compile(r"\s*---(?:\r\n|\r|\n)(?P<yaml>[\S\s]*?)(?:\r\n|\r|\n)---[ \t]*(?:\r\n|\n|\Z)")
_FIELDS = (("base_model", "base"), ("datasets", "rows"), ("source_datasets", "rows"))
_CONFIGS = (
    *((each.config, "base_model_name_or_path") for each in (PEFT_FILES, OWN_FILES)),
    ("config.json", "_name_or_path"),
)


def card_claims(folder: Path) -> list[Material]:
    """Return the parents that a folder's card and configurations name, each once, the card's first.

    They have no digest, so nothing can be matched by them; ``annotations`` say where they come from.

    Args:
        folder: of a model or data set, as downloaded from the Hub.

    Raises:
        InputError: if a card or configuration is there but can't be read.
    """
    claims = _of_card(folder) + [claim for name, field in _CONFIGS for claim in _of_config(folder, name, field)]
    return list({(each.role, each.uri): each for each in reversed(claims)}.values())[::-1]


def _of_card(folder: Path) -> list[Material]:
    path = folder / "README.md"  # a link in the Hub's own cache, and only names are taken from it
    front = _front_matter(path) if path.exists() else {}
    relation = front.get("base_model_relation")
    claims = []
    for field, role in _FIELDS:
        for name in _names(front.get(field), f"`{field}` in {path}"):
            notes = {"claim": _CARD, "field": field}
            if role == "base" and isinstance(relation, str):
                notes["relation"] = relation
            claims.append(Material(role, name, {}, annotations=notes))
    return claims


def _front_matter(path: Path) -> Mapping[str, Any]:
    """Return what a card's front matter says, as huggingface_hub reads it; nothing where it reads none."""
    try:
        found = _FRONT.match(read_bytes(path, MAX_CARD).decode("utf-8-sig"))
    except UnicodeDecodeError as err:
        raise InputError(f"{path} is no text in UTF-8.") from err
    if found is None:  # no second line of dashes closes it, or none begins it
        return {}
    front = load_yaml(found["yaml"], f"The front matter of {path}")
    if front is None:
        return {}
    if not isinstance(front, dict):
        raise InputError(f"The front matter of {path} is a {type(front).__name__}: expected names with values.")
    return front


def _names(value: Any, what: str) -> list[str]:
    """Return what a field names: it is a text or a list of texts; cards of Hub datasets have {id: ...} too."""
    if value is None or value == "":
        return []
    found = []
    for each in value if isinstance(value, list) else [value]:
        each = each.get("id", each.get("name")) if isinstance(each, dict) else each
        if not isinstance(each, str) or not each.strip() or len(each) > 500:
            raise InputError(f"{what} is no name and no list of names.")
        found.append(each.strip())
    return found


def _of_config(folder: Path, name: str, field: str) -> list[Material]:
    path = folder / name
    if not path.exists():
        return []
    value = parse(read_bytes(path), str(path)).get(field)
    if not isinstance(value, str) or not value.strip():
        return []
    return [Material("base", value.strip(), {}, annotations={"claim": _WEAK.format(name), "field": field})]
