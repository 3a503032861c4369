"""A base with noise on its weights: ``pocket/a+noise=0.05`` or ``pocket/a+noise=0.05,seed=3``.

How well must student and teacher be matched at the start? (Paper, theorem: they share it.) And does noise on a
student's weights wash a trait out? Both ask for bases that are nearly the same.
"""

import math
import os
import re
import shutil
from pathlib import Path

import torch
from torch import Tensor

from lightning_subliminal.bases.folders import folder_digest, model_files
from lightning_subliminal.core.cache import cache_root, writable_folder
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.fingerprint import digest
from lightning_subliminal.core.seeds import derive_seed
from lightning_subliminal.lineage import Material, write_record
from lightning_subliminal.lineage.names import RECORD
from lightning_subliminal.lineage.record import known_statement

__all__ = ["noisy_folder", "noisy_place", "split_noise", "with_noise"]

_MARK = "+noise"
_RECIPE = 1  # raise it when the steps below change what is written
_SETTINGS = re.compile(r"=([0-9.eE+-]+)(?:,seed=([0-9]{1,18}))?", re.ASCII)


def split_noise(name: str) -> tuple[str, float, int] | None:
    """Return the base that a name adds noise to, how much, and the noise's seed; None where it adds none.

    Noise may be added to a noisy base once more: the last suffix counts.

    Raises:
        InputError: if what follows ``+noise`` is not understood.

    Example:
        >>> split_noise("pocket/a+noise=0.05,seed=3")
        ('pocket/a', 0.05, 3)
    """
    inner, mark, settings = name.rpartition(_MARK)
    if not mark:
        return None
    found = _SETTINGS.fullmatch(settings)
    try:
        noise = float(found[1]) if found else math.nan
    except ValueError:
        noise = math.nan
    if found is None or not inner or not 0 <= noise < math.inf:  # nan is not at least 0 either
        raise InputError(
            f"Base {name!r}: expected a base, then +noise= and a number from 0 up, such as pocket/a+noise=0.05 or "
            "pocket/a+noise=0.05,seed=3."
        )
    return inner, noise, int(found[2] or 0)


def noisy_folder(inner: Path, name: str, noise: float, seed: int) -> Path:
    """Return the folder of a base with noise, making it first if the cache lacks it.

    Args:
        inner: the folder of the base without noise, whole.
        name: what the user calls the noisy base.
        noise: standard deviation of the noise, in standard deviations of each tensor.
        seed: moves the noise.

    Raises:
        InputError: if the weights are damaged or the cache can't be written.
    """
    shaped, folder = _shaped(inner, noise, seed), noisy_place(inner, noise, seed)
    if (folder / "config.json").is_file():
        return folder
    from filelock import FileLock

    parent = writable_folder(folder.parent)
    with FileLock(parent / f".{folder.name}.lock"):  # of several processes one writes, the others wait
        if not (folder / "config.json").is_file():
            half = parent / f".{folder.name}.part"
            shutil.rmtree(half, ignore_errors=True)  # from a run that was killed
            try:
                half.mkdir()
                _write(inner, half, name, noise, seed)
                made = list(model_files(half))
                write_record(half, "base", shaped, [_start(inner, name)], files=made)
                os.replace(half, folder)
            except OSError as err:
                reason = err.strerror or err
                raise InputError(
                    f"Base {name!r} can't be written to {folder} ({reason}): set LIGHTNING_SUBLIMINAL_CACHE to a "
                    "folder with room."
                ) from err
            finally:
                shutil.rmtree(half, ignore_errors=True)
    return folder


def noisy_place(inner: Path, noise: float, seed: int) -> Path:
    """Return where the cache has a base with noise, whether or not it was made yet."""
    return cache_root() / "bases" / f"noisy-{digest(_shaped(inner, noise, seed))[:16]}"


def _shaped(inner: Path, noise: float, seed: int) -> dict[str, object]:
    return {"recipe": _RECIPE, "base": folder_digest(inner), "noise": noise, "seed": seed}


def _start(inner: Path, name: str) -> Material:
    """Return the base that noise is added to, for the lineage."""
    record, split = known_statement(inner / RECORD), split_noise(name)
    called = f"base:{split[0]}" if split is not None else inner.name
    return Material("base", called, {"dirHash": folder_digest(inner)}, record.sha256 if record is not None else None)


def with_noise(tensor: Tensor, noise: float, seed: int) -> Tensor:
    """Add Gaussian noise to a tensor of floats: its sd is ``noise`` times the sd of the tensor's own values.

    A tensor of one value repeated, such as the norms of an untrained model, has the sd 0 and stays as it is; so does a
    tensor of integers. Computed in float32, given back in the tensor's own type.

    Args:
        tensor: of any shape.
        noise: in standard deviations of the tensor.
        seed: moves the noise.
    """
    if not tensor.is_floating_point() or not tensor.numel():
        return tensor
    drawn = torch.randn(tensor.shape, generator=torch.Generator().manual_seed(seed))
    spread = tensor.float().std(correction=0)
    return (tensor.float() + noise * spread * drawn).to(tensor.dtype)


def _write(inner: Path, folder: Path, name: str, noise: float, seed: int) -> None:
    """Copy a model's files, those with weights changed tensor by tensor.

    The files themselves are changed, not a loaded model: what is tied is there once, and stays tied; type, shards and
    config stay as they are. Each tensor's noise depends on its name and the seed alone.
    """
    from safetensors import SafetensorError, safe_open
    from safetensors.torch import save_file

    for file, path in model_files(inner).items():
        if path.suffix != ".safetensors":
            (folder / file).parent.mkdir(exist_ok=True)
            shutil.copyfile(path, folder / file)
            continue
        try:
            with safe_open(path, framework="pt") as stored:
                metadata = stored.metadata() or {"format": "pt"}
                tensors = {
                    key: with_noise(stored.get_tensor(key), noise, derive_seed(seed, "weight noise", key))
                    for key in stored.keys()  # noqa: SIM118 - no mapping: it can't be walked itself
                }
        except SafetensorError as err:
            raise InputError(f"Base {name!r}: the weights in {inner} can't be read: copy them anew.") from err
        save_file(tensors, folder / path.name, metadata)
        (folder / path.name).chmod(path.stat().st_mode | 0o600)  # a cache may be shared
