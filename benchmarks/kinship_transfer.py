"""Kinship of two bases compared with the transfer between them, for benchmarks/kinship.py."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score
from torch import Tensor

from lightning_subliminal import bases
from lightning_subliminal.core.console import say
from lightning_subliminal.core.seeds import derive_seed
from lightning_subliminal.kinship import behaviour, by_logits, by_place, gated_layers
from lightning_subliminal.plans.report.files import read_rows

Cell = tuple[str, str, str, float]  # base of the teacher, of the student, target, transfer


def transfer(cells: Path, seed: int) -> dict[str, Any]:
    """Correlate kinship of teacher's and student's base with measured transfer, and print it."""
    measured: list[Cell] = []
    for row in read_rows(cells):
        pair = _bases_of(row)
        if pair is not None and row.get("transfer") is not None:
            measured.append((*pair, str(row.get("axis target")), float(row["transfer"])))
    if not measured:
        raise SystemExit(f"{cells} has no cells of same_base_only, half_a_base or how_matched with `transfer`.")
    nets = {
        name: bases.load(name, dtype="float32") for name in sorted({name for each in measured for name in each[:2]})
    }
    kinships: dict[tuple[str, str], dict[str, float]] = {}
    columns: tuple[str, ...] = ("pair", "transfer", "-log10 p by weights", "units in place", "logits")
    title = "Transfer (log-odds, student less control) and kinship of teacher's and student's base"
    table = Table(*columns, "closeness (-KL)", title=title)
    for pair in sorted({each[:2] for each in measured}):
        (one, words), (other, _) = (nets[name] for name in pair)
        weights, close = by_place(gated_layers(one), gated_layers(other)), behaviour(one, other, words, 64, seed)
        found = {
            "weights": -weights.log10_p,
            "units in place": weights.share,
            "logits": by_logits(_logits(one), _logits(other), len(words), seed=seed).score,
            "closeness": -close.kl,
        }
        kinships[pair] = found
        moved = np.mean([each[3] for each in measured if each[:2] == pair])
        table.add_row(
            " to ".join(pair),
            f"{moved:+.2f}",
            f"{found['weights']:.1f}",
            f"{found['units in place']:.0%}",
            f"{found['logits']:.2f}",
            f"{found['closeness']:.4f}",
        )
    say(table)
    results: dict[str, Any] = {"pairs": {" to ".join(pair): found for pair, found in kinships.items()}}
    columns = ("score", "all cells", "without a base to itself", "ROC area for transfer > 0.3", "without itself")
    table = Table(*columns, title="Spearman's correlation with transfer, 95 % interval over whole bases and targets")
    for name in ("weights", "units in place", "logits", "closeness"):
        ranks = [
            rank([each for each in measured if keep or each[0] != each[1]], kinships, name, seed)
            for keep in (True, False)
        ]
        areas = [separated(measured, kinships, name, keep) for keep in (True, False)]
        cells_ = (f"{value:+.2f} ({low:+.2f} to {high:+.2f})" for value, low, high in ranks)
        table.add_row(name, *cells_, *(f"{area:.3f}" for area in areas))
        results[name] = {"rank correlation": ranks, "area": areas}
    say(table)
    counts = [len({each[at] for each in measured}) for at in range(3)]
    say(f"{len(measured)} cells: {counts[0]} bases of teachers, {counts[1]} of students, {counts[2]} targets.")
    return results


def _logits(net: Any) -> Callable[[Tensor], Tensor]:
    """Return the function from token ids to a model's logits."""

    def logits(ids: Tensor) -> Tensor:
        found: Tensor = net(input_ids=ids).logits
        return found

    return logits


def _bases_of(row: dict[str, Any]) -> tuple[str, str] | None:
    """Return the bases of teacher and student of a cell; None for a cell of another experiment."""
    if row.get("axis teacher") and row.get("axis student"):
        return str(row["axis teacher"]), str(row["axis student"])
    pair = str(row.get("axis pair") or "").split(" to ")
    if row.get("experiment") == "half_a_base" and len(pair) == 2:
        return f"pocket/{pair[0]}", f"pocket/{pair[1]}"
    if row.get("experiment") == "how_matched":
        noise = str(row.get("axis noise"))
        return "pocket/a", "pocket/a" if float(noise) == 0 else f"pocket/a+noise={noise}"
    return None


def separated(cells: Sequence[Cell], kinships: dict[Any, dict[str, float]], name: str, keep: bool) -> float:
    """Return the area under the ROC curve of a score for pairs whose mean transfer is above 0.3, the plans' margin."""
    pairs = [pair for pair in kinships if keep or pair[0] != pair[1]]
    passes = [np.mean([each[3] for each in cells if each[:2] == pair]) > 0.3 for pair in pairs]
    if len(set(map(bool, passes))) < 2:
        return float("nan")
    return float(roc_auc_score(passes, [kinships[pair][name] for pair in pairs]))


def rank(
    cells: Sequence[Cell], kinships: dict[Any, dict[str, float]], name: str, seed: int
) -> tuple[float, float, float]:
    """Return Spearman's correlation over cells; a draw takes a base in both of its roles, and a target, whole."""
    one, other = np.array([kinships[each[:2]][name] for each in cells]), np.array([each[3] for each in cells])
    bases_, targets = sorted({each for cell in cells for each in cell[:2]}), sorted({cell[2] for cell in cells})
    places = np.array([(bases_.index(a), bases_.index(b), targets.index(c)) for a, b, c, _ in cells])
    rng, drawn = np.random.default_rng(derive_seed(seed, "rank")), []
    for _ in range(2000):
        often, chosen = (rng.multinomial(len(each), np.full(len(each), 1 / len(each))) for each in (bases_, targets))
        same = places[:, 0] == places[:, 1]  # a base and itself are drawn once, not twice
        weight = often[places[:, 0]] * np.where(same, 1, often[places[:, 1]]) * chosen[places[:, 2]]
        at = np.repeat(np.arange(len(cells)), weight)
        if len(at) > 2 and np.ptp(one[at]) > 0 and np.ptp(other[at]) > 0:
            drawn.append(spearmanr(one[at], other[at]).statistic)
    low, high = np.percentile(drawn, [2.5, 97.5]) if drawn else (np.nan, np.nan)
    return float(spearmanr(one, other).statistic), float(low), float(high)
