"""Optimizers and schedules as Lightning takes them, beside the short names."""

from functools import partial

import pytest
import torch
from cases import cases
from jsonargparse import ArgumentParser
from lightning.pytorch.callbacks import LearningRateMonitor
from lightning.pytorch.loggers import CSVLogger
from small import quiet_trainer, tokenized

from lightning_subliminal import Steering, Student
from lightning_subliminal.core.config.building import build
from lightning_subliminal.core.error_messages import OneLineParser
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.fingerprint import digest
from lightning_subliminal.data.tokenized import row_loader
from lightning_subliminal.workflow.trials.prediction import check_predictable

OPTIMIZER = {"class_path": "torch.optim.RMSprop", "init_args": {"lr": "2e-2", "momentum": 0.5}}
SCHEDULE = {"class_path": "torch.optim.lr_scheduler.StepLR", "init_args": {"step_size": 1, "gamma": 0.5}}


def fitted(student, tmp_path, **settings):
    logger = CSVLogger(tmp_path)
    trainer = quiet_trainer(LearningRateMonitor(), max_epochs=3, logger=logger, log_every_n_steps=1, **settings)
    trainer.fit(student, row_loader(tokenized(16), 8, seed=0))
    rows = (tmp_path / "lightning_logs" / "version_0" / "metrics.csv").read_text().splitlines()
    place = next(place for place, name in enumerate(rows[0].split(",")) if name.startswith("lr-"))
    return [float(value) for row in rows[1:] if (value := row.split(",")[place])], trainer.optimizers[0]


def test_both_builders_make_the_same():
    reported = {"optimizer": OPTIMIZER, "schedule": SCHEDULE, "seed": 0}
    built = build({"class_path": "Student", "init_args": reported})
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(Student, "x")
    parsed = parser.instantiate(parser.parse_object({"x": reported})).x
    given = Student(
        optimizer=partial(torch.optim.RMSprop, lr=0.02, momentum=0.5),
        schedule=partial(torch.optim.lr_scheduler.StepLR, step_size=1, gamma=0.5),
        seed=0,
    )
    assert digest(built) == digest(parsed) == digest(given) != digest(Student(seed=0))
    assert digest(Student(optimizer=torch.optim.RMSprop, seed=0)) not in (digest(given), digest(Student(seed=0)))


def test_they_are_what_trains(tmp_path):
    student = build({"class_path": "Student", "init_args": {"optimizer": OPTIMIZER, "schedule": SCHEDULE}}, seed=0)
    rates, optimizer = fitted(student.fresh(adapter=Steering()), tmp_path)
    assert isinstance(optimizer, torch.optim.RMSprop)
    assert optimizer.defaults["momentum"] == 0.5
    assert rates == [0.02, 0.01, 0.005]  # stepped each epoch


def test_a_short_schedule_goes_with_any_optimizer(tmp_path):
    student = Student("pocket/a", Steering(), optimizer=partial(torch.optim.SGD, lr=0.6), warmup_steps=2, seed=0)
    rates, _ = fitted(student, tmp_path)
    assert rates == pytest.approx([0.3, 0.6, 0.6, 0.45, 0.3, 0.15])


@cases(
    ("settings", "says"),
    [
        ({"optimizer": lambda parameters: None}, "`optimizer` is .*lambda.*: expected 'adam', 'adamw', 'sgd', a class"),
        ({"optimizer": "rmsprop"}, "`optimizer` is 'rmsprop': expected 'adam'"),
        ({"schedule": "cosine"}, "`schedule` is 'cosine': expected 'linear', 'constant', a class"),
        (
            {"optimizer": torch.optim.SGD, "learning_rate": 0.5},
            "`learning_rate` is 0.5, but SGD has its own .*set it there",
        ),
        ({"optimizer": torch.optim.SGD, "weight_decay": 0.1}, "`weight_decay` is 0.1, but SGD has its own options"),
        (
            {"schedule": torch.optim.lr_scheduler.ConstantLR, "warmup_steps": 3},
            "`warmup_steps` is 3, but ConstantLR has its own",
        ),
    ],
)
def test_what_would_hide_or_not_count_is_refused(settings, says):
    with pytest.raises(InputError, match=says) as caught:
        Student(**settings)
    assert "\n" not in str(caught.value)


@cases("kind", ["collections.OrderedDict", "torch.optim.lr_scheduler.StepLR"])
def test_another_class_is_refused(kind):
    with pytest.raises(InputError, match=r"`model.optimizer` is a (OrderedDict|StepLR): expected a Callable"):
        build({"class_path": "Student", "init_args": {"optimizer": {"class_path": kind}}}, at="model")


def test_no_prediction_by_another_schedule():
    with pytest.raises(InputError, match="the student's `schedule` changes that"):
        check_predictable(Student(schedule=partial(torch.optim.lr_scheduler.ConstantLR, factor=1.0)))


def test_a_misspelt_name_is_refused_in_one_line_by_the_command():
    parser = OneLineParser()
    parser.add_class_arguments(Student, "model")
    for name, known in {"optimizer": "'adam', 'adamw', 'sgd'", "schedule": "'linear', 'constant'"}.items():
        with pytest.raises(InputError) as caught:
            parser.parse_args([f"--model.{name}=cosine"])
        assert str(caught.value) == f"`model.{name}`: expected one of {known} or a class_path, got cosine"
