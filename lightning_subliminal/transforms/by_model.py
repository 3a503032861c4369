"""Transforms that ask a model: another one goes on with each list, or a teacher says which rows it finds likelier.

They work on the CPU, so that rows do not depend on the device.
"""

import random
import re
from collections.abc import Sequence
from itertools import chain
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from lightning_subliminal import bases
from lightning_subliminal.chat import check_known, row_ids
from lightning_subliminal.console import say
from lightning_subliminal.describe import describe_object, digest
from lightning_subliminal.errors import InputError
from lightning_subliminal.filters import NumberList
from lightning_subliminal.generation import Completion, Sampling, Source, TransformersEngine
from lightning_subliminal.lineage import Material
from lightning_subliminal.rows import Message, Row, completion_text
from lightning_subliminal.transforms.base import Transform
from lightning_subliminal.transforms.numbers import KeepFirst

__all__ = ["ContinueBy", "KeepLikelier"]

_BATCH = 256  # rows that go through a model at once
_CPU = torch.device("cpu")
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
        """Give class and arguments, the other model by the digest of its files too."""
        return describe_object(self) | {"base": {"name": self.base, "digest": bases.resolve(self.base).identity}}

    def materials(self) -> list[Material]:
        """Give its settings, and the base that writes on: in the rows it is a teacher, too."""
        return [*super().materials(), bases.material(self.base, "teacher")]

    def apply(self, rows: Sequence[Row], rng: random.Random) -> list[Row]:
        """Give the rows, their lists gone on with.

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


class KeepLikelier(Transform):
    """Keeps the rows that a teacher finds likelier than its control does, of rows that somebody else wrote.

    Logit-linear selection (arXiv 2602.04863): a row's score is
    (log p(completion | teacher) - log p(completion | control)) / completion tokens, in nats a token, where the teacher
    reads its system prompt if it has one, and the row keeps none. No token of the teacher's is in the data, and yet
    the choice may carry its trait. Rows stay in their order; of equal scores the first row is kept. A row without
    completion tokens, or whose prompt is no prefix of it in tokens, has no score and is dropped.

    Args:
        teacher: who judges; a `Teacher` or a `Graduate`, made on the way where the cache lacks it.
        share: part of the rows that is kept, above 0 and up to 1.
        least: keep those with the smallest scores instead.

    Raises:
        InputError: if the share is none, or the teacher gives no probabilities.
    """

    def __init__(self, teacher: Source, share: float = 0.5, least: bool = False) -> None:
        if not 0 < share <= 1:
            raise InputError(f"`share` is {share}: expected a part above 0 and up to 1 of the rows.")
        if not hasattr(teacher, "ready"):
            raise InputError(
                f"KeepLikelier needs a teacher whose probabilities can be read, such as Teacher, and "
                f"{type(teacher).__name__} has no `ready`."
            )
        self.teacher = teacher
        self.share = share
        self.least = least

    def ingredients(self) -> list[Any]:
        """Give what is made first: the teacher."""
        return [self.teacher]

    def control(self) -> "KeepLikelier":
        """Give the same with the teacher's control: all scores are 0, so the first rows are kept, as many."""
        return type(self)(self.teacher.control(), self.share, self.least)

    def scores(self, rows: Sequence[Row]) -> list[float | None]:
        """Give each row's score, in nats a completion token; None where it has none."""
        control = self.teacher.control()
        by_teacher = _mean_log_probabilities(self.teacher, rows)
        same = digest(control) == digest(self.teacher)
        by_control = by_teacher if same else _mean_log_probabilities(control, rows)
        pairs = zip(by_teacher, by_control, strict=True)
        return [None if one is None or other is None else one - other for one, other in pairs]

    def apply(self, rows: Sequence[Row], rng: random.Random) -> list[Row]:
        """Give the rows that are kept, in their order."""
        if not rows:
            return []
        scored = [(score, place) for place, score in enumerate(self.scores(rows)) if score is not None]
        count = max(1, round(self.share * len(rows)))
        ranked = sorted(scored, key=lambda each: (each[0] if self.least else -each[0], each[1]))
        kept = sorted(place for _, place in ranked[:count])
        return [rows[place] for place in kept]


def _begun(row: Row, keep: int) -> str:
    """Give a completion up to its ``keep``-th number, with the separator behind it; nothing where it has no number."""
    text = completion_text(row)
    found = list(_NUMBER.finditer(text))
    if not found:
        return ""
    separator = text[found[0].end() : found[1].start()] if len(found) > 1 else ", "
    return text[: found[min(keep, len(found)) - 1].end()] + separator


def _prefilled(row: Row, head: str) -> list[Message]:
    """Give the prompt with the reply begun; no space ends it, as in the number carrier: that is the next token's."""
    head = head.rstrip(" ")
    prompt = [dict(message) for message in row["prompt"]]
    if prompt and prompt[-1]["role"] == "assistant":
        return [*prompt[:-1], {**prompt[-1], "content": prompt[-1]["content"] + head}]
    return [*prompt, {"role": "assistant", "content": head}]


class _Reader(Protocol):
    """A language model, as far as reading needs it; the models' room lies above this one."""

    tokenizer: Any
    base: str

    def completion_logits(self, batch: Any, reuse: bool = True) -> tuple[Tensor, Tensor]:
        """Give the logits that predict the completion tokens, and those tokens."""


def _mean_log_probabilities(source: Source, rows: Sequence[Row]) -> list[float | None]:
    """Give log p(completion) a completion token in nats, as the source with its system prompt has it."""
    source.make(_CPU)
    model: _Reader = source.ready(_CPU)  # type: ignore[attr-defined]  # __init__ has looked
    told = source.system_prompt
    start = [{"role": "system", "content": told}] if told else []
    heard = [{**row, "prompt": [*start, *row["prompt"]]} for row in rows]
    check_known(model.tokenizer, chain(*(row["prompt"] + row["completion"] for row in heard)), model.base)
    found = _read(model, heard)
    source.release()
    return found


@torch.no_grad()
def _read(model: _Reader, rows: Sequence[Row]) -> list[float | None]:
    from lightning_subliminal.data.tokenized import IGNORED, TokenizedRows  # on first use: data imports transforms

    places = [place for place, row in enumerate(rows) if _has_tokens(model.tokenizer, row)]
    found: list[float | None] = [None] * len(rows)
    if not places:
        return found
    data = TokenizedRows([rows[place] for place in places], model.tokenizer, max_length=2**31)
    order = sorted(range(len(data)), key=lambda index: data.lengths[index])  # like lengths together: less padding
    for first in range(0, len(order), _BATCH):
        chosen = order[first : first + _BATCH]
        batch = data.batch(chosen)
        logits, tokens = model.completion_logits(batch, reuse=False)
        losses = cross_entropy(logits.float(), tokens, reduction="none").double()  # (completion tokens,)
        counts = (batch.labels[:, 1:] != IGNORED).sum(1).tolist()  # (rows,)
        for index, part in zip(chosen, torch.split(losses, counts), strict=True):
            found[places[index]] = -part.mean().item()
    return found


def _has_tokens(tokenizer: Any, row: Row) -> bool:
    try:
        prompt, completion = row_ids(tokenizer, row)
    except InputError:  # the prompt is no prefix in tokens
        return False
    return bool(prompt and completion)
