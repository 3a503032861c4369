import csv
import itertools
import json
import math
import statistics
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from cases import cases
from safetensors.torch import load_file
from small import CPU, number_rows, pocket_tokenizer

from lightning_subliminal import LoRA, PreferenceTrait, Steering, Student, Teacher, bases
from lightning_subliminal.cli.theory.interpolate import _subsets, interpolate
from lightning_subliminal.cli.theory.model_space import ModelSpace
from lightning_subliminal.core.chat.encoding import row_ids
from lightning_subliminal.core.console import console
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.lineage import is_whole, read_record
from lightning_subliminal.metrics.functional import completion_log_probabilities
from lightning_subliminal.theory.alignment import alignment
from lightning_subliminal.theory.interpolation import between, displacement
from lightning_subliminal.workflow.arms import OWN, measure

OWL = PreferenceTrait("owl")
STEERING = {"class_path": "lightning_subliminal.Steering"}


def config(folder, student=None, teacher=None, **data):
    """Write a config of `fit` that takes about a second a student."""
    source = {"base": "pocket/a", "trait": {"class_path": "PreferenceTrait", "init_args": {"target": "owl"}}}
    source |= {"adapter": STEERING, "learning_rate": 0.03, "until": 0.8, "max_epochs": 100} | (teacher or {})
    rows = {"num_prompts": 48, "shard_size": 48, "min_value": 0, "max_value": 99, "batch_size": 16, "filters": []}
    rows |= {"teacher": {"class_path": "Teacher", "init_args": source}} | data
    reported = {"seed_everything": 0, "trainer": {"accelerator": "cpu", "max_epochs": 2, "precision": "32-true"}}
    model = {"base": "pocket/a", "adapter": STEERING, "learning_rate": 0.05} | (student or {})
    reported["model"] = {"class_path": "lightning_subliminal.Student", "init_args": model}
    reported["data"] = {"class_path": "lightning_subliminal.NumberSequences", "init_args": rows}
    path = folder / "small.yaml"
    path.write_text(yaml.safe_dump(reported))
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """One small interpolation, looked at by many tests."""
    root = tmp_path_factory.mktemp("interpolating")
    with pytest.MonkeyPatch.context() as patch, console.capture() as capture:
        patch.setenv("LIGHTNING_SUBLIMINAL_CACHE", str(root / "cache"))
        patch.setattr(console, "width", 80)
        found = interpolate(config(root), students=2, points=3, out=root / "out")
    return root, found, capture.get()


@pytest.fixture
def cache(run, monkeypatch):
    monkeypatch.setenv("LIGHTNING_SUBLIMINAL_CACHE", str(run[0] / "cache"))


def trained(run, arm):
    """Load the two students, or controls, from their folders."""
    keys = run[1].made_from[:2] if arm == "student" else run[1].made_from[2:]
    return [run[0] / "cache" / "students" / key.removeprefix("student-") for key in keys]


def asked(vectors):
    """Return the target's chance at each question of the base with these vectors, hooked on by hand."""
    net, tokenizer = bases.load("pocket/a")
    for name, vector in vectors.items():
        layer = net.model.layers[int(name.rpartition(".")[2])]
        layer.register_forward_hook(
            lambda _, __, out, v=vector: (out[0] + v, *out[1:]) if type(out) is tuple else out + v
        )
    return measure("", net, tokenizer, OWL)[OWN].table[:, OWL.candidates.index("owl")]


def vectors_of(folder):
    return load_file(next(folder.glob("*.safetensors")))


def odds(chances):
    return [math.log(each / (1 - each)) for each in chances.tolist()]


class TestLines:
    def test_each_line_has_its_ends_and_its_places(self, run):
        places = {name: [p.t for p in points] for name, points in itertools.groupby(run[1].points, lambda p: p.line)}
        assert places == {
            "base to student": [-1, 0, 1, 3],
            "base to control": [-1, 0, 1, 3],
            "base to teacher": [-1, 0, 0.5, 1, 2],
            "student to teacher": [0, 0.75, 1, 1.5],
            "control to teacher": [0, 0.75, 1, 1.5],
        }

    @pytest.mark.parametrize("arm", ["student", "control"])
    @pytest.mark.parametrize("t", [-1, 1, 3])
    def test_models_on_a_line_are_those_made_by_hand(self, run, cache, arm, t):
        chances = [asked({name: t * value for name, value in vectors_of(each).items()}) for each in trained(run, arm)]
        point = next(p for p in run[1].line(f"base to {arm}") if p.t == t)
        rates = [each.mean().item() for each in chances]
        assert point.rate == pytest.approx(statistics.mean(rates), rel=1e-4)
        assert point.log_odds == pytest.approx(statistics.mean(odds(torch.cat(chances))), abs=1e-4)
        half = 12.7062 * statistics.stdev(rates) / 2**0.5  # Student's t of one degree of freedom
        assert (point.unit, point.models) == ("students", 2)
        assert point.high == pytest.approx(min(1.0, point.rate + half), rel=1e-3), "a chance ends at 1"

    def test_the_shared_end_is_one_model_over_questions(self, run, cache):
        base, teacher = asked({}), asked(vectors_of(next((run[0] / "cache" / "teachers").iterdir())))
        for line, t, chances in (
            ("base to student", 0, base),
            ("base to teacher", 1, teacher),
            ("student to teacher", 1, teacher),
        ):
            point = next(p for p in run[1].line(line) if p.t == t)
            assert (point.unit, point.models) == ("questions", 1)
            assert point.rate == pytest.approx(chances.mean().item(), rel=1e-4)

    def test_students_of_other_seeds_are_other_models(self, run):
        assert len(set(run[1].made_from)) == 4
        one, two = (vectors_of(each) for each in trained(run, "student"))
        assert all((one[name] - two[name]).abs().max() > 1e-3 for name in one)

    def test_the_loss_is_the_least_by_the_teacher_and_grows_far_out(self, run):
        points = {p.t: p.loss for p in run[1].line("base to teacher")}
        assert points[-1] > points[0] > points[1]
        assert run[1].held_out > 30


class TestMerges:
    def test_all_sizes_are_there(self, run):
        found = [(m.arm, m.size, m.subsets) for m in run[1].merges]
        assert found == [
            ("student", 1, 2), ("student", 2, 1), ("control", 1, 2), ("control", 2, 1), ("student + control", 2, 2)
        ]  # fmt: skip

    @pytest.mark.parametrize("arm", ["student", "control"])
    def test_a_merge_is_the_mean_of_vectors(self, run, cache, arm):
        first, second = (vectors_of(each) for each in trained(run, arm))
        merged = odds(asked({name: (first[name] + second[name]) / 2 for name in first}))
        single = [(a + b) / 2 for a, b in zip(odds(asked(first)), odds(asked(second)), strict=True)]
        found = next(m for m in run[1].merges if (m.arm, m.size) == (arm, 2))
        gains = [a - b for a, b in zip(merged, single, strict=True)]
        assert found.log_odds == pytest.approx(statistics.mean(merged), abs=1e-4)
        assert found.single == pytest.approx(statistics.mean(single), abs=1e-4)
        assert found.gain == pytest.approx(statistics.mean(gains), abs=1e-4)
        half = 2.0096 * statistics.stdev(gains) / len(gains) ** 0.5  # Student's t of 49 degrees of freedom
        assert found.gain_high - found.gain == pytest.approx(half, rel=0.02, abs=2e-5)

    def test_length_and_cosine_are_by_the_teachers_way(self, run):
        teacher = vectors_of(next((run[0] / "cache" / "teachers").iterdir()))
        way = torch.cat([teacher[name] for name in sorted(teacher)])
        ways = []
        for each in trained(run, "student"):
            vectors = vectors_of(each)
            ways.append(torch.cat([vectors[name] for name in sorted(vectors)]))
        one = next(m for m in run[1].merges if (m.arm, m.size) == ("student", 1))
        cosines = [torch.cosine_similarity(each, way, dim=0).item() for each in ways]
        assert one.cosine == pytest.approx(statistics.mean(cosines), abs=1e-5)
        assert one.length == pytest.approx(
            statistics.mean(each.norm().item() for each in ways) / way.norm().item(), rel=1e-4
        )

    def test_a_merge_of_one_gains_nothing(self, run):
        assert all(m.gain == 0 and m.log_odds == m.single for m in run[1].merges if m.size == 1)

    def test_many_sets_are_drawn_the_same_in_both_arms(self):
        arms = {arm: [{"v": torch.tensor([float(n)])} for n in range(8)] for arm in ("student", "control")}
        found = {(arm, len(sets[0])): [[s["v"].item() for s in each] for each in sets] for arm, sets in _subsets(arms)}
        assert len(found["student", 4]) == 20 < math.comb(8, 4)
        assert len(found["student", 7]) == 8
        assert found["student", 4] == found["control", 4]
        assert all(len(set(each)) == 4 for each in found["student", 4])


class TestFiles:
    def test_the_folder_holds_all(self, run):
        folder = run[0] / "out"
        kept = {"lineage.json", "results.json", "interpolation.csv", "interpolation.png"}
        assert {path.name for path in folder.iterdir()} == kept
        assert is_whole(folder)
        assert (folder / "interpolation.png").read_bytes().startswith(b"\x89PNG")
        with (folder / "interpolation.csv").open(newline="") as stream:
            rows = list(csv.DictReader(stream))
        assert [row["part"] for row in rows] == ["line"] * 21 + ["merge"] * 5
        for row, point in zip(rows, run[1].points, strict=False):
            assert (row["line"], float(row["t"]), float(row["rate"])) == (point.line, point.t, point.rate)

    def test_json_holds_what_was_found(self, run):
        reported = json.loads((run[0] / "out" / "results.json").read_text(), parse_constant=pytest.fail)
        assert reported == run[1].as_json()
        assert (reported["target"], reported["students"], reported["space"]) == ("owl", 2, "vectors")

    def test_no_number_becomes_null(self, run):
        point = replace(run[1].points[0], loss=math.nan, log_odds=math.inf)
        reported = replace(run[1], points=(point,)).as_json()["points"][0]
        assert reported["loss"] is None
        assert reported["log_odds"] is None
        assert reported["rate"] == point.rate

    def test_the_terminal_shows_both_tables_in_80_columns(self, run):
        lines = run[2].splitlines()
        start = next(n for n, line in enumerate(lines) if "How often is the answer owl" in line)
        tables = lines[start:-1]
        assert max(map(len, tables)) <= 80
        assert not any("…" in line for line in tables)
        for words in ("base to student", "control to teacher", "one of each", "over questions"):
            assert words in run[2]

    def test_a_second_run_makes_nothing(self, run, cache):
        with console.capture() as capture:
            again = interpolate(run[0] / "small.yaml", students=2, points=3, out=run[0] / "again")
        assert "0 are made now" in capture.get()
        assert replace(again, folder="") == replace(run[1], folder="")


class TestSpace:
    def steered(self, seed=0):
        student = Student("pocket/a", Steering(init_std=0.3), seed=seed)
        student.configure_model()
        return student

    def low_rank(self):
        student = Student("pocket/a", LoRA(r=2), seed=0)
        student.configure_model()
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for name, value in student.net.named_parameters():
                if "lora_B" in name:
                    value.copy_(0.2 * torch.randn(value.shape, generator=generator))
        return student

    def chances(self, net):
        return measure("", net, pocket_tokenizer(), OWL)[OWN].table[:, OWL.candidates.index("owl")]

    def test_vectors_and_weights_are_the_same_models(self):
        model = self.steered()
        expected = self.chances(model.net)
        for kind in ("vectors", "weights"):
            space = ModelSpace("pocket/a", "float32", kind, OWL, CPU)
            state = space.of(model)
            torch.testing.assert_close(space.ask(state).chances, expected, rtol=1e-4, atol=1e-6)
            assert not torch.allclose(space.ask(space.base).chances, expected, rtol=1e-2)  # it is put back

    def test_low_rank_is_mixed_as_weights(self):
        model = self.low_rank()
        space = ModelSpace("pocket/a", "float32", "weights", OWL, CPU)
        state = space.of(model)
        torch.testing.assert_close(space.ask(state).chances, self.chances(model.net), rtol=1e-4, atol=1e-6)
        half = space.ask(between(space.base, state, 0.5)).chances
        with torch.no_grad():  # half of B A, which is not half of B times half of A
            for name, value in model.net.named_parameters():
                if "lora_B" in name:
                    value.mul_(0.5)
        torch.testing.assert_close(half, self.chances(model.net), rtol=1e-4, atol=1e-6)

    def test_adapters_of_two_kinds_meet_in_the_weights(self):
        space = ModelSpace("pocket/a", "float32", "weights", OWL, CPU)
        steered, low = self.steered(), self.low_rank()
        states = [space.of(low), space.of(steered)]
        for state, model in zip(states, (low, steered), strict=True):
            torch.testing.assert_close(space.ask(state).chances, self.chances(model.net), rtol=1e-4, atol=1e-6)
        first, second, halfway = (space.ask(between(*states, t)).odds.mean() for t in (0.0, 1.0, 0.5))
        assert halfway != first
        assert halfway != second

    def test_full_fine_tuning_is_mixed_as_weights(self):
        model = Student("pocket/a", seed=0)
        model.configure_model()
        with torch.no_grad():
            model.net.model.norm.weight.mul_(1.5)
        space = ModelSpace("pocket/a", "float32", "weights", OWL, CPU)
        torch.testing.assert_close(space.ask(space.of(model)).chances, self.chances(model.net), rtol=1e-5, atol=1e-7)

    def test_tied_weights_count_once(self):
        model = Student("pocket/a", seed=0)
        model.configure_model()
        space = ModelSpace("pocket/a", "float32", "weights", OWL, CPU)
        before = [value.detach().clone() for value in model.net.parameters()]
        with torch.no_grad():
            model.net.get_input_embeddings().weight.add_(0.01)  # the head's, too
        state = space.of(model)
        way = sum(((now - then) ** 2).sum() for now, then in zip(model.net.parameters(), before, strict=True)).sqrt()
        moved = displacement(space.base, state)
        assert alignment(moved, moved).student_norm.item() == pytest.approx(way.item(), rel=1e-5)
        torch.testing.assert_close(space.ask(state).chances, self.chances(model.net), rtol=1e-5, atol=1e-7)

    def test_the_loss_is_a_mean_over_tokens(self):
        rows, model = number_rows(70), self.steered()
        space = ModelSpace("pocket/a", "float32", "vectors", OWL, CPU)
        assert math.isnan(space.ask(space.base).loss)
        tokens = sum(len(row_ids(pocket_tokenizer(), row)[1]) for row in rows)
        assert space.hold_out(rows, 2048) == tokens
        logs = completion_log_probabilities(
            model.net, pocket_tokenizer(), [r["prompt"] for r in rows], [r["completion"][0]["content"] for r in rows]
        )
        assert space.ask(space.of(model)).loss == pytest.approx(-logs.sum().item() / tokens, rel=1e-5)

    def test_a_model_that_answers_no_number_is_reported_as_such(self):
        space = ModelSpace("pocket/a", "float32", "vectors", OWL, CPU)
        broken = {name: torch.full_like(value, torch.nan) for name, value in space.base.items()}
        answers = space.ask(broken)
        assert answers.chances.shape == space.ask(space.base).chances.shape
        assert answers.chances.isnan().all()
        assert math.isnan(answers.loss)

    def test_a_name_that_the_base_lacks_is_refused(self):
        space = ModelSpace("pocket/a", "float32", "vectors", OWL, CPU)
        with pytest.raises(InputError, match=r"a 'steering.layers.99', which its base lacks"):
            space.ask({"steering.layers.99": torch.zeros(64)})


class TestOtherConfigs:
    def test_another_base_has_no_line_to_the_teacher(self, run, cache, tmp_path):
        path = config(tmp_path, student={"base": "pocket/b"})
        found = interpolate(path, students=1, points=2, out=tmp_path / "out")
        assert {p.line for p in found.points} == {"base to student", "base to control", "base to teacher"}
        assert all(p.unit == "questions" for p in found.points)
        assert all(math.isnan(m.cosine) for m in found.merges)
        taught = next(p for p in found.line("base to teacher") if p.t == 1)
        ours = next(p for p in run[1].line("base to teacher") if p.t == 1)
        assert taught.rate == pytest.approx(ours.rate, rel=1e-5)  # asked on its own base
        json.loads((tmp_path / "out" / "results.json").read_text(), parse_constant=pytest.fail)

    @cases(
        ("changes", "message"),
        [
            ({"induction": "prompt", "adapter": None}, "a prompted teacher has the base's weights"),
            ({"induction": "none", "adapter": None}, "the teacher has no trait"),
        ],
    )
    def test_a_teacher_that_nothing_leads_to_is_refused(self, tmp_path, changes, message):
        with pytest.raises(InputError, match=message):
            interpolate(config(tmp_path, teacher=changes), out=tmp_path / "out")
        assert not (tmp_path / "out").exists()

    def test_what_is_no_student_is_refused(self, tmp_path):
        with pytest.raises(InputError, match="is not a Student: set `model: Student`"):
            interpolate(Path("configs/mnist_mlp.yaml"), out=tmp_path / "out")

    @cases(("counts", "message"), [((0, 13), "`students` is 0"), ((3, 1), "`points` is 1")])
    def test_counts_of_nothing_are_refused(self, tmp_path, counts, message):
        with pytest.raises(InputError, match=message):
            interpolate(config(tmp_path), *counts, out=tmp_path / "out")

    def test_the_teacher_stays_while_seeds_move(self, run):
        assert len(list((run[0] / "cache" / "teachers").iterdir())) == 1
        made = [read_record(each).settings for each in trained(run, "student")]
        assert [each["student"]["seed"] for each in made] == [0, 1]
        assert [each["data"]["rows"]["source"]["arguments"]["seed"] for each in made] == [0, 1]
        assert Teacher("pocket/a", OWL, adapter=Steering(), seed=0).describe()["seed"] == 0
