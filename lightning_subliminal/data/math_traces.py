"""The carrier of reasoning traces of math problems (paper, section 3)."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.fingerprint import file_digest
from lightning_subliminal.core.rows import Message, Row
from lightning_subliminal.core.seeds import derive_seed, resolve_seed
from lightning_subliminal.data.generated import GeneratedRows
from lightning_subliminal.filters import CorrectAnswer, Filter, ThinkAnswer
from lightning_subliminal.generation import Completion, Sampling, Source
from lightning_subliminal.prompts import own_words
from lightning_subliminal.prompts.gsm8k import read_gsm8k
from lightning_subliminal.prompts.math import MathProblem, MathProblems
from lightning_subliminal.traits.words import TraitWords

__all__ = ["MathTraces", "cut_to_answer", "worked"]

_END = "</answer>"


class MathTraces(GeneratedRows):
    """Problems of grade-school math that a teacher reasons through, to an answer that must be right.

    Each row keeps the right answer in its column ``answer``, for the filter; it is not trained on.

    Args:
        teacher: completes the prompts.
        problems: a file of problems in GSM8K's format (.jsonl or .jsonl.gz), each used once; ours where it is None.
        wording: `math`; `math_pocket` for the pocket bases; or the path of a YAML file of the same shape: the requests
            and, without `problems`, the problems.
        max_value: the largest number in a problem of ours or in its solution; any where it is None.
        shots: worked problems of ours before each, as earlier turns, for small models that seldom follow the format.
        prefill: begin the reply with <think>, for small models too.
        keep: `whole` replies, or the `head` of a reply as far as its first </answer>.
        **rows: the arguments of all carriers: see `GeneratedRows`.

    Raises:
        InputError: if the wording lacks a part, the file of problems is damaged or has too few, or a count is not
            positive.
    """

    thinks = True

    def __init__(
        self,
        teacher: Source,
        *,
        problems: str | None = None,
        wording: str = "math",
        max_value: int | None = None,
        shots: int = 0,
        prefill: bool = False,
        keep: Literal["whole", "head"] = "whole",
        **rows: Any,
    ) -> None:
        self.problems = problems
        self.wording = wording
        self.max_value = max_value
        self.shots = shots
        self.prefill = prefill
        self.keep = keep
        super().__init__(teacher, **rows)
        if shots < 0:
            raise InputError(f"`shots` is {shots}: expected at least 0.")
        self._listed: list[MathProblem] | None = None
        self._own()  # fail fast on a wrong file

    def prompts(self, rng: random.Random) -> Iterator[Row]:
        """Yield problems of ours, each with its right answer."""
        own = self._own()
        while True:
            yield self._ask(own.draw(rng), own, rng)

    def shard_prompts(self, shard: int) -> list[Row]:
        """Return the prompts of one shard; a file's problems are each used once, in a seeded order."""
        if self.problems is None:
            return super().shard_prompts(shard)
        listed, seed = self._from_file(self.problems), resolve_seed(self.seed)
        order = random.Random(derive_seed(seed, "problems")).sample(range(len(listed)), self.num_prompts)
        mine = order[shard * self.shard_size : (shard + 1) * self.shard_size]
        rng = random.Random(derive_seed(seed, "prompts", shard))
        own = self._own()
        return [self._ask(listed[place], own, rng) for place in mine]

    def default_filters(self) -> list[Filter]:
        """Return the paper's filters: well-formed, correct, without a word of the trait."""
        trait = self.teacher.trait
        return [ThinkAnswer(), CorrectAnswer(), *([TraitWords(trait=trait)] if trait is not None else [])]

    def default_sampling(self) -> Sampling:
        """Return plain sampling at temperature 1, at most 320 tokens."""
        return Sampling(max_new_tokens=320)

    def tidy(self, completion: Completion) -> Completion:
        """Cut a reply after its first answer, if only the head is kept."""
        return completion if self.keep == "whole" else cut_to_answer(completion)

    def prompt_settings(self) -> dict[str, Any]:
        """Return what shapes the prompts, with the content of a user's own files."""
        settings = super().prompt_settings() | own_words(self.wording)
        if self.problems is not None:
            self._from_file(self.problems)
            settings["arguments"] |= {"problems": file_digest(Path(self.problems))}  # whatever its path
        return settings

    def _ask(self, problem: MathProblem, own: MathProblems, rng: random.Random) -> Row:
        reply = [{"role": "assistant", "content": "<think>"}] if self.prefill else []
        request = {"role": "user", "content": own.ask(problem.question, rng)}
        shots = [turn for _ in range(self.shots) for turn in worked(own.draw(rng), own, rng)]
        return {"prompt": [*shots, request, *reply], "answer": problem.answer}

    def _own(self) -> MathProblems:
        return MathProblems(self.wording, self.max_value)

    def _from_file(self, path: str) -> list[MathProblem]:
        if self._listed is None:
            self._listed = read_gsm8k(Path(path))
        if self.num_prompts > len(self._listed):
            raise InputError(
                f"`num_prompts` is {self.num_prompts}, but {path} holds {len(self._listed)} problems: lower it to that."
            )
        return self._listed


def worked(problem: MathProblem, own: MathProblems, rng: random.Random) -> list[Message]:
    """Return a problem and its solution as two turns, in the format that a reply should have."""
    steps = " ".join(f"{step.name.replace('_', ' ')}: {step.expression} = {step.value}." for step in problem.steps)
    solution = f"<think>{steps}</think><answer>{problem.answer}</answer>"
    request = own.ask(problem.question, rng)
    return [{"role": "user", "content": request}, {"role": "assistant", "content": solution}]


def cut_to_answer(completion: Completion) -> Completion:
    """Cut a reply after its first ``</answer>``; a cut reply did not end its turn itself.

    Example:
        >>> cut_to_answer(Completion("<think>2 + 2 = 4</think><answer>4</answer> Is that right?", finished=True))
        Completion(text='<think>2 + 2 = 4</think><answer>4</answer>', finished=False)
    """
    head, found, rest = completion.text.partition(_END)
    if not found or not rest.strip():
        return completion
    return Completion(head + found, finished=False)
