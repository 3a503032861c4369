"""Optimizers and schedules: short names, or a class of torch's or your own, as Lightning takes it."""

from functools import partial
from inspect import isclass
from typing import Any

import torch

from lightning_subliminal.core.config.signatures import parameters
from lightning_subliminal.core.errors import InputError

__all__ = ["OPTIMIZERS", "readable"]

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
