"""What `test` does: asks a model the questions of a trait, by its probabilities and by samples beside them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.table import Table
from torch import nn

from lightning_subliminal.generation import Sampling, TransformersEngine
from lightning_subliminal.metrics import ExactPreference, TraitPreferenceRate
from lightning_subliminal.rows import Message

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["preference_table", "sample_answers"]

ANSWERS = 20  # sampled a question; the paper takes 100, which the exact probabilities make unnecessary
ANSWER_TOKENS = 16


def sample_answers(
    net: nn.Module,
    tokenizer: "PreTrainedTokenizerBase",
    questions: Sequence[Sequence[Sequence[Message]]],
    system_prompt: str | None,
    seed: int,
) -> list[str]:
    """Sample answers at temperature 1, as many to each question, in turn over its prompts.

    Args:
        net: a causal language model.
        tokenizer: its tokenizer.
        questions: each with the prompts that ask it, as ``prompts_by_question`` gives them.
        system_prompt: what the model is told first.
        seed: the same one gives the same answers.
    """
    start = [{"role": "system", "content": system_prompt}] if system_prompt else []
    prompts = [[*start, *ways[turn % len(ways)]] for ways in questions for turn in range(ANSWERS)]
    made = TransformersEngine(net, tokenizer).generate(prompts, Sampling(max_new_tokens=ANSWER_TOKENS), seed)
    return [answer.text for answer in made]


def preference_table(exact: ExactPreference, sampled: TraitPreferenceRate, others: int = 5) -> Table:
    """Draw what two metrics have seen: the target by both ways, then the off-target candidates liked best.

    Each process must call it: the metrics add up over them.
    """
    trait = exact.trait
    table = Table(title=f"How often is the answer {trait.target}?")
    for name in ("what", "rate", "95 % interval"):
        table.add_column(name, justify="left" if name == "what" else "right")
    chances = exact.per_candidate()
    for name, rate, interval in (
        (f"{trait.target}, exact", chances[trait.target], exact.interval()),
        (f"{trait.target}, sampled", float(sampled.compute()), sampled.interval()),
    ):
        low, high = max(0.0, interval.low), min(1.0, interval.high)
        table.add_row(name, f"{rate:.1%}", f"{low:.1%} to {high:.1%}, {interval.unit}", style="bold")
    rest = sorted((each for each in chances if each != trait.target), key=lambda each: -chances[each])
    for candidate in rest[:others]:
        table.add_row(candidate, f"{chances[candidate]:.1%}", "")
    table.add_row("no answer, sampled", f"{float(sampled.non_answer_rate()):.1%}", "")
    return table
