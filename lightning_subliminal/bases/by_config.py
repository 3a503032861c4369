"""Bases by their config alone: for an estimate, whose base need not have its weights on this machine."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lightning_subliminal.bases.hub import is_hub_id
from lightning_subliminal.bases.lookup import available, check_path, find_folder
from lightning_subliminal.bases.noise import split_noise
from lightning_subliminal.bases.registry import Base, resolving
from lightning_subliminal.core.errors import InputError

__all__ = ["by_config", "config_folder"]


def config_folder(name: str) -> Path:
    """Return the folder with a base's ``config.json``; of a hub model's files, this one alone is downloaded.

    Raises:
        InputError: if the file is not on this machine and can't be had.
    """
    plain = name if Path(name).expanduser().exists() else name.partition("?")[0]
    while (noisy := split_noise(plain)) is not None and not Path(plain).expanduser().exists():
        plain = noisy[0]
    folder = Path(plain).expanduser()
    if plain in available():
        return find_folder(plain)
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise InputError(f"Base {name!r}: {folder} has no config.json: an estimate needs that file alone.")
        return folder
    if is_hub_id(plain) and not plain.startswith("pocket/"):
        lost = check_path(plain)
        try:
            return _hub_config(plain).parent
        except InputError as err:
            raise InputError(f"{lost} ({err})" if lost else str(err)) from err
    return find_folder(plain)  # which says what is wrong


def _hub_config(name: str) -> Path:
    """Return the path of a hub model's config, downloaded if the hub's cache lacks it."""
    from huggingface_hub import HfApi, constants, hf_hub_download, try_to_load_from_cache

    from lightning_subliminal.bases.download import PATIENCE, quiet_hub

    place, _, revision = name.partition("@")
    found = try_to_load_from_cache(place, "config.json", revision=revision or None)
    if isinstance(found, str):
        return Path(found)
    advice = f"`hf download {name.replace('@', ' --revision ')} config.json` gets it, without weights"
    if constants.HF_HUB_OFFLINE:
        raise InputError(f"Base {name!r}: its config.json is not on this machine, and HF_HUB_OFFLINE is set: {advice}.")
    try:
        with quiet_hub():
            HfApi().model_info(place, revision=revision or None, timeout=PATIENCE)  # the next tries for half a minute
            return Path(hf_hub_download(place, "config.json", revision=revision or None, etag_timeout=PATIENCE))
    except Exception as err:  # the hub's client raises errors of three libraries
        kind = type(err).__name__
        raise InputError(
            f"Base {name!r}: its config.json is not on this machine, and the hub does not give it ({kind}): {advice}, "
            "or name a local folder with that file."
        ) from err


@contextmanager
def by_config() -> Iterator[None]:
    """Find bases by their config alone inside: their digest is empty, and they can't be loaded."""
    with resolving(lambda name: Base(name, config_folder(name), "", False)):
        yield
