"""Check of the theorem on a config's student: its start, its teacher's loss, and several kinds of inputs."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lightning_subliminal import bases
from lightning_subliminal.cli.theory.check_results import (
    CSV_HEAD,
    CheckedCase,
    case_table,
    csv_rows,
    draw_cases,
    summary,
)
from lightning_subliminal.cli.theory.saved import save_results
from lightning_subliminal.core.cache import writable_folder
from lightning_subliminal.core.console import hush, progress, say
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.fingerprint import describe, digest
from lightning_subliminal.core.seeds import derive_seed, resolve_seed
from lightning_subliminal.data.distill_images import NoiseBatch, draw_inputs, input_bank, scale
from lightning_subliminal.data.mnist import NUM_CLASSES, NUM_PIXELS
from lightning_subliminal.data.tokenized import IGNORED, TokenizedRows
from lightning_subliminal.models import ClassifierMLP, Student
from lightning_subliminal.models.mlp.batched import BatchedMLP
from lightning_subliminal.plans.from_config import config_device, make_stages, read_setting
from lightning_subliminal.theory import check
from lightning_subliminal.theory.theorem import ImitationLoss
from lightning_subliminal.workflow.stages import RowsStage, stage_materials
from lightning_subliminal.workflow.trials.base import Setting

__all__ = ["check_config"]

LOSSES: tuple[ImitationLoss, ...] = get_args(ImitationLoss)
DIGITS = 256  # images in the teacher's loss of a classifier
LESSONS = 64  # rows in the teacher's loss of a language model

Inputs = Callable[[int], tuple[Any, Callable[[Any], Tensor]]]  # seed -> inputs, and how to read the outputs for them


@dataclass(frozen=True)
class _Setup:
    """A start, the teacher's loss, and inputs by kind."""

    start: nn.Module
    other: nn.Module | None  # another start of the student
    teacher_loss: Callable[[Any], Tensor]
    description: str  # of the teacher's loss
    stages: tuple[RowsStage, ...]  # made before inputs are drawn
    inputs: dict[str, Inputs]


def check_config(
    config: Path, rows: int = 16, draws: int = 3, other_start: str | None = None, out: Path | None = None
) -> list[CheckedCase]:
    """Check the theorem on a config's student for both losses and several kinds of inputs; save table and picture.

    The arguments are those of the command (``theory.check``).

    Raises:
        InputError: if the config has neither model, or no trait, or a number is too small.
    """
    for name, value in (("rows", rows), ("draws", draws)):
        if value < 1:
            raise InputError(f"`{name}` is {value}: expected at least 1.")
    hush()
    setting = read_setting(config)
    device = config_device(config)
    trait = describe(getattr(setting.data, "trait", None))  # rows of a file, or of a control, don't describe it
    settings = [describe(setting.model), describe(setting.data), trait, rows, draws, other_start]
    if isinstance(setting.model, ClassifierMLP):
        made = _classifier_setup(setting, rows, other_start)
    elif isinstance(setting.model, Student):
        made = _language_setup(setting, rows, other_start, device)
    else:
        kind = "missing" if setting.model is None else f"a {type(setting.model).__name__}"
        raise InputError(f"{config}: `model` is {kind}: expected a Student or a ClassifierMLP.")
    folder = writable_folder(out or Path("runs") / f"{config.stem}-theorem-{digest(settings)[:8]}", keep=False)
    if made.stages:
        make_stages(made.stages, device)
    cases = []
    with progress() as bar:
        task = bar.add_task("checking", total=len(made.inputs) * len(LOSSES) * draws)
        for kind, loss, draw in ((k, lo, d) for k in made.inputs for lo in LOSSES for d in range(draws)):
            inputs, read = made.inputs[kind](derive_seed(setting.seed, "theorem", kind, draw))
            found = check(made.start, made.teacher_loss, inputs, loss, read=read, student=made.other)
            cases.append(CheckedCase(kind, loss, draw, found))
            bar.advance(task)
    apart = made.other is not None
    say(case_table(cases, apart))
    say(summary(cases, apart, made.description))
    named = [getattr(setting.model, "base", None), other_start if isinstance(setting.model, Student) else None]
    checks = [{"inputs": c.inputs, "imitation_loss": c.loss, "draw": c.draw} | c.found.as_json() for c in cases]
    save_results(
        folder,
        "theorem",
        {"config": str(config), "teacher_loss": made.description, "other_start": apart, "checks": checks},
        ("theorem.csv", CSV_HEAD, csv_rows(cases)),
        ("theorem.png", lambda path: draw_cases(path, cases, apart)),
        settings,
        [*stage_materials(made.stages), *(bases.material(each) for each in named if each)],
    )
    return cases


def _language_setup(setting: Setting, count: int, other_start: str | None, device: torch.device) -> _Setup:
    """Return a student's start, its teacher's lessons, and rows of the teacher, of the control, and random ones."""
    data, trait = setting.rows(), setting.rows().trait
    if trait is None:
        raise InputError("The theorem is about a teacher's loss, and the rows' teacher has no `trait`: set one.")
    student: Any = setting.model
    lessons = trait.induce().rows
    if not lessons:
        raise InputError(f"The trait {trait.name!r} has no rows that teach it: choose another.")
    control = data.control()
    sources = {"teacher's rows": data} | ({"control's rows": control} if control is not None else {})
    start, other = student.fresh(), None
    start.configure_model()
    if other_start is not None:
        moved = student.fresh(base=other_start)
        moved.configure_model()
        if not bases.same_vocabulary(start.tokenizer, moved.tokenizer):
            raise InputError(f"{other_start} has another vocabulary than {student.base}: choose one with the same.")
        other = moved.net.to(device)
    tokenizer = start.tokenizer
    taught = TokenizedRows(lessons[:LESSONS], tokenizer).batch(range(min(LESSONS, len(lessons))))
    ids, labels = taught.input_ids.to(device), taught.labels.to(device)

    def teacher_loss(net: Any) -> Tensor:
        logits = net(input_ids=ids, use_cache=False).logits[:, :-1]
        places = labels[:, 1:] != IGNORED
        return F.cross_entropy(logits[places], labels[:, 1:][places])

    def drawn(source: Any) -> Inputs:
        def draw(seed: int) -> tuple[Any, Callable[[Any], Tensor]]:
            every = source.rows()
            order = torch.randperm(len(every), generator=torch.Generator().manual_seed(seed))[:count].tolist()
            tokens = TokenizedRows([every[place] for place in order], tokenizer)
            batch = tokens.batch(range(len(tokens)))
            places = (batch.labels[:, 1:] != IGNORED).to(device)
            inputs = {"input_ids": batch.input_ids.to(device), "use_cache": False}
            return inputs, lambda made: made.logits[:, :-1][places]

        return draw

    def nonsense(seed: int) -> tuple[Any, Callable[[Any], Tensor]]:
        generator = torch.Generator().manual_seed(seed)
        tokens = torch.randint(len(tokenizer), (count, 16), generator=generator).to(device)
        return {"input_ids": tokens, "use_cache": False}, lambda made: made.logits

    inputs = {name: drawn(each) for name, each in sources.items()} | {"random tokens": nonsense}
    description = f"loss on what teaches {trait.name}, nats a token"
    stages = tuple(RowsStage(each) for each in sources.values())
    return _Setup(start.net.to(device), other, teacher_loss, description, stages, inputs)


def _classifier_setup(setting: Setting, count: int, other_start: str | None) -> _Setup:
    """Return a classifier's start, its loss on digits, and images whose auxiliary logits are imitated."""
    data, model = setting.data, setting.model
    if not isinstance(model, ClassifierMLP) or not hasattr(data, "student_inputs"):
        raise InputError("A ClassifierMLP needs `data: Digits`: set it.")
    if other_start not in (None, "other"):
        raise InputError(f"`other_start` is {other_start!r}: a classifier has no bases, use `other`.")
    data.setup("fit")
    images, labels = (each[:DIGITS] for each in data.train_digits)  # type: ignore[attr-defined]
    pixels = scale(images).double()
    sizes = (NUM_PIXELS, *model.hidden, NUM_CLASSES + model.num_auxiliary)
    start, another = (BatchedMLP(sizes, [derive_seed(resolve_seed(model.seed), "start", n)]) for n in range(2))

    def drawn(kind: Any) -> Inputs:
        bank = None if kind in ("uniform", "gaussian") else input_bank(kind, images, setting.seed)

        def draw(seed: int) -> tuple[Any, Callable[[Any], Tensor]]:
            seen = draw_inputs(kind, NoiseBatch(count, seed), torch.device("cpu"), bank).double()
            return seen, lambda made: made[0, :, NUM_CLASSES:]

        return draw

    kinds = ("uniform", "gaussian", "shuffled", "digits")
    description = "cross-entropy of the ten classes; the student sees the other logits alone"
    return _Setup(
        start,
        another if other_start else None,
        lambda net: F.cross_entropy(net(pixels)[0, :, :NUM_CLASSES], labels),
        description,
        (),
        {kind: drawn(kind) for kind in kinds},
    )
