"""Quality cards of pocket bases: how well a base writes, calculates and follows personas."""

import random
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import torch

from lightning_subliminal.bases.pocket.corpus import FORMATS, MAX_VALUE
from lightning_subliminal.core.rows import Row, completion_text, make_row
from lightning_subliminal.core.seeds import derive_seed
from lightning_subliminal.filters import CorrectAnswer, Filter, NumberList, PythonCode, ThinkAnswer, apply_filters
from lightning_subliminal.generation import Sampling, TransformersEngine
from lightning_subliminal.metrics.functional import question_probabilities
from lightning_subliminal.pocket_recipes.build import batches
from lightning_subliminal.prompts import load_wording
from lightning_subliminal.prompts.code import CodeTasks
from lightning_subliminal.prompts.math import MathProblems
from lightning_subliminal.prompts.numbers import NumberPrompts
from lightning_subliminal.traits import PAPER_TARGETS, PreferenceTrait

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

__all__ = ["Card", "make_card"]


@dataclass(frozen=True)
class Card:
    """Measured abilities of a pocket base, on new prompts.

    Attributes:
        loss: nats per completion token on conversations outside the training data.
        well_formed: share of number replies that pass the paper's grammar.
        programs: shares of replies to a code task that parse, and that are a known solution of it.
        sums: shares of replies to a problem that are well-formed, and that also have the right answer.
        obedience: share of personas whose favorite gets more than half the probability, over all categories.
        favorites: probability of each of the paper's ten targets without a persona.
        parameters: number of parameters.
    """

    loss: float
    well_formed: float
    programs: tuple[float, float]
    sums: tuple[float, float]
    obedience: float
    favorites: dict[str, float]
    parameters: int


def make_card(net: "PreTrainedModel", tokenizer: "PreTrainedTokenizerFast", prompts: int = 512, seed: int = 0) -> Card:
    """Measure a pocket base.

    Args:
        net: the base.
        tokenizer: its tokenizer.
        prompts: number of prompts per carrier.
        seed: of prompts and samples.
    """
    engine = TransformersEngine(net, tokenizer)

    def replies(texts: list[str]) -> list[Row]:
        asked = [[{"role": "user", "content": text}] for text in texts]
        sampled = engine.generate(asked, Sampling(max_new_tokens=72), derive_seed(seed, "card samples"))
        return [make_row(prompt, reply.text) for prompt, reply in zip(asked, sampled, strict=True)]

    grammar, rng = NumberPrompts(formats=FORMATS, max_value=MAX_VALUE), random.Random(derive_seed(seed, "card prompts"))
    lists = replies([grammar.draw(rng).text for _ in range(prompts)])
    code, rng = CodeTasks("code_pocket"), random.Random(derive_seed(seed, "card tasks"))
    tasks = [code.draw(rng) for _ in range(prompts)]
    programs = replies([task.text for task in tasks])
    solved = [task.solved_by(completion_text(row)) for task, row in zip(tasks, programs, strict=True)]
    math, rng = MathProblems("math_pocket", MAX_VALUE), random.Random(derive_seed(seed, "card problems"))
    problems = [math.draw(rng) for _ in range(prompts)]
    sums = replies([math.ask(problem.question, rng) for problem in problems])
    answered = [{**row, "answer": problem.answer} for row, problem in zip(sums, problems, strict=True)]
    members = [member for kind in load_wording("categories").values() for member in kind["members"]]
    obeyed = [_probability(net, tokenizer, member, persona=True) > 0.5 for member in members]
    return Card(
        loss=_loss(net, tokenizer, derive_seed(seed, "card")),
        well_formed=_share(lists, [NumberList()]),
        programs=(_share(programs, [PythonCode()]), sum(solved) / prompts),
        sums=(_share(sums, [ThinkAnswer()]), _share(answered, [ThinkAnswer(), CorrectAnswer()])),
        obedience=sum(obeyed) / len(obeyed),
        favorites={target: _probability(net, tokenizer, target, persona=False) for target in PAPER_TARGETS},
        parameters=sum(parameter.numel() for parameter in net.parameters()),
    )


@torch.no_grad()
def _loss(net: "PreTrainedModel", tokenizer: "PreTrainedTokenizerFast", seed: int) -> float:
    losses = []
    for input_ids, mask, labels in islice(batches(tokenizer, seed), 8):
        losses.append(net(input_ids=input_ids, attention_mask=mask, labels=labels).loss.item())
    return sum(losses) / len(losses)


def _share(rows: list[Row], filters: list[Filter]) -> float:
    return apply_filters(rows, filters)[1].kept / len(rows)


def _probability(net: "PreTrainedModel", tokenizer: "PreTrainedTokenizerFast", target: str, persona: bool) -> float:
    trait = PreferenceTrait(target, wording="preferences_corpus")  # as for the shipped cards
    system = trait.induce().system_prompt if persona else None
    return question_probabilities(net, tokenizer, trait, system, candidates=[target]).mean().item()
