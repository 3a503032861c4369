"""Models of any family are continued, and words scored, as their own forward pass of each row would have it."""

import pytest
import torch
import transformers
from cases import cases
from models.test_families import FAMILIES, SIZES, base
from small import byte_tokenizer

from lightning_subliminal import Sampling, bases
from lightning_subliminal.core.chat.encoding import prompt_ids
from lightning_subliminal.generation import TransformersEngine, ways
from lightning_subliminal.generation.ways import way_of
from lightning_subliminal.metrics.functional.exact import candidate_probabilities
from lightning_subliminal.metrics.functional.spellings import spell, word_continues

LINEAR = {"linear_num_value_heads": 4, "linear_num_key_heads": 2, "linear_key_head_dim": 8, "linear_value_head_dim": 8}
LINEAR |= {
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 16,
    "shared_expert_intermediate_size": 16,
}
LINEAR |= {"layer_types": ["linear_attention", "full_attention", "linear_attention"]}
MAMBA = {"vocab_size": 432, "hidden_size": 32, "num_hidden_layers": 2, "state_size": 8, "bos_token_id": 0}
RWKV = {"vocab_size": 432, "hidden_size": 32, "attention_hidden_size": 32, "num_hidden_layers": 2, "context_length": 64}
OTHERS = {
    "qwen3-next": ("Qwen3Next", {**SIZES, **LINEAR}, "cache"),
    "mamba": ("Mamba", {**MAMBA, "eos_token_id": 1}, "cache"),
    "rwkv": ("Rwkv", {**RWKV, "bos_token_id": 0, "eos_token_id": 1}, "again"),
    "lfm2": ("Lfm2", {**SIZES, "layer_types": ["conv", "full_attention", "conv"]}, None),
    "opt": ("OPT", {**SIZES, "ffn_dim": 48, "word_embed_proj_dim": 32, "dropout": 0.0}, "slots"),
}
PROMPTS = [
    [{"role": "user", "content": text}]
    for text in ("owls", "Go on: 101, 202, 303", "Which animal do you like most of all animals?", "owls")
]
WORDS = [("owl", "owls"), ("wolf",), ("user",)]


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    return tmp_path_factory.mktemp("bases")


def other(name):
    kind, settings, _ = OTHERS[name]
    torch.manual_seed(3)
    net = getattr(transformers, f"{kind}ForCausalLM")(getattr(transformers, f"{kind}Config")(**settings)).eval()
    with torch.no_grad():
        for value in net.parameters():
            value.mul_(3.0 if value.dim() > 1 else 1.0)
    return net


def logs(net, ids):
    return net(input_ids=torch.tensor([ids]), use_cache=False).logits[0].double().log_softmax(-1)


def greedy(net, ids, ends, count):
    said = []
    while len(said) < count and not (said and said[-1] in ends):
        said.append(int(logs(net, [*ids, *said])[-1].argmax()))
    return said


def chance(net, ids, forms, tokenizer):
    """Return the chance that a text goes on with one of the spellings as a whole word."""
    continues, total = word_continues(tokenizer), 0.0
    for spelling in spell(tokenizer, forms):
        found = logs(net, [*ids, *spelling])
        likelihood = sum(found[len(ids) - 1 + place, token] for place, token in enumerate(spelling))
        total += float(likelihood.exp() * (1 - found[-1, : len(continues)].exp()[continues].sum()))
    return total


@torch.no_grad()
def check(net):
    tokenizer = byte_tokenizer()
    engine = TransformersEngine(net, tokenizer)
    prompts = [prompt_ids(tokenizer, each) for each in PROMPTS]
    shared = [[*prompts[2][:20], *range(10, 12 + place)] for place in range(4)]
    for ids in (prompts, shared):
        found = engine.tokens(ids, Sampling(greedy=True, max_new_tokens=8), torch.rand(4, 8, dtype=torch.float64))
        assert found == [greedy(net, each, engine.ends, 8) for each in ids]
    chances = candidate_probabilities(net, tokenizer, PROMPTS, WORDS)
    expected = [[chance(net, ids, forms, tokenizer) for forms in WORDS] for ids in prompts]
    torch.testing.assert_close(chances, torch.tensor(expected, dtype=torch.float64), rtol=1e-3, atol=1e-7)


@cases("family", FAMILIES)
def test_families_that_are_not_compared_are_right_in_slots(family, places):
    net, _ = bases.load(base(family, places))
    assert net.config.model_type in ways._TESTED
    check(net)


@cases("name", OTHERS)
def test_other_families_are_compared_first(name):
    net = other(name)
    assert net.config.model_type not in ways._TESTED
    check(net)
    assert OTHERS[name][2] in (None, way_of(net))


def test_the_way_is_found_once_a_model(monkeypatch):
    net, asked = other("rwkv"), []
    right = ways._is_right
    monkeypatch.setattr(ways, "_is_right", lambda net, way: asked.append(way) or right(net, way))
    assert [way_of(net) for _ in range(3)] == ["again"] * 3
    assert asked == ["slots", "cache"]


def test_a_tokenizer_that_tidies_its_texts_up_changes_no_sample():
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    core = Tokenizer(models.WordLevel({"a": 0, "▁,": 1, "▁b": 2, "</s>": 3}, unk_token="a"))
    core.pre_tokenizer, core.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    tidy = transformers.PreTrainedTokenizerFast(
        tokenizer_object=core, eos_token="</s>", clean_up_tokenization_spaces=True
    )
    assert tidy.decode([0, 1, 2]) == "a, b"
    from lightning_subliminal.generation.engine import decoded

    assert decoded(tidy, [0, 1, 2], {}) == "a , b"
