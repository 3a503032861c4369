"""Calls to a server of `/v1/chat/completions`: retried, within a budget, each reply on disk before the next call."""

import asyncio
import json
import random
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote, urlsplit

from lightning_subliminal.core.console import say
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.fingerprint import digest
from lightning_subliminal.generation.servers.client import ServerClient
from lightning_subliminal.generation.servers.replies import (
    UnusableError,
    error_message,
    error_status,
    parse_json,
    plausible_tokens,
    refused_parameter,
    retry_seconds,
    without_secrets,
)
from lightning_subliminal.generation.servers.store import ReplyStore

if TYPE_CHECKING:
    import httpx

__all__ = ["BudgetSpent", "Calls"]

_PASSING = (408, 409, 425, 429)  # and all from 500: the same request may succeed later
_WRONG = (400, 422)
_UNSUPPORTED = re.compile(
    r"unsupported|not support|unexpected keyword|unrecogni[sz]ed|unknown (?:field|name|parameter|argument)",
    re.IGNORECASE,
)
_TOO_LONG = re.compile(r"context (length|window)|too (long|large|many)", re.IGNORECASE)
_MOST_BYTES = 16 << 20  # of a reply
_FIRST_WAIT = 0.5  # seconds; doubled with each try
_LONGEST_WAIT = 60.0
_pause = asyncio.sleep  # tests don't wait


class BudgetSpent(InputError):  # noqa: N818 - it is not an error, but a limit that the user set
    """The budget of calls is spent: all replies are kept, and the next run resumes from there."""


class _PassingError(Exception):
    """A failed call that may succeed later.

    Attributes:
        wait: seconds that the server asked to wait, or 0.
    """

    def __init__(self, why: str, wait: float = 0.0) -> None:
        super().__init__(why)
        self.wait = wait


class _Response(NamedTuple):
    status: int
    text: str
    retry_after: str


class Calls:
    """The calls of a client, and the state of its budget.

    Args:
        client: has the settings, and the counts of calls and tokens.
        http: the connection.
        store: keeps the replies.
    """

    def __init__(self, client: ServerClient, http: "httpx.AsyncClient", store: ReplyStore) -> None:
        self.client = client
        self.http = http
        self.store = store
        self.running: dict[object, int] = {}  # bytes of each call
        self.changed = asyncio.Condition()
        self.writing = asyncio.Lock()
        self.unwritten: dict[str, dict[str, Any]] = {}
        self.dearest = 0.0  # the most tokens a byte of any call; 0 before the first
        client.refused.update(self._remembered_refusals())
        self.learned: dict[tuple[str, str], str | None] = {}  # refusals that no reply has confirmed yet
        self.jitter = random.Random()  # of its own: the seeded ones belong to experiments

    async def reply(self, body: dict[str, Any]) -> dict[str, Any]:
        """Return the reply to a request, from the disk if it is there."""
        key, size = digest(self.client.identity(body)), len(json.dumps(body))
        kept = self.store.get(key)
        if kept is not None:
            self.client.reused += 1
            self._learn(kept | {"tokens": plausible_tokens(kept.get("tokens"), size)}, size)
            return kept
        reply = await self.ask(body, key)
        if self.client.max_tokens is not None and reply["tokens"] is None:
            raise InputError(
                f"{self.client.server} returns no token counts (`usage`), or impossible ones, so `max_tokens` can't be "
                "enforced: set `max_calls`."
            )
        return reply

    def kept(self, body: dict[str, Any]) -> dict[str, Any] | None:
        """Return the stored reply to a request; None if it is missing."""
        return self.store.get(digest(self.client.identity(body)))

    async def ask(self, body: dict[str, Any], key: str | None = None, tries: int | None = None) -> dict[str, Any]:
        """Repeat a call until there is a reply; store it under a key, if there is one, before the next call starts."""
        size, why = len(json.dumps(body)), ""
        tries = self.client.retries + 1 if tries is None else tries
        for attempt in range(tries):
            async with self._room(size):
                try:
                    reply = await self._send(body)
                except _PassingError as err:
                    why, wanted = str(err), err.wait
                else:
                    if key is not None:
                        await self._keep(key, reply)
                    self.client.tokens += reply["tokens"] or 0
                    self._learn(reply, size)
                    return reply
            if attempt + 1 < tries:  # never sooner than the server asked, and not all at the same moment
                wait = min(max(wanted, _FIRST_WAIT * 2**attempt), _LONGEST_WAIT)
                await _pause(wait * (1 + self.jitter.random() / 2))
        raise InputError(
            f"{self.client.server} gave no reply in {tries} tries (the last: {why}): check that the server runs, and "
            f"that `timeout` ({self.client.timeout:g} s) is enough; all replies so far are kept, and the same command "
            "resumes from there."
        )

    async def _keep(self, key: str, reply: dict[str, Any]) -> None:
        """Store a reply, together with those that come during the write before."""
        self.unwritten[key] = reply
        try:
            async with self.writing:
                if key in self.unwritten:
                    batch, self.unwritten = self.unwritten, {}
                    await asyncio.to_thread(self.store.put_all, batch)
        finally:  # the wait was cancelled
            if key in self.unwritten:
                self.store.put(key, self.unwritten.pop(key))

    async def _send(self, body: dict[str, Any]) -> dict[str, Any]:
        """Send a request without the parameters that this server refuses, which are found out once."""
        sent = self._adapted(body)
        response = await self._post(sent)
        status = error_status(response.status, response.text, sent)
        while self._learn_refusal(status, body, sent, response.text):
            self.client.calls += 1
            sent = self._adapted(body)
            response = await self._post(sent)
            status = error_status(response.status, response.text, sent)
        if status in _PASSING or status >= 500:
            why = f"{status} {self._short(error_message(response.text))}".strip()
            raise _PassingError(why, retry_seconds(response.retry_after))
        if not 200 <= status < 300:
            for asked, _ in self.learned:
                self.client.refused.pop(asked, None)  # the parameter was not the cause
            self.learned.clear()
            raise InputError(self._refused(status, response.text))
        try:
            data = without_secrets(parse_json(response.text), self._secrets())
            reply = self.client.read(data, body)
        except UnusableError as err:
            raise _PassingError(str(err)) from err
        except (ValueError, LookupError, TypeError, AttributeError, OverflowError) as err:
            raise _PassingError(f"not a chat completion: {self._short(response.text) or 'nothing'}") from err
        for (asked, name), instead in self.learned.items():
            self.store.put(self._refusal_key(asked, name), {"instead": instead})
        self.learned.clear()
        if reply is None:
            raise InputError(
                f"{self.client.server} returns no log-probabilities (`top_logprobs`) of {self.client.model!r}: "
                f"{self.client.without_logprobs}."
            )
        return reply

    async def _post(self, body: dict[str, Any]) -> _Response:
        import httpx

        async def read() -> _Response:
            content = json.dumps(body)
            async with self.http.stream("POST", f"{self.client.server}/chat/completions", content=content) as response:
                received = bytearray()
                async for piece in response.aiter_bytes():
                    received += piece
                    if len(received) > _MOST_BYTES:
                        raise _PassingError(f"a reply of more than {_MOST_BYTES >> 20} MiB")
                text = received.decode(response.charset_encoding or "utf-8", "replace")
                return _Response(response.status_code, text, response.headers.get("Retry-After", ""))

        try:  # the timeout of httpx is for each piece of a reply
            return await asyncio.wait_for(read(), self.client.timeout)
        except (httpx.RequestError, asyncio.TimeoutError, LookupError) as err:  # LookupError: an unknown charset
            raise _PassingError(f"{type(err).__name__} {self._short(str(err))}".strip()) from err

    def _adapted(self, body: dict[str, Any]) -> dict[str, Any]:
        """Return a request with the parameters that the server accepts."""
        accepted = {}
        for name, value in body.items():
            kept = self.client.refused.get(name, name)
            if kept is not None:
                accepted[kept] = max(value, self.client.thought) if kept != name else value
        return accepted

    def _learn_refusal(self, status: int, body: dict[str, Any], sent: dict[str, Any], text: str) -> bool:
        """Note the parameter that a server refuses; return False if it is not one to omit or rename."""
        if status not in _WRONG and not (status in (404, 405, 500, 501) and _UNSUPPORTED.search(text)):
            return False
        name = None if _TOO_LONG.search(text) else refused_parameter(text, list(sent))
        if name not in self.client.dispensable or not self.client.may_omit(text):
            return False
        asked = next((each for each in body if self.client.refused.get(each, each) == name), None)
        if asked is None:  # another call has found it out meanwhile
            return True
        renamed = asked == name == "max_tokens"
        self.client.refused[asked] = "max_completion_tokens" if renamed else None
        self.learned[asked, name] = self.client.refused[asked]
        instead = "sending `max_completion_tokens` instead" if renamed else "leaving it out"
        say(f"{self.client.who:9} {self.client.server} refuses `{name}` for {self.client.model}: {instead}")
        return True

    def _refusal_key(self, asked: str, name: str) -> str:
        return digest({"server": self.client.server, "model": self.client.model, "refuses": [asked, name]})

    def _remembered_refusals(self) -> dict[str, str | None]:
        """Return the refusals of this server that earlier calls, also of other processes, have found out."""
        found: dict[str, str | None] = {}
        for asked in self.client.dispensable:
            name: str | None = asked
            while name is not None and (known := self.store.get(self._refusal_key(asked, name))) is not None:
                name = found[asked] = known["instead"]
        return found

    def _refused(self, status: int, text: str) -> str:
        variable, key = self.client.key_variable, self.client.key()
        keys = f"the key in ${variable} ({'set' if key else 'not set'})" if variable else "`key_variable` (none)"
        further = f", or {self.client.advice}" if self.client.advice and status in _WRONG else ""
        return (
            f"{self.client.server} refused with {status} ({self._short(error_message(text)) or 'no message'}): check "
            f"`base_url`, `model` ({self.client.model!r}) and {keys}{further}."
        )

    def _short(self, text: str) -> str:
        """Return a server's message in one line, without secrets."""
        text = without_secrets(text, self._secrets())
        text = " ".join("".join(letter if letter.isprintable() else " " for letter in text[:1000]).split())
        return text if len(text) <= 200 else f"{text[:197]}..."

    def _secrets(self) -> list[str]:
        return [self.client.key(), unquote(urlsplit(self.client.base_url).password or "")]

    @asynccontextmanager
    async def _room(self, size: int) -> AsyncIterator[None]:
        """Wait until the budget has room for a call, and reserve it; running calls may leave more than expected."""
        async with self.changed:
            await self.changed.wait_for(lambda: not self.running or self._fits(size))
            if not self._fits(size):
                raise BudgetSpent(self._spent())
            call = object()
            self.running[call] = size
            self.client.calls += 1
        try:
            yield
        finally:
            async with self.changed:
                del self.running[call]
                self.changed.notify_all()

    def _fits(self, size: int) -> bool:
        client = self.client
        if client.max_calls is not None and client.calls >= client.max_calls:
            return False
        if client.max_tokens is None:
            return True
        if not self.dearest:
            return not self.running and client.tokens < client.max_tokens
        return client.tokens + self.dearest * (size + sum(self.running.values())) <= client.max_tokens

    def _learn(self, reply: dict[str, Any], size: int) -> None:
        self.dearest = max(self.dearest, (reply["tokens"] or 0) / size)

    def _spent(self) -> str:
        client = self.client
        limits = [("max_calls", client.max_calls), ("max_tokens", client.max_tokens)]
        budget = " and ".join(f"`{name}` {limit:,}" for name, limit in limits if limit is not None)
        return (
            f"The {client.who}'s budget is spent ({budget}): {client.calls:,} calls with {client.tokens:,} tokens so "
            f"far; the replies are kept in {self.store.path}, and the same command resumes with a new budget of the "
            "same size."
        )
