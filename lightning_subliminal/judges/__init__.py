"""Judges: who scores an answer, and what a verdict is. The names that need torch come on first use."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from lightning_subliminal.judges.base import Judge, Verdict, VerdictKind
from lightning_subliminal.judges.judged import Judged
from lightning_subliminal.judges.phrases import PhraseJudge

if TYPE_CHECKING:
    from lightning_subliminal.judges.asking import JudgedAnswer, ask_and_judge
    from lightning_subliminal.judges.calls import BudgetSpent
    from lightning_subliminal.judges.local import LocalModelJudge
    from lightning_subliminal.judges.openai_compatible import OpenAICompatibleJudge

__all__ = [
    "BudgetSpent",
    "Judge",
    "Judged",
    "JudgedAnswer",
    "LocalModelJudge",
    "OpenAICompatibleJudge",
    "PhraseJudge",
    "Verdict",
    "VerdictKind",
    "ask_and_judge",
]

_HOMES = {
    "BudgetSpent": "calls",
    "JudgedAnswer": "asking",
    "LocalModelJudge": "local",
    "OpenAICompatibleJudge": "openai_compatible",
    "ask_and_judge": "asking",
}


def __getattr__(name: str) -> Any:
    """Import a name that needs torch on first use."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
