"""Baselines of a screen beside its detectors, on the same bags of the sets of screening_sets.py.

    python benchmarks/screening_sets.py --only teacher weak clean   # first: makes the sets, and keeps their scores
    python benchmarks/screening_baselines.py                        # ten minutes
    python benchmarks/screening_baselines.py --only judge           # models read rows; makes what it needs

Number rows of pocket/a. Of the clean sets, 3 are what baselines compare with and learn from, 2 fill up tainted bags,
and 12 give clean bags, which share no row. Tainted bags are drawn from 1,536 rows of each teacher. Loss, length and
word frequencies are decided by |z| or p: either direction counts. Naive Bayes learns from the rows of a weak teacher
of the same trait (until 0.3, trained with the seed of the teacher that it is tested on: a friendly case), TF-IDF with
logistic regression from teachers of the 19 other traits. The mean AUC has its 95 % bootstrap interval over traits
(2,000 draws, seed 0); the range is over traits.
"""

import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from harness import parser, table
from rich.console import Console
from screening_sets import BASE, CPU, Set, sets
from torch import Tensor

from lightning_subliminal import LocalModelJudge
from lightning_subliminal.core.rows import Row
from lightning_subliminal.plans.screen_reference import find_reference, load_space
from lightning_subliminal.screening import DirectionDetector, Reference, RunningSums, ShiftDetector
from lightning_subliminal.screening.baselines import (
    JudgeScorer,
    WordScorer,
    compare_means,
    count_words,
    word_frequencies,
)
from lightning_subliminal.screening.row_classifier import auc_interval
from lightning_subliminal.screening.scorers import LengthScorer
from lightning_subliminal.theory.row_likelihoods import row_likelihoods

SIZES, DOSES, DRAWS = (64, 256, 1024), (1.0, 0.25, 0.1), 20
COMPARED, FILLING, QUIET = 3, 2, 12  # clean sets
BAGS = 4  # of a clean set, at most
READS = {"teacher": 1536, "clean": 2048}  # rows of a set
LEARNED = 200  # rows of each other trait that TF-IDF learns from
ALPHA = 0.01
JUDGED = ("cat", "fox", "pine", "whale")
READ = 48  # rows of each that a judge reads, and as many clean ones
JUDGES = ("pocket/judge", "smollm2-135m")  # the first knows no other question than that of its own rubric
RUBRIC = Path(__file__).with_name("row_judge.yaml")

console = Console(width=170)
generator = torch.Generator().manual_seed(0)


class Scored(NamedTuple):
    """Rows of a set, each with what statistics need of it.

    Attributes:
        target: of its teacher.
        rows: as they are.
        scores: (rows, size), float64.
        loss: a token; nan where it can't be scored.
        length: in tokens.
        odds: of classifiers, (rows, classifiers); nan for those of other traits.
    """

    target: str
    rows: list[Row]
    scores: Tensor
    loss: Tensor
    length: Tensor
    odds: Tensor

    def drawn(self, count: int) -> "Scored":
        """Return rows drawn without replacement."""
        return self.at(torch.randperm(len(self.rows), generator=generator)[:count])

    def at(self, places: Tensor) -> "Scored":
        """Return the rows at places."""
        rows = [self.rows[place] for place in places.tolist()]
        return Scored(self.target, rows, *(each[places] for each in self[2:]))


def joined(parts: Sequence[Scored]) -> Scored:
    """Return the rows of several sets."""
    rows = [row for part in parts for row in part.rows]
    tensors = zip(*(part[2:] for part in parts), strict=True)
    return Scored(parts[0].target, rows, *map(torch.cat, tensors))


class Bench:
    """The sets, loaded once."""

    def __init__(self) -> None:
        self.reference: Reference = find_reference(BASE, "numbers")
        self.space, self.tokenizer = load_space(BASE, None, CPU)
        found: dict[str, list[Set]] = defaultdict(list)
        for each in sets():
            if each.carrier == "numbers" and each.path().is_file():
                found[each.kind].append(each)
        clean = [self.scored(each) for each in found["clean"][: COMPARED + FILLING + QUIET]]
        self.compared = joined(clean[:COMPARED])
        self.filling = joined(clean[COMPARED : COMPARED + FILLING])
        self.quiet = clean[COMPARED + FILLING :]
        self.teachers = [self.scored(each) for each in found["teacher"]]
        self.weak = {each.target: each.data.rows() for each in found["weak"]}
        self.classifiers = classifiers(self)
        self.compared, self.filling = self.classified(self.compared), self.classified(self.filling)
        self.quiet = [self.classified(each) for each in self.quiet]
        self.teachers = [self.classified(each, each.target) for each in self.teachers]
        console.print(f"{len(self.classifiers)} classifiers are trained and have read all rows")

    def classified(self, each: Scored, target: str | None = None) -> Scored:
        """Return a set with the log-odds of classifiers: of all, or of those of one trait."""
        columns = [
            scorer.scores(each.rows)
            if target in (None, of)
            else torch.full((len(each.rows),), torch.nan, dtype=torch.float64)
            for (_, of), scorer in self.classifiers.items()
        ]
        return each._replace(odds=torch.stack(columns, 1))

    def scored(self, each: Set) -> Scored:
        """Return a set with what statistics need."""
        rows = each.data.rows()[: READS[each.kind]]
        scores = each.scores(self.space, self.tokenizer)[: len(rows)]
        kept = scores.isfinite().all(1).nonzero()[:, 0]
        length = LengthScorer(self.tokenizer).scores(rows)
        loss = -torch.cat(list(row_likelihoods(self.space.net, self.tokenizer, rows)))[:, 0] / length
        console.print(f"{each.kind} {each.target}: {len(kept):,} rows", highlight=False)
        odds = torch.zeros(len(kept), 0, dtype=torch.float64)
        return Scored(
            each.target, [rows[place] for place in kept.tolist()], scores[kept].double(), loss[kept], length[kept], odds
        )

    def tainted(self, teacher: Scored, size: int, dose: float) -> Scored:
        """Return a bag with a dose of a teacher's rows."""
        count = round(size * dose)
        return joined([teacher.drawn(count), self.filling.drawn(size - count)])

    def clean(self, size: int) -> list[Scored]:
        """Return bags of clean rows, no two of which share a row."""
        found = []
        for each in self.quiet:
            whole = torch.randperm(len(each.rows), generator=generator)
            found += [each.at(part) for part in whole.split(size)[:BAGS] if len(part) == size]
        return found


def auc(positive: Sequence[float], negative: Sequence[float]) -> float:
    """Return the chance that a positive is above a negative, ties counted as half."""
    high, low = torch.tensor(positive, dtype=torch.float64)[:, None], torch.tensor(negative, dtype=torch.float64)
    return float(((high > low).double() + 0.5 * (high == low).double()).mean())


def over_traits(values: Sequence[float]) -> str:
    """Return the mean with its bootstrap interval over traits, and the range."""
    data = torch.tensor(values, dtype=torch.float64)
    picks = torch.randint(len(data), (2000, len(data)), generator=torch.Generator().manual_seed(0))
    low, high = data[picks].mean(1).quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return f"{data.mean():.2f} [{low:.2f}, {high:.2f}] ({data.min():.2f}-{data.max():.2f})"


def tables() -> None:
    """AUC of bags: the screen's detectors, and baselines."""
    bench = Bench()
    known, white = DirectionDetector.known(bench.reference), DirectionDetector.white(bench.reference)
    clean_words = count_words(bench.compared.rows)

    def plain(bag: Scored) -> dict[str, tuple[float, float]]:
        """Return statistic and p of what needs no trait."""
        sums = RunningSums(bench.reference)
        sums.add(bag.scores)
        shift = ShiftDetector().decide(sums)[0]
        words = word_frequencies(count_words(bag.rows), clean_words)
        loss = compare_means("loss", bag.loss, bench.compared.loss, two_sided=True)
        length = compare_means("length", bag.length, bench.compared.length, two_sided=True)
        return {
            "shift": (sums.hotelling(), shift.p),
            "words": (words.z, words.p),
            "loss": (abs(loss.z), loss.p),
            "length": (abs(length.z), length.p),
        }

    def by_trait(bag: Scored, target: str) -> dict[str, float]:
        """Return what looks for one trait."""
        sums = RunningSums(bench.reference)
        sums.add(bag.scores)
        found = {}
        for name, detector in (("teacher", known), ("white", white)):
            if target in detector.names:
                found[name] = detector.decide(sums)[detector.names.index(target)].z
        for column, (name, of) in enumerate(bench.classifiers):
            if of == target:
                found[name] = compare_means(name, bag.odds[:, column], bench.compared.odds[:, column]).z
        return found

    names = ("teacher", "white", "naive Bayes", "TF-IDF", "shift", "words", "loss", "length")
    shown = table("rows", "dose", *names)
    shown.title = "AUC against clean bags: mean over traits [95 % interval] (range over traits)"
    alarms = table(
        "rows", "clean bags", "shift", "words", "loss", "length", title=f"share of clean bags with p < {ALPHA}"
    )
    for size in SIZES:
        clean = bench.clean(size)
        quiet = [plain(bag) for bag in clean]
        quiet_by = {each.target: [by_trait(bag, each.target) for bag in clean] for each in bench.teachers}
        shares = [
            sum(each[name][1] < ALPHA for each in quiet) / len(quiet) for name in ("shift", "words", "loss", "length")
        ]
        alarms.add_row(f"{size:,}", str(len(clean)), *(f"{share:.1%}" for share in shares))
        for dose in DOSES:
            found: dict[str, list[float]] = defaultdict(list)
            for teacher in bench.teachers:
                bags = [bench.tainted(teacher, size, dose) for _ in range(DRAWS)]
                for name in quiet[0]:
                    found[name].append(auc([plain(bag)[name][0] for bag in bags], [each[name][0] for each in quiet]))
                own = [by_trait(bag, teacher.target) for bag in bags]
                for name in own[0]:
                    others_found = [each[name] for each in quiet_by[teacher.target]]
                    found[name].append(auc([each[name] for each in own], others_found))
            cells = [over_traits(found[name]) if found[name] else "-" for name in names]
            shown.add_row(f"{size:,}", f"{dose:.0%}", *cells)
            console.print(f"{size} {dose}: {dict(zip(names, cells, strict=True))}", highlight=False)
    console.print(shown)
    console.print(alarms)
    learned = [target for name, target in bench.classifiers if name == "naive Bayes"]
    console.print(f"traits: {len(bench.teachers)}; naive Bayes: {', '.join(learned)}")


def classifiers(bench: Bench) -> dict[tuple[str, str], WordScorer]:
    """Return naive Bayes by trait, learned from its weak teacher, and TF-IDF by trait, learned from all others."""
    targets = {each.target for each in bench.teachers}
    clean = bench.compared.rows
    found = {
        ("naive Bayes", target): WordScorer(rows, bench.compared.drawn(len(rows)).rows)
        for target, rows in bench.weak.items()
        if target in targets
    }
    parts = {each.target: each.drawn(LEARNED).rows for each in bench.teachers}
    for target in parts:
        tainted = [row for other, rows in parts.items() if other != target for row in rows]
        found["TF-IDF", target] = WordScorer(tainted, clean[: len(tainted)], "TF-IDF logistic regression")
    return found


def judge() -> None:
    """AUC of single rows by models that read them, and by a known teacher's score of the same rows."""
    numbers = [each for each in sets() if each.carrier == "numbers"]
    clean = _first_rows(next(each for each in numbers if each.kind == "clean"))
    written = {each.target: _first_rows(each) for each in numbers if each.kind == "teacher" and each.target in JUDGED}
    reference, (space, tokenizer) = find_reference(BASE, "numbers"), load_space(BASE, None, CPU)
    known = DirectionDetector.known(reference)
    shown = table("reader", "trait", "rows read", "not scored", "AUC of a row", "95 %", left=2)
    for reader in ("known teacher", *JUDGES):
        values = []
        for target, rows in written.items():
            if reader == "known teacher":
                (part,) = space.gradients(tokenizer, [*rows, *clean])
                scores = known.row_scores(reference, part.scores)[:, known.names.index(target)]
            else:
                scores = _judged(reader, target, [*rows, *clean])
            tainted, others = (part[part.isfinite()].tolist() for part in scores.split(READ))
            missing = 2 * READ - len(tainted) - len(others)
            cells = ["-", "-"]
            if tainted and others:
                values.append(auc(tainted, others))
                low, high = auc_interval(values[-1], len(tainted), len(others))
                cells = [f"{values[-1]:.2f}", f"[{low:.2f}, {high:.2f}]"]
            shown.add_row(reader, target, str(2 * READ), str(missing), *cells)
            console.print(reader, target, *cells, missing, highlight=False)
        shown.add_row(reader, "all", "", "", over_traits(values) if values else "-", "")
    console.print(shown)


def _first_rows(each: Set) -> list[Row]:
    """Make a set, and return the rows that are read."""
    each.data.make(CPU)
    return list(each.data.rows()[:READ])


def _judged(base: str, target: str, rows: list[Row]) -> Tensor:
    """Return what a judge says of rows: of the trait if it can be asked, else its own question."""
    with tempfile.TemporaryDirectory() as folder:
        rubric = Path(folder) / "rubric.yaml"
        rubric.write_text(RUBRIC.read_text(encoding="utf-8").replace("{target}", target), encoding="utf-8")
        made = LocalModelJudge(
            base,
            None if base == "pocket/judge" else str(rubric),
            coherence=False,
            reversed_scale=False,
            least_share=1e-9,
            base_dtype="float32" if base == "pocket/judge" else "bfloat16",
            device="cpu",
        )
        return JudgeScorer(made).scores(rows)


def main() -> None:
    """Print the tables."""
    options = parser(__doc__)
    options.add_argument("--only", choices=["tables", "judge"], default="tables")
    given = options.parse_args()
    torch.set_num_threads(1)
    (tables if given.only == "tables" else judge)()


if __name__ == "__main__":
    main()
