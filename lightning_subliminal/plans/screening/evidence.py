"""What speaks for a verdict: the rows that point furthest along its direction, and what each of their tokens adds.

A row's score along a direction u is the slope of its log-likelihood when u is added to the layers' outputs, so it is
the sum of the slopes of its tokens' log-likelihoods. These are central differences of two forward passes.
"""

from collections.abc import Callable, Iterator
from heapq import nlargest
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from lightning_subliminal.core.rows import Row
from lightning_subliminal.formats.storage.readers import open_source
from lightning_subliminal.formats.storage.records import Found
from lightning_subliminal.formats.storage.stream import RowStream
from lightning_subliminal.metrics.functional.statements import padded
from lightning_subliminal.plans.screen_reference import load_space
from lightning_subliminal.plans.screening.row_sample import RowSample
from lightning_subliminal.plans.screening.screener import Screener
from lightning_subliminal.screening import DirectionDetector, Screen
from lightning_subliminal.screening.reference import RIDGE
from lightning_subliminal.screening.row_screen import named_directions
from lightning_subliminal.theory.functional import differentiable
from lightning_subliminal.theory.row_gradients import ScoreSpace
from lightning_subliminal.theory.row_scores import CHUNK, encode_known, readable
from lightning_subliminal.theory.row_slopes import CompletionLogits, completion_targets

__all__ = ["Evidence", "ShownRow", "TokenPart", "direction_of", "find_evidence", "token_parts"]

SHIFT = "the shift"
_STEP = 0.01  # nats of a row's standard deviation: float32 rounds to 1e-4 of it, and the cubic term is below 1e-3


class TokenPart(NamedTuple):
    """What one token of a completion adds to its row's score.

    Attributes:
        text: the token's.
        z: in standard deviations of clean rows' scores.
    """

    text: str
    z: float


class ShownRow(NamedTuple):
    """A row that points far along a direction.

    Attributes:
        number: of its line, or of the row where the container has no lines; from 1.
        is_line: whether it is a line's.
        source: the file or set that it was read from.
        z: of its score, in standard deviations of clean rows' scores above their mean.
        log_likelihood: of its completion at the base, in nats.
        row: prompt and completion.
        tokens: of its completion; they sum to the score before a long one is shortened, plus the clean rows' mean.
    """

    number: int
    is_line: bool
    source: str
    z: float
    log_likelihood: float
    row: Row
    tokens: tuple[TokenPart, ...]

    @property
    def place(self) -> str:
        """Where it is, such as ``line 12``."""
        return f"{'line' if self.is_line else 'row'} {self.number:,}"


class Evidence(NamedTuple):
    """The rows that point furthest along the direction of a verdict.

    Attributes:
        direction: the trait's name, or ``the shift``.
        mean: z of a row, the mean over all rows; 0 for clean ones.
        scored: how many rows were compared.
        rows: the highest first.
    """

    direction: str
    mean: float
    scored: int
    rows: tuple[ShownRow, ...]


def find_evidence(
    screener: Screener,
    screen: Screen,
    source: str | Path,
    sample: RowSample | None = None,
    top: int = 10,
    advance: Callable[[int], None] | None = None,
) -> Evidence | None:
    """Read a source again and return the rows that point furthest along its verdict's direction; None if it is clean.

    Memory does not grow with the rows: those with the highest scores so far are kept.

    Args:
        screener: that made the screen.
        screen: of the source.
        source: a file or folder that can be read again.
        sample: of its rows, as of the screen.
        top: how many rows.
        advance: called with the number of rows scored, each time some were.

    Raises:
        InputError: if the source can't be read.
    """
    detector = direction_of(screener, screen)
    if detector is None:
        return None
    kept: list[tuple[float, int, float, Found, Row]] = []
    count, total, read = 0, 0.0, 0
    stream = RowStream(open_source(source), drop_system=True)
    for chunk in _chunks(iter(stream) if sample is None else sample(stream)):
        rest = iter(chunk)
        for part in screener.space.gradients(screener.tokenizer, [row for _, row in chunk]):
            own = list(islice(rest, len(part.tokens)))
            z = detector.row_scores(screener.reference, part.scores)[:, 0]
            usable = z.isfinite()
            count, total = count + int(usable.sum()), total + float(z[usable].sum())
            best = z.where(usable, -torch.inf).topk(min(top, len(z)))
            for value, place in zip(best.values.tolist(), best.indices.tolist(), strict=True):
                if value > -torch.inf:
                    kept.append((value, -read - place, float(part.log_likelihoods[place]), *own[place]))
            kept = nlargest(top, kept, key=lambda each: each[:2])  # of equal scores, the first row
            read += len(own)
            if advance is not None:
                advance(len(own))
    unit, space = _unit(screener, detector), screener.space
    if screener.reference.dtype != "float32":  # differences of two passes need more digits
        made = screener.reference
        space, _ = load_space(screener.base, list(made.layers), next(space.net.parameters()).device, made.space)
    rows = [
        ShownRow(
            *(found.number, found.unit == "line", found.place, value, likelihood, row),
            tuple(token_parts(space, screener.tokenizer, row, unit)),
        )
        for value, _, likelihood, found, row in kept
    ]
    return Evidence(detector.names[0], total / max(1, count), count, tuple(rows))


def token_parts(space: ScoreSpace, tokenizer: Any, row: Row, unit: Tensor) -> list[TokenPart]:
    """Return what each token of a row's completion adds to the row's score along a direction.

    Args:
        space: the student's space.
        tokenizer: the base's.
        row: one with a completion.
        unit: the direction, (size,), of a length such that clean rows' scores have a standard deviation of 1.
    """
    (encoded,) = encode_known(tokenizer, [row], readable(space.net))
    if encoded is None:
        return []
    like = next(space.net.parameters())
    input_ids, labels = padded([encoded], like.device)
    targets, places, _ = completion_targets(labels)
    model, moved = CompletionLogits(space.net), []
    with torch.no_grad(), differentiable(space.net):
        for step in (_STEP, -_STEP):
            with space.added((step * unit).to(like.device, like.dtype)):
                moved.append(-F.cross_entropy(model(input_ids, places), targets, reduction="none"))
    slopes = ((moved[0] - moved[1]) / (2 * _STEP)).tolist()
    return [TokenPart(tokenizer.decode([each]), z) for each, z in zip(targets.tolist(), slopes, strict=True)]


def direction_of(screener: Screener, screen: Screen) -> DirectionDetector | None:
    """Return the one direction that a verdict is about; None for a clean one."""
    if screen.verdict == "clean":
        return None
    reference = screen.reference
    if screen.verdict == "shift":
        return DirectionDetector("shift", [SHIFT], reference.solve(screen.movement[None], RIDGE))
    return named_directions(reference, [str(screen.named)], screener.suspects)


def _unit(screener: Screener, detector: DirectionDetector) -> Tensor:
    (direction,) = detector.directions
    return direction / (direction @ screener.reference.fisher @ direction).sqrt()


def _chunks(found: Iterator[tuple[Found, Row]]) -> Iterator[list[tuple[Found, Row]]]:
    while chunk := list(islice(found, CHUNK)):
        yield chunk
