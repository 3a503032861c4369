"""Bases from the Hugging Face hub: the local copy, else a download, else an error within seconds."""

import re
from pathlib import Path
from typing import Any

from lightning_subliminal.bases.folder_checks import check_folder
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.io.adapter_names import adapter_files

__all__ = ["hub_folder", "is_hub_id", "local_copy"]

_PATTERNS = ["*.json", "*.safetensors", "*.jinja", "*.model", "*.txt"]
_PATIENCE = 5.0  # seconds to wait for the hub's first answer


def is_hub_id(name: str) -> bool:
    """Return whether ``name`` has the form ``organisation/model`` or ``organisation/model@revision``."""
    return re.fullmatch(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(@[\w][\w./-]*)?", name, re.ASCII) is not None


def local_copy(name: str) -> Path:
    """Return the snapshot of a model in the hub's cache, at the name's revision, if it has one.

    Raises:
        Exception: one of huggingface_hub's, if there is none.
    """
    from huggingface_hub import snapshot_download

    place, _, revision = name.partition("@")
    return Path(snapshot_download(place, revision=revision or None, local_files_only=True))


def hub_folder(name: str) -> Path:
    """Return the folder of a hub model, downloaded if there is no complete local copy.

    A local copy is used as it is, so that runs don't change with the hub; delete it to download it again.

    Raises:
        InputError: if there is no local copy and the hub can't be reached, or refuses the model.
    """
    from huggingface_hub import HfApi, constants, snapshot_download

    try:
        return check_folder(local_copy(name), name)
    except Exception as err:
        if isinstance(err, InputError) and adapter_files(local_copy(name)) is not None:
            raise  # a complete copy of an adapter
        if constants.HF_HUB_OFFLINE:
            raise InputError(
                f"Base {name!r} has no complete copy on this machine, and HF_HUB_OFFLINE forbids a download: unset it, "
                "or name a local folder."
            ) from err
    try:
        place, _, revision = name.partition("@")
        at: dict[str, Any] = {"revision": revision or None}
        HfApi().model_info(place, timeout=_PATIENCE, **at)  # fails fast: a download retries for minutes
        folder = Path(snapshot_download(place, allow_patterns=_PATTERNS, etag_timeout=_PATIENCE, **at))
    except Exception as err:  # the hub's client raises errors of three libraries
        raise InputError(_reason(name, err)) from err
    return check_folder(folder, name)


def _reason(name: str, err: Exception) -> str:
    kind = type(err).__name__
    if kind == "GatedRepoError":
        return f"Base {name!r} is gated: accept its licence on the hub and log in (`hf auth login`)."
    if kind == "RevisionNotFoundError":
        return f"Base {name!r}: the hub's model has no such revision: check the branch, tag or commit after the @."
    if kind in ("RepositoryNotFoundError", "HFValidationError"):
        return f"Base {name!r} is not on the hub, or is private: check the spelling, or log in (`hf auth login`)."
    return (
        f"Base {name!r} has no complete copy on this machine, and the hub can't be reached ({kind}): connect, or name "
        "a local folder, pocket/a or smollm2-135m."
    )
