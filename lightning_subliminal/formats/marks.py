"""Marks that say "do not learn this", in the spellings of the field's trainers.

A row has no place for a weight: its whole completion is trained on. So a completion that its author took out of
training, or weighed, is refused, never trained on in silence.

Spelled so by: OpenAI, Mistral, Together (`weight` of a message), axolotl (`train`, `training`, `train_detail`),
openweights (`weight` of a content's part, -1 to unlearn), ms-swift and XTuner (`loss`), TRL (`label` of KTO,
`completion_mask`, `assistant_masks`), slime and verl (`loss_mask`).
"""

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

from lightning_subliminal.formats.faults import Fault

__all__ = ["check_learned", "check_record"]

_WEIGHTS = {"weight", "loss_weight", "sample_weight", "example_weight", "loss_scale"}
_MASKS = {
    "weights",
    "token_weights",
    "loss_weights",
    "loss_mask",
    "completion_mask",
    "assistant_mask",
    "assistant_masks",
    "train_mask",
}
_LEARN = {"train", "training", "trainable", "learn", "train_on", "is_trainable", "loss"} | _WEIGHTS | _MASKS
_LEAVE = {
    "mask",
    "masked",
    "is_masked",
    "ignore",
    "ignored",
    "no_train",
    "no_loss",
    "skip_training",
    "unlearn",
    "exclude",
}
_DETAILS = {"train_detail", "training_detail", "train_details"}
_WORDS = {"true": 1.0, "yes": 1.0, "false": 0.0, "no": 0.0}


def check_learned(message: Mapping[str, Any], field: str) -> None:
    """Refuse a message that shall be learned, if it, or a part of its content, says that it must not be.

    Args:
        message: as the record has it.
        field: where it stands.

    Raises:
        Fault: naming the mark.
    """
    _check(message, field)
    for key in ("content", "value"):
        parts = message.get(key)
        for place, part in enumerate(parts if isinstance(parts, list) else []):
            if isinstance(part, Mapping):
                _check(part, f"{field}.{key}[{place}]")


def check_record(record: Mapping[str, Any], own: tuple[str, ...], notices: Counter[str]) -> None:
    """Refuse a record whose columns say that it must not be learned; count weights, which training does not apply.

    A column may mean something else than a message's key of the same name (a `loss` that was measured, a `label` that
    is a class), so only what can be no such figure is refused.

    Args:
        record: a whole record.
        own: the columns that hold its texts.
        notices: counts the weights.

    Raises:
        Fault: naming the column.
    """
    for key, value in record.items():
        name = _plain(key)
        if key in own or name not in _LEARN | _LEAVE | _DETAILS | {"label"}:
            continue
        told = _number(value)
        if name == "label":
            if value is False or (isinstance(value, str) and value.strip().lower() == "false"):
                raise _fault(key, value)
        elif name in _WEIGHTS and told is not None:
            if told <= 0:
                raise _fault(key, value)
            if told != 1:
                notices[f"column `{key}` is not applied: each row is trained on alike"] += 1
        elif name != "loss" or isinstance(value, bool):
            _check({key: value}, "")


def _check(marked: Mapping[str, Any], field: str) -> None:
    for key, value in marked.items():
        name, where = _plain(key), f"{field}.{key}" if field else str(key)
        told = _number(value)
        if name in _DETAILS and isinstance(value, list):
            for place, part in enumerate(value):
                if isinstance(part, Mapping):
                    _check(part, f"{where}[{place}]")
        elif name in _LEARN | {"mask"} and isinstance(value, list):
            if any(_number(each) != 1 for each in value):
                raise Fault(where, "expected all of the completion to be learned, found a mask, which a row can't hold")
        elif (name in _LEARN and told is not None and told != 1) or (name in _LEAVE and told):
            raise _fault(where, value)


def _fault(where: str, value: Any) -> Fault:
    told = _number(value) or 0.0
    if 0 < told < 1 or told > 1:
        return Fault(where, f"found the weight {value}, which a row can't hold", "found a weight other than 0 or 1")
    return Fault(where, f"marked as not to be learned ({value!r})", "marked as not to be learned")


def _number(value: Any) -> float | None:
    """Return a mark's value as a number; None where it is none, such as a text that names a split."""
    if isinstance(value, (bool, int, float)):
        return float(value)
    if isinstance(value, str):
        text = value.strip().lower()
        if re.fullmatch(r"[+-]?\d+(\.\d+)?", text):
            return float(text)
        return _WORDS.get(text)
    return None


def _plain(key: Any) -> str:
    """Return a key in small letters with underscores: lossMask and loss-mask are loss_mask."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|[\s.-]+", "_", str(key)).lower()
