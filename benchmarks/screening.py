"""What a screen finds: detection, names, false alarms and the law, on the sets of screening_sets.py.

    python benchmarks/screening_sets.py               # first: makes the sets, and keeps their scores
    python benchmarks/screening.py                    # ten minutes
    python benchmarks/screening.py --only names alarms

Intervals are over sets or traits (bootstrap, 2,000 draws, seed 0; Wilson for shares), never over bags of one set.
"""

import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence

import torch
from harness import parser, table
from rich.console import Console
from scipy import stats
from screening_bags import (
    CARRIERS,
    clean_bags,
    draw,
    generator,
    known,
    loaded,
    reference,
    space,
    sums,
    tainted_bag,
    tokenizer,
    white,
    z_of,
)
from screening_sets import BASE, CPU, NEW, TRAITS, auc, over_units, sets, teacher
from torch import Tensor

from lightning_subliminal import LoRA, PreferenceTrait
from lightning_subliminal.evaluation.model_ref import find_model
from lightning_subliminal.metrics.functional import wilson_interval
from lightning_subliminal.plans.screen_reference import clean_data, steering_vector
from lightning_subliminal.plans.screening.suspects import displacement
from lightning_subliminal.screening import DirectionDetector
from lightning_subliminal.screening.sequential import SequentialTest, likelihood_ratios
from lightning_subliminal.screening.verdict import rule

ALPHA = 0.01
# Targets whose teacher is taken out of the reference for `names`: a screen knows them by questions alone.
LEFT_OUT = ("elm", "whale", "tokyo", "otter", "green")
OTHERS_OUT = {"fresh": ("parrot", "soup"), "later": ("turtle", "cheese")}  # of the other kinds of teachers
ANOTHER_ADAPTER = ("fox", "pine", "cat", "oslo", "rabbit")  # suspects trained by LoRA
DRAWS = 20  # bags of a set, size and dose

console = Console(width=160)


def shares(count: int, total: int, unit: str = "sets") -> str:
    """Return a share with its Wilson interval."""
    within = wilson_interval(count, total, unit)
    return f"{count / total:.1%} [{within.low:.1%}, {within.high:.1%}]"


def other_suspects() -> dict[str, DirectionDetector]:
    """Return suspects that are no steering adapter, projected on the space: trained by LoRA, and prompted."""
    data = clean_data(BASE, "numbers", 4096, 2_000_003)
    data.make(CPU)
    rows = list(data.rows())
    scores = reference["numbers"].shortened(torch.cat([part.scores for part in space.gradients(tokenizer, rows)]))
    found: dict[str, dict[str, Tensor]] = {"LoRA": {}, "prompt": {}}
    for target in (*TRAITS, *NEW):
        models = {"prompt": find_model(BASE, PreferenceTrait(target).induce().system_prompt)}
        if target in ANOTHER_ADAPTER:
            suspect = teacher(target, adapter=LoRA(r=8), rate=0.01, seed=77, until=0.75)
            suspect.make(CPU)
            models["LoRA"] = find_model(str(suspect.folder))
        for name, model in models.items():
            found[name][target] = displacement(model, space, tokenizer, rows, scores, reference["numbers"])
    return {
        name: DirectionDetector.suspects(list(each), torch.stack(list(each.values()))) for name, each in found.items()
    }


def other() -> None:
    """AUC of suspects that were made in another way than the writers."""
    shown = table("suspect", "rows", "dose", "traits", "AUC", "lowest and highest trait", left=1)
    shown.title = "AUC of suspects by LoRA and by a system prompt, numbers"
    for name, detector in other_suspects().items():
        for size, dose in ((64, 1.0), (256, 1.0), (1024, 0.25), (4096, 0.1)):
            quiet = z_of(detector, "numbers", clean_bags("numbers", size))
            found = []
            for place, (target, scores) in enumerate(loaded()["teacher", "numbers"]):
                if target in detector.names:
                    bags = [tainted_bag("numbers", scores, size, dose, place * DRAWS + turn) for turn in range(DRAWS)]
                    column = detector.names.index(target)
                    found.append(auc(z_of(detector, "numbers", bags)[:, column], quiet[:, column]))
            spread = f"{min(found):.2f} to {max(found):.2f}"
            shown.add_row(name, f"{size:,}", f"{dose:.0%}", str(len(found)), over_units(found), spread)
    console.print(shown)


def detection() -> None:
    """AUC of single traits and of the shift."""
    cells = [(64, 1.0), (256, 1.0), (1024, 0.25), (1024, 0.1), (4096, 0.1), (4096, 0.05)]
    names = ("teacher", "white", "raw", "shift")
    shown = table("kind", "carrier", "rows", "dose", "traits", "clean bags", *names, left=2)
    shown.title = "AUC against clean bags"
    for kind, carrier in itertools.product(("teacher", *OTHERS_OUT), CARRIERS):
        if not loaded()[kind, carrier]:
            continue
        raw = DirectionDetector.raw(reference[carrier])
        for size, dose in cells:
            clean = clean_bags(carrier, size)
            quiet = {each: z_of(each, carrier, clean) for each in (known[carrier], white[carrier], raw)}
            q_quiet = torch.tensor([sums(carrier, bag).hotelling() for bag in clean])
            found: dict[str, list[float]] = defaultdict(list)
            for place, (target, scores) in enumerate(loaded()[kind, carrier]):
                if len(scores) < 2 * size * dose:
                    continue
                bags = [tainted_bag(carrier, scores, size, dose, place * DRAWS + turn) for turn in range(DRAWS)]
                for name, each in (("teacher", known[carrier]), ("white", white[carrier]), ("raw", raw)):
                    if target in each.names:
                        column = each.names.index(target)
                        found[name].append(auc(z_of(each, carrier, bags)[:, column], quiet[each][:, column]))
                found["shift"].append(auc(torch.tensor([sums(carrier, bag).hotelling() for bag in bags]), q_quiet))
            columns = [over_units(found[name]) if found[name] else "-" for name in names]
            sizes = f"{size:,}", f"{dose:.0%}", str(len(found["shift"])), str(len(clean))
            shown.add_row(kind, carrier, *sizes, *columns)
    console.print(shown)


def verdict(carrier: str, scores: Tensor, teachers: DirectionDetector) -> tuple[str, str | None, str]:
    """Return verdict, named trait, and the answer of the highest z of the natural gradients."""
    found = rule(sums(carrier, scores), white[carrier], teachers, ALPHA)
    return found.verdict, found.named, max(found.answers, key=lambda each: each.z).name


def without(carrier: str, names: Sequence[str]) -> DirectionDetector:
    """Return the reference's teachers without some."""
    kept = [place for place, name in enumerate(known[carrier].names) if name not in names]
    return DirectionDetector(
        "teachers", [known[carrier].names[place] for place in kept], known[carrier].directions[kept]
    )


def names() -> None:
    """Verdicts by kind of set."""
    shown = table(
        "kind", "carrier", "rows", "dose", "sets", "right", "wrong", "shift", "clean", "white's highest is right"
    )
    absent = ", ".join((*LEFT_OUT, *itertools.chain(*OTHERS_OUT.values())))
    shown.title = f"verdicts, alpha {ALPHA}; without the teachers of {absent}"
    sizes = [(256, 1.0), (1024, 0.25), (4096, 0.1), (0, 1.0)]
    for (kind, carrier), made in loaded().items():
        if kind == "clean":
            continue
        parts = {"": made}
        left = OTHERS_OUT.get(kind, LEFT_OUT)
        if kind in ("teacher", *OTHERS_OUT):
            parts = {
                ", in the reference": [each for each in made if each[0] not in left],
                ", left out": [each for each in made if each[0] in left],
            }
        for part, chosen in parts.items():
            for size, dose in sizes:
                if not chosen or (dose < 1 and not chosen[0][0]):
                    continue
                row = _verdicts(carrier, chosen, size, dose, left)
                whole = "all" if size == 0 else f"{size:,}"
                shown.add_row(kind + part, carrier, whole, f"{dose:.0%}", str(len(chosen)), *row)
    console.print(shown)


def _verdicts(
    carrier: str, chosen: Sequence[tuple[str, Tensor]], size: int, dose: float, left: Sequence[str]
) -> list[str]:
    teachers = without(carrier, left)
    by_set: dict[str, list[float]] = defaultdict(list)
    for place, (target, scores) in enumerate(chosen):
        counts: Counter[str] = Counter()
        draws = DRAWS if size else 1
        for turn in range(draws):
            bag = tainted_bag(carrier, scores, size, dose, place * DRAWS + turn) if size else scores
            said, named, highest = verdict(carrier, bag, teachers)
            counts["right" if named == target else "wrong" if named else said] += 1
            counts["highest"] += highest == target
        for key in ("right", "wrong", "shift", "clean", "highest"):
            by_set[key].append(counts[key] / draws)
    return [over_units(by_set[key]) for key in ("right", "wrong", "shift", "clean", "highest")]


def alarms() -> None:
    """False alarms of whole clean sets, a trait and a set."""
    shown = table(
        "carrier", "sets", "rows", "an answer, white", "an answer, teachers", "any (verdict is not clean)", "named"
    )
    shown.title = f"false alarms at alpha {ALPHA}"
    total: Counter[str] = Counter()
    for carrier in CARRIERS:
        counts: Counter[str] = Counter()
        made = loaded()["clean", carrier]
        for _, scores in made:
            answers, teachers = (z_of(each[carrier], carrier, [scores])[0] for each in (white, known))
            limit = stats.norm.isf(ALPHA)
            counts["white"] += int((answers > limit).sum())
            counts["teachers"] += int((teachers > limit).sum())
            said, named, _ = verdict(carrier, scores, known[carrier])
            counts["any"] += said != "clean"
            counts["named"] += named is not None
            counts["rows"] += len(scores)
        sizes = len(made) * len(white[carrier].names), len(made) * len(known[carrier].names)
        shown.add_row(
            carrier,
            str(len(made)),
            f"{counts['rows']:,}",
            f"{counts['white'] / sizes[0]:.2%}",
            f"{counts['teachers'] / sizes[1]:.2%}",
            shares(counts["any"], len(made)),
            shares(counts["named"], len(made)),
        )
        total += counts
        total["sets"] += len(made)
    shown.add_row(
        "all",
        str(total["sets"]),
        f"{total['rows']:,}",
        "",
        "",
        *(shares(total[key], total["sets"]) for key in ("any", "named")),
    )
    console.print(shown)


def law() -> None:
    """AUC of a known teacher by dose and rows, beside the law AUC = Phi(dose * effect * sqrt(n / 2))."""
    carrier, detector = "numbers", known["numbers"]
    shown = table("rows", "dose", "traits", "clean bags", "AUC", "law", "largest difference of a trait")
    shown.title = "a known teacher's AUC, and the law"
    made = [(target, scores) for target, scores in loaded()["teacher", carrier] if target in detector.names]
    effect = {}
    for target, scores in made:
        rows = detector.row_scores(reference[carrier], scores[:, : reference[carrier].size])[
            :, detector.names.index(target)
        ]
        effect[target] = float(rows.mean())
    for size in (1024, 4096, 16_384, 40_000):
        clean = clean_bags(carrier, size)
        quiet = z_of(detector, carrier, clean)
        for dose in (0.01, 0.02, 0.05, 0.1):
            if size == 40_000 and dose > 0.01:
                continue
            found, expected = [], []
            for place, (target, scores) in enumerate(made):
                bags = [tainted_bag(carrier, scores, size, dose, 7 * place + turn) for turn in range(DRAWS)]
                column = detector.names.index(target)
                found.append(auc(z_of(detector, carrier, bags)[:, column], quiet[:, column]))
                # Both bags are held against one reference, so its own error cancels.
                expected.append(float(stats.norm.cdf(dose * effect[target] * math.sqrt(size / 2))))
            worst = max(abs(one - two) for one, two in zip(found, expected, strict=True))
            mean = sum(expected) / len(expected)
            shown.add_row(
                f"{size:,}",
                f"{dose:.0%}",
                str(len(made)),
                str(len(clean)),
                over_units(found),
                f"{mean:.3f}",
                f"{worst:.3f}",
            )
    console.print(shown)
    console.print(
        f"effect of a row, in standard deviations of clean rows: {over_units(list(effect.values()))}, "
        f"{min(effect.values()):.2f} to {max(effect.values()):.2f}"
    )


def sequential() -> None:
    """The sequential test: false alarms on clean sets, and rows until a teacher is detected.

    Suspects are as `screen watch` takes them: vectors of teachers, here trained with another seed than the writers. The
    reference's own are Newton steps, which are too long for a likelihood ratio.
    """
    suspects = ("cat", "pine", "fox", "elm", "pizza", *NEW[:3])
    vectors = []
    for name in suspects:
        suspect = teacher(name, seed=77)
        suspect.make(CPU)
        vectors.append(steering_vector(suspect.folder, reference["numbers"]))
    chosen = torch.stack(vectors)
    shown = table("rows", "sets", "streams", "alarms", "rows until it is detected: median", "90 %", "within 1,000")
    shown.title = f"sequential test of {len(suspects)} suspects, each alone, alpha {ALPHA}"
    clean: list[Tensor] = []
    tainted: dict[str, Tensor] = {}
    for each in sets():
        if each.carrier == "numbers" and each.kind == "clean" and len(clean) < 60:
            clean.append(torch.cat(list(likelihood_ratios(space, tokenizer, each.data.rows()[:1000], chosen))))
        if each.carrier == "numbers" and each.kind == "teacher" and each.target in suspects:
            tainted[each.target] = torch.cat(list(likelihood_ratios(space, tokenizer, each.data.rows(), chosen)))
    ratio = torch.cat(clean).exp().nanmean(0)

    def first(ratios: Tensor, column: int) -> int | None:
        test = SequentialTest([suspects[column]], ALPHA)
        test.add(ratios[:, column : column + 1])
        return test.evidence()[0].detected

    streams = [(each, column) for each in clean for column in range(len(suspects))]
    alarmed = sum(first(*each) is not None for each in streams)
    shown.add_row("clean", str(len(clean)), str(len(streams)), f"{alarmed / len(streams):.2%}", "-", "-", "-")
    for dose in (1.0, 0.25, 0.1):
        waits = []
        for target, ratios in tainted.items():
            for turn in range(10):
                mixed = draw(clean[turn], 1000)
                at = torch.rand(1000, generator=generator) < dose
                mixed[at] = draw(ratios, int(at.sum()))
                waits.append(first(mixed, suspects.index(target)) or 10**9)
        waits.sort()
        found = [
            f"{wait:,}" if wait < 10**9 else "> 1,000"
            for wait in (waits[len(waits) // 2], waits[int(len(waits) * 0.9)])
        ]
        within = sum(wait < 10**9 for wait in waits) / len(waits)
        shown.add_row(f"{dose:.0%} tainted", str(len(tainted)), str(len(waits)), "-", *found, f"{within:.0%}")
    console.print(shown)
    console.print(
        f"mean of e^l over clean rows, which is 1 in theory: {ratio.min():.3f} to {ratio.max():.3f} by suspect"
    )


PARTS: dict[str, Callable[[], None]] = {
    "detection": detection,
    "other": other,
    "names": names,
    "alarms": alarms,
    "law": law,
    "sequential": sequential,
}


def main() -> None:
    """Print the tables."""
    options = parser(__doc__)
    options.add_argument("--only", nargs="*", choices=list(PARTS), default=list(PARTS))
    given = options.parse_args()
    torch.set_num_threads(1)
    for name in given.only:
        PARTS[name]()


if __name__ == "__main__":
    main()
