"""What every adapter keeps, and tiny models of four families to hold it on."""

import copy
import json

import pytest
import torch
from cases import Contract
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

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.models.adapters.base import Adapter

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
