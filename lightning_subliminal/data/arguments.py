"""The constructor arguments of data modules: counts that are checked, and what shapes the source of rows."""

from typing import Any

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.fingerprint import describe_object
from lightning_subliminal.core.seeds import resolve_seed

__all__ = ["check_counts", "describe_arguments"]

_LATER = {"filters", "transforms", "num_rows", "batch_size", "val_rows", "max_length", "cache_dir"}


def check_counts(**counts: int) -> None:
    """Refuse a count below 1.

    Raises:
        InputError: naming the first count that is less than 1.
    """
    for name, count in counts.items():
        if count < 1:
            raise InputError(f"`{name}` is {count}: expected at least 1.")


def describe_arguments(data: Any, leave_out: set[str]) -> dict[str, Any]:
    """Describe a data module's class and the constructor arguments that shape its source, with the seed resolved."""
    described = describe_object(data)
    arguments = {name: value for name, value in described["arguments"].items() if name not in leave_out | _LATER}
    return described | {"arguments": arguments | {"seed": resolve_seed(data.seed)}}
