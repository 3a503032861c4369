"""What one would try first on a suspect data set: its words, loss and length, text classifiers, and a judge.

Each compares the rows with clean rows of the base, and says whether they differ; none says what a student would learn
from them. Some see teachers about as well as `ShiftDetector` does (docs/screening.md has the figures).
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.rows import Row, completion_text
from lightning_subliminal.judges import Judge
from lightning_subliminal.judges.base import verdicts_of
from lightning_subliminal.screening.detectors import FEWEST, Detection
from lightning_subliminal.screening.row_classifier import Classifier, train_classifier
from lightning_subliminal.screening.scorers import RowScorer

__all__ = ["JudgeScorer", "WordScorer", "compare_means", "count_words", "word_frequencies"]

_EXPECTED = 1  # times that a word must be expected in each set; rarer ones are counted together
_WORD = re.compile(r"\w+")


def count_words(rows: Iterable[Row]) -> Counter[str]:
    """Count the words of completions; a number is a word."""
    return Counter(word for row in rows for word in _WORD.findall(completion_text(row)))


def word_frequencies(words: Mapping[str, int], clean: Mapping[str, int]) -> Detection:
    """Compare how often each word stands in two sets: Pearson's chi-square of homogeneity.

    It takes words for independent draws, which those of a row are not quite.

    Args:
        words: of the set, as ``count_words`` counts them.
        clean: of rows of the base itself.

    Raises:
        InputError: if either set has fewer than ``FEWEST`` words.
    """
    from scipy import stats

    name = "word frequencies"
    totals = torch.tensor([sum(each.values()) for each in (words, clean)], dtype=torch.float64)
    _enough(name, "words", *map(int, totals))
    share = float(totals.min() / totals.sum())
    counts = {word: (words.get(word, 0), clean.get(word, 0)) for word in sorted({*words, *clean})}
    common = [pair for pair in counts.values() if sum(pair) * share >= _EXPECTED]
    table = torch.tensor(common, dtype=torch.float64).reshape(-1, 2)
    rest = totals - table.sum(0)
    table = torch.cat([table, rest[None]]) if rest.sum() > 0 else table  # rare words, counted together
    expected = table.sum(1, keepdim=True) * totals / totals.sum()
    q = float(((table - expected) ** 2 / expected).sum())
    p = float(stats.chi2.sf(q, len(table) - 1)) if len(table) > 1 else 1.0
    return Detection(name, float(stats.norm.isf(p)) if p > 0 else math.inf, p)


def compare_means(name: str, scores: Tensor, clean: Tensor, two_sided: bool = False) -> Detection:
    """Compare the mean score of a set with that of clean rows (Welch).

    Args:
        name: what the finding calls it.
        scores: of the set's rows by any `RowScorer`, (rows,); nan is left out.
        clean: of clean rows of the base.
        two_sided: count a difference in either direction; z keeps its sign.

    Raises:
        InputError: if either set has too few scores.
    """
    from scipy import stats

    first, second = (each[each.isfinite()].double() for each in (scores, clean))
    _enough(name, "rows", len(first), len(second))
    error = math.sqrt(float(first.var() / len(first) + second.var() / len(second)))
    difference = float(first.mean() - second.mean())
    z = difference / error if error > 0 else math.copysign(math.inf, difference) if difference else 0.0
    return Detection(name, z, float(2 * stats.norm.sf(abs(z)) if two_sided else stats.norm.sf(z)))


class WordScorer(RowScorer):
    """Scores rows by a text classifier's log-odds of tainted to clean, from words and pairs of neighbouring words.

    Args:
        tainted: rows to learn from, such as those of a teacher of one's own.
        clean: rows of the base itself.
        classifier: as ``row_classifier.bag_auc`` takes it.
    """

    def __init__(self, tainted: Sequence[Row], clean: Sequence[Row], classifier: Classifier = "naive Bayes") -> None:
        self._read = train_classifier([*map(completion_text, tainted)], [*map(completion_text, clean)], classifier)

    def scores(self, rows: Sequence[Row]) -> Tensor:
        """Return the log-odds; a row without known words has those of the classes."""
        return torch.as_tensor(self._read(list(map(completion_text, rows))), dtype=torch.float64)


class JudgeScorer(RowScorer):
    """Scores rows by a judge that reads prompt and completion, from 0 to 100 on its own scale.

    Args:
        judge: any `Judge`; with a rubric that asks whether the answer is from a model with a trait, its score is that.
    """

    def __init__(self, judge: Judge) -> None:
        self.judge = judge

    def scores(self, rows: Sequence[Row]) -> Tensor:
        """Return the judge's number; nan for a row that it can't score."""
        read = [place for place, row in enumerate(rows) if completion_text(row).strip()]
        pairs = [(rows[place]["prompt"][-1]["content"], completion_text(rows[place])) for place in read]
        found = torch.full((len(rows),), math.nan, dtype=torch.float64)
        for place, verdict in zip(read, verdicts_of(self.judge, pairs) if pairs else [], strict=True):
            if verdict.alignment is not None:
                found[place] = verdict.alignment
        return found


def _enough(name: str, what: str, *sizes: int) -> None:
    if min(sizes) < FEWEST:
        raise InputError(f"{name}: there are {min(sizes)} {what} to compare, expected at least {FEWEST}.")
