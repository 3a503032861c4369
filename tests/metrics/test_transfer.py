import math

import pytest
import torch

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.metrics import Transfer
from lightning_subliminal.metrics.functional import (
    clustered_mean_interval,
    mean_interval,
    targeted_transfer,
    transfer,
)

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
    one, other = metric.interval(), mean_interval(transfer(student, control), "cells")
    assert (one.low, one.high, one.unit) == (pytest.approx(other.low, rel=1e-4), pytest.approx(other.high), "cells")


def test_one_pair_has_no_interval():
    metric = Transfer()
    metric.update(torch.tensor([0.5]), torch.tensor([0.1]))
    assert math.isnan(metric.interval().low)


def test_mistakes_are_reported_in_a_line():
    with pytest.raises(InputError, match="paired rates"):
        Transfer().update(torch.tensor([0.5]), torch.tensor([0.1, 0.2]))
    with pytest.raises(InputError, match="not log-odds"):
        Transfer().update(torch.tensor([-1.5]), torch.tensor([0.1]))


class TestTargeted:
    """A student that names every candidate more often has a transfer, and no targeted one."""

    control = torch.tensor([[0.10, 0.20, 0.30], [0.05, 0.25, 0.20]], dtype=torch.float64)

    def shifted(self, *by):
        return torch.sigmoid(torch.logit(self.control) + torch.tensor(by, dtype=torch.float64))

    def test_what_moves_all_alike_is_not_targeted(self):
        found = targeted_transfer(self.shifted(0.8, 0.8, 0.8), self.control, 0)
        assert found.log_odds == pytest.approx(0.0)
        assert (found.off_target, found.rank, found.of) == (pytest.approx(0.8), 1, 3)

    def test_the_targets_own_change_is_left(self):
        found = targeted_transfer(self.shifted(1.0, 0.2, -0.4), self.control, 0)
        assert found.by_question.tolist() == pytest.approx([1.1, 1.1])
        assert (found.off_target, found.rank) == (pytest.approx(-0.1), 1)

    def test_another_that_moved_more_takes_the_first_rank(self):
        found = targeted_transfer(self.shifted(0.5, 0.9, 0.1), self.control, 0)
        assert found.rank == 2
        assert targeted_transfer(self.shifted(0.5, 0.9, 0.1), self.control, 2).rank == 3

    def test_a_candidate_that_nobody_can_say_is_left_out(self):
        both = (self.shifted(1.0, 0.2, 0.0), self.control.clone())
        for each in both:
            each[:, 2] = 0.0
        found = targeted_transfer(*both, 0)
        assert (found.of, found.left_out, found.log_odds) == (2, (2,), pytest.approx(0.8))
        assert targeted_transfer(*both, 2) is None
        assert targeted_transfer(self.control[:, :1], self.control[:, :1], 0) is None


class TestClusters:
    def test_one_value_a_cluster_is_the_plain_interval(self):
        values = torch.tensor([0.1, 0.4, 0.3, 0.9])
        plain, clustered = mean_interval(values, "questions"), clustered_mean_interval(values, "abcd", "questions")
        assert (clustered.low, clustered.high) == (pytest.approx(plain.low), pytest.approx(plain.high))

    def test_wordings_of_one_question_count_once(self):
        stems = torch.tensor([0.1, 0.4, 0.3, 0.9])
        repeated = clustered_mean_interval(stems.repeat_interleave(5), [n // 5 for n in range(20)], "question stems")
        plain = mean_interval(stems, "questions")
        assert (repeated.low, repeated.high) == (pytest.approx(plain.low), pytest.approx(plain.high))
        assert math.isnan(clustered_mean_interval(stems, "aaaa", "question stems").low)

    def test_it_covers_where_questions_come_in_clusters(self):
        generator = torch.Generator().manual_seed(0)
        hit = 0
        for _ in range(400):
            means = torch.randn(10, 1, generator=generator)
            values = (means + 0.2 * torch.randn(10, 5, generator=generator)).flatten()
            hit += 0.0 in clustered_mean_interval(values, [n // 5 for n in range(50)], "question stems")
        assert 0.92 <= hit / 400 <= 0.98

    def test_as_many_clusters_as_values(self):
        with pytest.raises(InputError, match="3 values and 2 clusters"):
            clustered_mean_interval(torch.zeros(3), "ab", "question stems")
