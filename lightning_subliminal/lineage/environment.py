"""Which code made an artefact, and where: package versions, a digest of this package's source, machine."""

import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from lightning_subliminal.core.fingerprint import file_digest
from lightning_subliminal.core.version import __version__
from lightning_subliminal.lineage.names import dir_hash

__all__ = ["code_digest", "environment", "package_versions"]

_PACKAGES = ("torch", "lightning", "transformers", "peft", "datasets", "tokenizers", "safetensors", "numpy")


@cache
def package_versions() -> dict[str, str]:
    """Return the version of this package and of those that shape what it makes."""
    return {"lightning-subliminal": __version__} | {name: _version(name) for name in _PACKAGES}


@cache
def code_digest() -> str:
    """Return the ``dirHash`` of this package's Python and word files: its code as it ran, committed or not.

    Shipped configs, which a wheel has in the package and an editable install beside it, are no part of it.
    """
    root = Path(__file__).parents[1]
    found = (path for pattern in ("*.py", "*.yaml", "*.jinja") for path in root.rglob(pattern))
    files = [path for path in found if path.relative_to(root).parts[0] != "configs"]
    return dir_hash({str(path.relative_to(root).as_posix()): file_digest(path) for path in files})


@cache
def environment() -> dict[str, str]:
    """Return what else can move the last bit of a result: Python, system, processor, accelerator."""
    import torch

    told = {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "threads": str(torch.get_num_threads()),
    }
    if torch.cuda.is_available():
        told |= {"gpu": torch.cuda.get_device_name(), "cuda": str(torch.version.cuda)}
    return told


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # run from a source tree
        return "unknown"
