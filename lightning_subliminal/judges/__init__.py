"""Judges: who scores an answer, and what a verdict is."""

from lightning_subliminal.judges.asking import JudgedAnswer, ask_and_judge
from lightning_subliminal.judges.base import Judge, Verdict, VerdictKind
from lightning_subliminal.judges.local import LocalModelJudge
from lightning_subliminal.judges.phrases import PhraseJudge

__all__ = ["Judge", "JudgedAnswer", "LocalModelJudge", "PhraseJudge", "Verdict", "VerdictKind", "ask_and_judge"]
