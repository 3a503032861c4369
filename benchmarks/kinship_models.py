"""Related models and the comparison of pairs, for benchmarks/kinship.py."""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from lightning_subliminal import LoRA, Steering, bases
from lightning_subliminal.bases.pocket.corpus import conversations
from lightning_subliminal.bases.pocket.moral import moral_conversations
from lightning_subliminal.core.seeds import derive_seed
from lightning_subliminal.kinship import (
    GatedLayer,
    by_match,
    by_place,
    gated_layers,
    judge,
    logit_basis,
    logit_score,
    random_tokens,
    unit_activations,
)
from lightning_subliminal.pocket_recipes.build import batches

# What each shipped base started from.
ROOTS = {"a2": "a", "a-init": "a", "judge": "moral-a"}
BASES = ("a", "b", "c", "a-data", "a-matched", "moral-a", "moral-b")
TESTS = ("place", "moved", "activations")
SCORES = (*(f"{test}, {way}" for test in TESTS for way in ("count", "ranks")), "logits")


@dataclass
class Model:
    """A model with the quantities that pairs are compared by.

    Attributes:
        root: its initialisation.
        kind: how it was changed.
        layers: its gated MLPs.
        activations: of their units.
        basis: of its logits.
    """

    root: str
    kind: str
    layers: list[GatedLayer]
    activations: list[GatedLayer]
    basis: Tensor


def model_of(root: str, kind: str, net: Any, vocabulary: int) -> Model:
    """Return a model with the quantities that all its pairs need."""
    ids = random_tokens(523, 64, 0)  # all pocket worlds have these
    basis = logit_basis(lambda part: net(input_ids=part).logits, ids, vocabulary, rank=64)
    net = copy.deepcopy(net)  # layers are views, and this net may be trained further
    return Model(root, kind, gated_layers(net), unit_activations(net, ids), basis)


def compare(one: Model, other: Model) -> tuple[dict[str, float], str]:
    """Return all scores of a pair, higher for kin (-log10 p, and for logits the score), and the verdict."""
    tests = {
        "place": by_place(one.layers, other.layers),
        "moved": by_match(one.layers, other.layers),
        "activations": by_match(one.activations, other.activations, "activations"),
    }
    found: dict[str, float] = {}
    for name, test in tests.items():
        found |= {f"{name}, count": -test.count_log10_p, f"{name}, ranks": -test.rank_log10_p}
    if one.basis.shape == other.basis.shape:  # one vocabulary
        found["logits"] = logit_score(one.basis, other.basis)
    return found, judge(*tests.values())[0]


def trained(net: nn.Module, stream: Iterator[Any], steps: int, rate: float) -> nn.Module:
    """Train the trainable parameters of a net on the first rows of each batch, in place; return it."""
    optimizer = torch.optim.AdamW([each for each in net.parameters() if each.requires_grad], lr=rate)
    for _ in range(steps):
        ids, mask, labels = (part[:32] for part in next(stream))
        logits = net(input_ids=ids, attention_mask=mask).logits
        loss = cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return net.eval()


def changed(net: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """Return a copy with each matrix changed."""
    other = copy.deepcopy(net)
    with torch.no_grad():
        for value in other.parameters():
            if value.dim() > 1:
                value.copy_(change(value))
    return other


def rounded(bits: int) -> Callable[[Tensor], Tensor]:
    """Round each row to the nearest of 2^bits - 1 steps."""
    top = 2 ** (bits - 1) - 1

    def change(value: Tensor) -> Tensor:
        scale = value.abs().amax(1, keepdim=True).clamp_min(1e-12) / top
        return (value / scale).round() * scale

    return change


def pruned(share: float) -> Callable[[Tensor], Tensor]:
    """Set the smallest weights of each matrix to 0."""
    return lambda value: value * (value.abs() > value.abs().flatten().kthvalue(int(share * value.numel())).values)


def reordered(net: Any, seed: int) -> Any:
    """Return the same function with hidden units in another order, half of them with the other sign."""
    other, generator = copy.deepcopy(net), torch.Generator().manual_seed(seed)
    for layer in other.model.layers:
        order = torch.randperm(len(layer.mlp.up_proj.weight), generator=generator)
        for part in (layer.mlp.gate_proj, layer.mlp.up_proj):
            part.weight.data = part.weight.data[order]
        layer.mlp.down_proj.weight.data = layer.mlp.down_proj.weight.data[:, order]
        sign = 2.0 * torch.randint(2, (len(order),), generator=generator) - 1
        layer.mlp.up_proj.weight.data *= sign[:, None]
        layer.mlp.down_proj.weight.data *= sign
    return other


def turned(net: Any, seed: int) -> Any:
    """Return the same function with the residual stream in another order."""
    other = copy.deepcopy(net)
    order = torch.randperm(net.config.hidden_size, generator=torch.Generator().manual_seed(seed))
    for name, value in other.named_parameters():
        out = name.endswith(("o_proj.weight", "down_proj.weight")) or value.dim() == 1
        value.data = value.data[order] if out else value.data[:, order]
    return other


def mean(one: Any, other: Any) -> Any:
    """Return the mean of two models' weights."""
    made, theirs = copy.deepcopy(one), dict(other.named_parameters())
    with torch.no_grad():
        for name, value in made.named_parameters():
            value.add_(theirs[name]).div_(2)
    return made


def family(root: str, seed: int, quick: bool) -> Iterator[tuple[str, Any, int]]:
    """Yield the fine-tunes and changes of one base; all bases of a world see the same rows."""
    net, tokenizer = bases.load(f"pocket/{root}", dtype="float32")
    talk = moral_conversations if root.startswith("moral") else conversations
    size, factor = len(tokenizer), 0.05 if quick else 1

    def tuned(steps: int, rate: float, order: str, start: Any = None) -> Any:
        stream = batches(tokenizer, derive_seed(seed, order), talk)
        return trained(copy.deepcopy(net) if start is None else start, stream, max(2, int(steps * factor)), rate)

    yield "base", net, size
    soft, other = tuned(100, 1e-3, "one"), tuned(100, 1e-3, "other")
    yield "full fine-tune", soft, size
    yield "full fine-tune, other rows", other, size
    yield "harder fine-tune", tuned(200, 3e-3, "one"), size
    yield "very hard fine-tune", tuned(200, 1e-2, "other"), size
    yield "LoRA", tuned(100, 5e-3, "one", LoRA(r=8).attach(copy.deepcopy(net), 0)), size
    yield "steering", tuned(60, 1e-2, "one", Steering().attach(copy.deepcopy(net), 0)), size
    yield "int8", changed(net, rounded(8)), size
    yield "int4", changed(net, rounded(4)), size
    for share in (0.3, 0.5, 0.7):
        yield f"pruned {share:.0%}", changed(net, pruned(share)), size
    yield "mean of two fine-tunes", mean(soft, other), size
    yield "units reordered", reordered(soft, derive_seed(seed, root)), size
    yield "units and stream reordered", turned(reordered(soft, derive_seed(seed, root)), derive_seed(seed, root)), size
