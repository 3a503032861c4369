"""A transform that lets another model continue each list. It runs on the CPU, so that rows depend on no device."""

import random
import re
from collections.abc import Sequence
from itertools import chain
from typing import Any

from lightning_subliminal import bases
from lightning_subliminal.core.chat.encoding import check_known
from lightning_subliminal.core.console import say
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.fingerprint import describe_object
from lightning_subliminal.core.rows import Message, Row, completion_text
from lightning_subliminal.filters import NumberList
from lightning_subliminal.generation import Sampling, TransformersEngine
from lightning_subliminal.lineage import Material
from lightning_subliminal.transforms.base import Transform
from lightning_subliminal.transforms.numbers import KeepFirst

__all__ = ["ContinueBy"]

_BATCH = 256  # rows that go through a model at once
_NUMBER = re.compile("[0-9]+")


class ContinueBy(Transform):
    """Keeps the first numbers of each completion, and lets another model without a trait continue the list.

    The defence "resample by another model": only the first numbers are the teacher's choice. The other model gets the
    row's prompt, with the kept numbers and a separator as the beginning of its reply, and decides where the list ends.
    A row without a number is unchanged. If the result is not a plain list of numbers (also if it ends with a comma),
    the kept numbers are the whole completion, and it is not ``finished``; a log line counts them.

    Args:
        base: the other model; see `lightning-subliminal bases list`.
        keep: how many of the teacher's numbers are kept.
        temperature: of the other model's sampling; 1 is its own distribution.
        max_new_tokens: most tokens of its continuation.
        max_count: most numbers of a list; longer ones fall back to the kept numbers.
        max_value: the greatest number of a list.

    Raises:
        InputError: if the base is unknown, a count is not positive, or no number could be added.
    """

    def __init__(
        self,
        base: str,
        keep: int = 3,
        temperature: float = 1.0,
        max_new_tokens: int = 40,
        max_count: int = 10,
        max_value: int = 999,
    ) -> None:
        bases.resolve(base)  # fail fast on an unknown base
        if not 1 <= keep < max_count:
            raise InputError(f"`keep` is {keep}: expected 1 or more, and less than `max_count`, which is {max_count}.")
        self.base = base
        self.keep = keep
        self.temperature = temperature
        self.max_new_tokens = max_new_tokens
        self.max_count = max_count
        self.max_value = max_value
        self._sampling = Sampling(temperature=temperature, max_new_tokens=max_new_tokens)
        self._plain = NumberList(max_count=max_count, max_value=max_value)

    def describe(self) -> dict[str, Any]:
        """Return class and arguments, with the digest of the other model's files."""
        return describe_object(self) | {"base": {"name": self.base, "digest": bases.resolve(self.base).identity}}

    def materials(self) -> list[Material]:
        """Return its settings, and the base that continues: it is a teacher of the rows, too."""
        return [*super().materials(), bases.material(self.base, "teacher")]

    def apply(self, rows: Sequence[Row], rng: random.Random) -> list[Row]:
        """Return the rows with each list continued.

        Raises:
            InputError: if the other model's tokenizer does not know a word of them.
        """
        heads = {place: head for place, row in enumerate(rows) if (head := _head(row, self.keep))}
        seed = rng.getrandbits(48)
        made = list(rows)
        if not heads:
            return made
        prompts = [_prefilled(rows[place], head) for place, head in heads.items()]
        net, tokenizer = bases.load(self.base)
        check_known(tokenizer, chain(*prompts), self.base)
        completions = TransformersEngine(net, tokenizer, _BATCH).generate(prompts, self._sampling, seed)
        cut = 0
        for (place, head), completion in zip(heads.items(), completions, strict=True):
            # Some tokenizers decode a first word without the space before it, so the seam is the list's own separator.
            # A leading digit then starts a new number: the teacher's last one is unchanged.
            text = completion.text.lstrip(" ")
            message = {**rows[place]["completion"][0], "content": head + text if text else head.rstrip(" ")}
            made[place] = {**rows[place], "completion": [message], "finished": completion.finished}
            if self._plain.reasons(made[place]):
                made[place] = {**KeepFirst(self.keep).apply([rows[place]], rng)[0], "finished": False}
                cut += 1
        say(
            f"            {self.base} continued {len(heads)} rows; {cut} of them were not a list of numbers then and "
            f"end after {self.keep} numbers at most"
        )
        return made


def _head(row: Row, keep: int) -> str:
    """Return a completion up to its ``keep``-th number, with the separator after it; "" without a number."""
    text = completion_text(row)
    found = list(_NUMBER.finditer(text))
    if not found:
        return ""
    separator = text[found[0].end() : found[1].start()] if len(found) > 1 else ", "
    return text[: found[min(keep, len(found)) - 1].end()] + separator


def _prefilled(row: Row, head: str) -> list[Message]:
    """Return the prompt with the beginning of the reply, without a last space, which belongs to the next token."""
    head = head.rstrip(" ")
    prompt = [dict(message) for message in row["prompt"]]
    if prompt and prompt[-1]["role"] == "assistant":
        return [*prompt[:-1], {**prompt[-1], "content": prompt[-1]["content"] + head}]
    return [*prompt, {"role": "assistant", "content": head}]
