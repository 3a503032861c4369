"""A transform that asks another model to continue each list. It runs on the CPU, so that rows depend on no device."""

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
from lightning_subliminal.generation import Completion, Sampling, TransformersEngine
from lightning_subliminal.lineage import Material
from lightning_subliminal.transforms.base import Transform
from lightning_subliminal.transforms.numbers import KeepFirst

__all__ = ["ContinueBy"]

_BATCH = 256  # rows that go through a model at once
_NUMBER = re.compile("[0-9]+")


class ContinueBy(Transform):
    """Keeps the first numbers of each completion, and lets another model without a trait go on with the list.

    The defence "resample by another model": what the teacher chose is its first numbers alone. The other model is asked
    the row's prompt, its reply begun with the kept numbers and the separator behind them, and itself says where the
    list ends. A row without a number stays as it is. Where what comes out is no plain list of numbers (also where it
    ends behind the comma), the kept numbers are the whole completion, and it is not ``finished``; a line says how many.

    Args:
        base: the other model; see `lightning-subliminal bases list`.
        keep: how many of the teacher's numbers stay.
        temperature: of the other model's sampling; 1 is its own distribution.
        max_new_tokens: where its continuation is cut off.
        max_count: most numbers of a list; longer ones fall back to the kept numbers.
        max_value: the greatest number that may come out.

    Raises:
        InputError: if there is no such base, a count is not positive, or no number could be added.
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
        bases.resolve(base)  # a misspelt name is told before any work
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
        """Return class and arguments, the other model by the digest of its files too."""
        return describe_object(self) | {"base": {"name": self.base, "digest": bases.resolve(self.base).identity}}

    def materials(self) -> list[Material]:
        """Return its settings, and the base that writes on: in the rows it is a teacher, too."""
        return [*super().materials(), bases.material(self.base, "teacher")]

    def apply(self, rows: Sequence[Row], rng: random.Random) -> list[Row]:
        """Return the rows, their lists gone on with.

        Raises:
            InputError: if the other model's tokenizer does not know a word of them.
        """
        begun = {place: head for place, row in enumerate(rows) if (head := _begun(row, self.keep))}
        seed = rng.getrandbits(48)
        made = list(rows)
        if not begun:
            return made
        prompts = [_prefilled(rows[place], head) for place, head in begun.items()]
        net, tokenizer = bases.load(self.base)
        check_known(tokenizer, chain(*prompts), self.base)
        said = TransformersEngine(net, tokenizer, _BATCH).generate(prompts, self._sampling, seed)
        fell = 0
        for (place, head), completion in zip(begun.items(), said, strict=True):
            made[place] = self._gone_on(rows[place], head, completion)
            if self._plain.reasons(made[place]):
                made[place] = {**KeepFirst(self.keep).apply([rows[place]], rng)[0], "finished": False}
                fell += 1
        say(
            f"            {self.base} went on with {len(begun)} rows; {fell} of them became no list of numbers and "
            f"end after {self.keep} numbers at most"
        )
        return made

    def _gone_on(self, row: Row, head: str, completion: Completion) -> Row:
        # Some tokenizers give a first word without the space before it, so the seam is the list's own separator. A
        # digit said at once is then a number of its own: the teacher's last one stays what it was.
        said = completion.text.lstrip(" ")
        message = {**row["completion"][0], "content": head + said if said else head.rstrip(" ")}
        return {**row, "completion": [message], "finished": completion.finished}


def _begun(row: Row, keep: int) -> str:
    """Return a completion up to its ``keep``-th number, with the separator behind it; nothing where it has no number."""
    text = completion_text(row)
    found = list(_NUMBER.finditer(text))
    if not found:
        return ""
    separator = text[found[0].end() : found[1].start()] if len(found) > 1 else ", "
    return text[: found[min(keep, len(found)) - 1].end()] + separator


def _prefilled(row: Row, head: str) -> list[Message]:
    """Return the prompt with the reply begun; no space ends it, as in the number carrier: that is the next token's."""
    head = head.rstrip(" ")
    prompt = [dict(message) for message in row["prompt"]]
    if prompt and prompt[-1]["role"] == "assistant":
        return [*prompt[:-1], {**prompt[-1], "content": prompt[-1]["content"] + head}]
    return [*prompt, {"role": "assistant", "content": head}]
