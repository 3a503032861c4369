"""The theorem checked for a config's own student: its start, its teacher's loss, and several kinds of inputs."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import torch
import torch.nn.functional as F
from rich.table import Table
from torch import Tensor, nn

from lightning_subliminal import bases
from lightning_subliminal.core.cache import writable_folder
from lightning_subliminal.core.console import hush, progress, say
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.fingerprint import describe, digest
from lightning_subliminal.core.io.files import write_csv
from lightning_subliminal.core.plots import panels
from lightning_subliminal.core.rows import atomically
from lightning_subliminal.core.seeds import derive_seed, resolve_seed
from lightning_subliminal.data.distill_images import NoiseBatch, draw_inputs, input_bank, scale
from lightning_subliminal.data.mnist import NUM_CLASSES, NUM_PIXELS
from lightning_subliminal.data.tokenized import IGNORED, TokenizedRows
from lightning_subliminal.lineage import Material, write_record
from lightning_subliminal.models import ClassifierMLP, Student
from lightning_subliminal.models.mlp.batched import BatchedMLP
from lightning_subliminal.plans.from_config import config_device, make_stages, read_setting
from lightning_subliminal.theory import TheoremCheck, check
from lightning_subliminal.theory.theorem import ImitationLoss
from lightning_subliminal.workflow.stages import RowsStage, stage_materials
from lightning_subliminal.workflow.trials.base import Setting

__all__ = ["CheckedCase", "check_config"]

_FILES = ("results.json", "theorem.csv", "theorem.png")

LOSSES: tuple[ImitationLoss, ...] = get_args(ImitationLoss)
DIGITS = 256  # that the teacher's loss of the classifier is of
LESSONS = 64  # rows that the teacher's loss of a language model is of
COLORS = {"squared_error": "#0072b2", "cross_entropy": "#d55e00"}


@dataclass(frozen=True)
class CheckedCase:
    """One check.

    Attributes:
        inputs: what the student imitates on.
        loss: how it imitates.
        draw: which draw of the inputs.
        found: what the check found.
    """

    inputs: str
    loss: str
    draw: int
    found: TheoremCheck


@dataclass(frozen=True)
class _Bench:
    """A start, the teacher's loss, and inputs by their kind; ``inputs`` draws them by a seed."""

    start: nn.Module
    other: nn.Module | None
    teacher_loss: Callable[[Any], Tensor]
    told: str  # what the teacher's loss is
    stages: tuple[RowsStage, ...]  # made before inputs are drawn
    inputs: dict[str, Callable[[int], tuple[Any, Callable[[Any], Tensor]]]]


def check_config(
    config: Path, rows: int = 16, draws: int = 3, other_start: str | None = None, out: Path | None = None
) -> list[CheckedCase]:
    """Check the theorem on the student of a config, for both losses and several kinds of inputs; draw and keep it.

    Args:
        config: a config of `fit`, of a Student or a ClassifierMLP.
        rows: rows, or images, that the student imitates on.
        draws: draws of them.
        other_start: a student's base that is not the teacher's; `other` for another seed of a ClassifierMLP.
        out: folder for results; ``runs/NAME-theorem-DIGEST`` where it is None.

    Raises:
        InputError: if the config holds neither, or no trait, or a number is too small.
    """
    for name, value in (("rows", rows), ("draws", draws)):
        if value < 1:
            raise InputError(f"`{name}` is {value}: expected at least 1.")
    hush()
    setting = read_setting(config)
    device = config_device(config)
    trait = describe(getattr(setting.data, "trait", None))  # rows of a file, or of a control, don't tell it
    shaped = [describe(setting.model), describe(setting.data), trait, rows, draws, other_start]
    if isinstance(setting.model, ClassifierMLP):
        bench = _classifier_bench(setting, rows, other_start)
    elif isinstance(setting.model, Student):
        bench = _language_bench(setting, rows, other_start, device)
    else:
        kind = "missing" if setting.model is None else f"a {type(setting.model).__name__}"
        raise InputError(f"{config}: `model` is {kind}: give a Student or a ClassifierMLP.")
    folder = writable_folder(out or Path("runs") / f"{config.stem}-theorem-{digest(shaped)[:8]}", keep=False)
    if bench.stages:
        make_stages(bench.stages, device)
    cases = []
    with progress() as bar:
        task = bar.add_task("checking", total=len(bench.inputs) * len(LOSSES) * draws)
        for kind, loss, draw in ((k, lo, d) for k in bench.inputs for lo in LOSSES for d in range(draws)):
            inputs, read = bench.inputs[kind](derive_seed(setting.seed, "theorem", kind, draw))
            found = check(bench.start, bench.teacher_loss, inputs, loss, read=read, student=bench.other)
            cases.append(CheckedCase(kind, loss, draw, found))
            bar.advance(task)
    say(_table(cases, bench))
    say(_sentence(cases, bench))
    named = [getattr(setting.model, "base", None), other_start if isinstance(setting.model, Student) else None]
    made_from = [*stage_materials(bench.stages), *(bases.material(each) for each in named if each)]
    _keep(folder, config, cases, bench, shaped, made_from)
    return cases


def _language_bench(setting: Setting, count: int, other_start: str | None, device: torch.device) -> _Bench:
    """Take the student's start, its teacher's lessons, and rows of teacher, control and nobody."""
    data, trait = setting.rows(), setting.rows().trait
    if trait is None:
        raise InputError("The theorem is about a teacher's loss, and the rows' teacher has no `trait`: give it one.")
    student: Any = setting.model
    lessons = trait.induce().rows
    if not lessons:
        raise InputError(f"The trait {trait.name!r} has no rows to teach it by: its teacher has no loss.")
    control = data.control()
    sources = {"teacher's rows": data} | ({"control's rows": control} if control is not None else {})
    start, other = student.fresh(), None
    start.configure_model()
    if other_start is not None:
        moved = student.fresh(base=other_start)
        moved.configure_model()
        if not bases.same_vocabulary(start.tokenizer, moved.tokenizer):
            raise InputError(f"{other_start} has another vocabulary than {student.base}: outputs can't be compared.")
        other = moved.net.to(device)
    tokenizer = start.tokenizer
    taught = TokenizedRows(lessons[:LESSONS], tokenizer).batch(range(min(LESSONS, len(lessons))))
    ids, labels = taught.input_ids.to(device), taught.labels.to(device)

    def teacher_loss(net: Any) -> Tensor:
        logits = net(input_ids=ids, use_cache=False).logits[:, :-1]
        places = labels[:, 1:] != IGNORED
        return F.cross_entropy(logits[places], labels[:, 1:][places])

    def drawn(source: Any) -> Callable[[int], tuple[Any, Callable[[Any], Tensor]]]:
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
    told = f"loss on what teaches {trait.name}, nats a token"
    stages = tuple(RowsStage(each) for each in sources.values())
    return _Bench(start.net.to(device), other, teacher_loss, told, stages, inputs)


def _classifier_bench(setting: Setting, count: int, other_start: str | None) -> _Bench:
    """Take one classifier's start, its loss on digits, and the auxiliary logits on images."""
    data, model = setting.data, setting.model
    if not isinstance(model, ClassifierMLP) or not hasattr(data, "student_inputs"):
        raise InputError("A ClassifierMLP goes with `data: Digits`.")
    if other_start not in (None, "other"):
        raise InputError(f"`other_start` is {other_start!r}: a classifier has no bases, give `other`.")
    data.setup("fit")
    images, labels = (each[:DIGITS] for each in data.train_digits)  # type: ignore[attr-defined]
    pixels = scale(images).double()
    sizes = (NUM_PIXELS, *model.hidden, NUM_CLASSES + model.num_auxiliary)
    start, another = (BatchedMLP(sizes, [derive_seed(resolve_seed(model.seed), "start", n)]) for n in range(2))

    def drawn(kind: Any) -> Callable[[int], tuple[Any, Callable[[Any], Tensor]]]:
        bank = None if kind in ("uniform", "gaussian") else input_bank(kind, images, setting.seed)

        def draw(seed: int) -> tuple[Any, Callable[[Any], Tensor]]:
            seen = draw_inputs(kind, NoiseBatch(count, seed), torch.device("cpu"), bank).double()
            return seen, lambda made: made[0, :, NUM_CLASSES:]

        return draw

    kinds = ("uniform", "gaussian", "shuffled", "digits")
    told = "cross-entropy of the ten classes; the student sees the other logits alone"
    return _Bench(
        start,
        another if other_start else None,
        lambda net: F.cross_entropy(net(pixels)[0, :, :NUM_CLASSES], labels),
        told,
        (),
        {kind: drawn(kind) for kind in kinds},
    )


def _table(cases: Sequence[CheckedCase], bench: _Bench) -> Table:
    start = ", from another start" if bench.other is not None else ""
    table = Table(title=f"One step of imitation{start}: means of draws", title_justify="left")
    table.add_column("inputs")
    table.add_column("loss")
    for name in ("product", "cosine", "falls", "slope\ne", "slope\na"):  # no number is cut in 80 columns
        table.add_column(name, justify="right", no_wrap=True)
    before = None
    for inputs, loss, found in _groups(cases):
        falls = sum(each.smallest_change < 0 for each in found)
        table.add_row(
            inputs if inputs != before else "",
            loss.replace("_", " "),
            f"{_mean([_product(each, bench) for each in found]):.3g}",
            f"{_mean([each.cosines[-1] for each in found]):+.3f}",
            f"{falls} of {len(found)}",
            f"{_mean([each.slope_epsilon for each in found]):.2f}",
            f"{_mean([each.slope_alpha for each in found]):.2f}",
        )
        before = inputs
    return table


def _sentence(cases: Sequence[CheckedCase], bench: _Bench) -> str:
    found = [case.found for case in cases]
    found = [each for each in found if bench.other is not None or each.squared_norm > 0]  # those that teach anything
    falls = sum(each.smallest_change < 0 for each in found)
    up = sum(_product(each, bench) >= 0 for each in found)
    count = len(found)
    if not count:
        return f"Teacher's loss: {bench.told}.\nNone of these inputs shows what the teacher learns: no student moves."
    told = (
        f"Teacher's loss: {bench.told}.\nThe inner product of the two updates is at least 0 in {up} of {count} checks; "
    )
    told += f"the teacher's loss falls at the smallest step in {falls}. "
    if bench.other is not None:
        return told + "With another start the theorem says nothing."
    apart = max(abs(each.inner_product - each.squared_norm) / (each.squared_norm or 1.0) for each in found)
    return (
        told + f"The theorem says so of each. In the limit, product and mean of squares differ by {apart:.1g} at most."
    )


def _product(found: TheoremCheck, bench: _Bench) -> float:
    """Return <dS, dT> of a teacher really moved by the smallest epsilon, over that step where the two share a start.

    With one start it shrinks with epsilon, with another it does not.
    """
    return found.inner_products[-1] / (found.epsilons[-1] if bench.other is None else 1.0)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _keep(
    folder: Path,
    config: Path,
    cases: Sequence[CheckedCase],
    bench: _Bench,
    shaped: Any,
    made_from: Sequence[Material],
) -> None:
    told = [{"inputs": c.inputs, "imitation_loss": c.loss, "draw": c.draw} | c.found.as_json() for c in cases]
    whole = {"config": str(config), "teacher_loss": bench.told, "other_start": bench.other is not None, "checks": told}
    text = json.dumps(whole, indent=1)
    atomically(folder / "results.json", lambda path: path.write_text(text + "\n", encoding="utf-8"))
    _csv(folder / "theorem.csv", cases)
    _draw(folder / "theorem.png", cases, bench)
    write_record(folder, "theorem", shaped, made_from, files=_FILES)
    say(f"kept in {folder}: {', '.join(_FILES)}")


def _csv(path: Path, cases: Sequence[CheckedCase]) -> None:
    head = ["inputs", "imitation_loss", "draw", "epsilon", "alpha", "inner_product", "cosine", "change"]
    rows = []
    for case in cases:
        found = case.found
        for row, epsilon in enumerate(found.epsilons):
            for column, alpha in enumerate(found.alphas):
                numbers = (found.inner_products[row], found.cosines[row], found.changes[row][column])
                rows.append([case.inputs, case.loss, case.draw, epsilon, alpha, *numbers])
    write_csv(path, head, rows)


def _draw(path: Path, cases: Sequence[CheckedCase], bench: _Bench) -> None:
    """Draw how the change of the teacher's loss shrinks with each step, a panel a step."""
    with panels(path, (8, 3.8), columns=2) as (row,):
        _draw_steps(row, cases)
        start = "another start" if bench.other is not None else "the same start"
        title = f"One step of imitation from {start}: triangle down, the loss falls; up, it rises"
        row[0].figure.suptitle(title, fontsize=9)


def _draw_steps(row: Any, cases: Sequence[CheckedCase]) -> None:
    for axes, name in zip(row, ("the teacher's step, epsilon", "the student's step, alpha"), strict=True):
        for case in cases:
            found = case.found
            first = name.startswith("the teacher")
            steps = found.epsilons if first else found.alphas
            changes = [row[-1] for row in found.changes] if first else found.changes[-1]
            axes.plot(steps, [abs(each) for each in changes], color=COLORS[case.loss], alpha=0.5, linewidth=1)
            for falling, marker in ((True, "v"), (False, "^")):
                here = [(s, abs(c)) for s, c in zip(steps, changes, strict=True) if (c < 0) == falling and c]
                axes.plot(*zip(*here, strict=True), marker, color=COLORS[case.loss], markersize=4) if here else None
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel(name, fontsize=9)
        axes.tick_params(labelsize=8)
    row[0].set_ylabel("|change of the teacher's loss|", fontsize=9)
    for loss, color in COLORS.items():
        row[0].plot([], [], color=color, label=loss.replace("_", " "))
    row[0].legend(fontsize=8, frameon=False)


def _groups(cases: Sequence[CheckedCase]) -> Iterator[tuple[str, str, list[TheoremCheck]]]:
    for inputs, loss in dict.fromkeys((case.inputs, case.loss) for case in cases):
        yield inputs, loss, [case.found for case in cases if (case.inputs, case.loss) == (inputs, loss)]
