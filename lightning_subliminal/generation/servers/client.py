"""A model on a server of `/v1/chat/completions`: its settings and connection, which judges and engines share."""

import ipaddress
import json
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.rows import Message
from lightning_subliminal.generation.servers.replies import chat_reply

if TYPE_CHECKING:
    import httpx

__all__ = ["ServerClient", "check_least", "sendable"]

_BAD_URL = "`base_url` is not a server's address: expected one such as http://localhost:8000/v1."


class ServerClient:
    """Settings, key and counts of the calls to one model; subclasses shape requests, and what of a reply is kept.

    Args:
        model: its name on the server.
        base_url: of the server, up to `/v1`.
        concurrency: parallel calls.
        timeout: of a call, in seconds.
        retries: of a call that failed temporarily.
        max_calls: the most calls of this object, including retries; None for no limit.
        max_tokens: the most tokens of this object's calls, as the server counts them; None for no limit.
        key_variable: the environment variable with the key; no key is sent if it is not set.

    Attributes:
        server: the address without user and password.
        calls: requests sent.
        tokens: tokens, as the server counts them.
        reused: replies found on disk.
        refused: parameters that the server refuses, with the parameter sent instead (None: nothing). Found out by the
            first call, printed, and remembered.
        who: its name in messages.
        extra: the extra of this package that it needs.
        dispensable: parameters that a request can do without.
        thought: the least `max_completion_tokens`, where a server has that instead of `max_tokens`.
        without_logprobs: what to set where a server gives no log-probabilities.
        advice: what else to check where a server refuses a request.

    Raises:
        InputError: if a setting is out of range.
    """

    who = "server"
    extra = "server"
    dispensable: tuple[str, ...] = ("temperature", "max_tokens", "max_completion_tokens")
    thought = 0
    without_logprobs = "use another server"
    advice = ""

    def __init__(
        self,
        model: str,
        base_url: str,
        *,
        concurrency: int,
        timeout: float,
        retries: int,
        max_calls: int | None,
        max_tokens: int | None,
        key_variable: str | None,
    ) -> None:
        if not model:
            raise InputError("`model` is empty: give the model's name on the server.")
        if not timeout > 0:
            raise InputError(f"`timeout` is {timeout}: expected seconds, more than 0.")
        check_least(concurrency=(concurrency, 1), retries=(retries, 0))
        check_least(max_calls=(max_calls, 0), max_tokens=(max_tokens, 0))
        self.model = model
        self.base_url = base_url
        self.concurrency = concurrency
        self.timeout = timeout
        self.retries = retries
        self.max_calls = max_calls
        self.max_tokens = max_tokens
        self.key_variable = key_variable
        self.server = _bare_url(base_url)
        self.calls = self.tokens = self.reused = 0
        self.refused: dict[str, str | None] = {}

    def identity(self, body: dict[str, Any]) -> dict[str, Any]:
        """Return all that shapes the reply to a request: replies are stored under its digest."""
        return {"server": self.server, "request": body}

    def read(self, data: Any, body: dict[str, Any]) -> dict[str, Any] | None:
        """Return the fields of a chat completion that are kept; None if log-probabilities are needed and missing.

        Args:
            data: the server's JSON.
            body: the request.

        Raises:
            UnusableError: if they are impossible.
            ValueError, LookupError, TypeError, AttributeError, OverflowError: if it is not a chat completion.
        """
        return chat_reply(data, False, len(json.dumps(body)))

    def may_omit(self, text: str) -> bool:
        """Return whether a dispensable parameter is left out, or renamed, after a refusal with this text."""
        return True

    def key(self) -> str:
        """Return the key, from the environment; empty where there is none."""
        key = os.environ.get(self.key_variable, "").strip() if self.key_variable else ""
        if not (key.isascii() and key.isprintable()):
            raise InputError(f"The key in ${self.key_variable} holds characters that no key has: set it again.")
        return key

    def connection(self) -> "httpx.AsyncClient":
        """Return the connection, not yet open.

        Raises:
            ModuleNotFoundError: if httpx is not installed.
            InputError: if the address can't be used.
        """
        try:
            import httpx
        except ModuleNotFoundError as err:
            name = type(self).__name__
            raise ModuleNotFoundError(f"{name} needs httpx: pip install 'lightning-subliminal[{self.extra}]'.") from err
        key, place = self.key(), urlsplit(self.base_url)
        try:
            httpx.URL(self.server)
        except httpx.InvalidURL as err:
            raise InputError(_BAD_URL) from err
        return httpx.AsyncClient(
            # a user and password in `base_url` replace the key
            auth=(unquote(place.username or ""), unquote(place.password or "")) if "@" in place.netloc else None,
            headers={"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {}),
            limits=httpx.Limits(max_connections=self.concurrency),
            timeout=self.timeout,
            trust_env=not _is_loopback(place.hostname or ""),  # for a proxy, localhost is another machine
        )


def sendable(messages: Sequence[Message]) -> list[Message]:
    """Return messages that JSON can hold: without half surrogate pairs, which models may write."""
    return [{"role": part["role"], "content": part["content"].encode("utf-8", "replace").decode()} for part in messages]


def check_least(**bounds: tuple[float | None, int]) -> None:
    """Check settings against their least values; None is not checked.

    Raises:
        InputError: naming the first one below.
    """
    for name, (value, least) in bounds.items():
        if value is not None and value < least:
            raise InputError(f"`{name}` is {value}: expected at least {least}.")


def _bare_url(base_url: str) -> str:
    """Return the server's address without user and password."""
    try:
        place = urlsplit(base_url)
        whole = place.scheme in ("http", "https") and place.hostname and not place.query and not place.fragment
        port = f":{place.port}" if place.port is not None else ""
    except ValueError:
        whole, port = False, ""
    if not whole:  # it may hold a password, so it is not printed
        raise InputError(_BAD_URL)
    host = place.netloc.rpartition("@")[2].removesuffix(port)
    return f"{place.scheme}://{host}{port}{place.path.rstrip('/')}"


def _is_loopback(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
    return address.is_loopback or address.is_unspecified
