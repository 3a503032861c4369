"""Parents that model cards and configurations of Hugging Face name: unverified claims, never trusted."""

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
# As in huggingface_hub's repocard.py and on the Hub itself: text that does not match is not front matter.
_FRONT = re.compile(r"\s*---(?:\r\n|\r|\n)(?P<yaml>[\S\s]*?)(?:\r\n|\r|\n)---[ \t]*(?:\r\n|\n|\Z)")
_FIELDS = (("base_model", "base"), ("datasets", "rows"), ("source_datasets", "rows"))
_CONFIGS = (
    *((each.config, "base_model_name_or_path") for each in (PEFT_FILES, OWN_FILES)),
    ("config.json", "_name_or_path"),
)


def card_claims(folder: Path) -> list[Material]:
    """Return the parents that a folder's card and configurations name, each once, the card's first.

    They have no digest, so no artefact can be matched to them; ``annotations`` name their source.

    Args:
        folder: a model or data set, as downloaded from the Hub.

    Raises:
        InputError: if a card or configuration can't be read.
    """
    claims = []
    card = folder / "README.md"  # may be a link in the Hub's cache; only names are read from it
    front = _front_matter(card) if card.exists() else {}
    relation = front.get("base_model_relation")
    for field, role in _FIELDS:
        for name in _names(front.get(field), f"`{field}` in {card}"):
            notes = {"claim": _CARD, "field": field}
            if role == "base" and isinstance(relation, str):
                notes["relation"] = relation
            claims.append(Material(role, name, {}, annotations=notes))
    for file, field in _CONFIGS:
        path = folder / file
        value = parse(read_bytes(path), str(path)).get(field) if path.exists() else None
        if isinstance(value, str) and value.strip():
            notes = {"claim": _WEAK.format(file), "field": field}
            claims.append(Material("base", value.strip(), {}, annotations=notes))
    return list({(each.role, each.uri): each for each in reversed(claims)}.values())[::-1]


def _front_matter(path: Path) -> Mapping[str, Any]:
    """Return a card's front matter as huggingface_hub reads it; empty if the card has none."""
    try:
        found = _FRONT.match(read_bytes(path, MAX_CARD).decode("utf-8-sig"))
    except UnicodeDecodeError as err:
        raise InputError(f"{path} is not UTF-8 text.") from err
    if found is None:  # a line of dashes is missing
        return {}
    front = load_yaml(found["yaml"], f"The front matter of {path}")
    if front is None:
        return {}
    if not isinstance(front, dict):
        raise InputError(f"The front matter of {path} is a {type(front).__name__}: expected names with values.")
    return front


def _names(value: Any, field: str) -> list[str]:
    """Return the names in a field: a text, a list of texts, or, in cards of Hub data sets, {id: ...}."""
    if value is None or value == "":
        return []
    found = []
    for each in value if isinstance(value, list) else [value]:
        each = each.get("id", each.get("name")) if isinstance(each, dict) else each
        if not isinstance(each, str) or not each.strip() or len(each) > 500:
            raise InputError(f"{field} is not a name or a list of names.")
        found.append(each.strip())
    return found
