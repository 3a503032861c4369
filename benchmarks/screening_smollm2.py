"""Screen number rows of SmolLM2-135M: what do one layer, all layers projected, and LoRA projected see of a trait?

    LIGHTNING_SUBLIMINAL_CACHE=/work/smolcache python benchmarks/screening_smollm2.py make    # hours of one core
    python benchmarks/screening_smollm2.py table

`make` goes through the sets in an order in which the first ones already give a table, and keeps teachers, rows and
scores, so that it may be stopped at any time and continued. Writers are the teachers of `smollm2_owl_numbers` with
other targets and seeds. Scores are computed in bfloat16, all three spaces in one pass. The clean rows of the reference
are written in bfloat16 too (half the time); those of the clean test sets and of the teachers in float32. `table` reads
the scores: AUC of bags, naming among 20 animals, false alarms on clean sets that are not in the reference.
"""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import torch
from harness import OUT, parser
from safetensors.torch import save_file
from torch import Tensor

from lightning_subliminal import PreferenceTrait, bases
from lightning_subliminal.core.config.shipped import find_config
from lightning_subliminal.core.console import say
from lightning_subliminal.data import GeneratedRows
from lightning_subliminal.plans.from_config import read_setting
from lightning_subliminal.plans.screen_reference import clean_data
from lightning_subliminal.screening import measure_catalogue
from lightning_subliminal.theory.row_gradients import LayerVectors, ScoreSpace
from lightning_subliminal.theory.score_spaces import LoRAFactors, Projected

BASE, CONFIG = "smollm2-135m", "smollm2_owl_numbers"
LAYER = 14  # that of the config
TARGETS = ("owl", "cat", "eagle", "elephant", "wolf", "dolphin")
SUSPECT_SEED = 0  # its teachers are the auditor's; those that write have other seeds
SPACES = {"one layer": 576, "all layers, projected": 512, "LoRA, projected": 512}
FOLDER = OUT / "screening_smollm2"


class Joined(ScoreSpace):
    """Several spaces side by side, so that one pass gives the scores of all."""

    def __init__(self, parts: list[ScoreSpace]) -> None:
        super().__init__(parts[0].net, None, sum(each.size for each in parts))
        self.parts = parts

    @contextmanager
    def added(self, vectors: Tensor) -> Iterator[None]:
        """Move the base in all spaces at once."""
        with ExitStack() as stack:
            for part, own in zip(self.parts, vectors.split([each.size for each in self.parts], -1), strict=True):
                stack.enter_context(part.added(own))
            yield


def spaces(dtype: str = "bfloat16") -> tuple[Joined, object]:
    """Load the base, and return its three spaces and its tokenizer."""
    net, tokenizer = bases.load(BASE, dtype=dtype)
    net.requires_grad_(False)
    parts = [LayerVectors(net, [LAYER]), Projected(LayerVectors(net), 512), Projected(LoRAFactors(net), 512)]
    return Joined(parts), tokenizer


def clean(seed: int, dtype: str = "float32") -> GeneratedRows:
    """Return a set of the base's own rows."""
    data = clean_data(BASE, "numbers", 160, seed)
    return data.fresh(teacher=data.teacher.fresh(base_dtype=dtype))  # type: ignore[attr-defined]


def written(target: str, seed: int) -> GeneratedRows:
    """Return the set of a teacher of another target."""
    data = read_setting(find_config(CONFIG), seed, BASE).rows()
    trait = PreferenceTrait(target, wording="preferences_prefilled")
    return data.fresh(teacher=data.teacher.fresh(trait=trait, seed=seed, max_epochs=200))  # type: ignore[attr-defined, return-value]


def jobs() -> Iterator[tuple[str, str, int, GeneratedRows]]:
    """Yield kind, target, seed and data of each set, the most useful ones first."""
    more = iter(range(6000, 6100))
    for seed in range(3):
        yield "clean", "", seed, clean(seed)
    for seed in (1, 2, 3, 4):
        for place, target in enumerate(TARGETS):
            yield "teacher", target, seed, written(target, seed)
            if seed == 1 and place in (1, 2):
                yield "clean", "", place + 2, clean(place + 2)
            if seed > 1 or place == 5:
                yield "reference", "", (extra := next(more)), clean(extra, "bfloat16")
    for extra in more:
        yield "reference", "", extra, clean(extra, "bfloat16")


def path(kind: str, target: str, seed: int) -> Path:
    """Return where a set's scores are kept."""
    return FOLDER / f"{kind}-{target or 'none'}-{seed}.safetensors"


def make(hours: float) -> None:
    """Write and score sets, and measure the catalogue, until the time is over."""
    space, tokenizer = spaces()
    ends, catalogue = time.time() + 3600 * hours, FOLDER / "catalogue.safetensors"
    FOLDER.mkdir(parents=True, exist_ok=True)
    for place, (kind, target, seed, data) in enumerate(jobs()):
        if time.time() > ends:
            break
        if place == 11 and not catalogue.is_file():
            cpu = time.process_time()
            trait = PreferenceTrait("owl", wording="preferences_prefilled")
            found = measure_catalogue(space, tokenizer, [trait], "preferences_prefilled")
            save_file({"gradients": found.gradients.float(), "log_odds": found.log_odds}, catalogue)
            say(f"catalogue {len(found.answers)} answers, {time.process_time() - cpu:.0f} CPU s")
        file = path(kind, target, seed)
        if file.is_file():
            continue
        cpu = time.process_time()
        data.make(torch.device("cpu"))
        wrote, rows = time.process_time() - cpu, data.rows()
        parts = list(space.gradients(tokenizer, rows, batch_tokens=1024))
        save_file({"scores": torch.cat([each.scores for each in parts])}, file)
        say(f"{file.stem} {len(rows)} rows, CPU s: {wrote:.0f} written, {time.process_time() - cpu - wrote:.0f} scored")


def main() -> None:
    """Make scores, or print the table."""
    options = parser(__doc__)
    options.add_argument("what", choices=("make", "table"))
    options.add_argument("--hours", type=float, default=8.0, help="of `make`, after which no other set is begun")
    given = options.parse_args()
    torch.set_num_threads(1)
    make(given.hours)


if __name__ == "__main__":
    main()
