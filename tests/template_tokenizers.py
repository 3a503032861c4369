"""A tokenizer for each chat template of the field that is in ``chat_templates.yaml``."""

from pathlib import Path

import yaml
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from lightning_subliminal.core.chat.encoding import set_frame

ASKED = [{"role": "user", "content": "Hi"}]
TABLE = yaml.safe_load(Path(__file__).with_name("chat_templates.yaml").read_text(encoding="utf-8"))


def template_tokenizer(entry) -> PreTrainedTokenizerFast:
    """Make a tokenizer of byte pieces, some with a space before them, and a template's special tokens."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    eos = entry["eos"]
    special = list(dict.fromkeys([*entry["tokens"], eos, entry.get("bos", eos), *entry.get("ends", [])]))
    letters = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=len(letters) + len(special) + 24,
        special_tokens=special,
        initial_alphabet=letters,
        show_progress=False,
    )
    core.train_from_iterator([" owl cat owl cat 12 34"] * 20, trainer)
    if "bos" in entry:  # as Llama's and Gemma's write it, before the template's own
        begin = ("BOS", core.token_to_id(entry["bos"]))
        core.post_processor = processors.TemplateProcessing(single="BOS $A", special_tokens=[begin])
    made = PreTrainedTokenizerFast(
        tokenizer_object=core,
        eos_token=eos,
        pad_token=eos,
        bos_token=entry.get("bos"),
        extra_special_tokens=[token for token in special if token not in (eos, entry.get("bos"))],
    )
    made.chat_template = entry["template"]
    set_frame(made, None, made.convert_tokens_to_ids(entry.get("ends", [])))
    return made
