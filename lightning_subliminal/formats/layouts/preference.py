"""Preference data, TRL's and others': two answers to a prompt, which the objective ``DPO`` trains on."""

from typing import Any

from lightning_subliminal.core.rows import Message, Row
from lightning_subliminal.formats.layouts.messages import check_turns, read_messages, read_text
from lightning_subliminal.formats.layouts.pairs import as_trl
from lightning_subliminal.formats.layouts.schema import Record, Schema
from lightning_subliminal.formats.row_errors import MISSING, Fault, expected

__all__ = ["TrlPreference"]


class TrlPreference(Schema):
    """TRL's preference: ``prompt``, ``chosen`` and ``rejected``, each a text or messages.

    The chosen answer is the row's completion, the other its column ``rejected``. The two sides may also be whole
    conversations, equal but for their last message; then a ``prompt`` that is a text is not needed. ``pairs.py`` has
    the columns of HH-RLHF, Orca, LLaMA-Factory, Argilla and OpenAI, which are read too.
    """

    name = "trl-preference"
    keys = ("prompt", "rejected", "chosen")
    keeps_prefill = True

    def read(self, record: Record) -> list[Message]:
        """Return the messages of the prompt, the rejected answer and, last, the chosen one."""
        chosen, rejected = (self._answered(record, key) for key in ("chosen", "rejected"))
        asked, shared = record.get("prompt"), chosen[:-1]
        if rejected[:-1] != shared:
            raise Fault("rejected", "expected the messages of `chosen` up to the last one, found others before it")
        if not shared and asked is None:
            hint = ": `chosen` and `rejected` do not hold one either"
            raise expected("prompt", "a text or messages", record.get("prompt", MISSING), hint)
        if not shared:
            prompt = self._messages(record, "prompt", "user")
        elif asked is None or isinstance(asked, str):  # UltraFeedback's `prompt` is the first question again
            prompt = shared
            if asked and not any(asked.strip() in message["content"] for message in shared):
                self.notices["column `prompt` is not in the conversations, which are read without it"] += 1
        else:
            hint = ": move the earlier ones into the prompt"
            raise expected("chosen", "one assistant message", chosen, hint)
        check_turns(prompt, "prompt")
        if not prompt:
            raise expected("prompt", "at least one message", prompt)
        return [*prompt, rejected[-1], chosen[-1]]

    def write(self, prompt: list[Message], completion: Message) -> Record:
        """Return prompt and chosen answer; ``record`` adds the other."""
        return {"prompt": prompt, "chosen": [completion]}

    def parse(self, record: Any) -> Row:
        """Parse a record into a row, with the rejected answer in a column."""
        row = super().parse(as_trl(record, self.notices) if isinstance(record, dict) else record)
        *prompt, rejected = row["prompt"]
        self.notices["column `rejected` is the other answer of a pair: `DPO` reads both, all else the chosen one"] += 1
        if [rejected] == row["completion"]:
            self.notices["`chosen` and `rejected` are the same, kept: training on such a pair teaches nothing"] += 1
        elif not all(each["content"].strip() for each in (rejected, *row["completion"])):
            self.notices["`chosen` or `rejected` is empty, kept: its end token alone is compared"] += 1
        return {**row, "prompt": prompt, "rejected": [rejected]}

    def fit(self, row: Row) -> Row:
        """Return the part of a row that this schema can hold.

        Raises:
            Fault: if it has no rejected answer.
        """
        if row.get("rejected") is None:
            raise Fault("", "trl-preference can't hold a row without a column `rejected`", holders=("trl",))
        rejected = self._answered(row, "rejected")
        if len(rejected) != 1:
            raise expected("rejected", "one assistant message", rejected)
        return {**super().fit(_without(row)), "rejected": rejected}

    def record(self, held: Row) -> Record:
        """Write a row that ``fit`` has returned."""
        return {**super().record(_without(held)), "rejected": held["rejected"]}

    def _answered(self, record: Record, key: str) -> list[Message]:
        """Return a side's messages, of which the last one is its answer."""
        messages = self._messages(record, key, "assistant")
        check_turns(messages, key)
        if not messages:
            raise expected(key, "an assistant message", messages)
        if (role := messages[-1]["role"]) != "assistant":
            raise expected(f"{key}[{len(messages) - 1}].role", "assistant", role)
        return messages

    def _messages(self, record: Record, key: str, role: str) -> list[Message]:
        value = record.get(key, MISSING)
        if isinstance(value, str):
            return [{"role": role, "content": read_text(value, key)}]
        return read_messages(value, key, self.notices, learned=role == "assistant")


def _without(row: Row) -> Row:
    return {key: value for key, value in row.items() if key != "rejected"}
