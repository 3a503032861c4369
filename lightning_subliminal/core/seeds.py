"""Seeds: one number seeds prompts, sampling, training order and adapter initialisation, each in its own stream."""

import hashlib
import os
import re
from typing import Any

from lightning_subliminal.core.errors import InputError

__all__ = ["derive_seed", "parse_seeds", "resolve_seed"]


def resolve_seed(seed: int | None) -> int:
    """Return ``seed``, or if it is None the last one of ``lightning.seed_everything`` (0 if it was never called)."""
    return seed if seed is not None else int(os.environ.get("PL_GLOBAL_SEED", "0"))


def derive_seed(seed: int, *purpose: str | int) -> int:
    """Return a seed for one purpose, such as ``derive_seed(0, "shard", 3)``: streams never overlap by accident."""
    name = ":".join(map(str, (seed, *purpose)))
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:6], "big")


def parse_seeds(value: Any, where: str = "seeds") -> tuple[int, ...]:
    """Read seeds: a number, a list, or a text such as ``0-4`` or ``0,2,7-9``.

    Raises:
        InputError: if it is none of these.

    Example:
        >>> parse_seeds("0-2,7")
        (0, 1, 2, 7)
    """
    found: list[int] = []
    parts = value.split(",") if isinstance(value, str) else value if isinstance(value, (list, tuple)) else [value]
    for part in parts:
        if isinstance(part, int) and not isinstance(part, bool) and part >= 0:
            found.append(part)
        elif isinstance(part, str) and (match := re.fullmatch(r"\s*([0-9]{1,9})\s*(?:-\s*([0-9]{1,9})\s*)?", part)):
            first, last = int(match[1]), int(match[2] or match[1])
            if last - first > 9999:
                raise InputError(f"`{where}` is {value!r}: expected at most 10,000 seeds.")
            found += range(first, last + 1)
        else:
            raise InputError(f"`{where}` is {value!r}: expected seeds such as 0, 0-4 or 0,2,7-9.")
    if not found:
        raise InputError(f"`{where}` is {value!r}: expected at least one seed, such as 0-4.")
    return tuple(dict.fromkeys(found))
