"""Search of this disk for parents, which statements name by a digest and a place in a cache, and for test results."""

import os
import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

from lightning_subliminal.bases import available, resolve
from lightning_subliminal.bases.gguf import GGUF_BASES
from lightning_subliminal.bases.hub import is_hub_id, local_copy
from lightning_subliminal.bases.lookup import POCKET, base_of_adapter
from lightning_subliminal.bases.noise import noisy_place, split_noise
from lightning_subliminal.core.cache import cache_root
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.fingerprint import file_digest
from lightning_subliminal.core.io.adapter_names import adapter_files
from lightning_subliminal.lineage.material import SCHEME, Material
from lightning_subliminal.lineage.names import RECORD, RESULTS, check_name, statement_place
from lightning_subliminal.lineage.statement import Statement, read_statement
from lightning_subliminal.lineage.strict_json import parse, read_bytes

__all__ = ["BASE", "Places", "named_base", "read_beside"]

BASE = "base:"
_CACHE_FOLDERS = ("teachers", "students", "rows", "completions", "measured", "bases")
_DEPTH = 3  # folders below a root: work/runs/owl_numbers-0123/student
_MOST_FOLDERS = 20_000  # searched below a root, which may be a user's whole home


class Places:
    """Folders in which an artefact's parents may be.

    Args:
        start: the artefact where the audit starts.
        search: further folders, such as another cache.

    Attributes:
        unread: unreadable folders and files that may hold test results, each with the reason.
    """

    def __init__(self, start: Path, search: Sequence[Path] = ()) -> None:
        self.unread: dict[Path, str] = {}
        near = [start, *start.parents][:4]
        self._near = [*search, *near, cache_root()]
        # os.path.isdir, as Path.is_dir raises if a parent folder may not be entered.
        caches = [each for each in near if any(os.path.isdir(each / name) for name in _CACHE_FOLDERS)]
        self._ours = [*search, *caches, cache_root(), start]  # elsewhere, as in /home, unreadable folders are normal
        self._roots = list(dict.fromkeys([*search, *caches, cache_root(), near[0], *near[1:2], Path.cwd() / "runs"]))

    def hinted(self, material: Material) -> Iterator[Path]:
        """Yield the folders or files that a material may be by its name; their digests are not checked.

        Raises:
            InputError: if the name would lead out of a root.
        """
        if material.uri.startswith(BASE):
            yield from _base_folders(material.uri.removeprefix(BASE))
            return
        place = material.uri.removeprefix(SCHEME)
        check_name(place)
        for root in self._near:
            for path in (root / place, root / place.rpartition("/")[2]):
                if path.exists():
                    yield path

    @cached_property
    def by_statement(self) -> dict[str, Path]:
        """The artefact of each statement below the roots, by the statement's SHA-256."""
        found: dict[str, Path] = {}
        for root in [*self._roots, POCKET]:
            for folder, names in _folders(root, {}):
                for path in (folder / name for name in names if name.endswith(RECORD)):
                    subject = _subject(path)
                    if subject is not None and path.is_file() and path.stat().st_size < 1 << 24:
                        found.setdefault(file_digest(path), subject)
        return found

    def test_results(self) -> Iterator[Path]:
        """Yield the statements of test results below the roots."""
        seen: set[Path] = set()
        for root in self._roots:
            for folder, names in _folders(root, self.unread if root in self._ours else {}):
                if folder.name != RESULTS:
                    continue
                for path in (folder / name for name in sorted(names) if name.endswith(".json")):
                    if not path.name.endswith(".dsse.json") and path.resolve() not in seen:
                        seen.add(path.resolve())
                        yield path


def _folders(root: Path, unread: dict[Path, str]) -> Iterator[tuple[Path, list[str]]]:
    """Yield the folders below a root with their files, near ones first, without hidden ones and links; fill unread."""
    waiting = [(root, 0)] if os.path.isdir(root) else []
    for count, (folder, depth) in enumerate(waiting):
        if count >= _MOST_FOLDERS:
            return
        try:
            entries = sorted(os.scandir(folder), key=lambda each: each.name)
            yield folder, [each.name for each in entries if each.is_file()]
            if depth < _DEPTH:
                inner = (each for each in entries if each.name[0] != "." and each.is_dir(follow_symlinks=False))
                waiting += [(Path(each.path), depth + 1) for each in inner]
        except OSError as err:
            unread[folder] = f"it can't be read ({err.strerror}) and may hold test results"


def _subject(statement: Path) -> Path | None:
    """Return the folder or file that a statement's file is about; None if it does not have a statement's name."""
    if statement.name == RECORD:
        return statement.parent
    name = statement.name.removesuffix(f".{RECORD}")
    subject = statement.parent / name
    return subject if name and statement.name == f"{name}.{RECORD}" and subject.is_file() else None


def named_base(folder: Path) -> Path | None:
    """Return the folder that an adapter's config names as its base, which PEFT opens; None if there is none.

    A whole copy elsewhere proves nothing about what is loaded.
    """
    try:
        files = adapter_files(folder)
        config = parse(read_bytes(folder / files.config), files.config) if files is not None else {}
        name = config.get("base_model_name_or_path")
        named = base_of_adapter(name, folder) if isinstance(name, str) else None
        base = Path(named).expanduser() if named is not None and named not in available() else None
        return base if base is not None and base.is_dir() else None
    except (InputError, OSError, RuntimeError, ValueError):  # the config's digest reveals any change of it
        return None


def _base_folders(name: str) -> Iterator[Path]:
    """Yield the folder of a base, if it is on this machine: an audit downloads and converts nothing."""
    name = name if Path(name).expanduser().exists() else name.partition("?")[0]
    if re.fullmatch(r"pocket/[\w-]+", name):
        yield POCKET / name.removeprefix("pocket/")
        return
    if name in GGUF_BASES:
        yield from sorted((cache_root() / "bases").glob(f"{name}-*"))
        return
    if name in available():  # the user's own, by `register`
        yield resolve(name).folder
        return
    path = Path(name).expanduser()
    if path.is_dir():
        yield path
    elif (noisy := split_noise(name)) is not None:  # only the copy that a loader would open
        inner, noise, seed = noisy
        made = (noisy_place(each, noise, seed) for each in _base_folders(inner))
        yield from (each for each in made if each.is_dir())
    elif is_hub_id(name):
        try:
            found = local_copy(name)
        except Exception:  # the Hub's client raises errors of three libraries if there is no copy
            return
        yield found


def read_beside(path: Path) -> Statement | None:
    """Read the statement about an artefact; None if there is none.

    Raises:
        InputError: if it is not a valid statement, or is a link.
    """
    place = statement_place(path)
    if place.is_symlink():
        raise InputError(f"{place} is a link: expected a plain file.")
    return read_statement(place) if place.exists() else None
