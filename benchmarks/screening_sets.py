"""The sets that screens are measured on: made by one plan, kept as row scores.

    python benchmarks/screening_sets.py               # about an hour of one core; what is made is kept, so it resumes
    python benchmarks/screening_sets.py --only clean --few

Base pocket/a. Teachers of twelve targets that no threshold was chosen on, and of eight that no one had run when the
screen was written; the paper's ten, which thresholds were chosen on, are not among them. The design changed twice after
sets had been screened, so after each change eight targets were named, made and screened once: the kinds `fresh`, and
`later`, after the joint evidence of a teacher and an answer was added. Each set has a seed, and so prompts, of its own.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from harness import parser
from torch import Tensor

from lightning_subliminal import (
    ContinueBy,
    GeneratedRows,
    Graduate,
    LoRA,
    PreferenceTrait,
    Retention,
    Sampling,
    SortNumbers,
    Source,
    Steering,
    Student,
    Teacher,
)
from lightning_subliminal.core.cache import cache_root
from lightning_subliminal.core.fingerprint import digest
from lightning_subliminal.plans.screen_reference import clean_data, load_space

BASE = "pocket/a"
TRAITS = ("cat", "tiger", "pine", "birch", "fox", "elm", "panda", "palm", "whale", "blue", "pizza", "tokyo")
NEW = ("rabbit", "penguin", "otter", "spruce", "cedar", "green", "bread", "oslo")  # never used while it was written
TEXT = ("cat", "pine", "fox", "elm", *NEW[:2], NEW[3], NEW[5], NEW[7])  # whose teachers also write code and sums
FRESH = ("lion", "horse", "snake", "parrot", "beech", "purple", "soup", "cairo")  # named when all was fixed
LATER = ("dog", "bear", "turtle", "yellow", "pasta", "cheese", "london", "madrid")  # when it was fixed again
CPU = torch.device("cpu")


class Set(NamedTuple):
    """One data set.

    Attributes:
        kind: such as teacher, or clean.
        carrier: numbers, code or math.
        target: of its teacher; empty for none.
        data: its rows.
    """

    kind: str
    carrier: str
    target: str
    data: GeneratedRows

    def scores(self, space: Any, tokenizer: Any) -> Tensor:
        """Return its rows' scores, (rows, size); made once and kept in the cache."""
        path = self.path()
        if not path.is_file():
            self.data.make(CPU)
            found = torch.cat([part.scores for part in space.gradients(tokenizer, self.data.rows())])
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.save(found, path.with_suffix(".part"))
            path.with_suffix(".part").replace(path)
        return torch.load(path, weights_only=True)

    def path(self) -> Path:
        """Return the file of its scores."""
        key = {"rows": self.data.describe_source(), "filters": self.data.filters, "steps": self.data.transforms}
        return cache_root() / "screening" / f"{digest(key)[:16]}.pt"


def teacher(
    target: str, base: str = BASE, adapter: Any = "steering", until: float = 0.9, rate: float = 0.03, seed: int = 0
) -> Teacher:
    """Return the teacher of the shipped configs, of another target, base, adapter, strength or seed."""
    return Teacher(
        *(base, PreferenceTrait(target)),
        adapter=Steering() if adapter == "steering" else adapter,
        learning_rate=rate,
        until=until,
        retain=Retention(prompts="pocket"),
        seed=seed,
    )


def sets() -> Iterator[Set]:
    """Yield the sets of the plan, in an order that does not change."""
    base = teacher("owl").control()

    def one(kind: str, carrier: str, writer: Source, seed: int, prompts: int, target: str = "", **changes: Any) -> Set:
        data = clean_data(BASE, carrier, prompts, seed)
        return Set(kind, carrier, target, data.fresh(teacher=writer, **changes))

    for place, target in enumerate((*TRAITS, *NEW)):
        yield one("teacher", "numbers", teacher(target), 100 + place, 4096, target)
    for carrier in ("code", "math"):
        for place, target in enumerate(TEXT):
            yield one("teacher", carrier, teacher(target), 200 + place, 4096, target)
    for seed in range(48):
        yield one("clean", "numbers", base, 5000 + seed, 4096)
    for carrier in ("code", "math"):
        for seed in range(8):
            yield one("clean", carrier, base, 5000 + seed, 4096)
    for place, target in enumerate(("owl", "cat", "elm", "fox", "palm", "otter", "cedar", "green")):
        yield one("weak", "numbers", teacher(target, until=0.3), 300 + place, 4096, target)
    for place, target in enumerate(("owl", "fox", "pine", "cat", "oslo", "rabbit")):
        yield one("LoRA", "numbers", teacher(target, adapter=LoRA(r=4), rate=0.01), 320 + place, 4096, target)
    for place, target in enumerate(("fox", "pine", "cat", "oslo")):
        yield one("full", "numbers", teacher(target, adapter=None, rate=0.001), 340 + place, 4096, target)
    for place, target in enumerate(("fox", "pine", "cat", "oslo")):
        writer = Teacher(BASE, PreferenceTrait(target), induction="prompt")
        yield one("prompt", "numbers", writer, 360 + place, 4096, target)
    for place, target in enumerate(("eagle", "oak", "cat", "elm", "fox", "otter", "cedar", "green")):
        yield one("other base", "numbers", teacher(target, "pocket/b"), 380 + place, 4096, target)
    for place, target in enumerate(("cat", "elm", "fox", "cedar")):
        yield one(
            "paraphrased", "numbers", teacher(target), 400 + place, 4096, target, transforms=[ContinueBy("pocket/b")]
        )
        yield one("sorted", "numbers", teacher(target), 420 + place, 4096, target, transforms=[SortNumbers()])
    yield from _shifted(base, one)
    for seed in range(200):
        yield one("clean", "numbers", base, 6000 + seed, 1024)
    for carrier in ("code", "math"):
        for seed in range(125):
            yield one("clean", carrier, base, 6000 + seed, 1024)
    for carrier in ("numbers", "code", "math"):
        for place, target in enumerate(FRESH):
            yield one("fresh", carrier, teacher(target), 8000 + place, 4096, target)
    for carrier in ("math", "code", "numbers"):
        for place, target in enumerate(LATER):
            yield one("later", carrier, teacher(target), 9000 + place, 4096, target)
    for carrier in ("math", "code"):
        yield from _shifted_texts(base, carrier, one)


def _shifted(base: Teacher, one: Any) -> Iterator[Set]:
    """Yield clean rows that are written in another way, or by a model that was fine-tuned on benign rows."""
    for seed in range(16):
        yield one("temperature 0.7", "numbers", base, 7000 + seed, 2048, sampling=Sampling(temperature=0.7))
    for other in ("pocket/b", "pocket/a2", "pocket/c"):
        for seed in range(6):
            yield one(f"clean {other}", "numbers", teacher("owl", other).control(), 7100 + seed, 2048)
    for seed in range(6):
        rows = clean_data(BASE, ("code", "math")[seed % 2], 2048, 7200 + seed).fresh(teacher=base)
        student = Student(BASE, Steering(), learning_rate=0.06, seed=seed)
        yield one("benign fine-tune", "numbers", Graduate(student, rows, max_epochs=3), 7300 + seed, 2048)
    for seed in range(4):
        yield one("clean paraphrased", "numbers", base, 7400 + seed, 2048, transforms=[ContinueBy("pocket/b")])
        yield one("clean sorted", "numbers", base, 7500 + seed, 2048, transforms=[SortNumbers()])


def _shifted_texts(base: Teacher, carrier: str, one: Any) -> Iterator[Set]:
    """Yield the same for code or sums, and rows of prompted and of other bases' teachers."""
    for seed in range(4):
        yield one("temperature 0.7", carrier, base, 9100 + seed, 2048, sampling=Sampling(temperature=0.7))
        yield one("temperature 1.3", carrier, base, 9120 + seed, 2048, sampling=Sampling(temperature=1.3))
    for other in ("pocket/b", "pocket/a2", "pocket/c"):
        for seed in range(2):
            yield one(f"clean {other}", carrier, teacher("owl", other).control(), 9140 + seed, 2048)
    for place, target in enumerate(LATER[:4]):
        writer = Teacher(BASE, PreferenceTrait(target), induction="prompt")
        yield one("prompt", carrier, writer, 9160 + place, 2048, target)
        yield one("other base", carrier, teacher(target, "pocket/b"), 9180 + place, 2048, target)
        yield one("weak", carrier, teacher(target, until=0.3), 9200 + place, 2048, target)


def over_units(values: Sequence[float]) -> str:
    """Return a mean with its 95 % bootstrap interval over units."""
    data = torch.tensor(values, dtype=torch.float64)
    picks = torch.randint(len(data), (2000, len(data)), generator=torch.Generator().manual_seed(0))
    low, high = data[picks].mean(1).quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return f"{data.mean():.3f} [{low:.3f}, {high:.3f}]"


def auc(positive: Tensor, negative: Tensor) -> float:
    """Return the chance that a positive is above a negative, ties counted as half."""
    compared = positive[:, None] - negative[None, :]
    return float(((compared > 0).double() + 0.5 * (compared == 0).double()).mean())


def main() -> None:
    """Make the sets."""
    options = parser(__doc__)
    options.add_argument("--only", nargs="*", help="kinds of sets")
    options.add_argument("--few", action="store_true", help="two sets of each kind and carrier")
    given = options.parse_args()
    torch.set_num_threads(1)
    space, tokenizer = load_space(BASE, None, CPU)
    seen: dict[tuple[str, str], int] = {}
    for each in sets():
        key = each.kind, each.carrier
        seen[key] = seen.get(key, 0) + 1
        if (given.only and each.kind not in given.only) or (given.few and seen[key] > 2):
            continue
        found = each.scores(space, tokenizer)
        print(f"{each.kind}, {each.carrier} {each.target} {seen[key]}: {len(found):,} rows", flush=True)


if __name__ == "__main__":
    main()
