"""A model and data that train in milliseconds, for tests of the command line: ``class_path: toy.Toy``.

Shuffling and dropout draw from the global generators on purpose: a run that goes on must draw what a straight one does.
"""

import time

import torch
from lightning.pytorch import LightningDataModule, LightningModule
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_subliminal.core.errors import InputError

Batch = list[Tensor]


class Part:
    """Something that a model can hold.

    Args:
        size: how big.
    """

    def __init__(self, size: int = 1) -> None:
        self.size = size


class Toy(LightningModule):
    """A toy.

    Args:
        width: how wide.
        nap: seconds that a step sleeps.
        fault: what to do wrong, and when.
        part: something to hold.
    """

    def __init__(self, width: int = 8, nap: float = 0.0, fault: str | None = None, part: Part | None = None) -> None:
        super().__init__()
        self.nap, self.fault, self.part = nap, fault, part
        if fault == "input":
            raise InputError("`fault` is input: expected none; leave it out.")
        if fault == "surprise":
            raise RuntimeError("boom\nand more")
        self.net = nn.Sequential(nn.Linear(4, width), nn.Dropout(0.3), nn.Linear(width, 1))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        time.sleep(self.nap)
        if self.fault == "interrupt" or (self.fault == "interrupt later" and self.current_epoch == 1):
            raise KeyboardInterrupt
        if self.fault == "late" or (self.fault == "second epoch" and self.current_epoch == 1):
            raise InputError("late mistake: mend it.")
        loss = self.net(batch[0]).square().mean()
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self.log("val_loss", self.net(batch[0]).mean())

    test_step = validation_step

    def predict_step(self, batch: Batch) -> Tensor:
        return self.net(batch[0])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=0.01)


class ToyData(LightningDataModule):
    """A few rows.

    Args:
        rows: how many.
    """

    def __init__(self, rows: int = 32) -> None:
        super().__init__()
        self.rows = rows

    def _loader(self, shuffle: bool) -> DataLoader:
        numbers = torch.arange(self.rows * 4.0).view(-1, 4) / 100  # (rows, 4)
        return DataLoader(TensorDataset(numbers), batch_size=8, shuffle=shuffle)

    def train_dataloader(self) -> DataLoader:
        return self._loader(shuffle=True)

    def val_dataloader(self) -> DataLoader:
        return self._loader(shuffle=False)

    test_dataloader = predict_dataloader = val_dataloader
