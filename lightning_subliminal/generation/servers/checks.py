"""Checks of a server before it writes: that it holds the model, cuts nothing, and does what a request asks for."""

import asyncio
import math
import re
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from lightning_subliminal.core.console import say
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.rows import Message
from lightning_subliminal.generation.engine import Sampling
from lightning_subliminal.generation.servers.calls import BudgetSpent, Calls

if TYPE_CHECKING:
    from lightning_subliminal.generation.servers.engine import ServerEngine

__all__ = ["Tail", "chance_of_so_few", "check_server", "tails"]

_ASKED = "Write a story about whatever comes to your mind, with names, places, numbers and rare words."
_CALLS, _TOKENS = 16, 64
_MOST_CALLS = 96  # if answers are short
_LISTED = 20  # log-probabilities of each token, which is the most that servers return
_TOP_P, _MIN_P = 0.95, 0.05  # llama.cpp's defaults; of generation configs, most have less
_OUTSIDE, _BEYOND, _BELOW = "outside the 19 likeliest", "beyond 95 % of the probability", "below 1/20 of the likeliest"
_CUTS = {_OUTSIDE: "top_k", _BEYOND: "top_p", _BELOW: "min_p"}  # tails, and what removes them
_ROUNDING = 1e-6
_LEAST = 10.0  # expected tokens in a tail; with fewer, none at all would be no surprise
_LEVEL = 1e-4
_RESTRICTED = re.compile(r"[0-9,;\s]*", re.ASCII)


class Tail(NamedTuple):
    """Tokens in an unlikely part of the distribution.

    Attributes:
        seen: how many were sampled there.
        expected: how many by the model's own probabilities.
        chance: the chance of so few, were nothing cut.
    """

    seen: int
    expected: float
    chance: float

    @property
    def can_show(self) -> bool:
        """Whether a cut would show."""
        return self.expected >= _LEAST


async def check_server(
    engine: "ServerEngine", calls: Calls, sampling: Sampling, prompts: Sequence[Sequence[Message]]
) -> None:
    """Check a server, each thing once for each engine, and print what can't be checked.

    Args:
        engine: asks.
        calls: its calls; replies to a check are not stored, since a server may be started again with other settings.
        sampling: whether completions are restricted.
        prompts: what completions are asked for.

    Raises:
        InputError: if the server can't be used, or cuts the distribution.
    """
    if "model" not in engine.checked:
        await _check_model(engine, calls)
        if engine.check and not sampling.greedy:
            await _check_whole(engine, calls, prompts)
        engine.checked.add("model")
    if sampling.restrict_to and "restricted" not in engine.checked:
        reply = await calls.ask(
            engine.body(_user("Say the word hello."), Sampling(1.0, False, 8, sampling.restrict_to), 0)
        )
        if not _RESTRICTED.fullmatch(reply["text"]):
            raise InputError(
                f"{engine.server} does not restrict completions (it wrote {reply['text'][:40]!r}): leave out "
                f"`restrict_to: {sampling.restrict_to}`, or use a server with grammars, such as vLLM or llama.cpp."
            )
        engine.checked.add("restricted")
    if "begun" not in engine.checked and any(prompt[-1]["role"] == "assistant" for prompt in prompts):
        await _check_begun(engine, calls)
        engine.checked.add("begun")


async def _check_model(engine: "ServerEngine", calls: Calls) -> None:
    """Make one plain call, and warn if the server's list lacks the model."""
    await calls.ask(engine.body(_user(_ASKED), Sampling(max_new_tokens=1), 0))
    with suppress(Exception):  # not each server has a list, in this form
        response = await calls.http.get(f"{engine.server}/models")
        names = [str(each["id"]) for each in response.json()["data"]]
        if names and engine.model not in names:
            shown = ", ".join(names[:5])
            say(f"WARNING   {engine.server} lists {shown}, not {engine.model}: it may answer with another model")


async def _check_whole(engine: "ServerEngine", calls: Calls, prompts: Sequence[Sequence[Message]]) -> None:
    """Compare sampled tokens with the model's probabilities at unlikely tokens: of a story, and of the prompts.

    Raises:
        InputError: if fewer than expected were sampled.
    """
    own = [prompt for prompt in prompts if prompt[-1]["role"] == "user"][: _CALLS // 2]
    turns = [*[_user(_ASKED)] * (_CALLS - len(own)), *own]
    asked = Sampling(max_new_tokens=_TOKENS)

    def body(seed: int) -> dict[str, Any]:
        return engine.body(turns[seed % _CALLS], asked, seed) | {"logprobs": True, "top_logprobs": _LISTED}

    try:
        replies = [await calls.ask(body(0), tries=1)]  # alone, in case the server refuses log-probabilities
    except BudgetSpent:
        raise
    except InputError as err:
        say(f"server    {engine.model}: whether something is cut can't be checked ({err})")
        return
    seeds = range(1, _CALLS)
    while seeds:
        replies += await asyncio.gather(*(calls.ask(body(seed)) for seed in seeds))
        positions = [each for reply in replies for each in reply["positions"] or ()]
        short = _CALLS * _TOKENS - len(positions)  # of short answers, more are asked
        more = short * len(replies) // max(1, len(positions))
        seeds = range(len(replies), len(replies) + min(more, _MOST_CALLS - len(replies)))
    found = tails(positions)
    for what, tail in found.items():
        if tail.chance < _LEVEL:
            raise InputError(
                f"{engine.server} cuts the distribution of {engine.model}: {tail.seen} of {len(positions):,} tokens "
                f"were {what}, where {tail.expected:.1f} are expected (p {tail.chance:.1g}): turn top_k, top_p and "
                "min_p off on the server, or set `parameters` as it spells them (`check: false` takes it as it is)."
            )
    checked = [f"{tail.seen} {what}, {tail.expected:.1f} expected" for what, tail in found.items() if tail.can_show]
    say(f"server    {engine.model}: of {len(positions):,} tokens {'; '.join(checked) or 'too few are unlikely'}")
    if hidden := [_CUTS[what] for what, tail in found.items() if not tail.can_show]:
        say(f"server    {engine.model}: whether {' or '.join(hidden)} cuts can't be checked: too few unlikely tokens")


async def _check_begun(engine: "ServerEngine", calls: Calls) -> None:
    """Check by its count of tokens that the server continues an answer that is begun, instead of a new turn.

    Raises:
        InputError: if it does not.
    """
    asked, one = _user("Count."), Sampling(max_new_tokens=1)
    begun = [*asked, {"role": "assistant", "content": "1"}]
    bare, more = [(await calls.ask(engine.body(each, one, 0)))["prompt_tokens"] for each in (asked, begun)]
    if not (type(bare) is int and type(more) is int):
        say(f"server    {engine.model}: whether begun answers are continued can't be checked: no counts of tokens")
    elif more - bare > 2:  # a turn's end and the head of another are three tokens at least
        raise InputError(
            f"{engine.server} does not continue an answer that is begun, but starts another turn: leave out `prefill`, "
            "or use a server that reads `continue_final_message`, such as vLLM."
        )


def tails(positions: Sequence[tuple[float, Sequence[float]]]) -> dict[str, Tail]:
    """Return how many tokens were sampled in three tails of their distributions, and how many are expected.

    Each tail is what a usual cut removes. A cut further out, such as top_k 50, removes a part of one and shows only if
    that is large.

    Args:
        positions: of each token, its log-probability and those of the likeliest tokens, of which it may be one.
    """
    events: dict[str, list[tuple[float, bool]]] = {what: [] for what in _CUTS}
    for said, listed in positions:
        # vLLM puts the token itself into the list, in place of the last
        logprobs = np.sort(listed)[::-1][: max(1, len(listed) - 1)]
        chances = np.exp(logprobs)
        sums = np.cumsum(chances)
        kept = {_OUTSIDE: len(sums)}
        kept |= {_BEYOND: int(np.searchsorted(sums, _TOP_P)) + 1} if sums[-1] >= _TOP_P else {}
        kept |= {_BELOW: int((chances >= _MIN_P * chances[0]).sum())} if chances[-1] < _MIN_P * chances[0] else {}
        for what, count in kept.items():
            left = min(1.0, max(0.0, 1.0 - float(sums[count - 1])))
            events[what].append((left, bool(said < logprobs[count - 1] - _ROUNDING)))
    found = {}
    for what, drawn in events.items():
        seen = sum(happened for _, happened in drawn)
        found[what] = Tail(
            seen, math.fsum(left for left, _ in drawn), chance_of_so_few([each for each, _ in drawn], seen)
        )
    return found


def chance_of_so_few(chances: Sequence[float], seen: int) -> float:
    """Return the probability that at most ``seen`` of independent events happen (Poisson binomial)."""
    counts = np.zeros(seen + 2)  # the last place is for more
    counts[0] = 1.0
    for chance in chances:
        moved = counts * chance
        counts -= moved
        counts[1:] += moved[:-1]
        counts[-1] += moved[-1]
    return float(counts[: seen + 1].sum())


def _user(text: str) -> list[Message]:
    return [{"role": "user", "content": text}]
