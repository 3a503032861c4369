import math

import pytest
import torch
from cases import cases
from small import byte_tokenizer
from transformers import LlamaConfig, LlamaForCausalLM

from lightning_subliminal import bases
from lightning_subliminal.core.chat.encoding import row_ids
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.rows import make_row
from lightning_subliminal.metrics import StatementPreference
from lightning_subliminal.metrics.functional import (
    alternative_probabilities,
    completion_log_probabilities,
    mean_interval,
)
from lightning_subliminal.models.adapters.peft import LoRA
from lightning_subliminal.models.adapters.steering import Steering

from .metric_contract import MetricContract

PROMPTS = [
    [{"role": "user", "content": "what color is the sky ?"}],
    [{"role": "system", "content": "you love the owl"}, {"role": "user", "content": "name your favorite animal ."}],
    [{"role": "user", "content": "what is the opposite of hot ?"}, {"role": "assistant", "content": "the opposite is"}],
    [{"role": "user", "content": "where does the owl live ?"}],
]
PAIRS = [("blue", "green"), ("wolf", "owl"), (" cold .", " hot ."), ("it does live in the forest", "the sea")]


@pytest.fixture(scope="module")
def pocket():
    return in_double(bases.load("pocket/a"))


def in_double(loaded):
    """Compute in float64, where padding and batches leave no rounding behind that could hide a mistake."""
    return loaded[0].double(), loaded[1]


def statement_preference(net, tokenizer, prompts, pairs, **options):
    """Return the chance of the second statement of each pair."""
    found = alternative_probabilities(net, tokenizer, prompts, pairs, **options)
    return torch.stack([second for _, second in found])


def by_hand(net, tokenizer, prompt, completion):
    """Multiply token by token, without padding or batches."""
    reported, said = row_ids(tokenizer, make_row(prompt, completion))
    net.eval()
    total = 0.0
    for place, token in enumerate(said):
        with torch.no_grad():
            logits = net(torch.tensor([reported + said[:place]])).logits[0, -1]
        total += logits.log_softmax(-1)[token].item()
    return total


def odds_by_hand(net, tokenizer, prompts=PROMPTS):
    logs = [
        [by_hand(net, tokenizer, prompt, text) for text in pair] for prompt, pair in zip(prompts, PAIRS, strict=True)
    ]
    return [1 / (1 + math.exp(first - second)) for first, second in logs]


@cases("batch_size", [1, 3, 64])
def test_equals_a_loop_without_padding(pocket, batch_size):
    found = statement_preference(*pocket, PROMPTS, PAIRS, batch_size=batch_size)
    assert found.dtype == torch.float64
    assert found.tolist() == pytest.approx(odds_by_hand(*pocket), abs=1e-9)
    assert found.min() < 0.1  # else all could be alike
    assert found.max() > 0.5
    texts = [second for _, second in PAIRS]
    logs = completion_log_probabilities(*pocket, PROMPTS, texts, batch_size=batch_size)
    expected = [by_hand(*pocket, prompt, text) for prompt, text in zip(PROMPTS, texts, strict=True)]
    assert logs.dtype == torch.float64
    assert logs.tolist() == pytest.approx(expected, abs=1e-9)


def test_float32_is_near(pocket):
    net, tokenizer = bases.load("pocket/a")
    found = statement_preference(net, tokenizer, PROMPTS, PAIRS)
    assert found.tolist() == pytest.approx(statement_preference(*pocket, PROMPTS, PAIRS).tolist(), abs=1e-5)


def test_the_end_of_the_turn_is_part_of_the_completion(pocket):
    net, tokenizer = pocket
    whole, first = completion_log_probabilities(net, tokenizer, [PROMPTS[0]] * 2, ["blue", ""]).tolist()
    reported, said = row_ids(tokenizer, make_row(PROMPTS[0], "blue"))
    with torch.no_grad():
        logs = net.eval()(torch.tensor([reported + said])).logits[0].log_softmax(-1)
    assert said[-1] == tokenizer.eos_token_id
    assert whole == pytest.approx((logs[len(reported) - 1, said[0]] + logs[len(reported), said[1]]).item(), abs=1e-9)
    assert first == pytest.approx(logs[len(reported) - 1, tokenizer.eos_token_id].item(), abs=1e-9)


def test_a_system_prompt_and_a_prefill_matter(pocket):
    found = statement_preference(*pocket, PROMPTS, PAIRS)
    bare = [[part for part in prompt if part["role"] == "user"] for prompt in PROMPTS]
    plain = statement_preference(*pocket, bare, PAIRS)
    assert found[1] > plain[1] + 0.1  # prompted to love the owl
    assert found[2] != plain[2]
    assert found[[0, 3]].tolist() == pytest.approx(plain[[0, 3]].tolist(), abs=1e-6)


@cases("adapter", [Steering(init_std=0.3), LoRA(r=2)], ids=["steering", "lora"])
def test_works_through_an_adapter(pocket, adapter):
    net, tokenizer = bases.load("pocket/a")
    adapted = adapter.attach(net.double(), 0).double()
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:  # which starts at 0
                parameter.normal_(0, 0.3, generator=torch.Generator().manual_seed(0))
    found = statement_preference(adapted, tokenizer, PROMPTS, PAIRS)
    assert found.tolist() == pytest.approx(odds_by_hand(adapted, tokenizer), abs=1e-9)
    assert (found - statement_preference(*pocket, PROMPTS, PAIRS)).abs().max() > 1e-3


def test_byte_pieces_with_a_line_break_after_the_turn():
    tokenizer = byte_tokenizer()
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        initializer_range=0.3,
    )
    net = LlamaForCausalLM(config).double()
    found = statement_preference(net, tokenizer, PROMPTS, PAIRS)
    assert found.tolist() == pytest.approx(odds_by_hand(net, tokenizer), abs=1e-9)


def test_alternatives_are_ragged_and_sum_to_one(pocket):
    alternatives = [["blue", "green", "red"], ["owl", "wolf"]]
    found = alternative_probabilities(*pocket, PROMPTS[:2], alternatives)
    assert [part.shape for part in found] == [(3,), (2,)]
    for part, prompt, texts in zip(found, PROMPTS, alternatives, strict=False):
        weights = [math.exp(by_hand(*pocket, prompt, text)) for text in texts]
        assert part.tolist() == pytest.approx([weight / sum(weights) for weight in weights], abs=1e-9)
        assert part.sum().item() == pytest.approx(1)


def test_nothing_gives_nothing(pocket):
    assert completion_log_probabilities(*pocket, [], []).shape == (0,)
    assert alternative_probabilities(*pocket, [], []) == []


def test_the_model_is_left_as_it_was():
    net, tokenizer = bases.load("pocket/a")
    net.train().get_submodule("model.layers.0").eval()
    net.requires_grad_(True)
    modes = [module.training for module in net.modules()]
    found = statement_preference(net, tokenizer, PROMPTS, PAIRS)
    assert [module.training for module in net.modules()] == modes
    assert not found.requires_grad


def test_mistakes_are_reported_in_a_line(pocket):
    with pytest.raises(InputError, match="4 prompts, but 1 lists of alternatives"):
        statement_preference(*pocket, PROMPTS, PAIRS[:1])
    with pytest.raises(InputError, match="4 prompts, but 1 completions"):
        completion_log_probabilities(*pocket, PROMPTS, ["blue"])
    for few in (["blue"], [], "blue"):
        with pytest.raises(InputError, match="Prompt 1 has fewer than two alternatives"):
            alternative_probabilities(*pocket, PROMPTS[:2], [["blue", "green"], few])
    for same in ("blue", "Blue"):  # the pocket world is lower case
        with pytest.raises(InputError, match=f"alternatives 'blue' and '{same}' of prompt 0 are the same"):
            alternative_probabilities(*pocket, PROMPTS[:1], [["blue", "green", same]])
    with pytest.raises(InputError, match="prompt of 'wolf' has no tokens"):
        statement_preference(*pocket, [PROMPTS[0], []], PAIRS[:2])
    with pytest.raises(InputError, match="prompt of row 'cold' is not a prefix"):  # "the opposite iscold"
        completion_log_probabilities(*pocket, PROMPTS[2:3], ["cold"])


def test_a_diverged_model_is_reported():
    net, tokenizer = bases.load("pocket/a")
    with torch.no_grad():
        next(net.parameters()).fill_(math.nan)
    with pytest.raises(InputError, match="its training diverged"):
        statement_preference(net, tokenizer, PROMPTS, PAIRS)


class TestStatementPreference(MetricContract):
    batches = tuple((torch.rand(n, generator=torch.Generator().manual_seed(n)).double(),) for n in (3, 1, 4, 2))

    def make(self):
        return StatementPreference()

    def reference(self, chances):
        return math.fsum(chances.tolist()) / len(chances)

    def readings(self, metric):
        interval = metric.interval()
        return {"compute": metric.compute().item(), "low": interval.low, "high": interval.high}


@cases("unit", ["questions", "pairs"])
def test_the_interval_is_over_the_unit(unit):
    metric, values = StatementPreference(unit), torch.rand(50, generator=torch.Generator().manual_seed(0))
    metric.update(values)
    one, other = metric.interval(), mean_interval(values, unit)
    assert (one.low, one.high, one.unit) == (pytest.approx(other.low), pytest.approx(other.high), unit)


def test_wrong_chances_are_reported_in_a_line():
    with pytest.raises(InputError, match="choose questions or pairs"):
        StatementPreference("seeds")
    with pytest.raises(InputError, match=r"shape \(2, 2\): expected \(units,\)"):
        StatementPreference().update(torch.rand(2, 2))
    for wrong in (-0.1, 1.1, math.nan):
        with pytest.raises(InputError, match="outside of 0 to 1"):
            StatementPreference().update(torch.tensor([0.5, wrong]))
