"""Text generation: engines, sampling settings, and sources of completions."""

from lightning_subliminal.generation.engine import Completion, Engine, Sampling, TransformersEngine
from lightning_subliminal.generation.servers.engine import ServerEngine
from lightning_subliminal.generation.source import Source
from lightning_subliminal.generation.token_sets import number_alphabet, number_tokens
from lightning_subliminal.generation.vllm_engine import VLLMEngine

__all__ = [
    "Completion",
    "Engine",
    "Sampling",
    "ServerEngine",
    "Source",
    "TransformersEngine",
    "VLLMEngine",
    "number_alphabet",
    "number_tokens",
]
