"""Replies of a server of `/v1/chat/completions`: the completion, and errors in the shapes that servers use."""

import email.utils
import json
import math
import re
import time
from collections.abc import Iterable
from typing import Any, TypeVar

__all__ = [
    "UnusableError",
    "chat_reply",
    "error_message",
    "error_status",
    "parse_json",
    "plausible_tokens",
    "read_positions",
    "refused_parameter",
    "retry_seconds",
    "without_secrets",
]

T = TypeVar("T")

_MOST_EXTRA = 65_536  # tokens of a call beyond one for each byte of its request: templates, thoughts
_MOST_CHANCE = 1.01  # the sum of the first token's probabilities, since servers round


class UnusableError(Exception):
    """A chat completion with impossible content."""


def parse_json(text: str) -> Any:
    """Return a server's JSON.

    Raises:
        ValueError: if it is not valid, or too deeply nested.
    """
    try:
        return json.loads(text)
    except RecursionError as err:
        raise ValueError("nested too deep") from err


def chat_reply(data: Any, expected: bool, size: int) -> dict[str, Any] | None:
    """Return the fields of a chat completion that are kept.

    Args:
        data: the server's JSON.
        expected: whether log-probabilities are needed.
        size: of the request, in bytes.

    Returns:
        The fields; None if log-probabilities are needed and missing.

    Raises:
        UnusableError: if the probabilities are impossible.
        ValueError, LookupError, TypeError, AttributeError, OverflowError: if it is not a chat completion.
    """
    choice = data["choices"][0]
    if choice.get("error"):
        raise ValueError("an error in place of a reply")
    text = choice["message"].get("content")
    reply = {
        "text": text.encode("utf-8", "replace").decode() if isinstance(text, str) else "",
        "cut": choice.get("finish_reason") == "length",
        "tokens": plausible_tokens((data.get("usage") or {}).get("total_tokens"), size),
    }
    if not expected:
        return reply
    content = (choice.get("logprobs") or {}).get("content")
    if content is None or (content and not content[0].get("top_logprobs")):
        return None
    likely = content[0]["top_logprobs"] if content else []
    first = [(str(each["token"]), float(each["logprob"])) for each in likely]
    chance = sum(math.exp(min(logprob, 1.0)) for _, logprob in first)
    if not chance <= _MOST_CHANCE:  # nan too
        raise UnusableError(f"the probabilities of a reply's first token sum to {chance:.3g}")
    return reply | {"first": [*map(list, first)], "said": [str(each["token"]) for each in content[:2]]}


def read_positions(choice: Any) -> list[tuple[float, list[float]]] | None:
    """Return the log-probability of each token and those of the likeliest tokens in its place; None if there are none.

    Args:
        choice: of a chat completion.
    """
    content = (choice.get("logprobs") or {}).get("content") or []
    found = [
        (float(each["logprob"]), [float(one["logprob"]) for one in each.get("top_logprobs") or ()]) for each in content
    ]
    return [each for each in found if each[1]] or None


def plausible_tokens(tokens: Any, size: int) -> int | None:
    """Return a server's token count of a call; None if it is impossible for a request of ``size`` bytes."""
    return tokens if type(tokens) is int and 0 <= tokens <= size + _MOST_EXTRA else None


def error_message(text: str) -> str:
    """Return the message of an error response."""
    try:
        found = parse_json(text)
    except ValueError:
        return text
    for name in ("error", "message", "detail"):
        found = found.get(name, found) if isinstance(found, dict) else found
    return found if isinstance(found, str) else json.dumps(found)


def error_status(status: int, text: str, sent: Iterable[str]) -> int:
    """Return the status of a response; for an error with status 200 its code, or 400 if it names a parameter.

    Args:
        status: of the response.
        text: its body.
        sent: parameters of the request.
    """
    if not 200 <= status < 300:
        return status
    try:
        found = parse_json(text)
    except ValueError:
        return status
    choices = found.get("choices") if isinstance(found, dict) else None
    if isinstance(choices, list) and choices and isinstance(choices[0], dict) and choices[0].get("error"):
        found = choices[0]  # a router's error about the model behind it
    elif not isinstance(found, dict) or choices is not None:
        return status
    inner = found["error"] if isinstance(found.get("error"), dict) else found
    code = str(inner.get("code", inner.get("status", "")))
    if code.isdecimal() and 400 <= int(code) < 600:
        return int(code)
    return status if refused_parameter(text, sent) is None else 400


def refused_parameter(text: str, sent: Iterable[str]) -> str | None:
    """Return which of the sent parameters an error is about: by its `param` or `loc`, or by its message."""
    names = [each for each in sent if each not in ("model", "messages")]
    try:
        found = parse_json(text)
    except ValueError:
        found = None
    stack, named = [found], set()
    while stack:
        each = stack.pop()
        if isinstance(each, dict):
            fields = [each.get("param"), *(each["loc"] if isinstance(each.get("loc"), list) else [])]
            named |= {str(one).rpartition(".")[2] for one in fields}
            stack += each.values()
        elif isinstance(each, list):
            stack += each
    if by_name := [each for each in names if each in named]:
        return by_name[0]
    # the first name: "'max_tokens' is not supported, use 'max_completion_tokens' instead"; but a repeated request, with
    # "temperature: 0" in it, has them all
    for behind in (r"(?![\"']?\s*[:=]\s*-?[\dtf])", ""):
        spelled = {each: re.search(_spellings(each) + behind, text, re.IGNORECASE) for each in names}
        if places := {each: found.start() for each, found in spelled.items() if found}:
            return min(places, key=lambda each: places[each])
    wanted = "max_tokens" in names and re.search(_spellings("max_completion_tokens"), text, re.IGNORECASE)
    return "max_tokens" if wanted else None


def _spellings(name: str) -> str:
    """Return a pattern for a parameter's name as servers spell it: max_tokens, maxTokens, "Max tokens"."""
    return rf"(?<!\w){name.replace('_', '[_ -]?')}(?!\w)"


def retry_seconds(retry_after: str) -> float:
    """Return the seconds of a Retry-After header, which may be a date; 0 if it is neither."""
    try:
        seconds = float(retry_after)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(retry_after).timestamp() - time.time()
        except (TypeError, ValueError, OverflowError):
            return 0.0
    return seconds if seconds > 0 else 0.0


def without_secrets(data: T, secrets: Iterable[str]) -> T:
    """Return text, or JSON with all its texts, with *** for each secret, which a server may echo, escaped or not."""
    patterns = [
        re.compile("".join(rf"(?:\\?{re.escape(c)}|(?i:\\u{ord(c):04x}|%{ord(c):02x}))" for c in secret))
        for secret in secrets
        if secret
    ]

    def clean(value: Any) -> Any:
        if isinstance(value, str):
            for each in patterns:
                value = each.sub("***", value)
            return value
        if isinstance(value, dict):
            return {clean(key): clean(each) for key, each in value.items()}
        return [clean(each) for each in value] if isinstance(value, list) else value

    return clean(data) if patterns else data
