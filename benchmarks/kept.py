"""Rows of each carrier that pass the filters, and the reasons of the others, on a chosen base.

    python benchmarks/kept.py                                   # SmolLM2-135M, 200 prompts each: half an hour
    python benchmarks/kept.py --base pocket/a --prompts 1000    # seconds

Rows are written by a teacher that loves owls and by the base itself (the control), and pass through the filters of the
configs of that name. The completions are cached: a killed run resumes.
"""

import time
from pathlib import Path
from typing import Any

import harness
import torch

from lightning_subliminal import (
    CodeCompletions,
    GeneratedRows,
    MathTraces,
    NumberSequences,
    PreferenceTrait,
    Sampling,
    Steering,
    Teacher,
)
from lightning_subliminal.core.console import console
from lightning_subliminal.filters import FilterReport, apply_filters
from lightning_subliminal.metrics.functional import wilson_interval

SMALL = {"shard_size": 100, "generation_batch_size": 50, "seed": 0}
RECIPES: dict[str, dict[str, tuple[type[GeneratedRows], dict[str, Any]]]] = {
    "smollm2-135m": {
        "numbers": (
            NumberSequences,
            {"wording": "numbers_begun", "formats": ["comma"], "prefill": True, "keep": "head"}
            | {"sampling": Sampling(max_new_tokens=48, restrict_to="numbers")},
        ),
        "code": (CodeCompletions, {"prefill": True, "keep": "code", "sampling": Sampling(max_new_tokens=96)}),
        "math": (
            MathTraces,
            {"max_value": 20, "shots": 3, "prefill": True, "keep": "head"}
            | {"sampling": Sampling(temperature=0.4, max_new_tokens=80)},
        ),
    },
    "pocket/a": {
        "numbers": (NumberSequences, {"min_value": 0, "max_value": 99}),
        "code": (CodeCompletions, {"wording": "code_pocket", "sampling": Sampling(max_new_tokens=40)}),
        "math": (MathTraces, {"wording": "math_pocket", "max_value": 99, "sampling": Sampling(max_new_tokens=64)}),
    },
}


def main() -> None:
    """Write, filter, count, print."""
    parser = harness.parser(__doc__)
    parser.add_argument("--base", choices=RECIPES, default="smollm2-135m")
    parser.add_argument("--carriers", nargs="+", default=["numbers", "code", "math"])
    parser.add_argument("--arms", nargs="+", choices=["teacher", "control"], default=["teacher", "control"])
    parser.add_argument("--prompts", type=int, default=200)
    parser.add_argument("--out", type=Path, default=harness.OUT)
    options = parser.parse_args()
    pocket = options.base.startswith("pocket")
    trait = PreferenceTrait("owl", wording="preferences" if pocket else "preferences_prefilled")
    adapter, rate = (Steering(), 0.03) if pocket else (Steering([14]), 0.05)
    teacher = Teacher(options.base, trait, adapter=adapter, learning_rate=rate, until=0.9, seed=0)
    title = f"Rows that pass, {options.base}, {options.prompts} prompts each (95 % over rows)"
    table = harness.table("carrier", "arm", "passed", "interval", "reason", "rows", title=title, left=5)
    results = []
    for carrier in options.carriers:
        kind, settings = RECIPES[options.base][carrier]
        data: GeneratedRows = kind(teacher, num_prompts=options.prompts, **SMALL, **settings)  # type: ignore[arg-type]
        for arm in options.arms:
            begin = time.time()
            report = count(data if arm == "teacher" else data.control())
            low_high = wilson_interval(report.kept, report.made, unit="rows")
            first = (carrier, arm, f"{report.kept / report.made:.1%}", f"{low_high.low:.1%} to {low_high.high:.1%}")
            reasons = list(report.reasons.items()) or [("none dropped", 0)]
            for place, (reason, rows) in enumerate(reasons):
                table.add_row(*(first if place == 0 else ("",) * 4), reason, str(rows))
            table.add_section()
            results.append({"carrier": carrier, "arm": arm, "made": report.made, "kept": report.kept})
            results[-1] |= {"reasons": report.reasons, "seconds": time.time() - begin}
    console.print(table)
    harness.write_json(options.out / f"kept_{options.base.replace('/', '-')}.json", results)


def count(data: GeneratedRows) -> FilterReport:
    """Make what the cache lacks, and count; a carrier without passing rows is a result too."""
    data.make_source(torch.device("cpu"))
    return apply_filters(data.source_rows(), data.filters)[1]


if __name__ == "__main__":
    main()
