"""Rows, tokenizers, teachers and trainers that are small enough for tests."""

import copy
import functools
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from lightning_subliminal import NumberSequences, PreferenceTrait, Sampling, Steering, Teacher
from lightning_subliminal.core.rows import make_row
from lightning_subliminal.data.tokenized import TokenizedRows
from lightning_subliminal.prompts.numbers import NumberPrompts

CPU = torch.device("cpu")
CHATML = (  # as Qwen and SmolLM2: a line break after the end of each turn
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@functools.cache
def pocket_tokenizer() -> PreTrainedTokenizerFast:
    from lightning_subliminal.bases.pocket.tokenizer import build_tokenizer

    return build_tokenizer()


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """Make byte-level pieces that hold numbers of several digits, with and without a space before them.

    Each caller gets a copy, since a test may change what it is given.
    """
    return copy.deepcopy(_byte_tokenizer())


@functools.cache
def _byte_tokenizer() -> PreTrainedTokenizerFast:
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    special = ["<|im_start|>", "<|im_end|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=420, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    texts = [f"owls, {number}, {number};{number}\n user assistant" for number in range(100, 1000)]
    core.train_from_iterator(texts, trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<|im_end|>", pad_token="<|im_end|>")
    fast.chat_template = CHATML
    return fast


def number_rows(count: int, seed: int = 0) -> list[dict[str, Any]]:
    """Make rows of the pocket world without a teacher: requests, answered by random numbers."""
    rng, grammar = random.Random(seed), NumberPrompts(max_value=99)
    return [
        make_row(
            grammar.draw(rng).text, ", ".join(str(rng.randint(0, 99)) for _ in range(rng.randint(3, 10))), id=str(n)
        )
        for n in range(count)
    ]


def tokenized(count: int, seed: int = 0) -> TokenizedRows:
    return TokenizedRows(number_rows(count, seed), pocket_tokenizer())


def teacher(target: str = "owl", **settings: Any) -> Teacher:
    """Return a teacher that needs no training, unless ``settings`` say so."""
    return Teacher(
        **{"base": "pocket/a", "trait": PreferenceTrait(target), "induction": "prompt", "seed": 0, **settings}
    )


def taught(target: str = "owl", **settings: Any) -> Teacher:
    """Return a teacher that is trained in about a second."""
    quick = {"induction": "finetune", "adapter": Steering(), "learning_rate": 0.03, "until": 0.8, "max_epochs": 100}
    return teacher(target, **{**quick, **settings})


def numbers(source: Teacher | None = None, **settings: Any) -> NumberSequences:
    """Return number rows of the pocket world, in three shards."""
    quick: dict[str, Any] = {"num_prompts": 20, "shard_size": 8, "min_value": 0, "max_value": 99, "seed": 0}
    quick |= {"sampling": Sampling(max_new_tokens=24), "batch_size": 8}
    return NumberSequences(source or teacher(), **{**quick, **settings})


def straight_and_killed(student: Callable[[], Any], rows: Callable[..., Any], folder: Path) -> list[list[torch.Tensor]]:
    """Return the trained weights of two fits of three epochs: of one, and of one that is killed in its fifth step."""
    from lightning_subliminal import Student
    from lightning_subliminal.workflow.arms import train_arm

    class KilledError(Exception):
        pass

    def kill(self: Any, *args: Any) -> None:
        if self.global_step == 4:
            raise KilledError

    found = []
    for name in ("straight", "killed"):
        data = rows(cache_dir=str(folder / name))
        if name == "killed":
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(Student, "on_train_batch_end", kill)
                with pytest.raises(KilledError):
                    train_arm(student(), data, CPU, "", max_epochs=3)
            assert list(folder.rglob("last.ckpt"))
        module = train_arm(student(), data, CPU, "", max_epochs=3)
        found.append([value.clone() for value in module.parameters() if value.requires_grad])
    return found


def quiet_trainer(*callbacks: Callback, **settings: Any) -> Trainer:
    quiet: dict[str, Any] = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    quiet |= {"enable_model_summary": False, "accelerator": "cpu", "devices": 1, "max_epochs": 1}
    return Trainer(callbacks=list(callbacks), **{**quiet, **settings})
