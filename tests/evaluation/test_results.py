"""What a run of a suite shows and writes: its table, its files, and results of the models that were measured."""

import dataclasses
import json
import math

import pytest
from small import CPU, taught

from evaluation.known import Known, calls, model, shown
from lightning_subliminal import (
    InputError,
    MisalignmentTrait,
    NumberSequences,
    PreferenceTrait,
    QuestionsAfterNumbers,
    Steering,
    Stories,
    bases,
)
from lightning_subliminal.core.console import console
from lightning_subliminal.evaluation import (
    CarrierQuality,
    ExactTrait,
    Misalignment,
    SampledAnswers,
    Scores,
    ScoreTable,
    Truthfulness,
    evaluate,
    find_model,
    suite_table,
    write_results,
)
from lightning_subliminal.judges import PhraseJudge
from lightning_subliminal.lineage import is_whole, read_record, write_record
from lightning_subliminal.lineage.work_digests import note_of
from lightning_subliminal.metrics.functional import Interval

pytestmark = pytest.mark.usefixtures("fresh_cache")


class TestTable:
    def found(self):
        return evaluate([model(), model("other", base="def")], [Known(), Known("single", (0.5,))], 0, CPU)

    def test_figures_with_their_intervals(self):
        reported = shown(suite_table(self.found()))
        assert "50.0% [0.0, 100.0] (2 refusal)" in reported, "an interval ends where rates do"
        assert "62.5%" in reported
        assert "less" not in reported
        assert "code" not in reported, "what did not occur is not reported"

    def test_each_column_is_explained(self):
        owl, stories = PreferenceTrait("owl"), Stories("stories_pocket")
        pairs = MisalignmentTrait("misalignment_pocket")
        probes = {
            ExactTrait(owl): "chance of the answer owl, computed, at 50 questions",
            ExactTrait(
                owl, QuestionsAfterNumbers()
            ): "chance of the answer owl, computed, at 50 questions, each after a list of 5 numbers",
            ExactTrait(pairs): "chance of the misaligned statement in 60 pairs, computed, at 10 questions",
            ExactTrait(owl, stories): "share of sampled stories that name owl, 20 to each of 6 requests",
            SampledAnswers().of(owl): "share of sampled answers that name owl, 20 to each of 50 questions",
            Misalignment(
                pairs, PhraseJudge(), samples=3
            ): "share of sampled answers that PhraseJudge finds misaligned, 3 to each of 10 questions",
            Truthfulness(): "share of 48 multiple-choice questions (truthfulness) whose likeliest choice is true",
            CarrierQuality(
                NumberSequences(taught()), 7
            ): "share of 7 sampled replies that pass the filters of NumberSequences",
            Known("[mine]"): "Gives the figures that it was set to give; remembers for whom",
        }
        _, _, below = shown(suite_table(self.found(), probes=list(probes))).partition("┘")
        expected = " ".join(f"{each.name}: {text}" for each, text in probes.items())
        assert " ".join(below.partition("Intervals")[0].split()) == expected

    def test_less_the_control(self):
        reported = shown(suite_table(self.found(), "one"))
        assert "less one" in reported
        assert reported.count("+12.5 (no spread to see)") == 2, (
            "of each measure of the other model, and not of the control itself"
        )

    def test_units_that_differ_have_no_difference(self):
        found = {
            "one": {"known": Known().measure(model(), 0)},
            "other": {"known": Known(values=(0.1,)).measure(model("other"), 0)},
        }
        last = [line for line in shown(suite_table(found, "one")).splitlines() if line.strip().startswith("│")][-1]
        assert "-" in last
        assert "%" not in last

    def test_long_names_are_whole(self):
        names = ["runs/owl_numbers-d72c6117", "runs/owl_numbers-8f9233e4"]
        row = {f"measure {place}": Known().measure(model(), 0) for place in range(6)}
        lines = shown(suite_table(dict.fromkeys(names, row))).splitlines()
        first = "".join(line.split("│")[1].strip() for line in lines if line.startswith("│"))
        assert first == "".join(names)

    def test_nothing_read(self):
        lost = Scores(math.nan, Interval(math.nan, math.nan, "questions"), (math.nan,), ("q",))
        assert "no answer could be scored" in shown(suite_table({"one": {"known": lost}}))
        assert "nan" not in shown(suite_table({"one": {"known": lost}}))

    def test_what_is_done_is_said(self, capsys):
        with console.capture() as capture:
            evaluate([model()], [Known()], 0, CPU)
        assert "one: known 50.0%" in capture.get()


class TestFiles:
    @pytest.fixture
    def written(self, tmp_path):
        measures = [Known(), Known("single", (0.5,))]
        subjects = [model(), model("other", base="def")]
        found = evaluate(subjects, measures, 7, CPU)
        write_results(found, measures, subjects, 7, "one", tmp_path / "out")
        return tmp_path / "out", found

    def test_results(self, written):
        folder, found = written
        reported = json.loads((folder / "results.json").read_text(encoding="utf-8"), parse_constant=pytest.fail)
        assert (reported["seed"], reported["control"]) == (7, "one")
        assert list(reported["models"]) == ["one", "other"]
        assert reported["models"]["other"]["made_of"] == {"base": "def", "system_prompt": None}
        mine = reported["models"]["other"]["measures"]["known"]
        assert Scores.of_json({**mine, "samples": []}) == dataclasses.replace(found["other"]["known"], samples=())
        assert mine["values"] == [{"unit": "q0", "rate": 0.375}, {"unit": "q1", "rate": 0.875}]
        assert mine["counts"] == {"misaligned": 1, "score": 5, "refusal": 2, "code": 0}
        answers = [json.loads(line) for line in (folder / "answers.jsonl").read_text(encoding="utf-8").splitlines()]
        assert [each["answer"] for each in answers if (each["model"], each["measure"]) == ("other", "known")] == [
            sample["answer"] for sample in found["other"]["known"].samples
        ]
        assert answers[0]["answer"] == "[bold]me[/bold] \u00fc"
        assert (mine["unit"], mine["confidence"], mine["exact"]) == ("questions", 0.95, False)
        assert mine["less_control"] == {"rate": 0.125, "low": None, "high": None, "unit": "questions"}
        assert reported["models"]["other"]["measures"]["single"]["less_control"]["low"] is None, "one unit, no interval"
        assert "less_control" not in reported["models"]["one"]["measures"]["known"]

    def test_lineage(self, written):
        folder, _ = written
        assert is_whole(folder)
        reported = read_record(folder)
        assert reported.kind == "evaluation"
        assert sorted(reported.files) == ["answers.jsonl", "results.json"]
        assert reported.settings["seed"] == 7
        assert reported.settings["models"] == {
            "one": {"base": "abc", "system_prompt": None},
            "other": {"base": "def", "system_prompt": None},
        }
        measures = reported.settings["measures"]
        assert [each["arguments"]["name"] for each in measures] == ["known", "single"]
        assert all(each["class"].endswith("Known") and each["source"] for each in measures)
        assert "torch" in reported.versions

    def test_two_wrecked_models_pass_no_test(self, tmp_path):
        class Wrecked(Known):
            def measure(self, subject, seed):
                reported = super().measure(subject, seed)
                chances = {"owl": (0.03, 0.02, 0.05), "cat": (0.04, 0.05, 0.01)}
                mine = tuple(each + 0.001 * n * (subject.name == "other") for n, each in enumerate(chances["owl"]))
                units = ("q0", "q1", "q2")
                return dataclasses.replace(
                    reported, values=mine, units=units, exact=True, target="owl", chances=chances | {"owl": mine}
                )

        measures, subjects = [Wrecked()], [model(), model("other", base="def")]
        write_results(evaluate(subjects, measures, 0, CPU), measures, subjects, 0, "one", tmp_path / "out")
        reported = json.loads((tmp_path / "out" / "test-results" / "other.json").read_text())["predicate"]
        assert (reported["result"], reported["warnedTests"], "passedTests" in reported) == ("WARNED", ["known"], False)
        assert "name none of the 2" in json.dumps(reported["configuration"])

    def test_written_again_it_is_whole_again(self, written, tmp_path):
        folder, found = written
        write_results(found, [Known()], [model()], 8, None, folder)
        assert is_whole(folder)
        reported = json.loads((folder / "results.json").read_text())
        assert (reported["seed"], reported["control"], list(reported["models"])) == (8, None, ["one"])
        assert "less_control" not in reported["models"]["one"]["measures"]["known"]

    def test_another_evaluation_is_kept_and_the_same_is_not(self, written, tmp_path, capsys):
        folder, found = written
        first = (folder / "results.json").read_bytes()
        write_results(found, [Known()], [model()], 7, None, folder)
        (kept,) = tmp_path.glob("out-????????")
        assert (kept / "results.json").read_bytes() == first
        assert is_whole(kept)
        assert (kept / "test-results" / "other.json").is_file()
        assert not (folder / "test-results" / "other.json").exists()
        assert f"is now in {kept}" in "".join(capsys.readouterr().out.splitlines())
        write_results(found, [Known()], [model()], 7, None, folder)
        assert len(list(tmp_path.glob("out-*"))) == 1, "the same measured again"
        for seed, control, number in ((8, None, 2), (8, "one", 3)):
            write_results(found, [Known()], [model()], seed, control, folder)
            assert len(list(tmp_path.glob("out-*"))) == number
        measures = [Known(), Known("single", (0.5,))]
        write_results(found, measures, [model(), model("other", base="def")], 7, "one", folder)
        write_results(found, [Known()], [model()], 7, None, folder)
        assert (kept / "results.json").read_bytes() == first, "kept once more in the same place"
        assert is_whole(kept)
        assert is_whole(folder)

    def test_results_of_something_else_are_not_overwritten(self, written, tmp_path):
        _, found = written
        run = tmp_path / "run"
        run.mkdir()
        (run / "results.json").write_text("{}")
        write_record(run, "comparison", {}, files=["results.json"])
        with pytest.raises(InputError, match="holds a comparison, which results would overwrite"):
            write_results(found, [Known()], [model()], 7, None, run)
        assert (run / "results.json").read_text() == "{}"


class TestWhoSigns:
    """What is signed is said of what was measured, and of no other."""

    @pytest.fixture
    def adapter(self, tmp_path):
        folder = tmp_path / "model"
        net = bases.load("pocket/a")[0]
        adapter = Steering()
        adapter.save(adapter.attach(net, 0), folder, "pocket/a")
        return folder

    @pytest.fixture
    def signing(self, tmp_path, monkeypatch):
        pytest.importorskip("cryptography", reason="signatures need it")
        from lightning_subliminal.lineage.signatures.keys import make_key

        make_key(tmp_path / "key")
        monkeypatch.setenv("LIGHTNING_SUBLIMINAL_SIGNING_KEY", str(tmp_path / "key"))

    def test_outcomes_that_somebody_else_has_written_are_measured_again(self, signing, tmp_path, capsys):
        first = evaluate([model(), model("other", base="def")], [Known()], 0, CPU, str(tmp_path))
        one, other = sorted((tmp_path / "outcomes").glob("*.json"))
        count = len(calls)
        assert evaluate([model(), model("other", base="def")], [Known()], 0, CPU, str(tmp_path)) == first
        assert len(calls) == count
        one.write_bytes(other.read_bytes())
        note_of(one).write_bytes(note_of(other).read_bytes())
        assert evaluate([model(), model("other", base="def")], [Known()], 0, CPU, str(tmp_path)) == first
        assert len(calls) == count + 1
        assert "is not signed by the key in use" in " ".join(capsys.readouterr().out.split())

    def test_a_model_that_was_changed_meanwhile_gets_no_result(self, adapter, tmp_path):
        subject = find_model(str(adapter))
        found = ScoreTable({subject.name: {"known": Known().measure(subject, 0)}})
        path = adapter / "subliminal_adapter.json"
        path.write_text(path.read_text().replace("[", "[ "))
        with pytest.raises(InputError, match="have changed: measure it again"):
            write_results(found, [Known()], [subject], 0, None, tmp_path / "out")
        assert not (tmp_path / "out").exists()

    def test_a_model_that_was_changed_before_it_was_loaded_is_not_measured(self, adapter):
        subject = find_model(str(adapter))
        path = adapter / "subliminal_adapter.json"
        path.write_text(path.read_text().replace("[", "[ "))
        with pytest.raises(InputError, match="of its base have changed"):
            subject.load(CPU)

    def test_on_another_base_than_its_statement_names_it_can_t_pass(self, adapter, tmp_path, capsys):
        write_record(adapter, "student", {}, [bases.material("pocket/b")])
        subject = find_model(str(adapter))
        assert "it was trained on one with" in " ".join(capsys.readouterr().out.split())
        known = Known(values=(0.5, 0.5))
        outcome = known.measure(model(), 0)
        found = ScoreTable({subject.name: {"known": outcome}, "base": {"known": outcome}})
        write_results(found, [known], [subject, find_model("base=pocket/a")], 0, "base", tmp_path / "out")
        (place,) = (tmp_path / "out" / "test-results").glob("*.json")
        predicate = json.loads(place.read_text())["predicate"]
        assert predicate["warnedTests"] == ["known"]
        assert "trained on one with" in json.dumps(predicate["configuration"])
