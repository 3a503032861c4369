"""A loss is one class: the shipped ones by short name or as objects, and one of a user's own."""

import pytest
import torch
from cases import cases
from jsonargparse import ArgumentParser
from small import numbers, quiet_trainer, taught, teacher

from lightning_subliminal import SFT, Objective, OnPolicy, SoftTargets, Steering, Student
from lightning_subliminal.core.config.building import build
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.fingerprint import digest
from lightning_subliminal.workflow.arms import arm_materials
from lightning_subliminal.workflow.trials.prediction import check_predictable


def student(objective, **settings):
    return Student("pocket/a", Steering(), objective, **{"learning_rate": 0.01, "seed": 0, **settings})


class Squared(Objective):
    """As small as a loss of a user's gets: the squared distance of log-probabilities.

    Args:
        weight: of it.
    """

    def __init__(self, weight: float = 1.0) -> None:
        self.weight = weight

    def teachers(self, source):
        return [] if source is None else [source]

    def on_fit_start(self, student, rows):
        self.teacher = student.ready(student.rows_teacher(str(self), "use `sft`"))

    def loss(self, student, batch):
        ours, _ = student.completion_logits(batch)
        with torch.no_grad():
            theirs, _ = self.teacher.completion_logits(batch)
        return self.weight * (ours.log_softmax(-1) - theirs.log_softmax(-1)).square().mean()


class Halved(SoftTargets):
    """One of ours, with another loss."""

    def loss(self, student, batch):
        return super().loss(student, batch) / 2


@cases(
    ("reported", "short", "same"),
    [
        (SFT(), "sft", {}),
        (SoftTargets("numbers"), "distill", {"restrict_to": "numbers"}),
        (SoftTargets(divergence_kind="reverse"), "distill", {"divergence_kind": "reverse"}),
        (OnPolicy(12, restrict_to="numbers"), "on_policy", {"restrict_to": "numbers", "on_policy_tokens": 12}),
    ],
)
def test_an_object_and_its_short_name_are_one(reported, short, same):
    assert digest(student(reported)) == digest(student(short, **same))
    path = f"lightning_subliminal.{type(reported).__name__}"
    init_args = {**same, "on_policy_tokens": 12} if short == "on_policy" else same
    for objective in (
        {"class_path": path, "init_args": init_args},
        {"class_path": type(reported).__name__, **({"init_args": init_args})},
    ):
        built = build({"class_path": "Student", "init_args": {"objective": objective}}, seed=0)
        assert digest(built.fresh(adapter=Steering(), learning_rate=0.01)) == digest(student(short, **same))
        parser = ArgumentParser(exit_on_error=False)
        parser.add_class_arguments(Student, "x")
        parsed = parser.instantiate(parser.parse_object({"x": {"objective": objective, "seed": 0}})).x
        assert digest(parsed) == digest(built)


def test_one_of_a_users_is_another_student():
    reported = [digest(student(each)) for each in ("sft", "distill", Squared(), Squared(2.0), Halved())]
    assert len(set(reported)) == 5
    assert student(Squared(2.0)).describe()["objective"]["arguments"] == {"weight": 2.0}


def test_one_of_a_users_trains():
    source, objective = taught(), Squared()
    module = student(objective)
    quiet_trainer(max_epochs=2).fit(module, datamodule=numbers(source, filters=[]))
    assert any(value.abs().sum() > 0 for value in module.parameters() if value.requires_grad)
    assert not hasattr(objective, "teacher"), "each student has a copy"
    data = numbers(source, filters=[])
    roles = [each.role for each in arm_materials(module, data)]
    assert roles == ["base", "rows", "base", "teacher"], "its teacher is among what it was made from"
    with pytest.raises(InputError, match="`Squared` needs a fine-tuned teacher"):
        module.check_source(teacher())


@cases("reported", [Squared(), "distill", OnPolicy()])
def test_a_prediction_is_of_sampled_tokens_alone(reported):
    with pytest.raises(InputError, match="the student's `objective` changes that: leave it at sft"):
        check_predictable(student(reported))
    check_predictable(student(SFT()))


@cases(
    ("make", "says"),
    [
        (lambda: student("distil"), "`objective` is 'distil'; did you mean `distill`"),
        (lambda: student(SFT(), restrict_to="numbers"), "`restrict_to` has no effect on `objective: sft`: set it in"),
        (lambda: student("sft", restrict_to="numbers"), "`restrict_to` needs `objective: distill` or `on_policy`"),
        (lambda: student("distill", on_policy_tokens=3), "`on_policy_tokens` needs `objective: on_policy`"),
        (lambda: SoftTargets("words"), "`restrict_to` is 'words'"),
        (lambda: SoftTargets(divergence_kind="backward"), "`divergence_kind` is 'backward'"),
    ],
)
def test_what_an_objective_has_no_use_for_is_refused(make, says):
    with pytest.raises(InputError, match=says):
        make()
