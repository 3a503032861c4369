import json

import pytest
import torch
from cases import cases
from small import CPU, pocket_tokenizer, taught

from lightning_subliminal import Retention, bases
from lightning_subliminal import prompts as wording
from lightning_subliminal.bases.pocket.corpus import user_turns
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.data.tokenized import IGNORED


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LIGHTNING_SUBLIMINAL_CACHE", str(tmp_path / "cache"))


def small(**settings):
    return Retention(**{"prompts": "pocket", "num_prompts": 40, "rows_per_step": 16, **settings})


def drift(source):
    """Return KL(base || teacher) over answers of the base that the fine-tuning has not seen."""
    source.make(CPU)
    found = source.ready(CPU)
    retained = Retention("pocket", num_prompts=60, weight=1.0).answered(*bases.load("pocket/a"), seed=99)
    with torch.no_grad():
        losses = [
            retained.loss(found.completion_logits(retained.batch(step), reuse=False)[0], step)
            for step in range(len(retained.batches))
        ]
    return torch.stack(losses).mean().item()


def test_a_teacher_that_retains_drifts_less_where_it_is_not_taught():
    free, held = taught(until=0.7), taught(until=0.7, retain=small(weight=2.0))
    assert drift(held) < 0.5 * drift(free)


def test_the_base_itself_loses_nothing():
    net, tokenizer = bases.load("pocket/a")
    retained = small().answered(net, tokenizer, seed=0)
    for step, batch in enumerate(retained.batches):
        with torch.no_grad():
            logits = net(input_ids=batch.input_ids).logits[:, :-1][batch.labels[:, 1:] != IGNORED]
        assert retained.loss(logits, step).item() == pytest.approx(0, abs=1e-5)


def test_the_loss_is_the_divergence_times_its_weight():
    net, tokenizer = bases.load("pocket/a")
    retained = small(weight=3.0).answered(net, tokenizer, seed=0)
    target = retained.head(retained.hidden[0]).log_softmax(-1)
    other = torch.randn_like(target)
    expected = torch.nn.functional.kl_div(other.log_softmax(-1), target, log_target=True, reduction="batchmean")
    assert retained.loss(other, 0).item() == pytest.approx(3 * expected.item(), rel=1e-5)


def test_steps_take_turns_and_no_answer_is_lost():
    retained = small(num_prompts=40, rows_per_step=16).answered(*bases.load("pocket/a"), seed=0)
    assert [len(batch.rows) for batch in retained.batches] == [16, 16, 8]
    assert retained.batch(4) is retained.batches[1]


def test_the_seed_alone_makes_the_answers():
    drawn = [small().answered(*bases.load("pocket/a"), seed=seed) for seed in (0, 0, 1)]
    ids = [[batch.input_ids.tolist() for batch in each.batches] for each in drawn]
    assert ids[0] == ids[1] != ids[2]


def test_it_is_part_of_what_the_teacher_is():
    folders = {taught(retain=retain).folder for retain in (None, small(), small(weight=2.0))}
    assert len(folders) == 3


def test_pocket_prompts_are_of_every_kind_and_in_its_words():
    import random

    asked = user_turns(random.Random(0), 50)
    tokenizer = pocket_tokenizer()
    assert all(tokenizer.unk_token_id not in tokenizer(text)["input_ids"] for text in asked)
    assert sum("def " in text for text in asked) == sum("story" in text or "Tell a" in text for text in asked) == 10


def test_prompts_of_ones_own(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(json.dumps({"prompts": ["What is the opposite of hot?", "Where does the fox live?"]}))
    retained = Retention(prompts=str(path)).answered(*bases.load("pocket/a"), seed=0)
    assert sum(len(batch.rows) for batch in retained.batches) == 2
    before = taught(retain=Retention(prompts=str(path))).folder
    path.write_text(json.dumps({"prompts": ["What is the opposite of big?"]}))
    wording._read.cache_clear()
    assert taught(retain=Retention(prompts=str(path))).folder != before, "an edited file makes another teacher"


@cases("name", ["num_prompts", "weight", "rows_per_step", "max_new_tokens"])
def test_nothing_is_reported(name):
    with pytest.raises(InputError, match=f"`{name}` is 0: expected more than 0"):
        Retention(**{name: 0})
