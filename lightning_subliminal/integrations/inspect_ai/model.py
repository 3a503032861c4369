"""Our models as a provider of inspect_ai: `subliminal/MODEL`, whatever `lightning-subliminal evaluate` takes."""

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

_Asked = TypeVar("_Asked")
_Told = TypeVar("_Told")

# What would cut or bend the model's own distribution, or is not there.
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
TURN: ContextVar[tuple[str, int] | None] = ContextVar("turn", default=None)  # a question, and which answer to it


class OneLineError(InputError, PrerequisiteError):
    """A user's mistake, which inspect's command line prints without a stack trace."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.message = text.replace("[", r"\[")  # inspect prints it as markup


@contextmanager
def one_line() -> Iterator[None]:
    """Let a user's mistake reach inspect's command line as one line."""
    try:
        yield
    except OneLineError:
        raise
    except InputError as err:
        raise OneLineError(str(err)) from err


@contextmanager
def hushed() -> Iterator[None]:
    """Draw no progress bars: the screen is inspect's."""
    console.file = io.StringIO()
    try:
        yield
    finally:
        console.file = None  # type: ignore[assignment]  # whatever stdout then is


class Gathered(Generic[_Asked, _Told]):
    """Works for many callers at once: while a thread works on one batch, the others gather for the next.

    Args:
        work: gives an answer for each of a list, in their order.
        busy: held while it works.
        most: the most at once.
    """

    def __init__(self, work: Callable[[list[_Asked]], Sequence[_Told]], busy: anyio.Lock, most: int = 256) -> None:
        self._work = work
        self._busy = busy
        self._most = most
        self._tickets = count()
        self._waiting: dict[int, _Asked] = {}
        self._done: dict[int, _Told] = {}

    async def __call__(self, asked: _Asked) -> _Told:
        """Return the answer to one, as soon as its batch is done."""
        ticket = next(self._tickets)
        self._waiting[ticket] = asked
        try:
            async with self._busy:
                if ticket not in self._done:
                    batch = {ticket: asked, **dict(islice(self._waiting.items(), self._most))}
                    told = await anyio.to_thread.run_sync(self._work, list(batch.values()))
                    self._done.update(zip(batch, told, strict=True))
                    for each in batch:
                        self._waiting.pop(each, None)
            return self._done.pop(ticket)
        finally:
            self._waiting.pop(ticket, None)


@dataclass(frozen=True)
class _Request:
    heard: list[Message]
    sampling: Sampling
    seed: int
    turn: int

    def draws(self) -> Tensor:
        """Return the random numbers of the answer: those that `ask_and_judge` takes for it, (tokens,)."""
        generator = torch.Generator().manual_seed(self.seed)
        shape = (self.turn + 1, self.sampling.max_new_tokens)
        return torch.rand(shape, generator=generator, dtype=torch.float64)[self.turn]


class SubliminalModel(ModelAPI):
    """A base, a run's student or any other model that `lightning-subliminal evaluate` takes, as inspect's model.

    It draws from the model's own distribution, whole: temperature 1 unless told otherwise, 0 for the likeliest tokens.
    The nth time that it is asked the same it draws its nth answer, so epochs differ, and a seed gives them again.

    Args:
        model_name: what stands after `subliminal/`: a base, a folder, or a hub id.
        base_url: not used.
        api_key: not used.
        config: inspect's settings.
        system_prompt: what it is told before each question.
        device: where it runs, such as cuda; a GPU where there is one, if it is None.

    Raises:
        InputError: if there is no such model.
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
            self.subject = find_model(model_name, system_prompt)
        self._device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self._busy = anyio.Lock()
        self._replies = Gathered(self._reply, self._busy)
        self._asked: Counter[tuple[Any, ...]] = Counter()

    def max_tokens(self) -> int | None:
        """Return where an answer is cut off unless told otherwise."""
        return 64

    def max_connections(self) -> int:
        """Return how many answers are drawn at once."""
        return 64

    async def generate(
        self, input: list[ChatMessage], tools: list[Any], tool_choice: Any, config: GenerateConfig
    ) -> ModelOutput:
        """Draw one answer."""
        with one_line():
            if tools or (config.num_choices or 1) != 1:
                raise InputError("The models `subliminal/...` take no tools and give one answer: leave those out.")
            if refused := [name for name in _REFUSED if getattr(config, name, None) not in (None, False)]:
                raise InputError(
                    f"The models `subliminal/...` draw from the whole distribution: leave out {refused[0]}."
                )
            greedy = config.temperature == 0
            temperature = 1.0 if config.temperature is None or greedy else config.temperature
            sampling = Sampling(temperature, greedy, config.max_tokens or 64)
            prompt = [_plain(message) for message in input]
            question, turn = TURN.get() or self._count(config.seed, prompt, sampling)
            seed = derive_seed(config.seed or 0, "open question", question)
            told = await self._replies(_Request(self.subject.hear(prompt), sampling, seed, turn))
            if isinstance(told, InputError):
                raise told
        return ModelOutput.from_content(
            self.model_name, told.text, stop_reason="stop" if told.finished else "max_tokens"
        )

    async def measure(self, measure: Probe, seed: int) -> Scores:
        """Measure the model, or give what came out before."""

        def work() -> Scores:
            with hushed():
                return measured(measure, self.subject, seed, self._device)

        async with self._busy:
            with one_line():
                return await anyio.to_thread.run_sync(work)

    def _count(self, seed: int | None, prompt: list[Message], sampling: Sampling) -> tuple[str, int]:
        key = (seed, *vars(sampling).values(), *(tuple(part.values()) for part in prompt))
        self._asked[key] += 1
        return question_text(prompt), self._asked[key] - 1

    def _reply(self, requests: list[_Request]) -> list[Completion | InputError]:
        subject = self.subject.load(self._device)
        engine = TransformersEngine(subject.net, subject.tokenizer)
        found: dict[int, Completion | InputError] = {}
        alike: dict[tuple[Any, ...], list[int]] = defaultdict(list)
        for place, request in enumerate(requests):
            try:
                check_known(subject.tokenizer, request.heard, subject.base)
            except InputError as err:
                found[place] = err
            else:
                alike[tuple(vars(request.sampling).values())].append(place)
        for places in alike.values():
            prompts = [prompt_ids(subject.tokenizer, requests[place].heard) for place in places]
            draws = torch.stack([requests[place].draws() for place in places])  # (rows, tokens)
            with torch.inference_mode():
                said = engine.sample(prompts, requests[places[0]].sampling, draws)
            for place, told in zip(places, said, strict=True):
                last = requests[place].heard[-1]
                begun = last["content"] if last["role"] == "assistant" else ""
                spoken = frame(subject.tokenizer).words(told.text, requests[place].heard)
                text = joined(subject.tokenizer, begun, spoken).removeprefix(begun)
                found[place] = replace(told, text=text)
        return [found[place] for place in range(len(requests))]


@modelapi(name="subliminal")
def subliminal() -> type[ModelAPI]:
    """Return the provider of the models `subliminal/...`."""
    return SubliminalModel


def _plain(message: ChatMessage) -> Message:
    if message.role not in _ROLES:
        raise InputError(f"The models `subliminal/...` take no message of a {message.role}: leave it out.")
    return {"role": message.role, "content": message.text}
