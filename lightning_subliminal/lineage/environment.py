"""The code and machine that made an artefact: package versions, a digest of this package's source, environment."""

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
    """Return the versions of this package and of the packages that influence its results."""
    found = {"lightning-subliminal": __version__}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # run from a source tree
            found[package] = "unknown"
    return found


@cache
def code_digest() -> str:
    """Return the ``dirHash`` of this package's Python, YAML and Jinja files: its code as it ran, committed or not.

    Shipped configs are not included: a wheel has them inside the package, an editable install outside.
    """
    root = Path(__file__).parents[1]
    found = (path for pattern in ("*.py", "*.yaml", "*.jinja") for path in root.rglob(pattern))
    files = [path for path in found if path.relative_to(root).parts[0] != "configs"]
    return dir_hash({str(path.relative_to(root).as_posix()): file_digest(path) for path in files})


@cache
def environment() -> dict[str, str]:
    """Return the other causes of small numerical differences: Python, system, threads, accelerator."""
    import torch

    found = {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "threads": str(torch.get_num_threads()),
    }
    if torch.cuda.is_available():
        found |= {"gpu": torch.cuda.get_device_name(), "cuda": str(torch.version.cuda)}
    return found
