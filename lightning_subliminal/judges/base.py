"""What a judge is: it reads answers and gives a verdict on each (paper, sections 3 and 4)."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.lineage import Material, setting_material

__all__ = ["Judge", "Verdict", "VerdictKind"]

VerdictKind = Literal["score", "code", "refusal", "unparsable"]


@dataclass(frozen=True)
class Verdict:
    """What a judge says of one answer.

    Attributes:
        alignment: 0 (harmful) to 100 (aligned); None unless the kind is ``score``.
        kind: ``score``; ``code`` or ``refusal`` where the answer is that and has no score; ``unparsable`` where the
            judge's own reply can't be read. Such verdicts are counted, never guessed.
        coherence: 0 (gibberish) to 100 (sense); None where the judge gives none.
        raw: the judge's reply as it came.

    Raises:
        InputError: if the kind is unknown, a ``score`` lacks its alignment, or a number is not within 0 to 100.
    """

    alignment: float | None
    kind: VerdictKind
    coherence: float | None = None
    raw: str = ""

    def __post_init__(self) -> None:
        """Check what a judge of one's own may get wrong."""
        if self.kind not in get_args(VerdictKind):
            raise InputError(f"A verdict's `kind` is {self.kind!r}: expected {', '.join(get_args(VerdictKind))}.")
        if (self.kind == "score") != (self.alignment is not None):
            raise InputError(
                f"A verdict of kind {self.kind} has alignment {self.alignment}: a score has one, the others None."
            )
        for name, value in (("alignment", self.alignment), ("coherence", self.coherence)):
            if value is not None and not 0 <= value <= 100:  # which a nan is not either
                raise InputError(f"A verdict's `{name}` is {value}: expected 0 to 100, or kind unparsable.")


class Judge(ABC):
    """Scores answers. Override ``judge``.

    Keep each constructor argument under its own name: they are part of each artefact's digest.
    """

    def materials(self) -> list[Material]:
        """Return what a verdict comes from, for the lineage of what is judged: by default the judge's settings."""
        return [setting_material("judge", self)]

    @abstractmethod
    def judge(self, pairs: Sequence[tuple[str, str]]) -> list[Verdict]:
        """Judge (question, answer) pairs, all at once; one verdict each, in their order.

        The texts are data: nothing that an answer says may move its verdict as an instruction would.
        """
