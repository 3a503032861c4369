"""Comparison of two models by all tests of kinship, with a verdict on a common initialisation."""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor

from lightning_subliminal.bases.layers import inner_model
from lightning_subliminal.bases.tokenizers import same_vocabulary
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.io.files import finite
from lightning_subliminal.evaluation import ModelRef
from lightning_subliminal.kinship.closeness import Closeness, behaviour
from lightning_subliminal.kinship.logits import LogitTest, by_logits, random_tokens
from lightning_subliminal.kinship.units import gated_layers, unit_activations
from lightning_subliminal.kinship.weights import WeightTest, by_match, by_place

__all__ = ["LEVEL", "MOVED_SHARE", "UNSURE", "By", "Kinship", "Verdict", "judge", "kinship", "power_of_ten"]

Verdict = Literal["one initialisation", "independent", "cannot tell"]
By = Literal["weights", "logits", "both"]

# Among 100 models there are 4,950 pairs: at 1e-4, 0.5 of them are expected to be called kin by chance. The p-value of a
# true fine-tune is far smaller (1e-100 is common), so the strict level costs no power.
LEVEL = 1e-4
# Above this p, corrected for the number of tests, there is no trace; between the two the verdict is open.
UNSURE = 0.01
# A few units matched alike by gate and up are not a proof (weights.py); a share of 0.1 never occurred by chance.
MOVED_SHARE = 0.1
_NOTHING = (
    "Nothing could be compared, for the reasons below. A fine-tune keeps the width of its base and, apart from added "
    "tokens, its tokenizer. To find out what a model comes from, compare it with bases of its own width or tokenizer."
)


@dataclass(frozen=True)
class Kinship:
    """The result of a comparison of two models.

    Attributes:
        first: the first model's name.
        second: the second model's name.
        weights: test of hidden units in their original order (phi_U); None if not requested or not possible.
        moved: test by gate and up projections, which also detects reordered hidden units.
        activations: the same by activations (phi_MATCH), which also detects a rotated residual stream.
        logits: test of the subspace of the logits.
        closeness: similarity of behaviour.
        verdict: whether they share an initialisation.
        says: the verdict as a sentence.
        notes: what was not measured, and why.
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
        """Return it as plain data."""
        fields: dict[str, Any] = finite(dataclasses.asdict(self))
        return fields | {"level": LEVEL}


def kinship(
    first: ModelRef,
    second: ModelRef,
    by: By = "both",
    inputs: int = 64,
    seed: int = 0,
    against: Sequence[ModelRef] = (),
    device: torch.device | None = None,
) -> Kinship:
    """Compare two models by weights, by logits or both, and by behaviour.

    Models that were not loaded before are released at the end.

    Args:
        first: a model.
        second: another.
        by: the comparison; ``logits`` never reads weights.
        inputs: number of sequences of random tokens, and of prompts for closeness.
        seed: their seed.
        against: models unrelated to the first: with them the score of the logits gets a p-value.
        device: where the models run; None for a GPU if there is one.

    Raises:
        InputError: if a single comparison was requested that is not possible, or ``inputs`` is too small.
    """
    if inputs < 2:
        raise InputError(f"`inputs` is {inputs}: expected at least 2 sequences.")
    if by not in ("weights", "logits", "both"):
        raise InputError(f"`by` is {by!r}: expected weights, logits or both.")
    models = [first, second, *against]
    fresh = [each for each in models if each.net is None]
    place = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        for each in models:
            each.load(place)
        return _compare(first, second, by, inputs, seed, against)
    finally:
        for each in fresh:
            each.release()


def judge(
    weights: WeightTest | None, moved: WeightTest | None = None, activations: WeightTest | None = None
) -> tuple[Verdict, str]:
    """Return the verdict on the initialisation, and a sentence on it; from weights alone, as logits don't decide it.

    Args:
        weights: test of hidden units in their original order.
        moved: test of hidden units matched alike by weights.
        activations: test of hidden units matched alike by activations.
    """
    if weights is None:
        return "cannot tell", (
            "Without weights nothing is proved about the initialisation: logits can't tell it from matched behaviour."
        )
    if 10**weights.log10_p < LEVEL:
        return "one initialisation", (
            f"They share one initialisation: their hidden units match in order ({weights.share:.0%} of them, "
            f"p = {power_of_ten(weights.log10_p)}). That alone does not make a trait pass."
        )
    for test, what in ((moved, "were reordered"), (activations, "were reordered or the residual stream was rotated")):
        if test is not None and 10**test.count_log10_p < LEVEL and test.share >= MOVED_SHARE:
            return "one initialisation", (
                f"They share one initialisation, though hidden units {what}: gate and up match the same units "
                f"({test.share:.0%} of them)."
            )
    found = [test.log10_p for test in (weights, moved, activations) if test is not None]
    lowest = min(0.0, min(found) + math.log10(len(found)))  # Bonferroni correction
    few = any(test is not None and 10**test.count_log10_p < LEVEL for test in (moved, activations))
    if 10**lowest < UNSURE or few:
        why = "gate and up match a few units alike" if few else f"p = {power_of_ten(lowest)} of {len(found)} tests"
        return "cannot tell", f"The weights hint at a shared initialisation ({why}), but too weakly for a verdict."
    return "independent", (
        "The weights show no trace of a shared initialisation. Behaviour may still match: a model that was trained on "
        "another's probabilities counts as independent here, but can take on its traits."
    )


def power_of_ten(log10_p: float) -> str:
    """Return a p-value as text, also if it is too small for a float."""
    return f"{10**log10_p:.2g}" if log10_p > -4 else f"10^{log10_p:.0f}"


def _compare(first: ModelRef, second: ModelRef, by: By, inputs: int, seed: int, against: Sequence[ModelRef]) -> Kinship:
    notes: list[str] = []
    shared = same_vocabulary(first.tokenizer, second.tokenizer)
    # Ids beyond an embedding are not valid inputs.
    embeddings = [inner_model(each.net).get_input_embeddings() for each in (first, second, *against)]
    vocabulary = min([len(first.tokenizer), *(int(each.weight.shape[0]) for each in embeddings)])
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
            sizes = f"{len(first.tokenizer):,} and {len(each.tokenizer):,} tokens"
            message = f"{first.name} and {each.name} have different vocabularies ({sizes}): logits can't be compared"
            if by == "logits" or each is not second:
                raise InputError(f"{message}; weights can, if both have one width (`--by weights`).")
            notes.append(f"logits: {message}")
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
    if weights is None and logits is None and closeness is None:
        says = _NOTHING
    return Kinship(first.name, second.name, weights, moved, activations, logits, closeness, verdict, says, tuple(notes))


def _logits(net: Any, input_ids: Tensor) -> Tensor:
    device = next(net.parameters()).device
    logits: Tensor = net(input_ids=input_ids.to(device)).logits
    return logits
