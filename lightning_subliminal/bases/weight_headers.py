"""Shapes of tensors from the headers of weight files, so that a config that asks for more memory is refused early."""

import json
import re
import struct
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.io.bounds import MAX_HEADER, MAX_LAYERS
from lightning_subliminal.core.io.files import open_plain, walk_json

__all__ = ["check_adapter_size", "check_size", "tensor_shapes"]

_LAYERS = re.compile(r"(num_|n_)?((hidden|encoder|decoder)_)?layers?|num_(encoder|decoder)_layers|depth")
_WIDTHS = ("hidden_size", "intermediate_size", "vocab_size", "head_dim", "n_embd", "n_inner", "d_model", "ffn_dim")
_COUNTS = ("num_experts", "num_local_experts", "n_routed_experts", "num_attention_heads", "num_key_value_heads")
_LEAST = 64  # a config may name as much in any case
_PACKED = 32  # values that a packed integer may hold


def tensor_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the tensors of a safetensors file by their names.

    Raises:
        InputError: if its header is damaged, or beyond the bound.
    """
    try:
        with open_plain(path) as stream:
            head = stream.read(8)
            size = struct.unpack("<Q", head)[0] if len(head) == 8 else 0
            MAX_HEADER.check(size, f"{path} has a header of {size:,} bytes")
            found = json.loads(stream.read(size))
        shapes = {name: tuple(map(int, each["shape"])) for name, each in found.items() if name != "__metadata__"}
    except InputError:
        raise
    except OSError as err:
        raise InputError(f"{path} can't be read ({err.strerror or err}).") from err
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as err:
        raise InputError(f"{path} is damaged: its header is not a table of tensors; copy it again.") from err
    return shapes


def check_size(config: Any, weights: Iterable[Path], place: Path) -> None:
    """Check that a model's config, of the file ``place``, does not name much larger sizes than its weight files have.

    Raises:
        InputError: naming the field.
    """
    shapes = [shape for path in weights for shape in tensor_shapes(path).values()]
    widest = max((width for shape in shapes for width in shape), default=0)
    for name, value in _numbers(config):
        if _LAYERS.fullmatch(name):
            MAX_LAYERS.check(value, f"{place}: `{name}` is {value:,}")
            most = max(_LEAST, len(shapes))
            held = f"{len(shapes):,} tensors"
        elif name in _COUNTS or name in _WIDTHS:
            most = max(_LEAST, len(shapes), _PACKED * widest)
            held = f"tensors of at most {widest:,} rows or columns"
        else:
            continue
        if value > most:
            raise InputError(f"{place}: `{name}` is {value:,}, and the weights hold {held}: copy the model again.")


def check_adapter_size(config: Mapping[str, Any], weights: Path, place: Path) -> None:
    """Check that an adapter's config, of the file ``place``, does not name a larger rank than its weights have.

    Raises:
        InputError: naming the field.
    """
    widest = max((width for shape in tensor_shapes(weights).values() for width in shape), default=0)
    ranks = {name: value for name, value in config.items() if name in ("r", "num_virtual_tokens", "num_vectors")}
    if isinstance(config.get("rank_pattern"), dict):
        ranks |= {f"rank_pattern.{name}": value for name, value in config["rank_pattern"].items()}
    for name, value in ranks.items():
        if isinstance(value, int) and value > max(_LEAST, widest):
            raise InputError(
                f"{place}: `{name[:60]}` is {value:,}, and the weights hold tensors of at most {widest:,} rows or "
                "columns: copy the adapter again."
            )


def _numbers(config: Any) -> Iterator[tuple[str, int]]:
    """Yield the integers of a config with the names of their fields, and the number of its ``layer_types``."""
    for name, value in walk_json(config):
        if type(value) is int:
            yield str(name), value
        elif name == "layer_types" and isinstance(value, list):
            yield "num_hidden_layers", len(value)
