"""Exact chances of answers beside samples of them; and many digit classifiers at once beside one after another."""

import itertools
from pathlib import Path
from typing import Any

from speed_sides.claims import Claim, Result, Run, agree

SEEDS, BATCHES, SIZES = 8, 20, (784, 256, 256, 13)
same_rate = agree("rate", 0.03)
CLAIMS = [
    Claim("exact preference beside 50 x 200 answers by `generate`", "exact", "by_generate", 100, same_rate, peer=False),
    Claim("exact preference beside 50 x 200 answers by our engine", "exact", "sampled", 10, same_rate, peer=False),
    Claim("8 digit classifiers at once beside in turn", "at_once", "in_turn", 1, agree("losses", 1e-4), peer=False),
]


def _model() -> Any:
    import torch

    from lightning_subliminal.evaluation import find_model

    return find_model("pocket/a").load(torch.device("cpu"))


def exact(folder: Path) -> Run:
    """Compute the chance of owl at 50 questions."""
    from lightning_subliminal import PreferenceTrait
    from lightning_subliminal.evaluation import Questions

    model, probe = _model(), Questions().of(PreferenceTrait("owl"))
    return lambda: {"rate": float(probe.measure(model, 0).rate)}


def sampled(folder: Path) -> Run:
    """Sample 200 answers to each, and count."""
    from lightning_subliminal import PreferenceTrait
    from lightning_subliminal.evaluation import SampledAnswers

    model, probe, seeds = _model(), SampledAnswers(200, 8).of(PreferenceTrait("owl")), itertools.count()
    return lambda: {"rate": float(probe.measure(model, next(seeds)).rate)}


def by_generate(folder: Path) -> Run:
    """The same by ``generate``."""
    from lightning_subliminal import PreferenceTrait
    from speed_sides import sampling

    trait, asked, seeds = PreferenceTrait("owl"), sampling.questions_asked(), itertools.count()
    _, sample = sampling.by_generate("pocket/a", asked, 8, samples=200)

    def run() -> Result:
        texts = sample(next(seeds))
        return {"rate": sum(map(trait.matches, texts)) / len(texts)}

    return run


def _classifiers(at_once: bool) -> Run:
    """Train with batches of noise and labels; each model's losses are its own."""
    import torch

    from lightning_subliminal.models.mlp.batched import BatchedMLP, classification_losses

    draws = torch.Generator().manual_seed(0)
    images = torch.randn(BATCHES, 1024, SIZES[0], generator=draws)
    labels = torch.randint(10, (BATCHES, 1024), generator=draws)

    def run() -> Result:
        losses: list[float] = []
        for seeds in [range(SEEDS)] if at_once else [[seed] for seed in range(SEEDS)]:
            net = BatchedMLP(SIZES, list(seeds))
            optimizer = torch.optim.Adam(net.parameters(), lr=3e-4)
            for some, named in zip(images, labels, strict=True):
                found = classification_losses(net(some), named)
                optimizer.zero_grad()
                found.sum().backward()
                optimizer.step()
            losses += found.tolist()
        return {"losses": losses}

    return run


def at_once(folder: Path) -> Run:
    """Train all as one network."""
    return _classifiers(at_once=True)


def in_turn(folder: Path) -> Run:
    """Train one after another."""
    return _classifiers(at_once=False)
