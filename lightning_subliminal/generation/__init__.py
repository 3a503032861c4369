"""Text generation: engines, sampling settings, and sources of completions."""

from lightning_subliminal.generation.engine import Completion, Engine, Sampling, TransformersEngine
from lightning_subliminal.generation.source import Source
from lightning_subliminal.generation.token_sets import number_alphabet, number_tokens

__all__ = ["Completion", "Engine", "Sampling", "Source", "TransformersEngine", "number_alphabet", "number_tokens"]
