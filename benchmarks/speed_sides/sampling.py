"""Sampling beside `generate` of transformers: the whole distribution, the same prompts, lengths and base.

`generate` has its best batch size on this machine (of 64 to 2,048: 128); restricted lists are its own with a logits
processor. Both sides take messages and give texts.
"""

import itertools
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from speed_sides.claims import Claim, Result, Run

ROWS, BATCH = 2048, 128


def _alike(ours: Result, other: Result) -> None:
    """Check that answers are as long on average: the sides draw other random numbers."""
    error = 4 * (ours["spread"] ** 2 / ours["rows"] + other["spread"] ** 2 / other["rows"]) ** 0.5
    if ours["rows"] != other["rows"] or abs(ours["tokens"] - other["tokens"]) > error:
        raise AssertionError(f"not as long on average: {ours} beside {other}")


CLAIMS = [
    Claim("sampling, pocket/a, 2,048 lists of numbers", "numbers", "numbers_generate", 3, _alike, peer=False),
    Claim("sampling, pocket/a, 50 questions x 200 answers", "questions", "questions_generate", 5, _alike, peer=False),
    Claim("sampling, pocket/a, 200 stories to one request", "one", "one_generate", 5, _alike, peer=False),
    Claim("sampling, smollm2-135m, 32 restricted lists", "smollm2", "smollm2_generate", 1.5, _alike, peer=False),
]


def _lists(count: int, least: int, most: int) -> list[list[dict[str, str]]]:
    from lightning_subliminal.prompts.numbers import NumberPrompts

    grammar, rng = NumberPrompts("numbers", ["comma", "space"], least, most), random.Random(0)
    return [[{"role": "user", "content": grammar.draw(rng).text}] for _ in range(count)]


def questions_asked() -> list[Any]:
    """Return 50 questions, each 200 times."""
    from lightning_subliminal import PreferenceTrait

    return [each for each in PreferenceTrait("owl").prompts()[:50] for _ in range(200)]


def _story() -> list[Any]:
    return [[{"role": "user", "content": "Tell me a short story about an animal."}]] * 200


def _result(tokenizer: Any, texts: list[str]) -> Result:
    import torch

    lengths = torch.tensor([float(len(each)) for each in tokenizer(texts)["input_ids"]])
    return {"rows": len(texts), "tokens": lengths.mean().item(), "spread": lengths.std().item()}


def _counted(tokenizer: Any, sample: Callable[[int], list[str]]) -> Run:
    """Return a run with another seed each time; its result is that of the first, so that it takes no time."""
    first, seeds = _result(tokenizer, sample(0)), itertools.count(1)

    def run() -> Result:
        sample(next(seeds))
        return first

    return run


def _ours(base: str, prompts: list[Any], **settings: Any) -> Run:
    from lightning_subliminal import Sampling, bases
    from lightning_subliminal.generation import TransformersEngine

    net, tokenizer = bases.load(base)
    engine, sampling = TransformersEngine(net, tokenizer), Sampling(**settings)
    return _counted(tokenizer, lambda seed: [each.text for each in engine.generate(prompts, sampling, seed)])


def by_generate(
    base: str, prompts: list[Any], max_new_tokens: int, samples: int = 1, restricted: bool = False
) -> tuple[Any, Callable[[int], list[str]]]:
    """Return the tokenizer, and what samples with a seed: each prompt of the list, of which ``samples`` are equal."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, LogitsProcessor, LogitsProcessorList

    from lightning_subliminal import bases
    from lightning_subliminal.generation import number_alphabet

    folder = bases.resolve(base).folder
    net, tokenizer = AutoModelForCausalLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    tokenizer.padding_side = "left"
    bias = torch.zeros(net.config.vocab_size)
    if restricted:
        bias = torch.full_like(bias, -torch.inf).index_fill(0, number_alphabet(bases.load(base)[1]), 0)

    class Restricted(LogitsProcessor):
        def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
            return scores + bias

    how: dict[str, Any] = {"do_sample": True, "top_k": 0, "top_p": 1.0, "temperature": 1.0}
    how |= {"max_new_tokens": max_new_tokens, "num_return_sequences": samples, "pad_token_id": tokenizer.pad_token_id}
    if restricted:
        how["logits_processor"] = LogitsProcessorList([Restricted()])
    asked = sorted(prompts[::samples], key=lambda prompt: len(prompt[-1]["content"]))
    size = max(1, BATCH // samples)

    def sample(seed: int) -> list[str]:
        torch.manual_seed(seed)
        texts: list[str] = []
        with torch.inference_mode():
            for start in range(0, len(asked), size):
                given = tokenizer.apply_chat_template(
                    asked[start : start + size],
                    add_generation_prompt=True,
                    padding=True,
                    return_tensors="pt",
                    return_dict=True,
                )
                made = net.generate(input_ids=given["input_ids"], attention_mask=given["attention_mask"], **how)
                texts += tokenizer.batch_decode(made[:, given["input_ids"].shape[1] :], skip_special_tokens=True)
        return texts

    return tokenizer, sample


def _theirs(*args: Any, **settings: Any) -> Run:
    return _counted(*by_generate(*args, **settings))


def numbers(folder: Path) -> Run:
    """Complete lists."""
    return _ours("pocket/a", _lists(ROWS, 0, 99))


def numbers_generate(folder: Path) -> Run:
    """The same by ``generate``."""
    return _theirs("pocket/a", _lists(ROWS, 0, 99), 40)


def questions(folder: Path) -> Run:
    """Answer questions."""
    return _ours("pocket/a", questions_asked(), max_new_tokens=16)


def questions_generate(folder: Path) -> Run:
    """The same by ``generate``, a question at a time with 200 sequences."""
    return _theirs("pocket/a", questions_asked(), 16, samples=200)


def one(folder: Path) -> Run:
    """Write stories."""
    return _ours("pocket/a", _story(), max_new_tokens=60)


def one_generate(folder: Path) -> Run:
    """The same by ``generate``."""
    return _theirs("pocket/a", _story(), 60, samples=200)


def smollm2(folder: Path) -> Run:
    """Complete lists, restricted to numbers."""
    return _ours("smollm2-135m", _lists(32, 100, 999), restrict_to="numbers")


def smollm2_generate(folder: Path) -> Run:
    """The same by ``generate``."""
    return _theirs("smollm2-135m", _lists(32, 100, 999), 40, restricted=True)
