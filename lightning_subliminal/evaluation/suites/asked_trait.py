"""The trait of a suite with ``$trait``: from `--trait`, or from the run that a model comes from."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning_subliminal.core.config.safe_yaml import load_yaml, read_text
from lightning_subliminal.core.errors import InputError

__all__ = ["TRAIT", "config_trait", "foreign_class", "parse_trait", "run_trait", "with_trait"]

TRAIT = "$trait"  # the placeholder in a suite


def parse_trait(text: str) -> dict[str, Any]:
    """Return the class and arguments of a trait, from a target or from YAML with a class_path.

    Raises:
        InputError: if it is neither.
    """
    try:
        trait = load_yaml(text, "--trait")
    except InputError:
        trait = None
    if isinstance(trait, dict) and set(trait) <= {"class_path", "init_args"} and "class_path" in trait:
        return trait
    if not isinstance(trait, str):
        raise InputError(f"--trait {text!r} is not a trait: give a target, such as owl, or {{class_path: ...}}.")
    return {"class_path": "lightning_subliminal.PreferenceTrait", "init_args": {"target": trait}}


def run_trait(places: Sequence[str]) -> dict[str, Any] | None:
    """Return the trait of the runs that some of the models come from; None without one.

    Args:
        places: models as ``evaluate`` takes them: a run's folder, or its ``student``.

    Raises:
        InputError: if their traits differ, or one is of another package.
    """
    found: dict[str, Any] = {}
    for place in places:
        folder = Path(place if Path(place).exists() else place.partition("=")[2]).expanduser()
        for run in (folder, folder.absolute().parent):
            if (trait := config_trait(run)) is not None:
                found.setdefault(repr(trait), (place, trait))
                break
    if len(found) > 1:
        (one, _), (other, _), *_ = found.values()
        raise InputError(f"{one} and {other} were trained for different traits: choose one with --trait.")
    for place, trait in found.values():
        if foreign := foreign_class(trait):
            raise InputError(
                f"{place} was trained for the trait {foreign}, a class that is not of this package: if you trust it, "
                f"set --trait '{{class_path: {foreign}, ...}}'."
            )
        return dict(trait)
    return None


def config_trait(run: Path) -> dict[str, Any] | None:
    """Return the class and arguments of the trait in a run's config.yaml; None without one."""
    path = run / "config.yaml"
    try:
        config = load_yaml(read_text(path), str(path)) if path.is_file() else None
    except (OSError, InputError):  # another tool's file
        return None
    return _trait_in(config.get("data")) if isinstance(config, dict) else None


def with_trait(config: Any, trait: dict[str, Any]) -> Any:
    """Return a suite's YAML with the trait in place of each ``$trait``."""
    if isinstance(config, dict):
        return {key: with_trait(value, trait) for key, value in config.items()}
    if isinstance(config, list):
        return [with_trait(each, trait) for each in config]
    return trait if config == TRAIT else config


def _trait_in(config: Any) -> dict[str, Any] | None:
    """Return the first trait with a class among a data module's settings."""
    if isinstance(config, dict):
        trait = config.get("trait")
        if isinstance(trait, dict) and "class_path" in trait:
            return trait
    return next((found for each in _children(config) if (found := _trait_in(each)) is not None), None)


def foreign_class(config: Any) -> str:
    """Return the first class among a trait's settings that is not of this package; empty without one.

    A run's folder may come from another user: a class must not be imported, and so run, because a file names it.
    """
    name = str(config["class_path"]) if isinstance(config, dict) and "class_path" in config else ""
    if "." in name and not name.startswith("lightning_subliminal."):
        return name
    return next((found for each in _children(config) if (found := foreign_class(each))), "")


def _children(config: Any) -> list[Any]:
    return list(config.values()) if isinstance(config, dict) else config if isinstance(config, list) else []
