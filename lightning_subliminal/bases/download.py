"""Download a model of the Hugging Face hub: the files that its digest covers, and of the weights those that are read.

A repository may hold its weights several times (``original/``, ``onnx/``, ``consolidated.safetensors``, pickles). Only
files in its root are fetched, and of the weights those that transformers would read. The small files come first: a
folder with weights has all else, also if the download was stopped. Weights are continued where an earlier download was
cut off or its process killed, and then have the digest that the hub names; the hub's client itself continues no file of
another process. It fetches what it has by Xet (``hf_xet`` installed, ``HF_HUB_DISABLE_XET`` not set), whole files.
"""

import logging
import os
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from glob import escape
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from rich.filesize import decimal

from lightning_subliminal.bases.folders import is_model_file, is_tokenizer_file
from lightning_subliminal.core.console import progress, say
from lightning_subliminal.core.error_messages import counted
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.fingerprint import file_digest
from lightning_subliminal.core.io.adapter_names import OWN_FILES, PEFT_FILES, is_adapter_file
from lightning_subliminal.core.io.files import read_json

__all__ = ["PATIENCE", "download", "quiet_hub"]

PATIENCE = 5.0  # seconds to wait for the hub's first answer
_WEIGHTS = "model.safetensors"
_INDEX = f"{_WEIGHTS}.index.json"
_BEGUN = ".incomplete"  # a name that the hub's tools know: `hf cache prune` deletes such files
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack")


def download(name: str) -> Path:
    """Download a model and return its folder in the hub's cache.

    Args:
        name: ``organisation/model`` or ``organisation/model@revision``.

    Raises:
        InputError: if the repository holds no model that can be read, or the disk has no room for it.
        Exception: of the hub's client, httpx or the operating system.
    """
    from huggingface_hub import HfApi

    place, _, revision = name.partition("@")
    info = HfApi().model_info(place, revision=revision or None, timeout=PATIENCE, files_metadata=True)
    sizes = {each.rfilename: each.size or 0 for each in info.siblings or ()}
    if fault := _fault(sizes):
        raise InputError(f"Base {name!r}: its repository on the hub {fault}")
    small = [file for file in sizes if _is_wanted(file, sizes) and not file.endswith(".safetensors")]
    folder = _fetch(name, revision, {file: sizes[file] for file in small})  # by its name, which the cache then knows
    weights = _weights(folder, sizes)
    if fault := _unread(folder) or _lost(weights, sizes):
        raise InputError(f"Base {name!r}: its repository on the hub {fault}")
    left = {file: sizes[file] for file in weights if not (folder / file).is_file()}
    large = {each.rfilename: each.lfs.sha256 for each in info.siblings or () if each.lfs and each.rfilename in left}
    parts = {file: folder.parents[1] / "blobs" / f"{sha256}{_BEGUN}" for file, sha256 in large.items()}
    begun = sum(part.stat().st_size for part in parts.values() if part.is_file())
    needed, free = sum(left.values()) - begun, shutil.disk_usage(folder).free
    if needed > free:
        raise InputError(
            f"Base {name!r} needs {decimal(needed)}, and the hub's cache has {decimal(free)} free ({folder}): free "
            "space there, or set HF_HUB_CACHE to a folder with room."
        )
    kept = f", {counted(len(weights) - len(left), 'file')} of weights kept" if len(left) < len(weights) else ""
    kept += f", after {decimal(begun)} that came before" if begun else ""
    say(
        f"base      {name}: downloading {counted(len(left), 'file')} of weights, {decimal(needed)}{kept}, at commit "
        f"{folder.name[:12]}"
    )
    return _fetch(name, folder.name, left, parts)


def _is_wanted(file: str, files: Collection[str]) -> bool:
    """Return whether a file of a repository is part of its model, or of its adapter if it holds no model."""
    if "/" in file and not file.startswith("additional_chat_templates/"):
        return False
    return is_model_file(file) != is_adapter_file(file) or (is_adapter_file(file) and "config.json" not in files)


def _fault(files: Collection[str]) -> str:
    """Return why a repository with these files holds no model that can be read; empty if it may hold one."""
    root = sorted(file for file in files if "/" not in file)
    if "config.json" not in root:
        if any(names.config in root for names in (OWN_FILES, PEFT_FILES)):
            return ""
        if any(file.endswith(".gguf") for file in root):
            return "holds GGUF files; safetensors alone are read: take the repository that they were made from."
        if any(map(is_tokenizer_file, root)):
            return "holds a tokenizer and no model: name a model, whose own tokenizer is used."
        return "holds no config.json: it is not a language model of transformers."
    if not any(map(is_tokenizer_file, root)):
        return "holds no tokenizer: save model and tokenizer in one local folder."
    if any(file.endswith(".safetensors") and not is_adapter_file(file) for file in root):
        return ""
    pickles = [file for file in root if file.endswith(_PICKLES)]
    if pickles:
        return (
            f"holds pickled weights ({pickles[0]}), which can run code; safetensors alone are read: name a revision "
            "with them, such as @refs/pr/1, or convert it once where that code may run."
        )
    return "holds no weights in its root (*.safetensors)."


def _unread(folder: Path) -> str:
    """Return why transformers has no causal language model for a config; empty if it has one, or for an adapter."""
    config = _object(folder / "config.json")
    kind = config.get("model_type")
    if not isinstance(kind, str):
        return ""  # an adapter, or a config that is refused later
    import transformers

    if kind in transformers.CONFIG_MAPPING:
        is_causal = transformers.CONFIG_MAPPING[kind] in transformers.MODEL_FOR_CAUSAL_LM_MAPPING
        return "" if is_causal else f"holds a model of type {kind!r}, which is not a causal language model."
    if "auto_map" in config:
        return f"needs code of its own for the type {kind!r}, and code of a repository is not run: take another model."
    version = transformers.__version__
    return f"holds a model of type {kind!r}, which transformers {version} doesn't know: pip install -U transformers."


def _weights(folder: Path, files: Collection[str]) -> list[str]:
    """Return the names of the weights that transformers would read for a model, or of an adapter's."""
    if not (folder / "config.json").is_file():
        return sorted(file for file in files if _is_wanted(file, files) and file.endswith(".safetensors"))
    named = _object(folder / "config.json").get("transformers_weights")
    found = {named} if isinstance(named, str) and not named.endswith(".json") else {_WEIGHTS} & {*files}
    index = named if isinstance(named, str) and named.endswith(".json") else _INDEX
    shards = _object(folder / index).get("weight_map")
    found |= {str(shard) for shard in shards.values()} if isinstance(shards, dict) else set()
    return sorted(file for file in found if "/" not in file)  # other places are refused with the folder


def _lost(weights: Collection[str], files: Collection[str]) -> str:
    """Return that a repository lacks weights; empty if it has all."""
    lost = sorted({*weights} - {*files})
    if lost:
        return f"lacks {', '.join(lost[:3])}, which its index names: take another revision, or report it to its owner."
    return "" if weights else f"holds neither {_WEIGHTS} nor {_INDEX}, so transformers would read no weights."


def _object(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file; empty if there is none, which is refused with the folder."""
    try:
        found = read_json(path)
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _fetch(name: str, revision: str, sizes: Mapping[str, int], parts: Mapping[str, Path] | None = None) -> Path:
    """Download files of a repository at a revision, with a progress bar, and return their folder.

    Args:
        name: of the repository.
        revision: a name or a commit.
        sizes: of the files.
        parts: where those are that may have been begun, at a commit.
    """
    from huggingface_hub import snapshot_download

    place = name.partition("@")[0]
    with progress() as shown, quiet_hub(), ThreadPoolExecutor() as pool:
        task = shown.add_task(f"{name}, MB", total=sum(sizes.values()) / 1e6)

        def advance(count: float) -> None:
            shown.advance(task, count / 1e6)

        begun = [
            pool.submit(_go_on, place, revision, file, part, sizes[file], advance)
            for file, part in (parts or {}).items()
        ]
        for each in begun:
            each.result()
        return Path(
            snapshot_download(
                place,
                revision=revision or None,
                allow_patterns=[escape(file) for file in sizes],
                etag_timeout=PATIENCE,
                tqdm_class=_bar(advance, "huggingface_hub.snapshot_download"),  # others count files, or bytes that came
            )
        )


def _go_on(place: str, commit: str, file: str, part: Path, size: int, advance: Callable[[float], None]) -> None:
    """Download a file from where its part ends, into the hub's cache; what is left out, the hub's client fetches."""
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_download, hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import WeakFileLock, build_hf_headers  # type: ignore[attr-defined]

    found = get_hf_file_metadata(url := hf_hub_url(place, file, revision=commit), timeout=PATIENCE)
    by_xet = found.xet_file_data is not None and find_spec("hf_xet") is not None and not constants.HF_HUB_DISABLE_XET
    if by_xet or size > constants.MAX_HTTP_DOWNLOAD_SIZE:
        return
    headers, blob = build_hf_headers(), part.with_suffix("")
    if urlsplit(url).netloc != urlsplit(found.location).netloc:
        headers.pop("authorization", None)
    lock = part.parents[2] / ".locks" / part.parents[1].name / f"{blob.name}.lock"  # the client's
    for folder in (part.parent, lock.parent):
        folder.mkdir(parents=True, exist_ok=True)
    with WeakFileLock(lock):
        if not blob.exists():
            with part.open("ab") as out:
                if out.tell() > size:
                    out.truncate(out.seek(0))
                advance(out.tell())
                bar = _bar(advance, "huggingface_hub.http_get")
                http_get(
                    found.location, out, resume_size=out.tell(), expected_size=size, headers=headers, tqdm_class=bar
                )
            if file_digest(part) != blob.name:
                part.unlink()
                advance(-size)
                return
            os.replace(part, blob)
    hf_hub_download(place, file, revision=commit, etag_timeout=PATIENCE)  # links it


@contextmanager
def quiet_hub() -> Iterator[None]:
    """Silence remarks of the hub's client inside, such as one for each attempt: its error says what to do."""
    logger = logging.getLogger("huggingface_hub")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def _bar(advance: Callable[[float], None], name: str) -> type[Any]:
    """Return a class for the bars of the hub's client that draws none; that of a name passes on the bytes it counts."""
    from huggingface_hub.utils.tqdm import tqdm

    class Bar(tqdm):
        def __init__(self, *args: Any, **settings: Any) -> None:
            self._counts = settings.get("name") == name
            super().__init__(*args, **{**settings, "disable": True})  # type: ignore[no-untyped-call]

        def update(self, n: float | None = 1) -> None:
            if self._counts:
                advance(n or 0)

    return Bar
