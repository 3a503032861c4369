"""The number of torch's threads of a command or a ``fit_arms``: one for a tiny model, torch's default for any other.

The kernels of a pocket base take microseconds. A second thread gains nothing, and on a busy machine the two wait for
each other after each kernel: the same `fit` then takes three to six times as long, for the same figures to the last
digit. ``ClassifierMLP`` is not affected: its batched layers are large, and two idle cores train it 1.8 times as fast as
one (a teacher step in 0.23 s instead of 0.41 s, a student step in 1.19 s instead of 2.13 s). A library must not change
a setting of the whole process, so only commands and ``fit_arms`` do this, say so and put the number back, and only if
the user has not set one.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

__all__ = ["choosing_threads", "threads_for"]

CHOSEN_BY = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
_ONE, _ALL = "more would slow so small a model down", "this model is large enough"
TINY = 5_000_000  # parameters; a pocket base has 0.1 million, SmolLM2 135

_choosing = False
_undo: int | None = None  # the number before the first choice
_said: set[int] = set()  # the numbers of the lines so far


@contextmanager
def choosing_threads() -> Iterator[None]:
    """Allow ``threads_for`` to set the number inside, unless the environment sets one; restore it at the end."""
    global _choosing, _undo
    if _choosing:  # a `fit_arms` of a command
        yield
        return
    _said.clear()
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
    """Set torch's threads for a model that was just loaded, inside ``choosing_threads``, and say so once.

    ``default`` is torch's own number, read before any user code ran. A number other than it or 1 was set by the user,
    and stays.
    """
    import torch

    global _undo
    if not _choosing or torch.get_num_threads() not in ({default} if _undo is None else {1, default}):
        return
    _undo = default
    tiny = sum(weight.numel() for weight in net.parameters()) < TINY
    number = 1 if tiny else default
    torch.set_num_threads(number)
    if number not in _said and (_said or number != default):
        from lightning_subliminal.core.console import say

        _said.add(number)
        say(f"threads   {number} of {default}: {_ONE if tiny else _ALL}; OMP_NUM_THREADS chooses another number")
