"""Final comparison after `fit`: base, teacher, control and student in a table, a picture and a file."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from lightning_subliminal import bases
from lightning_subliminal.core.console import say
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.fingerprint import describe, digest
from lightning_subliminal.core.rows import atomically
from lightning_subliminal.data import TrainingRows
from lightning_subliminal.evaluation import ModelRef, Scores, ScoreTable, TraitProbe
from lightning_subliminal.evaluation.guards import pair_doubts
from lightning_subliminal.lineage import artefact_material, write_record, write_test_result
from lightning_subliminal.metrics.functional import check_target
from lightning_subliminal.models.made_from import check_unchanged
from lightning_subliminal.models.student import Student
from lightning_subliminal.traits import Trait
from lightning_subliminal.workflow.arms import measure, measure_model, restore_dtype, shaping
from lightning_subliminal.workflow.results import comparison_table, draw_comparison, further_table, summary, verdict
from lightning_subliminal.workflow.saving import keep_student
from lightning_subliminal.workflow.stages import StudentStage, source_stages

__all__ = ["TraitComparison", "control_stage"]


class TraitComparison(Callback):
    """After ``fit``, puts the trait's questions to base, teacher, control and student, and compares their answers.

    It trains nothing, and saves the student first. The control, a student trained the same way on rows of the teacher's
    base without the trait, is shown if the cache has it; ``fit_arms`` and the verb `fit` train it. Rows from a file
    have no teacher, and a control only if their data module has one.

    Attributes:
        waits: ``fit_arms`` calls ``compare`` itself, once the control is made.

    Args:
        control: show the control arm; ``fit_arms`` then makes it.
        others: how many off-target candidates the table shows.
        evaluations: further sets of questions, such as `QuestionsAfterNumbers` and `Stories`; a second table.
    """

    waits: bool = False

    def __init__(self, control: bool = True, others: int = 5, evaluations: list[TraitProbe] | None = None) -> None:
        self.control = control
        self.others = others
        self.evaluations = evaluations or []
        self._sets = labelled(self.evaluations)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Check the module and the data before the fit."""
        if stage == "fit":
            self.check(pl_module, trainer.datamodule)  # type: ignore[attr-defined]

    def check(self, module: Any, data: Any) -> None:
        """Check that module and data can be compared.

        Raises:
            InputError: if the data has no trait, or the module is not a student.
        """
        if not isinstance(module, Student) or not isinstance(data, TrainingRows):
            raise InputError("TraitComparison needs a Student and rows to train it on, such as NumberSequences.")
        if data.trait is None:
            place = "data.teacher.trait" if hasattr(data, "teacher") else "data.trait"
            raise InputError(f"TraitComparison has no trait to evaluate: set `{place}`, for a control too.")
        theirs = getattr(data.trait_source, "trait", None)
        if theirs is not None and theirs.name != data.trait.name:
            raise InputError(
                f"A teacher of {theirs.name} chooses the rows, and {data.trait.name} would be asked for: set the trait "
                "in `data.teacher` and in the teacher of `data.transforms`, both."
            )

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check before the training that the base can express the target and read the questions.

        Raises:
            InputError: if the student's tokenizer has no tokens for them.
        """
        student: Any = pl_module
        trait = trainer.datamodule.trait  # type: ignore[attr-defined]
        check_target(student.tokenizer, trait)
        for each in self.evaluations:
            each.check(student.tokenizer, trait, student.base)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compare, on the first process."""
        if self.waits or not trainer.is_global_zero or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        student: Any = pl_module
        data: TrainingRows = trainer.datamodule  # type: ignore[attr-defined]
        keep_student(student, data, trainer)  # before the evaluation, which may fail
        self.compare(trainer, student, data)

    def compare(self, trainer: Trainer, student: Student, data: TrainingRows) -> None:
        """Evaluate the arms that are there, print the tables and write the files; nothing is trained.

        Args:
            trainer: of the student's fit: its loggers get the figures, its root folder the files.
            student: trained, and saved in the folder ``student``.
            data: its rows.
        """
        trait: Any = data.trait  # setup has checked it
        folder = Path(trainer.default_root_dir)
        restore_dtype(student)
        student.to(trainer.strategy.root_device).eval()
        table = self.arms(student, data, trainer)
        results = summary(table, trait, self._sets)
        atomically(folder / "results.json", lambda path: path.write_text(json.dumps(results, indent=2) + "\n"))
        draw_comparison(table, trait, folder / "preference.png")
        self._record(folder, table, student, data, trainer)
        say(comparison_table(table, trait, self.others))
        if self._sets:
            say(further_table(table, trait))
        for warning in results["warnings"]:
            say(f"WARNING   {warning}")
        say(verdict(table))
        _log(trainer, results)
        say(f"kept in {folder}: student/, results.json, preference.png")

    def _record(self, folder: Path, table: ScoreTable, student: Student, data: TrainingRows, trainer: Trainer) -> None:
        """Write the lineage of the results, and the test results of teacher and student."""
        check_unchanged(trainer, student, data)
        trait: Any = data.trait
        found = table.column(table.probes[0])
        models = {"base": bases.material(student.base)}
        if "student" in found:
            models["student"] = artefact_material("student", folder / "student")
        control = control_stage(student, data, trainer) if {"control", "student"} <= set(found) else None
        if control is not None:
            models["control"] = artefact_material("control", control.folder)
        if "teacher" in found and (made := [each for each in data.trait_source.materials() if each.role == "teacher"]):  # type: ignore[union-attr]
            models["teacher"] = made[0]
        asked = {"trait": describe(trait), "evaluations": describe(self.evaluations)}
        files = ["results.json", "preference.png"]
        write_record(folder, "comparison", asked, list(models.values()), files=files)
        for name, reference in (("teacher", "base"), ("student", "control" if "control" in models else "base")):
            if name in models and name in found:
                test, pair = f"{trait.name} as {reference}", (found[name], found[reference])
                apart, doubts = {test: _apart(*pair)}, {test: pair_doubts(*pair, (name, reference))}
                write_test_result(folder, name, models[name], apart, [models[reference]], doubts=doubts)

    def arms(self, student: Student, data: TrainingRows, trainer: Trainer) -> ScoreTable:
        """Measure those of base, teacher, control and student that are there."""
        trait: Any = data.trait
        device, sets = student.device, self._sets
        teacher: Any = data.trait_source
        net, tokenizer = bases.load(student.base, dtype=student.base_dtype)
        table = ScoreTable(base=measure("base", net.to(device), tokenizer, trait, evaluations=sets))
        del net
        if teacher is None and hasattr(data, "teacher"):
            table["control"] = measure("control", student.net, student.tokenizer, trait, evaluations=sets)
            return table
        if teacher is not None and not all(stage.is_done() for stage in source_stages(teacher)):
            say("teacher   not shown: it is not in the cache; `fit_arms` makes it")
        elif teacher is not None:
            engine = teacher.engine(device, getattr(data, "generation_batch_size", 1))
            model = ModelRef.asked("teacher", engine, teacher.system_prompt)
            if model.engine is None:
                sets = readable(sets, model.tokenizer, trait, getattr(teacher, "base", "of the teacher"))
            try:
                table["teacher"] = measure_model(model, trait, sets)
            except InputError as err:
                if model.engine is None:
                    raise
                say(f"teacher   not shown: {err}")  # a budget that is spent, or a measure that needs weights
            del engine, model
            teacher.release()  # frees the device of a 7B teacher
            sets = self._sets
        control = control_stage(student, data, trainer) if self.control else None
        if control is not None and not control.is_done():
            say("control   not shown: it is not in the cache; `fit_arms` makes it")
        elif control is not None:
            twin = control.load(device)
            table["control"] = measure("control", twin.net, twin.tokenizer, trait, evaluations=sets)
            del twin
        table["student"] = measure("student", student.net, student.tokenizer, trait, evaluations=sets)
        return table


def control_stage(student: Student, data: TrainingRows, trainer: Trainer) -> StudentStage | None:
    """Return the stage of a student's control, trained as by this trainer; None if there are no rows for it."""
    is_control = hasattr(data, "teacher") and data.trait_source is None
    without = None if is_control else data.control()
    return None if without is None else StudentStage(student.fresh_for_control(data), without, shaping(trainer))


def _log(trainer: Trainer, results: dict[str, Any]) -> None:
    """Log the figures as ``comparison/...``, and put them into ``trainer.callback_metrics``."""
    figures: dict[str, Any] = {}
    for name, arm in results["arms"].items():
        rate = arm["rates"][results["target"]]
        figures |= {f"comparison/{name}_{key}".removesuffix("_rate"): rate[key] for key in ("rate", "low", "high")}
    for name in ("transfer", "targeted_transfer"):
        found = results.get(name) or {}
        keys = ("log_odds", "low", "high", "rank")
        figures |= {f"comparison/{name}_{key}".removesuffix("_log_odds"): found.get(key) for key in keys}
    known = {name: float(value) for name, value in figures.items() if value is not None}
    for logger in trainer.loggers:
        logger.log_metrics(known, step=trainer.global_step)
        logger.save()
    trainer.callback_metrics.update({name: torch.tensor(value) for name, value in known.items()})


def _apart(scores: Scores, reference: Scores) -> tuple[float, float]:
    """Return the 95 % interval, over questions, of the difference in the target's probability."""
    both = [torch.tensor(each.values, dtype=torch.float64) for each in (scores, reference)]
    interval = scores.over_units(both[0] - both[1])
    return interval.low, interval.high


def labelled(evaluations: Sequence[TraitProbe]) -> dict[str, TraitProbe]:
    """Return evaluations by name; the second of two with the same name gets the suffix 2.

    Raises:
        InputError: if two are the same, or one has no name.
    """
    if nameless := [type(each).__name__ for each in evaluations if not getattr(each, "name", None)]:
        raise InputError(f"{nameless[0]} has no `name` for the tables: set it in __init__.")
    if len({digest(each) for each in evaluations}) < len(evaluations):
        raise InputError("TraitComparison has one of its `evaluations` twice: leave one out, or set another seed.")
    sets: dict[str, TraitProbe] = {}
    for each in evaluations:
        count = sum(other.name == each.name for other in sets.values())
        sets[f"{each.name} {count + 1}" if count else each.name] = each
    return sets


def readable(sets: dict[str, TraitProbe], tokenizer: Any, trait: Trait, base: str) -> dict[str, TraitProbe]:
    """Return the sets that a base other than the student's can read, and report the others."""
    kept = {}
    for label, each in sets.items():
        try:
            each.check(tokenizer, trait, base)
        except InputError as err:
            say(f"teacher   left out of {label}: {err}")
        else:
            kept[label] = each
    return kept
