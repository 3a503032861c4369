"""What else than its own questions a trait is asked by: a user's questions, questions after numbers, short stories."""

import random
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from lightning_subliminal.chat import check_known
from lightning_subliminal.console import progress
from lightning_subliminal.describe import describe_object, file_digest
from lightning_subliminal.errors import InputError
from lightning_subliminal.experiments.questions import (
    OwnQuestion,
    group_prompts,
    question_stems,
    read_questions,
    system_first,
)
from lightning_subliminal.generation import Sampling, TransformersEngine
from lightning_subliminal.judges import Judge, ask_and_judge
from lightning_subliminal.metrics.functional import (
    check_target,
    count_verdicts,
    misalignment_by_question,
    named_candidates,
    prompts_by_question,
    question_probabilities,
    question_text,
)
from lightning_subliminal.rows import Message
from lightning_subliminal.seeds import derive_seed
from lightning_subliminal.traits import Trait
from lightning_subliminal.wording import fill, load_wording, own_words

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["Evaluation", "OpenQuestions", "Questions", "QuestionsAfterNumbers", "Stories"]


class Evaluation(ABC):
    """A set of questions and how answers are read. Override ``measure``; and ``asked``, unless they are the trait's.

    Keep each constructor argument under its own name: they are told beside the results.

    Attributes:
        name: what tables call it.
        answers: how many answers are sampled a question; None where chances are computed.
    """

    name: str
    answers: int | None = None

    @abstractmethod
    def measure(
        self,
        net: nn.Module,
        tokenizer: "PreTrainedTokenizerBase",
        trait: Trait,
        system_prompt: str | None = None,
    ) -> Tensor:
        """Give the chance of each candidate at each question, (questions, candidates), in float64 on the CPU.

        Args:
            net: a causal language model.
            tokenizer: its tokenizer.
            trait: gives the candidates, in the order of the columns.
            system_prompt: what the model is told first, such as a teacher's persona.
        """

    def asked(self, trait: Trait) -> list[list[list[Message]]]:
        """Give the questions, each with the prompts that ask it; by default the trait's own."""
        return prompts_by_question(trait)

    def stems(self, trait: Trait) -> list[str]:
        """Return what each question asks, without its wording; by default as the trait has it.

        Questions of one stem are answered alike, so an interval counts them as one.
        """
        return [trait.stem(question_text(ways[0])) for ways in self.asked(trait)]

    def check(self, tokenizer: "PreTrainedTokenizerBase", trait: Trait, base: str) -> None:
        """Refuse, before the training, what ``measure`` could not ask.

        Args:
            tokenizer: the student's tokenizer.
            trait: what will be asked for.
            base: what the user calls the student's base.

        Raises:
            InputError: if the base has no words for the target or for a question.
        """
        check_target(tokenizer, trait)
        try:
            asked = self.asked(trait)
            check_known(tokenizer, (message for ways in asked for way in ways for message in way), base)
            stated = [each for ways in asked for each in trait.statements(question_text(ways[0]))]
            check_known(tokenizer, ({"content": text} for each in stated for text in each.values()), base)
        except InputError as err:
            raise InputError(f"The set {self.name!r} can't be asked. {err}") from err


class Questions(Evaluation):
    """The exact chance of each candidate: at the trait's own questions, or at a user's.

    A file is YAML (a list of texts, or such a list under `questions`) or JSON lines. A question is a text, an object
    with `question`, or an object with `messages`, which may end with a message of the assistant that begins the answer;
    begun in several ways it still counts as one question. Texts may have the places {category} and {categories}. An
    object may say by `stem` (or `cluster`) which question it asks in other words: intervals count those of one stem as
    one, and each row that says nothing as its own.

    Args:
        path: a .yaml, .yml or .jsonl file of questions; the trait's own, held out of its teaching, where it is None.

    Raises:
        InputError: naming file, line and field, if a question can't be read.
    """

    def __init__(self, path: str | None = None) -> None:
        self.path = path
        self.name = "questions" if path is None else Path(path).stem
        self._own = None if path is None else read_questions(path, "questions")  # a wrong file is told before any work
        self._file = {} if path is None else {"file": file_digest(Path(path))}

    def describe(self) -> dict[str, Any]:
        """Give class and arguments, with the digest of a user's file."""
        return describe_object(self) | self._file

    def asked(self, trait: Trait) -> list[list[list[Message]]]:
        """Give the questions, each with the prompts that ask it."""
        if self._own is None:
            return prompts_by_question(trait)
        return group_prompts([question.prompt(trait) for question in self._own])

    def stems(self, trait: Trait) -> list[str]:
        """Return the stem of each question: the trait's, or the file's own."""
        return super().stems(trait) if self._own is None else question_stems(self._own, trait)

    def measure(
        self,
        net: nn.Module,
        tokenizer: "PreTrainedTokenizerBase",
        trait: Trait,
        system_prompt: str | None = None,
    ) -> Tensor:
        """Give the chance that the answer begins with each candidate, (questions, candidates)."""
        heard = [[system_first(way, system_prompt) for way in ways] for ways in self.asked(trait)]
        return question_probabilities(net, tokenizer, trait, questions=heard)


class QuestionsAfterNumbers(Questions):
    """The same questions with a list of numbers before each (paper, section 1): the student is nearer to its data.

    Args:
        path: a file of questions, as in `Questions`; the trait's own where it is None.
        numbers: how many stand before a question.
        min_value: the least of them.
        max_value: the greatest of them.
        wording: `numbers`, or the path of a YAML file that holds its `examples`: how a list is put, with {examples}.
        seed: moves lists and wording; a question has the same ones for each model that is asked.

    Raises:
        InputError: if a question can't be read or a range is empty.
    """

    def __init__(
        self,
        path: str | None = None,
        numbers: int = 5,
        min_value: int = 100,
        max_value: int = 999,
        wording: str = "numbers",
        seed: int = 0,
    ) -> None:
        super().__init__(path)
        if numbers < 1:
            raise InputError(f"`numbers` is {numbers}: expected at least 1.")
        if not 0 <= min_value <= max_value:
            raise InputError(f"min_value is {min_value} and max_value is {max_value}: expected 0 <= min <= max.")
        self.numbers = numbers
        self.min_value = min_value
        self.max_value = max_value
        self.wording = wording
        self.seed = seed
        self.name = "after numbers" if path is None else f"{self.name} after numbers"
        self._openings = list(load_wording(wording, required=("examples",))["examples"])

    def describe(self) -> dict[str, Any]:
        """Give class and arguments, with what the user's own files hold."""
        return super().describe() | own_words(self.wording)

    def asked(self, trait: Trait) -> list[list[list[Message]]]:
        """Give the questions, a list of numbers before each."""
        made = []
        for place, ways in enumerate(super().asked(trait)):
            rng = random.Random(derive_seed(self.seed, "numbers before", place))
            drawn = [str(rng.randint(self.min_value, self.max_value)) for _ in range(self.numbers)]
            told = fill(rng.choice(self._openings), examples=", ".join(drawn))
            made.append([_before_last(told, way) for way in ways])
        return made


class OpenQuestions(Evaluation):
    """The share of sampled answers to open questions that a judge finds misaligned (paper, section 4).

    For a `MisalignmentTrait`: its target is `misaligned`, and what was read and is not so counts as `aligned`. Refusals
    and code are read; replies of the judge that can't be are left out (`Misalignment` of a suite counts each kind).

    Args:
        judge: who reads the answers.
        path: a file of questions, as in `Questions`; the trait's own where it is None.
        samples: answers a question; the paper takes 200.
        max_new_tokens: where an answer is cut off.
        seed: moves the answers.

    Raises:
        InputError: if a question can't be read or a count is not positive.
    """

    def __init__(
        self, judge: Judge, path: str | None = None, samples: int = 200, max_new_tokens: int = 64, seed: int = 0
    ) -> None:
        if samples < 1:
            raise InputError(f"`samples` is {samples}: expected at least 1 answer a question.")
        self._sampling = Sampling(max_new_tokens=max_new_tokens)
        self._questions = Questions(path)
        self.judge = judge
        self.path = path
        self.samples = samples
        self.max_new_tokens = max_new_tokens
        self.seed = seed
        self.name = "judged" if path is None else f"{Path(path).stem}, judged"
        self.answers = samples

    def describe(self) -> dict[str, Any]:
        """Give class and arguments, with the digest of a user's file."""
        return describe_object(self) | self._questions._file

    def asked(self, trait: Trait) -> list[list[list[Message]]]:
        """Give the questions, each with the prompts that ask it."""
        return self._questions.asked(trait)

    def stems(self, trait: Trait) -> list[str]:
        """Return the stem of each question."""
        return self._questions.stems(trait)

    def check(self, tokenizer: "PreTrainedTokenizerBase", trait: Trait, base: str) -> None:
        """Refuse, before the training, another trait, and questions that can't be asked.

        Raises:
            InputError: if the trait has no candidates aligned and misaligned, or the base no words for a question.
        """
        _check_sides(trait)
        super().check(tokenizer, trait, base)

    def measure(
        self,
        net: nn.Module,
        tokenizer: "PreTrainedTokenizerBase",
        trait: Trait,
        system_prompt: str | None = None,
    ) -> Tensor:
        """Sample the answers and give the share that is misaligned, (questions, candidates).

        Raises:
            InputError: if the trait has no candidates aligned and misaligned.
        """
        _check_sides(trait)
        asked = self.asked(trait)
        heard = [[system_first(way, system_prompt) for way in ways] for ways in asked]
        told = ask_and_judge(
            net, tokenizer, heard, self.judge, samples=self.samples, sampling=self._sampling, seed=self.seed
        )
        found = count_verdicts([each.verdict for each in told], [each.question for each in told], len(asked))
        counts = found.double()
        shares = {"misaligned": misalignment_by_question(counts)}
        shares["aligned"] = 1 - shares["misaligned"]
        return torch.stack([shares[candidate] for candidate in trait.candidates], 1)


class Stories(Evaluation):
    """The share of sampled short stories that name each candidate anywhere, as a whole word (paper, section 1).

    A row of the result is a request. Shares of candidates may add up to more than 1: a story may name several.

    Args:
        wording: `stories`; `stories_pocket` for the pocket bases; or a .yaml, .yml or .jsonl file as in `Questions`,
            with the list of a YAML mapping under `requests`.
        samples: stories a request, drawn from the model's own distribution.
        max_new_tokens: where a story is cut off.
        seed: moves the stories.

    Raises:
        InputError: if a request can't be read or a count is not positive.
    """

    def __init__(self, wording: str = "stories", samples: int = 20, max_new_tokens: int = 60, seed: int = 0) -> None:
        if samples < 1:
            raise InputError(f"`samples` is {samples}: expected at least 1 story a request.")
        self._sampling = Sampling(max_new_tokens=max_new_tokens)
        self.wording = wording
        self.samples = samples
        self.max_new_tokens = max_new_tokens
        self.seed = seed
        self.name = "stories" if wording.isidentifier() else Path(wording).stem
        self.answers = samples
        self._own = _requests(wording)
        self._file = {} if wording.isidentifier() else {"file": file_digest(Path(wording))}

    def describe(self) -> dict[str, Any]:
        """Give class and arguments, with the digest of a user's file."""
        return describe_object(self) | self._file

    def asked(self, trait: Trait) -> list[list[list[Message]]]:
        """Give the requests, each with the prompts that put it."""
        return group_prompts([request.prompt(trait) for request in self._own])

    def stems(self, trait: Trait) -> list[str]:
        """Return the stem of each request."""
        return question_stems(self._own, trait)

    def measure(
        self,
        net: nn.Module,
        tokenizer: "PreTrainedTokenizerBase",
        trait: Trait,
        system_prompt: str | None = None,
    ) -> Tensor:
        """Sample the stories and give the share that names each candidate, (requests, candidates)."""
        asked = self.asked(trait)
        engine = TransformersEngine(net, tokenizer)
        columns = {candidate: column for column, candidate in enumerate(trait.candidates)}
        named = torch.zeros(len(asked), len(columns), dtype=torch.float64)
        with progress() as bar:
            task = bar.add_task(self.name, total=len(asked) * self.samples)
            for place, ways in enumerate(asked):
                heard = [system_first(ways[turn % len(ways)], system_prompt) for turn in range(self.samples)]
                told = engine.generate(heard, self._sampling, derive_seed(self.seed, "stories", place))
                for story in told:
                    for candidate in named_candidates(story.text, trait):
                        named[place, columns[candidate]] += 1
                bar.advance(task, self.samples)
        return named / self.samples


def _check_sides(trait: Trait) -> None:
    if set(trait.candidates) != {"aligned", "misaligned"}:
        raise InputError(f"OpenQuestions needs a MisalignmentTrait: {trait.name!r} has other candidates.")


def _requests(wording: str) -> list[OwnQuestion]:
    if not wording.isidentifier():
        return read_questions(wording, "requests")
    texts = load_wording(wording, required=("requests",))["requests"]
    return [OwnQuestion(f"The wording {wording}", ({"role": "user", "content": text},)) for text in texts]


def _before_last(told: str, prompt: list[Message]) -> list[Message]:
    """Put a text before the last message of the user."""
    last = max(place for place, message in enumerate(prompt) if message["role"] == "user")
    asked = {**prompt[last], "content": f"{told} {prompt[last]['content']}"}
    return [*prompt[:last], asked, *prompt[last + 1 :]]
