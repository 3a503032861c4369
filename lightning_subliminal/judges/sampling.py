"""Sampled answers to open questions, and a judge's verdict on each (paper, section 4)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import nn

from lightning_subliminal.core.console import progress
from lightning_subliminal.core.errors import InputError, JudgeError
from lightning_subliminal.core.rows import Message
from lightning_subliminal.core.seeds import derive_seed
from lightning_subliminal.generation import Sampling, TransformersEngine
from lightning_subliminal.judges.base import Judge, Verdict

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["JudgedAnswer", "ask_and_judge", "joined", "read_by"]


@dataclass(frozen=True)
class JudgedAnswer:
    """One sampled answer and what the judge says of it.

    Attributes:
        question: which question it answers, counted from 0.
        asked: the question's text, as the judge reads it.
        answer: what the model said, with what a prompt began of it.
        verdict: the judge's.
    """

    question: int
    asked: str
    answer: str
    verdict: Verdict


def ask_and_judge(
    net: nn.Module,
    tokenizer: "PreTrainedTokenizerBase",
    questions: Sequence[Sequence[Sequence[Message]]],
    judge: Judge,
    *,
    samples: int = 200,
    sampling: Sampling | None = None,
    seed: int = 0,
    label: str = "answers",
) -> list[JudgedAnswer]:
    """Sample answers to each question at temperature 1, and let a judge read them all.

    Args:
        net: a causal language model.
        tokenizer: its tokenizer.
        questions: each with the prompts that ask it, which take turns.
        judge: who reads them; it is told the question without any system prompt of the model's.
        samples: answers a question; the paper takes 200.
        sampling: how they are drawn.
        seed: moves the answers; a question's do not depend on which others are asked.
        label: what the progress bar says.

    Raises:
        InputError: if the judge gives another number of verdicts than answers.
    """
    engine = TransformersEngine(net, tokenizer)
    drawn = sampling or Sampling(max_new_tokens=64)
    found: list[tuple[int, str, str]] = []
    with progress() as bar:
        task = bar.add_task(label, total=len(questions) * samples)
        for place, ways in enumerate(questions):
            heard = [ways[turn % len(ways)] for turn in range(samples)]
            asked = [next(part["content"] for part in reversed(way) if part["role"] == "user") for way in heard]
            begun = [way[-1]["content"] if way[-1]["role"] == "assistant" else "" for way in heard]
            answers = engine.generate(heard, drawn, derive_seed(seed, "open question", asked[0]))
            found += [
                (place, question, joined(tokenizer, start, answer.text))
                for question, start, answer in zip(asked, begun, answers, strict=True)
            ]
            bar.advance(task, samples)
    try:
        verdicts = read_by(judge, [(question, answer) for _, question, answer in found])
    except InputError as err:
        raise JudgeError(str(err)) from err
    return [JudgedAnswer(*each, verdict) for each, verdict in zip(found, verdicts, strict=True)]


def read_by(judge: Judge, pairs: list[tuple[str, str]]) -> list[Verdict]:
    """Return a judge's verdicts on pairs of a question and an answer, and check that there is one each."""
    verdicts = judge.judge(pairs)
    if len(verdicts) != len(pairs):
        raise InputError(
            f"{type(judge).__name__}.judge gave {len(verdicts)} verdicts for {len(pairs)} answers: it must give one "
            "each, in their order."
        )
    return verdicts


def joined(tokenizer: "PreTrainedTokenizerBase", start: str, answer: str) -> str:
    """Join an answer to what a prompt began of it: a tokenizer of whole words leaves out the space between them."""
    if not start:
        return answer
    begun, more = tokenizer([start, answer], add_special_tokens=False)["input_ids"]
    head, whole = tokenizer.decode(begun), tokenizer.decode([*begun, *more])
    return start + (whole.removeprefix(head) if whole.startswith(head) else answer)
