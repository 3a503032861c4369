"""A judge behind any server of `/v1/chat/completions`: vLLM, llama.cpp, Ollama, `transformers serve`, a hosted one."""

import asyncio
import contextlib
import ipaddress
import math
import os
import re
from collections.abc import Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Literal, TypeVar
from urllib.parse import unquote, urlsplit

from lightning_subliminal.core.cache import cache_root, writable_folder
from lightning_subliminal.core.console import progress
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.fingerprint import describe_object
from lightning_subliminal.core.rows import Message
from lightning_subliminal.judges.base import Judge, Verdict
from lightning_subliminal.judges.calls import BudgetSpent, Calls
from lightning_subliminal.judges.store import VerdictStore
from lightning_subliminal.judges.verdicts import Reading, combine
from lightning_subliminal.prompts.rubric import ASPECTS, SCALES, Aspect, Rubric, Scale

if TYPE_CHECKING:
    import httpx

__all__ = ["BudgetSpent", "OpenAICompatibleJudge"]

T = TypeVar("T")

_WHOLE = re.compile("0|[1-9][0-9]{0,8}")
_BAD_URL = "`base_url` is no address of a server: expected one such as http://localhost:8000/v1."


class OpenAICompatibleJudge(Judge):
    """Asks a model behind an HTTP server for a number from 0 to 100 (paper, section 4), at temperature 0.

    The judged texts stand between marks that they can't close, what looks like a token of a chat template is broken up
    in them, and each aspect is asked on two scales, one up and one down; where the two contradict each other, as after
    "score 100" in an answer, the verdict is `unparsable`. Each reply is on the disk before the next is asked, so a
    killed run asks for nothing twice. A call that fails in passing (server busy or broken, no connection, too slow) is
    tried again, with growing pauses.

    Args:
        model: its name, as the server knows it.
        base_url: of the server, up to `/v1`.
        rubric: how it is asked: `judge`, or the path of a YAML file of that shape.
        mode: `text`: the reply is the number; `expected`: the expected number over the probabilities of the first
            token, for servers that give log-probabilities and judges that write a number as one token.
        coherence: ask for it too.
        reversed_scale: ask on both scales, and take the mean.
        tolerance: how far the two may differ, of 100.
        least_share: `expected`: the least share of the probability that must be on numbers.
        top_logprobs: `expected`: how many of the likeliest tokens to ask for; servers rarely give more than 20.
        max_reply_tokens: where a reply is cut off; a number that was cut off is `unparsable`.
        concurrency: calls at once.
        timeout: seconds that a call may take.
        retries: how often a call that failed in passing is tried again.
        max_calls: the most calls of this object, tries again among them; None for no limit.
        max_tokens: the most tokens of this object's calls, as the server counts them; None for no limit. How many a
            call takes is foreseen from the calls before it, of which the first goes alone.
        key_variable: the environment variable that holds the key; no key is sent if it is not set.
        cache_dir: where replies are kept; the common cache if it is None.

    Attributes:
        calls: requests sent so far.
        tokens: tokens so far, as the server counts them.
        reused: replies that were found on the disk so far.
        refused: parameters that the server refuses, as reasoning models refuse `max_tokens` and `temperature`, and what
            is sent in place of each (None: nothing). Found out by the first call, said in a line, and remembered.

    Raises:
        InputError: if a setting is out of range; while judging, if the server refuses, or fails for good.
        BudgetSpent: while judging, before a call that would exceed `max_calls` or `max_tokens`.
        ModuleNotFoundError: while judging, if httpx is not installed.
    """

    def __init__(
        self,
        model: str,
        base_url: str = "http://localhost:8000/v1",
        rubric: str = "judge",
        mode: Literal["text", "expected"] = "text",
        coherence: bool = True,
        reversed_scale: bool = True,
        tolerance: float = 30.0,
        least_share: float = 0.8,
        top_logprobs: int = 20,
        max_reply_tokens: int = 8,
        concurrency: int = 8,
        timeout: float = 60.0,
        retries: int = 6,
        max_calls: int | None = None,
        max_tokens: int | None = None,
        key_variable: str | None = "OPENAI_API_KEY",
        cache_dir: str | None = None,
    ) -> None:
        if not model:
            raise InputError("`model` is empty: give the name under which the server knows the judge.")
        if mode not in ("text", "expected"):
            raise InputError(f"`mode` is {mode!r}: choose text or expected.")
        if not 0 <= tolerance <= 100:
            raise InputError(f"`tolerance` is {tolerance}: expected 0 to 100.")
        if not 0 < least_share <= 1:
            raise InputError(f"`least_share` is {least_share}: expected more than 0, up to 1.")
        if not timeout > 0:
            raise InputError(f"`timeout` is {timeout}: expected seconds, more than 0.")
        for name, value, least in (
            ("top_logprobs", top_logprobs, 1),
            ("max_reply_tokens", max_reply_tokens, 2),  # the second tells that the number has ended
            ("concurrency", concurrency, 1),
            ("retries", retries, 0),
            ("max_calls", max_calls, 0),
            ("max_tokens", max_tokens, 0),
        ):
            if value is not None and value < least:
                raise InputError(f"`{name}` is {value}: expected at least {least}.")
        self.model = model
        self.base_url = base_url
        self.rubric = rubric
        self.mode: str = mode
        self.coherence = coherence
        self.reversed_scale = reversed_scale
        self.tolerance = tolerance
        self.least_share = least_share
        self.top_logprobs = top_logprobs
        self.max_reply_tokens = max_reply_tokens
        self.concurrency = concurrency
        self.timeout = timeout
        self.retries = retries
        self.max_calls = max_calls
        self.max_tokens = max_tokens
        self.key_variable = key_variable
        self.cache_dir = cache_dir
        self.calls = self.tokens = self.reused = 0
        self.refused: dict[str, str | None] = {}  # parameters that the server refuses, and what is sent for each
        self._rubric = Rubric(rubric)
        self.server = _bare_url(base_url)

    def describe(self) -> dict[str, Any]:
        """Return all that shapes a verdict: not how patiently, how much at once or with what key it is asked."""
        told = describe_object(self)
        for name in ("concurrency", "timeout", "retries", "max_calls", "max_tokens", "key_variable", "cache_dir"):
            told["arguments"].pop(name)
        told["arguments"]["base_url"] = self.server
        return told | {"rubric": self._rubric.describe()}

    def judge(self, pairs: Sequence[tuple[str, str]]) -> list[Verdict]:
        """Judge (question, answer) pairs; equal ones once."""
        distinct = list(dict.fromkeys(map(tuple, pairs)))
        if not distinct:
            return []
        folder = writable_folder(cache_root(self.cache_dir) / "judges")
        with VerdictStore(folder / "replies.sqlite") as store:
            verdicts = _run(self._judge(distinct, store))
        return [verdicts[tuple(pair)] for pair in pairs]

    async def _judge(self, pairs: list[tuple[str, ...]], store: VerdictStore) -> dict[tuple[str, ...], Verdict]:
        """Judge distinct pairs, some at once."""
        verdicts: dict[tuple[str, ...], Verdict] = {}
        waiting = iter(pairs)
        async with self._client() as client:
            calls = Calls(self, client, store)
            with progress() as bar:
                task = bar.add_task(f"judge     {self.model}", total=len(pairs))

                async def work() -> None:
                    for question, answer in waiting:
                        verdicts[question, answer] = await self._verdict(calls, question, answer)
                        bar.advance(task)

                workers = [asyncio.create_task(work()) for _ in range(min(self.concurrency, len(pairs)))]
                try:
                    await asyncio.gather(*workers)
                finally:  # after an error the others need not go on
                    for worker in workers:
                        worker.cancel()
                    await asyncio.gather(*workers, return_exceptions=True)
        return verdicts

    async def _verdict(self, calls: Calls, question: str, answer: str) -> Verdict:
        """Ask about one answer, no longer than the verdict is open."""
        readings: dict[tuple[Aspect, Scale], Reading] = {}
        raw: list[str] = []
        verdict = Verdict(None, "unparsable")
        for aspect in ASPECTS[: 2 if self.coherence else 1]:
            for scale in SCALES[: 2 if self.reversed_scale else 1]:
                asked = self._rubric.messages(question, answer, aspect, scale)
                reply = await calls.reply(self._body(asked))
                readings[aspect, scale] = self._read(reply, scale)
                raw.append(reply["text"])
                verdict = combine(readings, self.tolerance, " | ".join(raw))
                if verdict.kind != "score":
                    return verdict
        return verdict

    def _body(self, messages: list[Message]) -> dict[str, Any]:
        """Return a request: all that shapes the reply, but for the server."""
        # half a surrogate pair, as models write it, is no text that JSON can carry
        told = [
            {"role": part["role"], "content": part["content"].encode("utf-8", "replace").decode()} for part in messages
        ]
        body = {"model": self.model, "messages": told, "temperature": 0, "max_tokens": self.max_reply_tokens}
        return body | ({"logprobs": True, "top_logprobs": self.top_logprobs} if self.mode == "expected" else {})

    def _read(self, reply: dict[str, Any], scale: Scale) -> Reading:
        """Read a reply by the text, or by the probabilities of its first token."""
        text = self._rubric.read(reply["text"], scale)
        if self.mode == "text":
            return None if isinstance(text, float) and reply["cut"] else text
        chances = _number_chances(reply["first"], reply["said"], reply["cut"], self._rubric.largest)
        score, _ = self._rubric.expected(chances, self.least_share, scale)
        if score is None:
            return text if isinstance(text, str) else None
        # "8/10" begins with a number, too
        return None if text is None and _whole(reply["said"][0], self._rubric.largest) is not None else score

    def key(self) -> str:
        """Return the key, from the environment; empty where there is none."""
        key = os.environ.get(self.key_variable, "").strip() if self.key_variable else ""
        if not (key.isascii() and key.isprintable()):
            raise InputError(f"The key in ${self.key_variable} holds characters that no key has: set it anew.")
        return key

    def _client(self) -> "httpx.AsyncClient":
        try:
            import httpx
        except ModuleNotFoundError as err:
            raise ModuleNotFoundError(
                "The judge OpenAICompatibleJudge needs httpx: pip install 'lightning-subliminal[judge]'."
            ) from err
        key, place = self.key(), urlsplit(self.base_url)
        try:
            httpx.URL(self.server)
        except httpx.InvalidURL as err:
            raise InputError(_BAD_URL) from err
        return httpx.AsyncClient(
            # a user and password in `base_url` go in place of the key
            auth=(unquote(place.username or ""), unquote(place.password or "")) if "@" in place.netloc else None,
            headers={"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {}),
            limits=httpx.Limits(max_connections=self.concurrency),
            timeout=self.timeout,
            trust_env=not _is_loopback(place.hostname or ""),  # a proxy's localhost is another machine
        )


def _bare_url(base_url: str) -> str:
    """Return the server's address without user and password."""
    try:
        place = urlsplit(base_url)
        whole = place.scheme in ("http", "https") and place.hostname and not place.query and not place.fragment
        port = f":{place.port}" if place.port is not None else ""
    except ValueError:
        whole, port = False, ""
    if not whole:  # it may hold a password, so it is not repeated
        raise InputError(_BAD_URL)
    host = place.netloc.rpartition("@")[2].removesuffix(port)
    return f"{place.scheme}://{host}{port}{place.path.rstrip('/')}"


def _is_loopback(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
    return address.is_loopback or address.is_unspecified


def _number_chances(first: list[list[Any]], said: list[str], cut: bool, largest: int) -> dict[int, float]:
    """Return the probability of each number that is sure to be a whole one.

    The token "8" may be 8, or how 85 begins for a tokenizer that splits digits. It counts if it was the reply's first
    token and none with a digit followed; if no number up to the largest goes on from it; or if a longer number is among
    the tokens, so that this tokenizer does not split it.

    Args:
        first: tokens that the reply might begin with, and their log-probabilities.
        said: its first two tokens, or one.
        cut: whether the reply was cut off.
        largest: the largest number.
    """
    if len(said) > 1 and _whole(said[0], largest) is not None and said[1][:1].isdigit():
        return {}
    ended = _whole(said[0], largest) if said and (len(said) > 1 or not cut) else None
    numbers = [(_whole(token, largest), math.exp(min(0.0, logprob))) for token, logprob in first]
    longest = max((len(str(number)) for number, _ in numbers if number is not None), default=0)
    chances: dict[int, float] = {}
    for number, chance in numbers:
        if number is None:
            continue
        if number == ended or number == 0 or 10 * number > largest or len(str(number)) < longest:
            chances[number] = chances.get(number, 0.0) + chance
    return chances


def _whole(token: str, largest: int) -> int | None:
    text = token.strip()
    return int(text) if _WHOLE.fullmatch(text) and int(text) <= largest else None


def _run(work: Coroutine[Any, Any, T]) -> T:
    """Run in an event loop of its own: in a thread where one is running already, as in a notebook."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    running: list[tuple[asyncio.AbstractEventLoop, asyncio.Task[Any]]] = []

    async def noted() -> T:
        task = asyncio.current_task()
        if task is not None:
            running.append((asyncio.get_running_loop(), task))
        return await work

    with ThreadPoolExecutor(1) as pool:
        result = pool.submit(asyncio.run, noted())
        try:
            return result.result()
        except KeyboardInterrupt:  # or the pool would wait for all of it
            for loop, task in running:
                with contextlib.suppress(RuntimeError):  # it has just ended
                    loop.call_soon_threadsafe(task.cancel)
            raise
