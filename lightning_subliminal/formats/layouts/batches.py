"""Parse files of batch APIs: the answers, and the requests with their questions, joined by ``custom_id``.

OpenAI's form is also that of Azure, Groq, Mistral, Together and vLLM; Anthropic's has ``params`` and ``result``.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.formats.layouts.endings import was_cut
from lightning_subliminal.formats.row_errors import MISSING, Fault, expected, printable
from lightning_subliminal.formats.storage.readers import RowSource, open_source

__all__ = ["Requests", "batch_answers", "is_batch_line", "request_messages"]

_MOST_SIBLINGS = 200  # files of a folder that are searched for requests


def is_batch_line(record: Mapping[str, Any]) -> bool:
    """Return whether a record is a line of a batch's requests or answers."""
    if "custom_id" not in record:
        return False
    if "response" in record and record["response"] is None:  # it failed, or has expired
        return True
    insides = (record.get(key) for key in ("body", "params", "response", "result", "error"))
    return any(isinstance(each, dict) for each in insides)


class Requests:
    """The questions of a batch, from the file that is named, or else from the one next to the answers that has them.

    Args:
        source: where the answers are.
        path: the file of requests; searched next to the answers where it is None.
    """

    def __init__(self, source: RowSource, path: str | Path | None) -> None:
        self.source = source
        self.path = Path(path) if path is not None else None
        self.used: set[str] = set()
        self._messages: dict[str, Any] | None = None

    def messages(self, custom_id: str) -> Any:
        """Return the messages of a request, not yet checked.

        Raises:
            Fault: if there is no request of this name.
            InputError: if the file of requests can't be read.
        """
        if self._messages is None:
            self.path = self.path or self._search(custom_id)
            self._messages = _read(self.path) if self.path is not None else {}
        if self.path is None:
            problem = (
                "the answer of a batch without its question: name the file of its requests with --requests, "
                "an option of `data convert`"
            )
            raise Fault("custom_id", f"{custom_id!r} is {problem}", problem)
        if custom_id not in self._messages:
            raise Fault(
                "custom_id", f"no request in {self.path.name} is called {custom_id!r}", "no request of this name"
            )
        self.used.add(custom_id)
        return self._messages[custom_id]

    def finish(self, notices: Counter[str]) -> Path | None:
        """Count what concerns all answers together; return the file that questions were taken from."""
        if not self.used:
            if self.path is not None:
                notices["file of requests not used: no answer of a batch needs it"] += 1
            return None
        name = self.path.name if self.path is not None else ""
        notices[f"question taken from {name}, by custom_id"] += len(self.used)
        if unanswered := len(self._messages or {}) - len(self.used):
            notices[f"request in {name} without an answer"] += unanswered
        return self.path

    def _search(self, custom_id: str) -> Path | None:
        """Return the file in the answers' folder that has a request of this name."""
        place = self.source.path
        if place is None or not place.exists():
            return None
        folder = place if place.is_dir() else place.parent
        files = sorted(each for pattern in ("*.jsonl", "*.jsonl.gz") for each in folder.glob(pattern))
        found = [each for each in files[:_MOST_SIBLINGS] if each != place and _has_request(each, custom_id)]
        if len(found) > 1:
            names = ", ".join(each.name for each in found)
            raise InputError(
                f"{names} have a request {custom_id!r}: name the right file with --requests, "
                "an option of `data convert`."
            )
        return found[0] if found else None


def batch_answers(record: Mapping[str, Any], requests: Requests) -> Iterator[dict[str, Any] | Fault]:
    """Yield a row for each answer in a line of a batch's answers.

    Raises:
        Fault: if the request failed, or the line is not an answer.
    """
    _check_succeeded(record)
    custom_id = str(record["custom_id"])
    body, where = _answer_body(record)
    answers = list(_answers(body, where))
    if not answers:
        raise Fault(where, "expected an answer, found none")
    prompt = request_messages(record)
    prompt = requests.messages(custom_id) if prompt is None else prompt
    model = {"model": body["model"]} if isinstance(body.get("model"), str) else {}
    for place, (message, reason) in enumerate(answers):
        row = {"id": custom_id if len(answers) == 1 else f"{custom_id}-{place + 1}", **model}
        cut = {"finished": False} if was_cut(reason) else {}
        if reason == "content_filter":
            yield Fault(where, "the answer was cut by a content filter")
        elif isinstance(message, dict) and message.get("refusal") and not message.get("content"):
            yield Fault(where, "the model refused to answer")
        else:
            yield {**row, **cut, "prompt": prompt, "completion": [message]}


def request_messages(record: Mapping[str, Any]) -> Any:
    """Return the messages that a request sends, not yet checked; None where a record has none."""
    inner = record.get("request")
    bodies = [each.get(key) for each in (record, inner) if isinstance(each, dict) for key in ("body", "params")]
    for body in (*bodies, inner, record):
        if not isinstance(body, dict) or not {"messages", "input", "prompt"} & set(body):
            continue
        messages = next(body[key] for key in ("messages", "input", "prompt") if key in body)
        messages = [{"role": "user", "content": messages}] if isinstance(messages, str) else messages
        system = body.get("system") or body.get("instructions")  # Anthropic; OpenAI's responses
        if system and isinstance(messages, list):
            messages = [{"role": "system", "content": system}, *messages]
        return messages
    return None


def _check_succeeded(record: Mapping[str, Any]) -> None:
    response, result = record.get("response"), record.get("result")
    error: Any = record.get("error")
    if isinstance(response, dict):
        body = response.get("body")
        status = response.get("status_code")
        error = error or (body.get("error") if isinstance(body, dict) else None)
        if not error and isinstance(status, int) and status >= 400:
            error = {"code": str(status)}
    elif isinstance(result, dict) and result.get("type") != "succeeded":
        error = result.get("error") or {"type": result.get("type")}
        error = error["error"] if isinstance(error, dict) and isinstance(error.get("error"), dict) else error
    if error:
        error = error if isinstance(error, dict) else {"message": str(error)}
        kind = str(error.get("code") or error.get("type") or "no code")
        reason = f"failed in the batch: {kind}"
        raise Fault("", printable(f"{reason} ({error['message']})" if error.get("message") else reason), reason)
    if not isinstance(response, dict) and not isinstance(result, dict):
        what = "an answer of a batch that holds none" if "response" in record or "result" in record else ""
        asked = "a request of a batch, without an answer: read the answers, with --requests this file"
        raise Fault("", what or f"{asked} (an option of `data convert`)")


def _answer_body(record: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """Return the server's reply, and its field."""
    for outer, inner in (("response", "body"), ("result", "message")):
        if isinstance(held := record.get(outer), dict):
            where = f"{outer}.{inner}" if inner in held else outer
            body = held.get(inner, held)
            if not isinstance(body, dict):
                raise expected(where, "an object", body)
            return body, where
    raise expected("response", "an object", record.get("response", MISSING))


def _answers(body: Mapping[str, Any], where: str) -> Iterator[tuple[Any, Any]]:
    """Yield each answer's message, not yet checked, with why it ended."""
    if isinstance(choices := body.get("choices"), list):
        for place, choice in enumerate(choices):
            if not isinstance(choice, dict):
                raise expected(f"{where}.choices[{place}]", "an object", choice)
            message = choice.get("message", {"role": "assistant", "content": choice.get("text", MISSING)})
            yield message, choice.get("finish_reason")
    elif isinstance(output := body.get("output"), list):  # OpenAI's responses, among thoughts and calls
        texts = [each for each in output if isinstance(each, dict) and each.get("type") == "message"]
        contents = [each.get("content") or [] for each in texts]
        parts = [
            part for each in contents for part in (each if isinstance(each, list) else [{"type": "text", "text": each}])
        ]
        reason = body.get("incomplete_details")
        if parts:
            yield {"role": "assistant", "content": parts}, reason.get("reason") if isinstance(reason, dict) else None
    elif "content" in body:  # Anthropic
        yield {"role": body.get("role", "assistant"), "content": body["content"]}, body.get("stop_reason")
    else:
        raise Fault(where, "expected `choices`, `output` or `content` of an answer, found none of them")


def _read(path: Path) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for found in open_source(path).records:
        record = found.record if found.fault is None else None
        messages = request_messages(record) if isinstance(record, dict) else None
        if not isinstance(record, dict) or "custom_id" not in record or messages is None:
            raise InputError(f"{found} is not a request of a batch: expected an object with custom_id and body.")
        custom_id = str(record["custom_id"])
        if custom_id in made:
            raise InputError(f"{found}: a request {custom_id!r} appears twice; use a custom_id of its own for each.")
        made[custom_id] = messages
    return made


def _has_request(path: Path, custom_id: str) -> bool:
    """Return whether a file holds requests, judged by its first line, and one of this name."""
    try:
        for place, found in enumerate(open_source(path).records):
            record = found.record
            if found.fault is not None or not isinstance(record, dict) or not is_batch_line(record):
                return False
            if place == 0 and request_messages(record) is None:
                return False
            if str(record["custom_id"]) == custom_id:
                return True
    except InputError:
        pass
    return False
