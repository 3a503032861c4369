"""vLLM in this process: where it is absent, one line; where it is installed, the engine's contract."""

import importlib.util
import shutil
import sys
from types import SimpleNamespace

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import LlamaForCausalLM

from generation.engine_contract import PROMPTS, EngineContract
from lightning_subliminal import Sampling, VLLMEngine, bases
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.generation import TransformersEngine


def test_where_it_is_absent(monkeypatch):
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(ModuleNotFoundError, match=r"VLLMEngine needs vLLM: pip install 'lightning-subliminal\[vllm\]'"):
        VLLMEngine("folder", None)


def test_what_is_no_lora_is_refused(monkeypatch, tmp_path):
    fake = SimpleNamespace(LLM=None, LoRARequest=None)
    for name in ("vllm", "vllm.lora.request"):
        monkeypatch.setitem(sys.modules, name, fake)
    with pytest.raises(InputError, match="holds no LoRA in PEFT's format"):
        VLLMEngine(tmp_path, None, lora=tmp_path)


def widen(folder, place, width=64):
    """Write a Llama that computes the same with wider heads: vLLM has kernels for a CPU from 32 on.

    The angles of a head of 16 are each fourth one of a head of 64, and what is added is 0.
    """
    net, tokenizer = bases.load(str(folder))
    config = net.config
    config.head_dim, narrow = width, config.head_dim
    wide = LlamaForCausalLM(config)
    half = torch.arange(narrow // 2) * (width // narrow)
    places = torch.cat([half, half + width // 2])
    found = net.state_dict()
    for name, values in found.items():
        if ".self_attn." not in name:
            continue
        heads = values.T if "o_proj" in name else values
        heads = heads.view(-1, narrow, heads.shape[1])
        made = heads.new_zeros(len(heads), width, heads.shape[2])
        made[:, places] = heads * (width / narrow) ** 0.5 if "q_proj" in name else heads
        made = made.flatten(0, 1)
        found[name] = made.T.contiguous() if "o_proj" in name else made
    wide.load_state_dict(found)
    wide.save_pretrained(place)
    tokenizer.save_pretrained(place)
    return place


def test_a_widened_model_computes_the_same(tmp_path):
    found = [
        TransformersEngine(*bases.load(name)).generate(PROMPTS * 2, Sampling(), 0)
        for name in ("pocket/a", str(widen(bases.resolve("pocket/a").folder, tmp_path)))
    ]
    assert found[0] == found[1]


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="the extra [vllm] is not installed")
class TestVLLMEngine(EngineContract):
    samples = 1000
    hot = 2.0  # vLLM's limit

    @pytest.fixture
    def folder(self, tmp_path):
        return widen(bases.resolve("pocket/a").folder, tmp_path / "wide")

    def make(self, folder, batch_size=8, lora=None):
        settings = {"dtype": "float32", "enforce_eager": True, "max_model_len": 256, "max_num_seqs": batch_size}
        return VLLMEngine(folder, bases.load_tokenizer(folder, str(folder)), lora, **settings)

    @pytest.mark.parametrize("rank", [4, 24])
    def test_a_lora_writes_what_it_writes_merged(self, folder, model, tmp_path, rank):
        net, tokenizer = model
        targets = ["q_proj", "v_proj", "down_proj"]
        torch.manual_seed(0)
        taught = get_peft_model(net, LoraConfig(r=rank, target_modules=targets, init_lora_weights=False))
        greedy = Sampling(greedy=True, max_new_tokens=12)
        expected = TransformersEngine(taught, tokenizer).generate(PROMPTS, greedy, 0)
        taught.save_pretrained(tmp_path / "lora")
        shutil.copytree(folder, tmp_path / "merged")
        taught.merge_and_unload().save_pretrained(tmp_path / "merged")
        assert self.make(folder).generate(PROMPTS, greedy, 0) != expected
        assert self.make(folder, lora=tmp_path / "lora").generate(PROMPTS, greedy, 0) == expected
        assert self.make(tmp_path / "merged").generate(PROMPTS, greedy, 0) == expected

    def test_a_temperature_that_vllm_refuses(self, engine):
        with pytest.raises(InputError, match=r"vLLM samples at temperatures up to 2, not at 3\.0"):
            engine.generate(PROMPTS, Sampling(temperature=3.0), 0)
