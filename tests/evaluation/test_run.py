"""Running a suite: nothing is measured twice, nothing that was measured is lost, and what is written says all of it."""

import dataclasses
import json
import math
import shutil

import pytest
import torch
from small import CPU

from lightning_subliminal import InputError, PreferenceTrait, Steering, bases
from lightning_subliminal.core.console import console
from lightning_subliminal.evaluation import (
    ExactTrait,
    Misalignment,
    ModelRef,
    Probe,
    Scores,
    ScoreTable,
    evaluate,
    find_model,
    suite_table,
    write_results,
)
from lightning_subliminal.judges import Judge, Verdict
from lightning_subliminal.lineage import is_whole, read_record, write_record
from lightning_subliminal.lineage.work_digests import note_of
from lightning_subliminal.metrics.functional import Interval, mean_interval

calls = []


class Known(Probe):
    """Gives the figures that it is told to give; remembers for whom."""

    def __init__(self, name="known", values=(0.25, 0.75), fault=None):
        self.name = name
        self.values = values
        self.fault = fault

    def measure(self, subject, seed):
        calls.append((self.name, subject.name, seed))
        if self.fault == "input":
            raise InputError("it has no words: give it some.")
        if self.fault:
            raise RuntimeError(self.fault)
        values = tuple(value + 0.125 * (subject.name == "other") for value in self.values)
        rate = sum(values) / len(values)
        counts = {"misaligned": 1, "score": 5, "refusal": 2, "code": 0}
        interval = mean_interval(torch.tensor(values), "questions")
        samples = ({"question": "who?", "answer": "[bold]me[/bold] \u00fc"},)
        return Scores(rate, interval, values, tuple(f"q{n}" for n in range(len(values))), counts, samples=samples)


class Nameless(ModelRef):
    """A model that needs no loading."""

    loads = 0

    def load(self, device):
        type(self).loads += 1
        self.net = object()
        return self


@pytest.fixture(autouse=True)
def _fresh(tmp_path, monkeypatch):
    calls.clear()
    Nameless.loads = 0
    monkeypatch.setenv("LIGHTNING_SUBLIMINAL_CACHE", str(tmp_path / "cache"))


def model(name="one", **digest):
    return Nameless(name, "pocket/a", None, {"base": "abc", "system_prompt": None, **digest})


def shown(table):
    with console.capture() as capture:
        console.print(table, width=200)
    return capture.get()


class TestCache:
    def test_a_second_run_measures_nothing(self):
        measures = [Known(), Known("again", (0.5, 0.5, 0.5))]
        first = evaluate([model(), model("other", base="def")], measures, 3, CPU)
        assert calls == [(each, who, 3) for who in ("one", "other") for each in ("known", "again")]
        assert Nameless.loads == 4
        second = evaluate([model(), model("other", base="def")], measures, 3, CPU)
        assert len(calls) == 4
        assert Nameless.loads == 4, "a model whose figures are all there is not loaded"
        assert second == first
        assert list(first) == ["one", "other"]
        assert list(first["one"]) == ["known", "again"]

    @pytest.mark.parametrize(
        ("measure", "subject", "seed"),
        [
            (Known(values=(0.25, 0.7)), model(), 0),
            (Known("renamed"), model(), 0),
            (Known(), model(), 1),
            (Known(), model(base="def"), 0),
            (Known(), model(system_prompt="You love owls."), 0),
            (Known(), model(**{"adapter_model.safetensors": "123"}), 0),
        ],
        ids=["argument", "name", "seed", "base", "system prompt", "adapter"],
    )
    def test_whatever_shapes_the_figure_measures_again(self, measure, subject, seed):
        evaluate([model()], [Known()], 0, CPU)
        evaluate([subject], [measure], seed, CPU)
        assert len(calls) == 2
        evaluate([subject], [measure], seed, CPU)
        evaluate([model("renamed")], [Known()], 0, CPU)
        assert len(calls) == 2, "and both are kept; what a table calls the model shapes nothing"

    def test_a_newer_version_measures_again(self, monkeypatch):
        evaluate([model()], [Known()], 0, CPU)
        monkeypatch.setattr(Known, "version", 2)
        evaluate([model()], [Known()], 0, CPU)
        assert len(calls) == 2

    def test_a_changed_adapter_measures_again(self, tmp_path):
        adapter = Steering([0], init_std=0.3)
        for seed in (0, 1):
            net, _ = bases.load("pocket/a")
            adapter.save(adapter.attach(net, seed), tmp_path / str(seed), "pocket/a")
        owl = ExactTrait(PreferenceTrait("owl"))
        place = tmp_path / "mine"
        figures = []
        for seed in (0, 1, 0):
            shutil.copytree(tmp_path / str(seed), place, dirs_exist_ok=True)
            figures.append(evaluate([find_model(f"mine={place}")], [owl], 0, CPU)["mine"][owl.name])
        assert figures[0] == figures[2] != figures[1]
        assert len(list((tmp_path / "cache" / "outcomes").iterdir())) == 2

    def test_a_run_that_stops_keeps_what_it_has(self):
        with pytest.raises(RuntimeError, match="boom"):
            evaluate([model()], [Known("first"), Known("second", fault="boom"), Known("third")], 0, CPU)
        assert [name for name, _, _ in calls] == ["first", "second"]
        found = evaluate([model()], [Known("first"), Known("second"), Known("third")], 0, CPU)
        assert [name for name, _, _ in calls] == ["first", "second", "second", "third"]
        assert list(found["one"]) == ["first", "second", "third"]

    def test_a_judge_is_not_asked_twice(self, tmp_path):
        asked = []

        class Kind(Judge):
            def judge(self, pairs):
                asked.append(len(pairs))
                return [Verdict(90.0, "score", 90.0)] * len(pairs)

        own = tmp_path / "mine.yaml"
        own.write_text("- Is it you?\n")
        from lightning_subliminal import Questions

        for _ in range(2):
            measure = Misalignment(PreferenceTrait("owl"), Kind(), Questions(str(own)), samples=2, max_new_tokens=4)
            evaluate([find_model("pocket/a")], [measure], 0, CPU)
        assert asked == [2]

    def test_a_cache_of_ones_own(self, tmp_path):
        evaluate([model()], [Known()], 0, CPU, cache_dir=str(tmp_path / "mine"))
        assert len(list((tmp_path / "mine" / "outcomes").glob("*.json"))) == 1
        assert not (tmp_path / "cache").exists()

    @pytest.mark.parametrize("text", ["", "{", "[]", "null", "{}", '{"rate": 1}', "\x00"])
    def test_a_damaged_file_is_told_in_one_line(self, text, tmp_path):
        evaluate([model()], [Known()], 0, CPU)
        (kept,) = (tmp_path / "cache" / "outcomes").iterdir()
        whole = kept.read_text()
        kept.write_text(text)
        with pytest.raises(InputError, match="is damaged: delete it, and the next run measures again") as caught:
            evaluate([model()], [Known()], 0, CPU)
        assert str(kept) in str(caught.value)
        assert "\n" not in str(caught.value)
        kept.unlink()
        evaluate([model()], [Known()], 0, CPU)
        assert kept.read_text() == whole

    def test_a_damaged_figure_is_told_too(self, tmp_path):
        evaluate([model()], [Known()], 0, CPU)
        (kept,) = (tmp_path / "cache" / "outcomes").iterdir()
        for damaged in ({"rate": "x"}, {"low": []}, {"counts": [1]}, {"values": {"unit": "q0"}}, {"samples": 3}):
            kept.write_text(json.dumps({**json.loads(kept.read_text()), **damaged}))
            with pytest.raises(InputError, match="is damaged"):
                evaluate([model()], [Known()], 0, CPU)
            kept.unlink()
            evaluate([model()], [Known()], 0, CPU)

    def test_nan_is_kept(self):
        class Lost(Known):
            def measure(self, subject, seed):
                calls.append(self.name)
                return Scores(math.nan, Interval(math.nan, math.nan, "questions"), (math.nan,), ("q",))

        for _ in range(2):
            found = evaluate([model()], [Lost()], 0, CPU)["one"]["known"]
            assert math.isnan(found.rate)
            assert math.isnan(found.values[0])
        assert calls == ["known"]


class TestRefused:
    def test_two_models_of_one_name(self):
        with pytest.raises(InputError, match="Two models are named 'one': rename one"):
            evaluate([model(), model()], [Known()], 0, CPU)
        assert not calls

    def test_two_measures_of_one_name(self):
        with pytest.raises(InputError, match=r"Two measures are named 'known'.*`name:`"):
            evaluate([model()], [Known(), Known(values=(0.1,))], 0, CPU)
        assert not calls

    def test_a_mistake_names_measure_and_model(self):
        with pytest.raises(InputError, match="known of one: it has no words: give it some"):
            evaluate([model()], [Known(fault="input")], 0, CPU)

    def test_a_measure_that_a_model_cant_take_leaves_the_others(self):
        for place in (0, 1, 2):  # the first, one in the middle, the last
            measures = [Known(f"m{n}", fault="input" if n == place else None) for n in range(3)]
            found = evaluate([model()], measures, place, CPU)["one"]
            assert [name for name, each in found.items() if each.reason] == [f"m{place}"]
            assert found[f"m{place}"].reason == "it has no words: give it some."
            assert math.isnan(found[f"m{place}"].rate)

    def test_one_model_that_can_take_it_is_measured(self):
        class Choosy(Known):
            def measure(self, subject, seed):
                if subject.name == "other":
                    raise InputError("not this one.")
                return super().measure(subject, seed)

        subjects = [model("other", base="def"), model()]
        found = evaluate(subjects, [Choosy()], 0, CPU)
        assert found["one"]["known"].rate == 0.5
        assert found.refusals() == ["known of other: not this one."]
        told = shown(suite_table(found, "one"))
        assert "n/a" in told
        assert "Intervals over questions (known)" in " ".join(told.split())

    def test_a_reason_is_not_kept(self):
        evaluate([model()], [Known(fault="input"), Known("fine")], 0, CPU)
        calls.clear()
        evaluate([model()], [Known(fault="input"), Known("fine")], 0, CPU)
        assert [name for name, _, _ in calls] == ["known"], "it is tried again: another release may take it"

    def test_a_judge_that_cant_be_asked_is_no_fault_of_the_model(self):
        class Away(Judge):
            def judge(self, pairs):
                raise InputError("the server is away.")

        measure = Misalignment(PreferenceTrait("owl"), Away(), samples=1, max_new_tokens=2)
        with pytest.raises(InputError, match="misalignment of pocket/a: the server is away"):
            evaluate([find_model("pocket/a")], [Known(), measure], 0, CPU)

    def test_a_model_that_cant_be_loaded_stops_it(self):
        class Broken(Nameless):
            def load(self, device):
                raise InputError("no weights.")

        with pytest.raises(InputError, match="no weights"):
            evaluate([model(), Broken("two", "pocket/a", None, {"base": "x"})], [Known()], 0, CPU)

    def test_as_json_and_back(self):
        refused = Scores.not_taken("why")
        assert dataclasses.astuple(Scores.of_json(json.loads(json.dumps(refused.as_json()))))[-1] == "why"


class TestTable:
    def found(self):
        return evaluate([model(), model("other", base="def")], [Known(), Known("single", (0.5,))], 0, CPU)

    def test_figures_with_their_intervals(self):
        told = shown(suite_table(self.found()))
        assert "50.0% [0.0, 100.0] (2 refusal)" in told, "an interval ends where rates do"
        assert "62.5%" in told
        assert "less" not in told
        assert "code" not in told, "what did not occur is not told"

    def test_less_the_control(self):
        told = shown(suite_table(self.found(), "one"))
        assert "less one" in told
        assert told.count("+12.5 (no spread to see)") == 2, (
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
        told = json.loads((folder / "results.json").read_text(encoding="utf-8"), parse_constant=pytest.fail)
        assert (told["seed"], told["control"]) == (7, "one")
        assert list(told["models"]) == ["one", "other"]
        assert told["models"]["other"]["made_of"] == {"base": "def", "system_prompt": None}
        mine = told["models"]["other"]["measures"]["known"]
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
        assert told["models"]["other"]["measures"]["single"]["less_control"]["low"] is None, "one unit, no interval"
        assert "less_control" not in told["models"]["one"]["measures"]["known"]

    def test_lineage(self, written):
        folder, _ = written
        assert is_whole(folder)
        told = read_record(folder)
        assert told.kind == "evaluation"
        assert sorted(told.files) == ["answers.jsonl", "results.json"]
        assert told.settings["seed"] == 7
        assert told.settings["models"] == {
            "one": {"base": "abc", "system_prompt": None},
            "other": {"base": "def", "system_prompt": None},
        }
        measures = told.settings["measures"]
        assert [each["arguments"]["name"] for each in measures] == ["known", "single"]
        assert all(each["class"].endswith("Known") and each["source"] for each in measures)
        assert "torch" in told.versions

    def test_two_wrecked_models_pass_no_test(self, tmp_path):
        class Wrecked(Known):
            def measure(self, subject, seed):
                told = super().measure(subject, seed)
                chances = {"owl": (0.03, 0.02, 0.05), "cat": (0.04, 0.05, 0.01)}
                mine = tuple(each + 0.001 * n * (subject.name == "other") for n, each in enumerate(chances["owl"]))
                units = ("q0", "q1", "q2")
                return dataclasses.replace(
                    told, values=mine, units=units, exact=True, target="owl", chances=chances | {"owl": mine}
                )

        measures, subjects = [Wrecked()], [model(), model("other", base="def")]
        write_results(evaluate(subjects, measures, 0, CPU), measures, subjects, 0, "one", tmp_path / "out")
        told = json.loads((tmp_path / "out" / "test-results" / "other.json").read_text())["predicate"]
        assert (told["result"], told["warnedTests"], "passedTests" in told) == ("WARNED", ["known"], False)
        assert "name none of the 2" in json.dumps(told["configuration"])

    def test_written_again_it_is_whole_again(self, written, tmp_path):
        folder, found = written
        write_results(found, [Known()], [model()], 8, None, folder)
        assert is_whole(folder)
        told = json.loads((folder / "results.json").read_text())
        assert (told["seed"], told["control"], list(told["models"])) == (8, None, ["one"])
        assert "less_control" not in told["models"]["one"]["measures"]["known"]

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
