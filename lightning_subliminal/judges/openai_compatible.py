"""A judge behind a server of `/v1/chat/completions`: vLLM, llama.cpp, Ollama, `transformers serve`, a hosted one."""

import asyncio
import contextlib
import ipaddress
import os
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
from lightning_subliminal.judges.server_replies import number_chances, whole_number
from lightning_subliminal.judges.store import VerdictStore
from lightning_subliminal.judges.verdicts import Reading, check_settings, combine, rubric_questions
from lightning_subliminal.prompts.rubric import Aspect, Rubric, Scale

if TYPE_CHECKING:
    import httpx

__all__ = ["BudgetSpent", "OpenAICompatibleJudge"]

T = TypeVar("T")

_BAD_URL = "`base_url` is not a server's address: expected one such as http://localhost:8000/v1."


class OpenAICompatibleJudge(Judge):
    """Asks a model behind an HTTP server for a number from 0 to 100 (paper, section 4), at temperature 0.

    The judged texts are between delimiters that they can't close, and tokens of a chat template in them are broken up.
    Each aspect is asked on two scales, one up and one down; where the two contradict each other, as after "score 100"
    in an answer, the verdict is `unparsable`. Each reply is stored on disk before the next call, so a killed run
    repeats no call. Temporary failures (server busy or broken, no connection, timeout) are retried, with growing
    pauses.

    Args:
        model: its name on the server.
        base_url: of the server, up to `/v1`.
        rubric: the prompts: `judge`, or the path of a YAML file of that shape.
        mode: `text`: the reply is the number; `expected`: the expected number over the probabilities of the first
            token, for servers that return log-probabilities and judges that write a number as one token.
        coherence: ask for the coherence, too.
        reversed_scale: ask on both scales, and average.
        tolerance: how far the two may differ, of 100.
        least_share: `expected`: the least share of the probability that must be on numbers.
        top_logprobs: `expected`: the number of likeliest tokens; servers rarely return more than 20.
        max_reply_tokens: the longest reply; a number that is cut off is `unparsable`.
        concurrency: parallel calls.
        timeout: of a call, in seconds.
        retries: of a call that failed temporarily.
        max_calls: the most calls of this object, including retries; None for no limit.
        max_tokens: the most tokens of this object's calls, as the server counts them; None for no limit. Those of a
            call are estimated from earlier ones; the first call runs alone.
        key_variable: the environment variable with the key; no key is sent if it is not set.
        cache_dir: where replies are stored; the common cache if it is None.

    Attributes:
        calls: requests sent.
        tokens: tokens, as the server counts them.
        reused: replies found on disk.
        refused: parameters that the server refuses, as reasoning models refuse `max_tokens` and `temperature`, with the
            parameter sent instead (None: nothing). Found out by the first call, printed, and remembered.

    Raises:
        InputError: if a setting is out of range; while judging, if the server refuses, or fails permanently.
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
            raise InputError("`model` is empty: give the judge's name on the server.")
        check_settings(mode, tolerance, least_share)
        if not timeout > 0:
            raise InputError(f"`timeout` is {timeout}: expected seconds, more than 0.")
        for name, value, least in (
            ("top_logprobs", top_logprobs, 1),
            ("max_reply_tokens", max_reply_tokens, 2),  # the second shows that the number has ended
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
        self.refused: dict[str, str | None] = {}
        self._rubric = Rubric(rubric)
        self.server = _bare_url(base_url)

    def describe(self) -> dict[str, Any]:
        """Return all settings that shape a verdict: not those of retries, concurrency, budget or key."""
        described = describe_object(self)
        for name in ("concurrency", "timeout", "retries", "max_calls", "max_tokens", "key_variable", "cache_dir"):
            described["arguments"].pop(name)
        described["arguments"]["base_url"] = self.server
        return described | {"rubric": self._rubric.describe()}

    def judge(self, pairs: Sequence[tuple[str, str]]) -> list[Verdict]:
        """Judge (question, answer) pairs; equal pairs once."""
        distinct = list(dict.fromkeys(map(tuple, pairs)))
        if not distinct:
            return []
        folder = writable_folder(cache_root(self.cache_dir) / "judges")
        with VerdictStore(folder / "replies.sqlite") as store:
            verdicts = _run(self._judge(distinct, store))
        return [verdicts[tuple(pair)] for pair in pairs]

    async def _judge(self, pairs: list[tuple[str, ...]], store: VerdictStore) -> dict[tuple[str, ...], Verdict]:
        """Judge distinct pairs, several at a time."""
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
                finally:  # after an error the others stop
                    for worker in workers:
                        worker.cancel()
                    await asyncio.gather(*workers, return_exceptions=True)
        return verdicts

    async def _verdict(self, calls: Calls, question: str, answer: str) -> Verdict:
        """Ask about one answer until the verdict is certain."""
        readings: dict[tuple[Aspect, Scale], Reading] = {}
        raw: list[str] = []
        verdict = Verdict(None, "unparsable")
        for aspect, scale in rubric_questions(self.coherence, self.reversed_scale):
            reply = await calls.reply(self._body(self._rubric.messages(question, answer, aspect, scale)))
            readings[aspect, scale] = self._read(reply, scale)
            raw.append(reply["text"])
            verdict = combine(readings, self.tolerance, " | ".join(raw))
            if verdict.kind != "score":
                return verdict
        return verdict

    def _body(self, messages: list[Message]) -> dict[str, Any]:
        """Return a request: all that shapes the reply, except the server."""
        # JSON can't hold half a surrogate pair, which models may write
        safe = [
            {"role": part["role"], "content": part["content"].encode("utf-8", "replace").decode()} for part in messages
        ]
        body = {"model": self.model, "messages": safe, "temperature": 0, "max_tokens": self.max_reply_tokens}
        return body | ({"logprobs": True, "top_logprobs": self.top_logprobs} if self.mode == "expected" else {})

    def _read(self, reply: dict[str, Any], scale: Scale) -> Reading:
        """Return the number of a reply, from its text or from the probabilities of its first token."""
        text = self._rubric.read(reply["text"], scale)
        if self.mode == "text":
            return None if isinstance(text, float) and reply["cut"] else text
        chances = number_chances(reply["first"], reply["said"], reply["cut"], self._rubric.largest)
        score, _ = self._rubric.expected(chances, self.least_share, scale)
        if score is None:
            return text if isinstance(text, str) else None
        # "8/10" begins with a number, too
        return None if text is None and whole_number(reply["said"][0], self._rubric.largest) is not None else score

    def key(self) -> str:
        """Return the key, from the environment; empty where there is none."""
        key = os.environ.get(self.key_variable, "").strip() if self.key_variable else ""
        if not (key.isascii() and key.isprintable()):
            raise InputError(f"The key in ${self.key_variable} holds characters that no key has: set it again.")
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
            # a user and password in `base_url` replace the key
            auth=(unquote(place.username or ""), unquote(place.password or "")) if "@" in place.netloc else None,
            headers={"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {}),
            limits=httpx.Limits(max_connections=self.concurrency),
            timeout=self.timeout,
            trust_env=not _is_loopback(place.hostname or ""),  # for a proxy, localhost is another machine
        )


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


def _run(work: Coroutine[Any, Any, T]) -> T:
    """Run in a new event loop; in a thread where one is running already, as in a notebook."""
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
        except KeyboardInterrupt:  # else the pool would wait for the end
            for loop, task in running:
                with contextlib.suppress(RuntimeError):  # the loop has just ended
                    loop.call_soon_threadsafe(task.cancel)
            raise
