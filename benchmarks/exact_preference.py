"""ExactPreference against sampling: the same value within the sampling interval, and how many times as fast.

    python benchmarks/exact_preference.py                      # pocket/a, 50 questions x 100 samples
    python benchmarks/exact_preference.py --base smollm2-135m --samples 2 --wording preferences_prefilled

Both ask the same model the same questions on the same threads, in one run; the median of several exact runs is taken.
"""

import argparse
import statistics
import time

import torch

from lightning_subliminal import PreferenceTrait, Sampling, TraitPreferenceRate, bases
from lightning_subliminal.generation import TransformersEngine
from lightning_subliminal.metrics.functional import exact_preference, wilson_interval


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", default="pocket/a")
    parser.add_argument("--target", default="owl")
    parser.add_argument("--wording", default="preferences")
    parser.add_argument("--samples", type=int, default=100)
    parser.add_argument("--max_new_tokens", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    trait = PreferenceTrait(options.target, wording=options.wording)
    net, tokenizer = bases.load(options.base)
    exact_preference(net, tokenizer, trait)  # warm: spellings are looked up once a tokenizer
    seconds = []
    for _ in range(5):
        begin = time.perf_counter()
        exact = exact_preference(net, tokenizer, trait)[trait.target]
        seconds.append(time.perf_counter() - begin)

    prompts = [prompt for prompt in trait.prompts() for _ in range(options.samples)]
    begin = time.perf_counter()
    answers = TransformersEngine(net, tokenizer, batch_size=1024).generate(
        prompts, Sampling(max_new_tokens=options.max_new_tokens), options.seed
    )
    sampling = time.perf_counter() - begin
    rate = TraitPreferenceRate(trait)
    rate.update([answer.text for answer in answers])
    matches, total = (int(count) for count in rate.counts[:2])
    interval = wilson_interval(matches, total)
    print(f"{options.base}, {trait.target}, seed {options.seed}, {torch.get_num_threads()} threads")
    print(f"exact    {exact:.4f}  in {statistics.median(seconds):.3f} s (median of {len(seconds)})")
    print(f"sampled  {matches / total:.4f}  in {sampling:.3f} s, {total} answers, {interval}")
    times = sampling / statistics.median(seconds)
    print(f"exact inside the sampling interval: {exact in interval}; {times:.0f} x as fast")


if __name__ == "__main__":
    main()
