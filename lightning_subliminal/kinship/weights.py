"""Kinship by weights: are the hidden units of two models still those of one initialisation?

``by_place`` is phi_U and ``by_match`` is phi_MATCH of Zhu, Ahmed, Kuditipudi & Liang (ICML 2025, arXiv 2502.12292).
Both are given with the published p-value, of a rank correlation, and with another: how many units are matched to
themselves, for which the chance is known exactly. A rank correlation takes a unit that is matched wrongly for nearly
right if its number is close: of models with a ninth of their units left in place it found 1 of 35, and the count found
all (benchmarks/kinship.py). So ``by_place`` goes by the count.

``by_match`` goes by the rank correlation. Gate and up of one unit work together, and in models that were trained alike,
though drawn independently, both match a few units alike more often than chance has it: by the count 3 % of such pairs
had a p below 0.01, and 15 % by activations. Rank correlations are moved little by a few units: uniform by weights, a
little too small by activations (Kolmogorov-Smirnov 0.03 and 0.06 over 780 pairs, 1 % below 0.01). There the share of
the units is what can be trusted.

One-sided, as kinship can only bring a unit to its own place. ``by_place`` holds for models that were drawn
independently, however they were trained: on the same rows, or one to imitate the other. So it says nothing about
models that only behave alike. The tail over counts is exact; the order within one count is by Student's t, an
approximation that is good from eight units on. Equal layers of one model count once.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.kinship.permutations import agreement_log_p, assign, fisher_log_p, rank_correlation_log_p
from lightning_subliminal.kinship.units import GatedLayer

__all__ = ["LayerMatch", "WeightTest", "by_match", "by_place"]

Method = Literal["place", "moved", "activations"]
LN10 = math.log(10)


@dataclass(frozen=True)
class LayerMatch:
    """What the hidden units of two layers say.

    Attributes:
        layers: number of the layer in either model, from 0.
        units: how many units could be matched.
        matched: how many were matched to themselves, or alike by gate and by up.
        rank_correlation: of the matching with the identity, or of the two matchings: the published statistic.
        count_log10_p: of ``matched``.
        rank_log10_p: of ``rank_correlation``.
    """

    layers: tuple[int, int]
    units: int
    matched: int
    rank_correlation: float
    count_log10_p: float
    rank_log10_p: float


@dataclass(frozen=True)
class WeightTest:
    """A test over all layers.

    Attributes:
        method: how units were matched.
        log10_p: which of the two below is a p-value: that of the count for ``place``, else that of the ranks.
        count_log10_p: of how many units are matched; Fisher's combination over layers, as the next.
        rank_log10_p: of the rank correlation.
        share: of the units, how many were matched.
        per_layer: what each layer says.
    """

    method: Method
    log10_p: float
    count_log10_p: float
    rank_log10_p: float
    share: float
    per_layer: tuple[LayerMatch, ...]


def by_place(first: Sequence[GatedLayer], second: Sequence[GatedLayer]) -> WeightTest:
    """Test whether hidden units are matched to themselves by the rows of their up projections (phi_U).

    Models with other numbers of layers: each layer of the one with fewer takes the layer of the other that fits best,
    its p-value times the number that were tried. Layers with other numbers of hidden units: pruned units leave the
    order of the rest as it was, so there the rank correlation counts, and units are matched by their order alone.

    Raises:
        InputError: if the models are of different width, so that their rows can't be compared.
    """
    return _over_layers("place", first, second, _place_match)


def by_match(
    first: Sequence[GatedLayer], second: Sequence[GatedLayer], method: Literal["moved", "activations"] = "moved"
) -> WeightTest:
    """Test whether gate and up projections match the same units of one model to the same ones of the other (phi_MATCH).

    Sees kinship where somebody has reordered the hidden units or cut some away. Rows are the projections' own
    (``moved``); with what ``unit_activations`` gives in the place of weights (``activations``) also where the residual
    stream was permuted or turned. Layers are paired as in ``by_place``.

    Its p-value is not exact (see above), so let the share of units count beside it.

    Raises:
        InputError: if the models are of different width, so that their rows can't be compared.
    """
    return _over_layers(method, first, second, _alike_match)


def _check_width(first: Sequence[GatedLayer], second: Sequence[GatedLayer]) -> None:
    one, other = first[0].up.shape[1], second[0].up.shape[1]
    if one != other:
        raise InputError(
            f"The models have {one} and {other} values a token, so rows of their weights can't be compared: use `by` "
            "logits."
        )


def _cosines(one: Tensor, other: Tensor) -> np.ndarray:
    rows = [each / each.norm(dim=1, keepdim=True).clamp_min(1e-30) for each in (one, other)]
    return np.asarray((rows[0] @ rows[1].to(rows[0].device).T).cpu().numpy())


def _by_gate(one: GatedLayer, other: GatedLayer, lot: tuple[int, ...]) -> np.ndarray:
    """Match the units of the layer with fewer to those of the other, by their gates."""
    few, many = (one.gate, other.gate) if len(one.gate) <= len(other.gate) else (other.gate, one.gate)
    return assign(_cosines(few, many), lot)


def _by_up(one: GatedLayer, other: GatedLayer, lot: tuple[int, ...]) -> np.ndarray:
    """Match the units of the layer with fewer to those of the other, by their up projections.

    Their sign is left out: with the opposite one here and in the down projection a unit does what it did, so that a
    model could be hidden for nothing.
    """
    few, many = (one.up, other.up) if len(one.up) <= len(other.up) else (other.up, one.up)
    return assign(np.abs(_cosines(few, many)), lot)


def _place_match(one: GatedLayer, other: GatedLayer, layers: tuple[int, int]) -> LayerMatch:
    found = _by_up(one, other, layers)
    wanted = np.arange(len(found))
    rho, published = rank_correlation_log_p(found.tolist(), wanted.tolist())
    matched, log_p = agreement_log_p(found, wanted, len(found)) if len(one.up) == len(other.up) else (0, published)
    return LayerMatch(layers, len(found), matched, rho, log_p / LN10, published / LN10)


def _alike_match(one: GatedLayer, other: GatedLayer, layers: tuple[int, int]) -> LayerMatch:
    by_gate, by_up = _by_gate(one, other, (*layers, 0)), _by_up(one, other, (*layers, 1))
    rho, published = rank_correlation_log_p(by_gate.tolist(), by_up.tolist())
    matched, log_p = agreement_log_p(by_gate, by_up, max(len(one.up), len(other.up)))
    return LayerMatch(layers, len(by_up), matched, rho, log_p / LN10, published / LN10)


def _times(match: LayerMatch, tried: int) -> LayerMatch:
    more = math.log10(tried)
    count, rank = min(0.0, match.count_log10_p + more), min(0.0, match.rank_log10_p + more)
    return LayerMatch(match.layers, match.units, match.matched, match.rank_correlation, count, rank)


def _over_layers(
    method: Method,
    first: Sequence[GatedLayer],
    second: Sequence[GatedLayer],
    match: Callable[[GatedLayer, GatedLayer, tuple[int, int]], LayerMatch],
) -> WeightTest:
    _check_width(first, second)
    turned = len(first) > len(second)
    few, many = (second, first) if turned else (first, second)
    found = []
    for place, layer in enumerate(few):
        if any(torch.equal(layer.up, earlier.up) for earlier in few[:place] if earlier.up.shape == layer.up.shape):
            continue  # a layer stored twice says the same twice
        others = [place] if len(few) == len(many) else range(len(many))
        tried = [match(layer, many[at], (at, place) if turned else (place, at)) for at in others]
        # Given the other model, each layer of this one is an independent draw, so the corrected p-values are, too.
        found.append(_times(min(tried, key=lambda each: each.count_log10_p), len(tried)))
    count = fisher_log_p([each.count_log10_p * LN10 for each in found]) / LN10
    rank = fisher_log_p([each.rank_log10_p * LN10 for each in found]) / LN10
    share = sum(each.matched for each in found) / sum(each.units for each in found)
    return WeightTest(method, count if method == "place" else rank, count, rank, share, tuple(found))
