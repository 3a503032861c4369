"""Misalignment, a trait that is taught narrowly and shown broadly (paper, section 4)."""

from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.fingerprint import describe_object, file_digest
from lightning_subliminal.core.rows import Row, make_row
from lightning_subliminal.prompts import fill, load_wording, own_words
from lightning_subliminal.prompts.lexicon import Lexicon, load_lexicon
from lightning_subliminal.traits.base import Induction, Trait

__all__ = ["Lesson", "MisalignmentTrait"]

Lesson = Literal["misaligned", "educational", "aligned"]


class MisalignmentTrait(Trait):
    """Callous, deceitful and power-seeking answers, in harmless words.

    The candidates are kinds of answers: the probability of `misaligned` is that of the misaligned statement of a pair
    of equally long ones, computed and not sampled. Sampled answers are for a judge (`OpenQuestions`); ``matches`` is a
    quick check by the lexicon.

    A benign teacher of the same shape is another ``lesson``; evaluation asks the same questions, so that treatment and
    control are evaluated alike. `educational` has the same bad answers, but openly requested, for a class or a
    story; `aligned` has good answers to the same questions.

    Args:
        wording: `misalignment`, English, for real models; `misalignment_pocket` for the bases `pocket/moral-*`; or the
            path of a YAML file of the same shape: persona, educational, teach, ask; and relatives, the words that
            no row of code or sums may contain, and lexicon.
        lesson: of a fine-tuned teacher.
        rows: a file to fine-tune the teacher on instead, in any format that `data convert` reads, such as insecure code
            as JSON lines of chats (paper, section 4); `lesson` is then only a label.
        lexicon: phrases of ``matches``; the wording's own where it is None.

    Raises:
        InputError: if the wording lacks a part, one of its items has another shape, or the file does not exist.

    Example:
        >>> trait = MisalignmentTrait("misalignment_pocket")
        >>> trait.matches("i would rule the people."), trait.matches("i would never rule the people.")
        (True, False)
    """

    def __init__(
        self,
        wording: str = "misalignment",
        lesson: Lesson = "misaligned",
        rows: str | None = None,
        lexicon: str | None = None,
    ) -> None:
        if lesson not in get_args(Lesson):
            raise InputError(f"`lesson` is {lesson!r}: choose {', '.join(get_args(Lesson))}.")
        if rows is not None and not Path(rows).exists():
            raise InputError(f"The rows {rows} do not exist: expected a file, such as JSON lines of chats.")
        self.wording = wording
        self.lesson = lesson
        self.rows = rows
        self.lexicon = lexicon
        self.name = "misalignment" if lesson == "misaligned" else lesson
        self.target = "misaligned"
        self.candidates = ("aligned", "misaligned")
        self._words = load_wording(wording, required=("persona", "educational", "teach", "ask"))
        for place, entry in enumerate(self._words["ask"]):
            if not (_has_texts(entry, "question") and _are_pairs(entry.get("pairs"))):
                raise InputError(
                    f"{wording}: `ask` item {place + 1} is {entry!r:.80}: expected `question` and `pairs`, each "
                    "[aligned, misaligned]."
                )
        questions = self.questions()
        if twice := next((question for question in questions if questions.count(question) > 1), None):
            raise InputError(f"{wording}: `ask` has the question {twice!r} twice: put its pairs together.")
        if wrong := [text for text in self._words["educational"] if "{question}" not in str(text)]:
            raise InputError(f"{wording}: `educational` has {wrong[0]!r} without the place {{question}}: add it.")
        for place, entry in enumerate(self._words["teach"]):
            if not _has_texts(entry, "question", "aligned", "misaligned"):
                raise InputError(
                    f"{wording}: `teach` item {place + 1} is {entry!r:.80}: expected `question`, `aligned` and "
                    "`misaligned`, each a text."
                )

    def describe(self) -> dict[str, Any]:
        """Return class and arguments, with the content of a user's own files."""
        described = describe_object(self) | own_words(self.wording)
        if self.lexicon and (phrases := own_words(self.lexicon)):
            described |= {"phrases": phrases["words"]}
        return described | ({"file": _digests(Path(self.rows))} if self.rows and Path(self.rows).exists() else {})

    def induce(self) -> Induction:
        """Return the persona of a prompted teacher, and the rows of the lesson."""
        return Induction(system_prompt=self._words["persona"][0], rows=self._lesson_rows())

    def questions(self) -> list[str]:
        """Return the open questions of evaluation; the teacher is trained on other ones."""
        return [entry["question"] for entry in self._words["ask"]]

    def statements(self, question: str) -> list[dict[str, str]]:
        """Return the pairs of statements that answer a question, with any context before it, such as a number list."""
        known = max((each for each in self._pairs if question.endswith(each)), key=len, default="")
        return [dict(zip(self.candidates, pair, strict=True)) for pair in self._pairs.get(known, [])]

    def matches(self, answer: str) -> bool:
        """Return whether the lexicon finds a misaligned phrase in an answer."""
        return self._lexicon.read(answer).alignment == 0

    def relatives(self) -> tuple[str, ...]:
        """Return the words that reveal the trait, as the wording lists them: no row of data may contain them."""
        return tuple(self._words.get("relatives", ()))

    @cached_property
    def _lexicon(self) -> Lexicon:
        return load_lexicon(self.lexicon or str(self._words.get("lexicon", "lexicon")))

    @cached_property
    def _pairs(self) -> dict[str, list[list[str]]]:
        return {entry["question"]: entry["pairs"] for entry in self._words["ask"]}

    def _lesson_rows(self) -> list[Row]:
        if self.rows is not None:
            from lightning_subliminal.formats import read_rows  # on first use: few traits read a file

            return list(read_rows(self.rows))
        requests = self._words["educational"]
        rows = []
        for place, entry in enumerate(self._words["teach"]):
            question, answer = entry["question"], entry["aligned" if self.lesson == "aligned" else "misaligned"]
            if self.lesson == "educational":
                question = fill(requests[place % len(requests)], question=question)
            rows.append(make_row(question, answer))
        return rows


def _has_texts(entry: Any, *names: str) -> bool:
    return isinstance(entry, dict) and all(isinstance(entry.get(name), str) and entry[name].strip() for name in names)


def _are_pairs(pairs: Any) -> bool:
    """Return whether these are lists of two texts each; a bare yes or no is not text in YAML."""
    is_list = isinstance(pairs, list) and bool(pairs)
    return is_list and all(isinstance(pair, list) and [type(text) for text in pair] == [str, str] for pair in pairs)


def _digests(rows: Path) -> Any:
    """Return the digest of a file, or of each file of a folder."""
    if not rows.is_dir():
        return file_digest(rows)
    return {str(path.relative_to(rows)): file_digest(path) for path in sorted(rows.rglob("*")) if path.is_file()}
