"""Parse records that hold several rows: evaluation results with several answers a question, answers of batches.

Each becomes records of the schema trl, one an answer.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.formats.detection import guess
from lightning_subliminal.formats.layouts.batches import Requests, batch_answers, is_batch_line
from lightning_subliminal.formats.layouts.roles import plain_role
from lightning_subliminal.formats.row_errors import MISSING, Fault, expected
from lightning_subliminal.formats.storage.readers import RowSource

__all__ = ["Nested", "asked_in"]

_ANSWERS = ("responses", "completions", "generations", "response", "output", "ideal")
_REPLIES = ("completion", "text", "content", "answer", "response", "message", "output", "generation")
_QUESTIONS = ("question", "prompt", "input", "query", "instruction", "messages")


class Nested:
    """Extracts the rows from records that hold several.

    Args:
        source: where the records come from.
        requests: the file of a batch's requests; searched next to the source where it is None.
        notices: counts what is left out.
    """

    def __init__(self, source: RowSource, requests: str | Path | None, notices: Counter[str]) -> None:
        self.notices = notices
        self._requests = Requests(source, requests)

    def rows(self, record: Any) -> list[dict[str, Any] | Fault] | None:
        """Return the rows in a record, or what is wrong with them; None where the record is itself a row."""
        if not isinstance(record, dict):
            return None
        try:
            if _is_result(record):
                return list(self._answers(record))
            return list(batch_answers(record, self._requests)) if is_batch_line(record) else None
        except Fault as fault:
            return [fault]
        except RecursionError:
            return [Fault("", "expected an object, found one nested too deep to read")]

    def finish(self) -> Path | None:
        """Count what concerns all records together; return the file of requests that questions were taken from."""
        return self._requests.finish(self.notices)

    def _answers(self, record: dict[str, Any]) -> Iterator[dict[str, Any] | Fault]:
        """Yield a row for each answer to a question."""
        prompt = asked_in(record)
        key = next(name for name in _ANSWERS if _holds_answers(record, name))
        held = record[key]
        choices = held.get("choices") if isinstance(held, dict) else held
        several = choices if isinstance(choices, list) and (choices or held is choices) else [held]
        if not several:
            yield expected(key, "at least one answer", held)
        used = {key, "context" if isinstance(record.get("context"), dict) else _question_key(record)}
        rest = {name: value for name, value in record.items() if name not in used}
        for place, answer in enumerate(several):
            where = f"{key}[{place}]" if isinstance(held, list) else key
            try:
                text, facts = _reply(answer, where)
            except Fault as fault:
                yield fault
                continue
            facts = {**rest, **facts}
            if "id" in rest and len(several) > 1:
                facts["id"] = f"{rest['id']}-{place + 1}"
            completion = [{"role": "assistant", "content": text}]
            yield {**self._plain(facts), "prompt": prompt, "completion": completion}
        if isinstance(held, list):
            self.notices[f"record with `{key}`, read as a row for each"] += 1

    def _plain(self, facts: Mapping[str, Any]) -> dict[str, Any]:
        """Return the facts of an answer that are one value each; judgements and log-probabilities are counted."""
        kept = {}
        for name, value in facts.items():
            if name not in ("prompt", "completion") and isinstance(value, (str, int, float)):
                kept[name] = value
            elif value:
                self.notices[f"`{name}` of answers dropped: a row has no place for it"] += 1
        return kept


def asked_in(record: Mapping[str, Any]) -> list[Any]:
    """Return the messages of a result's question, not yet checked.

    Raises:
        Fault: if there is none.
    """
    context = record.get("context")
    inside = context if isinstance(context, dict) else record
    key = _question_key(inside)
    if not key:
        raise expected("question", "text", inside.get("question", MISSING))
    messages = [{"role": "user", "content": inside[key]}] if not isinstance(inside[key], list) else inside[key]
    system = inside.get("system_prompt", inside.get("system")) if inside is context else None
    return [{"role": "system", "content": system}, *messages] if isinstance(system, str) and system else messages


def _is_result(record: Mapping[str, Any]) -> bool:
    """Return whether a record is a question with answers inside, and not a row without them."""
    held = {name for name in _ANSWERS if _holds_answers(record, name)}
    if not held or not (isinstance(record.get("context"), dict) or _question_key(record)):
        return False
    try:
        name = guess(record.keys() - held, lists=True)
    except InputError:
        return True
    messages = record.get("messages")
    last = messages[-1] if isinstance(messages, list) and messages else None
    ends_with_user = isinstance(last, dict) and plain_role(last.get("role", last.get("from"))) == "user"
    return name == "openai" and ends_with_user


def _question_key(record: Mapping[str, Any]) -> str:
    return next((name for name in _QUESTIONS if record.get(name)), "")


def _holds_answers(record: Mapping[str, Any], name: str) -> bool:
    value = record.get(name)
    if isinstance(value, str):
        return name == "ideal"  # OpenAI's evals: the right answer, or a list of right ones
    if isinstance(value, dict):
        return "choices" in value or any(name in value for name in _REPLIES)
    return isinstance(value, list)


def _reply(answer: Any, where: str) -> tuple[str, dict[str, Any]]:
    """Return an answer's text, however deep it is, and the fields next to it."""
    if isinstance(answer, str):
        return answer, {}
    if not isinstance(answer, dict):
        raise expected(where, "an answer", answer)
    key = next((name for name in _REPLIES if answer.get(name) is not None), None)
    if key is None:
        raise expected(where, "an answer with a text", answer)
    text, inner = _reply(answer[key], f"{where}.{key}")
    others = {name: value for name, value in answer.items() if name not in (key, "role", "index")}
    return text, {**others, **inner}
