"""Tiny bases and adapters, as other tools save them."""

import json

import torch
from peft import LoraConfig, get_peft_model
from template_tokenizers import TABLE, template_tokenizer
from transformers import LlamaConfig, LlamaForCausalLM

from lightning_subliminal import bases

WEIGHT = "model.embed_tokens.weight"


def small(seed, rows, tied=False):
    torch.manual_seed(seed)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    return LlamaForCausalLM(LlamaConfig(vocab_size=rows, tie_word_embeddings=tied, **sizes))


def base(folder, seed=0, family="chatml", extra=0, tied=False):
    """Save a tiny base; ``extra`` embeddings more or less than its tokenizer has tokens."""
    tokenizer = template_tokenizer(TABLE[family])
    small(seed, len(tokenizer) + extra, tied).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def adapter(folder, on, seed=5, **settings):
    net, _ = bases.load(str(on))
    torch.manual_seed(seed)
    wrapped = get_peft_model(net, LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False, **settings))
    wrapped.save_pretrained(folder)
    reported = json.loads((folder / "adapter_config.json").read_text()) | {"base_model_name_or_path": str(on)}
    (folder / "adapter_config.json").write_text(json.dumps(reported))
    return folder


def embedding(net):
    net = net.get_base_model() if hasattr(net, "get_base_model") else net
    return net.get_input_embeddings().weight.detach()
