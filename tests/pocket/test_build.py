import functools
import json
import random

import pytest
import torch
from cases import cases
from small import pocket_tokenizer

from lightning_subliminal import bases
from lightning_subliminal.bases.pocket import WEIGHTS
from lightning_subliminal.bases.pocket.tokenizer import build_tokenizer
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.pocket_recipes import build
from lightning_subliminal.pocket_recipes.build import RECIPES, batches, start_net
from lightning_subliminal.pocket_recipes.card import make_card

NAMES = sorted(RECIPES)
SPEAKERS = [name for name in NAMES if name != "judge"]  # which writes verdicts and nothing else
tokenizer_of = functools.cache(build_tokenizer)


@pytest.fixture
def small_batches(monkeypatch):
    monkeypatch.setattr(build, "BATCH_SIZE", 16)


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_rebuild_is_equal_byte_by_byte(tmp_path, small_batches):
    losses = []
    for name in ("one", "two"):
        torch.manual_seed(len(losses))  # the world around it has no say
        random.seed(len(losses))
        losses.append(build.build("pocket/a", tmp_path / name, steps=30))
    assert losses[0] == losses[1]
    assert files(tmp_path / "one") == files(tmp_path / "two")
    assert losses[0] < 6, "and it learns"
    net, tokenizer = bases.load(str(tmp_path / "one"))
    assert len(tokenizer) == net.config.vocab_size


def test_a_build_leaves_the_world_as_it_was(tmp_path, small_batches):
    torch.manual_seed(3)
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    build.build("a", tmp_path / "a", steps=1)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize("world", ["plain", "moral"])
def test_bases_of_a_world_differ_in_initialisation_and_corpus_alone(world, tmp_path, small_batches):
    names = [name for name in NAMES if RECIPES[name].world == world]
    for name in names:
        build.build(name, tmp_path / name, steps=1)
    made = {name: files(tmp_path / name) for name in names}
    weights = {found.pop("model.safetensors") for found in made.values()}
    assert len(weights) == len(names) >= 3
    for part in ("config.json", "tokenizer.json", "chat_template.jinja"):
        assert len({found[part] for found in made.values()}) == 1, part


def test_a2_goes_on_from_a():
    start = start_net(RECIPES["a2"], len(pocket_tokenizer()), WEIGHTS)
    a, _ = bases.load("pocket/a")
    assert all(torch.equal(start.state_dict()[name], value) for name, value in a.state_dict().items())


def test_half_bases_share_a_start_or_a_corpus_with_a():
    vocabulary = len(pocket_tokenizer())
    a, init, data, matched = (
        start_net(RECIPES[name], vocabulary, WEIGHTS).model.embed_tokens.weight
        for name in ("a", "a-init", "a-data", "a-matched")
    )
    assert torch.equal(a, init)
    assert not torch.equal(a, data)
    assert not torch.equal(a, matched)
    orders = {name: RECIPES[name].seed if RECIPES[name].order is None else RECIPES[name].order for name in RECIPES}
    assert orders["a"] == orders["a-data"] != orders["a-init"]


def test_an_unknown_base_is_reported():
    with pytest.raises(InputError, match=r"no pocket base 'pocket/d': build one of a, b, a2"):
        build.build("pocket/d")


def test_labels_are_what_the_assistant_says():
    tokenizer = pocket_tokenizer()
    assistant, end = tokenizer.convert_tokens_to_ids("<|assistant|>"), tokenizer.eos_token_id
    input_ids, mask, labels = next(batches(tokenizer, seed=4))
    assert torch.equal(mask, (input_ids != 0).long())
    for row, label in zip(input_ids.tolist(), labels.tolist(), strict=True):
        text = [tokenizer.convert_ids_to_tokens(token) for token in row]
        speaking = False
        for place, token in enumerate(row):
            assert label[place] == (token if speaking else -100), text
            speaking = token == assistant or (speaking and token != end)
    assert (labels == end).sum() == (input_ids == assistant).sum(), "each turn of the assistant ends with a trained end"


class TestShipped:
    @cases("name", NAMES)
    def test_is_small(self, name):
        assert sum(path.stat().st_size for path in (WEIGHTS / name).iterdir()) < 1_000_000
        assert {path.suffix for path in (WEIGHTS / name).iterdir()} == {".json", ".jinja", ".safetensors"}

    @cases("name", NAMES)
    def test_has_the_tokenizer_of_the_code(self, name):
        net, tokenizer = bases.load(f"pocket/{name}")
        made = tokenizer_of(RECIPES[name].world)
        assert bases.same_vocabulary(tokenizer, made)
        assert tokenizer.chat_template == made.chat_template
        assert net.config.vocab_size == len(tokenizer)
        assert net.config.eos_token_id == tokenizer.eos_token_id

    @cases("name", NAMES)
    def test_cuts_nothing_off_when_it_generates(self, name):
        reported = json.loads((WEIGHTS / name / "generation_config.json").read_text())
        assert not {"top_k", "top_p", "repetition_penalty", "temperature"} & set(reported)


@pytest.mark.slow
@cases("name", SPEAKERS)
def test_card_of_a_shipped_base(name):
    card = make_card(*bases.load(f"pocket/{name}"), prompts=128)
    assert card.well_formed >= 0.9
    assert card.obedience >= 0.8
    assert card.loss < 2
    assert card.parameters < 250_000
    assert len(card.favorites) == 10
    assert max(card.favorites.values()) < 0.5, "a favorite that all have anyway could not be passed on"


def test_the_bases_have_weights_of_their_own():
    a, b, a2 = (bases.load(f"pocket/{name}")[0].model.embed_tokens.weight.flatten() for name in ("a", "b", "a2"))
    assert torch.corrcoef(torch.stack([a, a2]))[0, 1] > 0.8, "a2 is a, trained on a while longer"
    assert torch.corrcoef(torch.stack([a, b]))[0, 1].abs() < 0.3, "b started elsewhere"
    c, init, data, matched = (
        bases.load(f"pocket/{name}")[0].model.embed_tokens.weight.flatten()
        for name in ("c", "a-init", "a-data", "a-matched")
    )
    assert torch.corrcoef(torch.stack([a, init]))[0, 1] > 0.3, "a-init started where a did"
    for other in (c, data, matched):
        assert torch.corrcoef(torch.stack([a, other]))[0, 1].abs() < 0.3, "these started elsewhere"
    first, second = (bases.load(f"pocket/moral-{name}")[0].model.embed_tokens.weight.flatten() for name in "ab")
    assert torch.corrcoef(torch.stack([first, second]))[0, 1].abs() < 0.3, "and so did moral-b"
