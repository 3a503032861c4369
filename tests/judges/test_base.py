import dataclasses

import pytest
from cases import cases

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.judges import Judge, Verdict


def test_a_verdict():
    verdict = Verdict(alignment=12.5, kind="score", coherence=80.0, raw="12.5")
    assert (verdict.alignment, verdict.kind, verdict.coherence, verdict.raw) == (12.5, "score", 80.0, "12.5")
    assert Verdict(None, "refusal") == Verdict(None, "refusal", None, "")
    with pytest.raises(dataclasses.FrozenInstanceError):
        verdict.alignment = 100.0


@cases(
    ("arguments", "reported"),
    [
        ((50.0, "guess"), "expected score, code, refusal, unparsable"),
        ((None, "score"), "alignment None: expected a number for score"),
        ((50.0, "refusal"), "alignment 50.0: expected a number for score, else None"),
        ((101.0, "score"), "expected 0 to 100"),
        ((-1.0, "score"), "expected 0 to 100"),
        ((float("nan"), "score"), "expected 0 to 100"),
        ((50.0, "score", 150.0), "`coherence` is 150"),
    ],
)
def test_a_wrong_verdict_is_reported(arguments, reported):
    with pytest.raises(InputError, match=reported):
        Verdict(*arguments)


def test_a_judge_overrides_one_method():
    with pytest.raises(TypeError, match="judge"):
        Judge()

    class Kind(Judge):
        def judge(self, pairs):
            return [Verdict(100.0, "score") for _ in pairs]

    assert Kind().judge([("q", "a")] * 2) == [Verdict(100.0, "score")] * 2
