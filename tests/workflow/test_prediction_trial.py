"""A prediction beside a training: a small plan, and the numbers of a cell by hand."""

import math
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml
from cases import cases
from small import CPU, numbers, taught
from toy_stages import InProcess

from lightning_subliminal import PreferenceTrait, Retention, Steering, Student
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.data.tokenized import TokenizedRows
from lightning_subliminal.plans.execution.scheduler import StageGraph, run_stages
from lightning_subliminal.plans.reading import read_plan
from lightning_subliminal.plans.report_data import read_cells
from lightning_subliminal.plans.run import plan_cells
from lightning_subliminal.theory import trait_log_odds
from lightning_subliminal.workflow import PredictionTrial
from lightning_subliminal.workflow.trials.base import Setting
from lightning_subliminal.workflow.trials.prediction import PredictionStage

CONFIGS = Path(__file__).parents[2] / "configs"
PLAN = {
    "title": "Small",
    "common": str(CONFIGS / "owl_numbers.yaml"),
    "change": {
        "data.num_prompts": 96,
        "data.shard_size": 96,
        "data.batch_size": 8,
        "trainer.max_epochs": 2,
        "data.teacher.max_epochs": 5,
        "data.teacher.retain": None,
    },
    "trial": "PredictionTrial",
    "arms": {
        "usual": {},
        "warm": {"model.warmup_steps": 3, "trainer.max_epochs": 1},
        "constant": {"model.schedule": "constant", "trainer.accumulate_grad_batches": 2},
    },
    "claims": [
        {
            "id": "order",
            "says": "It is reported before.",
            "statistic": "rank correlation",
            "beside": "predicted",
            "arms": ["usual", "warm"],
            "above": 0.7,
        }
    ],
}


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("predicting")
    (folder / "small.yaml").write_text(yaml.safe_dump(PLAN))
    plan = read_plan(folder / "small.yaml")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LIGHTNING_SUBLIMINAL_CACHE", str(folder / "cache"))
        cells = plan_cells(plan)
        summary = run_stages(StageGraph.of(s for cell in cells for s in cell.stages.values()), InProcess(1))
        assert not summary.failed
        results, missing = read_cells(cells, {})
        assert not missing
        yield {cell.arm: cell for cell in cells}, {each.arm: each for each in results}


def by_hand(setting):
    """Return minus the inner product of two plain gradients: of the training's loss, and of the trait's log-odds."""
    student = setting.model.fresh()
    student.configure_model()
    student.eval()
    rows = TokenizedRows(setting.data.rows(), student.tokenizer)
    trained = [value for value in student.net.parameters() if value.requires_grad]
    down = torch.autograd.grad(student.loss(rows.batch(range(len(rows)))), trained)
    up = torch.autograd.grad(trait_log_odds(student.net, student.tokenizer, setting.data.trait).mean(), trained)
    return -sum((one * other).sum().item() for one, other in zip(down, up, strict=True)), len(rows)


def rates(arm, rows):
    """Write down the learning rate of each step; 0.06 is the config's."""
    batches = math.ceil(rows / 8)
    if arm == "usual":
        total = 2 * batches
        return [0.06 * (total - step) / total for step in range(total)]
    if arm == "warm":
        falls = batches - 3
        return [0.06 * part for part in (1 / 3, 2 / 3, 1)] + [0.06 * (falls - step) / falls for step in range(falls)]
    return [0.06] * (2 * math.ceil(batches / 2))


@pytest.mark.parametrize("arm", PLAN["arms"])
def test_predicted_is_gradient_descents_first_order(found, arm):
    cells, results = found
    cell, numbers = cells[arm], results[arm].numbers
    control = cell.setting.control()
    one, other = (mean * sum(rates(arm, rows)) for mean, rows in (by_hand(cell.setting), by_hand(control)))
    assert numbers["predicted"] == pytest.approx(one - other, rel=1e-3)
    assert abs(one - other) > 1e-3
    assert len(control.data.rows()) != len(cell.setting.data.rows()), "else steps could be mixed up"


def test_the_log_odds_are_those_of_the_trained_student(found):
    cells, results = found
    for arm, cell in cells.items():
        assert set(results[arm].numbers) == set(cell.trial.names())
        assert results[arm].numbers["log-odds"] == pytest.approx(
            torch.tensor(results[arm].vectors["student"]).mean().item()
        )
        assert results[arm].numbers["transfer"] != results[arm].numbers["log-odds"]


def test_the_training_has_no_part_in_the_prediction(found):
    cells, _ = found
    for role in ("student", "control"):
        assert len({cell.stages[f"predicted: {role}"].key for cell in cells.values()}) == 1
        reported = cells["usual"].stages[f"predicted: {role}"].result()
        assert reported["low"] < reported["mean"] < reported["high"]
    assert cells["usual"].stages["predicted: student"].key != cells["usual"].stages["predicted: control"].key


def test_what_moves_the_stage():
    data, student = numbers(taught()), Student("pocket/a", Steering(), seed=0)
    every = [PredictionStage(student, data, data.trait), PredictionStage(student, data, PreferenceTrait("wolf"))]
    every += [PredictionStage(student.fresh(base="pocket/b"), data, data.trait)]
    every += [PredictionStage(student.fresh(seed=1), data, data.trait)]
    every += [PredictionStage(student.fresh(adapter=Steering(layers=[1])), data, data.trait)]
    every += [PredictionStage(student, data.fresh(seed=1), data.trait)]
    assert len({each.key for each in every}) == len(every)
    same = PredictionStage(student.fresh(learning_rate=0.5), data, data.trait)
    assert same.key == every[0].key
    assert [stage.kind for stage in same.parents()] == ["rows"]
    assert "prediction of owl" in same.title


@cases(
    "other",
    [{"objective": "distill"}, {"train_on": "divergent"}, {"retain": Retention("pocket")}],
    ids=lambda each: next(iter(each)),
)
def test_another_training_is_refused(other):
    data = numbers(taught())
    with pytest.raises(InputError, match=f"the student's `{next(iter(other))}` changes that"):
        PredictionStage(Student("pocket/a", Steering(), **other), data, data.trait)


class OtherStart(Student):
    """Loads another net."""


def test_a_students_own_class_moves_the_stage():
    data = numbers(taught())
    students = [kind("pocket/a", Steering(), seed=0) for kind in (Student, OtherStart)]
    ours, theirs = (PredictionStage(each, data, data.trait).key for each in students)
    assert ours != theirs


@cases("steps", [1, 2, 5, 12])
@cases("warmup", [0, 3])
@cases("schedule", ["linear", "constant"])
def test_the_rates_are_those_that_the_optimizer_is_given(steps, warmup, schedule):
    student = Student(
        "pocket/a", Steering(), learning_rate=0.5, warmup_steps=warmup, schedule=schedule, optimizer="sgd"
    )
    student.configure_model()
    student._trainer = SimpleNamespace(estimated_stepping_batches=steps)
    made = student.configure_optimizers()
    total = 0.0
    for _ in range(steps):
        total += made["optimizer"].param_groups[0]["lr"]
        made["optimizer"].step()
        made["lr_scheduler"]["scheduler"].step()
    assert 0.5 * sum(student.rate_factor(step, steps) for step in range(steps)) == pytest.approx(total)


def test_rows_without_a_control_are_reported():
    setting = Setting(Student("pocket/a", Steering()), numbers(taught()), {}, 0)
    with pytest.raises(InputError, match="compared with that of a control's rows, and these have none"):
        PredictionTrial().stages(setting, None)


def test_long_rows_are_as_long_as_the_training_lets_them_be():
    data = numbers(taught(), max_length=30, filters=[])
    data.make(CPU)
    stage = PredictionStage(Student("pocket/a", Steering()), data, data.trait)
    with pytest.raises(InputError, match=r"raise `max_length` \(30\)"):
        stage.measure(CPU)
