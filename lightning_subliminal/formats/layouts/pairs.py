"""Other people's preference records in TRL's columns: what they call the sides, and where they keep the prompt."""

import re
from collections import Counter
from typing import Any

from lightning_subliminal.core.rows import Message
from lightning_subliminal.formats.detection import SIDES
from lightning_subliminal.formats.layouts.messages import read_messages, read_text
from lightning_subliminal.formats.row_errors import MISSING, Fault

__all__ = ["as_trl"]

# Where a record without `prompt` keeps it: Orca and Intel; LLaMA-Factory's two; Argilla and OpenAI.
_PROMPTS = ("question", "instruction", "conversations", "input")
_TURN = re.compile(r"\n\n(Human|Assistant):")


def as_trl(record: dict[str, Any], notices: Counter[str]) -> dict[str, Any]:
    """Return a record with ``prompt``, ``chosen`` and ``rejected``; its own columns of these become no meta columns.

    Raises:
        Fault: if more than one column could be the prompt.
    """
    made = dict(record)
    for names in SIDES:
        if not {"chosen", "rejected"} & made.keys() and set(names) <= made.keys():
            made |= zip(("chosen", "rejected"), (made.pop(name) for name in names), strict=True)
    for key in {"prompt", "chosen", "rejected"} & made.keys():
        made[key] = _as_turns(made[key], asked=key == "prompt")
    texts: list[Any] = [made.get(name) for name in ("prompt", "chosen", "rejected")]
    if all(isinstance(text, str) for text in texts) and all(text.startswith(texts[0] or "\0") for text in texts):
        notices["`chosen` and `rejected` begin with the prompt again, kept: it is trained on as a part of both"] += 1
    whole = isinstance(made.get("chosen"), dict) or (isinstance(made.get("chosen"), list) and len(made["chosen"]) > 1)
    if made.get("prompt") is not None or whole:
        return made
    found = [key for key in _PROMPTS if made.get(key) is not None]
    if "instruction" in found and "input" in found:
        found.remove("input")  # its second part
    if len(found) > 1:
        raise Fault("", f"both {' and '.join(found)} could be the prompt of the pair: rename one of them to `prompt`")
    if found:
        made["prompt"] = _prompt(made, found[0], notices)
    return made


def _as_turns(value: Any, asked: bool) -> Any:
    """Return the messages of a transcript as in HH-RLHF, and of one message without its list; else the value."""
    if isinstance(value, dict) and isinstance(value.get("role", value.get("from")), str):
        return [value]
    if not isinstance(value, str) or not (begins := re.match(r"\s*(?=\n\nHuman:)", value)):
        return value
    _, *pieces = _TURN.split(value[begins.end() :])
    turns = [
        {"role": {"Human": "user", "Assistant": "assistant"}[name], "content": text.removeprefix(" ")}
        for name, text in zip(pieces[::2], pieces[1::2], strict=True)
    ]
    return turns[:-1] if asked and value.endswith("\n\nAssistant:") else turns  # the answer is to come


def _prompt(made: dict[str, Any], key: str, notices: Counter[str]) -> list[Message]:
    """Take the prompt out of a record: a text, or messages; with the column ``system`` before it."""
    value = made.pop(key)
    if key == "input" and isinstance(value, dict):
        for name in value.keys() - {"messages"}:
            made.setdefault(name, value[name])  # such as `tools`
        key, value = "input.messages", value.get("messages", MISSING)
    more = made.pop("input", None) if key == "instruction" else None
    value = _as_turns(value, asked=True)
    if isinstance(value, str):
        texts = [read_text(value, key), *([read_text(more, "input")] if more is not None else [])]
        messages: list[Message] = [{"role": "user", "content": "\n".join(text for text in texts if text)}]
    else:
        messages = read_messages(value, key, notices)
    if made.get("history"):
        raise Fault("history", "expected earlier turns in `prompt`, as messages, beside `chosen` and `rejected`")
    system = made.pop("system", None)
    if not system:
        return messages
    return [{"role": "system", "content": read_text(system, "system")}, *messages]
