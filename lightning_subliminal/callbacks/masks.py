"""Shows what is trained on: a loss mask that is silently wrong is the commonest mistake of fine-tuning."""

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from rich.text import Text

from lightning_subliminal.console import say

__all__ = ["PrintMasks"]

IGNORED = -100


class PrintMasks(Callback):
    """Prints the first rows before training, the trained tokens marked; also ``fit --print_masks N``.

    Args:
        rows: how many rows to print.
    """

    def __init__(self, rows: int = 3) -> None:
        self.rows = rows

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print the rows, where the data has tokens."""
        data: Any = getattr(trainer.train_dataloader, "dataset", None)
        tokenizer: Any = getattr(pl_module, "tokenizer", None)
        if not hasattr(data, "labels") or tokenizer is None:
            say("--print_masks: this data has no token rows, so there is no mask to show.")
            return
        say(Text.from_markup("Trained tokens are [bold reverse]marked[/bold reverse]; all others are only read."))
        for row in range(min(self.rows, len(data))):
            ids, labels = data.input_ids[row, : data.lengths[row]], data.labels[row, : data.lengths[row]]
            text = Text(f"row {row}: ")
            for token, label in zip(ids.tolist(), labels.tolist(), strict=True):
                style = "" if label == IGNORED else "bold reverse"
                text.append(tokenizer.decode([token]).replace("\n", "\\n"), style=style)
                text.append(" ")
            trained = (labels != IGNORED).sum().item()
            say(text)
            say(f"        {trained} of {len(ids)} tokens are trained on")
