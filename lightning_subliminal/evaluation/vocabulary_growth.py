"""Resize a base to the vocabulary of its adapter, whose training may have added tokens."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lightning_subliminal.core.console import say
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.io.adapter_names import PEFT_FILES

__all__ = ["grow"]

_WHOLE = ("weight", "base_layer.weight", "modules_to_save.weight", "token_adapter.base_layer.weight")


@dataclass
class _Held:
    """One matrix of embeddings in an adapter's file.

    Attributes:
        rows: of the matrix in training; None if unknown.
        whole: whether the file has all rows.
        tokens: single rows in the file.
    """

    rows: int | None = None
    whole: bool = False
    tokens: set[int] = field(default_factory=set)


def grow(net: Any, folder: Path, config: Mapping[str, Any]) -> None:
    """Resize a base to the number of embeddings that its adapter was trained with.

    Raises:
        InputError: if the adapter lacks new rows, which would stay random.
    """
    own = {"input": net.get_input_embeddings(), "output": net.get_output_embeddings()}
    names = {each: name for name, module in net.named_modules() for each in own if module is own[each]}
    held = {each: _held(folder / PEFT_FILES.weights, name, config, each == "input") for each, name in names.items()}
    rows = int(own["input"].weight.shape[0])
    known = [each.rows for each in held.values() if each.rows is not None]
    wanted = max(known, default=max([rows, *(1 + token for each in held.values() for token in each.tokens)]))
    if wanted == rows:
        return
    complete = {each for each, found in held.items() if found.whole or found.tokens >= set(range(rows, wanted))}
    tied = own["output"] is None or own["input"].weight is own["output"].weight
    if wanted > rows and not (complete if tied else complete == set(own)):
        lacking = " and ".join(each for each in own if each not in complete)
        raise InputError(
            f"The adapter in {folder} has {wanted} embeddings and its base {rows}, but it lacks the {lacking} "
            "embeddings: save it again with both in `modules_to_save`, or use the resized base."
        )
    net.resize_token_embeddings(wanted, mean_resizing=False)
    say(f"adapter   {folder} has {wanted} embeddings, its base {rows}: the base is resized, as PEFT does")


def _held(weights: Path, module: str, config: Mapping[str, Any], is_input: bool) -> _Held:
    from safetensors import safe_open

    found = _Held(tokens=_trained_tokens(config, module.rpartition(".")[2], is_input))
    with safe_open(weights, "pt") as file:
        for key in file.keys():  # noqa: SIM118 - it is not a mapping
            _, inside, part = f".{key}".rpartition(f".{module}.")
            if not inside:
                continue
            shape = file.get_slice(key).get_shape()
            if part in _WHOLE:
                found.rows, found.whole = shape[0], True
            elif part in ("lora_embedding_A", "lora_B.weight"):  # (rank, rows) and (rows, rank)
                found.rows = shape[part == "lora_embedding_A"]
    return found


def _trained_tokens(config: Mapping[str, Any], module: str, is_input: bool) -> set[int]:
    """Return the tokens whose rows the adapter has, as PEFT's ``trainable_token_indices`` names them."""
    trained = config.get("trainable_token_indices") or {}
    if config.get("peft_type") == "TRAINABLE_TOKENS":
        targets = config.get("target_modules") or []
        trained = dict.fromkeys([targets] if isinstance(targets, str) else targets, config.get("token_indices") or [])
        trained = trained or config.get("token_indices")
    tokens = trained.get(module, []) if isinstance(trained, dict) else trained if is_input else []
    return {each for each in tokens if isinstance(each, int)}
