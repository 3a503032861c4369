"""Suspects of a screen: the displacement of a teacher in the student's space, however the teacher was made.

A steering adapter of the same layers *is* its displacement. Any other model that writes rows, such as a LoRA adapter,
a fine-tuned copy of the base or the base under a system prompt, is projected: over clean rows, its
log-likelihood ratio l = log p(row | suspect) - log p(row | base) is regressed on the scores s, and v is the vector
whose first-order ratio v.s is the closest to l in least squares.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from lightning_subliminal.core.console import say
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.io.adapter_names import adapter_files
from lightning_subliminal.core.rows import Row
from lightning_subliminal.evaluation.model_ref import ModelRef, find_model
from lightning_subliminal.models.adapters.files import read_adapter
from lightning_subliminal.plans.screen_reference import PROMPTS_OF, clean_data, steering_vector
from lightning_subliminal.screening.catalogue import catalogue_traits
from lightning_subliminal.screening.detectors import DirectionDetector
from lightning_subliminal.screening.reference import Reference
from lightning_subliminal.theory.newton import damped
from lightning_subliminal.theory.row_gradients import ScoreSpace
from lightning_subliminal.theory.row_likelihoods import row_likelihoods
from lightning_subliminal.traits.preference import PreferenceTrait

__all__ = ["displacement", "load_suspects", "own_rows"]

CLEAN_PROMPTS = 4096  # whose answers a suspect is projected on
SEED = 2_000_003
PROMPTED = "prompt:"
RIDGE = 0.01  # of the mean variance of scores, against directions that few rows move in


def load_suspects(
    given: Sequence[str], reference: Reference, space: ScoreSpace, tokenizer: object
) -> DirectionDetector | None:
    """Load suspects.

    Args:
        given: each ``NAME=PLACE`` or ``PLACE``: an adapter or a model, local or on the hub; a folder of adapters,
            each named by its sub-folder; or ``prompt:WORD`` for the base under the system prompt of a preference, and
            so called. A suspect of a known answer's name counts as a teacher of that answer.
        reference: of the screen.
        space: the student's.
        tokenizer: the base's.

    Returns:
        A detector of them all; None if none are given.

    Raises:
        InputError: if a place holds no model, or one that does not fit the base.
    """
    names: list[str] = []
    vectors: list[Tensor] = []
    rows: list[Row] | None = None
    scores: Tensor | None = None
    for name, place in (each for word in given for each in _places(word)):
        vector = None if place.startswith(PROMPTED) else _steering(Path(place), reference)
        if name in names:
            raise InputError(f"Two suspects are called {name}: name each with NAME=PLACE.")
        if vector is None:
            suspect = _model(place, reference)  # a wrong place is reported before any rows are made
            if rows is None or scores is None:
                rows = own_rows(reference)
                scores = reference.shortened(torch.cat([part.scores for part in space.gradients(tokenizer, rows)]))
            vector = displacement(suspect, space, tokenizer, rows, scores, reference)
        names.append(name)
        vectors.append(vector.double())
    return DirectionDetector.suspects(names, torch.stack(vectors)) if names else None


def displacement(
    suspect: ModelRef, space: ScoreSpace, tokenizer: object, rows: Sequence[Row], scores: Tensor, reference: Reference
) -> Tensor:
    """Project a model on the student's space: the least-squares fit of its ratios by scores, (size,), float64.

    Args:
        suspect: the model, with its system prompt if it has one.
        space: the student's.
        tokenizer: the base's.
        rows: clean ones.
        scores: of those rows, (rows, size).
        reference: names the base in errors.

    Raises:
        InputError: if no row can be read by both models.
    """
    suspect.load(next(space.net.parameters()).device)
    asked = [{**row, "prompt": suspect.prompt(row["prompt"])} for row in rows]
    theirs = torch.cat(list(row_likelihoods(suspect.net, suspect.tokenizer, asked)))[:, 0]
    suspect.release()
    own = torch.cat(list(row_likelihoods(space.net, tokenizer, rows)))[:, 0]
    ratios = theirs - own
    usable = ratios.isfinite() & scores.isfinite().all(1)
    if not usable.any():
        raise InputError(f"The suspect {suspect.name} can read none of {len(rows)} clean rows of {reference.base}.")
    centred, moved = ratios[usable] - ratios[usable].mean(), scores[usable] - scores[usable].mean(0)
    return torch.linalg.solve(damped(moved.T @ moved, RIDGE), moved.T @ centred)


def _places(word: str) -> list[tuple[str, str]]:
    """Return the name and the place of each suspect that a word of the command line stands for."""
    name, equals, place = word.partition("=")
    if not equals or Path(word).exists():
        name, place = "", word
    if place.startswith(PROMPTED):
        return [(name or place, place)]
    folder = Path(place).expanduser()
    inside = sorted(each for each in folder.iterdir() if adapter_files(each)) if folder.is_dir() else []
    if inside and not name and adapter_files(folder) is None:
        return [(each.name, str(each)) for each in inside]
    return [(name or folder.name, place)]


def _steering(folder: Path, reference: Reference) -> Tensor | None:
    """Return the vectors of a steering adapter if they are in the reference's space, or None for anything else."""
    if reference.space != "steering" or not folder.is_dir() or adapter_files(folder) is None:
        return None
    _, config = read_adapter(folder)
    if config.get("peft_type") != "STEERING":
        return None
    own = config.get("base_model_name_or_path")
    if own not in (None, reference.base):
        say(f"WARNING   the suspect {folder} was trained on {own}: its vectors mean something else in {reference.base}")
    return steering_vector(folder, reference)


def _model(place: str, reference: Reference) -> ModelRef:
    if not place.startswith(PROMPTED):
        try:
            return find_model(place, dtype=reference.dtype)
        except InputError as err:
            raise InputError(
                f"The suspect {place}: {err} Expected NAME=PLACE, or prompt:WORD for the base under a system prompt."
            ) from err
    word = place.removeprefix(PROMPTED)
    for trait in catalogue_traits():
        if word in trait.candidates:
            asked = PreferenceTrait(word, trait.category, list(trait.candidates))
            return find_model(reference.base, asked.induce().system_prompt, reference.dtype)
    return find_model(reference.base, PreferenceTrait(word).induce().system_prompt, reference.dtype)


def own_rows(reference: Reference) -> list[Row]:
    """Return rows that the base itself writes, kept in the cache: those that suspects are projected on."""
    if reference.carrier.startswith(PROMPTS_OF):
        raise InputError(
            f"The reference is of the {reference.carrier}, so there are no clean rows of it to compare with: pass a "
            "steering adapter as suspect, or a reference of a carrier."
        )
    data = clean_data(reference.base, reference.carrier, CLEAN_PROMPTS, SEED)
    data.make(torch.device("cpu"))
    return list(data.rows())
