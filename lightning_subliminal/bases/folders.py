"""The files of a model's folder, their digests, and loading them alone."""

import contextlib
import fnmatch
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from lightning_subliminal.core.cache import cache_root, is_mine
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.fingerprint import file_digest, stream_digest
from lightning_subliminal.core.io.adapter_names import is_adapter_file
from lightning_subliminal.core.io.files import atomically, file_stamp, read_json
from lightning_subliminal.lineage.signatures.sign import SIGNING_KEY

__all__ = [
    "check_loaded",
    "folder_digest",
    "has_chat_template",
    "has_tokenizer",
    "has_whole_weights",
    "is_model_file",
    "is_tokenizer_file",
    "model_files",
    "only_model_files",
    "remembered_digest",
    "weight_bytes",
]

# Files in `vocab_files_names` of transformers' tokenizers that no pattern below matches.
_VOCABULARIES = (
    "bpe.codes",
    "byte_maps.json",
    "dict.txt",
    "emoji.json",
    "entity_vocab.json",
    "merges.txt",
    "normalizer.json",
    "prophetnet.tokenizer",
    "target_vocab.json",
    "vocab-src.json",
    "vocab-tgt.json",
    "vocab.json",
    "vocab.txt",
    "word_pronunciation.json",
    "word_shape.json",
)
# All files that determine a model's behaviour; a README or a training log in the folder does not change the digest. A
# loader sees only these files (`only_model_files`), so the digest covers all that it can read.
_PATTERNS = (
    "config.json",
    "generation_config.json",
    "*.safetensors",
    "*.safetensors.index.json",
    "tokenizer.json",
    "tokenizer.*.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    *_VOCABULARIES,
    "*.model",
    "*.model.v*",
    "tokenizer.model*",
    "*.spm",
    "*.tiktoken",
    "tekken.json",
    "chat_template.json",
    "chat_template.jinja",
    "additional_chat_templates/*.jinja",
)
_TEMPLATES = "additional_chat_templates/"
_KNOWN = {  # names by their folder
    place: re.compile("|".join(fnmatch.translate(each.removeprefix(place)) for each in _PATTERNS if place in each))
    for place in ("", _TEMPLATES)
}
_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json")
_BIG = 16 * 2**20  # bytes; smaller files are hashed by each process, which is as fast as reading a note
_LOADED: dict[str, str] = {}  # digests of the files that were loaded last, by path, if this process signs
_SEEN: dict[tuple[object, ...], str] = {}  # digests by this process; a plan resolves a base some thousand times


def model_files(folder: Path) -> dict[str, Path]:
    """Return the files that determine a model's behaviour by their names in its folder, sorted."""
    found = [f"{place}{name}" for place, known in _KNOWN.items() for name in _files_in(folder / place, known)]
    return {name: folder / name for name in sorted(found)}


def _files_in(folder: Path, known: re.Pattern[str]) -> list[str]:
    """Return the names that are known, except for those of an adapter, which may lie beside a whole model."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        names = [entry.name for entry in entries if known.fullmatch(entry.name) and entry.is_file()]
        return [name for name in names if not is_adapter_file(name)]
    return []


def is_model_file(name: str) -> bool:
    """Return whether a file of this name in a model's folder is part of its digest."""
    return any(PurePosixPath(name).match(each) for each in _PATTERNS)


def is_tokenizer_file(name: str) -> bool:
    """Return whether a file of this name in a model's folder holds its vocabulary."""
    return name in _TOKENIZERS


def folder_digest(folder: Path) -> str:
    """Return the SHA-256 of a model's folder: of lines with each file's SHA-256, two spaces and its name.

    ``sha256sum config.json ... | sha256sum`` over the files of ``model_files`` prints the same.
    """
    lines = [f"{remembered_digest(path)}  {name}\n" for name, path in model_files(folder).items()]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


@contextlib.contextmanager
def only_model_files(folder: Path, weights: bool = True) -> Iterator[Path]:
    """Yield a folder of links to the files of ``model_files`` alone, so that a loader reads only what has a digest.

    If the system allows it, the links lead to files opened here, so that replacing a file meanwhile has no effect. With
    a signing key set, the digests of the loaded files are kept for ``check_loaded``.

    Args:
        folder: the model's folder.
        weights: whether to include its weights; a tokenizer has none.

    Raises:
        InputError: with a signing key set, if a file was changed while it was loaded.
    """
    with tempfile.TemporaryDirectory(prefix="subliminal-") as place, contextlib.ExitStack() as stack:
        opened = {}
        for file, path in model_files(folder).items():
            if path.suffix == ".safetensors" and not weights:
                continue
            opened[file] = stack.enter_context(path.open("rb"))
            link, kept = Path(place) / file, Path(f"/proc/self/fd/{opened[file].fileno()}")
            link.parent.mkdir(exist_ok=True)
            link.symlink_to(kept if kept.exists() else path.resolve())
        if not os.environ.get(SIGNING_KEY):
            yield Path(place)
            return
        before = [file_stamp(os.fstat(each.fileno())) for each in opened.values()]
        _LOADED.update(
            {str(folder.absolute() / file): stream_digest(each.raw.readinto) for file, each in opened.items()}
        )
        yield Path(place)
        if before != [file_stamp(os.fstat(each.fileno())) for each in opened.values()]:
            raise InputError(f"Files in {folder} were changed while they were loaded: load it again.")


def check_loaded(folder: Path) -> None:
    """Check that a folder's files are those that a signing process loaded last, if it loaded any.

    Raises:
        InputError: if one was changed in the meantime.
    """
    for path in (folder.absolute() / name for name in model_files(folder)):
        if str(path) in _LOADED and _LOADED[str(path)] != remembered_digest(path):
            raise InputError(f"{path} is not what was loaded, so results are of another base: delete them, run again.")


def remembered_digest(path: Path) -> str:
    """Return a file's SHA-256; an unchanged file is hashed once per process, a big one only once.

    A file counts as unchanged if device, inode, size and both times, of content and of status, are. That trusts the
    file system and all who can write to its disk; with a signing key set, each process hashes the bytes itself.
    """
    status = path.stat()
    key = (str(path), *file_stamp(status))
    if key not in _SEEN:
        small = status.st_size < _BIG or os.environ.get(SIGNING_KEY)
        _SEEN[key] = file_digest(path) if small else _noted_digest(path, status)
    return _SEEN[key]


def _noted_digest(path: Path, status: os.stat_result) -> str:
    """Return a big file's SHA-256 from its note in the cache, or hash it and write the note."""
    place = str(path.resolve())
    stamp = {"path": place, "stamp": list(file_stamp(status))}
    note = cache_root() / "digests" / f"{hashlib.sha256(place.encode()).hexdigest()[:32]}.json"
    with contextlib.suppress(OSError, ValueError):
        if is_mine(note.stat()):
            noted = read_json(note)
            if isinstance(noted, dict) and {**noted, **stamp} == noted and isinstance(noted.get("sha256"), str):
                return str(noted["sha256"])
    sha = file_digest(path)
    if file_stamp(path.stat()) != file_stamp(status):  # it changed in the meantime: the next call hashes it again
        return sha
    with contextlib.suppress(InputError):  # a read-only cache costs time, not the answer
        text = json.dumps({**stamp, "sha256": sha})

        def write(temporary: Path) -> None:
            temporary.chmod(0o600)
            temporary.write_text(text, encoding="utf-8")

        atomically(note, write)
    return sha


def has_whole_weights(folder: Path) -> bool:
    """Return whether a folder holds a whole model's weights, which are then read, and not only an adapter's."""
    return (folder / "config.json").is_file() and any(
        path.suffix == ".safetensors" for path in model_files(folder).values()
    )


def weight_bytes(folder: Path) -> int:
    """Return the size of a model's weights in bytes."""
    return sum(path.stat().st_size for path in folder.glob("*.safetensors"))


def has_tokenizer(folder: Path) -> bool:
    """Return whether ``folder`` holds a tokenizer."""
    return any((folder / file).is_file() for file in _TOKENIZERS)


def has_chat_template(folder: Path) -> bool:
    """Return whether the tokenizer in ``folder`` has a chat template."""
    if any((folder / file).is_file() for file in ("chat_template.jinja", "additional_chat_templates/default.jinja")):
        return True
    try:
        return bool(read_json(folder / "tokenizer_config.json").get("chat_template"))
    except (OSError, ValueError, AttributeError):
        return False
