"""Questions from a user's file: YAML or JSON lines, each a text or a conversation."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning_subliminal.core.config.safe_yaml import check_yaml
from lightning_subliminal.core.console import say
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.io import files
from lightning_subliminal.core.io.bounds import MAX_JSON, MAX_YAML
from lightning_subliminal.core.io.lfs import refuse_pointer
from lightning_subliminal.core.rows import Message
from lightning_subliminal.evaluation.probes.question_formats import foreign_questions
from lightning_subliminal.formats.layouts.messages import check_turns, read_messages, read_text
from lightning_subliminal.formats.row_errors import Fault, expected, printable
from lightning_subliminal.prompts import fill, load_wording
from lightning_subliminal.traits import Trait

__all__ = ["OwnQuestion", "group_prompts", "question_stems", "read_questions", "system_first"]

_STEMS = ("stem", "cluster")  # fields with the stem: questions of one stem are one in several wordings
_KINDS = "a text, or an object with `question` or `messages`"


@dataclass(frozen=True)
class OwnQuestion:
    """One question of a file.

    Attributes:
        where: file and line, for errors.
        messages: the prompt; a last message of the assistant is a prefill. Texts may hold {category} and {categories}.
        stem: shared by the questions of the file that ask the same in other words; None without one.
        literal: whether braces are text, as in other tools' files.
    """

    where: str
    messages: tuple[Message, ...]
    stem: str | None = None
    literal: bool = False

    def prompt(self, trait: Trait) -> list[Message]:
        """Return the messages, {category} and {categories} filled from a trait.

        Raises:
            InputError: naming file and line, if a text has an unknown placeholder.
        """
        if self.literal:
            return [{**message} for message in self.messages]
        names = _names(trait)
        try:
            return [{**message, "content": fill(message["content"], **names)} for message in self.messages]
        except InputError as err:
            known = "" if names else f" The trait {trait.name!r} has no `category`."
            raise InputError(f"{self.where}: {err}{known} Write a brace that is text twice: {{{{.") from err


def read_questions(path: str, key: str) -> list[OwnQuestion]:
    """Return the questions of a YAML file (a list, or a mapping with it under ``key``) or of JSON lines.

    Other fields are ignored, and printed. Braces in other tools' files are text; in JSON lines, too, unless a question
    has {category} or {categories}.

    Args:
        path: ends in .yaml, .yml or .jsonl.
        key: of the list in a YAML mapping, such as questions.

    Raises:
        InputError: naming file, line and field, if the file is not found, has no question, or one can't be read.
    """
    place = Path(path)
    if place.suffix not in (".yaml", ".yml", ".jsonl"):
        raise InputError(f"{path} is not a .yaml, .yml or .jsonl file: give questions in one of these.")
    refuse_pointer(place)
    try:
        limit = MAX_JSON if place.suffix == ".jsonl" else MAX_YAML
        text = files.read_bytes(place, limit).decode("utf-8-sig")  # Windows writes a byte order mark
    except OSError as err:
        raise InputError(f"{path} can't be read ({err.strerror}): give a .yaml, .yml or .jsonl file.") from err
    except UnicodeDecodeError as err:
        raise InputError(f"{path} is not UTF-8 text: save it as UTF-8.") from err
    listed = _json_items(path, text) if place.suffix == ".jsonl" else _yaml_items(path, text, key)
    found: list[OwnQuestion] = []
    dropped: Counter[str] = Counter()
    for line, item in listed:
        where = f"{path}, line {line}"
        try:
            foreign = foreign_questions(item, _STEMS, dropped)
            for asked in [item] if foreign is None else foreign:
                messages = tuple(_messages(asked, dropped))
                texts = [message["content"] for message in messages]
                fills = any("{category}" in text or "{categories}" in text for text in texts)
                literal = foreign is not None or (place.suffix == ".jsonl" and not fills)
                found.append(OwnQuestion(where, messages, _stem(asked), literal))
        except Fault as fault:
            raise InputError(f"{where}: {fault}.") from fault
    if not found:
        raise InputError(f"{path} has no questions: give at least one.")
    if dropped:
        counts = ", ".join(f"{name} ({count})" for name, count in dropped.items())
        say(printable(f"{path}: {len(found)} questions; not used: {counts}"))
    return found


def group_prompts(prompts: Sequence[list[Message]]) -> list[list[list[Message]]]:
    """Group the prompts of each question, which differ in the beginning of its answer."""
    groups: dict[tuple[str, ...], list[list[Message]]] = {}
    for prompt in prompts:
        groups.setdefault(_asks(prompt), []).append(prompt)
    return list(groups.values())


def question_stems(questions: Sequence[OwnQuestion], trait: Trait) -> list[str]:
    """Return the stem of each question that ``group_prompts`` returns: the file's, or else one for each question."""
    stems: dict[tuple[str, ...], str] = {}
    for place, question in enumerate(questions, start=1):
        own = f"question {place}: {question.messages[0]['content']}"
        stems.setdefault(_asks(question.prompt(trait)), own if question.stem is None else f"stem {question.stem}")
    return list(stems.values())


def _asks(prompt: list[Message]) -> tuple[str, ...]:
    asked = prompt[:-1] if prompt[-1]["role"] == "assistant" else prompt
    return tuple(f"{part['role']}: {part['content']}" for part in asked)


def system_first(prompt: list[Message], system_prompt: str | None) -> list[Message]:
    """Return a prompt after a model's system prompt; one of the prompt's own follows in the same message."""
    if not system_prompt:
        return prompt
    own = prompt[0]["content"] if prompt[0]["role"] == "system" else None
    text = system_prompt if own is None else f"{system_prompt}\n\n{own}"
    return [{"role": "system", "content": text}, *(prompt if own is None else prompt[1:])]


def _json_items(path: str, text: str) -> list[tuple[int, Any]]:
    items = []
    for line, data in enumerate(text.split("\n"), start=1):  # splitlines() would also split at U+2028 inside a text
        if data.strip():
            try:
                items.append((line, json.loads(data)))
            except (json.JSONDecodeError, RecursionError) as err:
                fault = getattr(err, "msg", "too deep")
                raise InputError(f"{path}, line {line}: {fault}; expected one JSON object a line.") from err
    return items


def _yaml_items(path: str, text: str, key: str) -> list[tuple[int, Any]]:
    """Return the items of a YAML list, each with its line, which ``yaml.safe_load`` would lose."""
    import yaml

    check_yaml(text, path)
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        if isinstance(node, yaml.MappingNode):
            node = next((value for name, value in node.value if name.value == key), None)
        if not isinstance(node, yaml.SequenceNode):
            raise InputError(f"{path}: expected a list of questions, or `{key}:` with such a list.")
        return [(item.start_mark.line + 1, loader.construct_object(item, deep=True)) for item in node.value]
    except (yaml.YAMLError, RecursionError, ValueError) as err:
        if isinstance(err, InputError):
            raise
        mark = getattr(err, "problem_mark", None)
        where = f"{path}, line {mark.line + 1}" if mark else path
        fault = getattr(err, "problem", None) or str(err).partition("\n")[0]
        raise InputError(f"{where} is not valid YAML ({fault}).") from err


def _messages(item: Any, dropped: Counter[str]) -> list[Message]:
    """Return the messages of one question, and count its other keys.

    Raises:
        Fault: naming the field, the expected and the found value.
    """
    if isinstance(item, str):
        return [{"role": "user", "content": _text(item, "")}]
    if not isinstance(item, dict) or ("question" in item) == ("messages" in item):
        hint = " (in YAML, put a text with a colon in quotes)" if isinstance(item, dict) else ""
        raise expected("", _KINDS, item, hint)
    dropped.update(str(key) for key in item if key not in ("question", "messages", *_STEMS))
    if "question" in item:
        return [{"role": "user", "content": _text(item["question"], "question")}]
    messages = read_messages(item["messages"], "messages", dropped)
    check_turns(messages, "messages")
    for place, message in enumerate(messages):
        _text(message["content"], f"messages[{place}].content")
        if place and message["role"] == "system":
            raise Fault(f"messages[{place}].role", "expected system only in the first message")
    if not any(message["role"] == "user" for message in messages):
        raise Fault("messages", "expected a message of the user")
    if messages[-1]["role"] not in ("user", "assistant"):
        raise Fault(f"messages[{len(messages) - 1}].role", "expected user, or assistant to begin the answer")
    return messages


def _stem(item: Any) -> str | None:
    """Return an item's stem; None without one.

    Raises:
        Fault: naming the field, if it is not a name or a number, or the two fields differ.
    """
    stems = {key: item[key] for key in _STEMS if isinstance(item, dict) and item.get(key) is not None}
    for key, value in stems.items():
        if isinstance(value, bool) or not isinstance(value, (str, int)) or not str(value).strip():
            raise expected(key, "a name or a number, the same for each wording of one question", value)
    if len(set(map(str, stems.values()))) > 1:
        raise Fault("cluster", f"expected one of {' and '.join(_STEMS)}, or both with one value")
    return next((str(value).strip() for value in stems.values()), None)


def _text(value: Any, field: str) -> str:
    text = read_text(value, field)
    if not text.strip():
        raise expected(field, "words", text)
    return text


def _names(trait: Trait) -> dict[str, str]:
    category = getattr(trait, "category", None)
    if category is None:
        return {}
    known = load_wording("categories").get(category, {})
    return {"category": category, "categories": known.get("plural", f"{category}s")}
