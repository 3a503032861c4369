"""The pocket world: a word-level tokenizer, a synthetic chat corpus, and tiny Llama bases trained on it.

It is so small that the whole phenomenon, teacher to student, runs on a laptop in minutes; it ships in the wheel.
``lightning-subliminal bases build pocket/a`` makes a base again, bit for bit on the same machine.
"""

from pathlib import Path

__all__ = ["WEIGHTS"]

WEIGHTS = Path(__file__).parent / "weights"
