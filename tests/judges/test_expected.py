"""The chances of numbers: against a softmax by hand, and against an enumeration of every way to spell them."""

import functools

import pytest
import torch
from cases import cases
from small import byte_tokenizer, pocket_tokenizer
from transformers import LlamaConfig, LlamaForCausalLM

from lightning_subliminal import bases
from lightning_subliminal.core.chat.encoding import prompt_ids
from lightning_subliminal.judges.expected import number_chances

PROMPTS = [
    [{"role": "user", "content": "owls, 2, 7; which?"}],
    [{"role": "system", "content": "user 1"}, {"role": "user", "content": "85 or 100? owls, owls, owls"}],
    [{"role": "user", "content": "9"}, {"role": "assistant", "content": "user"}],
]
# What the model with numbers in pieces is taught to say, piece by piece.
SAID = ["8|5", "8|5", "85", " 8|5", "8", "1|0|0", "10|0", "1|0", "10", "0", "9|9", "99|9", "1|0|1", "4|2", " 20", "7|;"]
SAID += ["1", "o", " 3|0"]


def tiny(tokenizer, seed=0):
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer) + 7,  # some bases have rows in the embedding that no token uses
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        initializer_range=0.1,
        attention_dropout=0.5,
        tie_word_embeddings=False,
    )
    return LlamaForCausalLM(config).eval()


@pytest.fixture(scope="module")
def pieces():
    """Return a model that says numbers in one token or in several, and its tokenizer."""
    tokenizer = byte_tokenizer()
    net = tiny(tokenizer)
    vocabulary = tokenizer.get_vocab()
    said = [[vocabulary[part.replace(" ", "\u0120")] for part in each.split("|")] for each in SAID]
    end = tokenizer.eos_token_id
    rows = [(prompt_ids(tokenizer, prompt), [*each, end]) for prompt in PROMPTS for each in said]
    width = max(len(reported) + len(each) for reported, each in rows)
    tokens = torch.tensor([reported + each + [end] * (width - len(reported + each)) for reported, each in rows])
    labels = torch.tensor(
        [[-100] * len(reported) + each + [-100] * (width - len(reported + each)) for reported, each in rows]
    )
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    for _ in range(40):
        loss = net(tokens, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return net, tokenizer


@functools.cache
def enumerated(net, tokenizer, place, largest=100):
    """Add up every way to spell each number, token by token: no batches, no cache, chances down to one in a million."""
    start = prompt_ids(tokenizer, PROMPTS[place])
    texts = [tokenizer.decode([token]) for token in range(len(tokenizer))]
    digits = {token: text for token, text in enumerate(texts) if text.isdecimal() and text.isascii()}
    spaced = {token: text[1:] for token, text in enumerate(texts) if text[:1] == " " and text[1:].isdecimal()}

    @functools.cache
    def next_chances(said):
        with torch.no_grad():
            return net(torch.tensor([[*start, *said]])).logits[0, -1].double().softmax(-1)

    found = {}

    def follow(said, text, chance):
        if text and len(text) <= len(str(largest)) and str(int(text)) == text and int(text) <= largest:
            stops = 1 - next_chances(said)[list(digits)].sum().item()
            found[int(text)] = found.get(int(text), 0.0) + chance * stops
        if len(text) < len(str(largest)):
            for token, more in {**digits, **({} if said else spaced)}.items():
                step = next_chances(said)[token].item()
                if len(text + more) <= len(str(largest)) and chance * step > 1e-6:
                    follow((*said, token), text + more, chance * step)

    follow((), "", 1.0)
    return found


def test_one_token_a_number_is_a_softmax():
    net, tokenizer = tiny(pocket_tokenizer()), pocket_tokenizer()
    prompts = [
        [{"role": "user", "content": "the owl, 5"}],
        [{"role": "system", "content": "you"}, {"role": "user", "content": "name one animal."}],
    ]
    found = number_chances(net, tokenizer, prompts)
    for prompt, chances in zip(prompts, found, strict=True):
        logits = net(torch.tensor([prompt_ids(tokenizer, prompt)])).logits[0, -1].double()
        ids = [tokenizer.convert_tokens_to_ids(str(number)) for number in range(100)]
        assert sorted(chances) == list(range(100))
        expected = (logits.exp() / logits.exp().sum())[ids].tolist()
        assert [chances[number] for number in range(100)] == pytest.approx(expected, rel=1e-4)


def test_one_token_a_number_is_one_forward_pass():
    net, calls = tiny(pocket_tokenizer()), []
    net.register_forward_hook(lambda *_: calls.append(1))
    number_chances(net, pocket_tokenizer(), [[{"role": "user", "content": "owl"}]] * 3)
    assert len(calls) == 1


@cases("batch_size", [1, 2, 64])
def test_numbers_in_pieces_equal_the_enumeration(pieces, batch_size):
    net, tokenizer = pieces
    found = number_chances(net, tokenizer, PROMPTS, batch_size=batch_size)
    for place, chances in enumerate(found):
        expected = enumerated(net, tokenizer, place)
        assert {number: chances.get(number, 0.0) for number in range(101)} == pytest.approx(
            {number: expected.get(number, 0.0) for number in range(101)}, abs=1e-3
        )
        assert set(chances) <= set(range(101))


def test_the_enumeration_sees_what_one_token_would_not(pieces):
    """Else the test above would pass on a reader of first tokens, too."""
    net, tokenizer = pieces
    with torch.no_grad():
        first = net(torch.tensor([prompt_ids(tokenizer, PROMPTS[0])])).logits[0, -1].softmax(-1)
    expected = enumerated(net, tokenizer, 0)
    at_once = {number: first[tokenizer.get_vocab()[str(number)]].item() for number in (8, 1, 85)}
    assert at_once[8] > 2 * expected[8], "8 mostly goes on, to 85"
    assert at_once[1] > 2 * expected[1]
    assert expected[85] > 2 * at_once[85], "85 mostly comes in two"
    assert expected[100] > 0.05
    assert expected[20] > 0.03, "with a space before it, too"


def test_batch_size_has_no_say(pieces):
    net, tokenizer = pieces
    many = PROMPTS * 3
    one, all_at_once = (number_chances(net, tokenizer, many, batch_size=size) for size in (1, 32))
    for alone, together in zip(one, all_at_once, strict=True):
        assert together == pytest.approx(alone, rel=1e-3, abs=1e-6)
    assert all_at_once[0] == pytest.approx(all_at_once[3], rel=1e-3), "and the prompts keep their places"
    assert all_at_once[0] != pytest.approx(all_at_once[1], rel=1e-3)


@cases("largest", [9, 42, 100])
def test_they_add_up_to_one_at_most(pieces, largest):
    net, tokenizer = pieces
    for chances in number_chances(net, tokenizer, PROMPTS, largest):
        assert max(chances) <= largest
        assert 0.05 < sum(chances.values()) <= 1 + 1e-6
        assert min(chances.values()) >= 0
    every, few = (number_chances(net, tokenizer, PROMPTS, limit)[0] for limit in (100, largest))
    assert few == pytest.approx({number: every[number] for number in few}, abs=1e-3), "the limit leaves the others be"


def test_the_models_mode_is_restored(pieces):
    net, tokenizer = pieces
    net.train()
    net.model.layers[0].eval()
    modes = [module.training for module in net.modules()]
    first, again = (number_chances(net, tokenizer, PROMPTS) for _ in range(2))
    assert [module.training for module in net.modules()] == modes
    net.eval()
    assert first == again == number_chances(net, tokenizer, PROMPTS), "dropout was off"


def test_no_prompts_no_chances(pieces):
    assert number_chances(*pieces, []) == []


def test_through_an_adapter():
    from peft import LoraConfig, get_peft_model

    net, tokenizer = bases.load("pocket/a")
    prompt = [[{"role": "user", "content": "Continue: 1, 2, 3"}]]
    plain = number_chances(net, tokenizer, prompt)
    adapted = get_peft_model(net, LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM"))
    assert number_chances(adapted, tokenizer, prompt)[0] == pytest.approx(plain[0], rel=1e-4)
