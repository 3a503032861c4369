"""Transfer predicted by one Newton step with an exact read-out."""

import pytest
import torch
from small import numbers, taught

from lightning_subliminal import InputError, PreferenceTrait, bases
from lightning_subliminal.theory import row_gradients
from lightning_subliminal.theory.newton import damped, log_odds_and_gradients, newton_prediction
from lightning_subliminal.theory.row_gradients import LayerVectors

TRAIT = PreferenceTrait("owl", candidates=["owl", "wolf", "cat"])


@pytest.fixture(scope="module")
def base():
    net, tokenizer = bases.load("pocket/a", dtype="float32")
    net.requires_grad_(False)
    return LayerVectors(net), tokenizer


@pytest.fixture(scope="module")
def clean():
    data = numbers(taught().control(), num_prompts=1200, shard_size=600, seed=99)
    data.make()
    return data.rows()


def test_rows_of_a_steered_base_move_it_there(base, clean):
    """Rows that are picked by their gradient along the target predict a rise of the target, and of no row a fall."""
    space, tokenizer = base
    scores = torch.cat([part.scores for part in space.gradients(tokenizer, clean)]).double()
    fisher = scores.T @ scores / len(scores)
    _, gradients = log_odds_and_gradients(space, tokenizer, TRAIT)
    along = scores @ torch.linalg.solve(damped(fisher, 0.01), gradients[0])
    best = [clean[place] for place in along.argsort(descending=True)[:400]]
    worst = [clean[place] for place in along.argsort()[:400]]
    up, down = (newton_prediction(space, tokenizer, rows, clean, TRAIT) for rows in (best, worst))
    assert up.changes["owl"] > 0.5 > -0.5 > down.changes["owl"]
    assert next(iter(up.changes)) == "owl"
    assert (up.rows, up.control) == (400, len(clean))
    assert all(half > 0 for half in up.half_widths.values())


def test_a_large_base_takes_one_answer_at_a_time(base, monkeypatch):
    """The same numbers by a pass for each answer; one that the tokenizer can't spell has none."""
    trait = PreferenceTrait("owl", candidates=["owl", "quagga", "cat"])
    together = log_odds_and_gradients(*base, trait)
    monkeypatch.setattr(row_gradients, "LARGE", 0)
    alone = log_odds_and_gradients(*base, trait)
    assert alone[0].isinf().tolist() == [False, True, False]
    assert torch.allclose(alone[0], together[0], atol=1e-6)
    assert torch.allclose(alone[1], together[1], atol=1e-5)
    assert not alone[1][1].any()


def test_the_controls_own_rows_change_nothing(base, clean):
    found = newton_prediction(*base, clean, clean, TRAIT)
    assert all(abs(change) < 1e-4 for change in found.changes.values())


def test_rows_that_move_the_base_far_are_not_predicted(base, clean):
    """One list again and again is a step far beyond what was compared with training, whose prediction has any sign."""
    with pytest.raises(InputError, match=r"standard deviations of a clean row, too far .* train a student instead"):
        newton_prediction(*base, clean[:1] * 200, clean, TRAIT)


def test_too_few_rows(base, clean):
    with pytest.raises(InputError, match="no rows with a completion"):
        newton_prediction(*base, [], clean, TRAIT)
    with pytest.raises(InputError, match="20 rows: expected at least 640"):
        newton_prediction(*base, clean, clean[:20], TRAIT)
