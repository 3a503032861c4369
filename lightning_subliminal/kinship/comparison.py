"""Were two models fine-tuned from one initialisation? All tests of this room on two models, and one verdict."""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor

from lightning_subliminal.bases.tokenizers import same_vocabulary
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.evaluation import ModelRef
from lightning_subliminal.kinship.behaviour import Closeness, behaviour
from lightning_subliminal.kinship.logits import LogitTest, by_logits, random_tokens
from lightning_subliminal.kinship.units import gated_layers, unit_activations
from lightning_subliminal.kinship.weights import WeightTest, by_match, by_place
from lightning_subliminal.models.adapters.layers import inner_model

__all__ = ["LEVEL", "MOVED_SHARE", "UNSURE", "By", "Kinship", "Verdict", "judge", "kinship", "power_of_ten"]

Verdict = Literal["one initialisation", "independent", "cannot tell"]
By = Literal["weights", "logits", "both"]

# An auditor who compares 100 models asks about 4,950 pairs: at 1e-4 half a pair of them is called kin by accident. A
# true fine-tune lies so far below (1e-100 is common) that a stricter level than that of one question costs nothing.
LEVEL = 1e-4
# Above this p, corrected for the number of tests, there is no trace; between the two a verdict would be a guess.
UNSURE = 0.01
# A few units matched alike by gate and up are no proof (weights.py); a tenth of them was never seen by accident.
MOVED_SHARE = 0.1


@dataclass(frozen=True)
class Kinship:
    """What was found about two models.

    Attributes:
        first: the first model's name.
        second: the second model's name.
        weights: hidden units matched to themselves (phi_U); None where it was not asked or can't be done.
        moved: hidden units matched alike by gate and by up: somebody may have reordered them.
        activations: the same by activations: the residual stream may have been turned, too (phi_MATCH).
        logits: the subspace of the logits.
        closeness: how alike they speak.
        verdict: about the initialisation.
        says: the verdict in a sentence.
        notes: what was not done, and why.
    """

    first: str
    second: str
    weights: WeightTest | None
    moved: WeightTest | None
    activations: WeightTest | None
    logits: LogitTest | None
    closeness: Closeness | None
    verdict: Verdict
    says: str
    notes: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Return all of it as plain values."""
        told: dict[str, Any] = _finite(dataclasses.asdict(self))
        return told | {"level": LEVEL}


def kinship(
    first: ModelRef,
    second: ModelRef,
    by: By = "both",
    inputs: int = 64,
    seed: int = 0,
    against: Sequence[ModelRef] = (),
    device: torch.device | None = None,
) -> Kinship:
    """Compare two models by weights, by logits or both, and by how they speak.

    Models that were not loaded before are let go at the end.

    Args:
        first: a model.
        second: another.
        by: what is compared; ``logits`` never looks at weights.
        inputs: sequences of random tokens, and prompts for closeness.
        seed: moves them.
        against: models known to have nothing to do with the first: with them the logits' score gets a p-value.
        device: where the models run; a GPU if there is one, where it is None.

    Raises:
        InputError: if only one way was asked for and the models can't be compared so, or ``inputs`` is too small.
    """
    if inputs < 2:
        raise InputError(f"`inputs` is {inputs}: expected at least 2 sequences.")
    if by not in ("weights", "logits", "both"):
        raise InputError(f"`by` is {by!r}: expected weights, logits or both.")
    subjects = [first, second, *against]
    fresh = [each for each in subjects if each.net is None]
    place = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        for each in subjects:
            each.load(place)
        return _compare(first, second, by, inputs, seed, against)
    finally:
        for each in fresh:
            each.release()


def judge(
    weights: WeightTest | None, moved: WeightTest | None = None, activations: WeightTest | None = None
) -> tuple[Verdict, str]:
    """Return the verdict on the initialisation, and a sentence about it; by weights alone, as logits can't tell.

    Args:
        weights: hidden units in their places.
        moved: hidden units matched alike by weights.
        activations: the same by activations.
    """
    if weights is None:
        return "cannot tell", (
            "Without weights nothing is proved about the initialisation: logits take a matched behaviour for kinship."
        )
    if 10**weights.log10_p < LEVEL:
        return "one initialisation", (
            f"They go back to one initialisation: their hidden units are matched to themselves ({weights.share:.0%} of "
            f"them, p = {power_of_ten(weights.log10_p)}). That alone does not make a trait pass."
        )
    for test, what in ((moved, "were reordered"), (activations, "were reordered, or the residual stream was")):
        if test is not None and 10**test.count_log10_p < LEVEL and test.share >= MOVED_SHARE:
            return "one initialisation", (
                f"They go back to one initialisation, though hidden units {what}: gate and up match the same units "
                f"({test.share:.0%} of them)."
            )
    found = [test.log10_p for test in (weights, moved, activations) if test is not None]
    lowest = min(0.0, min(found) + math.log10(len(found)))  # the lowest of several is low more often (Bonferroni)
    few = any(test is not None and 10**test.count_log10_p < LEVEL for test in (moved, activations))
    if 10**lowest < UNSURE or few:
        why = "gate and up match a few units alike" if few else f"p = {power_of_ten(lowest)} of {len(found)} tests"
        return "cannot tell", f"The weights hint at a shared initialisation ({why}), yet too little for a verdict."
    return "independent", (
        "No trace of a shared initialisation in the weights. That says nothing about behaviour: a model that learned "
        "another's probabilities counts as independent here, and can take its traits nevertheless."
    )


def power_of_ten(log10_p: float) -> str:
    """Write a p-value that may be too small for a float."""
    return f"{10**log10_p:.2g}" if log10_p > -4 else f"10^{log10_p:.0f}"


def _compare(first: ModelRef, second: ModelRef, by: By, inputs: int, seed: int, against: Sequence[ModelRef]) -> Kinship:
    notes: list[str] = []
    shared = same_vocabulary(first.tokenizer, second.tokenizer)
    # Ids beyond an embedding are none that a model can read.
    vocabulary = min([len(first.tokenizer), *(_rows(each.net) for each in (first, second, *against))])
    weights = moved = activations = logits = closeness = None
    if by != "logits":
        try:
            layers = gated_layers(first.net), gated_layers(second.net)
            weights, moved = by_place(*layers), by_match(*layers)
        except InputError as err:
            if by == "weights":
                raise
            notes.append(f"weights: {err}")
        if shared and weights is not None:
            ids = random_tokens(vocabulary, inputs, seed)
            try:
                seen = [unit_activations(each.net, ids) for each in (first, second)]
                activations = by_match(seen[0], seen[1], "activations")
            except InputError as err:
                notes.append(f"activations: {err}")
    if by != "weights":
        for each in (second, *against):
            if same_vocabulary(first.tokenizer, each.tokenizer):
                continue
            told = f"{first.name} and {each.name} have different vocabularies: logits can't be compared"
            if by == "logits" or each is not second:
                raise InputError(f"{told}; compare by weights, or models of one tokenizer.")
            notes.append(f"logits: {told}")
        if shared:
            one, other, *rest = (partial(_logits, each.net) for each in (first, second, *against))
            try:
                logits = by_logits(one, other, vocabulary, inputs, seed, rest)
            except InputError as err:
                if by == "logits":
                    raise
                notes.append(f"logits: {err}")
    if not shared:
        notes.append("activations and closeness: the vocabularies differ")
    elif not getattr(first.tokenizer, "chat_template", None):
        notes.append(f"closeness: {first.name} has no chat template")
    else:
        closeness = behaviour(first.net, second.net, first.tokenizer, inputs, seed)
    verdict, says = judge(weights, moved, activations)
    return Kinship(first.name, second.name, weights, moved, activations, logits, closeness, verdict, says, tuple(notes))


def _finite(value: Any) -> Any:
    """Put None in the place of what is no finite number, such as the correlation of two units: JSON has none."""
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _rows(net: Any) -> int:
    return int(inner_model(net).get_input_embeddings().weight.shape[0])


def _logits(net: Any, input_ids: Tensor) -> Tensor:
    device = next(net.parameters()).device
    logits: Tensor = net(input_ids=input_ids.to(device)).logits
    return logits
