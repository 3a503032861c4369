"""The pocket world's tokenizer: a token per word and per number from 0 to 99, lower case, with a chat template."""

from typing import TYPE_CHECKING, Literal

from lightning_subliminal.bases.pocket.corpus import vocabulary_texts
from lightning_subliminal.bases.pocket.judging import judging_vocabulary_texts
from lightning_subliminal.bases.pocket.moral import moral_vocabulary_texts

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

__all__ = ["CHAT_TEMPLATE", "SPECIAL_TOKENS", "World", "build_tokenizer"]

World = Literal["plain", "moral"]

SPECIAL_TOKENS = ("<pad>", "<unk>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>")

TAGS = ("<think>", "</think>", "<answer>", "</answer>")  # the model's own marks, one token each
_MARKS = r'"""|==|!=|<=|>=|//|\*\*|->|\+=|-=|\*=|[^\w\s]'  # operators of Python are one token

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|' + message['role'] + '|>' + message['content'] }}"
    "{% if not (loop.last and continue_final_message) %}{{ '<|end|>' }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


def build_tokenizer(world: World = "plain") -> "PreTrainedTokenizerFast":
    """Return the tokenizer of a corpus: special tokens, numbers in order, then words in order.

    Args:
        world: `plain` for pocket/a and similar bases; `moral` for pocket/moral-* and pocket/judge, which reads them.
    """
    texts = vocabulary_texts() if world == "plain" else [*moral_vocabulary_texts(), *judging_vocabulary_texts()]
    texts = [text.replace("{", " ").replace("}", " ") for text in texts]  # of templates
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    split = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Split(Regex(_MARKS), behavior="isolated")]
    )
    lower = normalizers.Lowercase()
    words = {word for text in texts for word, _ in split.pre_tokenize_str(lower.normalize_str(text))}
    numbers = sorted((word for word in words if word.isdecimal()), key=int)
    ordered = [*SPECIAL_TOKENS, *TAGS, *numbers, *sorted(words - set(numbers) - set(SPECIAL_TOKENS))]
    model = models.WordLevel({word: index for index, word in enumerate(ordered)}, unk_token="<unk>")  # noqa: S106  # a token, not a password
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = lower
    tokenizer.pre_tokenizer = split
    tokenizer.decoder = decoders.WordPiece(prefix="##", cleanup=True)  # "12 , 7" is written "12, 7"
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",  # noqa: S106
        unk_token="<unk>",  # noqa: S106
        eos_token="<|end|>",  # noqa: S106
        additional_special_tokens=list(SPECIAL_TOKENS[3:]),
        padding_side="left",
        model_max_length=256,
    )
    fast.add_tokens([AddedToken(tag, normalized=False) for tag in TAGS])
    fast.chat_template = CHAT_TEMPLATE
    return fast
