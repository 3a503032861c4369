"""Optimizers and schedules: short names, or a class of torch's or your own, as Lightning takes it."""

from functools import partial
from inspect import isclass
from typing import Any

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.cli import LightningCLI

from lightning_subliminal.core.config.signatures import parameters
from lightning_subliminal.core.errors import InputError

__all__ = ["OPTIMIZERS", "Optimized", "readable"]

OPTIMIZERS = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}


def readable(given: Any, short: tuple[str, ...], what: str) -> "str | partial[Any]":
    """Return an optimizer or schedule as digests and YAML can read it: a short name, or a partial of its class.

    Args:
        given: a short name, a class, or a partial of one, as jsonargparse makes it too.
        short: the known short names.
        what: the setting, for messages.

    Raises:
        InputError: if it is of another kind, such as a function, whose settings the cache can't read.
    """
    if isinstance(given, str) and given in short:
        return given
    inner: Any = given
    keywords: dict[str, Any] = {}
    placed: list[Any] = []
    while isinstance(inner, partial):
        keywords, placed = {**inner.keywords, **keywords}, [*inner.args, *placed]
        inner = inner.func
    kinds = [each for each in (inner, *placed) if isclass(each)]
    if len(kinds) != 1 or not all(callable(each) for each in placed):
        raise InputError(
            f"`{what}` is {given!r}: expected {', '.join(map(repr, short))}, a class, or functools.partial of a class "
            "with its options by name, such as partial(torch.optim.AdamW, lr=1e-3)."
        )
    usual = parameters(kinds[0])
    changed = {name: value for name, value in keywords.items() if name not in usual or value != usual[name].default}
    return partial(kinds[0], **changed)


class Optimized(LightningModule):
    """A module with the settings of its optimizer and schedule.

    Attributes:
        learning_rate: as ``LanguageModel`` takes it, like all others.
    """

    learning_rate: float
    optimizer: Any
    weight_decay: float
    warmup_steps: int
    schedule: Any

    def _check_optimizer(self) -> None:
        takes = parameters(type(self))
        own = {"learning_rate": self.optimizer, "weight_decay": self.optimizer, "warmup_steps": self.schedule}
        for name, chosen in own.items():
            if not isinstance(chosen, str) and name in takes and getattr(self, name) != takes[name].default:
                kind = chosen.func.__name__
                raise InputError(
                    f"`{name}` is {getattr(self, name)}, but {kind} has its own options: set it there, and leave "
                    f"`{name}` out."
                )

    def rate_factor(self, step: int, total: int) -> float:
        """Return the factor of the learning rate at a step out of ``total``, by warm-up and schedule."""
        if step < self.warmup_steps:
            return (step + 1) / self.warmup_steps
        falling = max(0.0, (total - step) / max(1, total - self.warmup_steps))
        return 1.0 if self.schedule == "constant" else falling

    def _is_logged(self) -> bool:
        """Return whether Lightning writes this step's loss, or shows it as the epoch's."""
        every = self.trainer.log_every_n_steps  # type: ignore[attr-defined]
        return self.trainer.is_last_batch or (every > 0 and (self.global_step + 1) % every == 0)

    def make_optimizer(self, trained: list[torch.nn.Parameter]) -> torch.optim.Optimizer:
        """Return the optimizer of the trained parameters."""
        if isinstance(self.optimizer, str):
            return OPTIMIZERS[self.optimizer](trained, lr=self.learning_rate, weight_decay=self.weight_decay)
        made: torch.optim.Optimizer = self.optimizer(trained)
        return made

    def configure_optimizers(self) -> Any:
        """Return the optimizer of the trained parameters, and the schedule, stepped each step."""
        optimizer = self.make_optimizer([parameter for parameter in self.parameters() if parameter.requires_grad])
        if not isinstance(self.schedule, str):
            return LightningCLI.configure_optimizers(self, optimizer, self.schedule(optimizer))
        total = int(self.trainer.estimated_stepping_batches)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: self.rate_factor(step, total))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
