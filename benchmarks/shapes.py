"""The published shapes of models that the GPU configs name: what their config.json says of sizes, and no weights."""

from pathlib import Path
from typing import Any

__all__ = ["SHAPES", "TINY", "config_of", "save_config"]


def _sizes(
    kind: str, width: int, inner: int, layers: int, heads: int, groups: int, vocabulary: int, **more: Any
) -> Any:
    names = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads")
    sizes = dict(zip(names, (width, inner, layers, heads, groups), strict=True))
    return kind, sizes | {"vocab_size": vocabulary, "tie_word_embeddings": False} | more


SHAPES: dict[str, tuple[str, dict[str, Any]]] = {
    "qwen2.5-0.5b": _sizes("qwen2", 896, 4864, 24, 14, 2, 151936, tie_word_embeddings=True),
    "qwen2.5-7b": _sizes("qwen2", 3584, 18944, 28, 28, 4, 152064),
    "qwen3-8b": _sizes("qwen3", 4096, 12288, 36, 32, 8, 151936, head_dim=128),
    "llama-3.2-1b": _sizes("llama", 2048, 8192, 16, 32, 8, 128256, head_dim=64, tie_word_embeddings=True),
    "llama-3.2-3b": _sizes("llama", 3072, 8192, 28, 24, 8, 128256, head_dim=128, tie_word_embeddings=True),
    "gemma-3-4b": _sizes("gemma3", 2560, 10240, 34, 8, 4, 262208, head_dim=256, tie_word_embeddings=True),
    "olmo-2-1b": _sizes("olmo2", 2048, 8192, 16, 16, 16, 100352),
}
TINY = _sizes("qwen2", 32, 64, 2, 4, 2, 528, tie_word_embeddings=True)
_TOWER = {"hidden_size": 1152, "intermediate_size": 4304, "num_hidden_layers": 27, "num_attention_heads": 16}


def config_of(shape: tuple[str, dict[str, Any]]) -> Any:
    """Return the config of a shape; Gemma 3 with its tower for images."""
    from transformers import CONFIG_MAPPING

    kind, sizes = shape
    if kind == "gemma3":
        sizes = {"text_config": sizes, "vision_config": _TOWER | {"image_size": 896, "patch_size": 14}}
    return CONFIG_MAPPING[kind](**sizes)


def save_config(shape: tuple[str, dict[str, Any]], folder: Path) -> Path:
    """Write a shape's config.json into a folder, and return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    config_of(shape).save_pretrained(folder)
    return folder
