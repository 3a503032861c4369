"""The pocket world: a word-level tokenizer, a synthetic chat corpus, and tiny Llama bases trained on it.

It is so small that an experiment, from teacher to student, takes minutes on a laptop. It ships in the wheel.
``lightning-subliminal bases build pocket/a`` rebuilds a base, bit for bit on the same machine.
"""

from pathlib import Path

__all__ = ["WEIGHTS"]

WEIGHTS = Path(__file__).parent / "weights"
