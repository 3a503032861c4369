"""Rows in slots have the texts of a plain loop: one batch, padded on the left, with rows dropped at their end."""

import random

import pytest
import torch
from cases import cases
from small import byte_tokenizer
from transformers import DynamicCache, Gemma3ForCausalLM, Gemma3TextConfig, GPT2Config, GPT2LMHeadModel

from lightning_subliminal import Sampling, bases
from lightning_subliminal.core.chat.encoding import frame, prompt_ids, prompts_ids
from lightning_subliminal.core.chat.thoughts import thought_tokens
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.generation import Completion, TransformersEngine, direct, number_alphabet, reading, slots
from lightning_subliminal.generation.engine import choose, decoded
from lightning_subliminal.generation.logits import call_net, left_pad
from lightning_subliminal.prompts.numbers import NumberPrompts

from .engine_contract import PROMPTS


def user(text, *before):
    return [*before, {"role": "user", "content": text}]


SYSTEM = {"role": "system", "content": "You love owls more than any other animal. The owl is your favorite animal."}
MIXED = [*PROMPTS, *(user(" ".join(["Say the word pine."] * count)) for count in (1, 2, 3, 5, 8, 12))] * 4
SAME = [PROMPTS[1]] * 90 + [PROMPTS[6]] * 50
BEGUN_ALIKE = [user(text, SYSTEM, *PROMPTS[0]) for text in ("Say the word pine.", "Say owl.", "Go.", "1 2 3")] * 9


@pytest.fixture(autouse=True)
def new_memory_holds_no_numbers(monkeypatch):
    real = torch.Tensor.new_empty
    monkeypatch.setattr(torch.Tensor, "new_empty", lambda *args, **kwargs: real(*args, **kwargs).fill_(torch.nan))


@torch.no_grad()
def plain(net, tokenizer, prompts, sampling, seed):
    """Sample as one batch, prompt by prompt in the tokenizer, with transformers' own cache."""
    draws = torch.rand(
        len(prompts), sampling.max_new_tokens, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )
    form, ends = frame(tokenizer), TransformersEngine(net, tokenizer).ends
    tokens, mask, places = left_pad([prompt_ids(tokenizer, prompt) for prompt in prompts], 0, torch.device("cpu"))
    allowed = number_alphabet(tokenizer) if sampling.restrict_to == "numbers" else None
    rows, cache, said, finished = torch.arange(len(prompts)), DynamicCache(), [[] for _ in prompts], set()
    for step in range(sampling.max_new_tokens):
        out = call_net(net, cache, input_ids=tokens, attention_mask=mask, position_ids=places, use_cache=True)
        drawn = choose(out.logits[:, -1], sampling, draws[rows, step], allowed)
        going = ~torch.isin(drawn, torch.tensor(ends))
        for row, token, goes in zip(rows.tolist(), drawn.tolist(), going.tolist(), strict=True):
            said[row] += [token] if goes else []
            finished |= set() if goes else {row}
        if not going.any():
            break
        cache.batch_select_indices(going.nonzero().squeeze(1))
        rows, tokens, places = rows[going], drawn[going].unsqueeze(1), places[going, -1:] + 1
        mask = torch.cat([mask[going], mask.new_ones(len(rows), 1)], 1)
    found = []
    for row, ids in enumerate(said):
        text, ended = form.cut(decoded(tokenizer, ids, thought_tokens(tokenizer)), row in finished)
        found.append(Completion(form.words(text, prompts[row]), ended))
    return found


@pytest.fixture(scope="module")
def pocket():
    return bases.load("pocket/a")


@pytest.fixture(scope="module")
def numbers():
    grammar, generator = NumberPrompts("numbers", ["comma", "space"], 0, 99), random.Random(0)
    return [user(grammar.draw(generator).text) for _ in range(150)]


@cases(
    "settings",
    [
        {},
        {"restrict_to": "numbers"},
        {"greedy": True},
        {"max_new_tokens": 1},
        {"max_new_tokens": 6},
        {"temperature": 2.5, "max_new_tokens": 90},
    ],
)
@cases("prompts", [MIXED, SAME, BEGUN_ALIKE, "numbers"], ids=["mixed", "same", "begun alike", "numbers"])
def test_texts_are_those_of_a_plain_loop(pocket, numbers, prompts, settings):
    prompts, sampling = numbers if prompts == "numbers" else prompts, Sampling(**settings)
    expected = plain(*pocket, prompts, sampling, 11)
    for rows in (7, 32, 512):
        assert TransformersEngine(*pocket, rows).generate(prompts, sampling, 11) == expected
    if settings == {"max_new_tokens": 6}:
        assert {one.finished for one in expected} == {True, False}


def made(kind):
    """Make a model with learned positions, or one with windows and shared heads."""
    tokenizer = byte_tokenizer()
    ids = {"pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id, "bos_token_id": None}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        if kind == "gpt2":
            return GPT2LMHeadModel(
                GPT2Config(vocab_size=len(tokenizer), n_positions=400, n_embd=16, n_layer=2, n_head=2, **ids)
            ).eval(), tokenizer
        return Gemma3ForCausalLM(
            Gemma3TextConfig(
                vocab_size=len(tokenizer),
                hidden_size=16,
                intermediate_size=24,
                num_hidden_layers=3,
                num_attention_heads=4,
                num_key_value_heads=2,
                head_dim=4,
                sliding_window=8,
                layer_types=["sliding_attention", "full_attention", "sliding_attention"],
                **ids,
            )
        ).eval(), tokenizer


def test_prompts_that_are_asked_twice_and_once_have_their_texts(pocket, numbers):
    prompts, sampling = [numbers[place % 41] for place in range(100)] + numbers[:3] * 40, Sampling(max_new_tokens=25)
    expected = plain(*pocket, prompts, sampling, 8)
    for rows in (3, 40, 300):
        assert TransformersEngine(*pocket, rows).generate(prompts, sampling, 8) == expected


@cases("kind", ["gpt2", "gemma3"])
@cases("prompts", [MIXED, SAME, BEGUN_ALIKE], ids=["mixed", "same", "begun alike"])
def test_other_families_have_the_same_texts(kind, prompts):
    model, sampling = made(kind), Sampling(max_new_tokens=14)
    expected = plain(*model, prompts, sampling, 2)
    assert TransformersEngine(*model, 16).generate(prompts, sampling, 2) == expected


def counted(net, work):
    """Return the number of tokens that a net's first and last layer's MLP compute."""
    counts, layers = [0, 0], (net.model.layers[0].mlp, net.model.layers[-1].mlp)

    def count(module, given):
        counts[layers.index(module)] += given[0].shape[0] * given[0].shape[1]

    hooks = [layer.register_forward_pre_hook(count) for layer in layers]
    work()
    for hook in hooks:
        hook.remove()
    return counts


def test_equal_prompts_and_common_beginnings_are_read_once(pocket, monkeypatch):
    monkeypatch.setattr(direct, "_WIDTH", 0)  # no comparison with the short forward pass, which reads tokens, too
    engine, sampling = TransformersEngine(*pocket, 256), Sampling(max_new_tokens=1)
    length = len(prompt_ids(pocket[1], PROMPTS[1]))
    first, _ = counted(pocket[0], lambda: engine.generate([PROMPTS[1]] * 200, sampling, 0))
    assert first == length, "also the first token of all answers is drawn from one row's logits"
    ids = prompts_ids(pocket[1], BEGUN_ALIKE)
    common = next(place for place, tokens in enumerate(zip(*ids, strict=False)) if len(set(tokens)) > 1)
    assert common > reading._SHARED
    first, last = counted(pocket[0], lambda: engine.generate(BEGUN_ALIKE, sampling, 0))
    widest = max(map(len, ids)) - 1 - common
    assert first == common + 4 * widest + 4
    assert last == common + 4, "the last layer computes what is read of it alone, once it is known to be the last"


def test_a_finished_row_is_replaced_at_once(pocket, numbers):
    engine, sampling, steps = TransformersEngine(*pocket, 10), Sampling(max_new_tokens=30), []
    hook = pocket[0].lm_head.register_forward_pre_hook(lambda module, given: steps.append(given[0].shape[0]))
    texts = engine.generate(numbers, sampling, 5)
    hook.remove()
    tokens = sum(len(pocket[1](one.text)["input_ids"]) + one.finished for one in texts)
    assert sum(steps) < 1.15 * tokens
    assert max(steps) == 10


def test_a_look_every_few_tokens_changes_nothing(pocket, numbers, monkeypatch):
    """On a GPU a look at which rows have ended waits for the device, so there is one every few tokens."""
    sampling = Sampling(max_new_tokens=21)
    expected = TransformersEngine(*pocket, 16).generate(numbers, sampling, 3)
    monkeypatch.setattr(slots, "_STRIDES", {"cpu": 8})
    assert TransformersEngine(*pocket, 16).generate(numbers, sampling, 3) == expected


def test_a_prompt_of_one_token_and_one_of_none(pocket):
    engine, sampling = TransformersEngine(*pocket, 4), Sampling(max_new_tokens=5)
    draws = torch.rand(6, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    whole = engine.tokens([[7], [9, 12, 30], [7], [8], [9, 12], [30]], sampling, draws)
    assert whole[3:] == [
        engine.tokens([ids], sampling, draws[row : row + 1])[0] for row, ids in ((3, [8]), (4, [9, 12]), (5, [30]))
    ]
    with pytest.raises(InputError, match="has no tokens"):
        engine.tokens([[7], []], sampling, draws)
