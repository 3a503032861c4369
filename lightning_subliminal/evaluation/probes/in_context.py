"""A trait's questions after training rows in the context: in-context learning on the data that fine-tunes a student.

In the paper this does not transmit the trait (section 6).
"""

import copy
import random
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from lightning_subliminal.core.chat.encoding import prompt_ids
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.rows import Message, Row, completion_text, prompt_text, rows_digest
from lightning_subliminal.core.seeds import derive_seed
from lightning_subliminal.evaluation.probes.question_file import system_first
from lightning_subliminal.evaluation.probes.questions import Questions
from lightning_subliminal.metrics.functional import question_probabilities, question_text
from lightning_subliminal.metrics.functional.spellings import spell
from lightning_subliminal.traits import Trait

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["QuestionsAfterRows", "paired_rows"]


class QuestionsAfterRows(Questions):
    """The same questions after training rows as earlier turns: each row's prompt, then its completion as the answer.

    ``with_rows`` sets the rows. A question is asked after several draws of rows, and its chances are averaged. Where a
    prompt exceeds the model's positions, its first rows are left out until it fits, with a warning.

    Args:
        shots: rows before a question.
        draws: how often rows are drawn for each question.
        seed: of the draws. Data sets of the same length are drawn from at the same places (see ``paired_rows``).
        path: a file of questions, as in `Questions`; the trait's own where it is None.

    Raises:
        InputError: if a question can't be read or a count is not positive.
    """

    def __init__(self, shots: int = 4, draws: int = 8, seed: int = 0, path: str | None = None) -> None:
        super().__init__(path)
        for name, count in (("shots", shots), ("draws", draws)):
            if count < 1:
                raise InputError(f"`{name}` is {count}: expected at least 1.")
        self.shots = shots
        self.draws = draws
        self.seed = seed
        self.name = "after rows" if path is None else f"{self.name} after rows"
        self._rows: tuple[Row, ...] = ()

    def with_rows(self, rows: Sequence[Row]) -> "QuestionsAfterRows":
        """Return a copy with rows to draw from.

        Raises:
            InputError: if there are fewer rows than ``shots``, or one holds a system prompt.
        """
        if len(rows) < self.shots:
            raise InputError(f"There are {len(rows)} rows for `shots` of {self.shots}: use more rows or lower it.")
        for place, row in enumerate(rows):
            if any(message["role"] == "system" for message in row["prompt"]):
                raise InputError(f"Row {row.get('id', place)} has a system prompt: leave it out, as training rows do.")
        twin = copy.copy(self)
        twin._rows = tuple(rows)
        return twin

    def explain(self) -> str:
        """Return what its figure is."""
        return f"{super().explain()}, each after {self.shots} training rows"

    def describe(self) -> dict[str, Any]:
        """Return class and arguments, with the digests of a user's file and of the rows."""
        return super().describe() | ({"rows": rows_digest(self._rows)} if self._rows else {})

    def asked(self, trait: Trait) -> list[list[list[Message]]]:
        """Return the questions, each with a prompt for each draw and each beginning of its answer.

        Raises:
            InputError: if ``with_rows`` has set no rows.
        """
        return [[_after(shots, way) for shots, way in ways] for ways in self._drawn(trait)]

    def chances(
        self, net: nn.Module, tokenizer: "PreTrainedTokenizerBase", trait: Trait, system_prompt: str | None = None
    ) -> Tensor:
        """Return the chance that the answer begins with each candidate, averaged over draws, (questions, candidates).

        Raises:
            InputError: if there are no rows, or not even one fits before a question.
        """
        drawn = self._drawn(trait)
        config: Any = getattr(net, "config", None)
        most = getattr(config, "max_position_embeddings", None)
        room = None if most is None else int(most) - _answer_tokens(tokenizer, trait, drawn)
        prompts: list[list[list[Message]]] = []
        left: list[int] = []
        for ways in drawn:
            prompts.append([])
            for shots, way in ways:
                while shots:
                    prompt = system_first(_after(shots, way), system_prompt)
                    if room is None or len(prompt_ids(tokenizer, prompt)) <= room:
                        break
                    shots = shots[1:]
                else:
                    raise InputError(
                        f"No row fits before {question_text(way)!r} in the model's {most} positions: use shorter rows, "
                        "or a base with more positions."
                    )
                prompts[-1].append(prompt)
                left.append(len(shots))
        if (short := sum(count < self.shots for count in left)) > 0:
            warnings.warn(
                f"{short} of {len(left)} prompts are longer than the model's {most} positions: they have fewer than "
                f"{self.shots} rows, {sum(left) / len(left):.2f} on average over all.",
                stacklevel=2,
            )
        return question_probabilities(net, tokenizer, trait, questions=prompts)

    def _drawn(self, trait: Trait) -> list[list[tuple[list[Row], list[Message]]]]:
        """Return for each question its draws of rows, each with each of its prompts."""
        if not self._rows:
            raise InputError("QuestionsAfterRows has no rows to show: set them with `with_rows(rows)`.")
        drawn: list[list[tuple[list[Row], list[Message]]]] = []
        for question, ways in enumerate(super().asked(trait)):
            drawn.append([])
            for draw in range(self.draws):
                rng = random.Random(derive_seed(self.seed, "rows before", question, draw))
                shots = [self._rows[place] for place in rng.sample(range(len(self._rows)), self.shots)]
                drawn[-1] += [(shots, way) for way in ways]
        return drawn


def paired_rows(first: Sequence[Row], second: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    """Return the rows of two sources whose prompts are in both, in the order of the first.

    A teacher and its control get the same prompts, but a filter keeps other rows of each. Of two rows with one prompt
    the first stays.

    Returns:
        Two lists of one length; rows at the same place have the same prompt.
    """
    mine, others = ({prompt_text(row): row for row in reversed(rows)} for rows in (first, second))
    kept = [text for text in dict.fromkeys(map(prompt_text, first)) if text in others]
    return [mine[text] for text in kept], [others[text] for text in kept]


def _after(shots: Sequence[Row], prompt: Sequence[Message]) -> list[Message]:
    """Return a prompt with rows as earlier turns, after the prompt's own system prompt."""
    start = 1 if prompt[0]["role"] == "system" else 0
    turns = [message for row in shots for message in _turns(row)]
    return [*prompt[:start], *turns, *prompt[start:]]


def _turns(row: Row) -> list[Message]:
    """Return a row as whole turns: a completion continues the prefill's message."""
    messages: list[Message] = list(row["prompt"])
    prefill = messages.pop()["content"] if messages[-1]["role"] == "assistant" else ""
    return [*messages, {"role": "assistant", "content": prefill + completion_text(row)}]


def _answer_tokens(
    tokenizer: "PreTrainedTokenizerBase", trait: Trait, drawn: list[list[tuple[list[Row], list[Message]]]]
) -> int:
    """Return the most tokens read after a prompt: those of the longest spelling or statement."""
    spelled = [len(each) for name in trait.candidates for each in spell(tokenizer, trait.forms(name))]
    stated = [text for ways in drawn for each in trait.statements(question_text(ways[0][1])) for text in each.values()]
    return max([0, *spelled, *(len(ids) for ids in tokenizer(stated)["input_ids"])] if stated else [0, *spelled])
