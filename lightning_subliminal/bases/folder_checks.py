"""Checks of a model's folder: whether it is complete, and whether a loader would read files outside it."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lightning_subliminal.bases.folders import has_tokenizer, has_whole_weights, is_model_file, model_files
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.io.adapter_names import PEFT_FILES, adapter_files, holds_model
from lightning_subliminal.core.io.files import read_json, walk_json
from lightning_subliminal.core.io.lfs import refuse_pointer

__all__ = ["adapter_reads_elsewhere", "check_folder", "own_tokenizer_file", "read_elsewhere"]

_ADAPTER_ONLY = (
    "Base {name!r}: {folder} holds an adapter only; name the base that it was trained on, or make one model of both: "
    "`lightning-subliminal export {folder} OUT`."
)
_NOT_OPENED = ("chat_template", "name_or_path", "special_tokens_map_file", "added_tokens_file", "tokenizer_config_file")
_FILES_BY_OTHER_NAMES = ("merges", "source_spm", "target_spm", "vocab")
_PROMPT_STATE = "prompt_tuning_init_state_dict_path"  # of PEFT's multitask prompts, read when they are loaded, too


def read_elsewhere(folder: Path) -> list[str]:
    """Describe what a loader would read for a model or adapter that the folder's digest does not cover.

    These are transformers' own rules: shards by an index, ``transformers_weights``, a tokenizer's files by its config,
    and an adapter in the folder of a whole model, which it applies to the model.
    """
    found = [*_model_reads_elsewhere(folder), *adapter_reads_elsewhere(folder)]
    if has_whole_weights(folder) and (folder / PEFT_FILES.config).is_file():
        found.append(f"{PEFT_FILES.config} is next to whole weights: transformers puts that adapter on top of them")
    return found


def _model_reads_elsewhere(folder: Path) -> Iterator[str]:
    """Describe what a loader of whole models would read outside the folder."""
    for index in sorted(folder.glob("*.safetensors.index.json")):
        for shard in sorted({*map(str, _json_object(_json_object(index).get("weight_map")).values())}):
            if _leads_away(shard):
                yield f"{index.name} names the shard {shard[:80]!r}, which is not in its folder"
    weights = _json_object(folder / "config.json").get("transformers_weights")
    if weights is not None and _leads_away(str(weights)):
        yield f"config.json names the weights {str(weights)[:80]!r}, which are not in its folder"
    yield from _tokenizer_reads_elsewhere(folder)


def _tokenizer_reads_elsewhere(folder: Path) -> Iterator[str]:
    """Describe the files named in a tokenizer's settings that are not covered by the folder's digest.

    Transformers passes the settings to the tokenizer, which may open any path among them, also relative to the working
    directory.
    """
    covered = model_files(folder)
    settings = _json_object(folder / "tokenizer_config.json")
    for key, value in walk_json({key: value for key, value in settings.items() if key != "added_tokens_decoder"}):
        if not isinstance(value, str):
            continue
        if key == "fast_tokenizer_files":
            is_away = value not in covered and (folder / value).is_file()
        elif key == "tokenizer_file" and value == settings.get(key) and own_tokenizer_file(folder):
            is_away = False  # as old versions of transformers wrote it; it is not read
        else:
            is_away = key not in _NOT_OPENED and value not in covered and _is_a_file(folder, value)
        if is_away:
            yield f"tokenizer_config.json names the `{key}` {value[:80]!r}, a file that is not one of the model's own"
    for key, value in walk_json(_json_object(folder / "special_tokens_map.json")):  # which overrides found files
        if isinstance(value, str) and (key.endswith("_file") or key in _FILES_BY_OTHER_NAMES):
            yield f"special_tokens_map.json names the `{key}` {value[:80]!r}: it must name tokens alone"


def own_tokenizer_file(folder: Path) -> dict[str, str]:
    """Return the argument that makes a loader read a folder's own `tokenizer.json` if its settings name another file.

    Not each version of transformers prefers the folder's own file to a path in the settings. With
    `fast_tokenizer_files` the loader chooses among several files, and must not get this argument.
    """
    settings, file = _json_object(folder / "tokenizer_config.json"), folder / "tokenizer.json"
    named = "tokenizer_file" in settings and "fast_tokenizer_files" not in settings and file.is_file()
    return {"tokenizer_file": str(file)} if named else {}


def adapter_reads_elsewhere(folder: Path) -> list[str]:
    """Describe what PEFT would read for the adapter in a folder by a path in its config."""
    files = adapter_files(folder)
    config = _json_object(folder / files.config) if files is not None else {}
    inner = _json_object(config.get("adapters"))  # X-LoRA's, each an adapter's folder or hub id
    paths = {"adapters": inner.values(), _PROMPT_STATE: [config.get(_PROMPT_STATE)]}
    return [
        f"its adapter's config names the `{key}` {str(place)[:80]!r}, which PEFT reads and which is outside the folder"
        for key, places in paths.items()
        for place in places
        if place
    ]


def _is_a_file(folder: Path, name: str) -> bool:
    """Return whether a name is the path of a file, relative to the folder or to the working directory."""
    with contextlib.suppress(OSError, ValueError):  # too long, a null byte
        return (folder / name).is_file() or Path(name).is_file()
    return False


def _leads_away(name: str) -> bool:
    """Return whether a file's name leads out of the folder, into one below it, or to a hidden file."""
    return "/" in name or "\\" in name or name.startswith(".")


def _json_object(source: Any) -> dict[str, Any]:
    """Return the JSON object in a file, or ``source`` itself if it is one; else an empty dict."""
    with contextlib.suppress(OSError, ValueError, RecursionError):
        found = read_json(source) if isinstance(source, Path) else source
        return found if isinstance(found, dict) else {}
    return {}


def check_folder(folder: Path, name: str) -> Path:
    """Return ``folder`` if it holds a complete model: config, safetensors weights with every shard, tokenizer.

    Raises:
        InputError: naming what the folder lacks.
    """
    for path in folder.iterdir():
        if path.is_symlink() and not path.exists() and is_model_file(path.name):
            raise InputError(f"Base {name!r}: {path} is a broken link: the copy is incomplete, copy it again.")
    for path in model_files(folder).values():
        refuse_pointer(path)
    if not (folder / "config.json").is_file():
        if adapter_files(folder) is not None:
            raise InputError(_ADAPTER_ONLY.format(name=name, folder=folder))
        inside = [*_models_inside(folder)]
        hint = f"did you mean {' or '.join(inside[:3])}?" if inside else "expected a folder of save_pretrained."
        if not inside and (folder / "config.yaml").is_file():
            hint = "it is a run without a student/: not finished (the same command resumes it), or of another kind."
        raise InputError(f"Base {name!r}: {folder} holds no config.json; {hint}")
    try:
        config = read_json(folder / "config.json")
    except ValueError as err:
        raise InputError(f"Base {name!r}: {folder / 'config.json'} is damaged ({err}); copy it again.") from err
    if not isinstance(config, dict) or "model_type" not in config:
        raise InputError(f"Base {name!r}: {folder / 'config.json'} has no `model_type`; is it a transformers model?")
    for away in _model_reads_elsewhere(folder):  # an adapter in the folder is not read, which is reported elsewhere
        remedy = "remove the field" if away.startswith(("tokenizer", "special")) else "put it there"
        raise InputError(f"Base {name!r}: in {folder}, {away}, so its digest would not cover it; {remedy}.")
    if not has_whole_weights(folder):
        if adapter_files(folder) is not None:
            raise InputError(_ADAPTER_ONLY.format(name=name, folder=folder))
        raise InputError(
            f"Base {name!r}: {folder} holds no *.safetensors; pickled weights are not read, save the model again."
        )
    if lost := _lost_shards(folder):
        raise InputError(f"Base {name!r}: {folder} lacks {', '.join(lost[:3])}; the copy is incomplete, copy it again.")
    if not has_tokenizer(folder):
        raise InputError(f"Base {name!r}: {folder} holds no tokenizer; save the tokenizer in the same folder.")
    return folder


def _models_inside(folder: Path) -> Iterator[str]:
    """Yield the folders inside that hold a model or an adapter; two levels down in a hub's cache, and of runs."""
    for inner in sorted([*folder.glob("*/"), *folder.glob("snapshots/*/"), *folder.glob("*/student/")]):
        if holds_model(inner):
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
