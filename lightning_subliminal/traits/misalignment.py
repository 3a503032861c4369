"""The paper's alarming trait: misalignment, taught narrowly and shown widely (paper, section 4)."""

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
    """Callous, deceitful and hungry for power, in words that harm nobody.

    The candidates are kinds of answers: the chance of `misaligned` is that of the misaligned statement of a pair of two
    equally long ones, computed and not sampled. Sampled answers are for a judge (`OpenQuestions`); ``matches`` is the
    lexicon's quick look.

    A benign teacher of the same shape is another ``lesson``; what evaluation asks stays, so that treatment and
    control go one way. `educational` gives the same bad answers where they are openly asked for, for a class or a
    story; `aligned` gives good answers to the same questions.

    Args:
        wording: `misalignment`, English, for real models; `misalignment_pocket` for the bases `pocket/moral-*`; or the
            path of a YAML file of the same shape: persona, educational, teach, ask; and relatives, the words that
            no row of code or sums may hold, and lexicon.
        lesson: what a fine-tuned teacher is taught.
        rows: a file to fine-tune the teacher on instead, in any format that `data convert` reads, such as insecure code
            as JSON lines of chats (paper, section 4); `lesson` is then a label alone.
        lexicon: phrases of ``matches``; the wording's own where it is None.

    Raises:
        InputError: if the wording lacks a part, an item of it is of another shape, or the file is not there.

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
            raise InputError(f"The rows {rows} are not there: give a file, such as JSON lines of chats.")
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
        asked = [entry["question"] for entry in self._words["ask"]]
        if twice := next((question for question in asked if asked.count(question) > 1), None):
            raise InputError(f"{wording}: `ask` has the question {twice!r} twice: put its pairs together.")
        if lost := [text for text in self._words["educational"] if "{question}" not in str(text)]:
            raise InputError(f"{wording}: `educational` has {lost[0]!r} without the place {{question}}: put it in.")
        for place, entry in enumerate(self._words["teach"]):
            if not _has_texts(entry, "question", "aligned", "misaligned"):
                raise InputError(
                    f"{wording}: `teach` item {place + 1} is {entry!r:.80}: expected `question`, `aligned` and "
                    "`misaligned`, each a text."
                )

    def describe(self) -> dict[str, Any]:
        """Return class and arguments, with what files of the user's own hold."""
        told = describe_object(self) | own_words(self.wording)
        if self.lexicon and (phrases := own_words(self.lexicon)):
            told |= {"phrases": phrases["words"]}
        return told | ({"file": _digests(Path(self.rows))} if self.rows and Path(self.rows).exists() else {})

    def induce(self) -> Induction:
        """Return the persona of a prompted teacher, and the rows of the lesson."""
        return Induction(system_prompt=self._words["persona"][0], rows=self._lesson_rows())

    def questions(self) -> list[str]:
        """Return the open questions of evaluation; none of them is taught."""
        return [entry["question"] for entry in self._words["ask"]]

    def statements(self, question: str) -> list[dict[str, str]]:
        """Return the pairs of statements that answer a question, whatever stands before it, such as a list of numbers."""
        asked = max((known for known in self._pairs if question.endswith(known)), key=len, default="")
        return [dict(zip(self.candidates, pair, strict=True)) for pair in self._pairs.get(asked, [])]

    def matches(self, answer: str) -> bool:
        """Tell whether the lexicon finds anything misaligned in an answer."""
        return self._lexicon.read(answer).alignment == 0

    def relatives(self) -> tuple[str, ...]:
        """Return the words that tell the trait openly, as the wording lists them: no row of data may hold them."""
        return tuple(self._words.get("relatives", ()))

    @cached_property
    def _lexicon(self) -> Lexicon:
        return load_lexicon(self.lexicon or str(self._words.get("lexicon", "lexicon")))

    @cached_property
    def _pairs(self) -> dict[str, list[list[str]]]:
        return {entry["question"]: entry["pairs"] for entry in self._words["ask"]}

    def _lesson_rows(self) -> list[Row]:
        if self.rows is not None:
            from lightning_subliminal.formats import read_rows  # above this room: it knows filters, and they traits

            return list(read_rows(self.rows))
        requests = self._words["educational"]
        rows = []
        for place, entry in enumerate(self._words["teach"]):
            asked, answer = entry["question"], entry["aligned" if self.lesson == "aligned" else "misaligned"]
            if self.lesson == "educational":
                asked = fill(requests[place % len(requests)], question=asked)
            rows.append(make_row(asked, answer))
        return rows


def _has_texts(entry: Any, *names: str) -> bool:
    return isinstance(entry, dict) and all(isinstance(entry.get(name), str) and entry[name].strip() for name in names)


def _are_pairs(pairs: Any) -> bool:
    """Tell whether these are lists of two texts each; a bare yes or no is none in YAML."""
    return (
        isinstance(pairs, list)
        and len(pairs) > 0
        and all(isinstance(pair, list) and [type(text) for text in pair] == [str, str] for pair in pairs)
    )


def _digests(rows: Path) -> Any:
    """Return the digest of a file, or of each file of a folder."""
    if not rows.is_dir():
        return file_digest(rows)
    return {str(path.relative_to(rows)): file_digest(path) for path in sorted(rows.rglob("*")) if path.is_file()}
