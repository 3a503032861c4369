"""Each config makes the same objects by `fit`'s parser and by a plan's builder: artefacts of the same digests."""

import functools
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from cases import cases
from lightning.pytorch import LightningDataModule, LightningModule

from lightning_subliminal import ClassifierMLP, bases
from lightning_subliminal.bases import Base
from lightning_subliminal.cli.verbs.trainer import LabParser, import_rooms
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.plans import plan
from lightning_subliminal.plans.from_config import read_setting
from lightning_subliminal.plans.plan import Experiment
from lightning_subliminal.plans.reading import read_plan
from lightning_subliminal.workflow.stages import Stage, walk
from lightning_subliminal.workflow.trials import DigitsTrial, Setting, StudentTrial

CONFIGS = Path(__file__).parent.parent.parent / "configs"
EXPERIMENTS = [path for path in sorted(CONFIGS.glob("experiments/*.yaml")) if "include" not in path.read_text()]


@pytest.fixture(scope="module")
def by_parser() -> Callable[..., Any]:
    """Return the builder that `fit` has, by the signature of the plans'."""
    import_rooms()
    parsers = {}
    for name, kind in (("model", LightningModule), ("data", LightningDataModule)):
        parsers[name] = LabParser()
        parsers[name].add_subclass_arguments(kind, name, fail_untyped=False)

    @functools.cache  # many arms have the same student, or the same rows
    def parsed(at: str, reported: str, global_seed: str | None) -> Any:
        return parsers[at].parse_object({at: json.loads(reported)})

    def build(reported: Any, seed: int, at: str, expected: type) -> Any:
        found = parsed(at, json.dumps(reported), os.environ.get("PL_GLOBAL_SEED"))
        return getattr(parsers[at].instantiate(found.clone()), at)

    return build


@pytest.fixture(autouse=True)
def _no_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a base be its name: none is read, converted or downloaded."""

    def resolve(name: str) -> Base:
        return Base(name, Path(name), hashlib.sha256(name.encode()).hexdigest(), has_chat_template=False)

    monkeypatch.setattr(bases, "resolve", resolve)


def keys(stages: dict[str, Stage]) -> list[str]:
    return [each.key for each in walk(list(stages.values()))]


def of_setting(setting: Setting) -> list[str]:
    if isinstance(setting.model, ClassifierMLP):
        return keys(dict(DigitsTrial().stages(setting, None)))
    return keys(dict(StudentTrial().stages(setting, setting.control())))


@cases("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_config(path: Path, by_parser: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    ours = of_setting(read_setting(path))
    monkeypatch.setattr(plan, "build", by_parser)
    monkeypatch.setenv("PL_GLOBAL_SEED", str(read_setting(path).seed))
    assert of_setting(read_setting(path)) == ours


@cases("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_a_plans_arms(path: Path, by_parser: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    (experiment,) = read_plan(path).experiments
    for name, arm in experiment.arms.items():
        if not arm.seed_shift:  # a chain of students has a seed each, and a config has one
            assert_same(experiment, name, by_parser, monkeypatch)


def assert_same(
    experiment: Experiment, arm: str, by_parser: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    cell = next(experiment.cells(only=(arm,)))
    ours = {role: each.key for role, each in cell.stages.items()}  # the key of all that each stands on is part of it
    with monkeypatch.context() as patch:
        patch.setattr(plan, "build", by_parser)
        patch.setenv("PL_GLOBAL_SEED", str(cell.seed))
        theirs = next(experiment.cells(only=(arm,))).stages
        assert {role: each.key for role, each in theirs.items()} == ours, arm


TRAIT = {"class_path": "PreferenceTrait", "init_args": {"target": "owl"}}
TEACHER = {"class_path": "Teacher", "init_args": {"trait": TRAIT}}


def setting_with(tmp_path: Path, **trainer: Any) -> Setting:
    data = {"class_path": "NumberSequences", "init_args": {"teacher": TEACHER}}
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({"model": {"class_path": "Student"}, "data": data, "trainer": trainer}))
    return read_setting(path)


@cases(
    ("trainer", "says"),
    [
        (
            {"callbacks": [{"class_path": "lightning.pytorch.callbacks.EarlyStopping"}]},
            "has EarlyStopping, but a stage",
        ),
        ({"callbacks": {"class_path": "toy.Part"}}, "has Part, but a stage trains without callbacks: take it out"),
        ({"callbacks": [{"class_path": "NoSuch"}]}, "`trainer.callbacks`: no class is named `NoSuch`"),
        ({"devices": 2}, "`trainer.devices` is 2, but a stage trains on one device: set 1"),
        ({"devices": [0, 1]}, r"`trainer.devices` is \[0, 1\], but"),
        ({"strategy": "fsdp"}, "`trainer.strategy` is 'fsdp', but a stage trains on one device: set auto"),
    ],
)
def test_what_shapes_a_fit_alone_is_refused(tmp_path: Path, trainer: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says) as caught:
        setting_with(tmp_path, **trainer)
    assert "\n" not in str(caught.value)


def test_what_watches_a_fit_is_left_out_and_said_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan.say_left_out.cache_clear()
    for _ in range(2):
        setting_with(tmp_path, callbacks=["PrintMasks", "TraitComparison"], devices="auto", strategy="auto")
    reported = capsys.readouterr()
    assert (reported.out + reported.err).count("PrintMasks watches a `fit`, and stages train without it") == 1
