"""The law of clean rows under a small reference: of scores that are normal, whatever their covariance."""

import pytest
import torch

from lightning_subliminal.screening import DirectionDetector, Reference, RunningSums, ShiftDetector
from lightning_subliminal.screening.catalogue import Catalogue, CatalogueEntry
from lightning_subliminal.screening.null_law import NullLaw, shrinkage_of, shrunk
from lightning_subliminal.screening.reference import summed_up

SIZE, ANSWERS = 40, 12


MIXED = torch.randn(SIZE, SIZE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
MIXING = torch.linspace(0.1, 5, SIZE, dtype=torch.float64)[:, None] * (torch.eye(SIZE).double() + MIXED / 8)


def drawn(rows, generator):
    """Return correlated scores of very different scales, with a mean that is not 0."""
    return torch.randn(rows, SIZE, generator=generator, dtype=torch.float64) @ MIXING.T + 0.05


def made(rows, generator):
    gradients = torch.randn(ANSWERS, SIZE, generator=generator, dtype=torch.float64)
    answers = tuple(CatalogueEntry("x", str(place)) for place in range(ANSWERS))
    catalogue = Catalogue(answers, gradients, torch.zeros(ANSWERS, dtype=torch.float64), ())
    return summed_up(drawn(rows, generator), catalogue, base="b", base_digest="d", carrier="numbers", layers=(0,))


class TestShrinkage:
    def test_few_rows_are_shrunk_and_many_are_not(self):
        generator = torch.Generator().manual_seed(1)
        few, more, many = (shrinkage_of(drawn(rows, generator)) for rows in (30, 300, 30_000))
        assert 1 > few > more > many
        assert many < 0.01

    def test_the_diagonal_is_kept(self):
        covariance = torch.tensor([[4.0, 1.0], [1.0, 9.0]])
        assert shrunk(covariance, 0.5).tolist() == [[4.0, 0.5], [0.5, 9.0]]

    def test_it_does_not_depend_on_units(self):
        scores = drawn(60, torch.Generator().manual_seed(2))
        assert shrinkage_of(scores) == pytest.approx(shrinkage_of(scores * torch.logspace(-3, 3, SIZE).double()))

    def test_it_comes_closer_to_the_true_covariance(self):
        generator = torch.Generator().manual_seed(3)
        scores = drawn(50, generator)
        truth = drawn(200_000, generator)
        truth, plain = truth.T @ truth / len(truth), scores.T @ scores / len(scores)
        scale = truth.diagonal().sqrt()[:, None] * truth.diagonal().sqrt()
        found = shrunk(plain, shrinkage_of(scores))
        assert ((found - truth) / scale).square().sum() < 0.8 * ((plain - truth) / scale).square().sum()


def test_a_law_with_unit_weights_is_a_chi_square():
    from scipy import stats

    assert NullLaw(7, 7, 1.0).tail(9.0) == pytest.approx(stats.chi2.sf(9.0, 7))


@pytest.mark.parametrize(("rows", "least"), [(60, 0.5), (400, 0.85)])
def test_false_alarms_of_small_references(rows, least):
    """On clean bags T^2 is at most its mean; alarms at a nominal 5 % are at most 8 %, those of the family too."""
    generator = torch.Generator().manual_seed(rows)
    shifts, answers, bags, total = 0, 0, 0, 0.0
    for _ in range(15):
        reference = made(rows, generator)
        assert reference.null is not None
        for _ in range(15):
            sums = RunningSums(reference)
            sums.add(drawn(200, generator))
            shifts += ShiftDetector().decide(sums)[0].p < 0.05
            answers += min(each.p for each in DirectionDetector.white(reference).decide(sums)) < 0.05 / ANSWERS
            total += sums.hotelling() / reference.noise
            bags += 1
    assert least < total / bags < 1.05
    assert shifts / bags < 0.08
    assert answers / bags < 0.08


def test_a_planted_direction_is_seen_with_few_rows():
    generator = torch.Generator().manual_seed(5)
    reference = made(100, generator)
    direction = reference.solve(reference.catalogue.gradients[3:4], 0.1)[0]
    moved = reference.fisher @ direction
    sums = RunningSums(reference)
    sums.add(drawn(300, generator) + moved / (direction @ moved).sqrt())
    found = DirectionDetector.white(reference).decide(sums)
    assert max(found, key=lambda each: each.z).name == "3"
    assert ShiftDetector().decide(sums)[0].p < 0.01


def test_rows_enough_keep_hotellings_law(tmp_path):
    from scipy import stats

    reference = made(20 * SIZE, torch.Generator().manual_seed(6))
    assert (reference.shrinkage, reference.null, reference.noise) == (0, None, SIZE)
    expected = stats.f.sf(50.0 * (800 - SIZE) / (SIZE * 799), SIZE, 800 - SIZE)
    assert reference.tail(50.0) == pytest.approx(expected)


def test_the_law_is_read_as_it_was_written(tmp_path):
    reference = made(100, torch.Generator().manual_seed(7))
    reference.save(tmp_path / "reference.safetensors")
    found = Reference.load(tmp_path / "reference.safetensors")
    assert found.null == reference.null
    assert found.shrinkage == reference.shrinkage
    assert torch.allclose(found.metric, reference.metric, rtol=1e-5, atol=1e-6)
