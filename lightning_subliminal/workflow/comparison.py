"""What a fit ends with: base, teacher, control and student beside each other, as a table, a picture and a file."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from lightning_subliminal import bases
from lightning_subliminal.core.console import say
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.fingerprint import describe, digest
from lightning_subliminal.core.rows import atomically
from lightning_subliminal.data import TrainingRows
from lightning_subliminal.evaluation import Scores, ScoreTable, TraitProbe
from lightning_subliminal.evaluation.guards import pair_doubts
from lightning_subliminal.lineage import artefact_material, write_record, write_test_result
from lightning_subliminal.metrics.functional import check_target
from lightning_subliminal.models.made_from import look_again
from lightning_subliminal.models.student import Student
from lightning_subliminal.traits import Trait
from lightning_subliminal.workflow.arms import in_own_dtype, measure, shaping
from lightning_subliminal.workflow.comparison_chart import draw_comparison
from lightning_subliminal.workflow.results import comparison_table, further_table, summary, verdict
from lightning_subliminal.workflow.saving import keep_student
from lightning_subliminal.workflow.stages import Stage, StudentStage, source_stages

__all__ = ["TraitComparison", "control_stage"]


class TraitComparison(Callback):
    """After ``fit``, asks base, teacher, control and student the trait's questions, and shows the answers together.

    It trains nothing. The control, a student trained the same way on rows of the teacher's base without the trait, is
    shown where the cache has it; ``fit_arms`` and the verb `fit` make it before. Rows from a file have no teacher to
    ask, and a control where their data module knows one.

    Attributes:
        saves_student: it saves the student, before the questions, which may fail; ``SaveStudent`` leaves it that.
        waits: ``fit_arms`` calls ``compare`` itself, once the control is made.

    Args:
        control: show the control arm; ``fit_arms`` then makes it.
        others: how many off-target candidates the table shows.
        evaluations: further sets of questions, such as `QuestionsAfterNumbers` and `Stories`; a second table.
    """

    saves_student: ClassVar[bool] = True
    waits: bool = False

    def __init__(self, control: bool = True, others: int = 5, evaluations: list[TraitProbe] | None = None) -> None:
        self.control = control
        self.others = others
        self.evaluations = evaluations or []
        self._sets = labelled(self.evaluations)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuse what can't be compared, where this was not done before the fit."""
        if stage == "fit":
            self.check(pl_module, trainer.datamodule)  # type: ignore[attr-defined]

    def check(self, module: Any, data: Any) -> None:
        """Refuse what can't be compared.

        Raises:
            InputError: if the data has no trait to ask for, or the module is no student.
        """
        if not isinstance(module, Student) or not isinstance(data, TrainingRows):
            raise InputError("TraitComparison needs a Student and rows to train it on, such as NumberSequences.")
        if data.trait is None:
            whom = "the teacher" if hasattr(data, "teacher") else "the data"
            raise InputError(f"TraitComparison has no trait to ask for: give {whom} a `trait`, beside a control too.")

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Refuse a base that can't say the target or read a question, before the training.

        Raises:
            InputError: if the student's tokenizer has no tokens for them.
        """
        student: Any = pl_module
        trait = trainer.datamodule.trait  # type: ignore[attr-defined]
        check_target(student.tokenizer, trait)
        for each in self.evaluations:
            each.check(student.tokenizer, trait, student.base)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure, show and keep, on the first process."""
        if self.waits or not trainer.is_global_zero or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        student: Any = pl_module
        data: TrainingRows = trainer.datamodule  # type: ignore[attr-defined]
        keep_student(student, data, trainer)  # before the questions, which may fail
        self.compare(trainer, student, data)

    def compare(self, trainer: Trainer, student: Student, data: TrainingRows) -> None:
        """Measure, show and keep what there is; nothing is trained.

        Args:
            trainer: of the student's fit: its loggers get the figures, its root folder the files.
            student: trained; its folder ``student`` is there.
            data: its rows.
        """
        trait: Any = data.trait  # setup has looked
        folder = Path(trainer.default_root_dir)
        in_own_dtype(student)
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
        """Write the lineage of the results, and what they say of teacher and student."""
        look_again(trainer, student, data)
        trait: Any = data.trait
        found = table.column(table.probes[0])
        models = {"base": bases.material(student.base)}
        if "student" in found:
            models["student"] = artefact_material("student", folder / "student")
        control = control_stage(student, data, trainer) if {"control", "student"} <= set(found) else None
        if control is not None:
            models["control"] = artefact_material("control", control.folder)
        if "teacher" in found and (made := [each for each in data.teacher.materials() if each.role == "teacher"]):  # type: ignore[attr-defined]
            models["teacher"] = made[0]
        asked = {"trait": describe(trait), "evaluations": describe(self.evaluations)}
        files = ["results.json", "preference.png"]
        write_record(folder, "comparison", asked, list(models.values()), files=files)
        for name, beside in (("teacher", "base"), ("student", "control" if "control" in models else "base")):
            if name in models and name in found:
                test, pair = f"{trait.name} as {beside}", (found[name], found[beside])
                apart, doubts = {test: _apart(*pair)}, {test: pair_doubts(*pair, (name, beside))}
                write_test_result(folder, name, models[name], apart, [models[beside]], doubts=doubts)

    def arms(self, student: Student, data: TrainingRows, trainer: Trainer) -> ScoreTable:
        """Measure base, teacher, control and student, as far as there are such."""
        trait: Any = data.trait
        device, sets = student.device, self._sets
        teacher: Any = getattr(data, "teacher", None)
        net, tokenizer = bases.load(student.base, dtype=student.base_dtype)
        table = ScoreTable(base=measure("base", net.to(device), tokenizer, trait, evaluations=sets))
        del net
        if getattr(teacher, "induction", "") == "none":
            table["control"] = measure("control", student.net, student.tokenizer, trait, evaluations=sets)
            return table
        if teacher is not None and not _is_made(source_stages(teacher)):
            say("teacher   not shown: it is not in the cache; `fit_arms` makes it")
        elif teacher is not None:
            engine: Any = teacher.engine(device, getattr(data, "generation_batch_size", 1))
            heard = readable(sets, engine.tokenizer, trait, getattr(teacher, "base", "of the teacher"))
            persona = teacher.system_prompt
            table["teacher"] = measure("teacher", engine.net, engine.tokenizer, trait, persona, heard)
            del engine
            teacher.release()  # a 7B teacher leaves the device
        control = control_stage(student, data, trainer) if self.control else None
        if control is not None and not _is_made([control]):
            say("control   not shown: it is not in the cache; `fit_arms` makes it")
        elif control is not None:
            twin = control.load(device)
            table["control"] = measure("control", twin.net, twin.tokenizer, trait, evaluations=sets)
            del twin
        table["student"] = measure("student", student.net, student.tokenizer, trait, evaluations=sets)
        return table


def control_stage(student: Student, data: TrainingRows, trainer: Trainer) -> StudentStage | None:
    """Return the stage of a student's control, trained as this trainer does; None where nobody has its rows."""
    is_control = getattr(getattr(data, "teacher", None), "induction", "") == "none"
    without = None if is_control else data.control()
    return None if without is None else StudentStage(student.beside(data), without, shaping(trainer))


def _is_made(stages: Sequence[Stage]) -> bool:
    return all(stage.is_done() for stage in stages)


def _log(trainer: Trainer, results: dict[str, Any]) -> None:
    """Return the figures to the loggers and to ``trainer.callback_metrics``, as ``comparison/...``."""
    figures: dict[str, Any] = {}
    for name, arm in results["arms"].items():
        rate = arm["rates"][results["target"]]
        figures |= {f"comparison/{name}": rate["rate"]}
        figures |= {f"comparison/{name}_{end}": rate[end] for end in ("low", "high")}
    for name in ("transfer", "targeted_transfer"):
        told = results.get(name) or {}
        figures |= {
            f"comparison/{name}" if key == "log_odds" else f"comparison/{name}_{key}": told[key]
            for key in ("log_odds", "low", "high", "rank")
            if told.get(key) is not None
        }
    known = {name: float(value) for name, value in figures.items() if value is not None}
    for logger in trainer.loggers:
        logger.log_metrics(known, step=trainer.global_step)
        logger.save()
    trainer.callback_metrics.update({name: torch.tensor(value) for name, value in known.items()})


def _apart(scores: Scores, beside: Scores) -> tuple[float, float]:
    """Return the 95 % interval, over questions, of how much likelier the target is than beside it."""
    both = [torch.tensor(each.values, dtype=torch.float64) for each in (scores, beside)]
    interval = scores.over_units(both[0] - both[1])
    return interval.low, interval.high


def labelled(evaluations: Sequence[TraitProbe]) -> dict[str, TraitProbe]:
    """Return evaluations by their names; of two with one name the second is called so, with a 2.

    Raises:
        InputError: if two are the same, or one has no name.
    """
    if nameless := [type(each).__name__ for each in evaluations if not getattr(each, "name", None)]:
        raise InputError(f"{nameless[0]} has no `name`: set it in __init__, tables call it so.")
    if len({digest(each) for each in evaluations}) < len(evaluations):
        raise InputError("TraitComparison has one of its `evaluations` twice: leave one out, or give it another seed.")
    sets: dict[str, TraitProbe] = {}
    for each in evaluations:
        count = sum(other.name == each.name for other in sets.values())
        sets[f"{each.name} {count + 1}" if count else each.name] = each
    return sets


def readable(sets: dict[str, TraitProbe], tokenizer: Any, trait: Trait, base: str) -> dict[str, TraitProbe]:
    """Return the sets that a base other than the student's can read, and say which it can't."""
    kept = {}
    for label, each in sets.items():
        try:
            each.check(tokenizer, trait, base)
        except InputError as err:
            say(f"teacher   left out of {label}: {err}")
        else:
            kept[label] = each
    return kept
