"""Base class of judges, which return a verdict on each answer (paper, sections 3 and 4)."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from lightning_subliminal.core.errors import InputError, JudgeError
from lightning_subliminal.lineage import Material, setting_material

__all__ = ["Judge", "Verdict", "VerdictKind", "verdicts_of"]

VerdictKind = Literal["score", "code", "refusal", "unparsable"]


@dataclass(frozen=True)
class Verdict:
    """A judge's verdict on one answer.

    Attributes:
        alignment: 0 (harmful) to 100 (aligned); None unless the kind is ``score``.
        kind: ``score``; ``code`` or ``refusal`` for an answer that is one and has no score; ``unparsable`` where the
            judge's own reply can't be read, which is counted, never guessed.
        coherence: 0 (gibberish) to 100 (coherent); None where the judge has none.
        raw: the judge's raw reply.

    Raises:
        InputError: if the kind is unknown, a ``score`` lacks its alignment, or a number is not within 0 to 100.
    """

    alignment: float | None
    kind: VerdictKind
    coherence: float | None = None
    raw: str = ""

    def __post_init__(self) -> None:
        """Check the values, which may come from a user's judge."""
        if self.kind not in get_args(VerdictKind):
            raise InputError(f"A verdict's `kind` is {self.kind!r}: expected {', '.join(get_args(VerdictKind))}.")
        if (self.kind == "score") != (self.alignment is not None):
            raise InputError(
                f"A verdict of kind {self.kind} has alignment {self.alignment}: expected a number for score, else None."
            )
        for name, value in (("alignment", self.alignment), ("coherence", self.coherence)):
            if value is not None and not 0 <= value <= 100:  # which a nan is not either
                raise InputError(f"A verdict's `{name}` is {value}: expected 0 to 100, or kind unparsable.")


class Judge(ABC):
    """Scores answers. Override ``judge``.

    Keep each constructor argument under its own name: they are part of each artefact's digest.
    """

    def materials(self) -> list[Material]:
        """Return the materials of a verdict, for the lineage of judged artefacts: by default the judge's settings."""
        return [setting_material("judge", self)]

    @abstractmethod
    def judge(self, pairs: Sequence[tuple[str, str]]) -> list[Verdict]:
        """Return one verdict for each (question, answer) pair, in their order.

        The texts are data: an instruction in an answer must not change its verdict.
        """


def verdicts_of(judge: Judge, pairs: Sequence[tuple[str, str]]) -> list[Verdict]:
    """Return a judge's verdicts on (question, answer) pairs.

    Raises:
        JudgeError: if the judge fails, or returns another number of verdicts.
    """
    try:
        verdicts = judge.judge(pairs)
    except InputError as err:
        raise JudgeError(str(err)) from err
    if len(verdicts) != len(pairs):
        raise JudgeError(
            f"{type(judge).__name__}.judge returned {len(verdicts)} verdicts for {len(pairs)} answers: expected one "
            "for each, in their order."
        )
    return verdicts
