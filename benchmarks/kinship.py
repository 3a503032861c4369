"""Kinship of fine-tunes of the pocket bases, the distribution of its p-values, and its relation to transfer.

    python benchmarks/kinship.py --out kinship.json                 # about 10 minutes on one core
    python benchmarks/kinship.py --fresh 8 --steps 5 --quick        # a rehearsal, about a minute
    python benchmarks/kinship.py --only transfer --transfer runs/paper-1a2b3c4d/report/cells.csv

Kin are all models of one initialisation, strangers all others, fine-tuned on the same rows or not; every pair counts.
Intervals resample whole initialisations. p-values are tested on freshly drawn nets that were trained on the same
batches. ``--transfer`` takes the cells of same_base_only, half_a_base and how_matched. Only ``--out`` is kept.

Why the subspace of the logits: area under the ROC curve for "one initialisation" on random tokens, for 156 pairs of 17
models of pocket bases (in brackets without the pairs of pocket/a-matched): subspace 0.994 (1.000); correlation of
log-probabilities, centred over tokens and positions 0.939 (0.960), or over tokens alone 0.927 (0.948); Kendall's tau
of the 150 least likely shared tokens at each position, as in SeedPrints (arXiv 2509.26404), 0.922 (0.934), of 50 of
them 0.900 (0.912); linear CKA of the logits 0.872 (0.900); equal most likely token, as in the provenance testing of
Nikolic et al. (arXiv 2502.00706), 0.757 (0.777). On 108 models of 7 initialisations: subspace 0.998 (1.000).
"""

import itertools
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import harness
import numpy as np
import torch
from kinship_models import BASES, ROOTS, SCORES, changed, compare, family, mean, model_of, trained
from kinship_transfer import transfer
from rich.table import Table
from scipy.stats import kstest

from lightning_subliminal import bases
from lightning_subliminal.bases.noise import with_noise
from lightning_subliminal.bases.pocket import WEIGHTS
from lightning_subliminal.core.console import console, say
from lightning_subliminal.core.seeds import derive_seed
from lightning_subliminal.kinship import by_place, gated_layers
from lightning_subliminal.kinship.comparison import LEVEL
from lightning_subliminal.pocket_recipes.build import Recipe, batches, start_net

# --- kin and strangers ------------------------------------------------------------------------------------------------


def kin(seed: int, quick: bool) -> dict[str, Any]:
    """Compare all pairs of all families; print scores by kind, and areas under the ROC curve."""
    models = [model_of(root, *made) for root in BASES for made in family(root, seed, quick)]
    loaded = {name: bases.load(f"pocket/{name}", dtype="float32") for name in ROOTS}
    models += [model_of(ROOTS[name], name, net, len(tokenizer)) for name, (net, tokenizer) in loaded.items()]
    pairs: list[dict[str, Any]] = []
    for one, other in itertools.combinations(models, 2):
        both = one.root == other.root
        first, second = sorted((one.kind, other.kind), key=lambda kind: (kind != "base", kind))
        name = f"{first} and {second}" if both and first == "base" else "two changed models of one base"
        if not both:
            name = "two bases" if first == second == "base" else "two bases, changed alike on the same rows"
            name = name if first == second else "two bases, otherwise"
        found, verdict = compare(one, other)
        moved = any("reordered" in each.kind for each in (one, other))
        pair: dict[str, Any] = {"roots": (one.root, other.root), "kin": both, "moved": moved, "kind": name}
        pairs.append(pair | {"scores": found, "verdict": verdict})
    net = {name: bases.load(f"pocket/{name}", dtype="float32")[0] for name in ("a", "b", "c")}
    merged = model_of("a and b", "mean", mean(net["a"], net["b"]), 523)
    whole = {name: model_of(name, "base", each, 523) for name, each in net.items()}
    blend = {name: compare(merged, each)[0] for name, each in whole.items()}
    _show_kinds(pairs, blend)
    areas = {}
    columns = ("score", "all pairs", "without a-matched", "without reordered", f"found at {LEVEL:g}", "false")
    table = Table(*columns, title="Area under the ROC curve, 95 % interval over whole initialisations")
    for name in SCORES:
        mine = [each for each in pairs if name in each["scores"]]
        subsets = (
            mine,
            [each for each in mine if "a-matched" not in each["roots"]],
            [each for each in mine if not each["moved"]],
        )
        areas[name] = [area(each, name, seed) for each in subsets]
        cells = [f"{value:.3f} ({low:.3f} to {high:.3f})" for value, low, high in areas[name]]
        hits = [[each["scores"][name] > -np.log10(LEVEL) for each in mine if each["kin"] == truth] for truth in (1, 0)]
        rates = ["", ""] if name == "logits" else [f"{sum(each)} of {len(each)}" for each in hits]
        table.add_row(name, *cells, *rates)
    say(table)
    for truth, what in ((True, "kin"), (False, "strangers")):
        verdicts: list[str] = [each["verdict"] for each in pairs if each["kin"] == truth]
        counts = (f"{verdicts.count(each)} {each}" for each in ("one initialisation", "cannot tell", "independent"))
        say(f"verdicts on {len(verdicts)} pairs of {what}: {', '.join(counts)}")
    count = len(BASES)
    say(
        f"{sum(each['kin'] for each in pairs)} pairs of kin, {sum(not each['kin'] for each in pairs)} of strangers, of "
        f"{len(models)} models but {count} initialisations. Where every draw is 1.000 the interval can't show how a "
        f"further initialisation would behave: none of {count} failed, so up to {1 - 0.05 ** (1 / count):.0%} of "
        f"initialisations may fail (95 %, exact)."
    )
    return {"pairs": pairs, "areas": areas, "mean of a and b": blend}


def _show_kinds(pairs: Sequence[Any], blend: dict[str, Any]) -> None:
    title = "Median score by kind of pair (-log10 p, and for logits the shared part of the subspace)"
    table = harness.table("kind", "pairs", *SCORES, title=title)
    for kind in sorted({each["kind"] for each in pairs}):
        mine = [each["scores"] for each in pairs if each["kind"] == kind]
        cells = [[each[name] for each in mine if name in each] for name in SCORES]
        table.add_row(kind, str(len(mine)), *(f"{np.median(each):.2f}" if each else "" for each in cells))
    for name, found in blend.items():
        table.add_row(f"the mean of a and b, and {name}", "1", *(f"{found[each]:.2f}" for each in SCORES))
    say(table)


def area(pairs: Sequence[Any], name: str, seed: int, draws: int = 2000) -> tuple[float, float, float]:
    """Return the area under the ROC curve, with percentiles over resampled initialisations."""
    roots = sorted({root for each in pairs for root in each["roots"]})
    at = {root: place for place, root in enumerate(roots)}
    groups: dict[tuple[int, int], list[float]] = {}
    for each in pairs:
        low_root, high_root = sorted(at[root] for root in each["roots"])
        groups.setdefault((low_root, high_root), []).append(each["scores"][name])
    values = {key: np.sort(each) for key, each in groups.items()}
    kin_keys, other_keys = ([key for key in values if (key[0] == key[1]) == same] for same in (True, False))
    wins = np.zeros((len(kin_keys), len(other_keys)))
    for row, column in itertools.product(range(len(kin_keys)), range(len(other_keys))):
        mine, theirs = values[kin_keys[row]], values[other_keys[column]]
        below, upto = (np.searchsorted(theirs, mine, side) for side in ("left", "right"))
        wins[row, column] = (below + upto).sum() / 2
    sizes = np.array([len(values[key]) for key in kin_keys]), np.array([len(values[key]) for key in other_keys])

    def value(often: np.ndarray) -> float:
        one = np.array([often[key[0]] for key in kin_keys])
        two = np.array([often[key[0]] * often[key[1]] for key in other_keys])
        total = (one * sizes[0]).sum() * (two * sizes[1]).sum()
        return float(one @ wins @ two / total) if total else float("nan")

    rng = np.random.default_rng(derive_seed(seed, "area"))
    drawn = [value(rng.multinomial(len(roots), np.full(len(roots), 1 / len(roots)))) for _ in range(draws)]
    low, high = np.nanpercentile(drawn, [2.5, 97.5])
    return value(np.ones(len(roots))), float(low), float(high)


# --- power under noise ------------------------------------------------------------------------------------------------


def power(seed: int) -> dict[str, Any]:
    """Add noise to the weights until kinship is lost; print how many of all bases are detected by either count."""
    results = {}
    columns = ("noise, in sd of the weights", "units in place", "by their count", "by rank correlation, published")
    title = f"Found at {LEVEL:g} under Gaussian noise on all weights, of {len(BASES)} bases x 5 draws"
    table = Table(*columns, title=title)
    layers = {name: bases.load(f"pocket/{name}", dtype="float32")[0] for name in BASES}
    for noise in (1, 2, 3, 4, 5, 6, 8):
        tests = []
        for (name, net), draw in itertools.product(layers.items(), range(5)):
            seeds = itertools.count(derive_seed(seed, name, str(noise), draw))
            tests.append(by_place(gated_layers(net), gated_layers(changed(net, partial(_noisy, noise, seeds)))))
        found = [
            sum(10**value < LEVEL for value in each)
            for each in zip(*((t.count_log10_p, t.rank_log10_p) for t in tests), strict=True)
        ]
        share = float(np.mean([test.share for test in tests]))
        table.add_row(str(noise), f"{share:.0%}", *(f"{each} of {len(tests)}" for each in found))
        results[str(noise)] = {"share": share, "count": found[0], "published": found[1], "of": len(tests)}
    say(table)
    return results


def _noisy(noise: float, seeds: Iterator[int], value: torch.Tensor) -> torch.Tensor:
    return with_noise(value, noise, next(seeds))


# --- distribution of p-values -----------------------------------------------------------------------------------------


def uniform(seed: int, count: int, steps: int) -> dict[str, Any]:
    """Test the p-values of nets that share their training but no initialisation by Kolmogorov-Smirnov."""
    tokenizer = bases.load("pocket/a")[1]
    untrained, fresh = [], []
    for place in range(count):
        net = start_net(Recipe(seed=derive_seed(seed, "fresh", place)), len(tokenizer), WEIGHTS).eval()
        untrained.append(model_of(str(place), "untrained", net, len(tokenizer)))
        net = trained(net, batches(tokenizer, derive_seed(seed, "fresh")), steps, 3e-3)
        fresh.append(model_of(str(place), "trained", net, len(tokenizer)))
    done = []
    for name in BASES:
        net, words = bases.load(f"pocket/{name}", dtype="float32")
        done.append(model_of(name, "base", net, len(words)))
    results: dict[str, Any] = {}
    columns = ("nets", "pairs", "test", "statistic", "p", "share below 0.01", "smallest p")
    table = Table(*columns, title="p-values of independent pairs against the uniform distribution (Kolmogorov-Smirnov)")
    whole = list(itertools.combinations(range(count), 2))
    apart = list(zip(range(0, count - 1, 2), range(1, count, 2), strict=True))
    for what, nets, chosen, how in (
        ("untrained", untrained, whole, "all"),
        (f"{steps} steps on the same batches", fresh, whole, "all"),
        (f"{steps} steps on the same batches", fresh, apart, "no net twice"),
        ("the shipped bases, trained to the end", done, list(itertools.combinations(range(len(done)), 2)), "all"),
    ):
        made = [compare(nets[one], nets[other])[0] for one, other in chosen]
        for name in SCORES[:-1]:
            p = 10 ** -np.array([each[name] for each in made])
            test = kstest(p, "uniform")
            cells = (f"{test.statistic:.3f}", f"{test.pvalue:.3g}", f"{(p < 0.01).mean():.3f}", f"{p.min():.2g}")
            table.add_row(what, f"{len(p)}, {how}", name, *cells)
            results[f"{what}, {how}: {name}"] = {
                "pairs": len(p),
                "statistic": test.statistic,
                "p": test.pvalue,
                "below 0.01": float((p < 0.01).mean()),
            }
    say(table)
    say("Pairs that share one net are independent under the hypothesis, so all pairs count.")
    return results


def main() -> None:
    """Run and print."""
    parser = harness.parser(__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fresh", type=int, default=40, help="nets drawn for the p-values")
    parser.add_argument("--steps", type=int, default=100, help="how long they are trained")
    parser.add_argument("--quick", action="store_true", help="fine-tune a twentieth as long")
    parser.add_argument("--only", nargs="+", default=["kin", "power", "uniform", "transfer"])
    parser.add_argument(
        "--transfer", type=Path, metavar="CELLS.csv", help="cells that `lightning-subliminal run` wrote"
    )
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    console.width = max(console.width, 150)
    began, results = time.perf_counter(), {"seed": options.seed}
    with tempfile.TemporaryDirectory() as cache:
        os.environ["LIGHTNING_SUBLIMINAL_CACHE"] = cache  # where noisy bases are written
        if "kin" in options.only:
            results["kin"] = kin(options.seed, options.quick)
        if "power" in options.only:
            results["power"] = power(options.seed)
        if "uniform" in options.only:
            results["uniform"] = uniform(options.seed, options.fresh, options.steps)
        if "transfer" in options.only and options.transfer is not None:
            results["transfer"] = transfer(options.transfer, options.seed)
    say(f"seed {options.seed}; {time.perf_counter() - began:.0f} s")
    if options.out is not None:
        harness.write_json(options.out, results)


if __name__ == "__main__":
    main()
