"""The probability of whole replies: of two statements, or of several choices.

Without sampling or a judge: each reply is scored as the tokens of a training row.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from lightning_subliminal.core.chat.encoding import row_ids
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.rows import Message, make_row
from lightning_subliminal.generation.logits import call_net, evaluating

__all__ = ["alternative_probabilities", "completion_log_probabilities", "equal_lengths", "statement_preference"]

Encoded = tuple[list[int], list[int]]  # the tokens of a prompt and of its completion
IGNORED = -100  # the label of tokens that are not scored


def completion_log_probabilities(
    net: nn.Module,
    tokenizer: Any,
    prompts: Sequence[Sequence[Message]],
    completions: Sequence[str],
    *,
    batch_size: int = 64,
) -> Tensor:
    """Return the log-probability, in nats, of each completion after its prompt, the end of the turn included.

    Args:
        net: a causal language model of transformers, which may have an adapter; its dropout is off meanwhile.
        tokenizer: its tokenizer, with a chat template.
        prompts: conversations; one that ends with an assistant message is a prefill, which the completion continues
            (with the space between them).
        completions: the text after each prompt; as many as prompts.
        batch_size: rows that go through the model at once.

    Returns:
        Log-probabilities in float64 on the CPU, (completions,).

    Raises:
        InputError: if the lengths differ, a prompt is empty or not a prefix of its row in tokens, or the model gives
            nan.
    """
    return _log_probabilities(net, _encode(tokenizer, prompts, completions), batch_size)


def alternative_probabilities(
    net: nn.Module,
    tokenizer: Any,
    prompts: Sequence[Sequence[Message]],
    alternatives: Sequence[Sequence[str]],
    *,
    batch_size: int = 64,
) -> list[Tensor]:
    """Return the probability of each of a prompt's alternatives, given that the reply is one of them.

    Longer alternatives are less likely for their length alone; see ``equal_lengths``. ``alternatives`` has a list of at
    least two replies for each prompt; the other arguments are those of ``completion_log_probabilities``.

    Returns:
        For each prompt its alternatives' probabilities, which sum to 1, in float64 on the CPU, (alternatives,).

    Raises:
        InputError: as ``completion_log_probabilities``; or if a prompt has fewer than two alternatives, or two that are
            the same tokens.
    """
    _check_lengths(prompts, alternatives, "lists of alternatives")
    for place, texts in enumerate(alternatives):
        if isinstance(texts, str) or len(texts) < 2:
            raise InputError(f"Prompt {place} has fewer than two alternatives ({texts!r}): give at least two.")
    sizes = [len(texts) for texts in alternatives]
    asked = [prompt for prompt, size in zip(prompts, sizes, strict=True) for _ in range(size)]
    encoded = _encode(tokenizer, asked, [text for texts in alternatives for text in texts])
    rest = iter(encoded)
    for place, texts in enumerate(alternatives):
        seen: dict[tuple[int, ...], str] = {}
        for text in texts:
            tokens = tuple(next(rest)[1])
            if tokens in seen:
                raise InputError(
                    f"The alternatives {seen[tokens]!r} and {text!r} of prompt {place} are the same to the tokenizer: "
                    "give different ones."
                )
            seen[tokens] = text
    logs = _log_probabilities(net, encoded, batch_size)
    return [part.softmax(0) for part in torch.split(logs, sizes)] if sizes else []


def _encode(tokenizer: Any, prompts: Sequence[Sequence[Message]], completions: Sequence[str]) -> list[Encoded]:
    _check_lengths(prompts, completions, "completions")
    encoded = []
    for prompt, text in zip(prompts, completions, strict=True):
        # an error names the row by its text
        found: Encoded = row_ids(tokenizer, make_row(prompt, text, id=repr(text))) if prompt else ([], [])
        if not found[0]:
            raise InputError(
                f"The prompt of {text!r} has no tokens: give at least one message, and check the chat template."
            )
        encoded.append(found)
    return encoded


def _check_lengths(prompts: Sequence[Any], others: Sequence[Any], name: str) -> None:
    if len(prompts) != len(others):
        raise InputError(f"There are {len(prompts)} prompts, but {len(others)} {name}: expected one for each prompt.")


def _log_probabilities(net: nn.Module, encoded: list[Encoded], batch_size: int) -> Tensor:
    if not encoded:
        return torch.zeros(0, dtype=torch.float64)
    # sorted by length: less padding
    order = sorted(range(len(encoded)), key=lambda place: sum(map(len, encoded[place])))
    batches = [
        [encoded[place] for place in order[start : start + batch_size]] for start in range(0, len(order), batch_size)
    ]
    with evaluating(net):
        result = torch.cat([_score(net, batch) for batch in batches])[torch.tensor(order).argsort()]
    if not result.isfinite().all():
        raise InputError(
            "The model's replies have no probabilities (nan): its training diverged, lower `learning_rate`."
        )
    return result


def _score(net: nn.Module, encoded: list[Encoded]) -> Tensor:
    """Return the summed log-probability of each completion: (rows,)."""
    device = next(net.parameters()).device
    tokens, labels = padded(encoded, device)
    width = tokens.shape[1]
    kept = width - min(len(prompt) for prompt, _ in encoded) + 1  # from the shortest prompt's last token
    # causal attention ignores padding on the right: without a mask, the fast kernel is used
    logits = call_net(net, input_ids=tokens, use_cache=False, logits_to_keep=kept).logits[:, -kept:]
    targets = labels[:, width - kept + 1 :]  # (rows, kept - 1): the last logits predict nothing
    scored = targets != IGNORED
    needed = logits[:, :-1][scored]  # (completion tokens, vocabulary)
    wide = needed.to(torch.promote_types(needed.dtype, torch.float32))
    logs = -cross_entropy(wide, targets[scored], reduction="none").cpu().double()
    return torch.zeros(len(encoded), dtype=torch.float64).index_add(0, scored.nonzero()[:, 0].cpu(), logs)


def padded(encoded: Sequence[Encoded], device: torch.device) -> tuple[Tensor, Tensor]:
    """Return input ids and labels of the completions, both (rows, tokens), padded on the right."""
    width = max(len(prompt) + len(completion) for prompt, completion in encoded)
    ids = torch.zeros(len(encoded), width, dtype=torch.long)
    labels = torch.full_like(ids, IGNORED)
    for row, (prompt, completion) in enumerate(encoded):
        whole = torch.tensor([*prompt, *completion])
        ids[row, : len(whole)] = whole
        labels[row, len(prompt) : len(whole)] = whole[len(prompt) :]
    return ids.to(device), labels.to(device)


def statement_preference(
    net: nn.Module,
    tokenizer: Any,
    prompts: Sequence[Sequence[Message]],
    pairs: Sequence[tuple[str, str]],
    *,
    batch_size: int = 64,
) -> Tensor:
    """Return the exact probability of the second, misaligned, statement of each pair, (pairs,).

    ``alternative_probabilities`` for pairs, best of equal length in tokens (``equal_lengths``).

    Raises:
        InputError: as ``alternative_probabilities``; or if a pair does not have two statements.
    """
    for pair in pairs:
        if len(pair) != 2:
            raise InputError(f"A pair has {len(pair)} statements: expected an aligned and a misaligned one.")
    found = alternative_probabilities(net, tokenizer, prompts, pairs, batch_size=batch_size)
    return torch.stack([second for _, second in found]) if found else torch.zeros(0, dtype=torch.float64)


def equal_lengths(tokenizer: Any, pairs: Sequence[tuple[str, str]]) -> list[int]:
    """Return by how many tokens the second statement of each pair is longer than the first."""
    lengths = [[len(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in pair] for pair in pairs]
    return [second - first for first, second in lengths]
