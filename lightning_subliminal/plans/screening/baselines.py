"""What plain statistics say of a file beside the screen: words, loss and length against rows of the base itself."""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

from lightning_subliminal.core.rows import Row
from lightning_subliminal.formats import read_rows
from lightning_subliminal.plans.screening.row_sample import RowSample
from lightning_subliminal.plans.screening.screener import Screener
from lightning_subliminal.plans.screening.suspects import own_rows
from lightning_subliminal.screening.baselines import compare_means, count_words, word_frequencies
from lightning_subliminal.screening.detectors import Detection
from lightning_subliminal.screening.scorers import LengthScorer, LossScorer, RowScorer

__all__ = ["compare_file"]

_CHUNK = 4096


def compare_file(screener: Screener, rows: str | Path, sample: RowSample | None = None) -> list[Detection]:
    """Compare a file with rows that the base itself writes, which are made once and kept in the cache.

    Args:
        screener: of the base and its reference.
        rows: a file or folder, which is read once more.
        sample: of its rows, as of the screen.

    Returns:
        Findings of word frequencies, mean loss a token and mean length; the last two are two-sided.

    Raises:
        InputError: if there are too few rows.
    """
    scorers = {
        "loss a token": LossScorer(screener.space, screener.tokenizer),
        "length in tokens": LengthScorer(screener.tokenizer),
    }
    given = read_rows(rows)
    words, scores = _read(given if sample is None else sample(given), list(scorers.values()))
    clean_words, clean = _read(own_rows(screener.reference), list(scorers.values()))
    compared = zip(scorers, scores, clean, strict=True)
    return [
        word_frequencies(words, clean_words),
        *(compare_means(name, one, two, two_sided=True) for name, one, two in compared),
    ]


def _read(rows: Iterable[Row], scorers: Sequence[RowScorer]) -> tuple[Counter[str], list[Tensor]]:
    """Return word counts, and the scores of each scorer; of the rows no more than a chunk is in memory."""
    words: Counter[str] = Counter()
    scores = [[torch.zeros(0, dtype=torch.float64)] for _ in scorers]
    rest = iter(rows)
    while chunk := list(islice(rest, _CHUNK)):
        words += count_words(chunk)
        for found, scorer in zip(scores, scorers, strict=True):
            found.append(scorer.scores(chunk))
    return words, [torch.cat(each) for each in scores]
