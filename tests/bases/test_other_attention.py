"""Models without torch's fast attention are read with the plain one; those whose tokens read ahead are refused."""

import pytest
import torch
from cases import cases
from small import byte_tokenizer
from transformers import BertConfig, BertLMHeadModel, Gemma2Config, Gemma2ForCausalLM, GPTNeoXConfig, GPTNeoXForCausalLM

from lightning_subliminal import bases
from lightning_subliminal.core.errors import InputError

SIZES = {
    "vocab_size": 430,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}
SIZES |= {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
MODELS = {
    "gemma2": lambda: Gemma2ForCausalLM(Gemma2Config(**SIZES, num_key_value_heads=1, head_dim=8)),
    "gpt-neox": lambda: GPTNeoXForCausalLM(GPTNeoXConfig(**SIZES)),  # says that it is no decoder, and is one
    "bert": lambda: BertLMHeadModel(BertConfig(**SIZES)),
    "a decoder of bert's kind": lambda: BertLMHeadModel(BertConfig(**SIZES, is_decoder=True)),
}


def saved(name, folder):
    torch.manual_seed(0)
    net = MODELS[name]().eval()
    net.save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    return net


@cases("name", [name for name in MODELS if name != "bert"])
def test_a_decoder_is_read_with_the_attention_that_it_has(name, tmp_path):
    expected, ids = saved(name, tmp_path / "base"), torch.arange(12).view(2, 6)
    net, _ = bases.load(str(tmp_path / "base"))
    assert net.config._attn_implementation == ("eager" if name == "gemma2" else "sdpa")
    torch.testing.assert_close(net(input_ids=ids).logits, expected(input_ids=ids).logits)


def test_a_model_that_reads_ahead_is_refused(tmp_path):
    saved("bert", tmp_path / "base")
    with pytest.raises(
        InputError, match=r"its tokens read those behind them \(bert\), so it writes no text: take a dec"
    ):
        bases.load(str(tmp_path / "base"))
