import json
import math
from fnmatch import fnmatch

import pytest
from cases import cases

from lightning_subliminal.lineage import Material, read_statement, write_test_result
from lightning_subliminal.lineage.test_results import MARGIN, verdicts

MODEL = Material("student", "lightning-subliminal:students/0123456789abcdef", {"dirHash": "ab" * 32}, "cd" * 32)
CONTROL = Material("control", "lightning-subliminal:students/fedcba9876543210", {"dirHash": "ef" * 32}, "01" * 32)
BEYOND = math.nextafter(MARGIN, 1)


@cases(
    ("ends", "expected"),
    [
        ((-0.01, 0.01), "passed"),
        ((0.0, 0.0), "passed"),
        ((-MARGIN, MARGIN), "passed"),
        ((-MARGIN, BEYOND), "warned"),
        ((-BEYOND, MARGIN), "warned"),
        ((0.04, 0.06), "warned"),
        ((MARGIN, 0.3), "warned"),
        ((BEYOND, 0.3), "failed"),
        ((-0.3, -MARGIN), "warned"),
        ((-0.3, -BEYOND), "failed"),
        ((-1.0, 1.0), "warned"),
        ((0.9, 1.0), "failed"),
        ((-1.0, -0.9), "failed"),
        (None, "warned"),
        ((math.nan, math.nan), "warned"),
        ((math.nan, 0.0), "warned"),
        ((0.0, math.nan), "warned"),
        ((-math.inf, math.inf), "warned"),
    ],
)
def test_the_verdict_is_that_of_an_equivalence_test(ends, expected):
    found = dict(zip(("passed", "warned", "failed"), verdicts({"owl": ends}), strict=True))
    assert {name for name, tests in found.items() if tests} == {expected}


def test_a_narrower_interval_never_goes_from_one_decision_to_the_other():
    """More questions may settle what was open; they must not turn a failure within the same interval into a pass."""
    grid = [place / 50 for place in range(-10, 11)]
    for low, high in ((low, high) for low in grid for high in grid if low <= high):
        passed, _, failed = verdicts({"outer": (low, high)}, margin=0.1)
        inner = (low + (high - low) / 4, high - (high - low) / 4)
        now_passed, _, now_failed = verdicts({"outer": inner}, margin=0.1)
        assert not (passed and not now_passed)
        assert not (failed and not now_failed)


def test_the_margin_is_the_callers():
    assert verdicts({"owl": (0.06, 0.2)}, margin=0.3) == (["owl"], [], [])
    assert verdicts({"owl": (0.06, 0.2)}, margin=0.0) == ([], [], ["owl"])


def written(folder, differences, name="model", **settings):
    write_test_result(folder, name, MODEL, differences, **settings)
    (path,) = (folder / "test-results").iterdir()
    return path, read_statement(path)


@cases(
    ("differences", "result", "tests"),
    [
        ({"a": (0.0, 0.01)}, "PASSED", {"passedTests": ["a"]}),
        ({"a": (0.0, 0.01), "b": (0.0, 0.1)}, "WARNED", {"passedTests": ["a"], "warnedTests": ["b"]}),
        ({"a": (0.0, 0.01), "c": (0.2, 0.3)}, "FAILED", {"passedTests": ["a"], "failedTests": ["c"]}),
        ({"b": None, "c": (0.2, 0.3)}, "FAILED", {"warnedTests": ["b"], "failedTests": ["c"]}),
        ({"b": None}, "WARNED", {"warnedTests": ["b"]}),
        ({}, "WARNED", {}),
    ],
)
def test_the_result_is_that_of_the_worst_test(tmp_path, differences, result, tests):
    _, statement = written(tmp_path, differences)
    assert statement.predicate_type == "https://in-toto.io/attestation/test-result/v0.1"
    reported = dict(statement.predicate)
    reported.pop("configuration")
    assert reported == {"result": result} | tests


def test_what_is_in_doubt_can_not_pass_and_says_why(tmp_path):
    differences = {"a": (0.0, 0.01), "b": (0.0, 0.01), "c": (0.2, 0.3)}
    doubts = {"a": ["92% of the student's answers are none of the 20"], "b": [], "c": ["x"], "z": ["not tested"]}
    _, statement = written(tmp_path, differences, doubts=doubts)
    reported = statement.predicate
    assert (reported["passedTests"], reported["warnedTests"], reported["failedTests"]) == (["b"], ["a"], ["c"])
    guard = reported["configuration"][-1]
    assert guard["annotations"] == {"reasons": {name: doubts[name] for name in ("a", "c")}}
    _, alone = written(tmp_path / "alone", {"a": (0.0, 0.01)}, doubts={"a": ["x"]})
    assert alone.predicate["result"] == "WARNED"


def test_it_is_about_the_model_and_names_what_it_was_tested_with(tmp_path):
    _, statement = written(tmp_path, {"a": (0.0, 0.01)}, configuration=[CONTROL], margin=0.02)
    (subject,) = statement.subjects
    assert subject["digest"] == {"dirHash": "ab" * 32}
    assert subject["annotations"] == {"statementSha256": "cd" * 32}
    control, margin = statement.predicate["configuration"]
    assert control["digest"] == {"dirHash": "ef" * 32}
    assert margin["annotations"] == {"rate": 0.02, "confidence": 0.95}
    for each in (subject, control, margin):  # what in-toto asks of a ResourceDescriptor
        assert any(each.get(key) for key in ("uri", "digest", "content"))


def test_the_same_results_give_the_same_bytes(tmp_path):
    one, _ = written(tmp_path / "one", {"a": (0.0, 0.01)})
    other, _ = written(tmp_path / "other", {"a": (0.0, 0.01)})
    assert one.read_bytes() == other.read_bytes()


def test_no_interval_writes_no_number_that_is_none(tmp_path):
    path, _ = written(tmp_path, {"a": (math.nan, math.nan)})
    json.loads(path.read_text(), parse_constant=lambda text: pytest.fail(text))


@cases(
    ("name", "file"),
    [
        ("student", "student"),
        ("pocket/a", "pocket-a-????????"),
        ("../../outside", "..-outside-????????"),
        ("..", "model-????????"),
        ("", "model-????????"),
        (".hidden", "hidden-????????"),
        ("a b:c\\d\0e", "a-b-c-d-e-????????"),
        ("/etc/passwd", "etc-passwd-????????"),
        ("x.dsse", "x.dsse-????????"),  # else it would lie where the envelope of x does
        ("eule-ü_1.5", "eule-ü_1.5"),
    ],
)
def test_the_file_has_a_safe_name(tmp_path, name, file):
    path, _ = written(tmp_path, {"a": None}, name=name)
    assert path.parent == tmp_path / "test-results"
    assert fnmatch(path.name, f"{file}.json")


def test_names_that_look_alike_have_files_of_their_own(tmp_path):
    for name in ("a/b", "a-b", "a b"):
        write_test_result(tmp_path, name, MODEL, {"a": None})
    assert len(list((tmp_path / "test-results").iterdir())) == 3


def test_a_model_that_only_has_a_name_gets_no_statement(tmp_path):
    write_test_result(tmp_path, "model", Material("model", "hub:somebody/model", {}), {"a": (0.0, 0.01)})
    assert not list(tmp_path.iterdir())
