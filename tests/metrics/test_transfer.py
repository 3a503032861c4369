import math

import pytest
import torch

from lightning_subliminal.errors import InputError
from lightning_subliminal.metrics import Transfer
from lightning_subliminal.metrics.functional import transfer_interval

from .metric_contract import MetricContract


def readings(metric):
    interval = metric.interval()
    return {"compute": metric.compute().item(), "low": interval.low, "high": interval.high}


class TestTransfer(MetricContract):
    batches = (
        (torch.tensor([0.82, 0.64]), torch.tensor([0.028, 0.16])),
        (torch.tensor([0.3]), torch.tensor([0.31])),
        (torch.tensor([0.5, 0.4, 0.2]), torch.tensor([0.1, 0.2, 0.05])),
    )

    def make(self):
        return Transfer(unit="seeds")

    def reference(self, student, control):
        pairs = zip(student.tolist(), control.tolist(), strict=True)
        return sum(math.log(s / (1 - s) / (c / (1 - c))) for s, c in pairs) / len(student)

    def readings(self, metric):
        return readings(metric)


class TestTransferOfSampledRates(MetricContract):
    batches = ((torch.tensor([1.0, 0.6]), torch.tensor([0.0, 0.1])), (torch.tensor([0.2]), torch.tensor([0.1])))

    def make(self):
        return Transfer(unit="questions", answers=10)

    def reference(self, student, control):
        def odds(rate):
            return (rate * 10 + 0.5) / (10 - rate * 10 + 0.5)

        pairs = zip(student.tolist(), control.tolist(), strict=True)
        return sum(math.log(odds(s) / odds(c)) for s, c in pairs) / len(student)

    def readings(self, metric):
        return readings(metric)


def test_the_interval_is_that_of_the_pure_function_and_names_its_unit():
    metric = Transfer(unit="cells")
    student, control = torch.tensor([0.5, 0.4, 0.2]), torch.tensor([0.1, 0.2, 0.05])
    metric.update(student, control)
    one, other = metric.interval(), transfer_interval(student, control, "cells")
    assert (one.low, one.high, one.unit) == (pytest.approx(other.low, rel=1e-4), pytest.approx(other.high), "cells")


def test_one_pair_has_no_interval():
    metric = Transfer()
    metric.update(torch.tensor([0.5]), torch.tensor([0.1]))
    assert math.isnan(metric.interval().low)


def test_mistakes_are_told_in_a_line():
    with pytest.raises(InputError, match="paired rates"):
        Transfer().update(torch.tensor([0.5]), torch.tensor([0.1, 0.2]))
    with pytest.raises(InputError, match="not log-odds"):
        Transfer().update(torch.tensor([-1.5]), torch.tensor([0.1]))
