"""Configs shipped with the package, found by name from any folder.

Their source is ``configs/`` at the root of the repository. A wheel has them in ``lightning_subliminal/configs``; an
editable install or a source tree reads them in place.
"""

import difflib
import os
import warnings
from contextlib import suppress
from functools import cache
from pathlib import Path

from lightning_subliminal.core.errors import InputError

__all__ = ["find_config", "meant_config", "shipped_config", "shipped_configs"]

_PACKAGE = Path(__file__).parents[2]
_SUFFIXES = (".yaml", ".yml")
_FOLDERS = {"plan": "experiments/", "suite": "suites/"}  # for kinds of config other than that of `fit`
_LIST = "`lightning-subliminal configs list` shows them"


@cache
def shipped_configs() -> dict[str, Path]:
    """Return the shipped configs by name: ``owl_numbers``, ``experiments/paper``, ``suites/pocket``."""
    root = _PACKAGE / "configs"
    if not root.is_dir() and (_PACKAGE.parent / "setup.cfg").is_file():  # else another package's folder of that name
        root = _PACKAGE.parent / "configs"
    found = sorted(root.rglob("*.yaml"), key=lambda path: (len(path.relative_to(root).parts), path))
    return {path.relative_to(root).as_posix().removesuffix(".yaml"): path for path in found}


def shipped_config(name: str) -> Path:
    """Return the file of a shipped config; raise an InputError naming the most similar one, if none has this name."""
    if name in shipped_configs():
        return shipped_configs()[name]
    raise InputError(f"There is no shipped config {name!r}{_meant(name, 'config')}{_LIST}.")


def find_config(word: str | Path, what: str = "config", folder: Path | None = None) -> Path:
    """Return the file of a path or of a shipped config's name; a path that exists takes precedence.

    Args:
        word: a path, or a name such as ``owl_numbers`` or ``experiments/paper``.
        what: config, carrier, plan or suite; the name of a plan or a suite may omit its folder.
        folder: the folder of a relative path; None for the working directory.

    Raises:
        InputError: naming the most similar one, if there is neither a file nor a shipped config.
    """
    name = str(word)
    path = Path(word).expanduser() if folder is None else folder / Path(word).expanduser()
    if os.path.exists(path) and not path.is_dir():  # others than regular files, such as a pipe, can be read
        return path
    known = shipped_configs()
    if shipped := known.get(f"{_FOLDERS.get(what, '')}{name}") or known.get(name):
        if sibling := next((f"{path}{suffix}" for suffix in _SUFFIXES if os.path.isfile(f"{path}{suffix}")), None):
            warnings.warn(
                f"`{name}` is the shipped {what}; for the file {sibling} write the suffix, too.", stacklevel=2
            )
        return shipped
    stems = (name, name.removesuffix(path.suffix)) if path.suffix in _SUFFIXES else (name,)
    near = [f"{stem}{suffix}" for stem in stems for suffix in _SUFFIXES]
    sibling = next((each for each in near if (folder or Path()).joinpath(Path(each).expanduser()).is_file()), None)
    hint = f"; did you mean `{sibling}`?" if sibling is not None else f"{_meant(name, what)}{_LIST}."
    if path.is_dir():
        raise InputError(f"The {what} {name} can't be read: it is a folder{hint}")
    raise InputError(
        f"The {what} {name} is not there: no file and no shipped config {name!r} "
        f"(looked in {folder or Path.cwd()}){hint}"
    )


def meant_config(word: str) -> str:
    """Return ``did you mean `--config owl_numbers`?`` for a word that names a config or a plan; empty for others."""
    for what in ("config", "plan"):
        with suppress(InputError):
            find_config(word, what)
            return f"did you mean `--config {word}`?"
    return ""


def _meant(word: str, what: str) -> str:
    """Return ``; did you mean `x`? `` for the shipped config most similar to a word, or ``: `` if there is none."""
    parts = word.removesuffix(".yaml").removesuffix(".yml").casefold().split("/")
    tails = ["/".join(parts[place:]) for place in range(len(parts))]  # configs/suites/pocket, suites/pocket, pocket
    folder = _FOLDERS.get(what, "")
    own = [name for name in shipped_configs() if name.rpartition("/")[0] == folder.rstrip("/")]
    for names in (own, list(shipped_configs())):  # its own kind first
        keys = {key.casefold(): name for name in names for key in (name.rpartition("/")[2], name)}
        for cutoff in (1.0, 0.7):
            for tail in tails:
                if near := difflib.get_close_matches(tail, keys, n=1, cutoff=cutoff):
                    return f"; did you mean `{keys[near[0]]}`? "
    return ": "
