"""Detect whether an answer was finished: a row that was cut off has no end of turn to be trained on.

It is read from our own column ``finished``, in any spelling of text files and tables, and from the reason for which a
server ended an answer: `finish_reason` (OpenAI, vLLM), `stop_reason` (Anthropic, Bedrock), `done_reason` (Ollama),
`finishReason` (Gemini).
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from lightning_subliminal.core.rows import Row
from lightning_subliminal.formats.layouts.marks import as_number, opened_bag, plain_key
from lightning_subliminal.formats.row_errors import expected

__all__ = ["read_ending", "was_cut"]

_REASONS = {"finish_reason", "stop_reason", "done_reason"}
_CUT = {"length", "max_tokens", "max_output_tokens", "max_new_tokens", "max_length", "model_length"}
_CUT |= {"model_context_window_exceeded", "content_filter", "abort"}
_UNKNOWN = {"", "none", "null", "nan"}  # how text files write that there is no value
_HINT = ": it marks whether an answer was finished; drop or rename a column that means something else"


def was_cut(reason: Any) -> bool:
    """Return whether an answer ended before its end of turn, by the reason that its server named."""
    reason = reason[0] if isinstance(reason, list) and len(reason) == 1 else reason
    return isinstance(reason, str) and reason.strip().lower().rpartition(".")[2] in _CUT


def read_ending(record: Mapping[str, Any], own: tuple[str, ...], notices: Counter[str]) -> Row:
    """Return the column ``finished`` of a record's row: true, false, or no such column where nothing is known.

    Args:
        record: as it was found.
        own: the columns that hold its texts; the last one may be messages, of which the last one is the answer.
        notices: counts the answers that were cut off, by the reason that their server named.

    Raises:
        Fault: if ``finished`` is neither true nor false.
    """
    value = record.get(own[-1])
    messages = value if isinstance(value, list) and value and isinstance(value[-1], dict) else [{}]
    answer = messages[-1]
    others = {key: value for key, value in record.items() if key not in own}
    finished = [_finished(others, ""), _finished(answer, f"{own[-1]}[{len(messages) - 1}].")]
    for where, reason in (*_reasons(others, ""), *_reasons(answer, f"{own[-1]}[].")):
        if was_cut(reason):
            notices[f"`{where}` is {reason}: the answer was cut off, and no end of turn is trained on"] += 1
            finished.append(False)
            break
    return {"finished": False not in finished} if {True, False} & {*finished} else {}


def _reasons(holder: Mapping[str, Any], before: str) -> Iterator[tuple[str, Any]]:
    """Yield each reason for an answer's end with its field, also inside a column such as `metadata`."""
    for key, value in holder.items():
        if plain_key(key) in _REASONS:
            yield f"{before}{key}", value
        elif (bag := opened_bag(key, value)) is not None:
            yield from _reasons(bag, f"{before}{key}.")


def _finished(holder: Mapping[str, Any], before: str) -> bool | None:
    value = holder.get("finished")
    if value is None or value != value or (isinstance(value, str) and value.strip().lower() in _UNKNOWN):
        return None
    if (number := as_number(value)) not in (0, 1):
        raise expected(f"{before}finished", "true or false", value, _HINT)
    return number == 1
