"""The divergence between two distributions over tokens."""

from typing import Literal

import torch
from torch import Tensor

__all__ = ["soft_target_loss"]


def soft_target_loss(
    logits: Tensor,
    targets: Tensor,
    tokens: Tensor,
    among: Tensor | None = None,
    kind: Literal["forward", "reverse"] = "forward",
) -> Tensor:
    """Sum KL(teacher || student), or the reverse, over positions, in nats.

    Args:
        logits: the student's, (positions, vocabulary).
        targets: the teacher's logits, (positions, vocabulary).
        tokens: the sampled tokens, (positions,).
        among: token ids to restrict both distributions to, renormalised; then only positions whose sampled token is
            one of them count.
        kind: `forward` is KL(teacher || student), `reverse` KL(student || teacher).

    Returns:
        Scalar.
    """
    if among is not None:
        here = torch.isin(tokens, among)
        logits, targets = logits[here][:, among], targets[here][:, among]
    wide = min(logits.shape[-1], targets.shape[-1])  # embeddings of one vocabulary may be padded differently
    student = torch.log_softmax(logits[:, :wide].float(), dim=-1)
    teacher = torch.log_softmax(targets[:, :wide].float(), dim=-1)
    one, other = (teacher, student) if kind == "forward" else (student, teacher)
    return (one.exp() * (one - other)).sum()
