"""The calls to a judge's server: retried, within a budget, each reply kept on disk before the next is asked for."""

import asyncio
import email.utils
import json
import math
import random
import re
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar
from urllib.parse import unquote, urlsplit

from lightning_subliminal.core.console import say
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.fingerprint import digest
from lightning_subliminal.judges.store import VerdictStore

if TYPE_CHECKING:
    import httpx

__all__ = ["BudgetSpent", "Caller", "Calls"]

T = TypeVar("T")

_PASSING = (408, 409, 425, 429)  # and all from 500 on: the same request may succeed a little later
_WRONG = (400, 422)
# What a request can do without. Log-probabilities are not among them: `mode: expected` reads them.
_DISPENSABLE = ("temperature", "max_tokens", "max_completion_tokens")
_THOUGHT = 2048  # tokens
_UNSUPPORTED = re.compile(
    r"unsupported|not support|unexpected keyword|unrecogni[sz]ed|unknown (?:field|name|parameter|argument)",
    re.IGNORECASE,
)
_TOO_LONG = re.compile(r"context (length|window)|too (long|large|many)", re.IGNORECASE)
_MOST_BYTES = 16 << 20  # of a reply: a server that sends more is no judge
_MOST_EXTRA = 65_536  # tokens that a call may take beyond one for each byte of its request: templates, thoughts
_MOST_CHANCE = 1.01  # that the tokens in a reply's first place may have together, since servers round
_FIRST_WAIT = 0.5  # seconds; doubled with each try
_LONGEST_WAIT = 60.0
_pause = asyncio.sleep  # tests don't wait


class BudgetSpent(InputError):  # noqa: N818 - it is no mistake, but what the user asked for
    """The judge's budget is spent: what was asked is kept, and the next run goes on from there."""


class PassingError(Exception):
    """A call that failed, but may succeed a little later.

    Attributes:
        wait: seconds that the server asked to wait, or 0.
    """

    def __init__(self, why: str, wait: float = 0.0) -> None:
        super().__init__(why)
        self.wait = wait


class _Response(NamedTuple):
    """What a server said."""

    status: int
    text: str
    retry_after: str


class Caller(Protocol):
    """Whose calls they are: its settings, and its counts of calls and tokens. `OpenAICompatibleJudge` is one."""

    server: str
    base_url: str
    model: str
    mode: str
    key_variable: str | None
    timeout: float
    retries: int
    max_calls: int | None
    max_tokens: int | None
    calls: int
    tokens: int
    reused: int
    refused: dict[str, str | None]

    def key(self) -> str:
        """Return the key, from the environment; empty where there is none."""


class Calls:
    """The calls of one `judge`: what is under way, and what the budget leaves.

    Args:
        judge: whose calls.
        client: of httpx.
        store: where replies are kept.
    """

    def __init__(self, judge: Caller, client: "httpx.AsyncClient", store: VerdictStore) -> None:
        self.judge = judge
        self.client = client
        self.store = store
        self.under_way: dict[object, int] = {}  # bytes of each
        self.changed = asyncio.Condition()
        self.dearest = 0.0  # the most tokens a byte that a call took; 0 before any is known
        judge.refused.update(self._remembered_refusals())
        self.learned: dict[tuple[str, str], str | None] = {}  # refusals that no reply has borne out yet
        self.jitter = random.Random()  # of its own: the seeded ones belong to experiments

    async def reply(self, body: dict[str, Any]) -> dict[str, Any]:
        """Return the reply to a request, from the disk if it is there."""
        key, size = digest({"server": self.judge.server, "request": body}), len(json.dumps(body))
        kept = self.store.get(key)
        if kept is not None:
            self.judge.reused += 1
            self._learn(kept | {"tokens": _plausible(kept.get("tokens"), size)}, size)
            return kept
        reply = await self._ask(body, key, size)
        if self.judge.max_tokens is not None and reply["tokens"] is None:
            raise InputError(
                f"{self.judge.server} counts no tokens (`usage`), or counts none that can be right, so `max_tokens` "
                "can't hold: give `max_calls`."
            )
        return reply

    async def _ask(self, body: dict[str, Any], key: str, size: int) -> dict[str, Any]:
        """Ask until there is a reply; it is kept before the next call may start."""
        tries, why = self.judge.retries + 1, ""
        for attempt in range(tries):
            async with self._room(size):
                try:
                    reply = await self._send(body)
                except PassingError as err:
                    why, told = str(err), err.wait
                else:
                    self.store.put(key, reply)
                    self.judge.tokens += reply["tokens"] or 0
                    self._learn(reply, size)
                    return reply
            if attempt + 1 < tries:  # never sooner than the server asked, and not all at the same moment
                wait = min(max(told, _FIRST_WAIT * 2**attempt), _LONGEST_WAIT)
                await _pause(wait * (1 + self.jitter.random() / 2))
        raise InputError(
            f"{self.judge.server} gave no reply in {tries} tries (the last: {why}): see that the server runs, and "
            f"that `timeout` ({self.judge.timeout:g} s) is enough; all replies so far are kept, and the same command "
            "goes on from there."
        )

    async def _send(self, body: dict[str, Any]) -> dict[str, Any]:
        """Send a request, without the parameters that this server refuses; what it refuses is found out once."""
        sent = self._adapted(body)
        response = await self._post(sent)
        status = _status(response.status, response.text, sent)
        while self._learn_refusal(status, body, sent, response.text):
            self.judge.calls += 1
            sent = self._adapted(body)
            response = await self._post(sent)
            status = _status(response.status, response.text, sent)
        if status in _PASSING or status >= 500:
            why = f"{status} {self._short(_message(response.text))}".strip()
            raise PassingError(why, _seconds(response.retry_after))
        if not 200 <= status < 300:
            for asked, _ in self.learned:
                self.judge.refused.pop(asked, None)  # it was something else
            self.learned.clear()
            raise InputError(self._refused(status, response.text))
        try:
            told = self._without_secrets(_json(response.text))
            reply = _kept(told, self.judge.mode == "expected", len(json.dumps(body)))
        except _UnusableError as err:
            raise PassingError(str(err)) from err
        except (ValueError, LookupError, TypeError, AttributeError, OverflowError) as err:
            raise PassingError(f"no chat completion, but {self._short(response.text) or 'nothing'}") from err
        for (asked, name), instead in self.learned.items():
            self.store.put(self._refusal_key(asked, name), {"instead": instead})
        self.learned.clear()
        if reply is None:
            raise InputError(
                f"{self.judge.server} gives no log-probabilities (`top_logprobs`) of {self.judge.model!r}: "
                "use `mode: text`."
            )
        return reply

    async def _post(self, body: dict[str, Any]) -> _Response:
        import httpx

        async def read() -> _Response:
            content = json.dumps(body)
            async with self.client.stream("POST", f"{self.judge.server}/chat/completions", content=content) as response:
                received = bytearray()
                async for piece in response.aiter_bytes():
                    received += piece
                    if len(received) > _MOST_BYTES:
                        raise PassingError(f"a reply of more than {_MOST_BYTES >> 20} MiB")
                text = received.decode(response.charset_encoding or "utf-8", "replace")
                return _Response(response.status_code, text, response.headers.get("Retry-After", ""))

        try:  # httpx would wait as long for each piece of a reply
            return await asyncio.wait_for(read(), self.judge.timeout)
        except (httpx.RequestError, asyncio.TimeoutError, LookupError) as err:  # LookupError: an unknown charset
            raise PassingError(f"{type(err).__name__} {self._short(str(err))}".strip()) from err

    def _adapted(self, body: dict[str, Any]) -> dict[str, Any]:
        """Return a request in the words that the server takes."""
        taken = {}
        for name, value in body.items():
            kept = self.judge.refused.get(name, name)
            if kept is not None:
                # a reasoning model spends tokens on its thought before it says the number
                taken[kept] = max(value, _THOUGHT) if kept != name else value
        return taken

    def _learn_refusal(self, status: int, body: dict[str, Any], sent: dict[str, Any], told: str) -> bool:
        """Note which parameter a server refuses; False if it says of none that could be left out or renamed."""
        if status not in _WRONG and not (status in (404, 405, 500, 501) and _UNSUPPORTED.search(told)):
            return False
        name = None if _TOO_LONG.search(told) else _refused_parameter(told, list(sent))
        if name not in _DISPENSABLE:
            return False
        asked = next((each for each in body if self.judge.refused.get(each, each) == name), None)
        if asked is None:  # another call has found it out meanwhile
            return True
        renamed = asked == name == "max_tokens"
        self.judge.refused[asked] = "max_completion_tokens" if renamed else None
        self.learned[asked, name] = self.judge.refused[asked]
        instead = "asked with `max_completion_tokens` instead" if renamed else "asked without it"
        say(f"judge     {self.judge.server} refuses `{name}` for {self.judge.model}: {instead}")
        return True

    def _refusal_key(self, asked: str, name: str) -> str:
        return digest({"server": self.judge.server, "model": self.judge.model, "refuses": [asked, name]})

    def _remembered_refusals(self) -> dict[str, str | None]:
        """Return what earlier calls, also of other processes, have found out about this server."""
        found: dict[str, str | None] = {}
        for asked in ("temperature", "max_tokens"):
            name: str | None = asked
            while name is not None and (known := self.store.get(self._refusal_key(asked, name))) is not None:
                name = found[asked] = known["instead"]
        return found

    def _refused(self, status: int, told: str) -> str:
        variable, key = self.judge.key_variable, self.judge.key()
        keys = f"the key in ${variable} ({'set' if key else 'not set'})" if variable else "`key_variable` (none)"
        modes = ", or use `mode: text`" if self.judge.mode == "expected" and status in (400, 422) else ""
        return (
            f"{self.judge.server} refused with {status} ({self._short(_message(told)) or 'no word'}): check "
            f"`base_url`, `model` ({self.judge.model!r}) and {keys}{modes}."
        )

    def _short(self, told: str) -> str:
        """Return a server's words in one line, without the secrets that it may repeat."""
        told = self._without_secrets(told)
        told = " ".join("".join(letter if letter.isprintable() else " " for letter in told[:1000]).split())
        return told if len(told) <= 200 else f"{told[:197]}..."

    def _without_secrets(self, told: T) -> T:
        """Return text, or JSON with all texts in it, without the key and the password, which a server may echo."""
        password = unquote(urlsplit(self.judge.base_url).password or "")
        spelled = [re.compile(_spelled(secret)) for secret in (self.judge.key(), password) if secret]

        def clean(thing: Any) -> Any:
            if isinstance(thing, str):
                for each in spelled:
                    thing = each.sub("***", thing)
                return thing
            if isinstance(thing, dict):
                return {clean(key): clean(value) for key, value in thing.items()}
            return [clean(each) for each in thing] if isinstance(thing, list) else thing

        return clean(told) if spelled else told

    @asynccontextmanager
    async def _room(self, size: int) -> AsyncIterator[None]:
        """Wait until the budget has room for a call, and hold it; calls under way may leave more than was foreseen."""
        async with self.changed:
            await self.changed.wait_for(lambda: not self.under_way or self._fits(size))
            if not self._fits(size):
                raise BudgetSpent(self._spent())
            call = object()
            self.under_way[call] = size
            self.judge.calls += 1
        try:
            yield
        finally:
            async with self.changed:
                del self.under_way[call]
                self.changed.notify_all()

    def _fits(self, size: int) -> bool:
        judge = self.judge
        if judge.max_calls is not None and judge.calls >= judge.max_calls:
            return False
        if judge.max_tokens is None:
            return True
        if not self.dearest:
            return not self.under_way and judge.tokens < judge.max_tokens
        return judge.tokens + self.dearest * (size + sum(self.under_way.values())) <= judge.max_tokens

    def _learn(self, reply: dict[str, Any], size: int) -> None:
        self.dearest = max(self.dearest, (reply["tokens"] or 0) / size)

    def _spent(self) -> str:
        judge = self.judge
        limits = [("max_calls", judge.max_calls), ("max_tokens", judge.max_tokens)]
        told = " and ".join(f"`{name}` {limit:,}" for name, limit in limits if limit is not None)
        return (
            f"The judge's budget is spent ({told}): {judge.calls:,} calls with {judge.tokens:,} tokens so far; the "
            f"replies are kept in {self.store.path}, and the same command goes on from there, with as much again."
        )


def _spelled(secret: str) -> str:
    """Return a pattern for a text, each letter as it is or escaped as in JSON or in an address."""
    return "".join(rf"(?:\\?{re.escape(each)}|(?i:\\u{ord(each):04x}|%{ord(each):02x}))" for each in secret)


class _UnusableError(Exception):
    """A reply that is a chat completion, and yet can't be read: it says why."""


def _json(told: str) -> Any:
    """Return what a server's JSON says.

    Raises:
        ValueError: if it is none, or nested too deep to be read.
    """
    try:
        return json.loads(told)
    except RecursionError as err:
        raise ValueError("nested too deep") from err


def _message(told: str) -> str:
    """Find a server's message in the shapes that they send it in."""
    try:
        found = _json(told)
    except ValueError:
        return told
    for name in ("error", "message", "detail"):
        found = found.get(name, found) if isinstance(found, dict) else found
    return found if isinstance(found, str) else json.dumps(found)


def _status(status: int, told: str, sent: Iterable[str]) -> int:
    """Return the status of an answer; of an error inside a 200, its code, or 400 where it names a parameter."""
    if not 200 <= status < 300:
        return status
    try:
        found = _json(told)
    except ValueError:
        return status
    choices = found.get("choices") if isinstance(found, dict) else None
    if isinstance(choices, list) and choices and isinstance(choices[0], dict) and choices[0].get("error"):
        found = choices[0]  # as a router says that the model behind it failed
    elif not isinstance(found, dict) or choices is not None:
        return status
    inner = found["error"] if isinstance(found.get("error"), dict) else found
    code = str(inner.get("code", inner.get("status", "")))
    if code.isdecimal() and 400 <= int(code) < 600:
        return int(code)
    return status if _refused_parameter(told, sent) is None else 400


def _refused_parameter(told: str, sent: Iterable[str]) -> str | None:
    """Return which of the parameters that were sent an error is about: by its `param` or `loc`, or by its words."""
    names = [each for each in sent if each not in ("model", "messages")]
    try:
        found = _json(told)
    except ValueError:
        found = None
    stack, named = [found], set()
    while stack:
        each = stack.pop()
        if isinstance(each, dict):
            told_of = [each.get("param"), *(each["loc"] if isinstance(each.get("loc"), list) else [])]
            named |= {str(one).rpartition(".")[2] for one in told_of}
            stack += each.values()
        elif isinstance(each, list):
            stack += each
    if by_name := [each for each in names if each in named]:
        return by_name[0]
    # the first one named: "'max_tokens' is not supported, use 'max_completion_tokens' instead"; but a request that is
    # repeated, with "temperature: 0" in it, names them all
    for behind in (r"(?![\"']?\s*[:=]\s*-?[\dtf])", ""):
        spelled = {each: re.search(_spellings(each) + behind, told, re.IGNORECASE) for each in names}
        if places := {each: found.start() for each, found in spelled.items() if found}:
            return min(places, key=lambda each: places[each])
    wanted = "max_tokens" in names and re.search(_spellings("max_completion_tokens"), told, re.IGNORECASE)
    return "max_tokens" if wanted else None


def _spellings(name: str) -> str:
    """Return a pattern for a parameter's name as servers spell it: max_tokens, maxTokens, "Max tokens"."""
    return rf"(?<!\w){name.replace('_', '[_ -]?')}(?!\w)"


def _seconds(retry_after: str) -> float:
    """Read a Retry-After: seconds, or a date; 0 if it is neither."""
    try:
        told = float(retry_after)
    except ValueError:
        try:
            told = email.utils.parsedate_to_datetime(retry_after).timestamp() - time.time()
        except (TypeError, ValueError, OverflowError):
            return 0.0
    return told if told > 0 else 0.0


def _plausible(tokens: Any, size: int) -> int | None:
    """Return a server's count of a call's tokens; None where it can't be one of a request of ``size`` bytes."""
    return tokens if type(tokens) is int and 0 <= tokens <= size + _MOST_EXTRA else None


def _kept(told: Any, expected: bool, size: int) -> dict[str, Any] | None:
    """Keep of a server's reply what is read; None where probabilities are expected and there are none."""
    choice = told["choices"][0]
    if choice.get("error"):
        raise ValueError("an error in the place of a reply")
    text = choice["message"].get("content")
    reply = {
        "text": text.encode("utf-8", "replace").decode() if isinstance(text, str) else "",
        "cut": choice.get("finish_reason") == "length",
        "tokens": _plausible((told.get("usage") or {}).get("total_tokens"), size),
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
        raise _UnusableError(f"the probabilities of a reply's first token sum to {chance:.3g}, which none can")
    return reply | {"first": [*map(list, first)], "said": [str(each["token"]) for each in content[:2]]}
