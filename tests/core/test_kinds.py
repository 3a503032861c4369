"""What digests call our classes: moving a file re-makes nobody's cache."""

import ast
import hashlib
import json
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest
from cases import cases
from toy import Toy

import lightning_subliminal
from lightning_subliminal import KeepFirst, LoRA, NumberList, PreferenceTrait
from lightning_subliminal.core import kinds
from lightning_subliminal.core.config.class_paths import import_path
from lightning_subliminal.core.fingerprint import describe, digest
from lightning_subliminal.core.kinds import current_path, kind_of
from lightning_subliminal.data import TrainingRows
from lightning_subliminal.lineage import setting_material
from lightning_subliminal.plans.from_config import read_setting
from lightning_subliminal.plans.reading import read_plan
from lightning_subliminal.workflow.stages import MeasureStage, walk
from lightning_subliminal.workflow.trials import StudentTrial

CONFIGS = Path(__file__).parents[2] / "configs"
PACKAGE = Path(lightning_subliminal.__file__).parent
FROZEN = json.loads(Path(__file__).with_name("frozen_digests.json").read_text(encoding="utf-8"))
# Of these only classes that no digest holds bear the same name.
TWICE: set[str] = set()


def artefacts(name: str) -> list[str]:
    """Return the keys of the artefacts that a config's student needs, or the first cell of each arm of a plan."""
    if "/" in name:
        (plan,) = read_plan(CONFIGS / name).experiments
        cells = [next(plan.cells(only=(arm,))) for arm in plan.arms]
        stages = [stage for each in cells for stage in each.stages.values()]
    else:
        setting = read_setting(CONFIGS / name)
        stages = list(StudentTrial().stages(setting, setting.control()).values())
    return [each.key for each in walk(stages) if not isinstance(each, MeasureStage)]


@cases("name", FROZEN)
def test_artefacts_have_the_digests_of_the_first_release(name: str) -> None:
    found = artefacts(name)
    assert hashlib.sha256(" ".join(found).encode()).hexdigest() == FROZEN[name], found


def test_no_two_classes_share_a_kind() -> None:
    names = Counter(
        node.name
        for file in PACKAGE.rglob("*.py")
        for node in ast.parse(file.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef)
    )
    assert {name for name, count in names.items() if count > 1} <= TWICE
    assert not TWICE & set(kinds._kinds())
    assert len(set(kinds._kinds().values())) == len(kinds._kinds())


def test_each_kind_is_found_where_its_class_is() -> None:
    for kind in kinds._kinds().values():
        assert kind_of(import_path(current_path(kind))) == kind


@pytest.fixture
def moved(monkeypatch: pytest.MonkeyPatch) -> str:
    """Move NumberList to another module, as a later release may."""
    module = ModuleType("lightning_subliminal.elsewhere")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(module, "NumberList", NumberList, raising=False)
    monkeypatch.delattr("lightning_subliminal.filters.numbers.NumberList")
    monkeypatch.setattr(NumberList, "__module__", module.__name__)
    return "lightning_subliminal.filters.numbers.NumberList"


def test_moving_a_class_changes_no_digest(moved: str) -> None:
    assert describe(NumberList())["class"] == moved
    assert describe([NumberList.reasons])[0]["class"] == f"{moved}.reasons"
    assert setting_material("filter", NumberList()).uri == moved


def test_an_old_path_names_the_class_where_it_is_now(moved: str) -> None:
    assert import_path(moved) is NumberList


def test_renaming_a_class_changes_no_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    renamed = type("Renamed", (LoRA,), {"__module__": "lightning_subliminal.models.elsewhere"})
    names = {**kinds._kinds(), "Renamed": "lightning_subliminal.models.adapters.LoRA"}
    monkeypatch.setattr(kinds, "_kinds", lambda: names)
    assert digest(renamed()) == digest(LoRA())


def test_a_later_class_is_called_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    later = type("Later", (KeepFirst,), {"__module__": "lightning_subliminal.transforms.later"})
    assert describe(later(3))["class"] == "Later"
    monkeypatch.setattr("lightning_subliminal.transforms.Later", later, raising=False)
    assert import_path(f"lightning_subliminal.{current_path('Later').partition('.')[2]}") is later


@cases("path", ["torch.nn.Linear", "mine.NumberList", "lightning_subliminal.no.Such", "ghost", "a b"])
def test_other_paths_stay(path: str) -> None:
    assert current_path(path) == path


def test_a_users_class_keeps_path_and_source() -> None:
    class Mine(PreferenceTrait):
        pass

    reported = describe(Mine("owl"))
    assert reported["class"] == f"{__name__}.test_a_users_class_keeps_path_and_source.<locals>.Mine"
    assert len(reported["source"]) == 64
    assert kind_of(Toy) == "toy.Toy"
    assert kind_of(TrainingRows.rows) == "lightning_subliminal.data.training_rows.TrainingRows.rows"
    assert kind_of(digest) == "lightning_subliminal.describe.digest"
