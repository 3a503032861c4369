"""Load the probes that a suite's YAML lists."""

from pathlib import Path
from typing import Any

from lightning_subliminal.core.config.safe_yaml import load_yaml, read_text
from lightning_subliminal.core.config.shipped import find_config
from lightning_subliminal.core.console import say
from lightning_subliminal.core.error_messages import OneLineParser
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.io.bounds import MAX_SETTINGS
from lightning_subliminal.evaluation import Probe
from lightning_subliminal.evaluation.suites.asked_trait import parse_trait, with_trait

__all__ = ["load_suite"]


def load_suite(suite: str | Path, trait: dict[str, Any] | None = None, say_trait: bool = False) -> list[Probe]:
    """Return the probes of a suite.

    Args:
        suite: its YAML, or the name of a shipped one.
        trait: class and arguments that replace $trait; PreferenceTrait of owl where it is None.
        say_trait: print the trait if the suite has a $trait.

    Raises:
        InputError: if the file is not found or not a suite, or a probe can't be built.
    """
    path, trait = find_config(suite, "suite"), trait or parse_trait("owl")
    config = load_yaml(read_text(path, "suite"), f"The suite {path}", MAX_SETTINGS)
    if not isinstance(config, dict) or not config.get("measures"):
        raise InputError(f"The suite {path} has no measures: give a list `measures`, as the shipped ones do.")
    whole = with_trait(config, trait)
    if say_trait and whole != config:
        arguments = (trait.get("init_args") or {}).items()
        say(f"trait     {', '.join(f'{name} {value}' for name, value in arguments if value is not None)}")
    parser = OneLineParser(prog="suite")
    parser.add_argument("--measures", type=list[Probe], required=True)
    built: Any = parser.instantiate(parser.parse_object(whole) if whole != config else parser.parse_path(path))
    return list(built.measures)
