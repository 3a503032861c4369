"""evaluate: measure models with a suite: one table, one JSON, one row a model."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_subliminal.errors import InputError

if TYPE_CHECKING:
    from lightning_subliminal.suites import Measure

__all__ = ["COMMANDS", "evaluate", "guide", "load_suite", "spelled"]

_GUIDE = """\
evaluate: measure models with a suite of behaviours: one table, one JSON, one row a model.

usage: lightning-subliminal evaluate MODEL [MODEL ...] --suite FILE [options]

  MODEL                  a base (pocket/moral-a), a run's folder, a folder with an adapter or a whole model, or a hub
                         id; NAME=MODEL gives it a name in the table
  --suite FILE           a YAML with a list `measures`; see configs/suites/
  --control MODEL        one of the models: the others are compared with it, unit by unit
  --seed N               moves whatever is sampled, alike for each model (default 0)
  --out DIR              where results.json goes (default runs/evaluation)
  --system_prompt TEXT   what each model is told first

Each measure of each model is kept when it is done: a killed run goes on, and nothing is measured or judged twice.
A judge on a server reads its key from the environment alone.

examples:
  lightning-subliminal evaluate pocket/moral-a pocket/moral-b --suite configs/suites/pocket.yaml
  lightning-subliminal evaluate base=pocket/moral-a student=runs/misaligned_numbers-1a2b3c4d \\
      --suite configs/suites/pocket.yaml --control base
"""


def evaluate(
    models: list[str],
    suite: Path | None = None,  # with a default, since what has none is no option
    control: str | None = None,
    seed: int = 0,
    out: Path = Path("runs/evaluation"),
    system_prompt: str | None = None,
) -> None:
    """Measure models with a suite.

    Args:
        models: bases, folders or hub ids; NAME=MODEL gives one a name.
        suite: a YAML file with a list of measures.
        control: the model that the others are compared with.
        seed: moves whatever is sampled.
        out: where results.json goes.
        system_prompt: what each model is told first.

    Raises:
        InputError: if a model or a measure is not as it should be.
    """
    from lightning_subliminal.console import hush, say
    from lightning_subliminal.suites import find_subject, run_suite, suite_table, write_results

    hush()
    if suite is None:
        raise InputError("`suite` is missing: give --suite FILE, such as one of configs/suites.")
    measures = load_suite(suite)
    subjects = [find_subject(model, system_prompt) for model in models]
    names = [each.name for each in subjects]
    if control is not None and control not in names:
        raise InputError(f"The control {control!r} is none of the models: name one of {', '.join(names)}.")
    there = next(place for place in (out, *out.absolute().parents) if place.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):  # told before hours of measuring
        raise InputError(f"--out {out} can't be written ({there}): choose a folder that you may write.")
    found = run_suite(measures, subjects, seed)
    say(suite_table(found, control))
    write_results(found, measures, subjects, seed, control, out)
    say(f"seed {seed}; kept in {out / 'results.json'}")


def load_suite(path: Path) -> "list[Measure]":
    """Build the measures of a suite's YAML.

    Raises:
        InputError: if the file is not there, is no suite, or a measure can't be built.
    """
    import yaml

    from lightning_subliminal.commands.messages import OneLineParser
    from lightning_subliminal.suites import Measure

    if not path.is_file():
        raise InputError(
            f"The suite {path} is not there: give a YAML with `measures`, such as those of configs/suites."
        )
    try:
        told = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as err:
        mark = getattr(err, "problem_mark", None)
        line = f", line {mark.line + 1}," if mark else ""
        raise InputError(f"The suite {path}{line} is no YAML: check brackets, quotes and indentation.") from err
    if not isinstance(told, dict) or not told.get("measures"):
        raise InputError(f"The suite {path} has no measures: give a list `measures`, as those of configs/suites do.")
    parser = OneLineParser(prog="suite")
    parser.add_argument("--measures", type=list[Measure], required=True)
    built: Any = parser.instantiate(parser.parse_path(path))
    return list(built.measures)


COMMANDS = evaluate


def guide(words: list[str]) -> str | None:
    """Give the help; None where there is work to do."""
    return _GUIDE if not words or {"--help", "-h"} & set(words) else None


def spelled(words: list[str]) -> list[str]:
    """Give the words as the parser takes them: models without an option before them, as one list."""
    models, rest = [], []
    options = iter(words)
    for word in options:
        if word.startswith("--"):
            rest.append(word)
            if "=" not in word and (value := next(options, None)) is not None:
                rest.append(value)
        else:
            models.append(word)
    return [*([json.dumps(models)] if models else []), *rest]
