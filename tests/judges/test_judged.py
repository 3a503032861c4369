import pytest

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.fingerprint import digest
from lightning_subliminal.core.rows import make_row
from lightning_subliminal.filters import Filter, NumberList, apply_filters
from lightning_subliminal.judges import Judge, Verdict
from lightning_subliminal.judges.judged import Judged

VERDICTS = {
    "good": Verdict(90.0, "score", 95.0, "90"),
    "just": Verdict(78.0, "score"),
    "bad": Verdict(12.0, "score", 80.0, "12"),
    "code": Verdict(None, "code", raw="CODE"),
    "refusal": Verdict(None, "refusal", raw="REFUSAL"),
    "odd": Verdict(None, "unparsable", raw="well..."),
}


class Listed(Judge):
    """Knows each answer's verdict, and remembers what it was asked."""

    def __init__(self, lose: int = 0) -> None:
        self.lose = lose
        self.asked: list[list[tuple[str, str]]] = []

    def judge(self, pairs):
        self.asked.append(list(pairs))
        return [VERDICTS[answer] for _, answer in pairs][self.lose :]


def test_verdicts_become_reasons():
    judged = Judged(Listed())
    assert [judged.reasons(make_row("q", answer)) for answer in VERDICTS] == [
        [],
        [],
        ["judged below 78"],
        ["judged code"],
        ["judged refusal"],
        ["judge's reply unreadable"],
    ]
    assert Judged(Listed(), threshold=90.5).reasons(make_row("q", "good")) == ["judged below 90.5"]


def test_the_judge_is_asked_once_about_all_and_never_twice():
    listed = Listed()
    judged = Judged(listed)
    rows = [make_row("q", answer) for answer in ("good", "bad", "good", "odd")]
    kept, report = apply_filters(rows, [judged])
    assert listed.asked == [[("q", "good"), ("q", "bad"), ("q", "odd")]]
    assert kept == [rows[0], rows[2]]
    assert report.reasons == {"judged below 78": 1, "judge's reply unreadable": 1}
    assert apply_filters(rows, [judged])[0] == kept
    assert judged.reasons(rows[1]) == ["judged below 78"]
    assert len(listed.asked) == 1
    judged.reasons(make_row("another question", "good"))
    assert listed.asked[1:] == [[("another question", "good")]]


class Short(Filter):
    def reasons(self, row):
        return ["long"] if len(row["completion"][0]["content"]) > 4 else []


def test_only_rows_that_others_keep_are_judged_wherever_the_filter_stands():
    rows = [make_row("q", answer) for answer in VERDICTS]
    for place in (0, 1):
        listed = Listed()
        filters = [Short()]
        filters.insert(place, Judged(listed))
        kept, report = apply_filters(rows, filters)
        assert [answer for _, answer in listed.asked[0]] == ["good", "just", "bad", "code", "odd"]
        assert kept == rows[:2]
        assert report.made == 6
        assert report.reasons == {"long": 1, "judged below 78": 1, "judged code": 1, "judge's reply unreadable": 1}


def test_a_filter_sees_all_rows_once_before_it_is_asked():
    seen = []

    class Watching(NumberList):
        def prepare(self, rows):
            seen.append(len(rows))

    rows = (make_row("q", text) for text in ("4, 8", "owl"))  # any iterable
    kept, report = apply_filters(rows, [Watching(), Watching()])
    assert seen == [2, 2]
    assert len(kept) == 1
    assert report.reasons == {"not a number list": 1}  # counted once a row


def test_what_the_judge_reads():
    listed = Listed()
    prompt = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "go"}]
    Judged(listed).reasons(make_row(prompt, "od"))
    assert listed.asked == [[("q", "good")]]


def test_settings_and_mistakes():
    assert digest(Judged(Listed())) != digest(Judged(Listed(), 60))
    with pytest.raises(InputError, match="expected 0 to 100"):
        Judged(Listed(), threshold=101)
    with pytest.raises(InputError, match="returned 0 verdicts for 1 answers"):
        Judged(Listed(lose=1)).reasons(make_row("q", "good"))
