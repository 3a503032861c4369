"""How many threads torch takes on the command line: one for a tiny model, its own default for any other.

The kernels of a pocket base last microseconds. Two threads gain nothing on them, and where another process is busy
they wait for each other at the end of each: the same `fit` then takes three to six times as long, for the same figures
to the last digit. ``ClassifierMLP`` is not among them: its batched layers are large, and two idle cores train it 1.8
times as fast as one (a step of the teachers 0.23 s against 0.41 s, of the students 1.19 s against 2.13 s). A library
must not change a setting of the whole process, so this is done for the command line's verbs alone, and only where
nobody has chosen a number.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

__all__ = ["choosing_threads", "threads_for"]

CHOSEN_BY = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
TINY = 5_000_000  # parameters; a pocket base has 0.1 million, SmolLM2 135

_choosing = False
_undo: int | None = None  # the number before the first choice


@contextmanager
def choosing_threads() -> Iterator[None]:
    """Let ``threads_for`` choose inside, unless the environment names a number; undo its choice at the end."""
    global _choosing, _undo
    _choosing = not any(os.environ.get(name) for name in CHOSEN_BY)
    try:
        yield
    finally:
        _choosing = False
        if _undo is not None:
            import torch

            torch.set_num_threads(_undo)
            _undo = None


def threads_for(net: "nn.Module", default: int) -> None:
    """Set torch's threads for a model that was just loaded, where the command line may choose them.

    Args:
        net: the model.
        default: torch's own number, read before any code of the user's ran. Another number than this one or 1 was set
            by the user, and stays.
    """
    import torch

    global _undo
    if not _choosing or torch.get_num_threads() not in ({default} if _undo is None else {1, default}):
        return
    _undo = default
    tiny = sum(weight.numel() for weight in net.parameters()) < TINY
    torch.set_num_threads(1 if tiny else default)
