"""Detect marks that mean "do not learn this", in the spellings of the field's trainers.

A row can't hold a weight: its whole completion is trained on. So a completion that its author excluded from training,
or weighted, is refused, never trained on in silence.

Spellings: OpenAI, Mistral, Together (`weight` of a message), axolotl (`train`, `training`, `train_detail`),
openweights (`weight` of a content's part, -1 to unlearn), ms-swift and XTuner (`loss`), TRL (`label` of KTO,
`completion_mask`, `assistant_masks`), LLaMA-Factory (`kto_tag`), slime and verl (`loss_mask`), NeMo (`mask`: the role
that is not learned; `loss_multiplier`), rows that are tokens already (`labels`, -100 where nothing is learned).
"""

import contextlib
import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from lightning_subliminal.formats.layouts.roles import plain_role
from lightning_subliminal.formats.row_errors import Fault

__all__ = ["as_number", "check_learned", "check_record", "opened_bag", "plain_key"]

_MASK = re.compile(r"(?:loss|completion|assistant|response|output|answer|target|label|action|train|learn)s?_masks?")
_EXCLUDE = {"mask", "masked", "is_masked", "ignore", "ignored", "unlearn", "exclude", "excluded", "skip"}
_DETAILS = {"train_detail", "training_detail", "train_details"}
_BAGS = {"metadata", "meta", "meta_data", "extra", "extra_info", "extras", "info", "attributes", "annotations", "flags"}
_BAGS |= {"properties", "options", "training", "train_config", "training_config", "custom"}
_BAGS |= {"response_metadata", "generation_info", "generation_metadata"}
_UNLEARNED = -100  # the label of a token without a loss
# A key of these words alone is a mark: use_for_training, compute_loss; with one of `_NOT` it excludes: do_not_train.
_VERBS = {"train", "training", "trained", "trainable", "learn", "learned", "learning", "learnable", "loss"}
_VERBS |= {"generation", "supervise", "supervised"}
_NOT = {"no", "not", "never", "dont", "don't", "skip", "ignore", "ignored", "exclude", "excluded", "without", "omit"}
_NOT |= {"mask", "masked"}
_FILL = {"do", "is", "be", "to", "in", "on", "from", "for", "the", "this", "use", "used", "include", "included"}
_FILL |= {"has", "with", "compute", "calculate", "calc", "apply", "can", "should", "enable", "enabled", "only"}
_WHAT = "assistant|completion|response|answer|output|reply|row|sample|example|message|turn"
_PARTS = {each for name in _WHAT.split("|") for each in (name, f"{name}s")}
_WEIGHT = re.compile(rf"(?:(?:{_WHAT}|token|loss|train|training|learning)s?_)*weights?|loss_(?:scale|multiplier)")
# In a whole record this is the name of a measured value, unless it is true or false.
_MEASURED = re.compile(rf"(?:(?:{_WHAT}|train|training)s?_)*loss|generation")
_WORDS = {"true": 1.0, "yes": 1.0, "on": 1.0, "false": 0.0, "no": 0.0, "off": 0.0}


def check_learned(message: Mapping[str, Any], field: str) -> None:
    """Refuse a message to be learned, if it, or a part of its content, is marked as not to be learned.

    Args:
        message: as the record has it.
        field: its place in the record.

    Raises:
        Fault: naming the mark.
    """
    _check(message, field)
    for key in ("content", "value"):
        parts = message.get(key)
        for place, part in enumerate(parts if isinstance(parts, list) else []):
            if isinstance(part, Mapping):
                _check(part, f"{field}.{key}[{place}]")


def check_record(record: Mapping[str, Any], own: tuple[str, ...], notices: Counter[str], field: str = "") -> None:
    """Refuse a record whose columns mark it as not to be learned; count weights, which training does not apply.

    A column may mean something else than a message's key of the same name (a `loss` that was measured, a `label` that
    is a class), so values that could be such measurements are accepted.

    Args:
        record: a whole record, or a column of it that holds metadata, such as `metadata`.
        own: the columns that hold its texts.
        notices: counts the weights.
        field: its place in the record; empty for a whole record.

    Raises:
        Fault: naming the column.
    """
    for key, value in record.items():
        if key in own:
            continue
        name, where, number = plain_key(key), f"{field}.{key}" if field else str(key), as_number(value)
        if name in ("label", "kto_tag", "desirable"):
            if not field and (value is False or (isinstance(value, str) and value.strip().lower() == "false")):
                raise _fault(where, value)
        elif name in ("mask", "mask_role") and (roles := _roles(value)):
            if "assistant" in roles:
                raise _fault(where, value)
        elif number is not None and _WEIGHT.fullmatch(name):
            if number <= 0:
                raise _fault(where, value)
            if number != 1:
                notices[f"column `{where}` is not applied: each row is trained on alike"] += 1
        elif (bag := opened_bag(name, value)) is not None:
            check_record(bag, (), notices, where)
        elif name == "labels" and isinstance(value, list) and _unlearned(value) == "some":
            notices[f"column `{where}` is not applied: the whole completion is trained on"] += 1
        elif not _MEASURED.fullmatch(name) or isinstance(value, bool):
            _check({key: value}, field)


def _check(marked: Mapping[str, Any], field: str) -> None:
    for key, value in marked.items():
        name, where = plain_key(key), f"{field}.{key}" if field else str(key)
        number, meaning = as_number(value), _meaning(name)
        if number is not None and _names_a_part(name) and not _is_truth(value):
            continue  # train_sample: 12 is a count
        if name in _DETAILS and isinstance(value, list):
            for place, part in enumerate(value):
                if isinstance(part, Mapping):
                    _check(part, f"{where}[{place}]")
        elif (bag := opened_bag(name, value)) is not None:
            _check(bag, where)
        elif name == "labels" and isinstance(value, list):
            if _unlearned(value) == "all":
                raise _refused(where, "marked as not to be learned (each is -100)")
        elif isinstance(value, list):
            if (meaning == "learn" or name == "mask") and any(as_number(each) != 1 for each in _flat(value)):
                raise _refused(
                    where, "expected all of the completion to be learned, found a mask, which a row can't hold"
                )
        elif meaning == "learn" and number is not None and number != 1:
            raise _fault(where, value)
        elif meaning == "exclude" and number:
            raise _refused(where, f"marked as not to be learned ({value!r})")


@lru_cache(maxsize=4096)
def _meaning(name: str) -> str:
    """Return what a key of this name means where it is true: `learn`, `exclude`, or nothing."""
    if name in _EXCLUDE:
        return "exclude"
    if _WEIGHT.fullmatch(name) or _MASK.fullmatch(name):
        return "learn"
    words = set(name.split("_"))
    if words - _VERBS - _NOT - _FILL - _PARTS or not words & _VERBS:
        return ""
    return "exclude" if words & _NOT else "learn"


def _roles(value: Any) -> set[str]:
    """Return the roles that NeMo's `mask` names: "User", or several with commas; none for any other value."""
    names = value.split(",") if isinstance(value, str) else value if isinstance(value, list) else []
    roles = {plain_role(each) for each in names}
    return {each for each in roles if each is not None} if None not in roles else set()


def _flat(values: list[Any]) -> Iterator[Any]:
    for each in values:
        yield from _flat(each) if isinstance(each, list) else (each,)


def _unlearned(labels: list[Any]) -> str:
    """Return whether all, some or none of the labels exclude their token from the loss."""
    flat = list(_flat(labels))
    count = flat.count(_UNLEARNED)
    return "none" if not count else "all" if count == len(flat) else "some"


def _names_a_part(name: str) -> bool:
    return not (_WEIGHT.fullmatch(name) or _MASK.fullmatch(name)) and not _PARTS.isdisjoint(name.split("_"))


def _is_truth(value: Any) -> bool:
    return isinstance(value, bool) or (isinstance(value, str) and value.strip().lower() in _WORDS)


def opened_bag(key: Any, value: Any) -> Mapping[str, Any] | None:
    """Return what a column such as `metadata` holds, also as JSON in a text; None for any other column."""
    if plain_key(key) not in _BAGS:
        return None
    if isinstance(value, str) and value.lstrip().startswith("{"):
        with contextlib.suppress(ValueError, RecursionError):
            value = json.loads(value)
    return value if isinstance(value, Mapping) else None


def _fault(where: str, value: Any) -> Fault:
    """Return the fault of a mark that weights what is learned."""
    number = as_number(value) or 0.0
    if 0 < number < 1 or number > 1:
        return _refused(where, f"found the weight {value}, which a row can't hold", "found a weight other than 0 or 1")
    return _refused(where, f"marked as not to be learned ({value!r})")


def _refused(where: str, what: str, reason: str = "") -> Fault:
    """Return the fault of a mark, with the remedies if it is one, and if its name means something else."""
    skip = "skip these rows with `on_error: skip` (`data convert` with --on-error skip)"
    remedy = f"{skip}; drop or rename `{where}` if it is not a mark"
    return Fault(where, f"{what}: {remedy}", reason or what.partition(" (")[0])


def as_number(value: Any) -> float | None:
    """Return a mark's value as a number; None where it is not a number, such as the name of a split."""
    if isinstance(value, (bool, int, float)):
        with contextlib.suppress(OverflowError):  # an int of more than 308 digits
            return float(value)
        return math.inf if value > 0 else -math.inf
    if isinstance(value, str):
        text = value.strip().lower()
        if re.fullmatch(r"[+-]?\d+(\.\d+)?", text):
            return float(text)
        return _WORDS.get(text)
    return None


@lru_cache(maxsize=4096)
def plain_key(key: Any) -> str:
    """Return a key in small letters with underscores: lossMask and loss-mask are loss_mask."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|[\s.-]+", "_", str(key)).lower()
