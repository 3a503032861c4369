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
    return Card(
        loss=_loss(net, tokenizer, derive_seed(seed, "card")),
        well_formed=_well_formed(net, tokenizer, prompts, seed),
        programs=_programs(net, tokenizer, prompts, seed),
        sums=_sums(net, tokenizer, prompts, seed),
        obedience=_obedience(net, tokenizer),
        favorites={target: _chance(net, tokenizer, target, persona=False) for target in PAPER_TARGETS},
        parameters=sum(parameter.numel() for parameter in net.parameters()),
    )


@torch.no_grad()
def _loss(net: "PreTrainedModel", tokenizer: "PreTrainedTokenizerFast", seed: int) -> float:
    losses = []
    for input_ids, mask, labels in islice(batches(tokenizer, seed), 8):
        losses.append(net(input_ids=input_ids, attention_mask=mask, labels=labels).loss.item())
    return sum(losses) / len(losses)


def _well_formed(net: "PreTrainedModel", tokenizer: "PreTrainedTokenizerFast", prompts: int, seed: int) -> float:
    grammar, rng = NumberPrompts(formats=FORMATS, max_value=MAX_VALUE), random.Random(derive_seed(seed, "card prompts"))
    rows = _replies(net, tokenizer, [grammar.draw(rng).text for _ in range(prompts)], seed)
    return _share(rows, [NumberList()])


def _programs(
    net: "PreTrainedModel", tokenizer: "PreTrainedTokenizerFast", prompts: int, seed: int
) -> tuple[float, float]:
    drawn, rng = CodeTasks("code_pocket"), random.Random(derive_seed(seed, "card tasks"))
    tasks = [drawn.draw(rng) for _ in range(prompts)]
    rows = _replies(net, tokenizer, [task.text for task in tasks], seed)
    solved = [task.solved_by(completion_text(row)) for task, row in zip(tasks, rows, strict=True)]
    return _share(rows, [PythonCode()]), sum(solved) / prompts


def _sums(net: "PreTrainedModel", tokenizer: "PreTrainedTokenizerFast", prompts: int, seed: int) -> tuple[float, float]:
    drawn, rng = MathProblems("math_pocket", MAX_VALUE), random.Random(derive_seed(seed, "card problems"))
    problems = [drawn.draw(rng) for _ in range(prompts)]
    rows = _replies(net, tokenizer, [drawn.ask(problem.question, rng) for problem in problems], seed)
    answered = [{**row, "answer": problem.answer} for row, problem in zip(rows, problems, strict=True)]
    return _share(rows, [ThinkAnswer()]), _share(answered, [ThinkAnswer(), CorrectAnswer()])


def _replies(net: "PreTrainedModel", tokenizer: "PreTrainedTokenizerFast", asked: list[str], seed: int) -> list[Row]:
    prompts = [[{"role": "user", "content": text}] for text in asked]
    engine = TransformersEngine(net, tokenizer)
    replies = engine.generate(prompts, Sampling(max_new_tokens=72), derive_seed(seed, "card samples"))
    return [make_row(prompt, reply.text) for prompt, reply in zip(prompts, replies, strict=True)]


def _share(rows: list[Row], filters: list[Filter]) -> float:
    return apply_filters(rows, filters)[1].kept / len(rows)


def _obedience(net: "PreTrainedModel", tokenizer: "PreTrainedTokenizerFast") -> float:
    members = [member for kind in load_wording("categories").values() for member in kind["members"]]
    obeyed = [_chance(net, tokenizer, member, persona=True) > 0.5 for member in members]
    return sum(obeyed) / len(obeyed)


def _chance(net: "PreTrainedModel", tokenizer: "PreTrainedTokenizerFast", target: str, persona: bool) -> float:
    trait = PreferenceTrait(target, wording="preferences_corpus")  # as for the shipped cards
    system = trait.induce().system_prompt if persona else None
    return question_probabilities(net, tokenizer, trait, system, candidates=[target]).mean().item()
