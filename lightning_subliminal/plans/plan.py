"""A plan is data: a common part, arms as differences from it, axes, seeds; and what the report shall say of them.

One YAML is one figure; a YAML with ``include`` is several. See configs/experiments/README.md for the keys.
"""

import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningDataModule, LightningModule

from lightning_subliminal.analysis.claims import Claim, read_claim
from lightning_subliminal.analysis.figures import check_figure, figure_values
from lightning_subliminal.core.config.building import build, changed, find_class, known_name, read_yaml
from lightning_subliminal.core.config.shipped import find_config
from lightning_subliminal.core.console import say
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.fingerprint import digest
from lightning_subliminal.core.io.bounds import MAX_ARMS, MAX_CELLS
from lightning_subliminal.core.kinds import is_ours
from lightning_subliminal.core.seeds import derive_seed
from lightning_subliminal.data import Blend, GeneratedRows, TrainingRows
from lightning_subliminal.evaluation import TraitProbe
from lightning_subliminal.workflow.arms import SHAPING, canonical
from lightning_subliminal.workflow.graduate import Graduate
from lightning_subliminal.workflow.stages import MeasureStage
from lightning_subliminal.workflow.trials.base import Setting, StudentTrial, Trial

__all__ = [
    "ArmPlan",
    "Axis",
    "Cell",
    "Experiment",
    "Plan",
    "parse_seeds",
    "read_plan",
]

_PLAN_KEYS = ("title", "about", "include", "seeds")
_KEYS = (
    "title",
    "about",
    "source",
    "common",
    "change",
    "seeds",
    "axes",
    "arms",
    "trial",
    "figures",
    "claims",
    "published",
)
_ARM_KEYS = ("change", "axes", "seeds", "common", "trial", "control", "taught_by", "seed_shift")
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
        name: as figures and claims call it.
        config: a config of `fit`, all differences made.
        axes: what it is run over.
        seeds: its seeds; the experiment's where it is None.
        trial: what is done with it.
        control: the arm that is its control; None takes the same rows of the source without the trait.
        taught_by: the arm whose student writes its rows.
        seed_shift: added to the seed that its data and student get, for chains of students.
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
        trial: what is done.
        setting: the objects.
        stages: what is measured, by role.
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
        """What people call it."""
        values = ", ".join(str(value) for value in self.axes.values())
        return f"{self.experiment}: {self.arm}{', ' + values if values else ''}, seed {self.seed}"


@dataclass(frozen=True)
class Experiment:
    """One figure of a paper.

    Attributes:
        name: its YAML's stem.
        title: what it is called.
        about: what it shows, in a few sentences.
        source: where the claim stands.
        arms: its conditions, by name.
        seeds: of the arms that name none themselves.
        figures: what is drawn; see ``figures.py``.
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
        wanted = [arm for arm in self.arms.values() if not only or arm.name in only]
        count = sum(
            math.prod(len(axis.values) for axis in arm.axes) * len(seeds or arm.seeds or self.seeds) for arm in wanted
        )
        if count > MAX_CELLS:
            raise InputError(
                f"{self.file or self.name}: arms, `axes` and `seeds` make {count:,} cells: at most {MAX_CELLS:,}; "
                "take values out, or run fewer arms by --only."
            )
        for arm in wanted:
            for chosen in itertools.product(*(axis.values.items() for axis in arm.axes)):
                axes = {axis.name: value for axis, (value, _) in zip(arm.axes, chosen, strict=True)}
                for seed in seeds or arm.seeds or self.seeds:
                    yield self._cell(arm, axes, seed)

    def _cell(self, arm: ArmPlan, axes: dict[str, Any], seed: int) -> Cell:
        try:
            setting = self.setting(arm, axes, seed)
            control = self._control(arm, axes, seed, setting)
            stages = arm.trial.stages(setting, control)
        except InputError as err:
            raise InputError(f"{self.file or self.name}, arm {arm.name!r}: {err}") from err
        except (TypeError, AttributeError, KeyError, ValueError) as err:  # a trial of the user's own
            told = f"{type(arm.trial).__name__}: {type(err).__name__}: {' '.join(str(err).split())}"
            raise InputError(f"{self.file or self.name}, arm {arm.name!r}: {told}") from err
        return Cell(self.name, arm.name, axes, seed, arm.trial, setting, stages)

    def setting(self, arm: ArmPlan, axes: Mapping[str, Any], seed: int) -> Setting:
        """Build the objects of an arm at a place on its axes, with a seed."""
        config = arm.config
        for axis in arm.axes:
            config = changed(config, axis.values[axes[axis.name]])
        own = seed + arm.seed_shift
        model = build(config.get("model"), own, "model", LightningModule)
        data = build(config.get("data"), own, "data", LightningDataModule)
        if isinstance(data, Blend):  # else the same prompts with the same random numbers would be in it twice
            data = data.fresh(other=data.other.fresh(seed=derive_seed(own, "other") % 2**31))
        if arm.taught_by is not None:
            teacher_arm = self.arms[arm.taught_by]
            taught = self.setting(teacher_arm, self._shared(teacher_arm, axes), seed)
            further = dict(taught.trainer)
            graduate = Graduate(
                taught.student().student, taught.rows(), int(further.pop("max_epochs", 1)), further or None
            )
            data = _taught_by(data, graduate)
        for key in config:
            known_name(str(key), _CONFIG_KEYS, f"a config takes no `{key}`")
        for key in config.get("trainer") or {}:
            known_name(str(key), (*SHAPING, *_OUTWARD), f"a plan's `trainer` takes no `{key}`")
        _check_outward(config.get("trainer") or {})
        given = {key: value for key, value in (config.get("trainer") or {}).items() if key in SHAPING}
        return Setting(model, data, canonical(given | {"devices": 1}), seed)  # a stage of a plan is one worker's

    def _control(self, arm: ArmPlan, axes: dict[str, Any], seed: int, setting: Setting) -> Setting | None:
        if not arm.trial.compares:
            return None
        if arm.control is None:
            return setting.control()
        other = self.arms[arm.control]
        return self.setting(other, self._shared(other, axes), seed)

    @staticmethod
    def _shared(other: ArmPlan, axes: Mapping[str, Any]) -> dict[str, Any]:
        """Return the place of another arm that belongs to a place of this one.

        Raises:
            InputError: if it has an axis, or no such value of one.
        """
        for axis in other.axes:
            if axis.name not in axes or axes[axis.name] not in axis.values:
                raise InputError(
                    f"arm {other.name!r} has no place for it on its axis {axis.name!r}: give both the same."
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


def read_plan(path: Path) -> Plan:
    """Read a plan: one experiment, or a YAML with ``include``: experiments beside it, or shipped ones by name.

    Raises:
        InputError: naming the file and the key, if something is missing, unknown or can't be built.
    """
    told = read_yaml(path)
    if "include" not in told:
        one = _read_experiment(path, told)
        return Plan(path.stem, one.title, one.about, (one,))
    for key in told:
        known_name(key, _PLAN_KEYS, f"{path} takes no `{key}`")
    files = [find_config(str(name), folder=path.parent) for name in _as_list(told["include"])]
    experiments = tuple(_read_experiment(file, read_yaml(file), told.get("seeds")) for file in files)
    names = [each.name for each in experiments]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise InputError(f"{path}: `include` has {twice!r} twice: leave one out.")
    return Plan(path.stem, str(told.get("title", path.stem)), str(told.get("about", "")).strip(), experiments)


def _check_outward(trainer: Mapping[str, Any]) -> None:
    """Refuse what would shape a fit and has no part in a stage, which trains on one device and without callbacks.

    Raises:
        InputError: naming the setting.
    """
    for key, usual in (("devices", (1, "1", "auto")), ("strategy", ("auto",))):
        if trainer.get(key) not in (None, *usual):
            raise InputError(f"`trainer.{key}` is {trainer[key]!r}, but a stage trains on one device: set {usual[0]}.")
    for each in _as_list(trainer.get("callbacks") or []):
        path = str(each.get("class_path")) if isinstance(each, Mapping) else str(each)
        kind = find_class(path, "trainer.callbacks")
        if not is_ours(kind):
            raise InputError(
                f"`trainer.callbacks` has {kind.__name__}, but a stage trains without callbacks: take it out, or use "
                "`fit`."
            )
        if kind.__name__ != "TraitComparison":
            _say_left_out(f"{kind.__name__} watches a `fit`, and stages train without it")


@cache
def _say_left_out(what: str) -> None:
    say(f"left out  {what}")


def parse_seeds(told: Any, where: str = "seeds") -> tuple[int, ...]:
    """Read seeds: a number, a list, or a text such as ``0-4`` or ``0,2,7-9``.

    Raises:
        InputError: if it is none of them.

    Example:
        >>> parse_seeds("0-2,7")
        (0, 1, 2, 7)
    """
    found: list[int] = []
    for part in _as_list(told) if not isinstance(told, str) else told.split(","):
        if isinstance(part, int) and not isinstance(part, bool) and part >= 0:
            found.append(part)
        elif isinstance(part, str) and (match := re.fullmatch(r"\s*([0-9]{1,9})\s*(?:-\s*([0-9]{1,9})\s*)?", part)):
            first, last = int(match[1]), int(match[2] or match[1])
            if last - first > 9999:
                raise InputError(f"`{where}` is {told!r}: more than 10,000 seeds are surely a slip.")
            found += range(first, last + 1)
        else:
            raise InputError(f"`{where}` is {told!r}: expected seeds such as 0, 0-4 or 0,2,7-9.")
    if not found:
        raise InputError(f"`{where}` is {told!r}: expected at least one seed, such as 0-4.")
    return tuple(dict.fromkeys(found))


def _read_experiment(path: Path, told: Mapping[str, Any], seeds: Any = None) -> Experiment:
    told = {key: value for key, value in told.items() if not str(key).startswith("x-")}  # for anchors
    if {"model", "data"} <= set(told):
        raise InputError(f"{path} is a config of `fit`, no plan: name it as `common` of one, or `fit` it.")
    for key in told:
        known_name(key, _KEYS, f"{path} takes no `{key}`")
    for key in ("title", "arms"):
        if not told.get(key):
            raise InputError(f"{path} lacks `{key}`: see configs/experiments/README.md.")
    try:
        common = changed(_common(told.get("common"), path), told.get("change") or {})
        axes = _axes(told.get("axes"))
        trial = _trial(told.get("trial"), None)
        arms: dict[str, ArmPlan] = {}
        if len(_mapping(told["arms"], "arms")) > MAX_ARMS:
            raise InputError(f"`arms` has {len(told['arms']):,}: at most {MAX_ARMS:,}; make an axis of what differs.")
        for name, each in _mapping(told["arms"], "arms").items():
            arms[str(name)] = _read_arm(str(name), each, common, axes, trial, path)
        for arm in arms.values():
            for key, other in (("control", arm.control), ("taught_by", arm.taught_by)):
                if other is not None:
                    known_name(other, arms, f"arm {arm.name!r}: `{key}` names no arm {other!r}")
            for key in ("control", "taught_by"):
                _check_chain(arm, arms, key)
        published = told.get("published", False)
        if not isinstance(published, bool):
            raise InputError(f"`published` is {published!r}: expected true where others made the claims, else false.")
        claims = tuple(read_claim(each, path.stem, arms, published) for each in _as_list(told.get("claims") or []))
        figures = tuple(_mapping(each, "figures") for each in _as_list(told.get("figures") or []))
        for each in figures:
            check_figure(each, list(arms))
        _check_values(claims, figures, arms)
        _check_places(claims, arms)
    except InputError as err:
        raise InputError(f"{path}: {err}") from err
    about = " ".join(str(told.get("about", "")).split())
    chosen = parse_seeds(told.get("seeds", 0) if seeds is None else seeds)
    source = str(told.get("source", ""))
    return Experiment(path.stem, str(told["title"]), about, source, arms, chosen, figures, claims, str(path))


def _read_arm(
    name: str, told: Any, common: dict[str, Any], axes: tuple[Axis, ...], trial: Trial | None, path: Path
) -> ArmPlan:
    told = _mapping(told or {}, f"arms.{name}")
    if not set(told) & set(_ARM_KEYS):  # short: the changes alone
        told = {"change": told}
    for key in told:
        known_name(key, _ARM_KEYS, f"arm {name!r} takes no `{key}`")
    start = _common(told["common"], path) if "common" in told else common
    own = {axis.name: axis for axis in (*axes, *_axes(told.get("axes")))}
    config = changed(start, _mapping(told.get("change") or {}, f"arms.{name}.change"))
    return ArmPlan(
        name,
        config,
        tuple(axis for axis in own.values() if axis.values),
        parse_seeds(told["seeds"], f"arms.{name}.seeds") if "seeds" in told else None,
        _with_evaluations(_trial(told.get("trial"), trial), config),
        told.get("control"),
        told.get("taught_by"),
        _number(told.get("seed_shift", 0), name),
    )


def _axes(told: Any) -> tuple[Axis, ...]:
    """Read axes: ``name: {set: key or keys, to: values}``, or ``name: {to: {value: changes}}``; null leaves one out."""
    found = []
    for name, each in _mapping(told or {}, "axes").items():
        if each is None:
            found.append(Axis(str(name), {}))
            continue
        each = _mapping(each, f"axes.{name}")
        for key in each:
            known_name(key, ("set", "to"), f"axis {name!r} takes no `{key}`")
        keys, to = [str(key) for key in _as_list(each.get("set") or [])], each.get("to")
        if isinstance(to, Mapping):
            labelled = {
                label: dict.fromkeys(keys, value) if keys else dict(_mapping(value, f"axes.{name}"))
                for label, value in to.items()
            }
        elif isinstance(to, list) and keys:
            labelled = {value: dict.fromkeys(keys, value) for value in to}
        else:
            raise InputError(f"axis {name!r}: expected `set`, a key or keys, and `to`, a list of values.")
        found.append(Axis(str(name), labelled))
    return tuple(found)


def _common(told: Any, path: Path) -> dict[str, Any]:
    if isinstance(told, str):
        return read_yaml(find_config(told, folder=path.parent))
    return dict(_mapping(told or {}, "common"))


def _with_evaluations(trial: Trial | None, config: Mapping[str, Any]) -> Trial:
    """Return an arm's trial; where the plan names none, one with the evaluations of the config's TraitComparison."""
    found: list[Any] = []
    for each in _as_list((config.get("trainer") or {}).get("callbacks") or []):
        if isinstance(each, Mapping) and str(each.get("class_path")).rpartition(".")[2] == "TraitComparison":
            found += (each.get("init_args") or {}).get("evaluations") or []
    asked = build(found, None, "trainer.callbacks.evaluations", list[TraitProbe])
    if trial is None:
        return StudentTrial(asked)
    known = {digest(each) for each in getattr(trial, "evaluations", None) or []}
    if left := [each.name for each in asked if digest(each) not in known]:
        _say_left_out(f"evaluations of TraitComparison ({', '.join(left)}): the plan's `trial` says what is asked")
    return trial


def _trial(told: Any, default: Trial | None) -> Trial | None:
    if told is None:
        return default
    made = build(told if isinstance(told, Mapping) else {"class_path": str(told)}, None, "trial", Trial)
    if not isinstance(made, Trial):
        raise InputError(f"`trial` is a {type(made).__name__}: give a Trial, such as StudentTrial.")
    return made


def _check_places(claims: Sequence[Claim], arms: Mapping[str, ArmPlan]) -> None:
    """Refuse claims of one name, and places on axes that an arm does not have."""
    names = [claim.id for claim in claims]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise InputError(f"two claims have the id {twice!r}: give each its own.")
    for claim in claims:
        less = [(claim.less.get("arm", claim.arm), claim.less.get("where", claim.where))] if claim.less else []
        for arm, where in [*((arm, claim.where) for arm in claim.of_arms), *less]:
            axes = {axis.name: axis.values for axis in arms[arm].axes}
            for axis, wanted in where.items():
                known_name(axis, axes, f"claim {claim.id!r}: arm {arm!r} has no axis `{axis}`")
                told = wanted.get("in", []) if isinstance(wanted, Mapping) else wanted
                for value in _as_list(told):
                    known_name(value, axes[axis], f"claim {claim.id!r}: axis `{axis}` has no `{value}`")
                for key in ("same_as", "other_than"):
                    if isinstance(wanted, Mapping) and key in wanted:
                        known_name(wanted[key], axes, f"claim {claim.id!r}: `{key}` names no axis `{wanted[key]}`")


def _check_values(claims: Sequence[Claim], figures: Sequence[Mapping[str, Any]], arms: Mapping[str, ArmPlan]) -> None:
    """Refuse the name of a number that no trial gives."""
    given = [arm.trial.names() for arm in arms.values()]
    if None in given:  # a trial of the user's own, which need not tell
        return
    known = list(dict.fromkeys(name for names in given for name in names or ()))
    for claim in claims:
        for value in (claim.value, (claim.less or {}).get("value", claim.value), claim.beside or claim.value):
            known_name(value, known, f"claim {claim.id!r}: no trial gives `{value}`")
    for figure in figures:
        for value in figure_values(figure):
            known_name(value, known, f"figure {figure.get('title')!r}: no trial gives `{value}`")


def _check_chain(arm: ArmPlan, arms: Mapping[str, ArmPlan], key: str) -> None:
    """Refuse an arm that is its own control or teacher, itself or by way of others."""
    seen = [arm.name]
    while (named := getattr(arms[seen[-1]], key)) is not None:
        if named in seen:
            way = " -> ".join([*seen, named])
            raise InputError(f"arm {arm.name!r}: `{key}` goes round in a circle ({way}): name an arm outside it.")
        seen.append(named)


def _taught_by(data: Any, graduate: Graduate) -> TrainingRows:
    """Return rows that a student writes in the place of the teacher; in a blend, those of the first part."""
    if isinstance(data, Blend):
        return data.fresh(rows=_taught_by(data.ingredients()[0], graduate))
    if not isinstance(data, GeneratedRows):
        raise InputError("`taught_by` needs rows that a teacher writes, such as NumberSequences.")
    return data.fresh(teacher=graduate)


def _number(told: Any, arm: str) -> int:
    if not isinstance(told, int) or isinstance(told, bool) or told < 0:
        raise InputError(f"arm {arm!r}: `seed_shift` is {told!r}: expected a whole number of at least 0.")
    return told


def _mapping(told: Any, name: str) -> dict[str, Any]:
    if not isinstance(told, Mapping):
        raise InputError(f"`{name}` is {told!r}: expected a mapping.")
    return dict(told)


def _as_list(told: Any) -> list[Any]:
    return list(told) if isinstance(told, (list, tuple)) else [told]
