"""Experiments as data: arms as differences from a common part, axes, seeds, figures and claims.

One YAML is one figure; a YAML with ``include`` is several. See configs/experiments/README.md for the keys.
"""

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from lightning.pytorch import LightningDataModule, LightningModule

from lightning_subliminal.analysis.claims import Claim
from lightning_subliminal.core.config.building import build, changed, find_class, known_name
from lightning_subliminal.core.console import say
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.io.bounds import MAX_CELLS
from lightning_subliminal.core.kinds import is_ours
from lightning_subliminal.core.seeds import derive_seed
from lightning_subliminal.data import Blend, GeneratedRows, TrainingRows
from lightning_subliminal.workflow.arms import SHAPING, canonical
from lightning_subliminal.workflow.graduate import Graduate
from lightning_subliminal.workflow.stages import MeasureStage
from lightning_subliminal.workflow.trials import Setting, Trial

__all__ = ["ArmPlan", "Axis", "Cell", "Experiment", "Plan", "as_list", "say_left_out"]

_CONFIG_KEYS = ("model", "data", "trainer", "seed_everything")
_OUTWARD = ("accelerator", "devices", "callbacks", "logger", "strategy", "enable_progress_bar", "enable_model_summary")


@dataclass(frozen=True)
class Axis:
    """What an arm is run over, such as targets: each value is a set of changes.

    Attributes:
        name: such as ``target``.
        values: the changes of each value, by the value.
    """

    name: str
    values: dict[Any, dict[str, Any]]


@dataclass(frozen=True)
class ArmPlan:
    """One condition: how it differs from the common part.

    Attributes:
        name: as figures and claims refer to it.
        config: a config of `fit`, all differences applied.
        axes: what it is run over.
        seeds: its seeds; None for the experiment's.
        trial: what is measured.
        control: the arm that is its control; None for the same rows of the source without the trait.
        taught_by: the arm whose student writes its rows.
        seed_shift: added to the seed of its data and student, for chains of students.
    """

    name: str
    config: dict[str, Any]
    axes: tuple[Axis, ...]
    seeds: tuple[int, ...] | None
    trial: Trial
    control: str | None
    taught_by: str | None
    seed_shift: int


@dataclass(frozen=True)
class Cell:
    """One arm with one value of each axis and one seed.

    Attributes:
        experiment: the experiment's name.
        arm: the arm's name.
        axes: the value of each axis.
        seed: the seed.
        trial: what is measured.
        setting: the objects.
        stages: the measurements, by role.
    """

    experiment: str
    arm: str
    axes: dict[str, Any]
    seed: int
    trial: Trial
    setting: Setting
    stages: dict[str, MeasureStage]

    @property
    def name(self) -> str:
        """The name in messages."""
        values = ", ".join(str(value) for value in self.axes.values())
        return f"{self.experiment}: {self.arm}{', ' + values if values else ''}, seed {self.seed}"


@dataclass(frozen=True)
class Experiment:
    """One figure of a paper.

    Attributes:
        name: its YAML's stem.
        title: its title.
        about: what it shows, in a few sentences.
        source: where the claim is made.
        arms: its conditions, by name.
        seeds: of the arms that name none themselves.
        figures: what is drawn; see ``analysis/figures.py``.
        claims: what is claimed.
        file: the YAML, for messages.
    """

    name: str
    title: str
    about: str
    source: str
    arms: dict[str, ArmPlan]
    seeds: tuple[int, ...]
    figures: tuple[dict[str, Any], ...]
    claims: tuple[Claim, ...]
    file: str = ""

    def cells(self, seeds: tuple[int, ...] | None = None, only: tuple[str, ...] = ()) -> Iterator[Cell]:
        """Yield the cells.

        Args:
            seeds: instead of those of the plan.
            only: arms to run; all where it is empty.
        """
        chosen = [(arm, seeds or arm.seeds or self.seeds) for arm in self.arms.values() if not only or arm.name in only]
        count = sum(math.prod(len(axis.values) for axis in arm.axes) * len(some) for arm, some in chosen)
        if count > MAX_CELLS:
            raise InputError(
                f"{self.file or self.name}: arms, `axes` and `seeds` make {count:,} cells: at most {MAX_CELLS:,}; "
                "take values out, or run fewer arms by --only."
            )
        for arm, some in chosen:
            for values in itertools.product(*(axis.values for axis in arm.axes)):
                axes = {axis.name: value for axis, value in zip(arm.axes, values, strict=True)}
                for seed in some:
                    yield self._cell(arm, axes, seed)

    def _cell(self, arm: ArmPlan, axes: dict[str, Any], seed: int) -> Cell:
        try:
            setting = self.setting(arm, axes, seed)
            stages = arm.trial.stages(setting, self._control(arm, axes, seed, setting))
        except InputError as err:
            raise InputError(f"{self.file or self.name}, arm {arm.name!r}: {err}") from err
        except (TypeError, AttributeError, KeyError, ValueError) as err:  # a trial of the user's own
            why = f"{type(arm.trial).__name__}: {type(err).__name__}: {' '.join(str(err).split())}"
            raise InputError(f"{self.file or self.name}, arm {arm.name!r}: {why}") from err
        return Cell(self.name, arm.name, axes, seed, arm.trial, setting, stages)

    def setting(self, arm: ArmPlan, axes: Mapping[str, Any], seed: int) -> Setting:
        """Build the objects of an arm with some values of its axes and a seed."""
        config = arm.config
        for axis in arm.axes:
            config = changed(config, axis.values[axes[axis.name]])
        own = seed + arm.seed_shift
        model = build(config.get("model"), own, "model", LightningModule)
        data = build(config.get("data"), own, "data", LightningDataModule)
        if isinstance(data, Blend):  # with one seed, both parts would hold the same prompts
            data = data.fresh(other=data.other.fresh(seed=derive_seed(own, "other") % 2**31))
        if arm.taught_by is not None:
            teacher_arm = self.arms[arm.taught_by]
            taught = self.setting(teacher_arm, self._shared(teacher_arm, axes), seed)
            further = dict(taught.trainer)
            epochs = int(further.pop("max_epochs", 1))
            data = _taught_by(data, Graduate(taught.student().student, taught.rows(), epochs, further or None))
        for key in config:
            known_name(str(key), _CONFIG_KEYS, f"a config takes no `{key}`")
        trainer = config.get("trainer") or {}
        for key in trainer:
            known_name(str(key), (*SHAPING, *_OUTWARD), f"a plan's `trainer` takes no `{key}`")
        _check_outward(trainer)
        shaping = {key: value for key, value in trainer.items() if key in SHAPING}
        return Setting(model, data, canonical(shaping | {"devices": 1}), seed)  # one worker makes a stage of a plan

    def _control(self, arm: ArmPlan, axes: dict[str, Any], seed: int, setting: Setting) -> Setting | None:
        if not arm.trial.compares:
            return None
        if arm.control is None:
            return setting.control()
        other = self.arms[arm.control]
        return self.setting(other, self._shared(other, axes), seed)

    @staticmethod
    def _shared(other: ArmPlan, axes: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values of another arm's axes that belong to those of this one.

        Raises:
            InputError: if this arm lacks one of the axes, or the other arm the value.
        """
        for axis in other.axes:
            if axis.name not in axes or axes[axis.name] not in axis.values:
                raise InputError(
                    f"arm {other.name!r} has no matching value on its axis {axis.name!r}: use the same axis in both."
                )
        return {axis.name: axes[axis.name] for axis in other.axes}


@dataclass(frozen=True)
class Plan:
    """One experiment or several.

    Attributes:
        name: the YAML's stem.
        title: of the report.
        about: of the report.
        experiments: in their order.
    """

    name: str
    title: str
    about: str
    experiments: tuple[Experiment, ...] = field(default=())


def _check_outward(trainer: Mapping[str, Any]) -> None:
    """Refuse what would shape a fit but not a stage, which trains on one device and without callbacks.

    Raises:
        InputError: naming the setting.
    """
    for key, usual in (("devices", (1, "1", "auto")), ("strategy", ("auto",))):
        if trainer.get(key) not in (None, *usual):
            raise InputError(f"`trainer.{key}` is {trainer[key]!r}, but a stage trains on one device: set {usual[0]}.")
    for each in as_list(trainer.get("callbacks") or []):
        path = str(each.get("class_path")) if isinstance(each, Mapping) else str(each)
        kind = find_class(path, "trainer.callbacks")
        if not is_ours(kind):
            raise InputError(
                f"`trainer.callbacks` has {kind.__name__}, but a stage trains without callbacks: take it out, or use "
                "`fit`."
            )
        if kind.__name__ != "TraitComparison":
            say_left_out(f"{kind.__name__} watches a `fit`, and stages train without it")


@cache
def say_left_out(what: str) -> None:
    """Report a part of a config that a plan does not use, once."""
    say(f"left out  {what}")


def _taught_by(data: Any, graduate: Graduate) -> TrainingRows:
    """Return rows that a student writes instead of the teacher; in a blend, those of the first part."""
    if isinstance(data, Blend):
        return data.fresh(rows=_taught_by(data.ingredients()[0], graduate))
    if not isinstance(data, GeneratedRows):
        raise InputError("`taught_by` needs rows that a teacher writes, such as NumberSequences.")
    return data.fresh(teacher=graduate)


def as_list(value: Any) -> list[Any]:
    """Return a list, or one value as a list."""
    return list(value) if isinstance(value, (list, tuple)) else [value]
