"""Images on which students imitate their teacher: the paper's uniform noise or others, all without labels.

Noise needs no source. All other images are drawn, with replacement, from a bank of bytes on the device.
"""

from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from lightning_subliminal.core.errors import InputError

__all__ = ["STUDENT_INPUTS", "NoiseBatch", "StudentInputs", "draw_inputs", "input_bank", "scale", "uniform_noise"]

SIDE = 28
StudentInputs = Literal["uniform", "gaussian", "shuffled", "permuted", "digits", "small_digits", "photographs"]
STUDENT_INPUTS: tuple[StudentInputs, ...] = get_args(StudentInputs)
NOISE: tuple[StudentInputs, ...] = ("uniform", "gaussian")
_GREY = (0.299, 0.587, 0.114)  # perceived brightness of red, green and blue (ITU-R BT.601)


class NoiseBatch(NamedTuple):
    """The recipe of one batch of student inputs.

    Attributes:
        size: how many images.
        seed: determines them, on one kind of device.
    """

    size: int
    seed: int


def uniform_noise(size: int, seed: int, device: torch.device) -> Tensor:
    """Return ``size`` images of noise, uniform in [-1, 1]: float32 ``(size, 784)``."""
    generator = torch.Generator(device).manual_seed(seed)
    return torch.rand(size, SIDE * SIDE, generator=generator, device=device).mul_(2).sub_(1)


def input_bank(kind: StudentInputs, train_images: Tensor, seed: int) -> Tensor:
    """Return the images that student inputs are drawn from, as bytes; noise needs none.

    Args:
        kind: of inputs, not noise.
        train_images: the digits of the teacher, uint8 ``(digits, 784)``: never those held out.
        seed: of the one permutation of ``permuted``.

    Returns:
        uint8 ``(images, 784)``; of photographs, from which patches are cut, ``(photographs, height, width)``.

    Raises:
        InputError: if scikit-learn or pillow is needed and missing.
    """
    if kind == "small_digits":
        return _small_digits()
    if kind == "photographs":
        return _photographs()
    if kind == "permuted":
        return train_images[:, torch.randperm(SIDE * SIDE, generator=torch.Generator().manual_seed(seed))]
    return train_images


def draw_inputs(kind: StudentInputs, batch: NoiseBatch, device: torch.device, bank: Tensor | None) -> Tensor:
    """Draw the images of a recipe: float32 ``(size, 784)``.

    Args:
        kind: of inputs.
        batch: the recipe.
        device: where to draw; the same seed draws other images on another kind of device.
        bank: from ``input_bank``, on that device; None for noise.
    """
    if kind == "uniform":
        return uniform_noise(*batch, device)
    generator = torch.Generator(device).manual_seed(batch.seed)
    pixels = (batch.size, SIDE * SIDE)
    if bank is None:
        return torch.randn(pixels, generator=generator, device=device).div_(3**0.5)  # as wide as the uniform noise

    def places(count: int) -> Tensor:
        return torch.randint(count, (batch.size,), generator=generator, device=device)

    if kind == "photographs":
        patches = bank.unfold(1, SIDE, 1).unfold(2, SIDE, 1)  # views: (photographs, tops, lefts, 28, 28)
        tops, lefts = patches.shape[1:3]
        return scale(patches[places(len(bank)), places(tops), places(lefts)].flatten(1))
    images = bank[places(len(bank))]
    if kind == "shuffled":
        images = images.gather(1, torch.rand(pixels, generator=generator, device=device).argsort(-1))
    return scale(images)


def scale(images: Tensor) -> Tensor:
    """Scale bytes to [-1, 1], the range of the paper's noise."""
    return images.float().div_(127.5).sub_(1)


def _small_digits() -> Tensor:
    try:
        from sklearn.datasets import load_digits
    except ImportError as err:
        raise InputError(
            "`student_inputs: small_digits` needs scikit-learn: pip install 'lightning-subliminal[report]'."
        ) from err
    small = torch.from_numpy(load_digits().images).float()  # (1797, 8, 8), ink from 0 to 16
    large = interpolate(small.unsqueeze(1), (SIDE, SIDE), mode="bilinear", align_corners=False)
    return large.mul_(255 / 16).round_().to(torch.uint8).flatten(1)


def _photographs() -> Tensor:
    try:
        import PIL  # noqa: F401  (scikit-learn reads its photographs with it)
        from sklearn.datasets import load_sample_images
    except ImportError as err:
        raise InputError(
            "`student_inputs: photographs` needs scikit-learn and pillow: pip install scikit-learn pillow."
        ) from err
    colours = torch.stack([torch.tensor(each) for each in load_sample_images().images])  # (2, 427, 640, 3)
    return (colours.float() @ torch.tensor(_GREY)).round_().clamp_(0, 255).to(torch.uint8)
