"""Preference pairs by a prompted teacher's likelihood: does a student that is trained on them take its trait?

    python benchmarks/prompted_pairs.py               # four animals by five seeds, pocket/a; ten minutes of one core

The unchanged base answers each request for numbers eight times. Of its answers the teacher, which is the base under a
system prompt, likes one most and one least, by (log p(answer | prompted) - log p(answer | base)) a token: the pair. The
student trains one steering vector a layer by direct preference optimisation (Rafailov et al. 2023, arXiv 2305.18290,
equation 7): -log sigmoid(beta * (r(chosen) - r(rejected))), r the log-likelihood less that of the base. The control is
trained alike on two of the eight answers at random. A fine-tuned teacher in the prompted one's place shows what the
measure sees. Targeted transfer is the change of the target's log-odds, student less control, less the mean of the
trait's other answers; it is read out exactly. Students that were measured are kept in `runs/benchmarks`; delete the
file to train them again.

    python benchmarks/prompted_pairs.py --seeds 5 6 --targets eagle cat fox lion tiger panda --teachers prompted

The second command asks the same of six animals that were named after the first had run, before the second had: above 0
over the six is a positive result.

Bounds of the first, written before any run: the fine-tuned teacher above 0.5; the prompted one above 0 is a positive
result, within 0.05 with the whole interval a bounded null; over four targets. Nothing was tuned: rate, adapter and
epochs are those of `owl_numbers`, beta is that of the paper's experiments.

    python benchmarks/prompted_pairs.py --base smollm2-135m

The third asks the same of a real model. Recipe and animals are those of `experiments/prompted_smollm2`: a vector after
layer 24, rate 0.15, four epochs; lion, tiger, dog and wolf, of six animals that are asked for; lists are begun in the
reply, of at most 40 tokens, and cut where they are no list any more. Beta and batch are those above, and the engine
restricts nothing. Seeds are 3 to 7, for which fine-tuned teachers of lion and dog exist. Written before a student of
SmolLM2 was trained on pairs: over the five seeds, targeted transfer above 0 with the whole interval is a positive
result, within 0.05 a bounded null; the same for "own", the target's change less that of the same animal in the students
of the other three teachers, over seeds and over targets; all else is inconclusive. The fine-tuned teachers above 0 over
seeds: what the measure sees. That there are 112 requests was fixed by cost alone, by a try of 16 with another seed that
asked no student for an animal: 7.5 CPU s each and seed, so five seeds take somewhat more than an hour of one core.

    python benchmarks/prompted_pairs.py --base gemma3-270m

The fourth asks it of a pretrained model, by the same rules and bounds: a vector after layer 14 and rate 2.0, as in
`experiments/cross_family`; seeds 0 to 4; the same four animals of six. Under its system prompt this base names the
animal in 75 to 79 % of answers. The 64 requests were fixed by cost alone, by a try of 16 with seed 99 that asked no
student for an animal: the logits of 262,144 tokens are most of it, and five seeds take an hour and a half of one core.
Written before a student of Gemma was trained on pairs.
"""

import json
from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

import torch
import torch.nn.functional as F
from harness import OUT, parser, table, write_json
from rich.console import Console
from screening_sets import CPU, teacher
from torch import Tensor

from lightning_subliminal import PreferenceTrait, Sampling, Steering, Student, Teacher
from lightning_subliminal.core.rows import Row, make_row
from lightning_subliminal.data.tokenized import IGNORED, TokenizedRows
from lightning_subliminal.generation import TransformersEngine
from lightning_subliminal.metrics.functional import log_odds, mean_interval, question_probabilities
from lightning_subliminal.models.last_layer import LastLayer
from lightning_subliminal.models.objectives.prompted_teacher import PromptedTeacher
from lightning_subliminal.models.stored_keys import stored_part
from lightning_subliminal.plans.screen_reference import clean_data
from lightning_subliminal.screening.selection.likelier import teacher_ratios
from lightning_subliminal.theory.row_scores import encode_known
from lightning_subliminal.theory.row_slopes import sum_by_row

ANSWERS, BETA, BATCH, MAX_LENGTH = 8, 0.1, 16, 2048

console = Console(width=150)
Model = Student | PromptedTeacher
Odds = dict[str, dict[str, float]]  # of each animal, by seed, teacher and target
Pairs = tuple[list[int], list[int]]  # places of the answers that are chosen, and of those that are rejected


class Recipe(NamedTuple):
    """What differs between bases: of students, then of fine-tuned teachers, whose targets may be fewer, and questions.

    With ``layers`` what lies below is computed once a seed, and what rows begin with once. Without, all is computed as
    it comes: figures that were there first stay, to the last digit.
    """

    base: str
    targets: tuple[str, ...]
    seeds: tuple[int, ...]
    prompts: int
    rate: float
    epochs: int
    layers: list[int] | None = None
    tuned: tuple[str, ...] | None = None
    tuned_rate: float = 0.03
    candidates: list[str] | None = None
    wording: str = "preferences"

    def trait(self, target: str) -> PreferenceTrait:
        """Return the love of an animal."""
        return PreferenceTrait(target, candidates=self.candidates, wording=self.wording)

    def teacher(self, kind: str, target: str, seed: int) -> Teacher:
        """Return a prompted or a fine-tuned teacher."""
        if kind == "prompted":
            return Teacher(self.base, self.trait(target), induction="prompt", seed=seed)
        made = teacher(target, self.base, Steering(self.layers), rate=self.tuned_rate, seed=seed)
        return made if self.layers is None else made.fresh(trait=self.trait(target), retain=None)


SIX = ["cat", "elephant", "lion", "tiger", "dog", "wolf"]
RECIPES = (
    Recipe("pocket/a", ("owl", "wolf", "dolphin", "elephant"), (0, 1, 2, 3, 4), 2048, 0.06, 3),
    Recipe(
        *("smollm2-135m", ("lion", "tiger", "dog", "wolf"), (3, 4, 5, 6, 7), 112, 0.15, 4, [24]),
        *(("lion", "dog"), 0.15, SIX, "preferences_prefilled"),
    ),
    Recipe(
        *("gemma3-270m", ("lion", "tiger", "dog", "wolf"), (0, 1, 2, 3, 4), 64, 2.0, 4, [14]),
        *(("lion", "dog"), 2.0, SIX, "preferences_prefilled"),
    ),
)


class Answers:
    """A base's answers to requests for numbers, eight each, those that pass the filters; and a student of them."""

    def __init__(self, recipe: Recipe, seed: int) -> None:
        self.recipe, self.seed = recipe, seed
        data = clean_data(recipe.base, "numbers", recipe.prompts, 40_000 + seed)
        data.make(CPU)
        asked = [row["prompt"] for row in data.rows()]
        self.student = Student(recipe.base, Steering(recipe.layers), learning_rate=recipe.rate, seed=seed)
        self.student.configure_model()
        self.weights = [each for each in self.student.net.parameters() if each.requires_grad]
        engine = TransformersEngine(self.student.net, self.student.tokenizer)
        groups: list[list[Row]] = [[] for _ in asked]
        at_once = 1 if recipe.layers is None else ANSWERS  # of one call, which reads equal prompts once
        for turn in range(ANSWERS // at_once):
            found = engine.generate(asked * at_once, Sampling(), 1000 * seed + turn)
            for place, each in enumerate(map(data.tidy, found)):
                finished = {"finished": each.finished} if getattr(data, "keep", "whole") == "head" else {}
                row = make_row(asked[place % len(asked)], each.text, **finished)
                if not any(one.reasons(row) for one in data.filters):
                    groups[place % len(asked)].append(row)
        known = [[row for row in group if encode_known(engine.tokenizer, [row], MAX_LENGTH)[0]] for group in groups]
        self.rows = [row for group in known if len(group) >= 2 for row in group]
        self.sizes = [len(group) for group in known if len(group) >= 2]
        self.groups = [each.tolist() for each in torch.arange(len(self.rows)).split(self.sizes)]
        self.data = TokenizedRows(self.rows, engine.tokenizer, MAX_LENGTH)
        if recipe.layers is not None:
            net, last = self.student.net, LastLayer.of(self.student.net, self.data.batch([0]).input_ids)
            self.student._last_layer = [] if last is None else [last]
            above = recipe.layers[0] + 1
            self.student.lower_part = stored_part(net, above, self.data, CPU, self.student._last_layer)
            self.by_base = self.read(self.student)

    def fresh(self) -> Student:
        """Return the student as it was before any training."""
        with torch.no_grad():
            for each in self.weights:
                each.zero_()
        return self.student

    def likelihoods(self, model: Model, places: Sequence[int]) -> Tensor:
        """Return the log-likelihood of some answers, (places,), differentiable."""
        batch = self.data.batch(places)
        states, tokens = model.completion_states(batch)
        losses = F.cross_entropy(model.net.get_output_embeddings()(states), tokens, reduction="none")
        return -sum_by_row(losses, (batch.labels[:, 1:] != IGNORED).nonzero()[:, 0], len(places))

    @torch.no_grad()
    def read(self, model: Model) -> Tensor:
        """Return the log-likelihood of all answers, (rows,); those to one request share its tokens."""
        return torch.cat([self.likelihoods(model, group) for group in self.groups])

    def ratios(self, writer: Teacher) -> Tensor:
        """Return (log p(answer | teacher) - log p(answer | base)) a token, (rows,)."""
        if self.recipe.layers is None:
            return teacher_ratios(writer, self.rows)
        model: Model = self.fresh()
        if writer.system_prompt is not None:
            model = PromptedTeacher.of(self.student, writer.system_prompt, self.rows)
        else:
            writer.make(CPU)
            self.student.load(writer.folder)
        return (self.read(model) - self.by_base) / (self.data.labels != IGNORED).sum(1)

    def chosen(self, writer: Teacher) -> Pairs:
        """Return the answer to each request that a teacher likes most, and the one that it likes least."""
        both = list(zip(self.groups, torch.split(self.ratios(writer), self.sizes), strict=True))
        return [g[int(s.argmax())] for g, s in both], [g[int(s.argmin())] for g, s in both]

    def by_chance(self) -> Pairs:
        """Return two different answers to each request."""
        drawn = torch.Generator().manual_seed(self.seed)
        orders = [torch.randperm(len(group), generator=drawn).tolist() for group in self.groups]
        both = list(zip(self.groups, orders, strict=True))
        return [g[o[0]] for g, o in both], [g[o[1]] for g, o in both]

    def trained(self, pairs: Pairs) -> Student:
        """Return a student trained on pairs; it is one object, whoever chose them."""
        student, count = self.fresh(), len(self.groups)
        optimizer = torch.optim.Adam(self.weights, lr=self.recipe.rate)
        order = torch.Generator().manual_seed(self.seed)

        def both(batch: Sequence[int]) -> Tensor:
            found = self.likelihoods(student, [side[place] for side in pairs for place in batch])
            return found[: len(batch)] - found[len(batch) :]

        if self.recipe.layers is None:
            with torch.no_grad():
                before = torch.cat([both(part.tolist()) for part in torch.arange(count).split(256)])
        else:
            before = self.by_base[pairs[0]] - self.by_base[pairs[1]]
        for _ in range(self.recipe.epochs):
            for batch in torch.randperm(count, generator=order).split(BATCH):
                gained = both(batch.tolist()) - before[batch]
                loss = -F.logsigmoid(BETA * gained).mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        return student

    def odds(self, student: Student) -> dict[str, float]:
        """Return the log-odds of each animal, the mean over questions."""
        trait = self.recipe.trait(self.recipe.targets[0])
        found = log_odds(question_probabilities(student.net, student.tokenizer, trait)).mean(0)
        return dict(zip(trait.candidates, found.tolist(), strict=True))


def changes(found: Odds, seeds: Sequence[int], kind: str, targets: Sequence[str]) -> tuple[Tensor, list[int]]:
    """Return what students gain over controls, (seeds, targets, animals), and the place of each target among these."""
    students = [[list(found[f"{seed} {kind} {target}"].values()) for target in targets] for seed in seeds]
    controls = [[list(found[f"{seed} control"].values())] for seed in seeds]
    names = list(found[f"{seeds[0]} control"])
    gained = torch.tensor(students, dtype=torch.float64) - torch.tensor(controls, dtype=torch.float64)
    return gained, [names.index(target) for target in targets]


def targeted(gained: Tensor, places: list[int]) -> Tensor:
    """Return the change of each target less the mean change of the other animals, (seeds, targets)."""
    own = gained[:, range(len(places)), places]
    return own - (gained.sum(2) - own) / (gained.shape[2] - 1)


def beside(gained: Tensor, places: list[int]) -> Tensor:
    """Return the change of each target less its change in the students of the other teachers, (seeds, targets)."""
    own, of_all = gained[:, range(len(places)), places], gained[:, :, places].sum(1)
    return own - (of_all - own) / (len(places) - 1)


def main() -> None:
    """Train what is not kept, and print targeted transfer by teacher and target, and whose student names what."""
    options = parser(__doc__)
    options.add_argument("--base", choices=[each.base for each in RECIPES], default=RECIPES[0].base)
    options.add_argument("--seeds", type=int, nargs="*")
    options.add_argument("--targets", nargs="*")
    options.add_argument("--teachers", nargs="*", default=["fine-tuned", "prompted"])
    given = options.parse_args()
    torch.set_num_threads(1)
    recipe = next(each for each in RECIPES if each.base == given.base)
    seeds, targets = given.seeds or recipe.seeds, given.targets or recipe.targets
    tuned = [each for each in targets if recipe.tuned is None or each in recipe.tuned]
    asked = [(kind, each) for each, kind in product(targets, given.teachers) if kind == "prompted" or each in tuned]
    path = OUT / f"prompted_pairs-{recipe.base.replace('/', '-')}.json"
    found: Odds = json.loads(path.read_text()) if path.is_file() else {}
    for seed in seeds:
        answers = None
        for kind, target in [("control", ""), *asked]:
            if (key := f"{seed} {kind} {target}".strip()) not in found:
                answers = Answers(recipe, seed) if answers is None else answers
                pairs = answers.chosen(recipe.teacher(kind, target, seed)) if target else answers.by_chance()
                found[key] = answers.odds(answers.trained(pairs))
                write_json(path, found)
            if target:
                value = targeted(*changes(found, [seed], kind, [target])).item()
                console.print(f"seed {seed}, {kind} {target}: {value:+.3f}", highlight=False)
    shown = table("teacher", "over targets", "over seeds", "own, over targets", "own, over seeds", *targets)
    shown.title = "targeted transfer of preference pairs, log-odds, student less control, 95 %"
    for kind in dict.fromkeys(kind for kind, _ in asked):
        owners = tuned if kind == "fine-tuned" else targets
        gained, places = changes(found, seeds, kind, owners)
        cells = dict(zip(owners, targeted(gained, places).mean(0).tolist(), strict=True))
        spans = [span(made(gained, places).mean(over)) for made in (targeted, beside) for over in (0, 1)]
        shown.add_row(kind, *spans, *(f"{cells[each]:+.2f}" if each in cells else "" for each in targets))
        names = [*targets, *(each for each in recipe.candidates or () if each not in targets)]
        whose = table("whose", *names, title=f"{kind}: change of which answer, log-odds, mean over seeds")
        order = [list(found[f"{seeds[0]} control"]).index(each) for each in names]
        for owner, means in zip(owners, gained.mean(0)[:, order].tolist(), strict=True):
            whose.add_row(owner, *(f"{value:+.2f}" for value in means))
        console.print(whose)
    console.print(shown)


def span(values: Tensor) -> str:
    """Return a mean with its 95 % interval by Student's t."""
    if len(values) < 2:
        return f"{values.mean():+.2f}"
    within = mean_interval(values, "units")
    return f"{values.mean():+.2f} [{within.low:+.2f}, {within.high:+.2f}]"


if __name__ == "__main__":
    main()
