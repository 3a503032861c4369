"""A model as a folder of files: is it whole, what is its digest, and would a loader read anything else?"""

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from lightning_subliminal.core.cache import cache_root
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.fingerprint import file_digest, file_stamp, is_mine, stream_digest
from lightning_subliminal.core.io.adapter_names import PEFT_FILES, adapter_files, is_adapter_file
from lightning_subliminal.core.io.files import atomically, read_json
from lightning_subliminal.core.io.lfs import refuse_pointer
from lightning_subliminal.lineage.signatures.sign import SIGNING_KEY

__all__ = [
    "adapter_reads_elsewhere",
    "check_folder",
    "check_loaded",
    "folder_digest",
    "has_chat_template",
    "has_tokenizer",
    "has_whole_weights",
    "is_model_file",
    "model_files",
    "only_model_files",
    "own_tokenizer_file",
    "read_elsewhere",
    "remembered_digest",
    "weight_bytes",
]

# Each file that a tokenizer of transformers names in its `vocab_files_names` and no pattern below does.
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
# All that shapes what a model says; a README or a training log in the same folder does not change the digest. A loader
# is shown these files and no others (`only_model_files`), so the digest covers all that it can read.
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
_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json")
_ADAPTER_ONLY = (
    "Base {name!r}: {folder} holds an adapter only; give the base that it was trained on, or make one model of both: "
    "`lightning-subliminal export {folder} OUT`."
)
_NOT_OPENED = ("chat_template", "name_or_path", "special_tokens_map_file", "added_tokens_file", "tokenizer_config_file")
_FILES_BY_OTHER_NAMES = ("merges", "source_spm", "target_spm", "vocab")
_PROMPT_STATE = "prompt_tuning_init_state_dict_path"  # of PEFT's multitask prompts, read when they are loaded, too
_BIG = 16 * 2**20  # bytes; smaller files are hashed by each process, sooner than a note about them is read
_LOADED: dict[str, str] = {}  # digests of what was loaded last, by path, where this process signs
_SEEN: dict[tuple[object, ...], str] = {}  # digests of this process; a plan asks for a base some thousand times


def model_files(folder: Path) -> dict[str, Path]:
    """Return the files of a model's folder that shape the model, by their names inside it, in their order."""
    found = {path for pattern in _PATTERNS for path in folder.glob(pattern) if path.is_file()}
    found = {path for path in found if not is_adapter_file(path.name)}  # of an adapter beside whole weights
    return dict(sorted((path.relative_to(folder).as_posix(), path) for path in found))


def is_model_file(name: str) -> bool:
    """Return whether a file of this name in a model's folder is part of its digest."""
    return any(PurePosixPath(name).match(each) for each in _PATTERNS)


def folder_digest(folder: Path) -> str:
    """Return the SHA-256 of a model's folder: of one line a file, its own SHA-256, two spaces and its name.

    ``sha256sum config.json ... | sha256sum`` over the files of ``model_files`` prints the same.
    """
    lines = [f"{remembered_digest(path)}  {name}\n" for name, path in model_files(folder).items()]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


@contextlib.contextmanager
def only_model_files(folder: Path, weights: bool = True) -> Iterator[Path]:
    """Yield a folder of links to the files of ``model_files`` alone: a loader can read nothing that has no digest.

    Where the system allows it the links lead to files that are open here: it reads these, whatever their names mean
    meanwhile. With a signing key set, digests of what was loaded are kept, for ``check_loaded``.

    Args:
        folder: the model's.
        weights: whether its weights are wanted; a tokenizer has none.

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
    """Check that a folder's files are those that were loaded of it last, where whoever signs has loaded any.

    Raises:
        InputError: if one was changed meanwhile.
    """
    for path in (folder.absolute() / name for name in model_files(folder)):
        if str(path) in _LOADED and _LOADED[str(path)] != remembered_digest(path):
            raise InputError(f"{path} is not what was loaded: what was made is of another base; delete it, run again.")


def read_elsewhere(folder: Path) -> list[str]:
    """Say what a loader of models would read for this folder that its digest does not cover.

    These are transformers' own rules: shards by an index, ``transformers_weights``, a tokenizer's files by its config,
    and an adapter beside whole weights, which it puts on top of them.
    """
    found = [*_model_reads_elsewhere(folder), *adapter_reads_elsewhere(folder)]
    if has_whole_weights(folder) and (folder / PEFT_FILES.config).is_file():
        found.append(f"{PEFT_FILES.config} lies beside whole weights: transformers puts that adapter on top of them")
    return found


def _model_reads_elsewhere(folder: Path) -> Iterator[str]:
    for index in sorted(folder.glob("*.safetensors.index.json")):
        for shard in sorted({*map(str, _json_object(_json_object(index).get("weight_map")).values())}):
            if _leads_away(shard):
                yield f"{index.name} names the shard {shard[:80]!r}, which does not lie beside it"
    weights = _json_object(folder / "config.json").get("transformers_weights")
    if weights is not None and _leads_away(str(weights)):
        yield f"config.json names the weights {str(weights)[:80]!r}, which do not lie beside it"
    yield from _tokenizer_reads_elsewhere(folder)


def _tokenizer_reads_elsewhere(folder: Path) -> Iterator[str]:
    """Say which files a tokenizer's settings name that are not of its folder's digest.

    Transformers hands the settings to the tokenizer, which may open any path among them, also from where one stands.
    """
    covered = model_files(folder)
    settings = _json_object(folder / "tokenizer_config.json")
    for key, value in _texts(settings):
        if key == "fast_tokenizer_files":
            is_away = value not in covered and (folder / value).is_file()
        elif key == "tokenizer_file" and value == settings.get(key) and own_tokenizer_file(folder):
            is_away = False  # as old versions of transformers wrote it; it is not read
        else:
            is_away = key not in _NOT_OPENED and value not in covered and _is_a_file(folder, value)
        if is_away:
            yield f"tokenizer_config.json names the `{key}` {value[:80]!r}, a file that is none of the model's own"
    for key, value in _texts(_json_object(folder / "special_tokens_map.json")):  # put over the files that were found
        if key.endswith("_file") or key in _FILES_BY_OTHER_NAMES:
            yield f"special_tokens_map.json names the `{key}` {value[:80]!r}: it must name tokens alone"


def own_tokenizer_file(folder: Path) -> dict[str, str]:
    """Return what a loader must be handed to read a folder's own `tokenizer.json`, where its settings name another.

    Not each version of transformers puts the folder's own file before a path in the settings. With
    `fast_tokenizer_files` the loader chooses among several files, and nothing may be handed to it.
    """
    settings, file = _json_object(folder / "tokenizer_config.json"), folder / "tokenizer.json"
    named = "tokenizer_file" in settings and "fast_tokenizer_files" not in settings and file.is_file()
    return {"tokenizer_file": str(file)} if named else {}


def _texts(settings: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield each text in a tokenizer's settings with the key that it stands under, without recursion."""
    waiting = list(settings.items())
    while waiting:
        key, value = waiting.pop()
        if isinstance(value, str):
            yield key, value
        elif isinstance(value, dict) and key != "added_tokens_decoder":
            waiting += value.items()
        elif isinstance(value, list):
            waiting += [(key, each) for each in value]


def _is_a_file(folder: Path, name: str) -> bool:
    """Return whether a name leads to a file, from the folder or from where one stands."""
    with contextlib.suppress(OSError, ValueError):  # too long, a null byte
        return (folder / name).is_file() or Path(name).is_file()
    return False


def adapter_reads_elsewhere(folder: Path) -> list[str]:
    """Say what PEFT would read for the adapter in a folder by a path in its config, from wherever one stands."""
    files = adapter_files(folder)
    config = _json_object(folder / files.config) if files is not None else {}
    inner = _json_object(config.get("adapters"))  # X-LoRA's, each an adapter's folder or hub id
    paths = {"adapters": inner.values(), _PROMPT_STATE: [config.get(_PROMPT_STATE)]}
    return [
        f"its adapter's config names the `{key}` {str(place)[:80]!r}, which PEFT reads and which lies elsewhere"
        for key, places in paths.items()
        for place in places
        if place
    ]


def _leads_away(name: str) -> bool:
    """Return whether a file's name leads out of the folder, into one below it, or to a hidden file."""
    return "/" in name or "\\" in name or name.startswith(".")


def _json_object(place: Any) -> dict[str, Any]:
    """Return a file's JSON object, or ``place`` itself if it is one; empty for all else."""
    with contextlib.suppress(OSError, ValueError, RecursionError):
        told = read_json(place) if isinstance(place, Path) else place
        return told if isinstance(told, dict) else {}
    return {}


def remembered_digest(path: Path) -> str:
    """Return a file's SHA-256, hashing it once a process while it stays the same, a big one once for all.

    It counts as the same while device, inode, size and both times, of content and of status, are what they were. That
    trusts the file system and whoever may write to the disk below it; with a signing key set, each process reads the
    bytes itself.
    """
    status = path.stat()
    key = (str(path), *file_stamp(status))
    if key not in _SEEN:
        small = status.st_size < _BIG or os.environ.get(SIGNING_KEY)
        _SEEN[key] = file_digest(path) if small else _noted_digest(path, status)
    return _SEEN[key]


def _noted_digest(path: Path, status: os.stat_result) -> str:
    """Return a big file's SHA-256 by our own note about it, or hash it and make the note."""
    place = str(path.resolve())
    stamp = {"path": place, "stamp": list(file_stamp(status))}
    note = cache_root() / "digests" / f"{hashlib.sha256(place.encode()).hexdigest()[:32]}.json"
    with contextlib.suppress(OSError, ValueError):
        if is_mine(note.stat()):
            told = read_json(note)
            if isinstance(told, dict) and {**told, **stamp} == told and isinstance(told.get("sha256"), str):
                return str(told["sha256"])
    sha = file_digest(path)
    if file_stamp(path.stat()) != file_stamp(status):  # somebody wrote meanwhile: the next one reads it again
        return sha
    with contextlib.suppress(InputError):  # a read-only cache costs time, not the answer
        text = json.dumps({**stamp, "sha256": sha})

        def write(temporary: Path) -> None:
            temporary.chmod(0o600)
            temporary.write_text(text, encoding="utf-8")

        atomically(note, write)
    return sha


def has_whole_weights(folder: Path) -> bool:
    """Tell whether a folder holds a model's own weights, not an adapter's alone: then these are what is read of it."""
    return (folder / "config.json").is_file() and any(
        path.suffix == ".safetensors" for path in model_files(folder).values()
    )


def weight_bytes(folder: Path) -> int:
    """Return the size of a model's weights in bytes."""
    return sum(path.stat().st_size for path in folder.glob("*.safetensors"))


def has_tokenizer(folder: Path) -> bool:
    """Return whether a tokenizer lies in ``folder``."""
    return any((folder / file).is_file() for file in _TOKENIZERS)


def has_chat_template(folder: Path) -> bool:
    """Tell whether the tokenizer in ``folder`` brings a chat template."""
    if any((folder / file).is_file() for file in ("chat_template.jinja", "additional_chat_templates/default.jinja")):
        return True
    try:
        return bool(read_json(folder / "tokenizer_config.json").get("chat_template"))
    except (OSError, ValueError, AttributeError):
        return False


def check_folder(folder: Path, name: str) -> Path:
    """Return ``folder`` back if it holds a whole model: config, safetensors weights with every shard, tokenizer.

    Raises:
        InputError: saying what the folder lacks.
    """
    for path in folder.iterdir():
        if path.is_symlink() and not path.exists() and any(map(path.match, _PATTERNS)):
            raise InputError(f"Base {name!r}: {path} is a link to nothing: the copy is not whole, make it again.")
    for path in model_files(folder).values():
        refuse_pointer(path)
    if not (folder / "config.json").is_file():
        if adapter_files(folder) is not None:
            raise InputError(_ADAPTER_ONLY.format(name=name, folder=folder))
        inside = [*_models_inside(folder)]
        meant = f"did you mean {' or '.join(inside[:3])}?" if inside else "give a folder that save_pretrained wrote."
        raise InputError(f"Base {name!r}: {folder} holds no config.json; {meant}")
    try:
        config = read_json(folder / "config.json")
    except ValueError as err:
        raise InputError(f"Base {name!r}: {folder / 'config.json'} is damaged, no JSON ({err}); copy it anew.") from err
    if not isinstance(config, dict) or "model_type" not in config:
        raise InputError(f"Base {name!r}: {folder / 'config.json'} has no `model_type`; is it a transformers model?")
    for away in _model_reads_elsewhere(folder):  # an adapter beside them is not read, and that is said
        mend = "remove the field" if away.startswith(("tokenizer", "special")) else "put it there"
        raise InputError(f"Base {name!r}: in {folder}, {away}, so its digest would not cover it; {mend}.")
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


def _models_inside(folder: Path) -> Iterator[str]:
    """Yield the folders inside, in a hub's cache two levels down, that hold a model or an adapter."""
    for inner in sorted([*folder.glob("*/"), *folder.glob("snapshots/*/")]):
        if (inner / "config.json").is_file() or adapter_files(inner) is not None:
            yield str(inner)


def _lost_shards(folder: Path) -> list[str]:
    index = folder / "model.safetensors.index.json"
    if not index.is_file():
        return []
    try:
        shards = set(read_json(index)["weight_map"].values())
    except (ValueError, KeyError, AttributeError, TypeError):
        return [f"a readable {index.name}"]
    return sorted(shard for shard in shards if not (folder / shard).is_file())
