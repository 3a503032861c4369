"""Seeds: one number seeds prompts, sampling, training order and adapter initialisation, each in its own stream."""

import hashlib
import os

__all__ = ["derive_seed", "resolve_seed"]


def resolve_seed(seed: int | None) -> int:
    """Return ``seed``, or if it is None the last one of ``lightning.seed_everything`` (0 if it was never called)."""
    return seed if seed is not None else int(os.environ.get("PL_GLOBAL_SEED", "0"))


def derive_seed(seed: int, *purpose: str | int) -> int:
    """Return a seed for one purpose, such as ``derive_seed(0, "shard", 3)``: streams never overlap by accident."""
    name = ":".join(map(str, (seed, *purpose)))
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:6], "big")
