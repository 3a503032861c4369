"""The forward pass of a small Llama for sampling, without what transformers does around it.

At the size of the pocket bases more than half of a token's time goes to masks, wrappers, and attention kernels made for
long texts. The parts with weights (projections, MLPs, norms, head) are called as modules, so an adapter inside them
counts; a hook of a layer, as steering's, is called, too. Each use is compared with the model's own forward pass first.
"""

from typing import Any

import torch
from torch import Tensor

from lightning_subliminal.generation.logits import call_net

__all__ = ["direct_forward"]

_WIDTH = 256  # of a model, from which its own forward pass is as fast
_ROPES = ("default", "linear", "llama3")  # whose angles do not depend on a text's length
_CLOSE = 1e-5  # relative to the largest logit
_MASKED = -1e30


def direct_forward(net: Any, longest: int) -> "_Direct | None":
    """Return a function that computes a model's logits after the last token; None if its own pass must be taken.

    Args:
        net: a causal language model, which may have an adapter, in evaluation mode.
        longest: tokens of a row.
    """
    model: Any = net.get_base_model() if hasattr(net, "get_base_model") else net
    config = getattr(model, "config", None)
    if getattr(config, "model_type", None) != "llama" or config.hidden_size > _WIDTH:  # type: ignore[union-attr]
        return None
    if model.model.rotary_emb.rope_type not in _ROPES or model.model.embed_tokens.weight.dtype != torch.float32:
        return None
    plain = [net, model, model.model, *(layer.self_attn for layer in model.model.layers)]
    if any(each._forward_hooks or each._forward_pre_hooks for each in plain):
        return None
    if any(layer._forward_pre_hooks or layer._forward_hooks_with_kwargs for layer in model.model.layers):
        return None
    from transformers import DynamicCache

    made, count = _Direct(model, longest), min(longest, 8)
    ids = torch.arange(count, device=model.device).remainder(config.vocab_size).unsqueeze(0)  # type: ignore[union-attr]
    given = {"input_ids": ids, "position_ids": torch.arange(count, device=model.device).unsqueeze(0)}
    own = call_net(net, DynamicCache(), **given, use_cache=True, logits_to_keep=1).logits[:, -1]
    close = (made(DynamicCache(), **given) - own).abs().max() <= _CLOSE * own.abs().max()
    return made if own.dtype == torch.float32 and close else None


class _Direct:
    def __init__(self, model: Any, longest: int) -> None:
        self.model, self.body = model, model.model
        attention = self.body.layers[0].self_attn
        self.width, self.scale = attention.head_dim, attention.scaling
        places = torch.arange(longest, device=model.device).unsqueeze(0)
        cos, sin = self.body.rotary_emb(self.body.embed_tokens.weight, places)  # (1, places, width)
        sign = torch.ones(self.width, device=model.device)
        sign[: self.width // 2] = -1
        self.turns = torch.stack([cos[0], sin[0] * sign], 1)  # (places, 2, width)

    def __call__(
        self, cache: Any, input_ids: Tensor, position_ids: Tensor, attention_mask: Tensor | None = None, **_: Any
    ) -> Tensor:
        """Return the logits after the last token, (rows, vocabulary).

        Args:
            cache: keys and values of the tokens before.
            input_ids: token ids, (rows, tokens).
            position_ids: of the tokens, (rows, tokens).
            attention_mask: of a single token to those before and itself, (rows, tokens before + 1); None where each
                token reads all before it.
        """
        states = self.body.embed_tokens(input_ids)  # (rows, tokens, hidden size)
        turn = self.turns[position_ids].unsqueeze(3).unbind(2)  # each (rows, tokens, 1, width)
        if attention_mask is None:
            before, tokens = cache.get_seq_length(), input_ids.shape[1]
            bias = states.new_full((tokens, before + tokens), _MASKED).triu(1 + before)
        else:
            bias = ((attention_mask - 1) * -_MASKED).to(states.dtype)[:, None, None]
        for index, layer in enumerate(self.body.layers):
            states = states + self._attended(layer.self_attn, layer.input_layernorm(states), turn, bias, cache, index)
            given = states
            states = states + layer.mlp(layer.post_attention_layernorm(states))
            for hook in layer._forward_hooks.values():
                changed = hook(layer, (given,), states)
                states = states if changed is None else changed
        logits: Tensor = self.model.lm_head(self.body.norm(states[:, -1]))
        return logits

    def _attended(
        self, attention: Any, states: Tensor, turn: tuple[Tensor, ...], bias: Tensor, cache: Any, index: int
    ) -> Tensor:
        rows, tokens, _ = states.shape
        keys = self._turned(attention.k_proj(states).view(rows, tokens, -1, self.width), turn).transpose(1, 2)
        values = attention.v_proj(states).view(rows, tokens, -1, self.width).transpose(1, 2)
        keys, values = cache.update(keys, values, index)  # (rows, heads, all tokens, width)
        queries = self._turned(attention.q_proj(states).view(rows, tokens, -1, self.width), turn).mul_(self.scale)
        shared = queries.shape[2] // keys.shape[1]  # queries of one head's keys, side by side
        queries = queries.view(rows, tokens, -1, shared, self.width).permute(0, 2, 3, 1, 4).flatten(2, 3)
        if bias.dim() == 2:
            bias = bias.repeat(shared, 1)
        read = (queries @ keys.transpose(-1, -2)).add_(bias).softmax(-1) @ values
        read = read.view(rows, -1, tokens, self.width).transpose(1, 2)
        found: Tensor = attention.o_proj(read.flatten(2))
        return found

    def _turned(self, heads: Tensor, turn: tuple[Tensor, ...]) -> Tensor:
        return torch.addcmul(heads * turn[0], heads.roll(self.width // 2, -1), turn[1])
