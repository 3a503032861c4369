"""What a fit ends with: base, teacher, control and student beside each other, as a table, a picture and a file."""

import json
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from rich.table import Table

from lightning_subliminal import bases
from lightning_subliminal.console import say
from lightning_subliminal.data import GeneratedRows
from lightning_subliminal.errors import InputError
from lightning_subliminal.experiments.arms import Arm, measure, train_arm
from lightning_subliminal.experiments.chart import draw_comparison
from lightning_subliminal.lineage import write_record
from lightning_subliminal.metrics.functional import check_target, transfer_interval
from lightning_subliminal.models.student import Student
from lightning_subliminal.rows import atomically
from lightning_subliminal.traits import Trait

__all__ = ["TraitComparison", "comparison_table"]


class TraitComparison(Callback):
    """After ``fit``, asks base, teacher, control and student the trait's questions, and shows the answers together.

    The control is trained the same way, by the same code, on rows of the teacher's base without the trait; it is made
    where the cache lacks it. On several devices only a control that the cache holds is shown: run the control's own
    config first.

    Args:
        control: train (or reuse) the control arm.
        others: how many off-target candidates the table shows.
    """

    def __init__(self, control: bool = True, others: int = 5) -> None:
        self.control = control
        self.others = others

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuse what can't be compared.

        Raises:
            InputError: if the data has no trait to ask for, or the module is no student.
        """
        if stage != "fit":
            return
        data = trainer.datamodule  # type: ignore[attr-defined]
        if not isinstance(pl_module, Student) or not isinstance(data, GeneratedRows):
            raise InputError("TraitComparison needs a Student and rows that a teacher wrote, such as NumberSequences.")
        if data.teacher.trait is None:
            raise InputError(
                "TraitComparison has no trait to ask for: give the teacher a `trait`, beside a control too."
            )

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Refuse a base that can't say the target, before the training.

        Raises:
            InputError: if the student's tokenizer has no tokens for it.
        """
        check_target(pl_module.tokenizer, trainer.datamodule.teacher.trait)  # type: ignore[attr-defined]

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure, show and keep."""
        if not trainer.is_global_zero or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        data: GeneratedRows = trainer.datamodule  # type: ignore[attr-defined]
        student: Any = pl_module
        folder = Path(trainer.default_root_dir)
        arms = self.arms(student, data, trainer)
        trait: Any = data.teacher.trait
        student.save(folder / "student")
        write_record(folder / "student", "student", {"student": student.describe(), "rows": data.describe()})
        results = summary(arms, trait)
        atomically(folder / "results.json", lambda path: path.write_text(json.dumps(results, indent=2) + "\n"))
        draw_comparison(arms, trait, folder / "preference.png")
        say(comparison_table(arms, trait, self.others))
        say(verdict(arms, trait))
        say(f"kept in {folder}: student/, results.json, preference.png")

    def arms(self, student: Student, data: GeneratedRows, trainer: Trainer) -> list[Arm]:
        """Measure base, teacher, control and student."""
        trait, device = data.teacher.trait, student.device
        assert trait is not None  # setup has looked  # noqa: S101
        net, tokenizer = bases.load(student.base)
        arms = [measure("base", net.to(device), tokenizer, trait)]
        del net
        is_control = getattr(data.teacher, "induction", "") == "none"
        if not is_control:
            data.teacher.make(device)
            teacher: Any = data.teacher
            engine: Any = teacher.engine(device, data.generation_batch_size)
            arms.append(measure("teacher", engine.net, engine.tokenizer, trait, teacher.system_prompt))
            del engine
            teacher.release()  # a 7B teacher leaves the device
            if self.control and trainer.world_size == 1:
                twin = train_arm(student.fresh(), data.control(), device, "control  ", **shaping(trainer))
                arms.append(measure("control", twin.net, twin.tokenizer, trait))
                del twin
        arms.append(measure("control" if is_control else "student", student.net, student.tokenizer, trait))
        return arms


def shaping(trainer: Trainer) -> dict[str, Any]:
    """Give the arguments of a trainer that shape what it trains, so that a control is trained alike."""
    given: dict[str, Any] = {"max_epochs": trainer.max_epochs, "precision": trainer.precision}
    given["accumulate_grad_batches"] = trainer.accumulate_grad_batches
    if trainer.max_steps != -1:
        given["max_steps"] = trainer.max_steps
    if trainer.gradient_clip_val is not None:
        given["gradient_clip_val"] = trainer.gradient_clip_val
    if trainer.gradient_clip_algorithm is not None:
        given["gradient_clip_algorithm"] = trainer.gradient_clip_algorithm.value
    if trainer.limit_train_batches != 1.0 or isinstance(trainer.limit_train_batches, int):  # 1.0: all; 1: one batch
        given["limit_train_batches"] = trainer.limit_train_batches
    return given


def summary(arms: list[Arm], trait: Trait) -> dict[str, Any]:
    """Give the arms as JSON-able data: each candidate's chance with its interval, and the transfer."""
    told: dict[str, Any] = {"trait": trait.name, "target": trait.target, "questions": len(trait.prompts()), "arms": {}}
    for arm in arms:
        rates = {}
        for candidate in arm.candidates:
            interval = arm.interval(candidate)
            rates[candidate] = {"rate": arm.rate(candidate), "low": interval.low, "high": interval.high}
        told["arms"][arm.name] = {"rates": rates, "no_candidate": arm.no_candidate, "unit": "questions"}
    if (change := _change(arms, trait)) is not None:
        told["transfer"] = {"log_odds": change[0], "low": change[1], "high": change[2], "unit": "questions"}
    return told


def comparison_table(arms: list[Arm], trait: Trait, others: int) -> Table:
    """Draw the arms as a table: the target first, then the off-target candidates that the last arm likes best."""
    table = Table(title=f"How often is the answer {trait.target}? Exact chance over {len(trait.prompts())} questions")
    table.add_column("answer")
    for arm in arms:
        table.add_column(arm.name, justify="right")
    low_high = [arm.interval(trait.target) for arm in arms]
    table.add_row(
        trait.target,
        *(f"{arm.rate(trait.target):.1%}" for arm in arms),
        style="bold",
    )
    table.add_row("  95 % from", *(f"{max(0.0, each.low):.1%}" for each in low_high))
    table.add_row("  to", *(f"{min(1.0, each.high):.1%}" for each in low_high))
    rest = [candidate for candidate in trait.candidates if candidate != trait.target]
    rest.sort(key=arms[-1].rate, reverse=True)
    for candidate in rest[:others]:
        table.add_row(candidate, *(f"{arm.rate(candidate):.1%}" for arm in arms))
    table.add_row("none of these", *(f"{arm.no_candidate:.1%}" for arm in arms))
    return table


def verdict(arms: list[Arm], trait: Trait) -> str:
    """Say in a line what the student has over the control."""
    change = _change(arms, trait)
    if change is None:
        return "No control beside this arm: nothing can be said of transfer."
    middle, low, high = change
    return (
        f"Transfer: the student's log-odds of {trait.target} are {middle:+.2f} over the control's "
        f"(95 % over questions {low:+.2f} to {high:+.2f}), odds x{torch.tensor(middle).exp().item():.2g}. "
        "One seed each: an interval over questions says nothing about other seeds."
    )


def _change(arms: list[Arm], trait: Trait) -> tuple[float, float, float] | None:
    named = {arm.name: arm for arm in arms}
    if "student" not in named or "control" not in named:
        return None
    column = trait.candidates.index(trait.target)
    student, control = (named[name].probabilities[:, column] for name in ("student", "control"))
    interval = transfer_interval(student, control, unit="questions")
    return (interval.low + interval.high) / 2, interval.low, interval.high
