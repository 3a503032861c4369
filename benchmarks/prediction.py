"""Rank correlations of predicted and measured transfer within targets, conditions and arms.

    lightning-subliminal run --config configs/experiments/prediction.yaml --out runs/prediction
    python benchmarks/prediction.py runs/prediction

Reads the run's cells.csv. The claim of the report is over all cells; these are parts of few cells, so rough.
"""

import csv
from collections.abc import Iterable
from pathlib import Path

import harness
import numpy as np
from scipy.stats import spearmanr

HALVES = ("random half", "top half", "bottom half", "own rows, top half", "own rows, bottom half")
Cell = dict[str, str]


def correlation(cells: Iterable[Cell]) -> float:
    """Return Spearman's correlation of predicted with trained transfer."""
    pairs = np.array([(float(cell["predicted"]), float(cell["transfer"])) for cell in cells])
    return float(spearmanr(pairs[:, 0], pairs[:, 1]).statistic)


def inside(name: str, cells: list[Cell], key: str) -> None:
    """Print the correlation within each value of a column, and their mean."""
    values = dict.fromkeys(cell[key] for cell in cells)
    found = {value: correlation(cell for cell in cells if cell[key] == value) for value in values}
    listed = ", ".join(f"{value} {rho:+.2f}" for value, rho in found.items())
    print(f"{name}: mean {np.mean(list(found.values())):+.2f} ({listed})")


def main() -> None:
    """Read and print."""
    parser = harness.parser(__doc__)
    parser.add_argument("run", type=Path, help="the folder of a run of prediction.yaml")
    path = parser.parse_args().run / "cells.csv"
    every = list(csv.DictReader(path.open(encoding="utf-8", newline="")))
    for cell in every:
        cell["condition"] = " ".join(each for each in (cell["arm"], cell.get("axis student", "")) if each)
    cells = [cell for cell in every if cell["arm"] not in HALVES]
    usual = [cell for cell in cells if cell["arm"] != "another student"]
    others = [cell for cell in cells if cell["arm"] == "another student"]
    for name, mine in (("all cells", cells), ("without other students", usual), ("only other students", others)):
        print(f"{name}: {correlation(mine):+.2f} over {len(mine)} cells")
    inside("within a target", cells, "axis target")
    inside("within a target, without other students", usual, "axis target")
    inside("within a condition", cells, "condition")
    print("means of targets: predicted, transfer, log-odds of the student")
    for arm in dict.fromkeys(cell["arm"] for cell in every):
        mine = [cell for cell in every if cell["arm"] == arm]
        means = [float(np.mean([float(cell[key]) for cell in mine])) for key in ("predicted", "transfer", "log-odds")]
        print("  {:28} {:+.3f} {:+.2f} {:+.2f}".format(arm, *means))


if __name__ == "__main__":
    main()
