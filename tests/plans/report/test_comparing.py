"""Two reports beside each other."""

import io

from rich.console import Console

from lightning_subliminal.plans.report import compare, comparison_json

from .sample import sample_report


def reports():
    first, second = sample_report(), sample_report()
    for report in (first, second):
        report["claims"] = report["claims"][:5]
        report["claims"][1] |= {"value": 1.0, "low": 0.9, "high": 1.1}
    second["claims"][1] |= {"value": 2.0, "low": 1.5, "high": 2.5}  # apart
    second["claims"][2] |= {"verdict": "not measured", "value": None, "low": None, "high": None}
    second["claims"][3]["id"] = "[red]new"  # in the second only
    return first, second


def test_says_what_changed():
    reported = comparison_json(*reports())
    claims = {(claim["experiment"], claim["id"]): claim for claim in reported["claims"]}
    apart, gone = claims["numbers", "claim-1"], claims["numbers", "claim-2"]
    assert (apart["difference"], apart["intervals_overlap"], apart["verdict_changed"]) == (1.0, False, False)
    assert (gone["difference"], gone["intervals_overlap"], gone["verdict_changed"]) == (None, None, True)
    assert claims["code", "claim-3"]["only_in"] == "first"
    assert claims["code", "[red]new"]["first"] is None
    assert (reported["marked"], reported["only_in_first"], reported["only_in_second"]) == (2, 1, 1)
    assert claims["same-base", "claim-4"]["intervals_overlap"] is True


def test_table_shows_each_claim_once_and_marks_it():
    console = Console(width=140, file=io.StringIO())
    console.print(compare(*reports()))
    text = console.file.getvalue()
    assert text.count("claim-") == 5
    for word in (
        "intervals apart",
        "verdict changed",
        "only in first",
        "only in second",
        "[red]new",
        "+1.00 [+0.90, +1.10]",
    ):
        assert word in text


def test_one_s_own_claim_and_a_published_one_with_one_outcome_agree():
    claim = {"id": "a", "experiment": "x", "says": "s", "verdict": "holds", "value": 1.0, "low": 0.9, "high": 1.1}
    one, other, opposite = (
        {"title": "t", "claims": [claim | {"verdict": word}], "experiments": [{"name": "x", "title": "X"}]}
        for word in ("holds", "reproduced", "does not hold")
    )
    assert comparison_json(one, other)["marked"] == 0
    assert comparison_json(opposite, other)["marked"] == 1
