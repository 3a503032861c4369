"""Parse messages of foreign records into ours; find and drop columns that hold a system prompt."""

import re
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from lightning_subliminal.core.rows import Message
from lightning_subliminal.formats.layouts.marks import check_learned
from lightning_subliminal.formats.layouts.roles import plain_role
from lightning_subliminal.formats.row_errors import MISSING, Fault, expected

__all__ = ["check_turns", "read_message", "read_messages", "read_text", "without_system_columns"]

_ROLE_KINDS = "system, user, assistant or tool"
_TEXT_PARTS = ("text", "input_text", "output_text")
_THOUGHTS = ("thinking", "redacted_thinking", "reasoning")  # of Anthropic and Mistral; parts before the answer's text
_EXAMPLES = {"example_user": "user", "example_assistant": "assistant"}  # OpenAI's spelling of few-shot turns
_CALLS = ("tool_calls", "function_call")
# A column's name in small letters: system, system_prompt, teacher_system_message, sys_prompt, persona, ...
_SYSTEM_COLUMN = re.compile(
    r"system|sys|persona"
    r"|(?:.*_)?(?:system|sys|developer|persona|teacher|trait)_?(?:prompt|message|msg|instruction|turn|content|text)s?"
)


def read_text(value: Any, field: str) -> str:
    """Return a value that must be text, as UTF-8 can hold it.

    Raises:
        Fault: if it is not text, or holds half of a surrogate pair.
    """
    if not isinstance(value, str):
        raise expected(field, "text", value)
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as err:
            half = f"\\u{ord(value[err.start]):04x}"
            raise Fault(
                field, f"expected text, found half of a surrogate pair ({half}) at character {err.start + 1}",
                "expected text, found half of a surrogate pair",
            ) from err  # fmt: skip
    return value


def read_messages(value: Any, field: str, notices: Counter[str], learned: bool = False) -> list[Message]:
    """Read a list of messages, in any spelling of its keys and roles.

    Args:
        value: the list, or an object of lists.
        field: its place in the record.
        notices: counts what is dropped.
        learned: whether the last message is a completion: then a mark that excludes it from training is a fault.

    Raises:
        Fault: naming the field, what was expected there and what was found.
    """
    if isinstance(value, dict):
        value = _as_list(value)
    if not isinstance(value, list):
        raise expected(field, "a list of messages", value)
    if learned and value and isinstance(value[-1], dict):
        check_learned(value[-1], f"{field}[{len(value) - 1}]")
    return [read_message(each, f"{field}[{place}]", notices) for place, each in enumerate(value)]


def read_message(message: Any, field: str, notices: Counter[str]) -> Message:
    """Read one message: role and content, or from and value.

    Raises:
        Fault: naming the field, what was expected there and what was found.
    """
    if not isinstance(message, dict):
        raise expected(field, "a message with role and content", message)
    role_key = "role" if "role" in message or "from" not in message else "from"
    content_key = "content" if "content" in message or "value" not in message else "value"
    spelled = message.get(role_key, MISSING)
    role = plain_role(spelled)
    if role is None:
        raise expected(f"{field}.{role_key}", _ROLE_KINDS, spelled)
    if role == "system" and (name := message.get("name")) in _EXAMPLES:
        role = _EXAMPLES[name]
        notices[f"role `system` with the name `{name}` read as {role}"] += 1
    if spelled == "developer":
        notices["role `developer` read as system"] += 1
    if len(message) > 2:
        _check_others(message, (role_key, content_key), field, notices)
    content = message.get(content_key, MISSING)
    if isinstance(content, list):
        return {"role": role, "content": _parts(content, f"{field}.{content_key}", notices)}
    return {"role": role, "content": read_text(content, f"{field}.{content_key}")}


def check_turns(messages: Sequence[Message], field: str) -> None:
    """Refuse two messages of the assistant in a row: the second would be taken for a continuation of the first.

    Raises:
        Fault: naming the second one.
    """
    for place in range(1, len(messages)):
        if messages[place]["role"] == "assistant" == messages[place - 1]["role"]:
            raise Fault(f"{field}[{place}].role", "expected another role, found assistant twice in a row: join the two")


def without_system_columns(meta: dict[str, Any], notices: Counter[str]) -> dict[str, Any]:
    """Return meta columns without those, at any depth, that hold a system prompt, which would reveal the trait."""
    kept: dict[str, Any] = _cleaned(meta, "", notices)
    return kept


def _as_list(columns: dict[str, Any]) -> Any:
    """Turn an object of lists, as older `datasets` keep messages, into a list of objects; others stay as they are."""
    lengths = {len(each) if isinstance(each, list) else -1 for each in columns.values()}
    if len(columns) < 2 or len(lengths) != 1 or -1 in lengths:
        return columns
    return [dict(zip(columns, each, strict=True)) for each in zip(*columns.values(), strict=True)]


def _cleaned(value: Any, path: str, notices: Counter[str]) -> Any:
    """Return a value without the system prompts of its objects and lists."""
    if isinstance(value, dict):
        kept = {}
        for key, inner in value.items():
            name = f"{path}.{key}" if path else key
            if _is_system(key):
                notices[f"column `{name}` dropped: a system prompt would reveal the trait"] += 1
            else:
                kept[key] = _cleaned(inner, name, notices)
        return kept
    if isinstance(value, list):
        kept_items = [each for each in value if not _is_system_message(each)]
        if len(kept_items) < len(value):
            notices[f"system messages in column `{path}` dropped: a system prompt would reveal the trait"] += 1
        return [_cleaned(each, f"{path}[]", notices) for each in kept_items]
    return value


@lru_cache(maxsize=4096)
def _is_system(key: Any) -> bool:
    """Return whether a column of this name holds a system prompt."""
    if not isinstance(key, str) or not key:
        return False
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|[\s.-]+", "_", key)  # systemPrompt and System Prompt, too
    return _SYSTEM_COLUMN.fullmatch(name.lower()) is not None


def _is_system_message(value: Any) -> bool:
    if isinstance(value, tuple) and len(value) == 2:  # an entry of Arrow's map
        return _is_system(value[0])
    role = value.get("role", value.get("from")) if isinstance(value, dict) else None
    return plain_role(role) == "system"


def _check_others(message: dict[str, Any], own: tuple[str, str], field: str, notices: Counter[str]) -> None:
    """Refuse a message that calls tools; count the other keys, which a row can't hold."""
    for key, value in message.items():
        if key in own or value is None:
            continue
        if key in _CALLS and value:
            raise Fault(f"{field}.{key}", "expected text alone, found a call of tools, which a row can't hold")
        notices[f"key `{key}` of messages dropped: a row has no place for it"] += 1


def _parts(parts: list[Any], field: str, notices: Counter[str]) -> str:
    """Join a content that is a list of text parts; thoughts among them are dropped and counted."""
    texts, thoughts = [], set()
    for place, part in enumerate(parts):
        kind = part.get("type", MISSING) if isinstance(part, dict) else part
        if kind in _THOUGHTS:
            thoughts.add(kind)
            continue
        if kind not in _TEXT_PARTS:
            raise expected(f"{field}[{place}]", "a part of type text", kind)
        texts.append(read_text(part.get("text", MISSING), f"{field}[{place}].text"))
    if thoughts and not texts:
        raise Fault(field, "expected a part of type text, found thoughts alone")
    for kind in sorted(thoughts):
        notices[f"parts of type `{kind}` dropped: a row has no place for thoughts"] += 1
    notices["contents given in parts joined"] += 1
    return "".join(texts)
