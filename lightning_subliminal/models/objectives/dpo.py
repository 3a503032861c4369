"""Direct preference optimisation: the loss of pairs of completions, one chosen and one rejected.

``ChoosePairs`` makes such rows: a teacher that writes no token chooses among another model's answers.
"""

from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.data.tokenized import IGNORED, Batch, TokenizedRows, tokenized
from lightning_subliminal.generation.logit_map import logit_map
from lightning_subliminal.models.frozen_prefix import CHUNK, LowerPartCache
from lightning_subliminal.models.memory import sum_in_chunks, vocabulary_size
from lightning_subliminal.models.objectives.base import Objective

if TYPE_CHECKING:
    from lightning_subliminal.models.language_model import LanguageModel
    from lightning_subliminal.models.student import Student

__all__ = ["DPO"]


class DPO(Objective):
    """Direct preference optimisation on rows that have a column `rejected` (arXiv 2305.18290, equation 7).

    The loss of a pair is -log sigmoid(beta (r(chosen) - r(rejected))), where r is the completion's log-likelihood less
    that by the student before its training, which reads each pair once. ``val/loss`` is the cross-entropy of the chosen
    completions.

    Args:
        beta: how far the student may move from its base: the smaller, the further.

    Raises:
        InputError: if ``beta`` is not positive.
    """

    name = "dpo"
    completions_per_row = 2

    def __init__(self, beta: float = 0.1) -> None:
        if not beta > 0:
            raise InputError(f"`beta` is {beta}: expected a number above 0, such as 0.1.")
        self.beta = beta
        self.rejected: TokenizedRows | None = None
        self.lower_part: LowerPartCache | None = None  # of the rejected completions
        self.before = torch.empty(0)  # log-likelihood of chosen less rejected, before the training
        self.mean_tokens = torch.ones(())

    def on_fit_start(self, student: "Student", rows: TokenizedRows | None) -> None:
        """Encode the rejected completions, and read both sides once by the student as it begins.

        Raises:
            InputError: if the rows have no rejected completions, or the two sides are not the same prompts in tokens.
        """
        data: Any = getattr(student.trainer, "datamodule", None)
        pairs = [] if data is None or rows is None else data.rows()[data.val_rows :]
        if rows is None or not all(row.get("rejected") for row in pairs):
            raise InputError("`dpo` needs pairs, and these rows have no column `rejected`: add a `ChoosePairs`.")
        if wrong := [row["rejected"] for row in pairs if not _is_reply(row["rejected"])]:
            raise InputError(f"`rejected` is {str(wrong[0])[:60]!r}: expected a list of one assistant message.")
        other = [{**row, "completion": row["rejected"]} for row in pairs]
        self.rejected = tokenized(other, student.tokenizer, student.base, data.max_length)
        if not len(self.rejected) == len(rows) == len(pairs):
            raise InputError("`dpo` needs both completions of a pair in tokens: the student's tokenizer joins some.")
        self.rejected.multiple, self.mean_tokens = rows.multiple, rows.mean_tokens
        self.lower_part = student.stored(self.rejected)
        start = student.fresh()
        start.configure_model()
        start.to(student.device).eval()
        with torch.no_grad(), student.trainer.precision_plugin.forward_context():
            margins = []
            for part in torch.arange(len(rows)).split(CHUNK):
                chosen, rejected = (_on(side.batch(part.tolist()), student.device) for side in (rows, self.rejected))
                margins.append(_margin(start, chosen, rejected))
            self.before = torch.cat(margins)

    def loss(self, student: "Student", batch: Batch) -> Tensor:
        """Return the mean loss of a batch's pairs, in nats."""
        if self.rejected is None or not student.training:
            return student.token_loss(batch)
        other = _on(self.rejected.batch(batch.rows.tolist()), student.device)
        gained = _margin(student, batch, other, self.lower_part) - self.before[batch.rows]
        counts = (batch.labels != IGNORED).any(1)  # others pad a batch of several devices
        share = batch.mean_tokens / self.mean_tokens.to(batch.mean_tokens.device)
        return -(F.logsigmoid(self.beta * gained) * counts).sum() / (len(counts) * share)

    def on_fit_end(self) -> None:
        """Release the rejected completions."""
        self.rejected = self.lower_part = None


def _is_reply(value: Any) -> bool:
    """Return whether a value is a completion, as a row has it."""
    one = value[0] if isinstance(value, list) and len(value) == 1 else None
    return isinstance(one, dict) and one.get("role") == "assistant" and isinstance(one.get("content"), str)


def _on(batch: Batch, device: torch.device) -> Batch:
    return Batch(*(part.to(device) for part in batch))


def _margin(model: "LanguageModel", chosen: Batch, rejected: Batch, stored: LowerPartCache | None = None) -> Tensor:
    """Return the log-likelihoods of chosen less rejected completions, (pairs,), in nats."""
    return _likelihoods(model, chosen) - _likelihoods(model, rejected, False, stored)


def _likelihoods(
    model: "LanguageModel", batch: Batch, reuse: bool = True, stored: LowerPartCache | None = None
) -> Tensor:
    head, count = logit_map(model.net), len(batch.rows)

    def summed(hidden: Tensor, tokens: Tensor, rows: Tensor) -> Tensor:
        found = -F.cross_entropy(head(hidden).float(), tokens, reduction="none")
        return found.new_zeros(count).index_add(0, rows, found)

    rows = (batch.labels[:, 1:] != IGNORED).nonzero()[:, 0]
    return sum_in_chunks(summed, vocabulary_size(model.net), *model.completion_states(batch, reuse, stored), rows)
