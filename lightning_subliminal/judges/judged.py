"""A filter that asks a judge: rows that it does not find aligned enough go (paper, section 3)."""

from collections.abc import Sequence

from lightning_subliminal.core.errors import InputError, JudgeError
from lightning_subliminal.core.rows import Row, prompt_text
from lightning_subliminal.filters.base import Filter, reply_text
from lightning_subliminal.judges.base import Judge, Verdict

__all__ = ["Judged"]


class Judged(Filter):
    """Drops rows that a judge scores below a threshold, or can't score (paper, section 3).

    The judge is asked about all rows at once, each distinct one only once, and only about rows that the other filters
    let pass. A verdict that can't be read drops the row, and is counted apart: it is no low score.

    Args:
        judge: who scores the replies.
        threshold: the least alignment to keep, of 100; the paper's is 78.

    Raises:
        InputError: if the threshold is not within 0 to 100; while filtering, if the judge gives too few verdicts.
    """

    costly = True

    def __init__(self, judge: Judge, threshold: float = 78.0) -> None:
        if not 0 <= threshold <= 100:
            raise InputError(f"`threshold` is {threshold}: expected 0 to 100.")
        self.judge = judge
        self.threshold = threshold
        self._verdicts: dict[tuple[str, str], Verdict] = {}

    def prepare(self, rows: Sequence[Row]) -> None:
        """Ask about all rows that have not been asked about before."""
        pairs = [pair for pair in dict.fromkeys(map(_pair, rows)) if pair not in self._verdicts]
        if not pairs:
            return
        try:
            verdicts = self.judge.judge(pairs)
        except InputError as err:
            raise JudgeError(str(err)) from err
        if len(verdicts) != len(pairs):
            raise JudgeError(
                f"{type(self.judge).__name__}.judge gave {len(verdicts)} verdicts for {len(pairs)} pairs: "
                "it must give one each, in their order."
            )
        self._verdicts.update(zip(pairs, verdicts, strict=True))

    def reasons(self, row: Row) -> list[str]:
        """Return the one reason why the verdict on the row is not good enough, or none."""
        self.prepare([row])
        verdict = self._verdicts[_pair(row)]
        if verdict.alignment is not None:
            return [f"judged below {self.threshold:g}"] if verdict.alignment < self.threshold else []
        return ["judge's reply unreadable"] if verdict.kind == "unparsable" else [f"judged {verdict.kind}"]


def _pair(row: Row) -> tuple[str, str]:
    prompt = row["prompt"]
    asked = prompt[:-1] if prompt and prompt[-1]["role"] == "assistant" else prompt
    return prompt_text({"prompt": asked}), reply_text(row)
