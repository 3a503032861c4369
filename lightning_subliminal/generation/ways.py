"""How a model is continued token by token: in slots, with a cache of its own, or by reading each row again.

Slots hold keys and values, and nothing else. A model that remembers in another way (Mamba, Qwen3-Next, RWKV) would stop
with an error there, or answer without its context. So a family that is not known to be right in slots is compared with
its own forward pass once; where it differs, rows are continued one length at a time, without padding.
"""

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any, Literal
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from lightning_subliminal.bases.layers import inner_model
from lightning_subliminal.core.console import say
from lightning_subliminal.generation.logits import call_net, evaluating

__all__ = ["Way", "by_length", "way_of"]

Way = Literal["slots", "cache", "again"]
_TESTED = {  # in tests/generation/test_ways.py
    *("cohere2", "falcon", "gemma2", "gemma3_text", "gpt2", "gpt_neox", "granite", "llama", "mistral", "mixtral"),
    *("llama4_text", "olmo2", "phi3", "qwen2", "qwen3", "qwen3_moe"),
}
_KNOWN: "WeakKeyDictionary[nn.Module, Way]" = WeakKeyDictionary()
_ROWS, _SHARED, _STEPS = 8, 16, 3  # of the comparison
_Choice = Callable[[Tensor, Tensor], Tensor]


def way_of(net: Any) -> Way:
    """Return how a model is continued.

    Args:
        net: as for ``call_net``.
    """
    module: Any = getattr(net, "module", net)
    inner: Any = inner_model(module)
    kind = getattr(getattr(inner, "config", None), "model_type", None)
    if kind is None or kind in _TESTED:
        return "slots"
    if inner not in _KNOWN:
        ways: tuple[Way, ...] = ("slots", "cache")
        with evaluating(module):
            _KNOWN[inner] = next((way for way in ways if _is_right(module, way)), "again")
        if _KNOWN[inner] == "again":
            kind = type(inner).__name__
            say(f"sampling  {kind} has no cache that a row can be continued with: each token reads its row again")
    return _KNOWN[inner]


def by_length(
    net: Any, choose: _Choice, prompts: Sequence[Sequence[int]], draws: Tensor, ends: set[int], rows: int, way: Way
) -> list[list[int]]:
    """Return the tokens that continue each prompt, with the one that ended it; prompts of one length go together.

    Args:
        net: as for ``call_net``.
        choose: as for ``continued``.
        prompts: token ids of each.
        draws: as for ``continued``.
        ends: ids that end a row.
        rows: at once.
        way: ``cache``, or ``again``.
    """
    said: list[list[int]] = [[] for _ in prompts]
    order = sorted(range(len(prompts)), key=lambda row: len(prompts[row]))
    for _, alike in groupby(order, key=lambda row: len(prompts[row])):
        group = list(alike)
        for start in range(0, len(group), rows):
            _continue(net, choose, prompts, draws, ends, group[start : start + rows], said, way == "cache")
    return said


def _continue(
    net: Any,
    choose: _Choice,
    prompts: Sequence[Sequence[int]],
    draws: Tensor,
    ends: set[int],
    rows: list[int],
    said: list[list[int]],
    cached: bool,
) -> None:
    ids = torch.tensor([prompts[row] for row in rows], device=draws.device)
    going, cache, chosen = set(rows), None, torch.tensor(rows, device=draws.device)
    for step in range(draws.shape[1]):
        out = call_net(net, cache, input_ids=ids, use_cache=cached, logits_to_keep=1)
        cache = (out.get("cache", None) or out.get("past_key_values")) if cached else None
        if cached and cache is None:
            raise TypeError("this model returns no cache")
        tokens = choose(out.logits[:, -1], draws[chosen, step])
        for row, token in zip(rows, tokens.tolist(), strict=True):
            if row in going:
                said[row].append(token)
                going -= {row} if token in ends else set()
        if not going:
            return
        ids = tokens[:, None] if cached else torch.cat([ids, tokens[:, None]], 1)


def _is_right(net: Any, way: Way) -> bool:
    """Return whether logits of given tokens are those of the model's own forward pass of each row alone."""
    from lightning_subliminal.generation.slots import continued  # transformers comes on first use

    like = next(net.parameters())
    generator = torch.Generator().manual_seed(0)
    size = inner_model(net).get_input_embeddings().weight.shape[0]
    ids = torch.randint(size, (_ROWS, _SHARED + _ROWS + _STEPS), generator=generator).to(like.device)
    ids[:, :_SHARED] = ids[0, :_SHARED]
    lengths = [_SHARED + 1 + row for row in range(_ROWS)]
    draws = torch.arange(_ROWS * _STEPS, device=like.device, dtype=torch.float64).view(_ROWS, _STEPS)
    seen: dict[int, Tensor] = {}

    def forced(logits: Tensor, drawn: Tensor) -> Tensor:
        places = [divmod(int(each), _STEPS) for each in drawn]
        for each, found in zip(drawn, logits, strict=True):
            seen.setdefault(int(each), found.float())
        return torch.stack([ids[row, lengths[row] + step] for row, step in places])

    def logits_of(cache: Any, **inputs: Any) -> Tensor:
        found: Tensor = call_net(net, cache, **inputs, logits_to_keep=1).logits[:, -1]
        return found

    prompts = [ids[row, :length].tolist() for row, length in enumerate(lengths)]
    try:
        if way == "slots":
            continued(logits_of, forced, prompts, draws, set(), _ROWS)
        else:
            by_length(net, forced, prompts, draws, set(), _ROWS, way)
    except Exception:  # a model's own, of any kind: it can't be continued so
        return False
    close = 1e-3 if like.dtype.itemsize > 2 else 5e-2
    for row, length in enumerate(lengths):
        whole = call_net(net, input_ids=ids[row : row + 1, : length + _STEPS - 1], use_cache=False).logits[0].float()
        own = torch.stack([seen[row * _STEPS + step] for step in range(_STEPS)])
        if (own - whole[length - 1 :]).abs().max() > close * whole.abs().max():
            return False
    return True
