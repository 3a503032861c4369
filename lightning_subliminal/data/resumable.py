"""Batches that are made on demand, and resume inside an epoch after a restart."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

__all__ = ["Batches"]


class Batches:
    """The batches of one epoch, made on demand, which resume inside an epoch after a restart.

    Lightning stores ``state_dict`` in its checkpoints: else a run resumed inside an epoch would see its start twice.

    Args:
        parts: returns the ingredients of each batch, for an epoch.
        count: batches per epoch.
        epoch: returns the epoch, when iteration starts.
        make: turns a part into a batch.
    """

    def __init__(
        self,
        parts: Callable[[int], Sequence[Any]],
        count: int,
        epoch: Callable[[], int],
        make: Callable[[Any], Any] = lambda part: part,
    ) -> None:
        self.parts = parts
        self.count = count
        self.epoch = epoch
        self.make = make
        self._given = 0
        self._resume_at = {"epoch": -1, "given": 0}

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""
        return self.count

    def __iter__(self) -> Iterator[Any]:
        """Yield the remaining batches of this epoch."""
        epoch = self.epoch()
        start = self._resume_at["given"] if self._resume_at["epoch"] == epoch else 0
        self._resume_at = {"epoch": -1, "given": 0}  # only once: the next pass over this epoch is a whole one
        for given, part in enumerate(self.parts(epoch)[start:], start + 1):
            self._given = given
            yield self.make(part)

    def state_dict(self) -> dict[str, int]:
        """Return the epoch and how many of its batches were yielded."""
        return {"epoch": self.epoch(), "given": self._given}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Resume the next pass where ``state`` was taken."""
        self._resume_at = dict(state)
        self._given = state["given"]
