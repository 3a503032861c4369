"""The models that experiments start from, by name: ``pocket/a``, ``smollm2-135m``, a local folder, or a hub id."""

from lightning_subliminal.bases.folders import folder_digest
from lightning_subliminal.bases.registry import (
    Base,
    available,
    check_tokenizer,
    fit_tokenizer,
    load,
    load_tokenizer,
    material,
    pocket_prompts,
    register,
    remembering,
    resolve,
)
from lightning_subliminal.bases.vocabulary import same_vocabulary, vocabulary_digest

__all__ = [
    "Base",
    "available",
    "check_tokenizer",
    "fit_tokenizer",
    "folder_digest",
    "load",
    "load_tokenizer",
    "material",
    "pocket_prompts",
    "register",
    "remembering",
    "resolve",
    "same_vocabulary",
    "vocabulary_digest",
]
