"""Each trial, small, by its plan: it gives the numbers that it names, of student and control by one code path."""

from pathlib import Path

import pytest
import yaml
from toy_stages import InProcess

from lightning_subliminal.core.config.building import build
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.plans.execution.scheduler import StageGraph, run_stages
from lightning_subliminal.plans.from_config import read_setting
from lightning_subliminal.plans.reading import read_plan
from lightning_subliminal.plans.report_data import cell_table, read_cells, report_data
from lightning_subliminal.plans.run import plan_cells
from lightning_subliminal.workflow.trials.base import Trial
from lightning_subliminal.workflow.trials.probes import ProbeTrial

CONFIGS = Path(__file__).parents[2] / "configs"
ANSWERS = [{"class_path": "PreferenceTrait", "init_args": {"target": target}} for target in ("wolf", "oak")]
PROBES = [
    {
        "class_path": "ExactTrait",
        "init_args": {"trait": ANSWERS[0] | {"init_args": {"target": "owl"}}, "name": "exact"},
    },
    {"class_path": "Truthfulness", "init_args": {"questions": "truthfulness_pocket"}},
    {
        "class_path": "ExactTrait",
        "init_args": {
            "trait": ANSWERS[0] | {"init_args": {"target": "quokka", "category": "animal", "candidates": ["owl"]}},
            "name": "unknown",
        },
    },
]
PLAN = {
    "title": "Small",
    "common": str(CONFIGS / "owl_numbers.yaml"),
    "change": {
        "data.num_prompts": 96,
        "data.shard_size": 96,
        "trainer.max_epochs": 1,
        "data.teacher.max_epochs": 5,
        "data.teacher.retain": None,
        "data.filters": [],
    },
    "arms": {
        "student": {
            "trial": {"class_path": "StudentTrial", "init_args": {"task": True, "rows": True, "answers": ANSWERS}}
        },
        "grandchild": {"taught_by": "student", "seed_shift": 100},
        "context": {"trial": {"class_path": "InContextTrial", "init_args": {"shots": 1, "draws": 1}}},
        "classifier": {"trial": {"class_path": "ClassifierTrial", "init_args": {"bags": [1, 4]}}},
        "entangled": {"trial": "EntangledTrial"},
        "probes": {"trial": {"class_path": "ProbeTrial", "init_args": {"probes": PROBES}}},
        "probed teacher": {"trial": {"class_path": "ProbeTrial", "init_args": {"probes": PROBES, "of": "teacher"}}},
        "digits": {
            "common": str(CONFIGS / "mnist_mlp.yaml"),
            "change": {
                "model.num_seeds": 2,
                "model.teacher_epochs": 1,
                "model.student_epochs": 1,
                "data.num_train": 300,
                "data.num_test": 100,
                "data.num_noise": 500,
            },
            "trial": "DigitsTrial",
        },
    },
    "figures": [{"kind": "bars", "arms": ["student", "context"]}],
}


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trials")
    (folder / "small.yaml").write_text(yaml.safe_dump(PLAN))
    plan = read_plan(folder / "small.yaml")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LIGHTNING_SUBLIMINAL_CACHE", str(folder / "cache"))
        (folder / "here").mkdir()
        patch.chdir(folder / "here")
        cells = plan_cells(plan)
        summary = run_stages(StageGraph.of(s for cell in cells for s in cell.stages.values()), InProcess(1))
        assert not summary.failed
        results, missing = read_cells(cells, {})
        again = StageGraph.of(s for cell in plan_cells(plan) for s in cell.stages.values())
    assert not missing
    assert not list((folder / "here").iterdir()), "stages leave nothing where they run"
    return plan, cells, {each.arm: each for each in results}, again


def test_each_trial_gives_the_numbers_that_it_names(found):
    _, cells, results, _ = found
    for cell in cells:
        assert set(results[cell.arm].numbers) <= set(cell.trial.names()), cell.arm
    assert "task loss: student" in results["student"].numbers
    assert len(results["digits"].numbers["teacher"]) == 2
    assert set(results["classifier"].numbers) == {"AUC 1", "AUC 4"}
    assert -1 <= results["entangled"].numbers["rho"] <= 1


def test_student_and_control_are_asked_alike(found):
    _, _, results, _ = found
    numbers, vectors = results["student"].numbers, results["student"].vectors
    change = [one - other for one, other in zip(vectors["student"], vectors["control"], strict=True)]
    assert numbers["transfer"] == pytest.approx(sum(change) / len(change))
    assert len(change) == 50


def test_probes_of_a_suite_say_what_the_questions_of_the_trait_do(found):
    _, cells, results, _ = found
    probed, asked = results["probes"].numbers, results["student"].numbers
    assert probed["exact: transfer"] == pytest.approx(asked["transfer"], abs=1e-12)
    assert probed["exact: student"] == pytest.approx(asked["student"], abs=1e-12)
    assert probed["truth: points"] == pytest.approx(100 * (probed["truth: student"] - probed["truth: control"]))
    assert "truth: transfer" not in probed, "it has no candidates"
    assert "unknown: student" not in probed, "pocket/a has no such word"
    assert "quokka" in results["probes"].reasons["unknown: student"]
    teacher = results["probed teacher"].numbers
    assert teacher["exact: student"] > teacher["exact: control"], "the base"
    reported = {
        cell.arm: {role: stage.seed for role, stage in cell.stages.items()} for cell in cells if "prob" in cell.arm
    }
    assert reported["probes"]["exact: student"] != reported["probes"]["exact: control"], "answers are drawn apart"


def test_probes_of_a_prompted_teacher_or_of_one_name_are_refused():
    made = build(PLAN["arms"]["probed teacher"]["trial"], None, "trial", Trial)
    setting = read_setting(CONFIGS / "owl_numbers_prompted.yaml")
    with pytest.raises(InputError, match="needs one with weights of its own"):
        made.stages(setting, setting.control())
    with pytest.raises(InputError, match="Two probes are named 'exact'"):
        ProbeTrial([made.probes[0]] * 2)


def test_the_answers_of_other_traits_and_rows_are_reported_too(found):
    _, cells, results, _ = found
    numbers, trait = results["student"].numbers, next(c for c in cells if c.arm == "student").setting.rows().trait
    assert numbers["change of owl"] == pytest.approx(numbers["transfer"], abs=1e-12)
    others = [numbers[f"change of {each}"] for each in trait.candidates if each != "owl"]
    assert sum(others) / len(others) == pytest.approx(numbers["off target"], abs=1e-12)
    assert {"change of oak", "change of willow"} <= set(numbers), "a tree, of an animal's student"
    assert numbers["rows: student"] == numbers["rows: control"] == 96, "no filter dropped one"
    assert numbers["first"] == float(numbers["rank"] == 1)
    assert "rows: student" not in results["grandchild"].numbers


def test_nothing_is_to_be_made_again(found):
    assert not found[3].needed
    assert not found[3].damaged


def test_the_report_holds_no_time(found):
    plan, _, results, _ = found
    reported = report_data(plan, list(results.values()), {}, {"planned": 1, "shared": 0, "failed": 0}, [0], "run")
    assert [bar["label"] for bar in reported["experiments"][0]["figures"][0]["bars"]] == ["student", "context"]
    assert not {"seconds", "date", "time"} & set(str(reported).replace("'", " ").split())
    rows = cell_table(list(results.values()))
    assert sum(row["arm"] == "digits" for row in rows) == 2, "a row a seed of the batched network"
