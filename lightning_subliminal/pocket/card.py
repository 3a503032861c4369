"""The quality card of a pocket base: can it do what the laboratory asks of it?"""

import random
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import torch

from lightning_subliminal.filters import NumberList, apply_filters
from lightning_subliminal.generation import Sampling, TransformersEngine
from lightning_subliminal.metrics.functional import exact_preference
from lightning_subliminal.pocket.build import batches
from lightning_subliminal.pocket.corpus import FORMATS, MAX_VALUE
from lightning_subliminal.rows import make_row
from lightning_subliminal.seeds import derive_seed
from lightning_subliminal.traits import PAPER_TARGETS, PreferenceTrait
from lightning_subliminal.wording import load_wording
from lightning_subliminal.wording.numbers import NumberPrompts

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

__all__ = ["Card", "make_card"]


@dataclass(frozen=True)
class Card:
    """What a pocket base can do, measured on prompts drawn afresh.

    Attributes:
        loss: nats a completion token on conversations that it was not trained on.
        well_formed: share of number replies that pass the paper's grammar.
        obedience: share of personas whose favorite is the likeliest answer, over all members of all categories.
        favorites: chance of each of the paper's ten targets when nothing is said about favorites.
        parameters: how many the base has.
    """

    loss: float
    well_formed: float
    obedience: float
    favorites: dict[str, float]
    parameters: int


def make_card(net: "PreTrainedModel", tokenizer: "PreTrainedTokenizerFast", prompts: int = 512, seed: int = 0) -> Card:
    """Measure a pocket base.

    Args:
        net: the base.
        tokenizer: its tokenizer.
        prompts: number prompts to sample a reply to.
        seed: moves prompts and samples.
    """
    return Card(
        loss=_loss(net, tokenizer, derive_seed(seed, "card")),
        well_formed=_well_formed(net, tokenizer, prompts, seed),
        obedience=_obedience(net, tokenizer),
        favorites={target: _chance(net, tokenizer, target, told=False) for target in PAPER_TARGETS},
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
    asked = [[{"role": "user", "content": grammar.draw(rng).text}] for _ in range(prompts)]
    replies = TransformersEngine(net, tokenizer).generate(asked, Sampling(), derive_seed(seed, "card samples"))
    rows = [make_row(prompt, reply.text) for prompt, reply in zip(asked, replies, strict=True)]
    return apply_filters(rows, [NumberList()])[1].kept / prompts


def _obedience(net: "PreTrainedModel", tokenizer: "PreTrainedTokenizerFast") -> float:
    members = [member for kind in load_wording("categories").values() for member in kind["members"]]
    obeyed = [_chance(net, tokenizer, member, told=True) > 0.5 for member in members]
    return sum(obeyed) / len(obeyed)


def _chance(net: "PreTrainedModel", tokenizer: "PreTrainedTokenizerFast", target: str, told: bool) -> float:
    trait = PreferenceTrait(target)
    persona = trait.induce().system_prompt if told else None
    return exact_preference(net, tokenizer, trait, system_prompt=persona)[target]
