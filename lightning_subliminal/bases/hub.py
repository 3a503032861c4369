"""Bases from the Hugging Face hub: the local copy, else a download, else an error within seconds."""

import errno
import re
from collections.abc import Iterator
from pathlib import Path

from lightning_subliminal.bases.folder_checks import check_folder
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.io.adapter_names import adapter_files

__all__ = ["commit_note", "commit_of", "hub_folder", "is_hub_id", "local_copy"]

_COMMIT = re.compile("[0-9a-f]{40}")
_FULL = (errno.ENOSPC, errno.EDQUOT)
_CUT = ("RemoteProtocolError", "ReadError", "WriteError", "CloseError")  # of httpx


def is_hub_id(name: str) -> bool:
    """Return whether ``name`` has the form ``organisation/model`` or ``organisation/model@revision``."""
    return re.fullmatch(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(@[\w][\w./-]*)?", name, re.ASCII) is not None


def commit_of(folder: Path) -> str:
    """Return the commit of a model's folder in the hub's cache; empty for a folder elsewhere."""
    place = folder.absolute()
    is_snapshot = place.parent.name == "snapshots" and place.parents[1].name.startswith("models--")
    return place.name if is_snapshot and _COMMIT.fullmatch(place.name) else ""


def commit_note(folder: Path) -> dict[str, str]:
    """Return the annotation of a base's material with its commit on the hub; none for a folder elsewhere."""
    return {"commit": commit} if (commit := commit_of(folder)) else {}


def local_copy(name: str) -> Path:
    """Return the snapshot of a model in the hub's cache, at the name's revision, if it has one; files may be missing.

    Raises:
        Exception: one of huggingface_hub's, if there is none.
    """
    from huggingface_hub import snapshot_download

    place, _, revision = name.partition("@")
    try:
        return Path(snapshot_download(place, revision=revision or None, local_files_only=True))
    except Exception as err:  # a copy without a README is incomplete to the hub's client, and not to us
        if partial := getattr(err, "snapshot_path", None):
            return Path(partial)
        raise


def hub_folder(name: str) -> Path:
    """Return the folder of a hub model, downloaded if there is no complete local copy.

    A local copy is used as it is, so that runs don't change with the hub; delete it to download it again. One that
    lacks files is completed.

    Raises:
        InputError: if there is no local copy and the hub can't be reached, or refuses the model.
    """
    from huggingface_hub import constants

    try:
        return check_folder(local_copy(name), name)
    except InputError as err:
        if adapter_files(local_copy(name)) is not None:
            raise  # a complete copy of an adapter
        lacks = f" ({str(err).removeprefix(f'Base {name!r}: ').rstrip('.')})"
    except Exception:
        lacks = ""  # there is no copy
    if constants.HF_HUB_OFFLINE:
        raise InputError(
            f"Base {name!r} has no complete copy on this machine{lacks}, and HF_HUB_OFFLINE forbids a download: unset "
            "it, or name a local folder."
        )
    from lightning_subliminal.bases.download import download  # it imports torch, which a list of bases does without

    try:
        folder = download(name)
    except InputError:
        raise
    except Exception as err:  # the hub's client raises errors of three libraries
        raise InputError(_reason(name, err, lacks)) from err
    return check_folder(folder, name)


def _reason(name: str, err: Exception, lacks: str) -> str:
    from huggingface_hub import constants

    causes = [*_causes(err)]
    kinds = [type(each).__name__ for each in causes]
    if "GatedRepoError" in kinds:
        page = f"{constants.ENDPOINT}/{name.partition('@')[0]}"
        return f"Base {name!r} is gated: accept its licence at {page} and log in (`hf auth login`)."
    if "RevisionNotFoundError" in kinds:
        return f"Base {name!r}: the hub's model has no such revision: check the branch, tag or commit after the @."
    if {"RepositoryNotFoundError", "HFValidationError"} & {*kinds}:
        return f"Base {name!r} is not on the hub, or is private: check the spelling, or log in (`hf auth login`)."
    again = "run it again, which keeps the files that are complete"
    disk = next((each for each in causes if isinstance(each, OSError) and (each.filename or each.errno in _FULL)), None)
    if disk is not None:
        place = constants.HF_HUB_CACHE
        return f"Base {name!r} can't be written to {place} ({disk.strerror}): free space, or set HF_HUB_CACHE."
    if {*_CUT} & {*kinds} or "Consistency check failed" in str(err):
        return f"Base {name!r}: the connection to the hub was cut ({kinds[0]}): {again}."
    if any(kind.endswith("Timeout") for kind in kinds):
        return f"Base {name!r}: the hub does not answer in time ({kinds[0]}): {again}."
    answer = next(filter(None, (getattr(each, "response", None) for each in causes)), None)
    if answer is not None:
        return (
            f"Base {name!r}: the hub answers with an error ({answer.status_code}): try later, or name a local folder."
        )
    return (
        f"Base {name!r} has no complete copy on this machine{lacks}, and the hub can't be reached ({kinds[0]}): "
        "connect, or name a local folder, pocket/a or smollm2-135m."
    )


def _causes(err: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and those that it came from."""
    while err is not None:
        yield err
        err = err.__cause__ or err.__context__
