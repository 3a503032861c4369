"""The bar on a terminal, which counts epochs from 1 as the lines of a log do."""

from lightning.pytorch.callbacks import RichProgressBar

__all__ = ["EpochBar"]


class EpochBar(RichProgressBar):
    """Lightning's bar, with the epoch as ``Epoch 1/3`` where Lightning writes ``Epoch 0/2``."""

    def _get_train_description(self, current_epoch: int) -> str:
        most = self.trainer.max_epochs or 0
        words = f"Epoch {current_epoch + 1}{f'/{most}' if most > 0 else ''}"
        return words.ljust(len(self.validation_description))
