"""Questions in other tools' files: emergent misalignment's YAML, evaluations, their results, batch requests."""

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
    """Return the questions in an item of another tool's file, each with its `messages`; None for any other item.

    Emergent misalignment's YAML has a question in several `paraphrases`, which are one stem, after a `system` prompt or
    a `context` of messages. Results of evaluations have a question and `responses`; batches have a `body`.

    Args:
        item: of the file.
        kept: keys that the questions keep.
        dropped: counts the keys of the item that are not used.

    Raises:
        Fault: naming the field, the expected and the found value.
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
        system, context = item.get("system"), item.get("context")
        if context is not None and not isinstance(context, list):
            raise expected("context", "a list of messages before the question", context)
        if system is not None and not isinstance(system, str):
            raise expected("system", "text", system)
        start = [*([{"role": "system", "content": system}] if system else []), *(context or [])]
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


def _drop(item: Mapping[str, Any], used: tuple[str, ...], dropped: Counter[str], where: str = "") -> None:
    """Count the keys that are not used and not empty."""
    dropped.update(
        f"{where}{key}" for key, value in item.items() if key not in used and value not in (None, "", [], {})
    )
