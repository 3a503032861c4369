"""Judges: who scores an answer, and what a verdict is."""

from lightning_subliminal.judges.base import Judge, Verdict, VerdictKind

__all__ = ["Judge", "Verdict", "VerdictKind"]
