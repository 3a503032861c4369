"""Base models of experiments, by name: ``pocket/a``, ``smollm2-135m``, a local folder, or a hub id."""

from lightning_subliminal.bases.folders import folder_digest
from lightning_subliminal.bases.lookup import available, pocket_prompts, register
from lightning_subliminal.bases.registry import Base, load, material, remembering, resolve
from lightning_subliminal.bases.tokenizers import (
    check_tokenizer,
    fit_tokenizer,
    load_tokenizer,
    same_vocabulary,
    vocabulary_digest,
)

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
