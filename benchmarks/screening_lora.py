"""Sets that LoRA teachers wrote, and those of steering teachers, screened in the space of each.

    python benchmarks/screening_lora.py          # a quarter of an hour of one core; what is made is kept
    python benchmarks/screening_lora.py --few    # a third of it: three targets, four clean sets, 10,500 prompts

Number rows of pocket/a. The space of LoRA is that of the factors B of rank 4, projected on 512 numbers
(`screen reference --space lora4/512`); A is drawn with another seed than the writers'. Suspects have another seed,
another rank and less training than the writers, and are projected on the space over clean rows, but for the steering
suspects in their own space, which are those of the shipped reference. Two clean sets fill up tainted bags, eight give
the clean bags. AUC is the mean over targets with its bootstrap interval, and the range.
"""

from collections import defaultdict

import torch
from harness import parser, table
from rich.console import Console
from screening_sets import BASE, CPU, Set, auc, over_units, sets, teacher
from torch import Tensor

from lightning_subliminal import LoRA
from lightning_subliminal.evaluation.model_ref import find_model
from lightning_subliminal.plans.screen_reference import clean_data, find_reference, load_space, make_reference_file
from lightning_subliminal.plans.screening.suspects import displacement
from lightning_subliminal.screening import DirectionDetector, Reference, RunningSums

TARGETS = ("fox", "pine", "cat", "oslo", "rabbit")
SPACES = ("lora4/512", "steering")
FILLING, QUIET, BAGS, DRAWS, PROMPTS = 2, 8, 4, 20, 24_000
FEW = {"TARGETS": ("cat", "fox", "pine"), "FILLING": 1, "QUIET": 4, "PROMPTS": 10_500}
CELLS = ((64, 1.0), (256, 1.0), (1024, 1.0), (1024, 0.25))
COLUMNS = ("LoRA suspect", "steering suspect", "answer alone", "any shift")

console = Console(width=170)
generator = torch.Generator().manual_seed(0)


def chosen() -> dict[str, list[Set]]:
    """Return the sets by kind."""
    found: dict[str, list[Set]] = defaultdict(list)
    for each in sets():
        wanted = each.carrier == "numbers" and (each.kind == "clean" or each.target in TARGETS)
        if wanted and each.kind in ("clean", "LoRA", "teacher"):
            found[each.kind].append(each)
    return found | {"clean": found["clean"][: FILLING + QUIET]}


class Space:
    """One space: its reference, the scores of all sets, and its detectors."""

    def __init__(self, name: str) -> None:
        self.name = name
        steering = name == "steering"
        path = None if steering else make_reference_file(BASE, "numbers", PROMPTS, space=name)
        self.reference = find_reference(BASE, "numbers") if path is None else Reference.load(path)
        self.space, self.tokenizer = load_space(BASE, None, CPU, name)
        made = chosen()
        self.clean = [self.scored(each) for each in made["clean"]]
        self.writers = {kind: {each.target: self.scored(each) for each in made[kind]} for kind in ("LoRA", "teacher")}
        self.detectors = {
            "LoRA suspect": self.suspects(LoRA(r=8), 0.01),
            "steering suspect": DirectionDetector.known(self.reference)
            if steering
            else self.suspects("steering", 0.03),
            "answer alone": DirectionDetector.white(self.reference),
        }

    def scored(self, each: Set) -> Tensor:
        """Return the scores of a set's rows, (rows, size), those without one left out."""
        path = each.path().with_suffix(f".{self.name.replace('/', '-')}.pt")
        if not path.is_file():
            each.data.make(CPU)
            found = torch.cat([part.scores for part in self.space.gradients(self.tokenizer, each.data.rows())])
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.save(found, path)
        scores = torch.load(path, weights_only=True)
        console.print(f"{self.name}: {each.kind} {each.target}, {len(scores):,} rows", highlight=False)
        return scores[scores.isfinite().all(1)].double()

    def suspects(self, adapter: object, rate: float) -> DirectionDetector:
        """Return the detector of teachers of the targets, projected on the space over clean rows."""
        data = clean_data(BASE, "numbers", 4096, 2_000_003)
        data.make(CPU)
        rows = list(data.rows())
        parts = self.space.gradients(self.tokenizer, rows)
        scores = self.reference.shortened(torch.cat([part.scores for part in parts]))
        vectors = []
        for target in TARGETS:
            suspect = teacher(target, adapter=adapter, rate=rate, seed=77, until=0.75)
            suspect.make(CPU)
            model = find_model(str(suspect.folder))
            vectors.append(displacement(model, self.space, self.tokenizer, rows, scores, self.reference))
        return DirectionDetector.suspects(TARGETS, torch.stack(vectors))

    def statistics(self, bag: Tensor, target: str) -> list[float]:
        """Return the z of each detector along a target, and the statistic of any shift."""
        made = RunningSums(self.reference)
        made.add(bag)
        found = [each.decide(made)[each.names.index(target)].z for each in self.detectors.values()]
        return [*found, made.hotelling()]

    def quiet(self, size: int) -> list[Tensor]:
        """Return clean bags, no two of which share a row."""
        whole = [each[order(len(each))] for each in self.clean[FILLING:]]
        return [part for each in whole for part in each.split(size)[:BAGS] if len(part) == size]

    def tainted(self, rows: Tensor, size: int, dose: float) -> Tensor:
        """Return a bag with a dose of a writer's rows."""
        count = round(size * dose)
        filling = torch.cat(self.clean[:FILLING])
        return torch.cat([rows[order(len(rows))[:count]], filling[order(len(filling))[: size - count]]])


def order(count: int) -> Tensor:
    """Return places in a random order."""
    return torch.randperm(count, generator=generator)


def main() -> None:
    """Print the table."""
    options = parser(__doc__)
    options.add_argument("--few", action="store_true")
    if options.parse_args().few:
        globals().update(FEW)
    torch.set_num_threads(1)
    shown = table("writers", "space", "rows", "dose", "clean bags", *COLUMNS, left=2)
    shown.title = f"AUC against clean bags, {len(TARGETS)} targets"
    for name in SPACES:
        space = Space(name)
        for kind, made in space.writers.items():
            for size, dose in CELLS:
                clean = space.quiet(size)
                found: list[list[float]] = [[] for _ in COLUMNS]
                for target, rows in made.items():
                    high = [space.statistics(space.tainted(rows, size, dose), target) for _ in range(DRAWS)]
                    low = [space.statistics(bag, target) for bag in clean]
                    for column in range(len(COLUMNS)):
                        ours, theirs = (torch.tensor([each[column] for each in part]) for part in (high, low))
                        found[column].append(auc(ours, theirs))
                cells = [f"{over_units(each)} ({min(each):.2f}-{max(each):.2f})" for each in found]
                writers = "LoRA" if kind == "LoRA" else "steering"
                shown.add_row(writers, name, f"{size:,}", f"{dose:.0%}", str(len(clean)), *cells)
                console.print(writers, name, size, dose, len(clean), *cells, highlight=False)
    console.print(shown)


if __name__ == "__main__":
    main()
