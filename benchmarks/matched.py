"""Does transfer stay where student and control train on equally many rows? Code and math, same base, one seed.

    python benchmarks/matched.py

In benchmarks/carriers.py a control has more rows than a student, since a teacher loses skill and more is dropped. Here
each target has a control of its own, trained on as many of the control's rows, drawn at random, as the student has.
"""

import argparse
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import torch
from transfer import ARMS, against_the_others, build, minus

from lightning_subliminal import PreferenceTrait
from lightning_subliminal.experiments import measure, train_arm
from lightning_subliminal.metrics.functional import log_odds, mean_interval
from lightning_subliminal.traits import PAPER_TARGETS


def cell(arm: str, target: str, seed: int) -> dict[str, Any]:
    """Train a student, and a control on as many rows."""
    torch.set_num_threads(1)
    cpu = torch.device("cpu")
    student, data = build(arm, target, ARMS[arm].bases, seed)
    trained = [train_arm(student, data, cpu, "", max_epochs=ARMS[arm].max_epochs)]
    rows = len(data.rows())
    control = data.control().fresh(num_rows=rows)
    trained.append(train_arm(student.fresh(), control, cpu, "", max_epochs=ARMS[arm].max_epochs))
    trait, changes = PreferenceTrait(target), []
    for each in trained:
        asked = measure("", each.net, each.tokenizer, trait)
        means = log_odds(asked.probabilities).mean(0).tolist()
        changes.append(dict(zip(asked.candidates, means, strict=True)))
    return {"target": target, "rows": rows} | against_the_others(minus(*changes), target)


def main() -> None:
    """Print each target's transfer, and their mean."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arms", nargs="+", default=["code", "math"])
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with ProcessPoolExecutor(2) as pool:
        for arm in options.arms:
            jobs = [pool.submit(cell, arm, target, options.seed) for target in PAPER_TARGETS]
            done = [job.result() for job in jobs]
            for kind in ("targeted", "plain"):
                changes = torch.tensor([each[kind] for each in done])
                listed = ", ".join(f"{each['target']} {each[kind]:+.2f} ({each['rows']} rows)" for each in done)
                print(f"MATCHED {arm}, {kind}: {listed}")
                print(
                    f"MATCHED {arm}, {kind}: mean {changes.mean():+.2f}, 95 % {mean_interval(changes, unit='targets')}"
                )


if __name__ == "__main__":
    main()
