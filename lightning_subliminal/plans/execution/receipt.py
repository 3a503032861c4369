"""What a run of a plan read, made and said, so that the same command sees by its files alone that all is there.

To build a plan takes torch, transformers and seven CPU seconds. A receipt lies in the report's folder, and is used if
every file that the run opened while it built the plan, every file of its measurements and of its report, and all of
this package have the size, inode and times that they had; the change time of a file can't be set by hand. Anything
else, such as another module or YAML in the working folder, leads to the long way, which looks at contents.
"""

import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.machinery import all_suffixes
from pathlib import Path
from typing import Any

from rich.table import Table

from lightning_subliminal.core.cache import known_runs
from lightning_subliminal.core.config.shipped import shipped_configs
from lightning_subliminal.core.io.files import atomically
from lightning_subliminal.core.safe_output import rich_console

__all__ = ["Receipt"]

NAME = "receipt.json"
_PACKAGE = Path(__file__).parents[2]
_ENVIRONMENT = ("LIGHTNING_SUBLIMINAL_", "HF_HOME", "HF_HUB_CACHE", "HF_HUB_OFFLINE")
_SYSTEM = ("/proc/", "/sys/", "/dev/")
_CHANGES = {NAME, "log.txt"}  # in a report's folder

_seen: dict[str, list[int] | None] | None = None  # the files that were opened for reading, where somebody wants to know
_hooked = False


class Receipt:
    """The receipt of a command.

    Args:
        asked: what it was asked for, JSON-able: another request has another receipt.
    """

    def __init__(self, asked: Sequence[Any]) -> None:
        self.asked = asked
        self.said: list[Any] = []
        self._read: dict[str, list[int] | None] = {}

    def replay(self) -> bool:
        """Print what the run said, if nothing has changed since; return whether that is so."""
        if any(os.environ.get(name, "0") != "0" for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID")):
            return False
        for folder in reversed(known_runs()):
            with suppress(OSError, ValueError, KeyError, TypeError):
                found = json.loads((folder / NAME).read_text(encoding="utf-8"))
                if found["key"] != self._key() or any(_stamp(path) != had for path, had in found["files"].items()):
                    continue
                console = rich_console(highlight=False, emoji=False)
                for each in map(_shown, found["said"]):
                    console.print(each, markup=False, soft_wrap=isinstance(each, str))
                return True
        return False

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Note the files that are opened for reading inside, and how they are then."""
        global _seen, _hooked
        if not _hooked:
            sys.addaudithook(_note)  # which can't be removed
            _hooked = True
        before, _seen = _seen, self._read
        try:
            yield
        finally:
            _seen = before

    def write(self, folder: Path, made: Iterable[Path], said: Sequence[Any]) -> None:
        """Write the receipt.

        Args:
            folder: of the report.
            made: the folders of the measurements, which were made or found whole.
            said: the texts and tables that the same command would print if it made nothing.
        """
        kept = [os.path.realpath(each) for each in made]
        parents = tuple({f"{os.path.dirname(each)}{os.sep}" for each in kept})  # read while they were not there yet
        files = {path: stamp for path, stamp in self._read.items() if not os.path.realpath(path).startswith(parents)}
        for path in [path for path in files if path.startswith(f"{tempfile.gettempdir()}{os.sep}")]:
            if files[path] is not None and _stamp(path) is None:  # a copy that was deleted while the plan was built
                del files[path]
        for each in (*kept, str(folder.absolute())):
            files |= {path: _stamp(path) for path in _below(each) if os.path.basename(path) not in _CHANGES}
        for module in list(sys.modules.values()):  # a user's own classes
            source = getattr(module, "__file__", None)
            if source and not source.startswith((sys.prefix, sys.base_prefix, str(_PACKAGE))):
                files[os.path.abspath(source)] = _stamp(source)
        content = {"key": self._key(), "files": files, "said": [_plain(each) for each in said]}
        with suppress(OSError):  # the next run takes the long way
            atomically(folder / NAME, lambda path: path.write_text(json.dumps(content), encoding="utf-8"))

    def _key(self) -> str:
        """Return a digest of the request, the working folder, the environment and the installed code."""
        environment = sorted(f"{name}={value}" for name, value in os.environ.items() if name.startswith(_ENVIRONMENT))
        installed = [[path, _stamp(path)] for path in sys.path if path.endswith("-packages")]
        code = [[path, _stamp(path)] for path in sorted(_below(str(_PACKAGE))) if "__pycache__" not in path]
        here = [os.getcwd(), _meaningful()]
        text = json.dumps([self.asked, here, environment, sys.version, installed, code])
        return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def _note(event: str, args: tuple[Any, ...]) -> None:
    if _seen is None or event != "open" or not isinstance(args[0], (str, os.PathLike)):
        return
    path = os.path.abspath(args[0])
    writes = isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR)
    installed = path.endswith(".pyc") or path.startswith((*_SYSTEM, sys.prefix, sys.base_prefix, f"{_PACKAGE}{os.sep}"))
    if not (writes or installed or path in _seen):
        _seen[path] = _stamp(path)


def _stamp(path: str) -> list[int] | None:
    """Return what changes with a file; None if it is not there."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return [found.st_size, found.st_ino, found.st_mtime_ns, found.st_ctime_ns]


def _meaningful() -> list[str]:
    """Return what in the working folder can take the place of a module, of a shipped config or of a base."""
    named = {name.partition("/")[0] for name in shipped_configs()}
    with os.scandir() as entries:
        return sorted(each.name for each in entries if each.is_dir() or each.name in named or _read_by_name(each.name))


def _read_by_name(name: str) -> bool:
    return name.endswith((".yaml", ".yml", *all_suffixes()))


def _below(folder: str) -> Iterator[str]:
    """Yield the files of a folder."""
    for place, _, names in os.walk(folder):
        yield from (os.path.join(place, name) for name in names)


def _plain(said: Any) -> Any:
    """Return a text as it is, and a table as JSON-able data."""
    if not isinstance(said, Table):
        return str(said)
    columns = [[str(each.header), each.overflow, list(each.cells)] for each in said.columns]
    return {"title": said.title, "justify": said.title_justify, "caption": said.caption, "columns": columns}


def _shown(said: Any) -> Any:
    """Return a text as it is, and a table of rich from its data."""
    if isinstance(said, str):
        return said
    table = Table(title=said["title"], title_justify=said["justify"], caption=said["caption"])
    for header, overflow, _ in said["columns"]:
        table.add_column(header, overflow=overflow)
    for row in zip(*(cells for _, _, cells in said["columns"]), strict=True):
        table.add_row(*row)
    return table
