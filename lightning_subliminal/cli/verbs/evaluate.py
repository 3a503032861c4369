"""evaluate: measure models with a suite of behaviours, into one table and one JSON file."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from lightning_subliminal.cli.verb import Verb
from lightning_subliminal.core.config.shipped import find_config
from lightning_subliminal.core.errors import InputError

if TYPE_CHECKING:
    from lightning_subliminal.evaluation import ModelRef

__all__ = ["VERB", "evaluate"]


def evaluate(
    models: list[str],
    suite: str,
    trait: str | None = None,
    control: str | None = None,
    seed: int = 0,
    out: Path = Path("runs/evaluation"),
    system_prompt: str | None = None,
    dtype: Literal["float32", "bfloat16", "float16"] = "float32",
) -> None:
    """Measure models with a suite of behaviours: one table and one JSON file, a row for each model.

    Args:
        models: a base (pocket/moral-a), a run's folder, a folder with an adapter or a whole model, a hub id, or a model
            on a server (server:URL#MODEL); NAME=MODEL names it in the table.
        suite: a YAML file with a list `measures`, or a shipped one by name (preference, pocket, large).
        trait: the trait of a suite with $trait, such as wolf or {class_path: ..., init_args: ...}; without it the trait
            of the run that a model comes from, else owl.
        control: the one of the models that the others are compared with, question by question; for a preference also by
            targeted transfer and rank.
        seed: seed of everything sampled, the same for each model.
        out: folder for results.json; another evaluation in it is moved to DIR-DIGEST.
        system_prompt: a system prompt for each model.
        dtype: type of the weights: float32, bfloat16 or float16; results of each are kept apart.

    Raises:
        InputError: if a model or a measure is wrong.
    """
    from lightning_subliminal import evaluation
    from lightning_subliminal.core.console import hush, say
    from lightning_subliminal.evaluation.previous_results import check_place

    hush()
    from lightning_subliminal.core.config.safe_yaml import read_text
    from lightning_subliminal.evaluation.suites.asked_trait import TRAIT, parse_trait, run_trait
    from lightning_subliminal.evaluation.suites.loading import load_suite

    path = find_config(suite, "suite")
    if trait is not None and TRAIT not in read_text(path, "suite"):
        raise InputError(f"--trait is set, but the suite {suite} names its own traits: leave it out.")
    asked = parse_trait(trait) if trait is not None else run_trait(models)
    measures = load_suite(path, asked, say_trait=True)
    subjects = [evaluation.find_model(model, system_prompt, dtype) for model in models]
    names = [each.name for each in subjects]
    if control is not None and control not in names:
        raise InputError(f"The control {control!r} is not among the models: expected one of {', '.join(names)}.")
    if control is not None and (own := _own_control(subjects, control)) is not None:
        raise InputError(f"{own} can't be compared with the control {control}, the same model: choose another.")
    check_place(out)
    existing = next(place for place in (out, *out.absolute().parents) if place.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):  # reported before hours of measuring
        raise InputError(f"--out {out} can't be written ({existing}): choose a folder that you may write.")
    table = evaluation.evaluate(subjects, measures, seed)
    for line in table.warnings(control):
        say(f"WARNING   {line}")
    say(evaluation.suite_table(table, control, measures))
    for line in [f"n/a       {refusal}" for refusal in table.refusals()]:
        say(line)
    for line in table.contrasts(control) if control is not None else ():
        say(line)
    evaluation.write_results(table, measures, subjects, seed, control, out)
    say(f"seed {seed}; saved to {out / 'results.json'}")


def _own_control(subjects: "list[ModelRef]", control: str) -> str | None:
    """Return the name of a model that equals the control; the control's own if there is no other model."""
    other = next(each for each in subjects if each.name == control)
    rest = [each for each in subjects if each is not other]
    return next((each.name for each in rest if each.digest == other.digest), control if not rest else None)


VERB = Verb(
    evaluate,
    [
        "evaluate base=pocket/a runs/owl-5b0edf2e --suite preference --control base",
        "evaluate pocket/moral-a pocket/moral-b --suite pocket",
        "evaluate base=pocket/moral-a student=runs/wolf-1a2b3c4d --suite pocket",
    ],
    ["MODEL ..."],
    [
        *("--suite SUITE", "--trait TARGET", "--control MODEL", "--seed N", "--out DIR"),
        *("--system-prompt TEXT", "--dtype TYPE"),
    ],
    """\
Each measure of each model is kept when it is done: a killed evaluation resumes, and nothing is measured
or judged twice. A measure that a model cannot take (because a word is missing from its vocabulary, for example) is n/a,
with the reason below the table and in results.json; the others continue. A judge on a server reads its
key from the environment alone.
""",
)
