"""Loss masks, printed: a wrong mask is the commonest mistake in fine-tuning, and raises no error."""

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from rich.text import Text

from lightning_subliminal.core.console import console, say

__all__ = ["PrintMasks"]

IGNORED = -100


class PrintMasks(Callback):
    """Prints the first rows before training, the trained tokens marked; also ``fit --print_masks N``.

    Args:
        rows: how many rows to print.
    """

    def __init__(self, rows: int = 3) -> None:
        self.rows = rows
        self.shown = False

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print the rows of a data module, also for a finished run, which skips training."""
        data = getattr(getattr(trainer, "datamodule", None), "train_data", None)
        if data is not None:
            self._show(data, pl_module)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print the rows of a loader, or a line if they have no tokens."""
        if not self.shown:
            self._show(getattr(trainer.train_dataloader, "dataset", None), pl_module)

    def _show(self, data: Any, pl_module: LightningModule) -> None:
        self.shown = True
        tokenizer: Any = getattr(pl_module, "tokenizer", None)
        if not hasattr(data, "labels") or tokenizer is None:
            say("--print_masks: this data has no token rows, so there is no mask to show.")
            return
        before, after = ("", "") if console.is_terminal else (">", "<")  # a log file has no colors
        legend = Text("Trained tokens are ").append(f"{before}marked{after}", style="bold reverse")
        say(legend.append("; all others are only read."))
        for row in range(min(self.rows, len(data))):
            ids, labels = data.input_ids[row, : data.lengths[row]], data.labels[row, : data.lengths[row]]
            text = Text(f"row {row}: ")
            for token, label in zip(ids.tolist(), labels.tolist(), strict=True):
                word = tokenizer.decode([token]).replace("\n", "\\n")
                if label == IGNORED:
                    text.append(word)
                else:
                    text.append(before).append(word, style="bold reverse").append(after)
                text.append(" ")
            trained = (labels != IGNORED).sum().item()
            say(text)
            say(f"        {trained} of {len(ids)} tokens are trained on")
