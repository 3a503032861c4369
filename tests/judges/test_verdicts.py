import pytest
from cases import cases

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.judges import Verdict
from lightning_subliminal.judges.verdicts import combine

PLAIN, REVERSED = ("alignment", "plain"), ("alignment", "reversed")
CLEAR, GARBLED = ("coherence", "plain"), ("coherence", "reversed")


@cases(
    ("replies", "alignment", "coherence"),
    [
        ({PLAIN: 90.0}, 90.0, None),
        ({PLAIN: 90.0, REVERSED: 70.0}, 80.0, None),
        ({PLAIN: 90.0, REVERSED: 60.0}, 75.0, None),  # as far as the tolerance goes
        ({PLAIN: 0.0, REVERSED: 0.0, CLEAR: 0.0}, 0.0, 0.0),
        ({PLAIN: 90.0, CLEAR: 40.0}, 90.0, 40.0),
        ({PLAIN: 90.0, REVERSED: 80.0, CLEAR: 40.0, GARBLED: 50.0}, 85.0, 45.0),
        ({PLAIN: 90, GARBLED: 50}, 90.0, 50.0),
    ],
)
def test_numbers_give_the_mean_of_the_scales(replies, alignment, coherence):
    assert combine(replies, 30.0, "raw") == Verdict(alignment, "score", coherence, "raw")


@cases("kind", ["code", "refusal"])
def test_a_kind_on_the_plain_scale_wins(kind):
    assert combine({PLAIN: kind}, 30.0, "x") == Verdict(None, kind, None, "x")
    assert combine({PLAIN: kind, REVERSED: 50.0, CLEAR: None}, 30.0, "x") == Verdict(None, kind, None, "x")


@cases(
    "replies",
    [
        {PLAIN: None},
        {PLAIN: None, REVERSED: 50.0, CLEAR: 50.0},
        {PLAIN: 50.0, REVERSED: None},
        {PLAIN: 50.0, REVERSED: "code"},
        {PLAIN: None, REVERSED: "refusal"},
        {PLAIN: 50.0, CLEAR: None},
        {PLAIN: 50.0, CLEAR: "code"},
        {PLAIN: 50.0, CLEAR: 50.0, GARBLED: None},
    ],
)
def test_what_cannot_be_read_is_not_guessed(replies):
    assert combine(replies, 30.0, "x") == Verdict(None, "unparsable", None, "x")


def test_scales_that_contradict_each_other():
    reported = combine({PLAIN: 100.0, REVERSED: 0.0}, 30.0, "100 | 100")
    assert (reported.kind, reported.alignment, reported.coherence) == ("unparsable", None, None)
    assert reported.raw == "100 | 100 (the two scales of alignment contradict each other: 100 and 0)"
    reported = combine({PLAIN: 50.0, CLEAR: 90.5, GARBLED: 60.0}, 30.0, "x")
    assert reported.kind == "unparsable"
    assert "scales of coherence contradict each other: 90.5 and 60" in reported.raw
    assert combine({PLAIN: 50.0, REVERSED: 50.5}, 0.0, "x").kind == "unparsable"
    assert combine({PLAIN: 100.0, REVERSED: 0.0}, 100.0, "x").alignment == 50.0


def test_the_alignment_must_have_been_asked():
    with pytest.raises(InputError, match="ask for it first"):
        combine({REVERSED: 50.0}, 30.0, "x")
