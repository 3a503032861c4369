"""A model as a folder of files: is it whole, and what is its digest?"""

import contextlib
import hashlib
import json
import os
from pathlib import Path

from lightning_subliminal.adapter_names import adapter_files, is_adapter_file
from lightning_subliminal.cache import cache_root
from lightning_subliminal.describe import file_digest
from lightning_subliminal.errors import InputError
from lightning_subliminal.lfs import refuse_pointer
from lightning_subliminal.rows import atomically

__all__ = [
    "check_folder",
    "folder_digest",
    "has_chat_template",
    "has_tokenizer",
    "has_whole_weights",
    "model_files",
    "remembered_digest",
    "weight_bytes",
]

# All that shapes what a model says; a README or a training log in the same folder does not change the digest.
_PATTERNS = (
    "config.json",
    "generation_config.json",
    "*.safetensors",
    "*.safetensors.index.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "*.model",
    "chat_template.jinja",
    "additional_chat_templates/*.jinja",
)
_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json")
_ADAPTER_ONLY = (
    "Base {name!r}: {folder} holds an adapter only; give the base that it was trained on, or make one model of both: "
    "`lightning-subliminal export {folder} OUT`."
)
_BIG = 16 * 2**20  # bytes; smaller files are hashed by each process, sooner than a note about them is read
_SEEN: dict[tuple[str, int, int], str] = {}  # digests of this process; a plan asks for a base some thousand times


def model_files(folder: Path) -> dict[str, Path]:
    """Return the files of a model's folder that shape the model, by their names inside it, in their order."""
    found = {path for pattern in _PATTERNS for path in folder.glob(pattern) if path.is_file()}
    found = {path for path in found if not is_adapter_file(path.name)}  # of an adapter beside whole weights
    return dict(sorted((path.relative_to(folder).as_posix(), path) for path in found))


def folder_digest(folder: Path) -> str:
    """Give the SHA-256 of a model's folder: of one line a file, its own SHA-256, two spaces and its name.

    ``sha256sum config.json ... | sha256sum`` over the files of ``model_files`` prints the same.
    """
    lines = [f"{remembered_digest(path)}  {name}\n" for name, path in model_files(folder).items()]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def remembered_digest(path: Path) -> str:
    """Give a file's SHA-256, hashing it once a process while size and time stay the same, a big one once for all."""
    status = path.stat()
    key = (str(path), status.st_size, status.st_mtime_ns)
    if key not in _SEEN:
        _SEEN[key] = file_digest(path) if status.st_size < _BIG else _noted_digest(path, status)
    return _SEEN[key]


def _noted_digest(path: Path, status: os.stat_result) -> str:
    """Give a big file's SHA-256 by the note about it, or hash it and make the note."""
    place = str(path.resolve())
    stamp = {"path": place, "size": status.st_size, "mtime_ns": status.st_mtime_ns}
    note = cache_root() / "digests" / f"{hashlib.sha256(place.encode()).hexdigest()[:32]}.json"
    with contextlib.suppress(OSError, ValueError):
        told = json.loads(note.read_text(encoding="utf-8"))
        if isinstance(told, dict) and {**told, **stamp} == told and isinstance(told.get("sha256"), str):
            return str(told["sha256"])
    sha = file_digest(path)
    with contextlib.suppress(InputError):  # a read-only cache costs time, not the answer
        text = json.dumps({**stamp, "sha256": sha})
        atomically(note, lambda temporary: temporary.write_text(text, encoding="utf-8"))
    return sha


def has_whole_weights(folder: Path) -> bool:
    """Tell whether a folder holds a model's own weights, not an adapter's alone: then these are what is read of it."""
    return (folder / "config.json").is_file() and any(
        path.suffix == ".safetensors" for path in model_files(folder).values()
    )


def weight_bytes(folder: Path) -> int:
    """Give the size of a model's weights in bytes."""
    return sum(path.stat().st_size for path in folder.glob("*.safetensors"))


def has_tokenizer(folder: Path) -> bool:
    """Return whether a tokenizer lies in ``folder``."""
    return any((folder / file).is_file() for file in _TOKENIZERS)


def has_chat_template(folder: Path) -> bool:
    """Tell whether the tokenizer in ``folder`` brings a chat template."""
    if any((folder / file).is_file() for file in ("chat_template.jinja", "additional_chat_templates/default.jinja")):
        return True
    try:
        return bool(json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8")).get("chat_template"))
    except (OSError, ValueError, AttributeError):
        return False


def check_folder(folder: Path, name: str) -> Path:
    """Give ``folder`` back if it holds a whole model: config, safetensors weights with every shard, tokenizer.

    Raises:
        InputError: saying what the folder lacks.
    """
    for path in model_files(folder).values():
        refuse_pointer(path)
    if not (folder / "config.json").is_file():
        if adapter_files(folder) is not None:
            raise InputError(_ADAPTER_ONLY.format(name=name, folder=folder))
        raise InputError(f"Base {name!r}: {folder} holds no config.json; give a folder that save_pretrained wrote.")
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except ValueError as err:
        raise InputError(f"Base {name!r}: {folder / 'config.json'} is damaged, no JSON ({err}); copy it anew.") from err
    if not isinstance(config, dict) or "model_type" not in config:
        raise InputError(f"Base {name!r}: {folder / 'config.json'} has no `model_type`; is it a transformers model?")
    if not has_whole_weights(folder):
        if adapter_files(folder) is not None:
            raise InputError(_ADAPTER_ONLY.format(name=name, folder=folder))
        raise InputError(
            f"Base {name!r}: {folder} holds no *.safetensors; weights in pickle form are not read, save the model anew."
        )
    lost = _lost_shards(folder)
    if lost:
        raise InputError(f"Base {name!r}: {folder} lacks {', '.join(lost[:3])}; the copy is not whole, make it again.")
    if not has_tokenizer(folder):
        raise InputError(f"Base {name!r}: {folder} holds no tokenizer; save the tokenizer beside the model.")
    return folder


def _lost_shards(folder: Path) -> list[str]:
    index = folder / "model.safetensors.index.json"
    if not index.is_file():
        return []
    try:
        shards = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    except (ValueError, KeyError, AttributeError, TypeError):
        return [f"a readable {index.name}"]
    return sorted(shard for shard in shards if not (folder / shard).is_file())
