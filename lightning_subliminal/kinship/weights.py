"""Kinship by weights: are the hidden units of two models those of one initialisation?

``by_place`` is phi_U and ``by_match`` is phi_MATCH of Zhu, Ahmed, Kuditipudi & Liang (ICML 2025, arXiv 2502.12292).
Both have two p-values: the published one, of a rank correlation, and that of the number of units matched to themselves,
whose distribution is known exactly. The rank correlation counts a wrong match as nearly right if its index is close: of
models with a ninth of their units left in place it detected 1 of 35, the count all (benchmarks/kinship.py). So
``by_place`` uses the count.

``by_match`` uses the rank correlation. Gate and up of a unit work together, so independent models that were trained
alike match a few units alike more often than chance: by the count 3 % of these pairs had p < 0.01, and 15 % by
activations. A few units change a rank correlation little: its p-values were uniform by weights and slightly too small
by activations (Kolmogorov-Smirnov 0.03 and 0.06 over 780 pairs, 1 % below 0.01). There, rely on the share of units.

The tests are one-sided, as kinship can only match a unit to its own place. ``by_place`` is valid for models drawn
independently, however they were trained: on the same rows, or one to imitate the other. So it shows nothing about
models that only behave alike. The tail of the count is exact; the order within one count is by Student's t, a good
approximation from eight units on. Equal layers of one model count once.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
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
    """The match of the hidden units of two layers.

    Attributes:
        layers: index of the layer in either model, from 0.
        units: number of units that could be matched.
        matched: number of units matched to themselves, or alike by gate and by up.
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
        log10_p: the valid one of the next two: that of the count for ``place``, else that of the ranks.
        count_log10_p: of the number of matched units, combined over layers by Fisher's method.
        rank_log10_p: of the rank correlation, combined likewise.
        share: share of the units that were matched.
        per_layer: the match of each layer.
    """

    method: Method
    log10_p: float
    count_log10_p: float
    rank_log10_p: float
    share: float
    per_layer: tuple[LayerMatch, ...]


def by_place(first: Sequence[GatedLayer], second: Sequence[GatedLayer]) -> WeightTest:
    """Test whether hidden units are matched to themselves by the rows of their up projections (phi_U).

    If the numbers of layers differ, each layer of the shallower model is compared with the layer of the other that fits
    best, its p-value multiplied by the number tried. If the numbers of hidden units differ, the rank correlation is
    used, since pruning preserves the order of the remaining units.

    Raises:
        InputError: if the models differ in width, so that their rows can't be compared.
    """
    return _over_layers("place", first, second, _place_match)


def by_match(
    first: Sequence[GatedLayer], second: Sequence[GatedLayer], method: Literal["moved", "activations"] = "moved"
) -> WeightTest:
    """Test whether gate and up projections match the same units of one model to the same ones of the other (phi_MATCH).

    It detects kinship also if hidden units were reordered or pruned (``moved``, by weights), or if the residual stream
    was permuted or rotated (``activations``, with layers from ``unit_activations``). Layers are paired as in
    ``by_place``. The p-value is not exact (see the module), so consider the share of units, too.

    Raises:
        InputError: if the models differ in width, so that their rows can't be compared.
    """
    return _over_layers(method, first, second, _alike_match)


def _cosines(one: Tensor, other: Tensor) -> np.ndarray:
    """Return cosines of rows, (rows of the smaller, rows of the larger)."""
    few, many = sorted((one, other), key=len)
    rows = [each / each.norm(dim=1, keepdim=True).clamp_min(1e-30) for each in (few, many)]
    return np.asarray((rows[0] @ rows[1].to(rows[0].device).T).cpu().numpy())


def _by_up(one: GatedLayer, other: GatedLayer, lot: tuple[int, ...]) -> np.ndarray:
    """Match the units of the smaller layer to those of the larger by their up projections.

    The sign is ignored: flipped both here and in the down projection, it leaves the function unchanged, so flips would
    be a free way to hide a model's origin.
    """
    return assign(np.abs(_cosines(one.up, other.up)), lot)


def _place_match(one: GatedLayer, other: GatedLayer, layers: tuple[int, int]) -> LayerMatch:
    found = _by_up(one, other, layers)
    wanted = np.arange(len(found))
    rho, published = rank_correlation_log_p(found.tolist(), wanted.tolist())
    matched, log_p = agreement_log_p(found, wanted, len(found)) if len(one.up) == len(other.up) else (0, published)
    return LayerMatch(layers, len(found), matched, rho, log_p / LN10, published / LN10)


def _alike_match(one: GatedLayer, other: GatedLayer, layers: tuple[int, int]) -> LayerMatch:
    by_gate, by_up = assign(_cosines(one.gate, other.gate), (*layers, 0)), _by_up(one, other, (*layers, 1))
    rho, published = rank_correlation_log_p(by_gate.tolist(), by_up.tolist())
    matched, log_p = agreement_log_p(by_gate, by_up, max(len(one.up), len(other.up)))
    return LayerMatch(layers, len(by_up), matched, rho, log_p / LN10, published / LN10)


def _over_layers(
    method: Method,
    first: Sequence[GatedLayer],
    second: Sequence[GatedLayer],
    match: Callable[[GatedLayer, GatedLayer, tuple[int, int]], LayerMatch],
) -> WeightTest:
    widths = first[0].up.shape[1], second[0].up.shape[1]
    if widths[0] != widths[1]:
        raise InputError(
            f"The models have widths {widths[0]} and {widths[1]}, so rows of their weights can't be compared; logits "
            "can, if both have one tokenizer (`--by logits`)."
        )
    is_swapped = len(first) > len(second)
    few, many = (second, first) if is_swapped else (first, second)
    found = []
    for place, layer in enumerate(few):
        if any(torch.equal(layer.up, earlier.up) for earlier in few[:place] if earlier.up.shape == layer.up.shape):
            continue  # a layer stored twice is not further evidence
        others = [place] if len(few) == len(many) else range(len(many))
        tried = [match(layer, many[at], (at, place) if is_swapped else (place, at)) for at in others]
        # Given the other model, each layer of this one is an independent draw, so the corrected p-values are, too.
        best, correction = min(tried, key=lambda each: each.count_log10_p), math.log10(len(tried))
        count, rank = min(0.0, best.count_log10_p + correction), min(0.0, best.rank_log10_p + correction)
        found.append(replace(best, count_log10_p=count, rank_log10_p=rank))
    count = fisher_log_p([each.count_log10_p * LN10 for each in found]) / LN10
    rank = fisher_log_p([each.rank_log10_p * LN10 for each in found]) / LN10
    share = sum(each.matched for each in found) / sum(each.units for each in found)
    return WeightTest(method, count if method == "place" else rank, count, rank, share, tuple(found))
