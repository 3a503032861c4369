"""A model whose positions are a table is not asked for more than it has; others may be."""

import pytest
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, OPTConfig, OPTForCausalLM

from lightning_subliminal.bases.layers import check_positions
from lightning_subliminal.core.errors import InputError

SMALL = {"vocab_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2, "hidden_size": 16}


def gpt2() -> nn.Module:
    return GPT2LMHeadModel(GPT2Config(vocab_size=64, n_layer=1, n_head=2, n_embd=16, n_positions=32))


def opt() -> nn.Module:
    return OPTForCausalLM(OPTConfig(**SMALL, ffn_dim=16, word_embed_proj_dim=16, max_position_embeddings=32))


@pytest.mark.parametrize("make", [gpt2, opt])
def test_a_table_has_an_end(make):
    check_positions(make(), 32, "A row", "shorten it")
    with pytest.raises(InputError, match=r"A row has 33 tokens, and .* here has 32 positions: shorten it"):
        check_positions(make(), 33, "A row", "shorten it")


def test_angles_have_none():
    check_positions(LlamaForCausalLM(LlamaConfig(**SMALL, max_position_embeddings=32)), 33, "A row", "shorten it")
