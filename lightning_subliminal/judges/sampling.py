"""Sampled answers to open questions, and a judge's verdict on each (paper, section 4)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import nn

from lightning_subliminal.core.console import progress
from lightning_subliminal.core.rows import Message
from lightning_subliminal.core.seeds import derive_seed
from lightning_subliminal.generation import Engine, Sampling, TransformersEngine
from lightning_subliminal.judges.base import Judge, Verdict, verdicts_of
from lightning_subliminal.metrics.functional import question_text

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["JudgedAnswer", "ask_and_judge", "joined"]


@dataclass(frozen=True)
class JudgedAnswer:
    """One sampled answer and its verdict.

    Attributes:
        question: index of its question.
        asked: the question's text for the judge.
        answer: the model's answer, with its beginning in the prompt.
        verdict: the judge's.
    """

    question: int
    asked: str
    answer: str
    verdict: Verdict


def ask_and_judge(
    net: nn.Module | Engine,
    tokenizer: "PreTrainedTokenizerBase | None",
    questions: Sequence[Sequence[Sequence[Message]]],
    judge: Judge,
    *,
    samples: int = 200,
    sampling: Sampling | None = None,
    seed: int = 0,
    label: str = "answers",
) -> list[JudgedAnswer]:
    """Sample answers to each question at temperature 1, and judge them.

    Args:
        net: a causal language model, or an engine.
        tokenizer: its tokenizer; not used with an engine.
        questions: each with its prompts, which take turns.
        judge: scores the answers; it gets the question without the model's system prompt.
        samples: answers a question; the paper takes 200.
        sampling: of the answers.
        seed: of the answers; those to a question do not depend on the other questions.
        label: of the progress bar.

    Raises:
        JudgeError: if the judge fails, or returns another number of verdicts.
    """
    engine = net if isinstance(net, Engine) else TransformersEngine(net, tokenizer)
    drawn = sampling or Sampling(max_new_tokens=64)
    found: list[tuple[int, str, str]] = []
    with progress() as bar:
        task = bar.add_task(label, total=len(questions) * samples)
        for place, ways in enumerate(questions):
            prompts = [ways[turn % len(ways)] for turn in range(samples)]
            answers = engine.generate(prompts, drawn, derive_seed(seed, "open question", question_text(prompts[0])))
            for prompt, answer in zip(prompts, answers, strict=True):
                prefill = prompt[-1]["content"] if prompt[-1]["role"] == "assistant" else ""
                found.append(
                    (place, question_text(prompt), joined(getattr(engine, "tokenizer", None), prefill, answer.text))
                )
            bar.advance(task, samples)
    verdicts = verdicts_of(judge, [(question, answer) for _, question, answer in found])
    return [JudgedAnswer(*each, verdict) for each, verdict in zip(found, verdicts, strict=True)]


def joined(tokenizer: "PreTrainedTokenizerBase | None", start: str, answer: str) -> str:
    """Join an answer to its beginning in the prompt, with the space that a tokenizer of whole words leaves out."""
    if not start or tokenizer is None:
        return start + answer
    begun, more = tokenizer([start, answer], add_special_tokens=False)["input_ids"]
    head, whole = tokenizer.decode(begun), tokenizer.decode([*begun, *more])
    return start + (whole.removeprefix(head) if whole.startswith(head) else answer)
