"""A judge behind any server of `/v1/chat/completions`: vLLM, llama.cpp, Ollama, `transformers serve`, a hosted one."""

import asyncio
import contextlib
import email.utils
import ipaddress
import json
import math
import os
import random
import re
import time
from collections.abc import AsyncIterator, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Literal, TypeVar
from urllib.parse import unquote, urlsplit

from lightning_subliminal.cache import cache_root, writable_folder
from lightning_subliminal.console import progress
from lightning_subliminal.describe import describe_object, digest
from lightning_subliminal.errors import InputError
from lightning_subliminal.judges.base import Judge, Verdict
from lightning_subliminal.judges.store import VerdictStore
from lightning_subliminal.judges.verdicts import Reading, combine
from lightning_subliminal.rows import Message
from lightning_subliminal.wording.rubric import ASPECTS, SCALES, Aspect, Rubric, Scale

if TYPE_CHECKING:
    import httpx

__all__ = ["BudgetSpent", "OpenAICompatibleJudge"]

T = TypeVar("T")

_PASSING = (408, 409, 425, 429)  # and all from 500 on: the same request may succeed a little later
_FIRST_WAIT = 0.5  # seconds; doubled with each try
_LONGEST_WAIT = 60.0
# Such as <|im_end|>, </s> or [INST]: servers read a tokenizer's own tokens in messages, too.
_TOKEN = re.compile(r"<(?=[|\uff5c]|/?\w+>)|\[(?=/?[A-Z_]+\])")
_WHOLE = re.compile("0|[1-9][0-9]{0,8}")
_BAD_URL = "`base_url` is no address of a server: expected one such as http://localhost:8000/v1."
_pause = asyncio.sleep  # tests don't wait


class BudgetSpent(InputError):  # noqa: N818 - it is no mistake, but what the user asked for
    """The judge's budget is spent: what was asked is kept, and the next run goes on from there."""


class _PassingError(Exception):
    """A call that failed, but may succeed a little later.

    Attributes:
        wait: seconds that the server asked to wait, or 0.
    """

    def __init__(self, why: str, wait: float = 0.0) -> None:
        super().__init__(why)
        self.wait = wait


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
        self.mode = mode
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
        self._rubric = Rubric(rubric)
        self._server = _bare_url(base_url)

    def describe(self) -> dict[str, Any]:
        """Give all that shapes a verdict: not how patiently, how much at once or with what key it is asked."""
        told = describe_object(self)
        for name in ("concurrency", "timeout", "retries", "max_calls", "max_tokens", "key_variable", "cache_dir"):
            told["arguments"].pop(name)
        told["arguments"]["base_url"] = self._server
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
            calls = _Calls(self, client, store)
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

    async def _verdict(self, calls: "_Calls", question: str, answer: str) -> Verdict:
        """Ask about one answer, no longer than the verdict is open."""
        readings: dict[tuple[Aspect, Scale], Reading] = {}
        raw: list[str] = []
        verdict = Verdict(None, "unparsable")
        for aspect in ASPECTS[: 2 if self.coherence else 1]:
            for scale in SCALES[: 2 if self.reversed_scale else 1]:
                asked = self._rubric.messages(_plain(question), _plain(answer), aspect, scale)
                reply = await calls.reply(self._body(asked))
                readings[aspect, scale] = self._read(reply, scale)
                raw.append(reply["text"])
                verdict = combine(readings, self.tolerance, " | ".join(raw))
                if verdict.kind != "score":
                    return verdict
        return verdict

    def _body(self, messages: list[Message]) -> dict[str, Any]:
        """Give a request: all that shapes the reply, but for the server."""
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

    def _key(self) -> str:
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
        key, place = self._key(), urlsplit(self.base_url)
        try:
            httpx.URL(self._server)
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


class _Calls:
    """The calls of one `judge`: what is under way, and what the budget leaves.

    Args:
        judge: whose calls.
        client: of httpx.
        store: where replies are kept.
    """

    def __init__(self, judge: OpenAICompatibleJudge, client: "httpx.AsyncClient", store: VerdictStore) -> None:
        self.judge = judge
        self.client = client
        self.store = store
        self.under_way: dict[object, int] = {}  # bytes of each
        self.changed = asyncio.Condition()
        self.dearest = 0.0  # the most tokens a byte that a call took; 0 before any is known
        self.jitter = random.Random()  # of its own: the seeded ones belong to experiments

    async def reply(self, body: dict[str, Any]) -> dict[str, Any]:
        """Give the reply to a request, from the disk if it is there."""
        key, size = digest({"server": self.judge._server, "request": body}), len(json.dumps(body))
        kept = self.store.get(key)
        if kept is not None:
            self.judge.reused += 1
            self._learn(kept, size)
            return kept
        reply = await self._ask(body, key, size)
        if self.judge.max_tokens is not None and reply["tokens"] is None:
            raise InputError(
                f"{self.judge._server} counts no tokens (`usage`), so `max_tokens` can't hold: give `max_calls`."
            )
        return reply

    async def _ask(self, body: dict[str, Any], key: str, size: int) -> dict[str, Any]:
        """Ask until there is a reply; it is kept before the next call may start."""
        tries, why = self.judge.retries + 1, ""
        for attempt in range(tries):
            async with self._room(size):
                try:
                    reply = await self._send(body)
                except _PassingError as err:
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
            f"{self.judge._server} gave no reply in {tries} tries (the last: {why}): see that the server runs, and "
            f"that `timeout` ({self.judge.timeout:g} s) is enough; all replies so far are kept, and the same command "
            "goes on from there."
        )

    async def _send(self, body: dict[str, Any]) -> dict[str, Any]:
        import httpx

        try:
            response = await asyncio.wait_for(
                self.client.post(f"{self.judge._server}/chat/completions", content=json.dumps(body)),
                self.judge.timeout,  # httpx would wait as long for each piece of a reply
            )
        except (httpx.RequestError, asyncio.TimeoutError) as err:
            raise _PassingError(f"{type(err).__name__} {self._short(str(err))}".strip()) from err
        if response.status_code in _PASSING or response.status_code >= 500:
            why = f"{response.status_code} {self._short(_message(response.text))}".strip()
            raise _PassingError(why, _seconds(response.headers.get("Retry-After", "")))
        if not response.is_success:
            raise InputError(self._refused(response.status_code, response.text))
        try:
            reply = _kept(response.json(), self.judge.mode == "expected")
        except (ValueError, LookupError, TypeError, AttributeError) as err:
            raise _PassingError(f"no chat completion, but {self._short(response.text) or 'nothing'}") from err
        if reply is None:
            raise InputError(
                f"{self.judge._server} gives no log-probabilities (`top_logprobs`) of {self.judge.model!r}: "
                "use `mode: text`."
            )
        return reply

    def _refused(self, status: int, told: str) -> str:
        variable, key = self.judge.key_variable, self.judge._key()
        keys = f"the key in ${variable} ({'set' if key else 'not set'})" if variable else "`key_variable` (none)"
        modes = ", or use `mode: text`" if self.judge.mode == "expected" and status in (400, 422) else ""
        return (
            f"{self.judge._server} refused with {status} ({self._short(_message(told)) or 'no word'}): check "
            f"`base_url`, `model` ({self.judge.model!r}) and {keys}{modes}."
        )

    def _short(self, told: str) -> str:
        """Give a server's words in one line, without the secrets that it may repeat."""
        password = unquote(urlsplit(self.judge.base_url).password or "")
        for secret in (self.judge._key(), password):
            for spelled in (secret, json.dumps(secret)[1:-1]):
                told = told.replace(spelled, "***") if secret else told
        told = " ".join("".join(letter if letter.isprintable() else " " for letter in told[:1000]).split())
        return told if len(told) <= 200 else f"{told[:197]}..."

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


def _plain(text: str) -> str:
    """Break up what a tokenizer may take for its own: it could end the judge's turn and begin its reply."""
    return _TOKEN.sub(r"\g<0> ", text)


def _bare_url(base_url: str) -> str:
    """Give the server's address without user and password."""
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


def _message(told: str) -> str:
    """Find a server's message in the shapes that they send it in."""
    try:
        found = json.loads(told)
    except ValueError:
        return told
    for name in ("error", "message", "detail"):
        found = found.get(name, found) if isinstance(found, dict) else found
    return found if isinstance(found, str) else json.dumps(found)


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


def _kept(told: Any, expected: bool) -> dict[str, Any] | None:
    """Keep of a server's reply what is read; None where probabilities are expected and there are none."""
    choice = told["choices"][0]
    text = choice["message"].get("content")
    tokens = (told.get("usage") or {}).get("total_tokens")
    reply = {
        "text": text.encode("utf-8", "replace").decode() if isinstance(text, str) else "",
        "cut": choice.get("finish_reason") == "length",
        "tokens": tokens if isinstance(tokens, int) else None,
    }
    if not expected:
        return reply
    content = (choice.get("logprobs") or {}).get("content")
    if content is None or (content and not content[0].get("top_logprobs")):
        return None
    likely = content[0]["top_logprobs"] if content else []
    if any(math.isnan(each["logprob"]) for each in likely):
        raise ValueError("a log-probability is no number")
    first = [[str(each["token"]), float(each["logprob"])] for each in likely]
    return reply | {"first": first, "said": [str(each["token"]) for each in content[:2]]}


def _number_chances(first: list[list[Any]], said: list[str], cut: bool, largest: int) -> dict[int, float]:
    """Give the probability of each number that is sure to be a whole one.

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
