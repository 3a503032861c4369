"""A model's map from last hidden states to logits: its head, and what the model does with the head's output.

A head is a linear map, but not each model takes its output as it is: Granite and Cohere scale it, Gemma 2 and 4 cap
it, in ``forward`` of the whole model. A loss that computes logits only where it reads them must do so, too::

    logits = logit_map(net)(states)  # as of `net(...).logits` there
"""

import copy
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from lightning_subliminal.bases.layers import body, inner_model
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.generation.logits import call_net, evaluating, is_wide, narrowed

__all__ = ["logit_map"]

_LARGE = 100.0  # states, so that caps of logits show
_FEW = 64  # words
_KNOWN: "WeakKeyDictionary[nn.Module, bool]" = WeakKeyDictionary()  # whether a model takes its head's output as it is


def logit_map(net: nn.Module) -> Callable[[Tensor], Tensor]:
    """Return a function from last hidden states, (positions, width), to logits, (positions, vocabulary).

    It is the head itself where the model takes its output as it is, and else the model's own forward pass, with the
    states in place of what its decoder computes.

    Args:
        net: a causal language model of transformers, PEFT-wrapped or not.

    Raises:
        InputError: if the model computes its logits in another way.
    """
    inner: Any = inner_model(net)
    head: Any = inner.get_output_embeddings()
    if inner not in _KNOWN:
        _KNOWN[inner] = _is_plain(inner, head)
    return head if _KNOWN[inner] else lambda states: _passed(inner, states)


class _Decoder(nn.Module):
    """What returns given states, as a model's decoder returns those that it computes."""

    def __init__(self, states: Tensor) -> None:
        super().__init__()
        self.states = states

    def forward(self, *_: Any, **__: Any) -> "_Output":
        return _Output((self.states,))


class _Output(tuple[Tensor]):
    """Last hidden states; all else that a decoder may return is None."""

    def __getattr__(self, name: str) -> Tensor | None:
        if name.startswith("__"):
            raise AttributeError(name)
        return self[0] if name == "last_hidden_state" else None


def _passed(inner: Any, states: Tensor) -> Tensor:
    """Return the logits of a model's forward pass that are computed from states."""
    shell, below = copy.copy(inner), body(inner)
    shell._modules = {name: _Decoder(states[None]) if each is below else each for name, each in inner._modules.items()}
    ids = torch.zeros(1, len(states), dtype=torch.long, device=states.device)
    logits: Tensor = type(inner).forward(shell, input_ids=ids, use_cache=False).logits
    return logits[0]


@torch.no_grad()
def _is_plain(inner: Any, head: Any) -> bool:
    width = getattr(head, "in_features", None) or head.weight.shape[-1]
    drawn = torch.randn(3, width, generator=torch.Generator().manual_seed(0)) * _LARGE
    states = drawn.to(next(head.parameters()).device, inner.dtype)
    few = narrowed(head, head.weight[:_FEW]) if is_wide(head) else nullcontext()  # not all logits of a large vocabulary
    with evaluating(inner), few:
        try:
            found = _passed(inner, states)
        except Exception as err:  # its forward pass asks more of a decoder: is the head all there is?
            ids = torch.arange(8, device=states.device)[None] % inner.get_input_embeddings().weight.shape[0]
            whole = call_net(inner, input_ids=ids, use_cache=False).logits.float()
            own = head(body(inner)(input_ids=ids, use_cache=False).last_hidden_state).float()
            if not torch.allclose(own, whole, rtol=0.0, atol=1e-2 * float(whole.abs().max())):
                raise InputError(
                    f"{type(inner).__name__} has logits that its head does not give: use another."
                ) from err
            return True
        return torch.equal(found.float(), head(states[None])[0].float())
