"""The trait that a suite with ``$trait`` asks for: that of the run a model comes from, or another."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning_subliminal.core.config.safe_yaml import load_yaml, read_text
from lightning_subliminal.core.errors import InputError

__all__ = ["TRAIT", "config_trait", "foreign_class", "run_trait", "told_trait", "with_trait"]

TRAIT = "$trait"  # stands in a suite for the trait


def told_trait(words: str) -> dict[str, Any]:
    """Return the class and arguments of a trait, as a YAML names it: from a target, or from such a mapping.

    Raises:
        InputError: if it is neither.
    """
    try:
        told = load_yaml(words, "--trait")
    except InputError:
        told = None
    if isinstance(told, dict) and set(told) <= {"class_path", "init_args"} and "class_path" in told:
        return told
    if not isinstance(told, str):
        raise InputError(f"--trait {words!r} is no trait: give a target, such as owl, or {{class_path: ...}}.")
    return {"class_path": "lightning_subliminal.PreferenceTrait", "init_args": {"target": told}}


def run_trait(places: Sequence[str]) -> dict[str, Any] | None:
    """Return the trait of the runs that some of the models come from; None where none does.

    Args:
        places: models as ``evaluate`` takes them: a run's folder, or its ``student``.

    Raises:
        InputError: if they were trained for several traits, or for one of another package.
    """
    found: dict[str, Any] = {}
    for place in places:
        folder = Path(place if Path(place).exists() else place.partition("=")[2]).expanduser()
        for run in (folder, folder.absolute().parent):
            told = config_trait(run)
            if told is not None:
                found.setdefault(repr(told), (place, told))
                break
    if len(found) > 1:
        (one, _), (other, _), *_ = found.values()
        raise InputError(f"{one} and {other} were trained for different traits: say by --trait which one to ask for.")
    for place, told in found.values():
        if foreign := foreign_class(told):
            raise InputError(
                f"{place} was trained for the trait {foreign}, a class that is not of this package: if you trust it, "
                f"say --trait '{{class_path: {foreign}, ...}}'."
            )
    return next(iter(found.values()))[1] if found else None


def config_trait(run: Path) -> dict[str, Any] | None:
    """Return the class and arguments of the trait that a run's config.yaml names; None where it names none."""
    return _trait_in(_read(run / "config.yaml").get("data"))


def with_trait(told: Any, trait: dict[str, Any]) -> Any:
    """Return what a suite's YAML holds with the trait where it says ``$trait``."""
    if isinstance(told, dict):
        return {key: with_trait(value, trait) for key, value in told.items()}
    if isinstance(told, list):
        return [with_trait(each, trait) for each in told]
    return trait if told == TRAIT else told


def _read(path: Path) -> dict[str, Any]:
    try:
        told = load_yaml(read_text(path), str(path)) if path.is_file() else None
    except (OSError, InputError):  # somebody else's: then nothing is known
        return {}
    return told if isinstance(told, dict) else {}


def _trait_in(told: Any) -> dict[str, Any] | None:
    """Return the first trait with a class among a data module's settings."""
    if isinstance(told, dict):
        mine = told.get("trait")
        if isinstance(mine, dict) and "class_path" in mine:
            return mine
        return next((found for each in told.values() if (found := _trait_in(each)) is not None), None)
    if isinstance(told, list):
        return next((found for each in told if (found := _trait_in(each)) is not None), None)
    return None


def foreign_class(told: Any) -> str:
    """Return the first class that a trait's settings name and that is not of this package; empty without one.

    A run's folder may be somebody else's: a class must not be imported, and so run, because a file in it names one.
    """
    inside = list(told.values()) if isinstance(told, dict) else told if isinstance(told, list) else []
    named = str(told["class_path"]) if isinstance(told, dict) and "class_path" in told else ""
    if "." in named and not named.startswith("lightning_subliminal."):
        return named
    return next((found for each in inside if (found := foreign_class(each))), "")
