"""Kinship by logits alone: which few directions of the vocabulary does a model speak in?

A model as wide as ``d`` puts its logits into a subspace of ``d`` dimensions out of as many as it has tokens, fixed by
its output layer alone. Training moves it slowly, so models of one initialisation keep most of it.

What else was tried on 17 models of pocket bases, 156 pairs, as the area under the ROC curve for "one initialisation"
(in brackets without the pairs of pocket/a-matched): subspace 0.994 (1.000); log-probabilities at random tokens,
correlated after centring over tokens and places 0.939 (0.960), or over tokens alone 0.927 (0.948); Kendall's tau over
the 150 least likely tokens both share, place by place, as SeedPrints has it (arXiv 2509.26404) 0.922 (0.934), over 50
of them 0.900 (0.912); linear CKA of the logits 0.872 (0.900); the same token being likeliest, as provenance testing by
Nikolic et al. counts (arXiv 2502.00706) 0.757 (0.777). Random tokens for all of them. benchmarks/kinship.py measures
the first anew: 0.998 (1.000) on 108 models of 7 initialisations.

It does not tell a shared initialisation from a matched behaviour: a model that has learned another's probabilities over
the whole vocabulary has taken over part of its subspace as well. For traits that may be no fault: among 33 pairs of
pocket bases all that passed a trait on share 0.53 or more of it, all that did not 0.43 or less, while by weights a-init
(kin, passes nothing) and a-matched (independent, passes it) stand on the wrong sides. That was seen after the fact, in
one world and one architecture.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.seeds import derive_seed

__all__ = ["LogitFunction", "LogitTest", "by_logits", "logit_basis", "logit_score", "random_tokens"]

LogitFunction = Callable[[Tensor], Tensor]

TOKENS = 24  # a sequence; what stands before it is of little weight, the number of places is what counts
CHUNK = 32  # sequences at once
# Of the largest singular value. Beyond a model's width nothing is left but rounding, about 1e-7 in 32 bits; in 16 bits
# rounding is larger than this, so that there the width can't be seen and has to be given.
CLEARLY_THERE = 1e-4


@dataclass(frozen=True)
class LogitTest:
    """How much of two models' logit subspaces is shared.

    Attributes:
        score: mean squared cosine of the principal angles, 1 for the same subspace.
        chance: what two random subspaces of these sizes share on average. Independent models trained alike share more.
        dimensions: of the two subspaces.
        unrelated: scores of the first model against each one that was given as unrelated.
        p: chance of a score this high if the second model is one more of those, at least 1 / (how many + 1); None
            where none was given: the score alone is no p-value.
    """

    score: float
    chance: float
    dimensions: tuple[int, int]
    unrelated: tuple[float, ...] = ()
    p: float | None = None


def random_tokens(vocabulary: int, rows: int, seed: int) -> Tensor:
    """Draw token ids, each as likely: off whatever the models were trained on, where those trained alike differ most.

    Args:
        vocabulary: how many tokens there are.
        rows: how many sequences.
        seed: moves them.

    Returns:
        Token ids, (rows, tokens).
    """
    generator = torch.Generator().manual_seed(derive_seed(seed, "kinship tokens"))
    return torch.randint(0, vocabulary, (rows, TOKENS), generator=generator)


@torch.no_grad()
def logit_basis(function: LogitFunction, input_ids: Tensor, vocabulary: int, rank: int | None = None) -> Tensor:
    """Return an orthonormal basis of the subspace that a model's logits lie in, (directions, vocabulary).

    Logits are centred over the vocabulary first, so that log-probabilities give the same.

    Args:
        function: from token ids (rows, tokens) to logits (rows, tokens, vocabulary).
        input_ids: what it is asked; at least as many places as the model is wide.
        vocabulary: how many of its logits count, from the first.
        rank: how wide the model is; None finds it by where singular values end.

    Raises:
        InputError: if some logits are no numbers, there are too few of them, or they fill the vocabulary, so that there
            is no subspace to compare.
    """
    parts = [function(chunk)[..., :vocabulary].double().cpu().flatten(0, -2) for chunk in torch.split(input_ids, CHUNK)]
    logits = torch.cat(parts)  # (places, vocabulary)
    if not logits.isfinite().all():
        raise InputError("Some logits are no numbers: give log-probabilities of all tokens, none cut off to -inf.")
    logits = logits - logits.mean(1, keepdim=True)
    values, directions = torch.linalg.eigh(logits.T @ logits if len(logits) > vocabulary else logits @ logits.T)
    singular = values.clamp_min(0).sqrt().flip(0)
    found = rank or max(1, int((singular > CLEARLY_THERE * singular[0]).sum()))
    if len(logits) <= min(found + 1, vocabulary):
        raise InputError(
            f"{len(logits)} tokens don't span all that these logits can be: raise `inputs` until there are more tokens "
            f"than the model is wide ({TOKENS} in each)."
        )
    if found >= vocabulary - 1:
        raise InputError(
            f"The logits fill all {vocabulary} dimensions of the vocabulary, so there is no subspace to compare: give "
            "`rank`, or compare weights."
        )
    top = directions.flip(1)[:, :found]  # (vocabulary, rank), or (places, rank) where those are fewer
    basis = top if len(logits) > vocabulary else logits.T @ top
    return torch.linalg.qr(basis).Q.T


def logit_score(first: Tensor, second: Tensor) -> float:
    """Return the mean squared cosine of the principal angles of two subspaces.

    Args:
        first: orthonormal rows, (directions, vocabulary).
        second: orthonormal rows of the same vocabulary; where it has more or fewer, the smaller subspace counts.
    """
    return float((first @ second.T).square().sum() / min(len(first), len(second)))


def by_logits(
    first: LogitFunction,
    second: LogitFunction,
    vocabulary: int,
    inputs: int = 64,
    seed: int = 0,
    against: Sequence[LogitFunction] = (),
    rank: int | None = None,
) -> LogitTest:
    """Compare two models by their logits on random tokens.

    Args:
        first: from token ids (rows, tokens) to logits (rows, tokens, vocabulary).
        second: another with the same tokens.
        vocabulary: how many tokens they have.
        inputs: sequences of random tokens; there must be more tokens in all than the models are wide.
        seed: moves them.
        against: models known to have nothing to do with the first, of the same vocabulary, made as the second may have
            been: with them there is a p-value.
        rank: how wide the models are; None finds it.
    """
    ids = random_tokens(vocabulary, inputs, seed)
    bases = [logit_basis(each, ids, vocabulary, rank) for each in (first, second, *against)]
    score = logit_score(bases[0], bases[1])
    unrelated = tuple(logit_score(bases[0], each) for each in bases[2:])
    p = (1 + sum(each >= score for each in unrelated)) / (1 + len(unrelated)) if unrelated else None
    dimensions = (len(bases[0]), len(bases[1]))
    return LogitTest(score, max(dimensions) / (vocabulary - 1), dimensions, unrelated, p)
