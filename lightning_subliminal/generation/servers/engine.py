"""An engine on a server of `/v1/chat/completions`: vLLM, llama.cpp, SGLang, `transformers serve`, a hosted one."""

import asyncio
import json
import math
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from lightning_subliminal.core.cache import cache_root, writable_folder
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.fingerprint import digest
from lightning_subliminal.core.rows import Message
from lightning_subliminal.core.seeds import derive_seed
from lightning_subliminal.generation.engine import Completion, Engine, Sampling
from lightning_subliminal.generation.servers.calls import Calls
from lightning_subliminal.generation.servers.checks import check_server
from lightning_subliminal.generation.servers.client import ServerClient, sendable
from lightning_subliminal.generation.servers.parallel import ask_each
from lightning_subliminal.generation.servers.replies import chat_reply, read_positions

__all__ = ["ServerEngine"]

# What vLLM, SGLang and llama.cpp would else take from the model's generation config, or from defaults of their own.
_WHOLE = {"top_p": 1, "top_k": 0, "min_p": 0, "repetition_penalty": 1, "repeat_penalty": 1}
# The alphabet of `restrict_to: numbers` as a regular expression for vLLM and SGLang, and as a grammar for llama.cpp.
_NUMBERS = {
    "structured_outputs": {"regex": r"[0-9,; \n\r\t]*"},
    "regex": r"[0-9,; \n\r\t]*",
    "grammar": r"root ::= [0-9,; \n\r\t]*",
}
_CONTINUED = {"continue_final_message": True, "add_generation_prompt": False}
_UNKNOWN = re.compile(
    r"unsupported|not support|unexpected|unrecogni[sz]ed|unknown|extra (?:inputs|fields)|additional prop|not permitted|"
    r"not allowed",
    re.IGNORECASE,
)
_SEEDS = 1 << 31  # what all servers take as a seed


class ServerEngine(Engine, ServerClient):
    """Writes completions with a model that lives on a server.

    The model's whole distribution is asked for, and each request has a seed of its own, derived from the run's seed and
    the row's place: a row does not depend on its batch, and no randomness is shared between rows. Each completion is
    stored on disk before the next call, so a killed run asks no prompt twice. The server's address is not part of what
    a completion is stored by: a server may move. Before the first call it is checked, as far as the server's
    log-probabilities allow, that nothing is cut.

    Args:
        model: its name on the server: of a base, or of an adapter that the server holds (vLLM's `--lora-modules`).
        base_url: of the server, up to `/v1`.
        revision: of the model's weights, as you name them: change it when the weights behind the name change.
        parameters: more parameters of each request, such as `{chat_template_kwargs: {enable_thinking: false}}`, or
            others than usual: SGLang and old vLLMs spell `top_k: -1`; null leaves one out.
        check: whether to check that the server cuts nothing; it costs 17 short calls.
        concurrency: parallel calls.
        timeout: of a call, in seconds.
        retries: of a call that failed temporarily.
        max_calls: the most calls of this object, including retries; None for no limit.
        max_tokens: the most tokens of this object's calls, as the server counts them; None for no limit.
        key_variable: the environment variable with the key; no key is sent if it is not set.
        cache_dir: where completions are stored; the common cache if it is None.

    Raises:
        InputError: if a setting is out of range; while generating, if the server refuses, fails permanently, or cuts
            the distribution.
        BudgetSpent: while generating, before a call that would exceed `max_calls` or `max_tokens`.
        ModuleNotFoundError: while generating, if httpx is not installed.
    """

    dispensable = ("top_k", "min_p", "repetition_penalty", "repeat_penalty", *_NUMBERS, "max_tokens")
    advice = "set `parameters` (null leaves one out)"

    def __init__(
        self,
        model: str,
        base_url: str = "http://localhost:8000/v1",
        revision: str | None = None,
        parameters: Mapping[str, Any] | None = None,
        check: bool = True,
        concurrency: int = 32,
        timeout: float = 300.0,
        retries: int = 6,
        max_calls: int | None = None,
        max_tokens: int | None = None,
        key_variable: str | None = "OPENAI_API_KEY",
        cache_dir: str | None = None,
    ) -> None:
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
        self.revision = revision
        self.parameters = dict(parameters or {})
        self.check = check
        self.cache_dir = cache_dir
        if fixed := sorted({"model", "messages", "seed", "n", "stream"} & self.parameters.keys()):
            raise InputError(f"`parameters` has {fixed[0]!r}, which the engine sets itself: leave it out.")
        self.checked: set[str] = set()  # what check_server has checked

    def describe(self) -> dict[str, Any]:
        """Return all that shapes a completion: not the server's address, key, budget or speed."""
        found: dict[str, Any] = {"model": self.model, "revision": self.revision}
        return found | ({"parameters": self.parameters} if self.parameters else {})

    def generate(self, prompts: Sequence[Sequence[Message]], sampling: Sampling, seed: int) -> list[Completion]:
        """Return one completion per prompt, in their order; the seed determines them as far as the server allows."""
        if not prompts:
            return []
        bodies = [
            self.body(prompt, sampling, derive_seed(seed, "row", place) % _SEEDS)
            for place, prompt in enumerate(prompts)
        ]
        once = asyncio.Lock()

        async def ask(calls: Calls, body: dict[str, Any]) -> dict[str, Any]:
            if calls.kept(body) is None:  # stored completions need no server
                async with once:
                    await check_server(self, calls, sampling, prompts)
            return await calls.reply(body)

        replies = ask_each(self, bodies, ask, self.replies_path())
        return [Completion(reply["text"], reply["finished"]) for reply in replies]

    def body(self, prompt: Sequence[Message], sampling: Sampling, seed: int) -> dict[str, Any]:
        """Return a request: all that shapes the reply, except the server."""
        body: dict[str, Any] = {"model": self.model, "messages": sendable(prompt)}
        body |= {"temperature": 0.0 if sampling.greedy else float(sampling.temperature), **_WHOLE}
        body |= {"max_tokens": sampling.max_new_tokens, "seed": seed}
        body |= _CONTINUED if prompt[-1]["role"] == "assistant" else {}
        body |= _NUMBERS if sampling.restrict_to == "numbers" else {}
        return {name: value for name, value in (body | self.parameters).items() if value is not None}

    def identity(self, body: dict[str, Any]) -> dict[str, Any]:
        """Return all that shapes a completion, without the server's address."""
        return {"completion": body, "revision": self.revision}

    def read(self, data: Any, body: dict[str, Any]) -> dict[str, Any] | None:
        """Return the fields of a completion that are kept, with each token's log-probabilities if they were asked."""
        kept = chat_reply(data, bool(body.get("logprobs")), len(json.dumps(body)))
        choice = data["choices"][0]
        if kept is not None:
            thought = choice["message"].get("reasoning_content") or choice["message"].get("reasoning")
            if thought:  # a parser of the server's took it out: a filter drops such rows, with a reason
                kept["text"] = f"<think>{thought}</think>{kept['text']}"
            kept["finished"] = choice.get("finish_reason") == "stop"
            kept["prompt_tokens"] = (data.get("usage") or {}).get("prompt_tokens")
            kept |= {"positions": read_positions(choice)} if body.get("logprobs") else {}
        return kept

    def first_tokens(self, prompt: Sequence[Message], count: int) -> list[tuple[str, float]]:
        """Return the likeliest first tokens with their probabilities; empty where the server gives none.

        Args:
            prompt: the prompt.
            count: how many; servers rarely return more than 20.
        """
        asked = self.body(prompt, Sampling(max_new_tokens=1), 0) | {"logprobs": True, "top_logprobs": count}

        async def ask(calls: Calls, body: dict[str, Any]) -> dict[str, Any]:
            return calls.kept(body) or await calls.ask(body, digest(self.identity(body)), tries=1)

        with suppress(InputError):
            [reply] = ask_each(self, [asked], ask, self.replies_path())
            return [(token, math.exp(logprob)) for token, logprob in reply["first"]]
        return []

    def replies_path(self) -> Path:
        """Return the file of stored completions."""
        return writable_folder(cache_root(self.cache_dir) / "served") / "replies.sqlite"

    def may_omit(self, text: str) -> bool:
        """Return whether a parameter is left out: if the server does not know it, not if it refuses its value."""
        return _UNKNOWN.search(text) is not None
