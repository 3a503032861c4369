"""Models of one base as points of a space, and one net that can take and measure any point."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.rows import Row
from lightning_subliminal.data.tokenized import IGNORED, Batch, TokenizedRows
from lightning_subliminal.evaluation import ModelRef, Questions, Scores
from lightning_subliminal.generation.logits import evaluating
from lightning_subliminal.metrics.functional import check_target, log_odds, prompts_by_question
from lightning_subliminal.models import Steering, Student
from lightning_subliminal.models.language_model import LanguageModel
from lightning_subliminal.theory.interpolation import State
from lightning_subliminal.traits import Trait

__all__ = ["Answers", "ModelSpace"]

BATCH = 64  # rows at once for the loss


@dataclass(frozen=True)
class Answers:
    """Scores and loss of one model.

    Attributes:
        scores: of `Questions` about the trait.
        loss: nats a completion token on the held-out rows; nan if there are none.
    """

    scores: Scores
    loss: float

    @property
    def chances(self) -> Tensor:
        """Probability of the target at each question, (questions,), float64."""
        return torch.tensor(self.scores.values, dtype=torch.float64)

    @property
    def odds(self) -> Tensor:
        """Log-odds of the target at each question, (questions,)."""
        return log_odds(self.chances)


class ModelSpace:
    """All models of one base.

    Models that differ only in steering vectors form a space of these vectors. A low-rank update is a product, whose
    factors have no meaningful mean, so for it, for full fine-tuning and for mixed adapters the space is that of the
    weights with the adapter merged in.

    Args:
        base: name of the base.
        base_dtype: type of its weights.
        kind: coordinates of a point.
        trait: the trait whose questions are asked.
        device: device of the net.

    Raises:
        InputError: if the base has no tokens for the trait's target.
    """

    def __init__(
        self, base: str, base_dtype: str, kind: Literal["vectors", "weights"], trait: Trait, device: torch.device
    ) -> None:
        self.kind = kind
        self.trait = trait
        self.device = device
        self._held_out: TokenizedRows | None = None
        adapter = Steering() if kind == "vectors" else None  # at all layers, as zeros
        self._frame = Student(base, adapter, base_dtype=base_dtype, seed=0)
        self._frame.configure_model()
        check_target(self._frame.tokenizer, trait)
        self._frame.to(device).eval()
        self.base: State = self._state(self._frame)

    def of(self, model: LanguageModel) -> State:
        """Return the point of a trained model, as tensors on the CPU.

        Raises:
            InputError: if the adapter can't be merged into the weights.
        """
        if self.kind == "vectors" or model.adapter is None:
            return self._state(model)
        merged = model.adapter.merge(model.net)
        if not set(_once(merged)) <= set(_once(self._frame.net)):  # steering brings biases
            self._frame.net = copy.deepcopy(merged).requires_grad_(False).to(self.device).eval()
        return _kept(_once(merged))

    def ask(self, state: State) -> Answers:
        """Return the answers of the model at a point to the trait's questions, and its loss on the held-out rows.

        The figures of a model so far out that its outputs are not finite are nan.
        """
        self._put(state)
        net, tokenizer = self._frame.net, self._frame.tokenizer
        try:
            scores = Questions().of(self.trait).measure(ModelRef.held("", net, tokenizer), 0)
        except InputError as err:
            if "(nan)" not in str(err):
                raise
            size = len(prompts_by_question(self.trait)), len(self.trait.candidates)
            return Answers(Scores.of_chances(torch.full(size, torch.nan, dtype=torch.float64), self.trait), torch.nan)
        return Answers(scores, self._loss())

    def hold_out(self, rows: Sequence[Row], max_length: int) -> int:
        """Set the rows of the loss; return the number of tokens to predict."""
        self._held_out = TokenizedRows(rows, self._frame.tokenizer, max_length) if rows else None
        return int((self._held_out.labels != IGNORED).sum()) if self._held_out is not None else 0

    def _state(self, model: LanguageModel) -> State:
        if self.kind == "vectors":
            return _kept(Steering().state(model.net))
        return _kept(_once(model.net))

    def _put(self, state: State) -> None:
        vectors = self.kind == "vectors"
        places = Steering().state(self._frame.net) if vectors else _once(self._frame.net)
        if odd := sorted(set(state) - set(places)):
            raise InputError(f"The model has a {odd[0]!r}, which its base lacks: use models of one architecture.")
        with torch.no_grad():
            for name, place in places.items():  # they share the net's memory
                place.copy_(state[name]) if name in state else place.zero_()

    def _loss(self) -> float:
        rows = self._held_out
        if rows is None:
            return torch.nan
        total, count = 0.0, 0
        with evaluating(self._frame.net):
            for first in range(0, len(rows), BATCH):
                chosen = list(range(first, min(first + BATCH, len(rows))))
                batch = Batch(*(part.to(self.device) for part in rows.batch(chosen)))
                logits, tokens = self._frame.completion_logits(batch, reuse=False)
                total += cross_entropy(logits.float(), tokens, reduction="sum").item()
                count += len(tokens)
        return total / count


def _once(net: nn.Module) -> dict[str, Tensor]:
    """Return a model's weights, tied ones once, since lengths and angles would count them twice."""
    names = {name for name, _ in net.named_parameters()} | {name for name, _ in net.named_buffers()}
    return {name: value for name, value in net.state_dict().items() if name in names}


def _kept(state: State) -> dict[str, Tensor]:
    return {name: value.detach().cpu().clone() for name, value in state.items()}
