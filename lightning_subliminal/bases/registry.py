"""Bases by name: their digests, and their names for other tools; read without importing torch."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

from lightning_subliminal.bases.folders import (
    check_loaded,
    folder_digest,
    has_chat_template,
    model_files,
    remembered_digest,
)
from lightning_subliminal.bases.hub import commit_note, is_hub_id
from lightning_subliminal.bases.lookup import POCKET, POCKET_BASES, available, find_folder, register
from lightning_subliminal.bases.tokenizers import read_tokenizer
from lightning_subliminal.core.chat.encoding import frame
from lightning_subliminal.core.fingerprint import digest
from lightning_subliminal.lineage import Material
from lightning_subliminal.lineage.names import RECORD
from lightning_subliminal.lineage.record import known_statement

__all__ = [
    "Base",
    "available",
    "is_on_hub",
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
