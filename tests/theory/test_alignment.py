import math

import pytest
import torch
from cases import cases

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.theory.alignment import LowRank, alignment, difference, inner_product, layer_of

MODELS = 3


def dense(value):
    return (value.left.double() @ value.right.double()) if isinstance(value, LowRank) else value.double()


def draw(seed, models=(), dtype=torch.float32):
    """Return a displacement of two matrices, low-rank at random, and a bias."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*models, *shape, generator=generator, dtype=dtype)

    def matrix(outputs, inputs):
        if torch.rand((), generator=generator) < 0.5:
            return normal(outputs, inputs)
        rank = int(torch.randint(1, 4, (), generator=generator))
        return LowRank(normal(outputs, rank), normal(rank, inputs))

    return {"a.layers.0.w.weight": matrix(7, 5), "a.layers.1.w.weight": matrix(4, 6), "a.norm.bias": normal(5)}


@cases("seed", range(12))
def test_inner_product_is_that_of_dense_matrices(seed):
    one, other = draw(seed), draw(seed + 100)
    expected = sum((dense(one[name]) * dense(other[name])).sum().item() for name in one)
    assert inner_product(one, other).item() == pytest.approx(expected, rel=1e-12)
    assert inner_product(other, one).item() == pytest.approx(expected, rel=1e-12)


@cases("seed", range(6))
def test_models_are_kept_apart(seed):
    one, other = draw(seed, (MODELS,)), draw(seed + 100, (MODELS,))
    together = inner_product(one, other, model_dims=1)
    assert together.shape == (MODELS,)
    for model in range(MODELS):
        alone = [
            {k: LowRank(v.left[model], v.right[model]) if isinstance(v, LowRank) else v[model] for k, v in each.items()}
            for each in (one, other)
        ]
        assert together[model].item() == pytest.approx(inner_product(*alone).item(), rel=1e-12)


def test_a_name_of_one_alone_adds_nothing_to_the_product_but_to_its_norm():
    one, other = {"x": torch.tensor([3.0]), "y": torch.tensor([4.0])}, {"x": torch.tensor([2.0])}
    assert inner_product(one, other).item() == 6
    found = alignment(one, other)
    assert (found.student_norm.item(), found.teacher_norm.item()) == (5, 2)
    assert found.cosine.item() == pytest.approx(6 / 10)
    assert inner_product({"x": one["x"]}, {"y": one["y"]}).item() == 0


def test_sums_of_many_terms_of_both_signs_keep_their_digits():
    generator = torch.Generator().manual_seed(0)
    one, other = (torch.randn(1_000_000, generator=generator) for _ in range(2))
    expected = math.fsum((one.double() * other.double()).tolist())
    assert inner_product({"w": one}, {"w": other}).item() == pytest.approx(expected, rel=1e-11)


@cases("models", [(), (MODELS,)])
def test_alignment_equals_the_textbook(models):
    student, teacher = draw(1, models), draw(2, models)
    found = alignment(student, teacher, model_dims=len(models))
    parts = {"layer 0": ["a.layers.0.w.weight"], "layer 1": ["a.layers.1.w.weight"], "norm": ["a.norm.bias"]}
    assert set(found.layers) == set(parts)
    for names, got in [(list(student), found), *((parts[layer], found.layers[layer]) for layer in parts)]:
        flat = [
            torch.cat([dense(each[name]).flatten(len(models)) for name in names], -1) for each in (student, teacher)
        ]
        torch.testing.assert_close(got.cosine, torch.cosine_similarity(*flat, dim=-1), rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(got.student_norm, flat[0].norm(dim=-1), rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(got.teacher_norm, flat[1].norm(dim=-1), rtol=1e-12, atol=1e-12)
        share = (flat[0] * flat[1]).sum(-1) / flat[1].square().sum(-1)
        torch.testing.assert_close(got.projection, share, rtol=1e-12, atol=1e-12)


def test_no_way_has_no_direction(recwarn):
    nothing, something = {"w": torch.zeros(3)}, {"w": torch.ones(3)}
    assert alignment(nothing, something).cosine.isnan()
    assert alignment(nothing, something).projection.item() == 0
    assert alignment(something, nothing).projection.isnan()
    assert alignment({}, {}).cosine.isnan()
    assert not recwarn.list


def test_shapes_must_agree():
    with pytest.raises(InputError, match=r"w has shape \(2, 3\) in one displacement and \(3, 2\) in the other"):
        inner_product({"w": torch.ones(2, 3)}, {"w": LowRank(torch.ones(3, 1), torch.ones(1, 2))})


@cases(
    ("name", "layer"),
    [
        ("model.layers.11.self_attn.q_proj.weight", "layer 11"),
        ("transformer.h.3.mlp.c_proj.bias", "layer 3"),
        ("blocks.2.norm.weight", "layer 2"),
        ("base_model.model.model.layers.0.mlp.down_proj.ia3_l", "layer 0"),
        ("weights.1", "layer 1"),
        ("biases.0", "layer 0"),
        ("4.weight", "layer 4"),
        ("model.embed_tokens.weight", "embed_tokens"),
        ("model.norm.weight", "norm"),
        ("lm_head.weight", "lm_head"),
        ("weight", "weight"),
    ],
)
def test_layer_of(name, layer):
    assert layer_of(name) == layer


def test_a_small_change_of_16_bits_is_not_rounded_away():
    start, now = torch.tensor([1.0], dtype=torch.bfloat16), torch.tensor([1.0078125], dtype=torch.bfloat16)
    third = torch.tensor([0.333], dtype=torch.bfloat16)
    assert difference(now, start).item() == 0.0078125
    assert difference(now, third).item() == now.float().item() - third.float().item()
