"""Tiny bases of eight words, saved in a folder."""

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

WORDS = ["<pad>", "<bos>", "<eos>", "owl", "dog", "oak", "1", "2"]
TEMPLATE = "{% for message in messages %}{{ message['content'] }} {% endfor %}"


def make_tokenizer(words=WORDS, **special):
    core = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="<pad>"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    special = {"pad_token": "<pad>", "bos_token": "<bos>", "eos_token": "<eos>", **special}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, **special)
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def make_net(vocab_size=8, **settings):
    torch.manual_seed(0)
    sizes = {"hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 2, "num_attention_heads": 2}
    ids = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    return LlamaForCausalLM(LlamaConfig(vocab_size=vocab_size, **sizes, **{**ids, **settings}))


def make_base(place):
    make_net().save_pretrained(place)
    make_tokenizer().save_pretrained(place)
    return place
