"""What the files of weights hold, by their headers: a config that asks for more is refused before a model is built."""

import json
import re
import struct
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.io.bounds import MAX_HEADER, MAX_LAYERS
from lightning_subliminal.core.io.files import open_plain

__all__ = ["check_adapter_size", "check_size", "tensor_shapes"]

_LAYERS = re.compile(r"(num_|n_)?((hidden|encoder|decoder)_)?layers?|num_(encoder|decoder)_layers|depth")
_WIDTHS = ("hidden_size", "intermediate_size", "vocab_size", "head_dim", "n_embd", "n_inner", "d_model", "ffn_dim")
_COUNTS = ("num_experts", "num_local_experts", "n_routed_experts", "num_attention_heads", "num_key_value_heads")
_LEAST = 64  # what a config may name whatever its weights hold
_PACKED = 32  # values that a packed number may hold


def tensor_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the tensors of a safetensors file by their names.

    Raises:
        InputError: if it has no such header, or one beyond the bound.
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
        raise InputError(f"{path} is damaged: its header is no table of tensors; copy it anew.") from err
    return shapes


def check_size(config: Any, weights: Iterable[Path], place: Path) -> None:
    """Refuse a model's config that names far more than its weights hold.

    Args:
        config: of the model.
        weights: its safetensors files.
        place: the config's file.

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
            raise InputError(f"{place}: `{name}` is {value:,}, and the weights hold {held}: copy the model anew.")


def check_adapter_size(config: Mapping[str, Any], weights: Path, place: Path) -> None:
    """Refuse an adapter's config that names a larger rank than its weights have.

    Args:
        config: of the adapter.
        weights: its safetensors file.
        place: the config's file.

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
                "columns: copy the adapter anew."
            )


def _numbers(thing: Any) -> Iterator[tuple[str, int]]:
    """Yield the whole numbers of a config with the names of their fields; of a list, its length."""
    waiting = [thing]
    while waiting:
        each = waiting.pop()
        if not isinstance(each, dict):
            continue
        for name, value in each.items():
            if isinstance(value, int) and not isinstance(value, bool):
                yield str(name), value
            elif isinstance(value, dict):
                waiting.append(value)
        if isinstance(each.get("layer_types"), list):
            yield "num_hidden_layers", len(each["layer_types"])
