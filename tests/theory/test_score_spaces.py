"""Spaces of scores: the gradient in each is the slope of the rows' log-likelihood, and a projection keeps products."""

import pytest
import torch
from cases import cases
from small import numbers, taught

from lightning_subliminal import InputError, bases
from lightning_subliminal.theory import row_gradients
from lightning_subliminal.theory.row_gradients import LayerVectors
from lightning_subliminal.theory.score_spaces import LoRAFactors, Projected, score_space


@pytest.fixture(scope="module")
def base():
    net, tokenizer = bases.load("pocket/a", dtype="float64")
    net.requires_grad_(False)
    return net, tokenizer


@pytest.fixture(scope="module")
def rows():
    data = numbers(taught().control(), num_prompts=16, shard_size=16, seed=3)
    data.make()
    return data.rows()[:6]


def spaces(net):
    return {
        "layers": LayerVectors(net, [1]),
        "LoRA": LoRAFactors(net, r=2, seed=5),
        "projected": Projected(LoRAFactors(net, r=2, seed=5), 50, seed=1),
    }


@pytest.mark.parametrize("kind", ["layers", "LoRA", "projected"])
def test_scores_are_slopes(base, rows, kind):
    net, tokenizer = base
    space = spaces(net)[kind]
    (found,) = space.gradients(tokenizer, rows)
    assert found.scores.shape == (len(rows), space.size)
    direction = torch.randn(space.size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    direction /= direction.norm()

    def at(step):
        with space.added(step * direction):
            (moved,) = LayerVectors(net, [0]).gradients(tokenizer, rows)
        return moved.log_likelihoods

    slope = (at(1e-2) - at(-1e-2)) / 2e-2  # norms compute in float32
    assert torch.allclose(found.scores.double() @ direction, slope, rtol=0.01, atol=1e-3)


def test_at_0_lora_is_the_base(base, rows):
    net, tokenizer = base
    (plain,) = LayerVectors(net).gradients(tokenizer, rows)
    (lora,) = LoRAFactors(net).gradients(tokenizer, rows)
    assert torch.allclose(plain.log_likelihoods, lora.log_likelihoods)


def test_a_batch_gives_the_scores_of_single_rows(base, rows):
    net, tokenizer = base
    space = spaces(net)["projected"]
    (together,) = space.gradients(tokenizer, rows)
    alone = torch.cat([found.scores for row in rows for found in space.gradients(tokenizer, [row])])
    assert torch.allclose(together.scores, alone, rtol=1e-4, atol=1e-5)


def test_a_large_base_gives_its_scores_in_small_chunks(base, rows, monkeypatch):
    """A screen is kept after each chunk, and a progress bar moves."""
    space = LayerVectors(base[0])
    (whole,) = space.gradients(base[1], rows)
    monkeypatch.setattr(row_gradients, "LARGE", 0)
    monkeypatch.setattr(row_gradients, "FEW", 2)
    parts = list(space.gradients(base[1], rows))
    assert max(len(each.tokens) for each in parts) == 2
    assert torch.allclose(torch.cat([each.scores for each in parts]), whole.scores, atol=1e-4)


class TestProjection:
    def test_scores_are_the_projected_ones_of_the_larger_space(self, base, rows):
        net, tokenizer = base
        space = Projected(LayerVectors(net), 40, seed=2)
        (small,), (large,) = space.gradients(tokenizer, rows), space.inner.gradients(tokenizer, rows)
        assert torch.allclose(space.project(large.scores), small.scores, rtol=1e-4, atol=1e-5)

    def test_products_are_kept_in_expectation(self, base):
        net, _ = base
        generator = torch.Generator().manual_seed(4)
        one = torch.randn(LayerVectors(net).size, generator=generator)
        other = one + torch.randn(len(one), generator=generator)
        found = []
        for seed in range(200):
            projected = Projected(LayerVectors(net), 64, seed).project(torch.stack([one, other]))
            found.append(float(projected[0] @ projected[1]))
        mean = torch.tensor(found)
        exact = float(one @ other)
        assert abs(float(mean.mean()) - exact) < 4 * float(mean.std()) / len(found) ** 0.5
        assert float(mean.std()) < 0.4 * exact

    def test_another_seed_is_another_projection(self, base):
        net, _ = base
        vector = torch.ones(LayerVectors(net).size)
        made = [Projected(LayerVectors(net), 32, seed).project(vector) for seed in (0, 0, 1)]
        assert torch.equal(made[0], made[1])
        assert not torch.equal(made[0], made[2])

    def test_more_numbers_than_the_space_has_are_refused(self, base):
        with pytest.raises(InputError, match="expected 1 to"):
            Projected(LayerVectors(base[0]), 10_000)


@cases(
    ("name", "size"),
    [("steering", 128), ("steering/100", 100), ("lora1/512", 512), ("lora4/64", 64)],
)
def test_a_space_is_made_by_its_name(base, name, size):
    space = score_space(base[0], None, name)
    assert (space.name, space.size, space.layers) == (name, size, (0, 1))


@cases(
    ("name", "line"),
    [
        ("lora", "expected steering, lora4 for LoRA of rank 4, or lora4/512"),
        ("steering/0", "The space is 'steering/0'"),
        ("lora0/512", "The space is 'lora0/512'"),
        ("lora64", "expected at most 2,048; name fewer layers, or project it: lora64/512"),
    ],
)
def test_a_wrong_space_is_refused(base, name, line):
    with pytest.raises(InputError, match=line):
        score_space(base[0], None, name)
