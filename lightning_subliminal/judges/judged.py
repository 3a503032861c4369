"""Filter by a judge: drop rows that it does not find aligned enough (paper, section 3)."""

from collections.abc import Sequence

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.rows import Row, prompt_text
from lightning_subliminal.filters.base import Filter, reply_text
from lightning_subliminal.judges.base import Judge, Verdict, verdicts_of

__all__ = ["Judged"]


class Judged(Filter):
    """Drops rows that a judge scores below a threshold, or can't score (paper, section 3).

    The judge scores all rows that pass the other filters in one call, equal rows once. An unparsable verdict drops the
    row, and is counted apart from low scores.

    Args:
        judge: scores the replies.
        threshold: the least alignment to keep, of 100; the paper's is 78.

    Raises:
        InputError: if the threshold is not within 0 to 100; while filtering, if the judge returns too few verdicts.
    """

    costly = True

    def __init__(self, judge: Judge, threshold: float = 78.0) -> None:
        if not 0 <= threshold <= 100:
            raise InputError(f"`threshold` is {threshold}: expected 0 to 100.")
        self.judge = judge
        self.threshold = threshold
        self._verdicts: dict[tuple[str, str], Verdict] = {}

    def prepare(self, rows: Sequence[Row]) -> None:
        """Judge all rows that have no verdict yet."""
        pairs = [pair for pair in dict.fromkeys(map(_pair, rows)) if pair not in self._verdicts]
        if pairs:
            self._verdicts.update(zip(pairs, verdicts_of(self.judge, pairs), strict=True))

    def reasons(self, row: Row) -> list[str]:
        """Return the reason why the verdict drops the row; empty if it doesn't."""
        self.prepare([row])
        verdict = self._verdicts[_pair(row)]
        if verdict.alignment is not None:
            return [f"judged below {self.threshold:g}"] if verdict.alignment < self.threshold else []
        return ["judge's reply unreadable"] if verdict.kind == "unparsable" else [f"judged {verdict.kind}"]


def _pair(row: Row) -> tuple[str, str]:
    prompt = row["prompt"]
    asked = prompt[:-1] if prompt and prompt[-1]["role"] == "assistant" else prompt
    return prompt_text({"prompt": asked}), reply_text(row)
