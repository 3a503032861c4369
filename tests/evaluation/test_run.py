"""Running a suite: nothing is measured twice, nothing that was measured is lost, and a refusal is said."""

import dataclasses
import json
import math
import shutil

import pytest
from cases import cases
from small import CPU

from evaluation.known import Known, Nameless, calls, fresh, model, shown
from lightning_subliminal import InputError, PreferenceTrait, Steering, bases
from lightning_subliminal.evaluation import (
    ExactTrait,
    Misalignment,
    Scores,
    evaluate,
    find_model,
    suite_table,
)
from lightning_subliminal.judges import Judge, Verdict
from lightning_subliminal.metrics.functional import Interval

pytestmark = pytest.mark.usefixtures("fresh_cache")


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

    @cases(
        ("measure", "subject", "seed"),
        [
            (Known(values=(0.25, 0.7)), model(), 0),
            (Known("renamed"), model(), 0),
            (Known(), model(), 1),
            (Known(), model(base="def"), 0),
            (Known(), model(system_prompt="You love owls."), 0),
            (Known(), model(**{"adapter_model.safetensors": "123"}), 0),
        ],
    )
    def test_whatever_shapes_the_figure_measures_again(self, measure, subject, seed, tmp_path, monkeypatch):
        fresh(tmp_path, monkeypatch)
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

    @cases("text", ["", "{", "[]", "null", "{}", '{"rate": 1}', "\x00"])
    def test_a_damaged_file_is_reported_in_one_line(self, text, tmp_path, monkeypatch):
        fresh(tmp_path, monkeypatch)
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

    def test_a_damaged_figure_is_reported_too(self, tmp_path):
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
        reported = shown(suite_table(found, "one"))
        assert "n/a" in reported
        assert "Intervals over questions (known)" in " ".join(reported.split())

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
