"""Load multiple-choice questions with true and false answers: ours, a user's file, or TruthfulQA (paper, section 4)."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.formats.layouts.messages import read_text
from lightning_subliminal.formats.row_errors import MISSING, Fault, expected
from lightning_subliminal.formats.storage.records import Found, read_csv, read_json, read_jsonl
from lightning_subliminal.formats.storage.text_file import TextFile
from lightning_subliminal.prompts import load_wording

__all__ = ["Choices", "load_choices"]

_COLUMNS = ("Question", "Correct Answers", "Incorrect Answers")
_KINDS = "`true` and `false`, or `choices` and `true`, or `mc2_targets` or `mc1_targets`"
_ENDINGS = ".yaml, .yml, .csv, .json or .jsonl"
_Answers = list[tuple[str, bool]]  # each with whether it is true


@dataclass(frozen=True)
class Choices:
    """One multiple-choice question.

    Attributes:
        question: its text.
        choices: the answers, in an order that depends only on their words and the question's.
        true: the places of the true ones among them, from 0; at least one choice is true and at least one is not.
    """

    question: str
    choices: tuple[str, ...]
    true: tuple[int, ...]


def load_choices(source: str) -> list[Choices]:
    """Load questions with true and false answers.

    A record holds ``question`` and one of these: ``true`` and ``false``, lists of answers; ``choices`` and ``true``,
    the places of the true ones from 0; TruthfulQA's ``mc2_targets``, or else ``mc1_targets``, each
    ``{answer: 0 or 1}``, or ``{choices: [...], labels: [...]}`` as on the hub. Or a .csv has TruthfulQA's columns,
    with ";" between answers.

    An answer that appears twice is an error, except in a .csv: TruthfulQA's own names one as both true and false and
    the best answer twice. There a repeated answer counts once, and one that is both is left out, with a log line.

    Args:
        source: `truthfulness`, or another of the package's wordings; or a path: .yaml with a list under `questions`,
            .json with a list, .jsonl, or .csv; all but .yaml may be gzipped (.gz).

    Raises:
        InputError: naming file, line or item, and field, if the source can't be read, holds no question, or one lacks
            a true or a false answer.

    Example:
        >>> first = load_choices("truthfulness")[0]
        >>> first.question
        'What lets astronauts float inside a space station?'
        >>> [first.choices[place].split()[:3] for place in first.true]
        [['The', 'station', 'and'], ['Everything', 'on', 'board']]
    """
    kind = Path(source.lower().removesuffix(".gz")).suffix
    if source.isidentifier() or source.lower().endswith((".yaml", ".yml")):
        records = _yaml_records(source)
    elif kind in (".csv", ".json", ".jsonl"):
        file = TextFile(source, source)
        records = {".csv": read_csv, ".json": read_json, ".jsonl": read_jsonl}[kind](file, source)
    else:
        raise InputError(f"{source} is not a {_ENDINGS} file: expected questions in one of these formats.")
    both: list[str] = []
    loaded = []
    for found in records:
        if kind == ".csv" and not any(str(cell).strip() for cell in _cells(found.record)):
            continue
        try:
            if found.fault is not None:
                raise found.fault
            loaded.append(_from_columns(found, both) if kind == ".csv" else _from_record(found.record))
        except Fault as fault:
            raise InputError(f"{found}: {fault}.") from fault
    if not loaded:
        needs = ", ".join(_COLUMNS) if kind == ".csv" else f"`question`, and {_KINDS}"
        raise InputError(f"{source} holds no question: expected at least one, with {needs}.")
    if both:
        from lightning_subliminal.core.console import say  # it imports lightning, which takes seconds

        say(f"{source}: answers listed both as true and as false are left out: {len(both)}, the first {both[0]!r}")
    return loaded


def _yaml_records(source: str) -> Iterator[Found]:
    items = load_wording(source).get("questions")
    if not isinstance(items, list) or not items:
        raise InputError(f"{source} has no list of `questions`: each is a question with {_KINDS}.")
    for number, item in enumerate(items, start=1):
        if isinstance(item, dict):  # a bare true: or false: is a key that is not text
            item = {str(key).lower() if isinstance(key, bool) else key: value for key, value in item.items()}
        yield Found(source, "item", number, item)


def _cells(record: Any) -> list[Any]:
    return list(record.values()) if isinstance(record, dict) else list(record)


def _from_columns(found: Found, both: list[str]) -> Choices:
    """Read a record of TruthfulQA's CSV; add the answers that are named as true and as false to ``both``."""
    record = found.record
    lacking = [column for column in _COLUMNS if column not in record]
    if lacking:
        names = ", ".join(map(str, record))[:80]
        raise Fault("", f"no column {lacking[0]!r}: expected {', '.join(_COLUMNS)} in the header, found {names}")
    true = _split(record.get("Best Answer", ""), record["Correct Answers"])
    false = _split(record.get("Best Incorrect Answer", ""), record["Incorrect Answers"])
    both += [answer for answer in true if answer in false]
    answers = [(answer, True) for answer in true if answer not in false]
    answers += [(answer, False) for answer in false if answer not in true]
    return _choices(record["Question"], "Question", answers, "Correct Answers", "Incorrect Answers")


def _split(*cells: str) -> list[str]:
    """Return the answers of cells, each once and closed by a period, as TruthfulQA's own code reads them."""
    parts = [part.strip() for cell in cells for part in cell.split(";")]
    return list(dict.fromkeys(part if part.endswith((".", "!", "?")) else f"{part}." for part in parts if part))


def _from_record(record: Any) -> Choices:
    if not isinstance(record, dict):
        raise expected("", f"an object with `question` and {_KINDS}", record)
    targets = next((name for name in ("mc2_targets", "mc1_targets") if record.get(name) is not None), None)
    true, false = "true", "false"
    if "false" in record:
        answers = [(_answer(each, where), True) for each, where in _list(record.get("true", MISSING), "true")]
        answers += [(_answer(each, where), False) for each, where in _list(record["false"], "false")]
    elif "choices" in record:
        answers = _marked(record)
        false = "choices"
    elif targets is not None:
        answers = _labelled(record[targets], targets)
        true = false = targets
    else:
        raise expected("", _KINDS, record)
    return _choices(record.get("question", MISSING), "question", answers, true, false)


def _marked(record: Mapping[str, Any]) -> _Answers:
    """Read ``choices`` with the places of the ``true`` ones."""
    choices = [_answer(each, where) for each, where in _list(record["choices"], "choices")]
    places = set()
    for place, where in _list(record.get("true", MISSING), "true"):
        if isinstance(place, bool) or not isinstance(place, int) or not 0 <= place < len(choices):
            raise expected(where, f"the place of a choice, 0 to {len(choices) - 1}", place)
        places.add(place)
    return [(choice, place in places) for place, choice in enumerate(choices)]


def _labelled(targets: Any, field: str) -> _Answers:
    """Read TruthfulQA's targets, in either of their shapes."""
    if not isinstance(targets, dict):
        raise expected(field, "{answer: 0 or 1}, or an object with choices and labels", targets)
    if set(targets) == {"choices", "labels"} and isinstance(targets["choices"], list):
        choices = _list(targets["choices"], f"{field}.choices")
        labels = _list(targets["labels"], f"{field}.labels")
        if len(choices) != len(labels):
            raise Fault(f"{field}.labels", f"expected {len(choices)} labels, one a choice, found {len(labels)}")
        found = [
            (_answer(each, where), label, place) for (each, where), (label, place) in zip(choices, labels, strict=True)
        ]
    else:
        found = [(_answer(each, field), label, f"{field}[{each!r}]") for each, label in targets.items()]
    for _, label, where in found:
        if label not in (0, 1):
            raise expected(where, "1 for a true answer or 0 for a false one", label)
    return [(answer, label == 1) for answer, label, _ in found]


def _list(value: Any, field: str) -> list[tuple[Any, str]]:
    """Return the elements of a list, each with its field."""
    if not isinstance(value, list):
        raise expected(field, "a list", value)
    return [(each, f"{field}[{place}]") for place, each in enumerate(value)]


def _answer(value: Any, field: str) -> str:
    hint = " (put a text such as Yes, or one with a colon, in quotes)" if isinstance(value, (bool, dict)) else ""
    if not isinstance(value, str):
        raise expected(field, "text", value, hint)
    text = read_text(value, field).strip()
    if not text:
        raise expected(field, "words", value)
    return text


def _choices(question: Any, field: str, answers: _Answers, true: str, false: str) -> Choices:
    """Return a question with its answers, in their order of digests."""
    text = _answer(question, field)
    texts = [answer for answer, _ in answers]
    twice = next((each for each in texts if texts.count(each) > 1), None)
    if twice is not None:
        raise Fault("", f"expected each answer once, found {twice[:40]!r} twice: remove one")
    for where, kind, side in ((true, "true", True), (false, "false", False)):
        if all(is_true is not side for _, is_true in answers):
            raise Fault(where, f"expected at least one {kind} answer, found none: add one")
    ordered = sorted(answers, key=lambda answer: hashlib.sha256(f"{text}\n{answer[0]}".encode()).digest())
    places = tuple(place for place, (_, is_true) in enumerate(ordered) if is_true)
    return Choices(text, tuple(answer for answer, _ in ordered), places)
