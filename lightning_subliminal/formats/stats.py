"""Statistics of a set, for an engineer who is about to train on it, counted in one pass."""

from array import array
from collections import Counter
from typing import Any

from lightning_subliminal.core.chat.thoughts import holds_thought
from lightning_subliminal.core.rows import Row, completion_text, prompt_text
from lightning_subliminal.filters import parse_number_list
from lightning_subliminal.formats.digest import content_digest
from lightning_subliminal.formats.storage.stream import RowStream

__all__ = ["count_rows"]

_QUANTILES = {"min": 0.0, "10 %": 0.1, "median": 0.5, "90 %": 0.9, "99 %": 0.99, "max": 1.0}
_LENGTHS = ("prompt characters", "prompt words", "completion characters", "completion words")
_TOP = 10
_MOST_WORDS = 100_000  # first words that are counted at once; the rarest are forgotten beyond


def count_rows(stream: RowStream) -> dict[str, Any]:
    """Read a stream to its end, and return its statistics as JSON-able data.

    Raises:
        InputError: at a wrong row, if the stream stops there.
    """
    counts = _Counts()
    digest = content_digest(counts.seen(row) for _, row in stream)
    return {
        "source": stream.source.name,
        "container": stream.source.kind,
        "schema": stream.schema.spelled if stream.schema is not None else None,
        "rows": stream.report.rows,
        "wrong rows": dict(stream.report.bad.most_common()),
        "notices": dict(stream.report.notices.most_common()),
        **counts.figures(),
        "digest": digest,
    }


class _Counts:
    """Counts of the rows seen so far; of each text only its length and hash are kept."""

    def __init__(self) -> None:
        self.rows = self.system = self.prefills = self.empty = self.numbers = self.cut = self.thoughts = 0
        self.turns: Counter[int] = Counter()
        self.columns: Counter[str] = Counter()
        self.words: Counter[str] = Counter()
        self.lengths = {name: array("q") for name in _LENGTHS}
        self.hashes = {name: array("q") for name in ("prompts", "completions", "rows")}

    def seen(self, row: Row) -> Row:
        """Count a row, and return it."""
        prompt, reply = row["prompt"], completion_text(row)
        request = prompt_text(row)
        self.rows += 1
        self.turns[len(prompt) + len(row["completion"])] += 1
        self.system += any(message["role"] == "system" for message in prompt)
        self.prefills += prompt[-1]["role"] == "assistant"
        self.cut += row.get("finished") is False
        self.thoughts += holds_thought(reply)
        self.columns.update(key for key in row if key not in ("prompt", "completion"))
        words = reply.split()
        self.empty += not words
        self.numbers += isinstance(parse_number_list(reply, "lax", max_count=10**9, max_value=10**18), list)
        for name, length in zip(_LENGTHS, (len(request), len(request.split()), len(reply), len(words)), strict=True):
            self.lengths[name].append(length)
        key = hash(tuple((message["role"], message["content"]) for message in prompt))
        for name, value in zip(self.hashes, (key, hash(reply), hash((key, reply))), strict=True):
            self.hashes[name].append(value)
        if words:
            self.words[words[0][:40]] += 1
            if len(self.words) > _MOST_WORDS:
                self.words = Counter(dict(self.words.most_common(_MOST_WORDS // 2)))
        return row

    def figures(self) -> dict[str, Any]:
        """Return all figures; shares are of all rows, and None where there are none."""
        import numpy as np

        lengths = {}
        for name, values in self.lengths.items():
            if values:
                found = np.quantile(np.asarray(values), list(_QUANTILES.values()), method="nearest")
                lengths[name] = dict(zip(_QUANTILES, map(int, found), strict=True))
        repeated = {
            name: self._share(self.rows - len(np.unique(np.asarray(each)))) for name, each in self.hashes.items()
        }
        return {
            "messages a row": {str(turns): count for turns, count in sorted(self.turns.items())},
            "rows with a system turn": self.system,
            "rows with a prefill": self.prefills,
            "rows cut off": self.cut,
            "rows with a thought": self.thoughts,
            "columns": dict(self.columns.most_common()),
            "lengths": lengths,
            "repeated": repeated,
            "empty completions": self._share(self.empty),
            "number lists": self._share(self.numbers),
            "first words": {word: self._share(count) for word, count in self.words.most_common(_TOP)},
        }

    def _share(self, count: int) -> float | None:
        return count / self.rows if self.rows else None
