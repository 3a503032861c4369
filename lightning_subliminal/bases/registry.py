"""Bases by name: their digests, their models and tokenizers, and their names for other tools."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch

from lightning_subliminal.bases.folders import (
    check_loaded,
    folder_digest,
    has_chat_template,
    model_files,
    only_model_files,
    remembered_digest,
    weight_bytes,
)
from lightning_subliminal.bases.hub import commit_note, is_hub_id
from lightning_subliminal.bases.lookup import POCKET, POCKET_BASES, available, find_folder, register
from lightning_subliminal.bases.save import quiet_transformers
from lightning_subliminal.bases.tokenizers import (
    check_tokenizer,
    first_line,
    fit_tokenizer,
    load_tokenizer,
    read_tokenizer,
    report_frame,
    say_once,
)
from lightning_subliminal.bases.weight_headers import check_size
from lightning_subliminal.core.chat.encoding import frame
from lightning_subliminal.core.console import console
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.fingerprint import digest
from lightning_subliminal.core.io.adapter_names import adapter_files
from lightning_subliminal.core.io.files import read_json
from lightning_subliminal.core.threads import threads_for
from lightning_subliminal.lineage import Material
from lightning_subliminal.lineage.names import RECORD
from lightning_subliminal.lineage.record import known_statement

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

__all__ = [
    "Base",
    "available",
    "check_tokenizer",
    "fit_tokenizer",
    "is_on_hub",
    "load",
    "load_tokenizer",
    "material",
    "outside_name",
    "peft_base",
    "register",
    "remembering",
    "resolve",
    "shipped_name",
]

# The folders of the shipped bases in any installation: now, and before version 0.2.
_SHIPPED = (POCKET.parts[-4:], ("lightning_subliminal", "pocket", "weights"))
_THREADS = torch.get_num_threads()  # before any user code can change it
_IDENTITIES: dict[tuple[str, str], str] = {}


@dataclass(frozen=True)
class Base:
    """A base model, found.

    Attributes:
        name: the user's name of it.
        folder: the folder with its files.
        digest: SHA-256 of the files that determine its behaviour (see ``folder_digest``).
        has_chat_template: whether its tokenizer has one.
    """

    name: str
    folder: Path
    digest: str
    has_chat_template: bool

    @property
    def identity(self) -> str:
        """SHA-256 of all that determines what a model reads and writes: its files and its chat frame.

        It equals ``digest`` if the chat template only marks turns, since the files then determine the frame.
        """
        if not self.has_chat_template:
            return self.digest
        key = (self.digest, self.name.partition("?")[2])
        if key not in _IDENTITIES:
            form = frame(read_tokenizer(self.folder, self.name))
            parts = {"files": self.digest, "frame": form.describe(), "arguments": dict(form.arguments)}
            _IDENTITIES[key] = self.digest if form.plain else digest(parts)
        return _IDENTITIES[key]


_REMEMBERED: ContextVar[dict[str, Base] | None] = ContextVar("remembered bases", default=None)
_OTHERWISE: ContextVar[Callable[[str], Base] | None] = ContextVar("another way to find bases", default=None)


def resolve(name: str) -> Base:
    """Find a base by name and compute its digest; a hub model is downloaded, SmolLM2 converted, if needed.

    Args:
        name: a name in the registry, a local folder, or a hub id (``organisation/model`` or
            ``organisation/model@revision``), tried in this order. ``+noise=0.05`` behind it adds noise to the weights
            (see ``split_noise``); ``?enable_thinking=false&date=2026-01-31`` at the very end sets arguments of the chat
            template.

    Raises:
        InputError: if there is no such base, or it is not complete.
    """
    if (otherwise := _OTHERWISE.get()) is not None:
        return otherwise(name)
    known = _REMEMBERED.get()
    if known is None or name not in known:
        folder = find_folder(name)
        found = Base(name, folder, folder_digest(folder), has_chat_template(folder))
        if known is None:
            return found
        known[name] = found
    return known[name]


def material(name: str, role: str = "base") -> Material:
    """Return a base as a material for lineage: its name, its digest, and its own statement, if it has one.

    Args:
        name: as for ``resolve``.
        role: its role in the stage: base, judge.

    Raises:
        InputError: if there is no such base.
    """
    found = resolve(name)
    check_loaded(found.folder)
    record = known_statement(found.folder / RECORD)
    if record is not None and any(  # a statement about something else
        record.files.get(file) != remembered_digest(path) for file, path in model_files(found.folder).items()
    ):
        record = None
    statement = record.sha256 if record is not None else None
    return Material(role, f"base:{name}", {"dirHash": found.digest}, statement, commit_note(found.folder))


@contextmanager
def remembering() -> Iterator[None]:
    """Look up each base only once inside, for callers that resolve it some thousand times, such as a plan."""
    token = _REMEMBERED.set({})
    try:
        yield
    finally:
        _REMEMBERED.reset(token)


@contextmanager
def resolving(find: Callable[[str], Base]) -> Iterator[None]:
    """Find bases in another way inside."""
    token = _OTHERWISE.set(find)
    try:
        yield
    finally:
        _OTHERWISE.reset(token)


def load(name: str, *, dtype: str | torch.dtype | None = None) -> "tuple[PreTrainedModel, PreTrainedTokenizerBase]":
    """Load a base's model, in evaluation mode and on the CPU, and its tokenizer.

    A tokenizer without a padding token pads with its end token.

    Args:
        name: as for ``resolve``.
        dtype: of the weights, such as ``"bfloat16"``; None keeps that of the files.

    Raises:
        InputError: if there is no such base, its files are damaged, or model and tokenizer don't fit.
    """
    folder = find_folder(name)
    tokenizer = read_tokenizer(folder, name)
    report_frame(folder, tokenizer, name)
    net = _load_net(folder, name, dtype)
    fit_tokenizer(net, tokenizer, name)
    threads_for(net, _THREADS)
    return net, tokenizer


def _load_net(folder: Path, name: str, dtype: str | torch.dtype | None) -> "PreTrainedModel":
    from transformers import AutoModelForCausalLM

    if isinstance(dtype, str) and not isinstance(getattr(torch, dtype, None), torch.dtype):
        raise InputError(f"`dtype` is {dtype!r}; expected one such as float32 or bfloat16.")
    weights = [path for path in model_files(folder).values() if path.suffix == ".safetensors"]
    check_size(read_json(folder / "config.json"), weights, folder / "config.json")
    size = weight_bytes(folder)
    waiting = console.status(f"Loading {name} ({size / 1e9:.1f} GB)") if size > 2**28 else nullcontext()
    if adapter_files(folder) is not None:
        line = f"base      {name} holds whole weights and adapter files: the whole weights are read, the adapter is not"
        say_once(folder, "adapter", line)
    try:
        with waiting, quiet_transformers(), only_model_files(folder) as place:
            net, info = AutoModelForCausalLM.from_pretrained(
                place,
                dtype=dtype or "auto",
                attn_implementation="sdpa",
                use_safetensors=True,
                trust_remote_code=False,  # nor ask at the terminal whether to run code that a config names
                local_files_only=True,
                output_loading_info=True,
            )
    except Exception as err:  # safetensors, transformers and torch each raise their own
        raise InputError(f"Base {name!r}: the weights in {folder} can't be loaded ({first_line(err)}).") from err
    if missing := sorted(info["missing_keys"]):  # transformers fills them with random numbers
        raise InputError(f"Base {name!r}: the weights in {folder} lack {missing[0]} and {len(missing) - 1} more.")
    if unread := sorted(info["unexpected_keys"]):
        count = f"{len(unread)} tensors of its files are" if len(unread) > 1 else "a tensor of its files is"
        say_once(folder, "unread", f"base      {name}: {count} not read, its model has no such part: {unread[0]}")
    net.name_or_path = str(folder)
    return cast("PreTrainedModel", net)


def outside_name(name: str) -> str:
    """Return a name by which any tool can open a base: its id on the hub, with ``@revision``, or its folder's path.

    Both lack arguments of the chat template (``?enable_thinking=false``): the lineage record has them.

    Raises:
        InputError: if there is no such base.
    """
    return name.partition("?")[0] if is_on_hub(name) else str(resolve(name).folder.absolute())


def is_on_hub(name: str) -> bool:
    """Return whether a base's name is a hub id, and neither in the registry nor a local folder."""
    plain = name.partition("?")[0]
    here = plain in available() or any(Path(each).expanduser().exists() for each in (name, plain))
    return is_hub_id(plain) and not here


def peft_base(name: str) -> dict[str, str | None]:
    """Return the fields of PEFT's config by which PEFT opens a base; raise an InputError if there is no such base."""
    path = outside_name(name)
    path, _, revision = path.partition("@") if is_hub_id(path) else (path, "", "")
    return {"base_model_name_or_path": path, "revision": revision or None}


def shipped_name(path: str) -> str | None:
    """Return the name of a shipped base by its folder's path on any machine; None for other paths."""
    *above, which = Path(path).parts or ("",)
    shipped = any(tuple(above[-len(each) :]) == each for each in _SHIPPED)
    return f"pocket/{which}" if shipped and which in POCKET_BASES else None
