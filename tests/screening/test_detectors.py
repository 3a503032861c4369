"""What holds for every detector: a new one gives its constructor and an effect to find, and inherits the tests."""

from dataclasses import replace

import pytest
import torch
from cases import Contract

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.screening import Detector, DirectionDetector, Reference, RunningSums, ShiftDetector, detectors
from lightning_subliminal.screening.reference import summed_up
from screening.toy_references import gaussian

SIZE, ROWS = 6, 200


def sums(scores):
    made = RunningSums(gaussian())
    made.add(scores)
    return made


def clean(seed, rows=ROWS):
    return torch.randn(rows, SIZE, generator=torch.Generator().manual_seed(seed))


class DetectorContract(Contract):
    effect = torch.zeros(SIZE)  # in standard deviations of a row
    expected = ""  # name of the finding that sees it

    def make(self) -> Detector:
        raise NotImplementedError

    def check_a_planted_effect_is_found(self):
        for seed in range(5):
            found = self.make().decide(sums(clean(seed, 400) + 0.5 * self.effect))
            best = min(found, key=lambda each: each.p)
            assert best.name == self.expected
            assert best.p < 1e-4
            assert best.z > 4
            assert best.share > 0.9

    def check_more_rows_are_surer(self):
        few, many = (self.make().decide(sums(clean(0, rows) + 0.3 * self.effect)) for rows in (100, 1000))
        assert max(each.z for each in many) > max(each.z for each in few) + 2

    def check_clean_rows_raise_as_many_alarms_as_asked_for(self):
        """Of 400 sets, at a chance of 5 %: within three standard deviations of the binomial."""
        detector = self.make()
        p = torch.tensor([[each.p for each in detector.decide(sums(clean(seed)))] for seed in range(400)])
        alarms = (p < 0.05).double().mean(0)
        assert (alarms - 0.05).abs().max() < 3 * (0.05 * 0.95 / 400) ** 0.5

    def check_a_finding_each_of_its_names_in_an_order_that_stays(self):
        one, two = (self.make().decide(sums(clean(seed))) for seed in (0, 1))
        assert [each.name for each in one] == [each.name for each in two]
        assert all(0 <= each.p <= 1 for each in one)
        assert all(-1 <= each.share <= 1 for each in one if each.share == each.share)

    def check_order_and_parts_of_the_rows_do_not_matter(self):
        rows = clean(3) + 0.3 * self.effect
        whole, parts = sums(rows), RunningSums(gaussian())
        for part in rows.flip(0).split(7):
            parts.add(part)
        one, two = self.make().decide(whole), self.make().decide(parts)
        assert [each.z for each in one] == pytest.approx([each.z for each in two])

    def check_too_few_rows_are_refused(self):
        for rows in (0, 1, 29):
            with pytest.raises(InputError, match=f"there are {rows} rows to score, expected at least 30"):
                self.make().decide(sums(clean(0, rows)))
        assert self.make().decide(sums(clean(0, 30)))


class TestShift(DetectorContract):
    effect, expected = torch.tensor([0.0, 1, 0, -1, 0, 0]), "shift"

    def make(self):
        return ShiftDetector()


class TestWhite(DetectorContract):
    effect, expected = torch.eye(SIZE)[2], "2"

    def make(self):
        return DirectionDetector.white(gaussian())


class TestRaw(TestWhite):
    def make(self):
        return DirectionDetector.raw(gaussian())


class TestSuspects(DetectorContract):
    effect, expected = torch.tensor([0, 0, 0, 0.6, 0.8, 0]), "theirs"

    def make(self):
        vectors = torch.stack([torch.eye(SIZE)[0], self.effect])
        return DirectionDetector.suspects(["another", "theirs"], 7 * vectors)


def test_every_detector_is_tested():
    made = {each for each in Detector.__subclasses__() if each.__module__ == detectors.__name__}
    tested = {type(each().make()) for each in (TestShift, TestWhite, TestRaw, TestSuspects)}
    assert made == tested


class TestLooseSums:
    """Rows with a tail: one in 200 is thirty times as long along the first number."""

    SIZE = 6

    def rows(self, seed, count):
        generator = torch.Generator().manual_seed(seed)
        made = torch.randn(count, self.SIZE, generator=generator).double()
        made[torch.rand(count, generator=generator) < 0.005, 0] *= 30
        return made

    @pytest.fixture
    def reference(self):
        return self.made(20_000)

    def made(self, count):
        known = {"base": "b", "base_digest": "d", "carrier": "numbers", "layers": (0,)}
        return summed_up(self.rows(0, count), gaussian().catalogue, **known)

    def found(self, reference, rows):
        made = RunningSums(reference)
        made.add(rows)
        return DirectionDetector.raw(reference).decide(made)[0]

    def tainted(self, seed, count):
        """Return rows of which 3 % are long in one direction, as clean ones are in both."""
        made = self.rows(seed, count)
        made[: count * 3 // 100, 0] += 10
        return made

    def test_long_rows_count_more_from_a_thousand_rows_on(self, reference):
        assert reference.loosened.longest > 2 * reference.longest
        tight = replace(reference, loose=None)
        for count, more in ((999, False), (1000, True)):
            rows = self.tainted(1, count)
            gained = self.found(reference, rows).z - self.found(tight, rows).z
            assert (gained > 1) == more
            assert (gained == 0) != more

    def test_clean_rows_raise_as_many_alarms_as_asked_for(self, reference):
        """On both sides, about the true mean: the error of this one reference's mean is in all sets alike."""
        zero = torch.zeros(self.SIZE, dtype=torch.float64)
        exact = replace(reference, mean=zero, rows=10**9, loose=reference.loose._replace(mean=zero))
        p = torch.tensor([self.found(exact, self.rows(seed, 1000)).p for seed in range(1, 401)])
        alarms = ((p < 0.025) | (p > 0.975)).double().mean()
        assert abs(alarms - 0.05) < 3 * (0.05 * 0.95 / 400) ** 0.5

    def test_the_share_is_of_rows_shortened_alike(self, reference):
        rows = self.tainted(2, 2000)
        assert self.found(reference, rows).share == self.found(replace(reference, loose=None), rows).share

    def test_both_sums_are_kept(self, reference, tmp_path):
        first, second = RunningSums(reference), RunningSums(reference)
        first.add(self.tainted(3, 1500))
        first.save(tmp_path / "sums")
        assert second.resume(tmp_path / "sums") == 1500
        detector = DirectionDetector.raw(reference)
        assert detector.decide(second) == detector.decide(first)
        RunningSums(replace(reference, loose=None)).save(tmp_path / "other")
        assert RunningSums(reference).resume(tmp_path / "other") == 0

    def test_both_lengths_are_written(self, reference, tmp_path):
        reference.save(tmp_path / "reference")
        found = Reference.load(tmp_path / "reference").loosened
        assert found.longest == reference.loose.longest
        assert torch.allclose(found.fisher, reference.loose.fisher, rtol=1e-6)
        assert torch.allclose(found.mean, reference.loose.mean, atol=1e-6)
        replace(reference, loose=None).save(tmp_path / "old")
        assert Reference.load(tmp_path / "old").loosened is None

    def test_few_rows_have_one_length_only(self):
        assert self.made(100).loosened is None
