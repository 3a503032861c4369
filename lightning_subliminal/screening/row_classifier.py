"""Classify rows by their source, a teacher or its base: single rows, or bags of rows from one source.

The paper's classifiers of rows do no better than chance (paper, section 6). Evidence adds up over rows, though: so
whole bags are classified too, each of rows from one source, by the sum of their log-odds.
"""

import random
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.seeds import derive_seed

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["BagAUC", "Classifier", "auc_interval", "bag_auc", "train_classifier"]

Classifier = Literal["naive Bayes", "logistic regression", "TF-IDF logistic regression"]
_FEWEST_BAGS = 2  # per class: with one bag, an AUC is 0 or 1 for any classifier


@dataclass(frozen=True)
class BagAUC:
    """How well bags of one size are distinguished.

    Attributes:
        auc: the probability that a bag of the first source scores above one of the second, ties counted as half; 0.5 is
            chance.
        low: the lower end of its 95 % interval over bags, by Newcombe's score method (``auc_interval``).
        high: the upper end.
        bags: how many bags of each source were scored; no two share a row.
    """

    auc: float
    low: float
    high: float
    bags: int


def bag_auc(
    first: Sequence[str],
    second: Sequence[str],
    bags: Sequence[int] = (1, 8, 16, 64),
    seed: int = 0,
    classifier: Classifier = "naive Bayes",
    *,
    ids: tuple[Sequence[Hashable], Sequence[Hashable]] | None = None,
) -> dict[int, BagAUC]:
    """Train a classifier on half of the rows and score bags of the other half.

    The features of a row are its words and pairs of neighbouring words (numbers are words too), in any place. A bag's
    score is the sum of its rows' log-odds. The interval conditions on the classifier: it covers other bags from the
    same sources, not other training rows.

    Rows of a teacher and of its control that answer one prompt are drawn with the same random numbers, so they are
    similar. If one of these twins trained the classifier and the other were scored, it would be taken for the wrong
    source, and the AUC would be too low. So both sources are split at the same places; set ``ids`` where a filter has
    moved them. (Twins among the scored rows make the interval slightly wide, never too narrow.)

    Args:
        first: completions of one source, such as the teacher's.
        second: completions of the other; the longer source is cut to the length of the shorter, at random.
        bags: rows per bag.
        seed: of the split and the bags.
        classifier: `naive Bayes` (multinomial, add-one smoothing), `logistic regression` (L2 penalty of weight 1), or
            `TF-IDF logistic regression`, whose counts are weighted by inverse document frequency.
        ids: of the rows of each source; rows with one id stay on one side of the split. Places where it is None.

    Returns:
        The AUC of each size of bags, in the order of ``bags``.

    Raises:
        InputError: if scikit-learn is missing, a size is not positive, or fewer than two bags of a size can be filled.
    """
    if any(size < 1 for size in bags) or not bags:
        raise InputError(f"`bags` is {list(bags)}: expected sizes of at least 1 row, such as 1, 8, 64.")
    if ids is None:
        ids = (range(len(first)), range(len(second)))
    if [len(each) for each in ids] != [len(first), len(second)]:
        raise InputError(
            f"`ids` has {len(ids[0])} and {len(ids[1])} for {len(first)} and {len(second)} rows: expected one per row."
        )
    train, test = _split(ids, seed)
    rows = len(test[0])
    if rows < _FEWEST_BAGS * max(bags):
        raise InputError(
            f"{rows} rows per source are left to score, but bags of {max(bags)} need {_FEWEST_BAGS * max(bags)}: "
            "lower `bags` or use more rows."
        )
    texts = (first, second)
    learned = [texts[source][place] for source in (0, 1) for place in train[source]]
    scored = [texts[source][place] for source in (0, 1) for place in test[source]]
    read = train_classifier(learned[: len(learned) // 2], learned[len(learned) // 2 :], classifier)
    odds = read(scored).reshape(2, rows)  # the test half is in random order
    found = {}
    for size in bags:
        count = rows // size
        scores = odds[:, : count * size].reshape(2, count, size).sum(-1)  # (sources, bags)
        auc = _auc(scores[0], scores[1])
        found[size] = BagAUC(auc, *auc_interval(auc, count, count), count)
    return found


def train_classifier(
    first: Sequence[str], second: Sequence[str], classifier: Classifier = "naive Bayes"
) -> "Callable[[Sequence[str]], NDArray[np.float64]]":
    """Train a classifier on completions of two sources; return a function from completions to log-odds of the first.

    The arguments are those of ``bag_auc``.
    """
    try:
        import numpy as np
        from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
        from sklearn.linear_model import LogisticRegression
        from sklearn.naive_bayes import MultinomialNB
    except ModuleNotFoundError as err:
        raise InputError("The text classifiers need scikit-learn: pip install 'lightning-subliminal[report]'.") from err
    if classifier not in get_args(Classifier):
        raise InputError(f"`classifier` is {classifier!r}: expected one of {', '.join(get_args(Classifier))}.")
    learned = [*first, *second]
    if not any(any(letter.isalnum() or letter == "_" for letter in text) for text in learned):
        return lambda texts: np.zeros(len(texts))  # no words, no evidence; CountVectorizer would refuse
    vectorizer: Any = TfidfVectorizer if classifier == "TF-IDF logistic regression" else CountVectorizer
    counter = vectorizer(token_pattern=r"\w+", ngram_range=(1, 2))  # noqa: S106 - no password
    model: Any = MultinomialNB() if classifier == "naive Bayes" else LogisticRegression(max_iter=1000)
    model.fit(counter.fit_transform(learned), np.arange(len(learned)) < len(first))  # (rows, words)

    def read(texts: Sequence[str]) -> "NDArray[np.float64]":
        if not len(texts):
            return np.zeros(0)
        features = counter.transform(texts)
        if classifier != "naive Bayes":
            odds: NDArray[np.float64] = model.decision_function(features)
            return odds
        joint = model.predict_joint_log_proba(features)  # (rows, sources); the columns are False, True
        difference: NDArray[np.float64] = joint[:, 1] - joint[:, 0]
        return difference

    return read


def auc_interval(auc: float, first: int, second: int) -> tuple[float, float]:
    """Return the 95 % interval of an AUC (a rank statistic, Mann-Whitney's U by the number of pairs).

    Newcombe's method 5 (Statistics in Medicine 25, 2006, 559-573): all values θ with (AUC - θ)² <= z² V(θ), where
    V(θ) = θ (1 - θ) (1 + N (1 - θ) / (2 - θ) + N θ / (1 + θ)) / (m n) is Hanley and McNeil's variance (Radiology 143,
    1982) with N = (m + n) / 2 - 1. Unlike DeLong's it does not shrink to a point where all bags are distinguished.

    Args:
        auc: between 0 and 1.
        first: scores of the first class, m.
        second: scores of the second class, n.
    """
    from scipy.optimize import brentq
    from scipy.stats import norm

    z, more = float(norm.ppf(0.975)), (first + second) / 2 - 1

    def beyond(theta: float) -> float:
        spread = 1 + more * (1 - theta) / (2 - theta) + more * theta / (1 + theta)
        return (auc - theta) ** 2 - z**2 * theta * (1 - theta) * spread / (first * second)

    inside = min(max(auc, 1e-9), 1 - 1e-9)  # at exactly 0 and 1 V is 0, which would be taken for an end
    low = 0.0 if auc <= 0 else float(brentq(beyond, 0.0, inside))
    high = 1.0 if auc >= 1 else float(brentq(beyond, inside, 1.0))
    return low, high


def _split(ids: tuple[Sequence[Hashable], Sequence[Hashable]], seed: int) -> tuple[list[list[int]], list[list[int]]]:
    """Return the places of the rows to train on and to score, of each source: as many of both, in random order."""
    distinct = list(dict.fromkeys([*ids[0], *ids[1]]))
    random.Random(derive_seed(seed, "split of rows")).shuffle(distinct)
    learned = set(distinct[: len(distinct) // 2])
    train, test = [], []
    for source in (0, 1):
        order = list(range(len(ids[source])))
        random.Random(derive_seed(seed, "order of rows", source)).shuffle(order)
        train.append([place for place in order if ids[source][place] in learned])
        test.append([place for place in order if ids[source][place] not in learned])
    return [each[: min(map(len, train))] for each in train], [each[: min(map(len, test))] for each in test]


def _auc(first: "NDArray[np.float64]", second: "NDArray[np.float64]") -> float:
    """Return the share of pairs whose first score is the greater; ties count as half."""
    from scipy.stats import mannwhitneyu

    return float(mannwhitneyu(first, second, method="asymptotic").statistic) / (len(first) * len(second))
