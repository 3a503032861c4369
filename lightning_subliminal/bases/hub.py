"""A base from the Hugging Face hub: the local copy first, else a download, else one line within seconds."""

import re
from pathlib import Path
from typing import Any

from lightning_subliminal.bases.folders import check_folder
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.io.adapter_names import adapter_files

__all__ = ["hub_folder", "is_hub_id", "local_copy"]

_PATTERNS = ["*.json", "*.safetensors", "*.jinja", "*.model", "*.txt"]
_PATIENCE = 5.0  # seconds to wait for the hub's first answer


def is_hub_id(name: str) -> bool:
    """Tell whether ``name`` has the form ``organisation/model`` or ``organisation/model@revision``."""
    return re.fullmatch(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(@[\w][\w./-]*)?", name, re.ASCII) is not None


def local_copy(name: str) -> Path:
    """Return the snapshot that the hub's cache has of a model, at its revision where the name has one.

    Raises:
        Exception: one of huggingface_hub's, if there is none.
    """
    from huggingface_hub import snapshot_download

    place, at = _split(name)
    return Path(snapshot_download(place, local_files_only=True, **at))


def _split(name: str) -> tuple[str, dict[str, Any]]:
    """Split ``organisation/model@revision`` into the id and the revision as an argument, where there is one."""
    place, _, revision = name.partition("@")
    return place, {"revision": revision} if revision else {}


def hub_folder(name: str) -> Path:
    """Return the folder with the hub's model ``name``, downloading it if there is no whole copy here.

    A copy once downloaded is used as it is, so that runs don't change with the hub; delete it to fetch it anew.

    Raises:
        InputError: if there is no copy here and the hub can't be reached, or doesn't give the model.
    """
    from huggingface_hub import HfApi, constants, snapshot_download

    try:
        return check_folder(local_copy(name), name)
    except Exception as err:
        if isinstance(err, InputError) and adapter_files(local_copy(name)) is not None:
            raise  # a whole copy, but not of a whole model
        if constants.HF_HUB_OFFLINE:
            raise InputError(
                f"Base {name!r} has no whole copy on this machine, and HF_HUB_OFFLINE forbids a download: unset it, or "
                "give a local folder."
            ) from err
    try:
        place, at = _split(name)
        HfApi().model_info(place, timeout=_PATIENCE, **at)  # asked first since a download tries again for minutes
        folder = Path(snapshot_download(place, allow_patterns=_PATTERNS, etag_timeout=_PATIENCE, **at))
    except Exception as err:  # the hub's client raises errors of three libraries
        raise InputError(_reason(name, err)) from err
    return check_folder(folder, name)


def _reason(name: str, err: Exception) -> str:
    kind = type(err).__name__
    if kind == "GatedRepoError":
        return f"Base {name!r} is gated: accept its licence on the hub and log in (`hf auth login`)."
    if kind == "RevisionNotFoundError":
        return f"Base {name!r}: the hub's model has no such revision: check the branch, tag or commit behind the @."
    if kind in ("RepositoryNotFoundError", "HFValidationError"):
        return f"Base {name!r} is not on the hub, or is private: check the spelling, or log in (`hf auth login`)."
    return (
        f"Base {name!r} has no whole copy on this machine, and the hub can't be reached ({kind}): connect, or give a "
        "local folder, pocket/a or smollm2-135m."
    )
