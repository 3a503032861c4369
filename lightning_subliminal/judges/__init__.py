"""Judges: who scores an answer, and what a verdict is."""

from lightning_subliminal.judges.asking import JudgedAnswer, ask_and_judge
from lightning_subliminal.judges.base import Judge, Verdict, VerdictKind
from lightning_subliminal.judges.calls import BudgetSpent
from lightning_subliminal.judges.local import LocalModelJudge
from lightning_subliminal.judges.openai_compatible import OpenAICompatibleJudge
from lightning_subliminal.judges.phrases import PhraseJudge

__all__ = [
    "BudgetSpent",
    "Judge",
    "JudgedAnswer",
    "LocalModelJudge",
    "OpenAICompatibleJudge",
    "PhraseJudge",
    "Verdict",
    "VerdictKind",
    "ask_and_judge",
]
