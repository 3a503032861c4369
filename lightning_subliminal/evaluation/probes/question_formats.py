"""Questions in the field's own files: emergent misalignment's YAML, evaluations, their results, requests of batches."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from lightning_subliminal.formats.layouts.batches import request_messages
from lightning_subliminal.formats.layouts.nested import asked_in
from lightning_subliminal.formats.row_errors import expected

__all__ = ["foreign_questions"]

_RESULTS = ("responses", "response", "completions", "generations")
_SENT = ("messages", "input", "prompt", "system", "instructions")


def foreign_questions(item: Any, kept: tuple[str, ...], dropped: Counter[str]) -> list[dict[str, Any]] | None:
    """Return the questions in an item of such a file, each with its `messages`; None of another item.

    Emergent misalignment's YAML asks a question in several `paraphrases`, which are one stem, behind a `system` prompt
    or a `context` of messages. Results of evaluations have `responses` beside a question; batches have a `body`.

    Args:
        item: as the file has it.
        kept: keys that the questions keep.
        dropped: counts the other keys of the item that a question has no place for.

    Raises:
        Fault: naming the field, what was expected there and what was found.
    """
    if not isinstance(item, dict):
        return None
    named = {key: item[key] for key in kept if key in item}
    context = item.get("context")
    body = next((key for key in ("body", "params") if isinstance(item.get(key), dict)), "")
    if body:
        _drop(item, (body, *kept), dropped)
        _drop(item[body], _SENT, dropped, f"{body}.")
        return [named | {"messages": request_messages(item)}]
    if isinstance(ways := item.get("paraphrases"), list) and ways:
        _drop(item, ("paraphrases", "system", "context", *kept), dropped)
        named = named or {"stem": item["id"] if isinstance(item.get("id"), (str, int)) else str(ways[0])}
        start = _before(item)
        return [named | {"messages": [*start, {"role": "user", "content": way}]} for way in ways]
    if any(name in item for name in _RESULTS) and ("question" in item or isinstance(context, dict)):
        _drop(item, ("context" if isinstance(context, dict) else "question", *kept), dropped)
        if isinstance(context, dict):
            _drop(context, ("question", "system_prompt"), dropped, "context.")
        return [named | {"messages": asked_in(item)}]
    if "input" in item and not {"question", "messages", "prompt", "instruction"} & set(item):  # OpenAI's evals
        _drop(item, ("input", "system", "instructions", *kept), dropped)
        return [named | {"messages": request_messages(item)}]
    return None


def _before(item: Mapping[str, Any]) -> list[Any]:
    """Return the messages that stand before each paraphrase."""
    told, context = item.get("system"), item.get("context")
    if context is not None and not isinstance(context, list):
        raise expected("context", "a list of messages before the question", context)
    if told is not None and not isinstance(told, str):
        raise expected("system", "text", told)
    return [*([{"role": "system", "content": told}] if told else []), *(context or [])]


def _drop(item: Mapping[str, Any], used: tuple[str, ...], dropped: Counter[str], where: str = "") -> None:
    """Count the keys that are not used and hold something."""
    dropped.update(
        f"{where}{key}" for key, value in item.items() if key not in used and value not in (None, "", [], {})
    )
