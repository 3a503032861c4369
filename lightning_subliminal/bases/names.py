"""A base's name for tools that don't know our registry, and the way back."""

from pathlib import Path

from lightning_subliminal.bases.hub import is_hub_id
from lightning_subliminal.bases.registry import POCKET, POCKET_BASES, available, resolve

__all__ = ["outside_name", "shipped_name"]

_SHIPPED = POCKET.parts[-3:]  # lightning_subliminal/pocket/weights, wherever the package is installed


def outside_name(name: str) -> str:
    """Return what any tool opens a base by: its id on the hub, with the revision behind an @, or its folder's path.

    Arguments of a chat template (``?enable_thinking=false``) are in neither: the lineage record keeps them.

    Raises:
        InputError: if there is no such base.
    """
    plain = name if Path(name).expanduser().exists() else name.partition("?")[0]
    on_hub = is_hub_id(plain) and plain not in available() and not Path(plain).expanduser().exists()
    return plain if on_hub else str(resolve(name).folder.absolute())


def shipped_name(path: str) -> str | None:
    """Return the name of a base that is shipped with this package, by its folder's path here or elsewhere."""
    *above, which = Path(path).parts or ("",)
    return f"pocket/{which}" if tuple(above[-3:]) == _SHIPPED and which in POCKET_BASES else None
