"""A judge behind a server of `/v1/chat/completions`: vLLM, llama.cpp, Ollama, `transformers serve`, a hosted one."""

import json
from collections.abc import Sequence
from typing import Any, Literal

from lightning_subliminal.core.cache import cache_root, writable_folder
from lightning_subliminal.core.fingerprint import describe_object
from lightning_subliminal.core.rows import Message
from lightning_subliminal.generation.servers.calls import BudgetSpent, Calls
from lightning_subliminal.generation.servers.client import ServerClient, check_least, sendable
from lightning_subliminal.generation.servers.parallel import ask_each
from lightning_subliminal.generation.servers.replies import chat_reply
from lightning_subliminal.judges.base import Judge, Verdict
from lightning_subliminal.judges.server_replies import number_chances, whole_number
from lightning_subliminal.judges.verdicts import Reading, check_settings, combine, rubric_questions
from lightning_subliminal.prompts.rubric import Aspect, Rubric, Scale

__all__ = ["BudgetSpent", "OpenAICompatibleJudge"]


class OpenAICompatibleJudge(Judge, ServerClient):
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

    who = "judge"
    extra = "judge"
    thought = 2048  # tokens that a reasoning model spends before the number
    without_logprobs = "use `mode: text`"

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
        check_settings(mode, tolerance, least_share)
        ServerClient.__init__(
            self,
            model,
            base_url,
            concurrency=concurrency,
            timeout=timeout,
            retries=retries,
            max_calls=max_calls,
            max_tokens=max_tokens,
            key_variable=key_variable,
        )
        # the second token shows that the number has ended
        check_least(top_logprobs=(top_logprobs, 1), max_reply_tokens=(max_reply_tokens, 2))
        self.rubric = rubric
        self.mode: str = mode
        self.coherence = coherence
        self.reversed_scale = reversed_scale
        self.tolerance = tolerance
        self.least_share = least_share
        self.top_logprobs = top_logprobs
        self.max_reply_tokens = max_reply_tokens
        self.cache_dir = cache_dir
        self.advice = self.without_logprobs if mode == "expected" else ""
        self._rubric = Rubric(rubric)

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
        path = writable_folder(cache_root(self.cache_dir) / "judges") / "replies.sqlite"
        found = ask_each(self, distinct, self._verdict, path, f"judge     {self.model}")
        verdicts = dict(zip(distinct, found, strict=True))
        return [verdicts[tuple(pair)] for pair in pairs]

    async def _verdict(self, calls: Calls, pair: tuple[str, ...]) -> Verdict:
        """Ask about one answer until the verdict is certain."""
        question, answer = pair
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
        body = {
            "model": self.model,
            "messages": sendable(messages),
            "temperature": 0,
            "max_tokens": self.max_reply_tokens,
        }
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

    def read(self, data: Any, body: dict[str, Any]) -> dict[str, Any] | None:
        """Return the fields of a reply that are kept, with the first token's probabilities for `mode: expected`."""
        return chat_reply(data, self.mode == "expected", len(json.dumps(body)))
