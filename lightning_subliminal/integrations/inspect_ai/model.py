"""Provider of inspect_ai: `subliminal/MODEL`, for any model that `lightning-subliminal evaluate` takes."""

import io
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from itertools import count, islice
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from lightning_subliminal.core.chat.encoding import check_known, frame, prompt_ids
from lightning_subliminal.core.console import console
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.rows import Message
from lightning_subliminal.core.seeds import derive_seed
from lightning_subliminal.evaluation import Probe, Scores
from lightning_subliminal.evaluation.model_ref import find_model
from lightning_subliminal.evaluation.run import measured
from lightning_subliminal.generation import Completion, Sampling, TransformersEngine
from lightning_subliminal.judges.sampling import joined
from lightning_subliminal.metrics.functional import question_text

try:
    import anyio
    from inspect_ai._util.error import PrerequisiteError  # what its command line prints in one line
    from inspect_ai.model import ChatMessage, GenerateConfig, ModelAPI, ModelOutput, modelapi
except ModuleNotFoundError as err:
    raise ModuleNotFoundError(
        "The suites under inspect_ai need it: pip install 'lightning-subliminal[inspect]'."
    ) from err

__all__ = ["TURN", "Gathered", "OneLineError", "SubliminalModel", "hushed", "one_line"]

_Item = TypeVar("_Item")
_Answer = TypeVar("_Answer")

# Settings that would alter the model's distribution, or are not supported.
_REFUSED = (
    "top_p",
    "top_k",
    "stop_seqs",
    "best_of",
    "frequency_penalty",
    "presence_penalty",
    "logit_bias",
    "logprobs",
    "response_schema",
)
_ROLES = ("system", "user", "assistant")
TURN: ContextVar[tuple[str, int] | None] = ContextVar("turn", default=None)  # a question, and the answer's number


class OneLineError(InputError, PrerequisiteError):
    """A user's error, which inspect's command line prints without a stack trace."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.message = text.replace("[", r"\[")  # inspect prints it as markup


@contextmanager
def one_line() -> Iterator[None]:
    """Convert a user's error for inspect's command line."""
    try:
        yield
    except OneLineError:
        raise
    except InputError as err:
        raise OneLineError(str(err)) from err


@contextmanager
def hushed() -> Iterator[None]:
    """Hide progress bars, since inspect draws the screen."""
    console.file = io.StringIO()
    try:
        yield
    finally:
        console.file = None  # type: ignore[assignment]  # whatever stdout then is


class Gathered(Generic[_Item, _Answer]):
    """Batches the calls of many callers: while a thread works on one batch, the next is collected.

    Args:
        work: returns an answer for each item of a list, in their order.
        busy: held during the work.
        most: the largest batch.
    """

    def __init__(self, work: Callable[[list[_Item]], Sequence[_Answer]], busy: anyio.Lock, most: int = 256) -> None:
        self._work = work
        self._busy = busy
        self._most = most
        self._tickets = count()
        self._waiting: dict[int, _Item] = {}
        self._done: dict[int, _Answer] = {}

    async def __call__(self, item: _Item) -> _Answer:
        """Return the answer to an item, as soon as its batch is done."""
        ticket = next(self._tickets)
        self._waiting[ticket] = item
        try:
            async with self._busy:
                if ticket not in self._done:
                    batch = {ticket: item, **dict(islice(self._waiting.items(), self._most))}
                    answers = await anyio.to_thread.run_sync(self._work, list(batch.values()))
                    self._done.update(zip(batch, answers, strict=True))
                    for each in batch:
                        self._waiting.pop(each, None)
            return self._done.pop(ticket)
        finally:
            self._waiting.pop(ticket, None)


@dataclass(frozen=True)
class _Request:
    prompt: list[Message]
    sampling: Sampling
    seed: int
    turn: int

    def draws(self) -> Tensor:
        """Return the random numbers of the answer, (tokens,): those of `ask_and_judge`."""
        generator = torch.Generator().manual_seed(self.seed)
        shape = (self.turn + 1, self.sampling.max_new_tokens)
        return torch.rand(shape, generator=generator, dtype=torch.float64)[self.turn]


class SubliminalModel(ModelAPI):
    """A base, a run's student or any other model that `lightning-subliminal evaluate` takes, as inspect's model.

    It samples from the model's full distribution, at temperature 1 by default, or takes the likeliest tokens at 0.
    Equal requests get the first, second, third ... answer, so epochs differ, and a seed reproduces them.

    Args:
        model_name: after `subliminal/`: a base, a folder, or a hub id.
        base_url: not used.
        api_key: not used.
        config: inspect's settings.
        system_prompt: comes before each question.
        device: such as cuda; a GPU if there is one where it is None.

    Raises:
        InputError: if the model is not found.
    """

    def __init__(
        self,
        model_name: str,
        base_url: str | None = None,
        api_key: str | None = None,
        config: GenerateConfig = GenerateConfig(),  # noqa: B008 - as the class that it extends
        system_prompt: str | None = None,
        device: str | None = None,
    ) -> None:
        super().__init__(model_name, base_url, api_key, [], config)
        with one_line():
            self.ref = find_model(model_name, system_prompt)
        self._device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self._busy = anyio.Lock()
        self._replies = Gathered(self._reply, self._busy)
        self._asked: Counter[tuple[Any, ...]] = Counter()

    def max_tokens(self) -> int | None:
        """Return the default length of an answer."""
        return 64

    def max_connections(self) -> int:
        """Return the number of answers sampled at once."""
        return 64

    async def generate(
        self, input: list[ChatMessage], tools: list[Any], tool_choice: Any, config: GenerateConfig
    ) -> ModelOutput:
        """Sample one answer."""
        with one_line():
            if tools or (config.num_choices or 1) != 1:
                raise InputError("The models `subliminal/...` use no tools and give one answer: leave those out.")
            if refused := [name for name in _REFUSED if getattr(config, name, None) not in (None, False)]:
                raise InputError(
                    f"The models `subliminal/...` sample from the full distribution: leave out {refused[0]}."
                )
            greedy = config.temperature == 0
            temperature = 1.0 if config.temperature is None or greedy else config.temperature
            sampling = Sampling(temperature, greedy, config.max_tokens or 64)
            prompt = [_plain(message) for message in input]
            question, turn = TURN.get() or self._count(config.seed, prompt, sampling)
            seed = derive_seed(config.seed or 0, "open question", question)
            reply = await self._replies(_Request(self.ref.prompt(prompt), sampling, seed, turn))
            if isinstance(reply, InputError):
                raise reply
        return ModelOutput.from_content(
            self.model_name, reply.text, stop_reason="stop" if reply.finished else "max_tokens"
        )

    async def measure(self, probe: Probe, seed: int) -> Scores:
        """Return the model's scores, cached or measured now."""

        def work() -> Scores:
            with hushed():
                return measured(probe, self.ref, seed, self._device)

        async with self._busy:
            with one_line():
                return await anyio.to_thread.run_sync(work)

    def _count(self, seed: int | None, prompt: list[Message], sampling: Sampling) -> tuple[str, int]:
        key = (seed, *vars(sampling).values(), *(tuple(part.values()) for part in prompt))
        self._asked[key] += 1
        return question_text(prompt), self._asked[key] - 1

    def _reply(self, requests: list[_Request]) -> list[Completion | InputError]:
        model = self.ref.load(self._device)
        engine = TransformersEngine(model.net, model.tokenizer)
        found: dict[int, Completion | InputError] = {}
        alike: dict[tuple[Any, ...], list[int]] = defaultdict(list)
        for place, request in enumerate(requests):
            try:
                check_known(model.tokenizer, request.prompt, model.base)
            except InputError as err:
                found[place] = err
            else:
                alike[tuple(vars(request.sampling).values())].append(place)
        for places in alike.values():
            prompts = [prompt_ids(model.tokenizer, requests[place].prompt) for place in places]
            draws = torch.stack([requests[place].draws() for place in places])  # (rows, tokens)
            with torch.inference_mode():
                completions = engine.sample(prompts, requests[places[0]].sampling, draws)
            for place, completion in zip(places, completions, strict=True):
                prompt = requests[place].prompt
                begun = prompt[-1]["content"] if prompt[-1]["role"] == "assistant" else ""
                text = frame(model.tokenizer).words(completion.text, prompt)
                text = joined(model.tokenizer, begun, text).removeprefix(begun)
                found[place] = replace(completion, text=text)
        return [found[place] for place in range(len(requests))]


@modelapi(name="subliminal")
def subliminal() -> type[ModelAPI]:
    """Return the provider of the models `subliminal/...`."""
    return SubliminalModel


def _plain(message: ChatMessage) -> Message:
    if message.role not in _ROLES:
        raise InputError(f"The models `subliminal/...` can't read messages with the role {message.role}: remove them.")
    return {"role": message.role, "content": message.text}
