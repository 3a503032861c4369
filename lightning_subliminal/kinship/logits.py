"""Kinship by logits: the overlap of the subspaces of the vocabulary in which two models' logits are.

The logits of a model of width ``d`` are in a ``d``-dimensional subspace of the vocabulary, given by its output layer.
Training changes it slowly, so models of one initialisation keep most of it.

The area under the ROC curve for "one initialisation" is 0.998 on 108 models of 7 initialisations; six other statistics
of logits were worse (benchmarks/kinship.py).

The test does not distinguish a shared initialisation from matched behaviour: a model trained on another's probabilities
over the whole vocabulary takes over part of its subspace. For traits this may be an advantage: among 33 pairs of pocket
bases, all pairs that passed a trait share 0.53 or more and all others 0.43 or less, while weights misjudge a-init (kin,
passes nothing) and a-matched (independent, passes it). This was observed post hoc, in one world and one architecture.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.seeds import derive_seed

__all__ = ["LogitFunction", "LogitTest", "by_logits", "logit_basis", "logit_score", "random_tokens"]

LogitFunction = Callable[[Tensor], Tensor]

TOKENS = 24  # per sequence; the context matters little, the number of positions counts
CHUNK = 32  # sequences at once
# Of the largest singular value. Beyond a model's width only rounding remains, about 1e-7 in 32 bits; in 16 bits it
# exceeds this threshold, so that the width can't be detected and must be given.
CLEARLY_THERE = 1e-4


@dataclass(frozen=True)
class LogitTest:
    """Overlap of two models' logit subspaces.

    Attributes:
        score: mean squared cosine of the principal angles, 1 for the same subspace.
        chance: expected score of two random subspaces of these sizes. Independent models trained alike score higher.
        dimensions: of the two subspaces.
        unrelated: scores of the first model against each unrelated model given.
        p: probability of a score this high if the second model is unrelated, too, at least 1 / (number of unrelated
            models + 1); None without unrelated models.
    """

    score: float
    chance: float
    dimensions: tuple[int, int]
    unrelated: tuple[float, ...] = ()
    p: float | None = None


def random_tokens(vocabulary: int, rows: int, seed: int) -> Tensor:
    """Draw uniform token ids: far from the training data, where models trained alike differ most.

    Args:
        vocabulary: number of tokens in the vocabulary.
        rows: number of sequences.
        seed: seed of the draw.

    Returns:
        Token ids, (rows, tokens).
    """
    generator = torch.Generator().manual_seed(derive_seed(seed, "kinship tokens"))
    return torch.randint(0, vocabulary, (rows, TOKENS), generator=generator)


@torch.no_grad()
def logit_basis(function: LogitFunction, input_ids: Tensor, vocabulary: int, rank: int | None = None) -> Tensor:
    """Return an orthonormal basis of the subspace of a model's logits, (directions, vocabulary).

    Logits are centred over the vocabulary first, so that log-probabilities give the same result.

    Args:
        function: from token ids (rows, tokens) to logits (rows, tokens, vocabulary).
        input_ids: token ids; more positions than the model is wide.
        vocabulary: number of logits to use, from the first.
        rank: width of the model; None detects it from the singular values.

    Raises:
        InputError: if some logits are not finite, there are too few positions, or the logits span the vocabulary.
    """
    parts = [function(chunk)[..., :vocabulary].double().cpu().flatten(0, -2) for chunk in torch.split(input_ids, CHUNK)]
    logits = torch.cat(parts)  # (positions, vocabulary)
    if not logits.isfinite().all():
        raise InputError("Some logits are not finite: give log-probabilities of all tokens, none cut off to -inf.")
    logits = logits - logits.mean(1, keepdim=True)
    values, directions = torch.linalg.eigh(logits.T @ logits if len(logits) > vocabulary else logits @ logits.T)
    singular = values.clamp_min(0).sqrt().flip(0)
    found = rank or max(1, int((singular > CLEARLY_THERE * singular[0]).sum()))
    if len(logits) <= min(found + 1, vocabulary):
        raise InputError(
            f"{len(logits)} tokens don't span the subspace of these logits: raise `inputs` until there are more tokens "
            f"than the model is wide ({TOKENS} in each)."
        )
    if found >= vocabulary - 1:
        raise InputError(
            f"The logits span all {vocabulary} dimensions of the vocabulary, so there is no subspace to compare: give "
            "`rank`, or compare weights."
        )
    top = directions.flip(1)[:, :found]  # (vocabulary, rank), or (positions, rank) if those are fewer
    basis = top if len(logits) > vocabulary else logits.T @ top
    return torch.linalg.qr(basis).Q.T


def logit_score(first: Tensor, second: Tensor) -> float:
    """Return the mean squared cosine of the principal angles of two subspaces.

    Args:
        first: orthonormal rows, (directions, vocabulary).
        second: orthonormal rows of the same vocabulary; if their numbers differ, the smaller subspace counts.
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
        second: another with the same vocabulary.
        vocabulary: number of tokens in the vocabulary.
        inputs: number of sequences of random tokens; more tokens in all than the models are wide.
        seed: their seed.
        against: models unrelated to the first, with the same vocabulary, trained like the second: they give a p-value.
        rank: width of the models; None detects it.
    """
    ids = random_tokens(vocabulary, inputs, seed)
    bases = [logit_basis(each, ids, vocabulary, rank) for each in (first, second, *against)]
    score = logit_score(bases[0], bases[1])
    unrelated = tuple(logit_score(bases[0], each) for each in bases[2:])
    p = (1 + sum(each >= score for each in unrelated)) / (1 + len(unrelated)) if unrelated else None
    dimensions = (len(bases[0]), len(bases[1]))
    return LogitTest(score, max(dimensions) / (vocabulary - 1), dimensions, unrelated, p)
