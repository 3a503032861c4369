"""Kinship by logits alone: a subspace found, compared, and measured against unrelated models."""

import pytest
import torch
from cases import cases

from lightning_subliminal import InputError
from lightning_subliminal.kinship import by_logits, logit_basis, logit_score, random_tokens

VOCABULARY = 60


def model(seed, width=8, tokens=VOCABULARY, near=None, log=False):
    """Return logits of a made-up model: hidden values of its own, times an output layer, near another's or its own."""
    draw = torch.Generator().manual_seed(seed)
    out = torch.randn(width, VOCABULARY, generator=draw)
    if near is not None:
        out = torch.randn(width, VOCABULARY, generator=torch.Generator().manual_seed(near)) + 0.3 * out
    inner = torch.randn(tokens, width, generator=draw)

    def function(ids):
        logits = inner[ids] @ out
        return logits.log_softmax(-1) if log else logits

    return function


def test_basis_is_that_of_the_output_layer():
    ids = random_tokens(VOCABULARY, 8, 0)
    basis = logit_basis(model(0), ids, VOCABULARY)
    assert basis.shape == (8, VOCABULARY)
    assert torch.allclose(basis @ basis.T, torch.eye(8, dtype=torch.float64), atol=1e-9)
    logits = model(0)(ids).double().flatten(0, 1)
    centred = logits - logits.mean(1, keepdim=True)
    assert torch.allclose(centred @ basis.T @ basis, centred, atol=1e-5)
    few = logit_basis(model(0), ids[:2], VOCABULARY)  # fewer places than tokens: another way, the same subspace
    assert logit_score(basis, few) == pytest.approx(1, abs=1e-6)


def test_score_is_that_of_principal_angles():
    from scipy.linalg import subspace_angles

    ids = random_tokens(VOCABULARY, 8, 0)
    one, other = (logit_basis(model(seed), ids, VOCABULARY) for seed in (0, 1))
    cosines = torch.tensor(subspace_angles(one.T.numpy(), other.T.numpy())).cos()
    assert logit_score(one, other) == pytest.approx(float(cosines.square().mean()))


def test_symmetric_and_kin_above_all_others():
    kin, back = (by_logits(*pair, VOCABULARY) for pair in ((model(0), model(7, near=0)), (model(7, near=0), model(0))))
    assert kin.score == pytest.approx(back.score)
    strangers = [by_logits(model(0), model(seed), VOCABULARY).score for seed in range(1, 30)]
    assert kin.score > 0.8 > max(strangers)
    assert sum(strangers) / len(strangers) == pytest.approx(kin.chance, abs=0.02)
    assert kin.p is None


def test_log_probabilities_are_as_good_as_logits():
    plain, log = (by_logits(model(0, log=log), model(7, near=0, log=log), VOCABULARY) for log in (False, True))
    assert log.score == pytest.approx(plain.score, abs=1e-5)


def test_p_among_unrelated_models():
    against = [model(seed) for seed in range(10, 29)]
    kin = by_logits(model(0), model(7, near=0), VOCABULARY, against=against)
    assert kin.p == 1 / 20
    assert len(kin.unrelated) == 19
    found = [by_logits(model(0), model(seed), VOCABULARY, against=against).p for seed in range(40, 80)]
    assert sum(found) / len(found) == pytest.approx(0.525, abs=0.15)


def test_models_of_other_widths():
    found = by_logits(model(0), model(1, width=12), VOCABULARY)
    assert found.dimensions == (8, 12)
    assert 0 < found.score < 0.6


def test_random_tokens_follow_the_seed():
    assert torch.equal(random_tokens(50, 4, 1), random_tokens(50, 4, 1))
    assert not torch.equal(random_tokens(50, 4, 1), random_tokens(50, 4, 2))
    assert random_tokens(3, 50, 0).unique().tolist() == [0, 1, 2]


@cases(
    ("function", "inputs", "reported"),
    [
        (model(0, width=80), 64, "span all 60 dimensions"),
        (lambda ids: torch.randn(*ids.shape, 40) @ torch.randn(40, VOCABULARY), 1, "raise `inputs`"),
        (lambda ids: torch.full((*ids.shape, VOCABULARY), -torch.inf), 8, "are not finite"),
    ],
)
def test_logits_that_say_nothing(function, inputs, reported):
    with pytest.raises(InputError, match=reported):
        by_logits(function, model(1), VOCABULARY, inputs)
