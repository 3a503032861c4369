import copy
import json
import shutil

import pytest
import torch
from cases import Contract, cases
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from lightning_subliminal.bases.layers import decoder_layers, inner_model
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.models.adapters.base import Adapter
from lightning_subliminal.models.adapters.peft import IA3, LoRA, Peft, merge_peft
from lightning_subliminal.models.adapters.steering import Steering
from lightning_subliminal.theory.alignment import alignment

WIDTH, LAYERS = 16, 3
SIZES = {
    "vocab_size": 40,
    "hidden_size": WIDTH,
    "intermediate_size": 24,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": None,
}
GPT2_SIZES = {"vocab_size": 40, "n_embd": WIDTH, "n_layer": LAYERS, "n_head": 4, "n_positions": 64}
FAMILIES = {
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**SIZES, tie_word_embeddings=True)),
    "qwen2": lambda: Qwen2ForCausalLM(Qwen2Config(**SIZES)),
    "mistral": lambda: MistralForCausalLM(MistralConfig(**SIZES)),
    "gpt2": lambda: GPT2LMHeadModel(GPT2Config(**GPT2_SIZES, bos_token_id=0, eos_token_id=1)),
}
TOKENS = torch.tensor([[3, 14, 15, 9, 26, 5], [31, 4, 1, 5, 9, 2]])


def make(family="llama"):
    torch.manual_seed(7)
    return FAMILIES[family]().eval()


@torch.no_grad()
def logits(net):
    return net(TOKENS).logits


@torch.no_grad()
def disturb(net):
    """Stand in for training: move each trained value."""
    generator = torch.Generator().manual_seed(1)
    for value in net.parameters():
        if value.requires_grad:
            value += 0.3 * torch.randn(value.shape, generator=generator)


class AdapterContract(Contract):
    """What every adapter keeps. A subclass gives the recipe, its size, and whether it starts as the base."""

    family = "llama"
    trained: int
    first: int | None = 0
    starts_as_base = True
    random_start = True

    def make(self) -> Adapter:
        raise NotImplementedError

    def attached(self, seed=0):
        return self.make().attach(make(self.family), seed).eval()

    def check_starts_as_base(self):
        same = torch.allclose(logits(self.attached()), logits(make(self.family)), atol=1e-6)
        assert same == self.starts_as_base

    def check_trains_the_adapter_alone(self):
        net = self.attached()
        base = {id(value) for value in net.parameters() if not value.requires_grad}
        trained = [value for value in net.parameters() if value.requires_grad]
        assert sum(value.numel() for value in trained) == self.trained
        assert len(base) == len(list(make(self.family).parameters()))
        # Away from the start first: there, one factor of a LoRA is zero and so the other's gradient.
        disturb(net)
        net(TOKENS, labels=TOKENS).loss.backward()
        assert all(value.grad is not None and value.grad.abs().sum() > 0 for value in trained)

    def check_seed_alone_gives_the_start(self):
        one = self.make().state(self.attached(seed=5))
        assert self.random_start == any(
            not torch.equal(one[name], value) for name, value in self.make().state(self.attached(seed=6)).items()
        )
        adapter, net = self.make(), make(self.family)
        torch.manual_seed(123)
        state = torch.get_rng_state()
        other = adapter.state(adapter.attach(net, 5))
        assert torch.equal(torch.get_rng_state(), state), "attach must leave the global stream alone"
        assert all(torch.equal(one[name], value) for name, value in other.items())

    def check_saved_and_loaded_is_the_same(self, tmp_path):
        net = self.attached()
        disturb(net)
        assert not torch.allclose(logits(net), logits(make(self.family)), atol=1e-3)
        self.make().save(net, tmp_path / "adapter", "pocket/a")
        self.make().save(net, tmp_path / "again", "pocket/a")
        other = self.attached(seed=9)
        self.make().load(other, tmp_path / "adapter")
        assert torch.equal(logits(other), logits(net))
        assert sorted(path.name for path in (tmp_path / "adapter").iterdir()) == [*self.make().files]
        for path in (tmp_path / "adapter").iterdir():
            assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()
        config = json.loads((tmp_path / "adapter" / self.make().files.config).read_text())
        assert config["base_model_name_or_path"] == "pocket/a"

    def check_merged_loads_without_this_package(self, tmp_path):
        net = self.attached()
        disturb(net)
        before = logits(net)
        self.make().merge(net).save_pretrained(tmp_path)
        assert torch.equal(logits(net), before), "merging must leave the model alone"
        exported, reported = AutoModelForCausalLM.from_pretrained(tmp_path, output_loading_info=True)
        assert not reported["missing_keys"]
        assert not reported["unexpected_keys"]
        torch.testing.assert_close(logits(exported.eval()), before, rtol=0, atol=1e-5)

    def check_first_trained_layer(self):
        assert self.make().first_trained_layer(self.attached()) == self.first

    def check_deep_copy_is_independent(self):
        net = self.attached()
        twin = copy.deepcopy(net)
        before = logits(net)
        disturb(twin)
        assert torch.equal(logits(net), before)
        assert not torch.allclose(logits(twin), before, atol=1e-3)

    def check_a_second_adapter_is_refused(self):
        net = self.attached()
        with pytest.raises(InputError, match="already"):
            self.make().attach(net, 0)

    def check_other_or_damaged_files_are_refused(self, tmp_path):
        net = self.attached()
        with pytest.raises(InputError, match="holds no adapter"):
            self.make().load(net, tmp_path)
        self.make().save(net, tmp_path, "pocket/a")
        weights = tmp_path / self.make().files.weights
        whole = weights.read_bytes()
        weights.write_bytes(whole[: len(whole) // 2])
        with pytest.raises(InputError, match="damaged"):
            self.make().load(net, tmp_path)
        weights.write_bytes(whole)
        path = tmp_path / self.make().files.config
        config = json.loads(path.read_text())
        path.write_text(json.dumps({**config, "peft_type": "OTHER"}))
        with pytest.raises(InputError, match="OTHER"):
            self.make().load(net, tmp_path)

    def check_describes_itself(self):
        from lightning_subliminal.core.fingerprint import digest

        assert digest(self.make()) == digest(self.make())


class TestLoRA(AdapterContract):
    # r x (in + out): q 16+16, k and v 16+8, o 16+16, gate and up 16+24, down 24+16
    trained = LAYERS * 2 * (32 + 24 + 24 + 32 + 40 + 40 + 40)

    def make(self):
        return LoRA(r=2, alpha=4)


class TestLoRAOnQwen2(TestLoRA):
    family = "qwen2"


class TestIA3(AdapterContract):
    trained = LAYERS * (8 + 8 + 24)
    random_start = False

    def make(self):
        return IA3()


class TestPeftVera(AdapterContract):
    trained = LAYERS * ((16 + 2) + (16 + 2))
    random_start = False  # its projections are drawn by a key of their own

    def make(self):
        return Peft("peft.VeraConfig", {"r": 2, "target_modules": ["q_proj", "o_proj"], "projection_prng_key": 3})


class TestPeftFromLayerOneUp(AdapterContract):
    trained = 2 * 4 * 32
    first = 1

    def make(self):
        return Peft("peft.LoraConfig", {"r": 4, "target_modules": ["q_proj"], "layers_to_transform": [1, 2]})


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


def test_peft_reads_what_we_save(tmp_path):
    from peft import PeftModel

    net = LoRA(r=2).attach(make(), 0)
    disturb(net)
    LoRA(r=2).save(net, tmp_path, "some/base")
    torch.testing.assert_close(logits(PeftModel.from_pretrained(make(), tmp_path).eval()), logits(net.eval()))


def test_soft_prompts_depend_on_no_layer_and_cannot_be_merged():
    adapter = Peft("peft.PromptTuningConfig", {"num_virtual_tokens": 2})
    net = adapter.attach(make(), 0)
    assert adapter.first_trained_layer(net) is None
    with pytest.raises(InputError, match="keep base and adapter apart"):
        adapter.merge(net)


@cases("family", ["llama", "gpt2"])
@cases("target", ["input", "output", "both", "both, tied"])
def test_lora_on_one_of_two_embeddings_that_share_a_weight_is_merged_into_it_alone(family, target, tmp_path):
    names = ["wte", "lm_head"] if family == "gpt2" else ["embed_tokens", "lm_head"]
    chosen = {"input": names[:1], "output": names[1:], "both": names, "both, tied": names[:1]}[target]
    adapter = Peft("peft.LoraConfig", {"r": 2, "target_modules": chosen, "ensure_weight_tying": target == "both, tied"})
    net = adapter.attach(make(family), 0)
    disturb(net)
    expected = logits(net.eval())
    merge_peft(net).save_pretrained(tmp_path)
    torch.testing.assert_close(logits(AutoModelForCausalLM.from_pretrained(tmp_path).eval()), expected)


def test_what_pefts_merge_changes_or_refuses_is_refused_in_a_line(monkeypatch):
    replicated = Peft("peft.LoraConfig", {"target_modules": ["q_proj"], "layer_replication": [[0, 2], [1, 3]]})
    biased = Peft("peft.LoraConfig", {"target_modules": ["q_proj"], "lora_bias": True})
    for adapter, reason in ((replicated, "its layers share weights"), (biased, "the base layer has no bias")):
        with pytest.raises(InputError, match=f"{reason}.*keep base and adapter apart"):
            adapter.merge(adapter.attach(make(), 0))
    net = LoRA(r=2).attach(make(), 0)
    disturb(net)
    monkeypatch.setattr(type(net.base_model), "merge_and_unload", lambda self, **_: self.unload())
    with pytest.raises(InputError, match="can't be merged into LlamaForCausalLM exactly"):
        LoRA(r=2).merge(net)


@cases(
    ("attach", "message"),
    [
        (lambda: LoRA(target_modules=["q_proj", "v_prj"]).attach(make(), 0), r"no v_prj; its layers have .*v_proj"),
        (lambda: LoRA().attach(make("gpt2"), 0), r"GPT2LMHeadModel has no down_proj.*c_attn"),
        (lambda: LoRA(r=0).attach(make(), 0), "rank of at least 1"),
        (lambda: IA3(["q_proj"], ["down_proj"]).attach(make(), 0), "expected names from `target_modules`"),
        (lambda: Peft("peft.NoConfig").attach(make(), 0), "There is no class 'peft.NoConfig'"),
        (lambda: Peft("nonsense").attach(make(), 0), "There is no class 'nonsense'"),
        (lambda: Peft("peft.PeftModel").attach(make(), 0), "is not a PEFT config"),
        (lambda: Peft("peft.LoraConfig", {"rank": 3}).attach(make(), 0), "refuses the options"),
        (
            lambda: Peft("peft.LoraConfig", {"target_modules": "nothing"}).attach(make(), 0),
            "PEFT can't apply LoraConfig to LlamaForCausalLM",
        ),
        (lambda: Steering([3]).attach(make(), 0), r"the model's 3 layers are 0 to 2"),
        (lambda: Steering([-1]).attach(make(), 0), r"the model's 3 layers are 0 to 2"),
        (lambda: Steering([]), "at least one"),
        (lambda: Steering([1, 1]), "distinct indices"),
        (lambda: Steering(init_std=-1.0), "expected 0 or more"),
    ],
)
def test_mistakes_are_reported_in_one_line(attach, message):
    with pytest.raises(InputError, match=message) as caught:
        attach()
    assert "\n" not in str(caught.value)


def test_vectors_of_other_layers_are_refused(tmp_path):
    Steering([0]).save(Steering([0]).attach(make(), 0), tmp_path / "low", "pocket/a")
    with pytest.raises(InputError, match=r"steering\.layers\.0 is only in the file"):
        Steering([2]).load(Steering([2]).attach(make(), 0), tmp_path / "low")
    wide = LlamaForCausalLM(LlamaConfig(**{**SIZES, "hidden_size": 32}))
    with pytest.raises(InputError, match=r"shape \(16,\), here \(32,\)"):
        Steering([0]).load(Steering([0]).attach(wide, 0), tmp_path / "low")
    shutil.rmtree(tmp_path / "low")


def test_decoder_layers_are_found_inside_a_wrapper():
    net = make()
    wrapped = LoRA(r=1).attach(net, 0)
    assert inner_model(wrapped) is net
    assert decoder_layers(wrapped) is net.model.layers


@cases(
    "adapter", [LoRA(r=2, target_modules=["q_proj"]), Peft("peft.LoraConfig", {"r": 2, "target_modules": ["q_proj"]})]
)
def test_a_displacement_of_lora_is_that_of_the_weights_whatever_the_factors(adapter):
    one, other = make(), make()
    one, other = adapter.attach(one, 0), adapter.attach(other, 0)
    disturb(one)
    turn = torch.tensor([[2.0, 1.0], [0.5, 3.0]])
    with torch.no_grad():  # B A is (B T^-1) (T A)
        for mine, theirs in zip(one.modules(), other.modules(), strict=True):
            if hasattr(mine, "lora_A") and "default" in mine.lora_A:
                theirs.lora_A["default"].weight.copy_(turn @ mine.lora_A["default"].weight)
                theirs.lora_B["default"].weight.copy_(mine.lora_B["default"].weight @ turn.inverse())
    ways = [adapter.displacement(net, adapter.start(net)) for net in (one, other)]
    assert alignment(*ways).cosine.item() == pytest.approx(1.0, abs=1e-5)
    merged, base = adapter.merge(one).state_dict(), make().state_dict()
    for name, way in ways[0].items():
        assert torch.allclose(way.left @ way.right, merged[name] - base[name], atol=1e-6)
