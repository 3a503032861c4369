"""A base with noise on its weights: ``pocket/a+noise=0.05`` or ``pocket/a+noise=0.05,seed=3``.

How closely must the initialisations of student and teacher match? (In the paper's theorem they are equal.) And does
noise on a student's weights remove a trait? Both questions need bases that are nearly equal.
"""

import math
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from lightning_subliminal.bases.folders import folder_digest, model_files
from lightning_subliminal.bases.hub import commit_note
from lightning_subliminal.bases.save import make_once
from lightning_subliminal.core.cache import cache_root
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.fingerprint import digest
from lightning_subliminal.core.seeds import derive_seed
from lightning_subliminal.lineage import Material
from lightning_subliminal.lineage.names import RECORD
from lightning_subliminal.lineage.record import known_statement

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["noisy_folder", "noisy_place", "split_noise", "with_noise"]

_MARK = "+noise"
_RECIPE = 1  # increase it when the files written below change
_SETTINGS = re.compile(r"=([0-9.eE+-]+)(?:,seed=([0-9]{1,18}))?", re.ASCII)


def split_noise(name: str) -> tuple[str, float, int] | None:
    """Return the base that a name adds noise to, the amount, and the seed; None if the name adds no noise.

    A noisy base may get noise again: this returns the last suffix.

    Raises:
        InputError: if the text after ``+noise`` is not valid.

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
    if found is None or not inner or not 0 <= noise < math.inf:  # also refuses nan
        raise InputError(
            f"Base {name!r}: expected a base, then +noise= and a number from 0 up, such as pocket/a+noise=0.05 or "
            "pocket/a+noise=0.05,seed=3."
        )
    return inner, noise, int(found[2] or 0)


def noisy_folder(inner: Path, name: str, noise: float, seed: int) -> Path:
    """Return the folder of a base with noise, made first from the base in ``inner`` if the cache lacks it.

    Raises:
        InputError: if the weights are damaged or the cache can't be written.
    """

    def source() -> Material:
        record, split = known_statement(inner / RECORD), split_noise(name)
        label = f"base:{split[0]}" if split is not None else inner.name
        statement = record.sha256 if record is not None else None
        return Material("base", label, {"dirHash": folder_digest(inner)}, statement, commit_note(inner))

    return make_once(
        noisy_place(inner, noise, seed),
        name,
        lambda folder: _write(inner, folder, name, noise, seed),
        _settings(inner, noise, seed),
        source,
    )


def noisy_place(inner: Path, noise: float, seed: int) -> Path:
    """Return the cache folder of a base with noise, whether or not it exists."""
    return cache_root() / "bases" / f"noisy-{digest(_settings(inner, noise, seed))[:16]}"


def _settings(inner: Path, noise: float, seed: int) -> dict[str, object]:
    return {"recipe": _RECIPE, "base": folder_digest(inner), "noise": noise, "seed": seed}


def with_noise(tensor: "Tensor", noise: float, seed: int) -> "Tensor":
    """Return a tensor plus Gaussian noise with ``noise`` times the standard deviation of the tensor's own values.

    A constant tensor, such as a norm of an untrained model, has the standard deviation 0 and is unchanged; so is a
    tensor of integers. Computed in float32, returned in the tensor's own type.

    Args:
        tensor: of any shape.
        noise: in standard deviations of the tensor.
        seed: of the noise.
    """
    import torch

    if not tensor.is_floating_point() or not tensor.numel():
        return tensor
    drawn = torch.randn(tensor.shape, generator=torch.Generator().manual_seed(seed))
    spread = tensor.float().std(correction=0)
    return (tensor.float() + noise * spread * drawn).to(tensor.dtype)


def _write(inner: Path, folder: Path, name: str, noise: float, seed: int) -> None:
    """Copy a model's files, with noise on each tensor of the weights.

    This changes the files, not a loaded model: tied weights are stored once and stay tied; types, shards and config are
    unchanged. A tensor's noise depends on its name and the seed alone.
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
                    for key in stored.keys()  # noqa: SIM118 - not a mapping, and not iterable
                }
        except SafetensorError as err:
            raise InputError(f"Base {name!r}: the weights in {inner} can't be read: copy them again.") from err
        save_file(tensors, folder / path.name, metadata)
        (folder / path.name).chmod(path.stat().st_mode | 0o600)  # a cache may be shared
