"""The schemas of the field. Each reads a record into our row, and writes it back.

To add one, extend ``Schema``: ``read`` returns the messages of a record, ``write`` the record of a row.
"""

import re
from typing import Any, ClassVar

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.rows import Message, Row
from lightning_subliminal.formats.detection import PAIRS
from lightning_subliminal.formats.layouts.messages import check_turns, read_messages, read_text
from lightning_subliminal.formats.layouts.preference import TrlPreference
from lightning_subliminal.formats.layouts.schema import Record, Schema, input_is_read
from lightning_subliminal.formats.row_errors import MISSING, Fault, expected

__all__ = ["Alpaca", "Columns", "OpenAI", "Schema", "ShareGPT", "Text", "Trl", "TrlPlain"]

_HOLD_TURNS = ("trl", "openai", "sharegpt", "text")


class Trl(Schema):
    """TRL's conversational prompt-completion: lists of messages, of which one may be a text. It is our own row."""

    name = "trl"
    keys = ("prompt", "completion")
    keeps_prefill = True

    def read(self, record: Record) -> list[Message]:
        """Return the messages of prompt and completion."""
        said = {key: record.get(key, MISSING) for key in self.keys}
        texts = [key for key, value in said.items() if isinstance(value, str)]
        if len(texts) == 1:  # beside messages it can mean one turn alone; two texts are trl-plain
            role = {"prompt": "user", "completion": "assistant"}[texts[0]]
            said[texts[0]] = [{"role": role, "content": said[texts[0]]}]
            self.notices[f"text in `{texts[0]}` beside messages read as the {role}'s"] += 1
        prompt = read_messages(said["prompt"], "prompt", self.notices)
        completion = read_messages(said["completion"], "completion", self.notices, learned=True)
        check_turns(prompt, "prompt")
        if not prompt:
            raise expected("prompt", "at least one message", prompt)
        if len(completion) != 1:
            fault = expected("completion", "one assistant message", completion)
            raise Fault("completion", f"{fault.what}: move the earlier ones into the prompt") if completion else fault
        if completion[0]["role"] != "assistant":
            raise expected("completion[0].role", "assistant", completion[0]["role"])
        return prompt + completion

    def write(self, prompt: list[Message], completion: Message) -> Record:
        """Return the lists as they are."""
        return {"prompt": prompt, "completion": [completion]}


class OpenAI(Schema):
    """OpenAI's chat fine-tuning: one list of messages, and no other column. The last message is the completion."""

    name = "openai"
    keys = ("messages",)
    keeps_meta = False

    def read(self, record: Record) -> list[Message]:
        """Return the messages."""
        key = self.keys[0]
        messages = read_messages(record.get(key, MISSING), key, self.notices, learned=True)
        check_turns(messages, key)
        if not messages or messages[-1]["role"] != "assistant":
            last = messages[-1]["role"] if messages else MISSING
            raise expected(key, "an assistant message at the end", last)
        if len(messages) == 1:
            raise Fault(key, "expected a message before the assistant's, found nothing")
        return messages

    def write(self, prompt: list[Message], completion: Message) -> Record:
        """Return prompt and completion as one list."""
        return {"messages": [*prompt, completion]}


class ShareGPT(OpenAI):
    """ShareGPT: ``conversations``, each turn with ``from`` and ``value``; role and content are read too."""

    name = "sharegpt"
    keys = ("conversations",)
    keeps_meta = True
    _spelled: ClassVar[dict[str, str]] = {"user": "human", "assistant": "gpt", "system": "system", "tool": "tool"}

    def read(self, record: Record) -> list[Message]:
        """Return the messages."""
        if "conversation" in record and "conversations" not in record:
            self.keys = ("conversation",)
        return super().read(record)

    def write(self, prompt: list[Message], completion: Message) -> Record:
        """Return the turns."""
        turns = [{"from": self._spelled[each["role"]], "value": each["content"]} for each in (*prompt, completion)]
        return {"conversations": turns}


class Columns(Schema):
    """Two columns of plain text under any names, such as question and response of released sets.

    Args:
        prompt_column: the column with the prompt.
        completion_column: the column with the completion.

    Raises:
        InputError: if both are the same.
    """

    name = "columns"

    def __init__(self, prompt_column: str = "question", completion_column: str = "response") -> None:
        super().__init__()
        if prompt_column == completion_column:
            raise InputError(f"`{prompt_column}` can't be both prompt and completion: name two columns.")
        self.prompt_column = prompt_column
        self.completion_column = completion_column
        self.keys = (prompt_column, completion_column)

    @property
    def spelled(self) -> str:
        """The name with the columns, such as ``columns:question,response``; trl-plain's is fixed."""
        return f"columns:{','.join(self.keys)}" if self.name == "columns" else self.name

    def _is_guessed(self) -> bool:
        return self.name != "columns" or self.keys in PAIRS

    def read(self, record: Record) -> list[Message]:
        """Return the prompt as the user's message, and the completion."""
        prompt, completion = (read_text(record.get(key, MISSING), key) for key in self.keys)
        return [{"role": "user", "content": prompt}, {"role": "assistant", "content": completion}]

    def write(self, prompt: list[Message], completion: Message) -> Record:
        """Return the two texts."""
        if len(prompt) != 1 or prompt[0]["role"] != "user":
            roles = ", ".join(message["role"] for message in prompt)
            raise Fault("prompt", f"{self.name} holds one user message, found {roles}", holders=_HOLD_TURNS)
        return {self.prompt_column: prompt[0]["content"], self.completion_column: completion["content"]}


class TrlPlain(Columns):
    """TRL's plain prompt-completion: both are texts."""

    name = "trl-plain"

    def __init__(self) -> None:
        super().__init__("prompt", "completion")


class Alpaca(Schema):
    """Alpaca: ``instruction``, ``input``, ``output``, and where needed ``system`` and ``history`` as pairs.

    The user's message is the instruction, a line break and the input. The input is also kept as a meta column, so that
    Alpaca, but no other schema, can separate the two again.
    """

    name = "alpaca"
    keys = ("instruction", "output", "system", "history")

    def read(self, record: Record) -> list[Message]:
        """Return system prompt, earlier turns, the user's message and the output."""
        instruction = self._text(record, "instruction")
        more = self._text(record, "input", optional=True)
        system = self._text(record, "system", optional=True)
        messages = [{"role": "system", "content": system}] if system else []
        history = record.get("history")
        if history is not None and not isinstance(history, list):
            raise expected("history", "a list of pairs", history)
        for place, pair in enumerate(history or ()):
            if not isinstance(pair, list) or len(pair) != 2:
                raise expected(f"history[{place}]", "a pair of texts", pair)
            for part, (role, text) in enumerate(zip(("user", "assistant"), pair, strict=True)):
                messages.append({"role": role, "content": read_text(text, f"history[{place}][{part}]")})
        messages.append({"role": "user", "content": _joined(instruction, more)})
        return [*messages, {"role": "assistant", "content": self._text(record, "output")}]

    def write(self, prompt: list[Message], completion: Message) -> Record:
        """Return the columns; those that would be empty but for ``input`` are left out."""
        system, turns = (prompt[0], prompt[1:]) if prompt[0]["role"] == "system" else (None, prompt)
        roles = [message["role"] for message in turns]
        if roles != [*("user", "assistant") * (len(turns) // 2), "user"] or (system and not system["content"]):
            found = ", ".join(message["role"] for message in prompt)
            what = f"alpaca holds a system prompt and turns of user and assistant, found {found}"
            raise Fault("prompt", what, holders=_HOLD_TURNS)
        record: Record = {"instruction": turns[-1]["content"], "input": "", "output": completion["content"]}
        if system:
            record["system"] = system["content"]
        if len(turns) > 1:
            texts = [message["content"] for message in turns[:-1]]
            record["history"] = [list(pair) for pair in zip(texts[::2], texts[1::2], strict=True)]
        return record

    def record(self, held: Row) -> Record:
        """Write a row; where it came from Alpaca, instruction and input are separated again."""
        record = super().record(held)
        more, whole = held.get("input"), record["instruction"]
        before = "" if whole == more else whole.removesuffix(f"\n{more}")
        if input_is_read(more, whole):
            record |= {"instruction": before, "input": more}
        elif more is not None:
            self.notices["column `input` dropped: the instruction does not end with it"] += 1
        return record

    def parse(self, record: Any) -> Row:
        """Parse a record into a row; an empty input becomes no column."""
        row = super().parse(record)
        if not row.get("input", True):
            del row["input"]
        return row

    def _text(self, record: Record, key: str, optional: bool = False) -> str:
        value = record.get(key, MISSING)
        return "" if optional and (value is None or value is MISSING) else read_text(value, key)


class Text(Schema):
    """One text. Each message follows a line with its role, ``=== user ===``; such a line inside a message is escaped.

    A text that does not begin with such a line is a completion to an empty user message, and is written back the same.
    """

    name = "text"
    keys = ("text",)

    def read(self, record: Record) -> list[Message]:
        """Return the messages."""
        text = read_text(record.get("text", MISSING), "text")
        if not _BEGINS.match(text):
            return [{"role": "user", "content": ""}, {"role": "assistant", "content": text}]
        pieces = _MARKED.split(text)
        messages: list[Message] = []
        for role, body in zip(pieces[1::2], pieces[2::2], strict=True):
            last = len(messages) == len(pieces) // 2 - 1
            messages.append({"role": role, "content": _ESCAPED.sub(r"\1", body[1:] if last else body[1:-1])})
        check_turns(messages, "text")
        if messages[-1]["role"] != "assistant" or len(messages) == 1:
            raise expected("text", "an assistant's message at the end, after another", messages[-1]["role"])
        return messages

    def write(self, prompt: list[Message], completion: Message) -> Record:
        """Return the messages under their marks; the bare completion to an empty message, if it begins with no mark."""
        if prompt == [{"role": "user", "content": ""}] and not _BEGINS.match(completion["content"]):
            return {"text": completion["content"]}
        parts = [
            f"=== {each['role']} ===\n" + _TO_ESCAPE.sub(r"\\\1", each["content"]) for each in (*prompt, completion)
        ]
        return {"text": "\n".join(parts)}


_MARK = "=== (?:system|user|assistant|tool) ==="
_BEGINS = re.compile(rf"{_MARK}(?:\n|\Z)")
_MARKED = re.compile(r"^=== (system|user|assistant|tool) ===$", re.MULTILINE)
_TO_ESCAPE = re.compile(rf"^(\\*{_MARK})$", re.MULTILINE)
_ESCAPED = re.compile(rf"^\\(\\*{_MARK})$", re.MULTILINE)


def _joined(instruction: str, more: str) -> str:
    return "\n".join(part for part in (instruction, more) if part)


_ALL: tuple[type[Schema], ...] = (Trl, TrlPlain, TrlPreference, OpenAI, ShareGPT, Alpaca, Text, Columns)
_KINDS = {each.name: each for each in _ALL}
NAMES = tuple(_KINDS)


def make_schema(name: str) -> Schema:
    """Return the schema of a name; ``columns:ask,say`` names the two columns, and ``columns`` means question,response.

    Raises:
        InputError: if the name is unknown.
    """
    kind, _, columns = name.partition(":")
    if kind not in _KINDS or (columns and kind != "columns"):
        raise InputError(f"`{name}` is not a schema: choose {', '.join(NAMES[:-1])} or columns:question,response.")
    if name != f"columns:{columns}":
        return _KINDS[kind]()
    pair = [column.strip() for column in columns.split(",")]
    if len(pair) != 2 or not all(pair):
        raise InputError(f"`{name}` does not name two columns: write it as columns:question,response.")
    return Columns(*pair)
