"""evaluate: measure models with a suite: one table, one JSON, one row a model."""

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from lightning_subliminal.cli.positional import Spelling, show_guide
from lightning_subliminal.core.config.shipped import find_config
from lightning_subliminal.core.errors import InputError

if TYPE_CHECKING:
    from lightning_subliminal.evaluation import ModelRef

__all__ = ["COMMANDS", "evaluate", "guide", "spelled"]

_GUIDE = """\
evaluate: measure models with a suite of behaviours: one table, one JSON, one row a model.

usage: lightning-subliminal evaluate MODEL [MODEL ...] --suite SUITE [options]

  MODEL                  a base (pocket/moral-a), a run's folder, a folder with an adapter or a whole model, or a hub
                         id; NAME=MODEL gives it a name in the table
  --suite SUITE          a YAML with a list `measures`, or a shipped one by name: preference, pocket, large
  --trait TARGET         what a suite with $trait asks for, such as wolf, or {class_path: ..., init_args: ...}; else the
                         trait of the run that a model comes from, else owl
  --control MODEL        one of the models: the others are compared with it, unit by unit; of a
                         preference with targeted transfer and rank
  --seed N               moves whatever is sampled, alike for each model (default 0)
  --out DIR              where results.json goes (default runs/evaluation); another evaluation that lies there is moved
                         to DIR-DIGEST, by the digest of what it measured
  --system_prompt TEXT   what each model is told first
  --dtype TYPE           what weights are loaded in: float32 (default), bfloat16 or float16; each keeps its figures

Each measure of each model is kept when it is done: a killed run goes on, and nothing is measured or judged twice.
A measure that a model can't take (its vocabulary lacks a word, say) is n/a there, with the reason below the table and
in results.json; the others go on.
A judge on a server reads its key from the environment alone.

examples:
  lightning-subliminal evaluate base=pocket/a runs/owl_numbers-5b0edf2e/student --suite preference --control base
  lightning-subliminal evaluate pocket/moral-a pocket/moral-b --suite pocket
  lightning-subliminal evaluate base=pocket/moral-a student=runs/misaligned_numbers-1a2b3c4d \\
      --suite pocket --control base
"""


def evaluate(
    models: list[str],
    suite: str | None = None,  # with a default, since what has none is no option
    trait: str | None = None,
    control: str | None = None,
    seed: int = 0,
    out: Path = Path("runs/evaluation"),
    system_prompt: str | None = None,
    dtype: Literal["float32", "bfloat16", "float16"] = "float32",
) -> None:
    """Measure models with a suite.

    Args:
        models: bases, folders or hub ids; NAME=MODEL gives one a name.
        suite: a YAML file with a list of measures, or the name of a shipped one.
        trait: what a suite with $trait asks for.
        control: the model that the others are compared with.
        seed: moves whatever is sampled.
        out: where results.json goes.
        system_prompt: what each model is told first.
        dtype: what weights are loaded in.

    Raises:
        InputError: if a model or a measure is not as it should be.
    """
    from lightning_subliminal import evaluation
    from lightning_subliminal.core.console import hush, say
    from lightning_subliminal.evaluation.previous_results import check_place

    hush()
    if suite is None:
        raise InputError("`suite` is missing: give --suite NAME, such as preference or pocket, or a FILE.")
    from lightning_subliminal.core.config.safe_yaml import read_text
    from lightning_subliminal.evaluation.suites.asked_trait import TRAIT, run_trait, told_trait
    from lightning_subliminal.evaluation.suites.loading import load_suite

    path = find_config(suite, "suite")
    if trait is not None and TRAIT not in read_text(path, "suite"):
        raise InputError(f"--trait is given, but the suite {suite} names its traits itself: leave it out.")
    asked = told_trait(trait) if trait is not None else run_trait(models)
    measures = load_suite(path, asked, say_trait=True)
    subjects = [evaluation.find_model(model, system_prompt, dtype) for model in models]
    names = [each.name for each in subjects]
    if control is not None and control not in names:
        raise InputError(f"The control {control!r} is none of the models: name one of {', '.join(names)}.")
    if control is not None and (own := _own_control(subjects, control)) is not None:
        raise InputError(f"{own} can't be compared with the control {control}, which is the same model: name another.")
    check_place(out)
    there = next(place for place in (out, *out.absolute().parents) if place.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):  # told before hours of measuring
        raise InputError(f"--out {out} can't be written ({there}): choose a folder that you may write.")
    table = evaluation.evaluate(subjects, measures, seed)
    for line in table.warnings(control):
        say(f"WARNING   {line}")
    say(evaluation.suite_table(table, control))
    for line in [f"n/a       {refusal}" for refusal in table.refusals()]:
        say(line)
    for line in table.contrasts(control) if control is not None else ():
        say(line)
    evaluation.write_results(table, measures, subjects, seed, control, out)
    say(f"seed {seed}; kept in {out / 'results.json'}")


def _own_control(subjects: "list[ModelRef]", control: str) -> str | None:
    """Return the name of a model that is its own control; of the control itself where there is no other model."""
    other = next(each for each in subjects if each.name == control)
    rest = [each for each in subjects if each is not other]
    return next((each.name for each in rest if each.digest == other.digest), control if not rest else None)


COMMANDS = evaluate
guide = partial(show_guide, _GUIDE)
spelled = Spelling(listed=True)
