"""What a screen says about training: transfer predicted and trained, and data sets that were balanced.

    python benchmarks/screening_sets.py --only teacher weak LoRA full prompt "other base"
    python benchmarks/screening_transfer.py            # twenty minutes of one core

`predicted`: each set's Newton prediction of its own target, over a clean set, beside the same difference of two
trained students. `cleaned`: transfer left after `screen --clean`, over a clean set that was balanced along the same
directions. The teachers that rows are balanced along were trained by the reference's maker, with other seeds and to
another strength than those that wrote the rows. `retrained`: the linear datastore score of rows' scores.
"""

import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import torch
from harness import QUIET, parser, table
from lightning.pytorch import Trainer
from rich.console import Console
from scipy import stats
from screening_sets import BASE, CPU, TRAITS, Set, sets

from lightning_subliminal import PreferenceTrait, RowsFromFile, Sampling, Steering, Student
from lightning_subliminal.core.rows import Row
from lightning_subliminal.formats import write_rows
from lightning_subliminal.metrics.functional import log_odds, question_probabilities
from lightning_subliminal.plans.screen_reference import clean_data
from lightning_subliminal.plans.screening import Screener
from lightning_subliminal.plans.screening.cleaning import balance_directions, clean_rows
from lightning_subliminal.theory.newton import NEWTON_RIDGE, newton_prediction
from lightning_subliminal.theory.row_likelihoods import row_likelihoods

ROWS = 2048
SUBSETS = 40
LDS = ("fox", "pine", "cedar")
CLEANED = ("cat", "pine", "birch", "fox", "panda", "blue", "rabbit", "cedar")

console = Console(width=150)


def trained(rows: Sequence[Row], seed: int = 0) -> Student:
    """Return a student trained on rows, with the settings of the shipped config."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.jsonl"
        write_rows(rows, path)
        student = Student(BASE, Steering(), learning_rate=0.06, seed=seed)
        Trainer(accelerator="cpu", max_epochs=3, default_root_dir=folder, **QUIET).fit(student, RowsFromFile(str(path)))
    return student


def odds(student: Student, target: str) -> float:
    """Return the log-odds of a target, the mean over questions."""
    trait = PreferenceTrait(target)
    found = log_odds(question_probabilities(student.net, student.tokenizer, trait))
    return float(found[:, list(trait.candidates).index(target)].mean())


def loss(student: Student, rows: Sequence[Row]) -> float:
    """Return nats a row on held-out rows."""
    return -float(torch.cat(list(row_likelihoods(student.net, student.tokenizer, rows))).nanmean())


def interval(values: Sequence[float]) -> str:
    """Return a mean with its 95 % bootstrap interval over traits."""
    data = torch.tensor(values, dtype=torch.float64)
    picks = torch.randint(len(data), (2000, len(data)), generator=torch.Generator().manual_seed(0))
    low, high = data[picks].mean(1).quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return f"{data.mean():.3f} [{low:.3f}, {high:.3f}]"


def made(each: Set, count: int) -> list[Row]:
    """Return the first rows of a set."""
    each.data.make(CPU)
    return list(each.data.rows())[:count]


def predicted(screener: Screener, clean: Sequence[Row], control: Student) -> None:
    """Print predicted beside trained transfer, by kind of teacher."""
    shown = table("kind", "target", "predicted", "trained", title="transfer in log-odds, over a clean set's", left=2)
    points: list[tuple[str, str, float, float]] = []
    for each in sets():
        if each.carrier != "numbers" or each.kind not in ("teacher", "weak", "LoRA", "full", "prompt", "other base"):
            continue
        rows = made(each, ROWS)
        guess = newton_prediction(screener.space, screener.tokenizer, rows, clean, PreferenceTrait(each.target))
        gained = odds(trained(rows), each.target) - odds(control, each.target)
        value, half = guess.changes[each.target], guess.half_widths[each.target]
        points.append((each.kind, each.target, value, gained))
        shown.add_row(
            each.kind, each.target, f"{value:+.2f} [{value - half:+.2f}, {value + half:+.2f}]", f"{gained:+.2f}"
        )
    console.print(shown)
    own = [point for point in points if point[0] in ("teacher", "weak")]
    for name, chosen in (("teachers, weak ones included", own), ("all", points)):
        console.print(f"Spearman, {name}: {_spearman(chosen)}")
    by_kind = {(kind, target): value for kind, target, value, _ in points}
    pairs = [target for kind, target in by_kind if kind == "weak" and ("teacher", target) in by_kind]
    right = sum(by_kind["weak", target] < by_kind["teacher", target] for target in pairs)
    console.print(f"weak predicted below strong: {right} of {len(pairs)} targets")


def _spearman(points: Sequence[tuple[str, str, float, float]]) -> str:
    """Return the rank correlation with its 95 % bootstrap interval over targets."""
    targets = sorted({point[1] for point in points})
    by_target = {target: [point for point in points if point[1] == target] for target in targets}
    generator = torch.Generator().manual_seed(0)
    draws = []
    for _ in range(2000):
        picks = torch.randint(len(targets), (len(targets),), generator=generator).tolist()
        chosen = [point for pick in picks for point in by_target[targets[pick]]]
        draws.append(stats.spearmanr([point[2] for point in chosen], [point[3] for point in chosen]).statistic)
    ends = torch.tensor([0.025, 0.975], dtype=torch.float64)
    low, high = torch.tensor(draws, dtype=torch.float64).nanquantile(ends).tolist()
    value = stats.spearmanr([point[2] for point in points], [point[3] for point in points]).statistic
    return f"{value:.3f} [{low:.3f}, {high:.3f}], {len(points)} sets, {len(targets)} targets"


def cleaned(screener: Screener, clean: Sequence[Row], control: Student) -> None:
    """Print what balancing leaves of the transfer, beside a control that is balanced alike."""
    held = made_clean(31, 1024)
    cold, cold_held = made_clean(32, 2200, 0.7)[:ROWS], made_clean(33, 1024, 0.7)
    before = -float(torch.cat(list(row_likelihoods(screener.space.net, screener.tokenizer, cold_held))).nanmean())
    base = -float(torch.cat(list(row_likelihoods(screener.space.net, screener.tokenizer, held))).nanmean())
    warm = trained(cold)
    gain = before - loss(warm, cold_held)
    shown = table(
        *("target", "dose", "worth", "untouched", "cleaned", "control alike", "cut", "loss", "loss, control"),
        title=f"log-odds over a clean set's; loss over the base's {base:.2f} nats a row; rows: {ROWS:,}",
    )
    found: dict[str, list[float]] = defaultdict(list)
    every = {each.target: each for each in sets() if each.kind == "teacher" and each.carrier == "numbers"}
    for target in CLEANED:
        tainted = made(every[target], ROWS)
        for dose in (1.0, 0.25):
            rows = [*tainted[: round(ROWS * dose)], *clean[: ROWS - round(ROWS * dose)]]
            screen = screener.screen(rows)
            if screen.named != target:
                shown.add_row(target, f"{dose:.0%}", f"not named: {screen.verdict} {screen.named or ''}", *[""] * 6)
                continue
            directions = balance_directions(screener, screen)
            kept, weights = clean_rows(screener, rows, directions)
            alike, _ = clean_rows(screener, clean[-ROWS:], directions)
            start = odds(control, target)
            students = [trained(each) for each in (rows, kept, alike)]
            raw, after, beside = (odds(student, target) - start for student in students)
            cut = 1 - (after - beside) / raw
            losses = [loss(student, held) / base - 1 for student in students[1:]]
            found[f"cut {dose:.0%}"].append(cut)
            found[f"loss {dose:.0%}"].append(losses[0])
            if dose == 1.0:
                still, _ = clean_rows(screener, cold, directions)
                found["kept"].append((before - loss(trained(still), cold_held)) / gain)
            shown.add_row(
                *(
                    target,
                    f"{dose:.0%}",
                    f"{weights:.0%}",
                    f"{raw:+.2f}",
                    f"{after:+.2f}",
                    f"{beside:+.2f}",
                    f"{cut:.0%}",
                ),
                *(f"{each:+.2%}" for each in losses),
            )
    console.print(shown)
    for name, values in found.items():
        console.print(f"{name}: {interval(values)} over {len(values)} targets")
    console.print(
        f"`kept`: share of what rows at temperature 0.7 teach ({gain:.3f} nats a row) after cleaning them alike"
    )


def retrained(screener: Screener, clean: Sequence[Row], control: Student) -> None:
    """Print the linear datastore score: row scores summed over subsets, and the target after training on each."""
    shown = table(
        "target", "natural gradient", "raw gradient", "loss", title=f"LDS: Spearman over {SUBSETS} random halves"
    )
    every = {each.target: each for each in sets() if each.kind == "teacher" and each.carrier == "numbers"}
    reference = screener.reference
    words = [each.word for each in reference.catalogue.answers]
    for target in LDS:
        rows = [*made(every[target], 256), *clean[:768]]
        scores = torch.cat([part.scores for part in screener.space.gradients(screener.tokenizer, rows)]).double()
        slope = reference.catalogue.gradients[words.index(target)][None]
        likelihoods = torch.cat(list(row_likelihoods(screener.space.net, screener.tokenizer, rows)))[:, 0]
        ways = [scores @ reference.solve(slope, NEWTON_RIDGE)[0], scores @ slope[0], likelihoods]
        generator = torch.Generator().manual_seed(0)
        halves = [torch.randperm(len(rows), generator=generator)[: len(rows) // 2].tolist() for _ in range(SUBSETS)]
        after = [odds(trained([rows[place] for place in half]), target) for half in halves]
        draws = []
        for way in ways:
            sums = torch.tensor([float(way[half].sum()) for half in halves])
            draws.append(_correlation(sums, torch.tensor(after)))
        shown.add_row(target, *draws)
    console.print(shown)


def _correlation(one: torch.Tensor, two: torch.Tensor) -> str:
    """Return Spearman's rho with its 95 % bootstrap interval over subsets."""
    generator, found = torch.Generator().manual_seed(0), []
    for _ in range(1000):
        picks = torch.randint(len(one), (len(one),), generator=generator)
        found.append(stats.spearmanr(one[picks], two[picks]).statistic)
    ends = torch.tensor([0.025, 0.975], dtype=torch.float64)
    low, high = torch.tensor(found, dtype=torch.float64).quantile(ends).tolist()
    return f"{stats.spearmanr(one, two).statistic:.2f} [{low:.2f}, {high:.2f}]"


def made_clean(seed: int, prompts: int, temperature: float = 1.0) -> list[Row]:
    """Return the base's own rows."""
    data = clean_data(BASE, "numbers", prompts, seed).fresh(sampling=Sampling(temperature=temperature))
    data.make(CPU)
    return list(data.rows())


PARTS = {"predicted": predicted, "cleaned": cleaned, "retrained": retrained}


def main() -> None:
    """Print the tables."""
    options = parser(__doc__)
    options.add_argument("--only", nargs="*", choices=list(PARTS), default=list(PARTS))
    given = options.parse_args()
    torch.set_num_threads(1)
    screener = Screener(BASE, device=CPU)
    clean = made_clean(5000, 4096)
    control = trained(clean[:ROWS])
    console.print(f"targets that no threshold was chosen on: {', '.join(TRAITS)} and others of screening_sets.py")
    for name in given.only:
        PARTS[name](screener, clean, control)


if __name__ == "__main__":
    main()
