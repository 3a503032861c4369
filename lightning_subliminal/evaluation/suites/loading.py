"""A suite's YAML, as the measures that it lists."""

from pathlib import Path
from typing import Any

from lightning_subliminal.core.config.safe_yaml import load_yaml, read_text
from lightning_subliminal.core.config.shipped import find_config
from lightning_subliminal.core.console import say
from lightning_subliminal.core.error_messages import OneLineParser
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.io.bounds import MAX_SETTINGS
from lightning_subliminal.evaluation import Probe
from lightning_subliminal.evaluation.suites.asked_trait import told_trait, with_trait

__all__ = ["load_suite"]


def load_suite(suite: str | Path, trait: dict[str, Any] | None = None, say_trait: bool = False) -> list[Probe]:
    """Build the measures of a suite.

    Args:
        suite: its YAML, or the name of one that comes with the package.
        trait: class and arguments of what $trait stands for; PreferenceTrait of owl where it is None.
        say_trait: say which trait is asked for where the suite leaves it open.

    Raises:
        InputError: if the file is not there, is no suite, or a measure can't be built.
    """
    path = find_config(suite, "suite")
    told = load_yaml(read_text(path, "suite"), f"The suite {path}", MAX_SETTINGS)
    if not isinstance(told, dict) or not told.get("measures"):
        raise InputError(f"The suite {path} has no measures: give a list `measures`, as the shipped ones do.")
    whole = with_trait(told, trait or told_trait("owl"))
    if say_trait and whole != told:
        asked = (trait or told_trait("owl")).get("init_args") or {}
        say(f"trait     {', '.join(f'{name} {value}' for name, value in asked.items() if value is not None)}")
    parser = OneLineParser(prog="suite")
    parser.add_argument("--measures", type=list[Probe], required=True)
    built: Any = parser.instantiate(parser.parse_object(whole) if whole != told else parser.parse_path(path))
    return list(built.measures)
