"""Load a base's model and its tokenizer."""

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import torch

from lightning_subliminal.bases.folders import model_files, only_model_files, weight_bytes
from lightning_subliminal.bases.linear_maps import speed_up
from lightning_subliminal.bases.lookup import find_folder
from lightning_subliminal.bases.save import quiet_transformers
from lightning_subliminal.bases.tokenizers import first_line, fit_tokenizer, read_tokenizer, report_frame, say_once
from lightning_subliminal.bases.weight_headers import check_size
from lightning_subliminal.core.collector import importing
from lightning_subliminal.core.console import console
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.io.adapter_names import adapter_files
from lightning_subliminal.core.io.files import read_json
from lightning_subliminal.core.threads import threads_for

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

__all__ = ["load", "with_attention"]

_Made = TypeVar("_Made")
_THREADS = torch.get_num_threads()  # before any user code can change it


def load(name: str, *, dtype: str | torch.dtype | None = None) -> "tuple[PreTrainedModel, PreTrainedTokenizerBase]":
    """Load a base's model, in evaluation mode and on the CPU, and its tokenizer.

    A tokenizer without a padding token pads with its end token.

    Args:
        name: as for ``resolve``.
        dtype: of the weights, such as ``"bfloat16"``; None keeps that of the files.

    Raises:
        InputError: if there is no such base, its files are damaged, or model and tokenizer don't fit.
    """
    folder = find_folder(name)
    tokenizer = read_tokenizer(folder, name)
    report_frame(folder, tokenizer, name)
    net = _load_net(folder, name, dtype)
    fit_tokenizer(net, tokenizer, name)
    threads_for(net, _THREADS)
    speed_up(net)
    return net, tokenizer


def _load_net(folder: Path, name: str, dtype: str | torch.dtype | None) -> "PreTrainedModel":
    with importing():
        from transformers import AutoModelForCausalLM
    if isinstance(dtype, str) and not isinstance(getattr(torch, dtype, None), torch.dtype):
        raise InputError(f"`dtype` is {dtype!r}; expected one such as float32 or bfloat16.")
    weights = [path for path in model_files(folder).values() if path.suffix == ".safetensors"]
    check_size(read_json(folder / "config.json"), weights, folder / "config.json")
    size = weight_bytes(folder)
    waiting = console.status(f"Loading {name} ({size / 1e9:.1f} GB)") if size > 2**28 else nullcontext()
    if adapter_files(folder) is not None:
        line = f"base      {name} holds whole weights and adapter files: the whole weights are read, the adapter is not"
        say_once(folder, "adapter", line)
    try:
        with waiting, quiet_transformers(), only_model_files(folder) as place, importing():
            net, info = with_attention(
                lambda attention: AutoModelForCausalLM.from_pretrained(
                    place,
                    dtype=dtype or "auto",
                    attn_implementation=attention,
                    use_safetensors=True,
                    trust_remote_code=False,  # nor ask at the terminal whether to run code that a config names
                    local_files_only=True,
                    output_loading_info=True,
                )
            )
    except Exception as err:  # safetensors, transformers and torch each raise their own
        raise InputError(f"Base {name!r}: the weights in {folder} can't be loaded ({first_line(err)}).") from err
    if missing := sorted(info["missing_keys"]):  # transformers fills them with random numbers
        raise InputError(f"Base {name!r}: the weights in {folder} lack {missing[0]} and {len(missing) - 1} more.")
    if unread := sorted(info["unexpected_keys"]):
        count = f"{len(unread)} tensors of its files are" if len(unread) > 1 else "a tensor of its files is"
        say_once(folder, "unread", f"base      {name}: {count} not read, its model has no such part: {unread[0]}")
    if getattr(net.config, "is_decoder", None) is False and _looks_ahead(net):
        why = f"its tokens read those behind them ({net.config.model_type}), so it writes no text"
        raise InputError(f"Base {name!r}: {why}: take a decoder.")
    text = net.config.get_text_config(decoder=True)
    if getattr(text, "output_router_logits", False):  # for a loss that is not ours; with a cache it ends in an error
        text.output_router_logits = False
    net.name_or_path = str(folder)
    return cast("PreTrainedModel", net)


def with_attention(make: Callable[[str], _Made]) -> _Made:
    """Return what ``make`` does with torch's fast attention, or with the plain one: Gemma 2 and gpt-oss have no other.

    Args:
        make: takes transformers' name of it.
    """
    try:
        return make("sdpa")
    except ValueError as err:
        if "scaled_dot_product_attention" not in str(err):
            raise
        return make("eager")


@torch.no_grad()
def _looks_ahead(net: Any) -> bool:
    """Return whether a token's logits depend on those behind it, as in BERT."""
    ids = torch.tensor([[3, 4, 5, 6], [3, 4, 6, 5]])
    one, other = net.eval()(input_ids=ids).logits[:, :2].float()
    rounding = min(100 * torch.finfo(net.dtype).eps, 0.02)
    return bool((one - other).abs().max() > rounding * one.abs().max())
