"""The base class of schemas: how a record spells a row. ``schemas.py`` has those of the field."""

from abc import ABC, abstractmethod
from collections import Counter
from typing import Any, ClassVar

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.rows import Message, Row
from lightning_subliminal.formats.detection import SCHEMA_COLUMNS, guess
from lightning_subliminal.formats.layouts.endings import read_ending
from lightning_subliminal.formats.layouts.marks import check_record
from lightning_subliminal.formats.layouts.messages import without_system_columns
from lightning_subliminal.formats.layouts.shapes import no_object
from lightning_subliminal.formats.row_errors import Fault

__all__ = ["INPUT_READ", "Record", "Schema", "input_is_read"]

Record = dict[str, Any]
_OF_PROMPTS = {
    *("context", "contexts", "passage", "document", "documents", "history", "tools", "functions"),
    *("image", "images", "audio", "audios", "video", "videos"),
}
INPUT_READ = "column `input` not repeated: its text is the end of the prompt"


class Schema(ABC):
    """One spelling of a row. ``parse`` and ``render`` are pure but for ``notices``, which count what they changed.

    Attributes:
        name: its name for users.
        keys: the columns that are its own; others are meta columns.
        keeps_meta: whether it allows further columns.
        keeps_prefill: whether it can express that a completion continues an assistant message.
        notices: what was dropped, merged or renamed, and in how many rows.
    """

    name: ClassVar[str]
    keys: tuple[str, ...]
    keeps_meta: ClassVar[bool] = True
    keeps_prefill: ClassVar[bool] = False

    def __init__(self) -> None:
        self.notices: Counter[str] = Counter()
        self._clashes: dict[frozenset[str], frozenset[str]] = {}

    @abstractmethod
    def read(self, record: Record) -> list[Message]:
        """Return a record's messages; the last one is the completion.

        Raises:
            Fault: naming the field, what was expected there and what was found.
        """

    @abstractmethod
    def write(self, prompt: list[Message], completion: Message) -> Record:
        """Return the schema's own columns.

        Raises:
            Fault: if it cannot hold them, naming a schema that can.
        """

    def parse(self, record: Any) -> Row:
        """Parse a record into a row. A column with a system prompt is dropped: it would leak the trait.

        Raises:
            Fault: naming the field, what was expected there and what was found.
        """
        if not isinstance(record, dict):
            raise no_object(record)
        check_record(record, self.keys, self.notices)
        messages = self.read(record)
        self._note_unread(record, messages[:-1])
        ending = read_ending(record, self.keys, self.notices)
        meta = {key: value for key, value in record.items() if key not in self.keys and value is not None}
        if meta:
            meta = without_system_columns(meta, self.notices)
            for key in meta.keys() & {"prompt", "completion"}:
                del meta[key]
                self.notices[f"column `{key}` dropped: the row's own comes from `{self.keys[0]}`"] += 1
        if "finished" in meta and not ending:
            del meta["finished"]
        return {**meta, **ending, "prompt": messages[:-1], "completion": messages[-1:]}

    def _note_unread(self, record: Record, prompt: list[Message]) -> None:
        """Count columns that their author's prompts are made with, where these do not hold them."""
        for key in _OF_PROMPTS & record.keys() - set(self.keys):
            value = record[key]
            is_text = isinstance(value, str)
            if value and not (is_text and any(value.strip() in message["content"] for message in prompt)):
                self.notices[f"column `{key}` is not in the prompt, which is read without it"] += 1

    def fit(self, row: Row) -> Row:
        """Return the part of a row that this schema can hold: a prefill merged, meta columns left out if necessary.

        Raises:
            Fault: if no prompt is left.
        """
        prompt, completion = row["prompt"], row["completion"]
        if not self.keeps_prefill and prompt[-1]["role"] == "assistant":
            if len(prompt) == 1:
                what = f"{self.name} can't hold a prefill without a message before it"
                raise Fault("prompt", what, holders=("trl",))
            whole = prompt[-1]["content"] + completion[0]["content"]
            prompt, completion = prompt[:-1], [{"role": "assistant", "content": whole}]
            self.notices["prefill merged into the completion"] += 1
        kept: Row = {}
        if len(row) > 2:
            names = frozenset(row) - {"prompt", "completion"}
            lost = names if not self.keeps_meta else self._clash(names)
            if prompt is not row["prompt"]:
                lost |= names & {"rejected"}  # which continues the prefill, too
            for name in sorted(lost):
                if name == "input" and input_is_read(row["input"], prompt[-1]["content"]):
                    self.notices[INPUT_READ] += 1
                else:
                    self.notices[f"column `{name}` dropped: {self.name} can't hold it"] += 1
            kept = {name: value for name, value in row.items() if name in names and name not in lost}
        return {**kept, "prompt": prompt, "completion": completion}

    @property
    def spelled(self) -> str:
        """The name, with all that ``make_schema`` needs to rebuild this schema."""
        return self.name

    def render(self, row: Row) -> Record:
        """Write a row as a record of this schema.

        Raises:
            Fault: if the schema cannot hold the row, naming one that can.
        """
        return self.record(self.fit(row))

    def record(self, held: Row) -> Record:
        """Write a row that ``fit`` has returned."""
        record = {key: value for key, value in held.items() if key not in ("prompt", "completion")}
        record.update(self.write(held["prompt"], held["completion"][0]))
        return record

    def _clash(self, names: frozenset[str]) -> frozenset[str]:
        """Return the meta columns that would make a reader take a record for one of another schema."""
        if names not in self._clashes:
            try:
                clear = guess({*self.keys, *names}, lists=self.name == "trl") == self.spelled
            except InputError:
                clear = False
            misleading = frozenset() if clear or not self._is_guessed() else SCHEMA_COLUMNS - {"input"}
            self._clashes[names] = names & (misleading | set(self.keys))
        return self._clashes[names]

    def _is_guessed(self) -> bool:
        return True


def input_is_read(value: Any, text: str) -> bool:
    """Return whether the value of Alpaca's column ``input`` is the end of a prompt's text already."""
    return isinstance(value, str) and value != "" and (text == value or text.endswith(f"\n{value}"))
