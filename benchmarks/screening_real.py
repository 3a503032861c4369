"""Screen number rows of a real model: what do one layer, all layers projected, and LoRA projected see of a trait?

    LIGHTNING_SUBLIMINAL_CACHE=/work/realcache python benchmarks/screening_real.py make    # hours of one core
    python benchmarks/screening_real.py table
    python benchmarks/screening_real.py make --base gemma3-270m    # and `table --base gemma3-270m`

`make` goes through the sets in an order in which the first ones already give a table, and keeps teachers, rows and
scores, so that it may be stopped at any time and continued. Writers are the teachers of `smollm2_owl_numbers`, or of
`gemma3-270m_owl_numbers`, with other targets and seeds. Scores are computed in bfloat16, all three spaces in one pass.
The clean rows of the reference are written in bfloat16 too (half the time); those of the clean test sets and of the
teachers in float32. `table` reads the scores: AUC of bags, naming among 20 animals, false alarms on clean sets that are
not in the reference.
"""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from harness import OUT, parser, table
from rich.console import Console
from safetensors.torch import load_file, save_file
from torch import Tensor

from lightning_subliminal import PreferenceTrait, bases
from lightning_subliminal.core.config.shipped import find_config
from lightning_subliminal.core.console import say
from lightning_subliminal.data import GeneratedRows
from lightning_subliminal.models.adapters.files import read_adapter
from lightning_subliminal.plans.from_config import read_setting
from lightning_subliminal.plans.screen_reference import clean_data
from lightning_subliminal.screening import (
    Catalogue,
    CatalogueEntry,
    DirectionDetector,
    Reference,
    RunningSums,
    ShiftDetector,
    measure_catalogue,
)
from lightning_subliminal.screening.reference import summed_up
from lightning_subliminal.theory.row_gradients import LayerVectors, ScoreSpace
from lightning_subliminal.theory.score_spaces import LoRAFactors, Projected

CONFIGS = {"smollm2-135m": "smollm2_owl_numbers", "gemma3-270m": "gemma3-270m_owl_numbers"}
LAYER = 14  # that of both configs
WORDS = PreferenceTrait("owl").candidates
TARGETS = ("owl", "cat", "eagle", "elephant", "wolf", "dolphin")
SUSPECT_SEED = 0  # its teachers are the auditor's; those that write have other seeds
SPACES = ("one layer", "all layers, projected", "LoRA, projected")
PROJECTED = 512  # numbers of a projected space


class Joined(ScoreSpace):
    """Several spaces side by side, so that one pass gives the scores of all."""

    def __init__(self, parts: list[ScoreSpace]) -> None:
        super().__init__(parts[0].net, None, sum(each.size for each in parts))
        self.parts = parts

    @property
    def name(self) -> str:
        """Return those of the parts."""
        return " + ".join(part.name for part in self.parts)

    @contextmanager
    def added(self, vectors: Tensor) -> Iterator[None]:
        """Move the base in all spaces at once."""
        with ExitStack() as stack:
            for part, own in zip(self.parts, vectors.split([each.size for each in self.parts], -1), strict=True):
                stack.enter_context(part.added(own))
            yield


def spaces(base: str, dtype: str = "bfloat16") -> tuple[Joined, object]:
    """Load the base, and return its three spaces and its tokenizer."""
    net, tokenizer = bases.load(base, dtype=dtype)
    net.requires_grad_(False)
    parts = [
        LayerVectors(net, [LAYER]),
        Projected(LayerVectors(net), PROJECTED),
        Projected(LoRAFactors(net), PROJECTED),
    ]
    return Joined(parts), tokenizer


def clean(base: str, seed: int, dtype: str = "float32") -> GeneratedRows:
    """Return a set of the base's own rows."""
    data = clean_data(base, "numbers", 160, seed)
    return data.fresh(teacher=data.teacher.fresh(base_dtype=dtype))  # type: ignore[attr-defined]


def written(base: str, target: str, seed: int) -> GeneratedRows:
    """Return the set of a teacher of another target."""
    data = read_setting(find_config(CONFIGS[base]), seed, base).rows()
    trait = PreferenceTrait(target, wording="preferences_prefilled")
    return data.fresh(teacher=data.teacher.fresh(trait=trait, seed=seed, max_epochs=200))  # type: ignore[attr-defined, return-value]


def jobs(base: str) -> Iterator[tuple[str, str, int, GeneratedRows]]:
    """Yield kind, target, seed and data of each set, the most useful ones first."""
    more = iter(range(6000, 6100))
    for seed in range(3):
        yield "clean", "", seed, clean(base, seed)
    for seed in (1, 2, 3, 4):
        for place, target in enumerate(TARGETS):
            yield "teacher", target, seed, written(base, target, seed)
            if seed == 1 and place in (1, 2):
                yield "clean", "", place + 2, clean(base, place + 2)
            if seed > 1 or place == 5:
                yield "reference", "", (extra := next(more)), clean(base, extra, "bfloat16")
    for extra in more:
        yield "reference", "", extra, clean(base, extra, "bfloat16")


def folder(base: str) -> Path:
    """Return where a base's scores are kept."""
    return OUT / f"screening_{base}"


def path(base: str, kind: str, target: str, seed: int) -> Path:
    """Return where a set's scores are kept."""
    return folder(base) / f"{kind}-{target or 'none'}-{seed}.safetensors"


def make(base: str, hours: float) -> None:
    """Write and score sets, and measure the catalogue, until the time is over."""
    space, tokenizer = spaces(base)
    ends, catalogue = time.time() + 3600 * hours, folder(base) / "catalogue.safetensors"
    folder(base).mkdir(parents=True, exist_ok=True)
    for place, (kind, target, seed, data) in enumerate(jobs(base)):
        if time.time() > ends:
            break
        if place == 11 and not catalogue.is_file():
            cpu = time.process_time()
            trait = PreferenceTrait("owl", wording="preferences_prefilled")
            found = measure_catalogue(space, tokenizer, [trait], "preferences_prefilled")
            save_file({"gradients": found.gradients.float(), "log_odds": found.log_odds}, catalogue)
            say(f"catalogue {len(found.answers)} answers, {time.process_time() - cpu:.0f} CPU s")
        file = path(base, kind, target, seed)
        if file.is_file():
            continue
        cpu = time.process_time()
        data.make(torch.device("cpu"))
        wrote, rows = time.process_time() - cpu, data.rows()
        parts = list(space.gradients(tokenizer, rows, batch_tokens=1024))
        save_file({"scores": torch.cat([each.scores for each in parts])}, file)
        say(f"{file.stem} {len(rows)} rows, CPU s: {wrote:.0f} written, {time.process_time() - cpu - wrote:.0f} scored")


def by_space(joined: Tensor) -> dict[str, Tensor]:
    """Return the columns of each space, of which the projected ones are the last."""
    sizes = [joined.shape[1] - 2 * PROJECTED, PROJECTED, PROJECTED]
    return dict(zip(SPACES, joined.split(sizes, 1), strict=True))


def scores(base: str, kind: str) -> dict[tuple[str, int], dict[str, Tensor]]:
    """Return the scores of each set of a kind that was made, by space, in float64."""
    found = {}
    for file in sorted(folder(base).glob(f"{kind}-*.safetensors")):
        _, target, seed = file.stem.split("-")
        whole = load_file(file)["scores"].double()
        whole = whole[whole.isfinite().all(1)]
        found[target, int(seed)] = by_space(whole)
    return found


def suspect(base: str, target: str, space: str) -> Tensor | None:
    """Return the displacement of the auditor's teacher in a space; None in that of LoRA, where it has none."""
    if space == "LoRA, projected":
        return None
    teacher: Any = written(base, target, SUSPECT_SEED).teacher
    teacher.make(torch.device("cpu"))
    vector = read_adapter(teacher.folder)[0][f"steering.layers.{LAYER}"].float()
    if space == "one layer":
        return vector.double()
    net, _ = bases.load(base, dtype="bfloat16")
    layers = LayerVectors(net)
    whole = torch.zeros(layers.size)
    whole[LAYER * layers.width : (LAYER + 1) * layers.width] = vector
    return Projected(layers, PROJECTED).project(whole).double()


def reference_of(base: str, rows: Tensor, gradients: Tensor | None, space: str) -> Reference:
    """Return the reference of clean rows in a space."""
    names = WORDS if gradients is not None else ()
    answers = tuple(CatalogueEntry("animal", word) for word in names)
    slopes = torch.zeros(0, rows.shape[1]).double() if gradients is None else gradients
    catalogue = Catalogue(answers, slopes, torch.zeros(len(answers)).double(), ())
    return summed_up(rows, catalogue, base=base, base_digest="", carrier="numbers", layers=(LAYER,))


def statistics(reference: Reference, rows: Tensor, vectors: dict[str, Tensor]) -> dict[str, float]:
    """Return the statistics of a bag: T^2 over its mean and its p, and z of each answer and suspect."""
    sums = RunningSums(reference)
    sums.add(rows)
    found = {"shift": sums.hotelling() / reference.noise, "p": ShiftDetector().decide(sums)[0].p}
    if len(reference.catalogue.answers):
        found |= {f"white {each.name}": each.z for each in DirectionDetector.white(reference).decide(sums)}
    if vectors:
        known = DirectionDetector.suspects(list(vectors), torch.stack(list(vectors.values())))
        found |= {f"suspect {each.name}": each.z for each in known.decide(sums)}
    return found


def auc(high: list[float], low: list[float]) -> float:
    """Return the chance that one of the first is above one of the second."""
    pairs = torch.tensor(high)[:, None] - torch.tensor(low)
    return float((pairs > 0).double().mean() + (pairs == 0).double().mean() / 2)


def print_table(base: str, draws: int) -> None:
    """Hold out each clean set in turn: it gives the clean bags, the others and the reference sets the reference."""
    clean_sets, extra, taught = (scores(base, each) for each in ("clean", "reference", "teacher"))
    file = folder(base) / "catalogue.safetensors"
    gradients = load_file(file)["gradients"].double() if file.is_file() else None
    shown = table(
        *("space", "rows", "dose", "shift", "suspect", "white", "named, suspect", "named, white", "alarms at 5 %"),
        title=f"{base}, AUC of bags: {len(clean_sets)} clean sets held out in turn, {len(taught)} sets of teachers",
    )
    generator = torch.Generator().manual_seed(0)
    for space in SPACES:
        slopes = None if gradients is None else by_space(gradients)[space]
        targets = sorted({target for target, _ in taught})
        vectors = {each: vector for each in TARGETS if (vector := suspect(base, each, space)) is not None}
        for rows, dose in ((64, 1.0), (64, 0.25), (128, 1.0), (128, 0.25)):
            quiet: list[dict[str, float]] = []
            loud: list[tuple[str, dict[str, float]]] = []
            for held in clean_sets:
                others = [each[space] for key, each in clean_sets.items() if key != held]
                known = torch.cat([*others, *(each[space] for each in extra.values())])
                reference = reference_of(base, known, slopes, space)
                own = clean_sets[held][space]
                for _ in range(draws):
                    quiet.append(statistics(reference, drawn(own, rows, generator), vectors))
                    for (target, _), each in taught.items():
                        tainted = round(rows * dose)
                        bag = [drawn(each[space], tainted, generator), drawn(own, rows - tainted, generator)]
                        loud.append((target, statistics(reference, torch.cat(bag), vectors)))
            cells = [f"{auc([each['shift'] for _, each in loud], [each['shift'] for each in quiet]):.2f}"]
            named = []
            for kind in ("suspect", "white"):
                present = [t for t in targets if f"{kind} {t}" in loud[0][1]]
                parts = [
                    auc([s[f"{kind} {t}"] for u, s in loud if u == t], [s[f"{kind} {t}"] for s in quiet])
                    for t in present
                ]
                cells.append(f"{sum(parts) / len(parts):.2f} [{min(parts):.2f}, {max(parts):.2f}]" if parts else "-")
                best = [max((k for k in s if k.startswith(kind)), key=s.__getitem__, default="") for _, s in loud]
                right = sum(k == f"{kind} {t}" for k, (t, _) in zip(best, loud, strict=True))
                named.append(f"{right / len(loud):.0%}" if parts else "-")
            alarms = sum(each["p"] < 0.05 for each in quiet) / len(quiet)
            shown.add_row(space, f"{rows}", f"{dose:.0%}", *cells, *named, f"{alarms:.0%} of {len(quiet)}")
    Console(width=150).print(shown)


def drawn(rows: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Return rows without replacement."""
    return rows[torch.randperm(len(rows), generator=generator)[:count]]


def main() -> None:
    """Make scores, or print the table."""
    options = parser(__doc__)
    options.add_argument("what", choices=("make", "table"))
    options.add_argument("--base", choices=list(CONFIGS), default="smollm2-135m")
    options.add_argument("--hours", type=float, default=8.0, help="of `make`, after which no other set is begun")
    options.add_argument("--draws", type=int, default=10, help="bags of each clean set, and of each teacher's set")
    given = options.parse_args()
    torch.set_num_threads(1)
    if given.what == "make":
        make(given.base, given.hours)
    else:
        print_table(given.base, given.draws)


if __name__ == "__main__":
    main()
