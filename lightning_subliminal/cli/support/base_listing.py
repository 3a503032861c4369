"""Which bases are on this machine: sizes and parameters by their files alone, without loading one or asking the hub."""

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lightning_subliminal.bases.folder_checks import check_folder
from lightning_subliminal.bases.folders import model_files
from lightning_subliminal.bases.gguf import GGUF_BASES
from lightning_subliminal.bases.lookup import POCKET, available
from lightning_subliminal.bases.weight_headers import tensor_shapes
from lightning_subliminal.core.cache import cache_root
from lightning_subliminal.core.errors import InputError

__all__ = ["ListedBase", "hub_models", "registered"]


@dataclass(frozen=True)
class ListedBase:
    """A base by name, and what of it is on this machine.

    Attributes:
        base: its name in a config.
        about: what it is.
        state: `ready` to be loaded, `installed` and converted on first use, `incomplete`, or `missing`.
        parameters: their number; None where no weights are on this machine.
        bytes: of the files that a loader reads; None where there are none.
        folder: of these files; None where there are none.
        remedy: the command that installs it, what an incomplete copy lacks, or what is left to do; else empty.
    """

    base: str
    about: str
    state: str
    parameters: int | None = None
    bytes: int | None = None
    folder: str | None = None
    remedy: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON-able data."""
        return asdict(self)


def registered() -> list[ListedBase]:
    """Return the bases that have a name of their own."""
    return [_registered(name, about) for name, about in available().items()]


def _registered(name: str, about: str) -> ListedBase:
    if name.startswith("pocket/"):
        return _ready(name, about, POCKET / name.removeprefix("pocket/"))
    packaged = GGUF_BASES.get(name)
    if packaged is None:
        return ListedBase(name, about, "installed")  # the user's own, whose loader may do anything
    made = [path.parent for path in (cache_root() / "bases").glob(f"{name}-*/config.json")]
    if made:
        return _ready(name, about, max(made, key=lambda folder: folder.stat().st_mtime))
    if packaged.is_installed():
        return ListedBase(name, about, "installed", remedy="it is converted at its first use")
    return ListedBase(name, about, "missing", remedy=packaged.install.partition(": ")[2])


def hub_models() -> Iterator[ListedBase]:
    """Yield the language models in the hub's cache, one a revision that has a name there, or one by its commit."""
    from huggingface_hub import constants

    for repo in sorted(Path(constants.HF_HUB_CACHE).glob("models--*--*")):
        name = repo.name.removeprefix("models--").replace("--", "/", 1)
        refs = {
            path.relative_to(repo / "refs").as_posix(): path for path in (repo / "refs").rglob("*") if path.is_file()
        }
        named = {ref: path.read_text(encoding="utf-8", errors="replace").strip() for ref, path in sorted(refs.items())}
        for snapshot in sorted(repo.glob("snapshots/*/")):
            ref = next((ref for ref, commit in named.items() if commit == snapshot.name), snapshot.name)
            if (snapshot / "config.json").is_file():
                yield _ready(name if ref == "main" else f"{name}@{ref}", f"commit {snapshot.name[:12]}", snapshot)


def _ready(name: str, about: str, folder: Path) -> ListedBase:
    """Return a base in a folder, which may lack files."""
    files = model_files(folder) if folder.is_dir() else {}
    size = sum(path.stat().st_size for path in files.values())
    try:
        check_folder(folder, name)
        weights = [path for path in files.values() if path.suffix == ".safetensors"]
        count = sum(math.prod(shape) for path in weights for shape in tensor_shapes(path).values())
    except (InputError, OSError) as err:
        return ListedBase(name, about, "incomplete", None, size, str(folder), str(err))
    return ListedBase(name, about, "ready", count, size, str(folder))
