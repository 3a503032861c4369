"""Seeds: one number moves prompts, sampling, training order and the adapter's start, each by a stream of its own."""

import hashlib
import os

__all__ = ["derive_seed", "resolve_seed"]


def resolve_seed(seed: int | None) -> int:
    """Return ``seed``, or where it is None the one that ``lightning.seed_everything`` set last (0 if it never did)."""
    return seed if seed is not None else int(os.environ.get("PL_GLOBAL_SEED", "0"))


def derive_seed(seed: int, *purpose: str | int) -> int:
    """Return a seed for one purpose, such as ``derive_seed(0, "shard", 3)``: streams never overlap by accident."""
    name = ":".join(map(str, (seed, *purpose)))
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:6], "big")
