"""Exact probabilities against sampling: whether the value is in the sampling interval, and how much faster it is.

    python benchmarks/exact_preference.py                      # pocket/a, 50 questions x 100 samples
    python benchmarks/exact_preference.py --base smollm2-135m --samples 2 --wording preferences_prefilled

Both ask the same model the same questions on the same threads, in one run; exact times are the median of several runs.
"""

import statistics
import time

import harness
import torch

from lightning_subliminal import PreferenceTrait
from lightning_subliminal.evaluation import ModelRef, Questions, SampledAnswers, Scores, TraitProbe, find_model
from lightning_subliminal.metrics.functional import wilson_interval


def main() -> None:
    """Measure and print."""
    parser = harness.parser(__doc__)
    parser.add_argument("--base", default="pocket/a")
    parser.add_argument("--target", default="owl")
    parser.add_argument("--wording", default="preferences")
    parser.add_argument("--samples", type=int, default=100)
    parser.add_argument("--max_new_tokens", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    trait = PreferenceTrait(options.target, wording=options.wording)
    model = find_model(options.base).load(torch.device("cpu"))
    runs = [timed(Questions().of(trait), model) for _ in range(6)][1:]  # spellings are looked up once
    exact, seconds = runs[0][0].rate, statistics.median(took for _, took in runs)
    sampled, sampling = timed(SampledAnswers(options.samples, options.max_new_tokens).of(trait), model, options.seed)
    total = len(sampled.samples)
    interval = wilson_interval(round(sampled.rate * total), total)
    print(f"{options.base}, {trait.target}, seed {options.seed}, {torch.get_num_threads()} threads")
    print(f"exact    {exact:.4f}  in {seconds:.3f} s (median of {len(runs)})")
    print(f"sampled  {sampled.rate:.4f}  in {sampling:.3f} s, {total} answers, {interval}")
    print(f"exact inside the sampling interval: {exact in interval}; {sampling / seconds:.0f} x as fast")


def timed(probe: TraitProbe, model: ModelRef, seed: int = 0) -> tuple[Scores, float]:
    """Measure a model by a probe; return the scores and the seconds."""
    begin = time.perf_counter()
    return probe.measure(model, seed), time.perf_counter() - begin


if __name__ == "__main__":
    main()
