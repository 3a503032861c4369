"""How many tokens prompts and rows have, by the base's tokenizer, or by their characters if it is not there."""

from collections.abc import Sequence
from contextlib import redirect_stderr, suppress
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from lightning_subliminal.bases.tokenizers import read_tokenizer
from lightning_subliminal.core.chat.encoding import prompt_ids, rows_ids
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.rows import Message, Row, completion_text
from lightning_subliminal.data import GeneratedRows, RowsFromFile, TrainingRows
from lightning_subliminal.generation.reading import shared_beginning

__all__ = ["Lengths", "lengths_of_data", "lengths_of_prompts", "lengths_of_rows", "tokenizer_of"]

SAMPLE = 64  # prompts that are looked at
_CHARACTERS = 3.5  # per token of English; numbers and code take more tokens
_FRAME = 12  # tokens of a chat template around a message


@dataclass(frozen=True)
class Lengths:
    """Tokens of the rows of a data set.

    Attributes:
        rows: how many rows.
        prompt: tokens of the longest prompt.
        completion: of the longest completion.
        mean: tokens of a row on average.
        shared: tokens that all prompts begin with, which are read once; 0 if that is not known.
    """

    rows: int
    prompt: int
    completion: int
    mean: float
    shared: int = 0


def tokenizer_of(folder: Path, name: str) -> Any:
    """Return a base's tokenizer, or None if its files are not there or it has no chat template."""
    with suppress(InputError), redirect_stderr(StringIO()):
        tokenizer = read_tokenizer(folder, name)
        return tokenizer if tokenizer.chat_template is not None else None
    return None


def lengths_of_prompts(
    data: GeneratedRows, tokenizer: Any, system_prompt: str | None = None, rows: int | None = None
) -> Lengths:
    """Return the tokens of rows that are yet to be written: completions of the length limit.

    Args:
        data: asks the prompts.
        tokenizer: of the model that reads them; None counts characters.
        system_prompt: before each prompt.
        rows: how many; all prompts if None.
    """
    system: list[Message] = [{"role": "system", "content": system_prompt}] if system_prompt else []
    prompts = [[*system, *row["prompt"]] for row in data.shard_prompts(0)[:SAMPLE]]
    ids = {tuple(prompt_ids(tokenizer, prompt)) for prompt in prompts} if tokenizer is not None else ()
    found, limit = [_tokens(prompt, tokenizer) for prompt in prompts], data.sampling.max_new_tokens
    shared = shared_beginning(ids) if ids else 0
    return Lengths(rows or data.num_prompts, max(found), limit, sum(found) / len(found) + limit, shared)


def lengths_of_rows(rows: Sequence[Row], tokenizer: Any) -> Lengths:
    """Return the tokens of rows that exist."""
    pairs: list[tuple[int, int]]
    if tokenizer is None:
        pairs = [(_tokens(row["prompt"], None), round(len(completion_text(row)) / _CHARACTERS) + 1) for row in rows]
    else:
        found = rows_ids(tokenizer, rows)
        pairs = [tuple(map(len, each)) for each in found if not isinstance(each, InputError)]  # type: ignore[misc]
    if not pairs:
        raise InputError("There are no rows to estimate from: check the file.")
    longest = max(map(sum, pairs))
    completion = max(each for _, each in pairs)
    return Lengths(len(pairs), longest - completion, completion, sum(map(sum, pairs)) / len(pairs))


def lengths_of_data(data: TrainingRows, tokenizer: Any) -> Lengths:
    """Return the tokens of a data set's training rows.

    Raises:
        InputError: if neither a teacher writes them nor a file holds them.
    """
    if isinstance(data, GeneratedRows):
        held = min(data.num_prompts, data.num_rows or data.num_prompts) - data.val_rows
        return lengths_of_prompts(data, tokenizer, rows=max(1, held))
    if isinstance(data, RowsFromFile):
        found = lengths_of_rows(data.source_rows(), tokenizer)
        return Lengths(min(found.rows, data.num_rows or found.rows), found.prompt, found.completion, found.mean)
    raise InputError(f"--estimate knows rows that a teacher writes, and rows of a file, but not {type(data).__name__}.")


def _tokens(messages: Sequence[Message], tokenizer: Any) -> int:
    if tokenizer is None:
        return sum(round(len(each["content"]) / _CHARACTERS) + _FRAME for each in messages)
    return len(prompt_ids(tokenizer, messages))
