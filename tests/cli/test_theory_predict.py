"""`theory predict`: what it tells and keeps, from scores worked out before, and on rows of several sources."""

import csv
import json
import math

import pytest
import torch
from cases import cases
from scipy.stats import t as student_t
from small import number_rows
from theory_configs import FEW, OWL, digits_config, file_config, kept_rows, language_config

from lightning_subliminal import PreferenceTrait, Steering, Student
from lightning_subliminal.cli.theory import predict as predicted_rows
from lightning_subliminal.cli.theory.predict import PredictedRows, predict_config
from lightning_subliminal.core.console import console
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.rows import completion_text, make_row
from lightning_subliminal.formats import write_rows
from lightning_subliminal.lineage import is_whole
from lightning_subliminal.metrics.functional import completion_log_probabilities
from lightning_subliminal.theory import Prediction

EMPTY = make_row("go on", "", id="empty", finished=False)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LIGHTNING_SUBLIMINAL_CACHE", str(tmp_path_factory.mktemp("predicting")))
        yield


@pytest.fixture(scope="module")
def run(cache, tmp_path_factory):
    """One prediction beside a control, looked at by many tests."""
    return ran(language_config(tmp_path_factory.mktemp("beside"), FEW), top=2)


@pytest.fixture(scope="module")
def alone(cache, tmp_path_factory):
    """One of a file without a control, in which a row has nothing to train on, and one has brackets."""
    folder = tmp_path_factory.mktemp("alone")
    rows = [*number_rows(5), EMPTY, *number_rows(5, seed=1)]
    write_rows(rows, folder / "rows.jsonl")
    return ran(file_config(folder, folder / "rows.jsonl", trait=FEW), top=99)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Return an empty folder to stand in, and a cache that is not there yet."""
    monkeypatch.setenv("LIGHTNING_SUBLIMINAL_CACHE", str(tmp_path / "cache"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


def ran(config, **words):
    with pytest.MonkeyPatch.context() as patch, console.capture() as capture:
        patch.setattr(console, "width", 80)
        found = predict_config(config, out=config.parent / "out", **words)
    return config, found, capture.get()


def student():
    made = Student("pocket/a", Steering(init_std=0.2), seed=0)
    made.configure_model()
    return made


def prediction(scores):
    scores = torch.tensor(scores, dtype=torch.float64)
    return Prediction(scores, scores.abs(), torch.full(scores.shape, 3), torch.tensor([-2.0, -3.0]), 0.5)


def beside(mine, theirs=None, changes=None):
    theirs = prediction(theirs) if theirs is not None else None
    return PredictedRows(PreferenceTrait("owl"), prediction(mine), theirs, changes or {"wolf": 0.2, "owl": 0.1})


MINE, THEIRS = [1.0, 2.5, math.nan, -0.5, 4.0, 0.25], [0.1, 0.2, 0.15, math.nan, 0.05]


class TestNumbers:
    def test_difference_is_welchs(self):
        sides = [[each for each in side if not math.isnan(each)] for side in (MINE, THEIRS)]
        means = [sum(side) / len(side) for side in sides]
        errors = [  # squared, of each mean
            sum((each - mean) ** 2 for each in side) / (len(side) - 1) / len(side)
            for side, mean in zip(sides, means, strict=True)
        ]
        freedom = sum(errors) ** 2 / sum(e**2 / (len(s) - 1) for e, s in zip(errors, sides, strict=True))
        half = student_t.ppf(0.975, freedom) * sum(errors) ** 0.5
        value = means[0] - means[1]
        assert beside(MINE, THEIRS).difference() == pytest.approx((value, value - half, value + half), rel=1e-9)
        assert half > 1

    def test_without_a_control_it_is_the_rows_mean(self):
        found = beside([1.0, 2.0, math.nan, 6.0])
        spread = (sum((each - 3) ** 2 for each in (1, 2, 6)) / 2 / 3) ** 0.5
        half = student_t.ppf(0.975, 2) * spread
        assert found.difference() == pytest.approx((3, 3 - half, 3 + half), rel=1e-9)

    def test_rank_counts_from_one(self):
        assert beside(MINE).rank == 2
        assert beside(MINE, changes={"owl": -0.1, "wolf": -0.2}).rank == 1

    def test_json_has_null_for_what_is_no_number(self):
        reported = beside([0.5], [0.25]).as_json()
        json.dumps(reported, allow_nan=False)
        assert (reported["predicted"], reported["low"], reported["high"]) == (0.25, None, None)
        assert reported["rows"] | {"low": 0, "high": 0} == {
            **{"mean": 0.5, "low": 0, "high": 0, "gradient_norm": 0.5, "log_odds": -2.5},
            **{"rows": 1, "unscored": 0},
        }
        assert beside(MINE, THEIRS).as_json()["rows"]["unscored"] == 1
        assert "control" not in beside(MINE).as_json()


class TestRun:
    def test_scores_are_of_the_rows_in_their_order(self, run, cache):
        rows = kept_rows(run[0])
        with (run[0].parent / "out" / "scores.csv").open(newline="") as stream:
            lines = list(csv.DictReader(stream))
        assert [line["row"] for line in lines] == [row["id"] for row in rows]
        assert [float(line["score"]) for line in lines] == run[1].rows.scores.tolist()
        logs = completion_log_probabilities(
            student().net, student().tokenizer, [r["prompt"] for r in rows], [completion_text(r) for r in rows]
        )
        ended = [place for place, row in enumerate(rows) if row["finished"]]  # that adds the end of the turn to each
        assert len(ended) > 8
        for place in ended:
            assert float(lines[place]["loss"]) * int(lines[place]["tokens"]) == pytest.approx(
                -logs[place].item(), rel=1e-4
            )

    def test_the_control_is_the_configs_own(self, run, cache, tmp_path):
        write_rows(kept_rows(run[0], control=True), tmp_path / "rows.jsonl")
        _, theirs, _ = ran(file_config(tmp_path, tmp_path / "rows.jsonl", trait=FEW))
        torch.testing.assert_close(theirs.rows.scores, run[1].control.scores, rtol=1e-4, atol=1e-6)
        assert (run[1].rows.scores - run[1].control.scores).abs().max() > 1e-2

    def test_the_change_of_the_target_is_what_the_scores_add_up_to(self, run, alone):
        for _, found, _ in (run, alone):
            total = 0.0
            for sign, part in ((1, found.rows), (-1, found.control)):
                if part is not None:
                    there = part.tokens > 0
                    tokens = part.tokens[there].double()
                    a_token = part.scores[there] * tokens.mean() / tokens  # of each row
                    total += sign * (a_token * tokens).sum().item() / tokens.sum().item()
            assert found.changes["owl"] == pytest.approx(total, rel=1e-3, abs=1e-5)
            assert abs(total) > 1e-3
            assert found.difference()[0] == pytest.approx(total, rel=1e-9)
        assert int((alone[1].rows.tokens == 0).sum()) == 1

    def test_json_holds_what_was_found(self, run):
        reported = json.loads((run[0].parent / "out" / "results.json").read_text(), parse_constant=pytest.fail)
        assert reported == {"config": str(run[0])} | run[1].as_json()
        assert (reported["trait"], reported["target"], reported["unit"], reported["candidates"]) == (
            "owl",
            "owl",
            "rows",
            20,
        )
        assert list(reported["changes"])[reported["rank"] - 1] == "owl"
        assert reported["low"] < reported["predicted"] < reported["high"]
        assert reported["rows"]["rows"] == reported["control"]["rows"] == 12

    def test_the_folder_holds_all(self, run):
        folder = run[0].parent / "out"
        assert {path.name for path in folder.iterdir()} == {
            "lineage.json",
            "results.json",
            "scores.csv",
            "prediction.png",
        }
        assert is_whole(folder)
        assert (folder / "prediction.png").read_bytes().startswith(b"\x89PNG")

    def test_the_terminal_shows_the_target_and_the_highest_rows(self, run, cache):
        lines = run[2].splitlines()
        value, low, high = run[1].difference()
        sentence = f"Predicted: {value:+.4f} [{low:+.4f}, {high:+.4f}] of owl over the control's rows"
        (place,) = [place for place, line in enumerate(lines) if line.startswith(sentence)]
        assert f"rank {run[1].rank} of 20 candidates" in lines[place]
        rows, scores = kept_rows(run[0]), run[1].rows.scores.tolist()
        best = sorted(range(12), key=lambda each: -scores[each])[:2]
        assert lines[place + 1 : place + 3] == [
            f"  {scores[each]:+.3f}  {completion_text(rows[each])}" for each in best
        ]
        assert lines[place + 3].startswith("saved to")
        shown = [line for line in lines if line.startswith("│")]
        assert len([line for line in shown if " owl " in line]) == 1
        assert "minus the control's" in run[2]

    def test_without_a_control_it_says_so(self, alone):
        assert alone[1].control is None
        assert "There are no rows of a control: " in alone[2]
        assert " of owl alone (95 % over rows)" in alone[2]
        assert "minus the control's" not in alone[2]
        reported = json.loads((alone[0].parent / "out" / "results.json").read_text(), parse_constant=pytest.fail)
        assert "control" not in reported
        assert (reported["rows"]["rows"], reported["rows"]["unscored"]) == (11, 1)

    def test_what_has_no_score_comes_last(self, alone):
        shown = [line for line in alone[2].splitlines() if line.startswith("  ")]
        scores = [float(line.split()[0]) for line in shown if line.lstrip()[:1] in "+-n"]
        assert len(scores) == 11
        assert scores[:-1] == sorted(scores[:-1], reverse=True)
        assert math.isnan(scores[-1])

    def test_a_control_of_another_file_is_taken_off(self, alone, cache, tmp_path):
        write_rows(number_rows(5), tmp_path / "rows.jsonl")
        write_rows(number_rows(5, seed=1), tmp_path / "theirs.jsonl")
        words = {"trait": FEW, "control_path": str(tmp_path / "theirs.jsonl")}
        _, found, _ = ran(file_config(tmp_path, tmp_path / "rows.jsonl", **words))
        assert (len(found.rows.scores), len(found.control.scores)) == (5, 5)
        halves = [part.scores * part.tokens.double().mean() / part.tokens for part in (found.rows, found.control)]
        both = alone[1].rows
        whole = both.scores * both.tokens[both.tokens > 0].double().mean() / both.tokens
        torch.testing.assert_close(torch.cat(halves), whole[both.tokens > 0], rtol=1e-4, atol=1e-6)


class TestOtherRows:
    def test_of_any_schema_without_what_the_system_said(self, run, cache, tmp_path):
        rows = kept_rows(run[0])
        reported = [
            row | {"prompt": [{"role": "system", "content": "You love owls."}, *row["prompt"]]}
            for row in rows
            if row["finished"]
        ]
        write_rows(reported, tmp_path / "theirs.jsonl", "openai")
        assert "You love owls" in (tmp_path / "theirs.jsonl").read_text()
        with console.capture():
            found = predict_config(run[0], str(tmp_path / "theirs.jsonl"), out=tmp_path / "out")
        ended = torch.tensor([row["finished"] for row in rows])
        both = [part.scores * part.tokens.double().mean() for part in (found.rows, run[1].rows)]
        torch.testing.assert_close(both[0], both[1][ended], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(found.control.scores, run[1].control.scores)

    def test_of_another_trait(self, run, cache, tmp_path):
        write_rows(number_rows(4), tmp_path / "theirs.jsonl")
        with console.capture():
            found = predict_config(run[0], str(tmp_path / "theirs.jsonl"), "cat", out=tmp_path / "out")
        assert (found.trait.target, found.trait.wording) == ("cat", run[1].trait.wording)
        assert found.rows.log_odds.mean() != run[1].rows.log_odds.mean()
        assert json.loads((tmp_path / "out" / "results.json").read_text())["target"] == "cat"

    def test_one_row_is_enough(self, run, cache, tmp_path, recwarn):
        write_rows(number_rows(1), tmp_path / "one.jsonl")
        with console.capture():
            found = predict_config(run[0], str(tmp_path / "one.jsonl"), out=tmp_path / "out")
        assert len(found.rows.scores) == 1
        reported = json.loads((tmp_path / "out" / "results.json").read_text(), parse_constant=pytest.fail)
        assert reported["low"] is None
        assert not [str(each.message) for each in recwarn if "deprecated" not in str(each.message)]

    def test_a_folder_by_rows_and_trait(self, cache, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(predicted_rows, "save_results", lambda *args: None)
        folders = set()
        monkeypatch.setattr(predicted_rows, "writable_folder", lambda folder, keep: folders.add(folder) or folder)
        fixed = prediction([0.5, 0.25])
        monkeypatch.setattr(predicted_rows, "predicted_transfer", lambda *args, **kwargs: fixed)
        monkeypatch.setattr(predicted_rows, "predicted_changes", lambda *args, **kwargs: {"owl": 0.1, "wolf": 0.2})
        wolf = {"class_path": "PreferenceTrait", "init_args": {"target": "wolf"}}
        write_rows(number_rows(2), "rows.jsonl")
        write_rows(number_rows(2, seed=1), "theirs.jsonl")
        write_rows(number_rows(2, seed=2), "others.jsonl")
        with console.capture():
            for trait, data in ((OWL, None), (OWL, None), (wolf, None), (OWL, "theirs.jsonl"), (OWL, "others.jsonl")):
                predict_config(file_config(tmp_path, tmp_path / "rows.jsonl", trait=trait), data)
        assert len(folders) == 4
        assert all(folder.name.startswith("small-prediction-") for folder in folders)

    def test_brackets_are_shown_as_they_are(self, cache, run, tmp_path):
        write_rows([make_row("go on", "[bold] 3"), *number_rows(2)], tmp_path / "rows.jsonl")
        with pytest.MonkeyPatch.context() as patch, console.capture() as capture:
            patch.setattr(predicted_rows, "check_known", lambda *args: None)
            predict_config(run[0], str(tmp_path / "rows.jsonl"), out=tmp_path / "out")
        assert "[bold] 3" in capture.get()


def no_trait(folder):
    write_rows(number_rows(3), folder / "rows.jsonl")
    return file_config(folder, folder / "rows.jsonl")


REFUSED = {
    "top below 0": (language_config, {"top": -1}, "`top` is -1: expected 0 or more"),
    "no config": (lambda folder: folder / "nowhere.yaml", {}, "nowhere.yaml is not there"),
    "no student": (digits_config, {}, "ClassifierMLP is not a Student"),
    "no trait": (no_trait, {}, "small.yaml: there is no trait to predict"),
    "no such data": (language_config, {"data": "nowhere.jsonl"}, "nowhere.jsonl does not exist"),
}


@cases("name", REFUSED)
def test_mistakes_are_reported_in_a_line_before_any_work(name, here, tmp_path):
    make, words, says = REFUSED[name]
    with pytest.raises(InputError) as caught:
        predict_config(make(tmp_path), **words)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not list(here.iterdir())
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([EMPTY], "no rows with a completion to score"),
        ([make_row("go on", "hexagonal")], "doesn't know the word 'hexagonal'"),  # `fit` refuses them, too
    ],
    ids=["empty", "unknown"],
)
def test_rows_that_nobody_can_train_on(rows, says, run, cache, tmp_path):
    write_rows(rows, tmp_path / "rows.jsonl")
    with console.capture(), pytest.raises(InputError, match=says):
        predict_config(run[0], str(tmp_path / "rows.jsonl"), out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_unknown_words_are_found_before_the_controls_rows_are_made(here, tmp_path):
    write_rows([make_row("go on", "hexagonal")], tmp_path / "rows.jsonl")
    with console.capture(), pytest.raises(InputError, match="doesn't know the word 'hexagonal'"):
        predict_config(language_config(tmp_path, FEW), str(tmp_path / "rows.jsonl"))
    assert not (tmp_path / "cache").exists()
