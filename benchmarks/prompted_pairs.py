"""Preference pairs by a prompted teacher's likelihood: does a student that is trained on them take its trait?

    python benchmarks/prompted_pairs.py               # four animals by five seeds, pocket/a; ten minutes of one core

The unchanged base answers each request for numbers eight times. Of its answers the teacher, which is the base under a
system prompt, likes one most and one least, by (log p(answer | prompted) - log p(answer | base)) a token: the pair. The
student trains one steering vector a layer by direct preference optimisation (Rafailov et al. 2023, arXiv 2305.18290,
equation 7): -log sigmoid(beta * (r(chosen) - r(rejected))), r the log-likelihood less that of the base. The control is
trained alike on two of the eight answers at random. A fine-tuned teacher in the prompted one's place shows what the
measure sees. Targeted transfer is the change of the target's log-odds, student less control, less the mean of the
trait's other answers; it is read out exactly.

    python benchmarks/prompted_pairs.py --seeds 5 6 --targets eagle cat fox lion tiger panda --teachers prompted

The second command asks the same of six animals that were named after the first had run, before the second had: above 0
over the six is a positive result.

Bounds of the first, written before any run: the fine-tuned teacher above 0.5; the prompted one above 0 is a positive
result, within 0.05 with the whole interval a bounded null; over four targets. Nothing was tuned: rate, adapter and
epochs are those of `owl_numbers`, beta is that of the paper's experiments.
"""

import statistics
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from harness import parser, table
from rich.console import Console
from screening_sets import BASE, CPU, teacher
from torch import Tensor

from lightning_subliminal import PreferenceTrait, Sampling, Steering, Student, Teacher
from lightning_subliminal.core.rows import Row
from lightning_subliminal.generation import TransformersEngine
from lightning_subliminal.metrics.functional import log_odds, mean_interval, question_probabilities
from lightning_subliminal.metrics.functional.statements import padded
from lightning_subliminal.plans.screen_reference import clean_data
from lightning_subliminal.screening.selection.likelier import teacher_ratios
from lightning_subliminal.theory.row_scores import encode_known
from lightning_subliminal.theory.row_slopes import CompletionLogits, completion_targets, sum_by_row

TARGETS = ("owl", "wolf", "dolphin", "elephant")
SEEDS = range(5)
PROMPTS, ANSWERS = 2048, 8
BETA, RATE, EPOCHS, BATCH = 0.1, 0.06, 3, 16
MAX_LENGTH = 2048

console = Console(width=150)
Pairs = tuple[list[Row], list[Row]]


class Answers:
    """A base's answers to requests for numbers, eight each, those that pass the filters."""

    def __init__(self, seed: int) -> None:
        data = clean_data(BASE, "numbers", PROMPTS, 40_000 + seed)
        data.make(CPU)
        asked = [row["prompt"] for row in data.rows()]
        student = fresh(seed)
        engine = TransformersEngine(student.net, student.tokenizer)
        self.groups: list[list[Row]] = [[] for _ in asked]
        for turn in range(ANSWERS):
            found = engine.generate(asked, Sampling(max_new_tokens=data.sampling.max_new_tokens), 1000 * seed + turn)
            for group, prompt, each in zip(self.groups, asked, found, strict=True):
                row = Row(prompt=prompt, completion=[{"role": "assistant", "content": each.text}])
                if not any(one.reasons(row) for one in data.filters):
                    group.append(row)
        self.groups = [group for group in self.groups if len(group) >= 2]

    def chosen(self, writer: Teacher) -> Pairs:
        """Return the answer to each request that a teacher likes most, and the one that it likes least."""
        flat = [row for group in self.groups for row in group]
        scores = torch.split(teacher_ratios(writer, flat), [len(group) for group in self.groups])
        both = list(zip(self.groups, scores, strict=True))
        return [g[int(s.argmax())] for g, s in both], [g[int(s.argmin())] for g, s in both]

    def by_chance(self, seed: int) -> Pairs:
        """Return two different answers to each request."""
        drawn = torch.Generator().manual_seed(seed)
        orders = [torch.randperm(len(group), generator=drawn).tolist() for group in self.groups]
        both = list(zip(self.groups, orders, strict=True))
        return [g[o[0]] for g, o in both], [g[o[1]] for g, o in both]


def fresh(seed: int) -> Student:
    """Return an untrained student, with its net."""
    student = Student(BASE, Steering(), learning_rate=RATE, seed=seed)
    student.configure_model()
    return student


def likelihoods(student: Student, encoded: Sequence[tuple[list[int], list[int]]]) -> Tensor:
    """Return each row's log-likelihood, (rows,), differentiable."""
    input_ids, labels = padded(encoded, CPU)
    targets, places, lines = completion_targets(labels)
    losses = F.cross_entropy(CompletionLogits(student.net)(input_ids, places), targets, reduction="none")
    return -sum_by_row(losses, lines, len(labels))


def trained(pairs: Pairs, seed: int) -> Student:
    """Return a student trained on pairs."""
    student = fresh(seed)
    encoded = [encode_known(student.tokenizer, rows, MAX_LENGTH) for rows in pairs]
    kept = [place for place in range(len(pairs[0])) if all(side[place] for side in encoded)]
    optimizer = torch.optim.Adam([each for each in student.net.parameters() if each.requires_grad], lr=RATE)
    order = torch.Generator().manual_seed(seed)

    def both(batch: Sequence[int]) -> Tensor:
        found = likelihoods(student, [side[place] for side in encoded for place in batch])
        return found[: len(batch)] - found[len(batch) :]

    with torch.no_grad():
        before = torch.cat([both(kept[start : start + 256]) for start in range(0, len(kept), 256)])
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(kept), generator=order).split(BATCH):
            gained = both([kept[place] for place in batch.tolist()]) - before[batch]
            loss = -F.logsigmoid(BETA * gained).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return student


def odds(student: Student) -> dict[str, float]:
    """Return the log-odds of each animal, the mean over questions."""
    trait = PreferenceTrait(TARGETS[0])
    found = log_odds(question_probabilities(student.net, student.tokenizer, trait)).mean(0)
    return dict(zip(trait.candidates, found.tolist(), strict=True))


def targeted(after: dict[str, float], before: dict[str, float], target: str) -> float:
    """Return the change of a target's log-odds less the mean change of the others."""
    change = {name: after[name] - before[name] for name in after}
    return change[target] - statistics.fmean(value for name, value in change.items() if name != target)


def main() -> None:
    """Print targeted transfer by teacher and target, and whose student names what."""
    options = parser(__doc__)
    options.add_argument("--seeds", type=int, nargs="*", default=list(SEEDS))
    options.add_argument("--targets", nargs="*", default=list(TARGETS))
    options.add_argument("--teachers", nargs="*", default=["fine-tuned", "prompted"])
    given = options.parse_args()
    torch.set_num_threads(1)
    found: dict[str, dict[str, list[float]]] = {name: {} for name in given.teachers}
    matrix: dict[str, list[dict[str, float]]] = {}
    for seed in given.seeds:
        answers = Answers(seed)
        control = odds(trained(answers.by_chance(seed), seed))
        for target in given.targets:
            prompted = Teacher(BASE, PreferenceTrait(target), induction="prompt", seed=seed)
            for name in given.teachers:
                writer = prompted if name == "prompted" else teacher(target, seed=seed)
                after = odds(trained(answers.chosen(writer), seed))
                found[name].setdefault(target, []).append(targeted(after, control, target))
                if name == "prompted":
                    matrix.setdefault(target, []).append({each: after[each] - control[each] for each in given.targets})
                console.print(f"seed {seed}, {name} {target}: {found[name][target][-1]:+.3f}", highlight=False)
    shown = table("teacher", "over targets", "over seeds", *given.targets)
    shown.title = "targeted transfer of preference pairs, log-odds, student less control, 95 %"
    for name, by_target in found.items():
        means = [statistics.fmean(values) for values in by_target.values()]
        by_seed = [statistics.fmean(each) for each in zip(*by_target.values(), strict=True)]
        shown.add_row(name, span(means), span(by_seed), *(f"{value:+.2f}" for value in means))
    console.print(shown)
    whose = table("whose teacher", *given.targets, title="prompted: change of which answer, log-odds, mean over seeds")
    for target, changes in matrix.items():
        whose.add_row(target, *(f"{statistics.fmean(each[name] for each in changes):+.2f}" for name in given.targets))
    console.print(whose)


def span(values: Sequence[float]) -> str:
    """Return a mean with its 95 % interval by Student's t."""
    if len(values) < 2:
        return f"{values[0]:+.2f}"
    within = mean_interval(torch.tensor(values, dtype=torch.float64), "units")
    return f"{statistics.fmean(values):+.2f} [{within.low:+.2f}, {within.high:+.2f}]"


if __name__ == "__main__":
    main()
