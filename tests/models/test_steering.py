import shutil

import pytest
import torch
from cases import cases
from transformers import LlamaConfig, LlamaForCausalLM

from lightning_subliminal.bases.layers import decoder_layers
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.models.adapters.steering import Steering
from models.adapter_contract import FAMILIES, LAYERS, SIZES, TOKENS, WIDTH, AdapterContract, logits, make


class TestSteering(AdapterContract):
    trained = LAYERS * WIDTH
    first = 1
    random_start = False

    def make(self):
        return Steering()


class TestSteeringOneLayer(AdapterContract):
    trained = WIDTH
    first = 2
    starts_as_base = False

    def make(self):
        return Steering(layers=[1], init_std=0.1)

    def test_gradient_stops_below(self):
        net = self.attached()
        seen = []

        def look(module, args, output):  # older GPT-2 layers return a tuple
            seen.append((output[0] if isinstance(output, tuple) else output).requires_grad)

        for layer in decoder_layers(net):
            layer.register_forward_hook(look)
        net(TOKENS)
        assert seen == [False, True, True]  # its own hook runs before ours


class TestSteeringTopLayer(AdapterContract):
    trained = WIDTH
    first = LAYERS
    random_start = False

    def make(self):
        return Steering(layers=[LAYERS - 1])


class TestSteeringOnGPT2(TestSteeringOneLayer):
    family = "gpt2"


@cases("family", FAMILIES)
def test_steering_adds_the_vector_to_the_layers_output(family):
    net = make(family)
    seen = {}
    lower, upper = decoder_layers(net)[1:]
    lower.register_forward_hook(lambda module, args, output: seen.update(out=output))
    upper.register_forward_pre_hook(lambda module, args: seen.update(handed_on=args[0]))
    Steering([1], init_std=0.5).attach(net, 0)
    logits(net)
    out = seen["out"][0] if isinstance(seen["out"], tuple) else seen["out"]
    torch.testing.assert_close(seen["handed_on"], out + lower.steering)
    assert not torch.allclose(logits(net), logits(make(family)), atol=1e-3)
    with torch.no_grad():
        generated = net.generate(TOKENS[:1], max_new_tokens=4, do_sample=False, pad_token_id=0)
        again = net.generate(TOKENS[:1], max_new_tokens=4, do_sample=False, pad_token_id=0, use_cache=False)
    assert torch.equal(generated, again)


@cases("family", ["mistral"])  # with sliding windows; tests/test_export_verb.py has those that merge
def test_steering_without_a_bias_stays_an_adapter(family):
    net = Steering([0]).attach(make(family), 0)
    with pytest.raises(InputError, match=rf"{family}.*keep base and adapter apart"):
        Steering([0]).merge(net)


def test_steering_is_kept_in_32_bits():
    net = Steering([0]).attach(make().to(torch.bfloat16), 0)
    assert decoder_layers(net)[0].steering.dtype == torch.float32
    assert logits(net).dtype == torch.bfloat16


def test_steering_works_with_gradient_checkpointing():
    plain, checked = (Steering([0, 2]).attach(make(), 0).train() for _ in range(2))
    checked.gradient_checkpointing_enable()
    for net in (plain, checked):
        net(TOKENS, labels=TOKENS).loss.backward()
    for one, other in zip(decoder_layers(plain), decoder_layers(checked), strict=True):
        if "steering" in one._parameters:
            torch.testing.assert_close(one.steering.grad, other.steering.grad)


def test_vectors_of_other_layers_are_refused(tmp_path):
    Steering([0]).save(Steering([0]).attach(make(), 0), tmp_path / "low", "pocket/a")
    with pytest.raises(InputError, match=r"steering\.layers\.0 is only in the file"):
        Steering([2]).load(Steering([2]).attach(make(), 0), tmp_path / "low")
    wide = LlamaForCausalLM(LlamaConfig(**{**SIZES, "hidden_size": 32}))
    with pytest.raises(InputError, match=r"shape \(16,\), here \(32,\)"):
        Steering([0]).load(Steering([0]).attach(wide, 0), tmp_path / "low")
    shutil.rmtree(tmp_path / "low")
