"""A base's name for tools that don't know our registry, and the way back."""

from pathlib import Path

from lightning_subliminal.bases.hub import is_hub_id
from lightning_subliminal.bases.registry import POCKET, POCKET_BASES, available, resolve

__all__ = ["is_on_hub", "outside_name", "peft_base", "shipped_name"]

# Where the shipped bases are, wherever the package is installed: now, and before version 0.2.
_SHIPPED = (POCKET.parts[-4:], ("lightning_subliminal", "pocket", "weights"))


def outside_name(name: str) -> str:
    """Return what any tool opens a base by: its id on the hub, with the revision behind an @, or its folder's path.

    Arguments of a chat template (``?enable_thinking=false``) are in neither: the lineage record keeps them.

    Raises:
        InputError: if there is no such base.
    """
    return name.partition("?")[0] if is_on_hub(name) else str(resolve(name).folder.absolute())


def is_on_hub(name: str) -> bool:
    """Return whether a base is named by its id on the hub, and not one of ours or a local folder."""
    plain = name.partition("?")[0]
    here = plain in available() or any(Path(each).expanduser().exists() for each in (name, plain))
    return is_hub_id(plain) and not here


def peft_base(name: str) -> dict[str, str | None]:
    """Return the fields of PEFT's config that name a base so that PEFT opens it.

    Raises:
        InputError: if there is no such base.
    """
    given = outside_name(name)
    place, _, revision = given.partition("@") if is_hub_id(given) else (given, "", "")
    return {"base_model_name_or_path": place, "revision": revision or None}


def shipped_name(path: str) -> str | None:
    """Return the name of a base that is shipped with this package, by its folder's path here or elsewhere."""
    *above, which = Path(path).parts or ("",)
    shipped = any(tuple(above[-len(each) :]) == each for each in _SHIPPED)
    return f"pocket/{which}" if shipped and which in POCKET_BASES else None
