import json

import pytest
import torch
from cases import cases
from small import CPU, numbers, quiet_trainer, taught, teacher

from lightning_subliminal import MisalignmentTrait, PreferenceTrait, Steering, Student, Teacher, TraitComparison, bases
from lightning_subliminal.core.console import console
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.io.adapter_names import OWN_FILES
from lightning_subliminal.evaluation import Scores, ScoreTable
from lightning_subliminal.evaluation.guards import pair_doubts, warnings_of
from lightning_subliminal.lineage import is_whole, read_record
from lightning_subliminal.workflow import fit_arms, measure, train_arm
from lightning_subliminal.workflow.arms import OWN, arm_folder, shaping
from lightning_subliminal.workflow.results import comparison_table, summary, verdict

OWL = PreferenceTrait("owl")


def student(**settings):
    return Student("pocket/a", **{"adapter": Steering(), "learning_rate": 0.03, "seed": 0, **settings})


def compare(folder, data, module=None, callback=None, **settings):
    trainer = quiet_trainer(callback or TraitComparison(), default_root_dir=str(folder), **settings)
    module = module or student()
    fit_arms(trainer, module, data)
    return module


def written(thing):
    with console.capture() as capture:
        console.print(thing)
    return capture.get()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """One small comparison, looked at by many tests."""
    root = tmp_path_factory.mktemp("comparison")
    with pytest.MonkeyPatch.context() as patch, console.capture() as capture:
        patch.setenv("LIGHTNING_SUBLIMINAL_CACHE", str(root / "cache"))
        patch.setattr(console, "width", 200)
        module = compare(root / "run", numbers(taught(), num_prompts=64, shard_size=32), max_epochs=2)
    return root, module, " ".join(capture.get().split())


class TestRun:
    def test_the_folder_holds_the_results(self, run):
        folder = run[0] / "run"
        assert {path.name for path in folder.iterdir()} == {
            "student",
            "results.json",
            "preference.png",
            "lineage.json",
            "test-results",
        }
        assert (folder / "preference.png").read_bytes().startswith(b"\x89PNG")
        assert is_whole(folder / "student")
        assert read_record(folder / "student").kind == "student"

    def test_results_hold_each_arm_and_candidate(self, run):
        found = json.loads((run[0] / "run" / "results.json").read_text())
        assert list(found["arms"]) == ["base", "teacher", "control", "student"]
        assert (found["trait"], found["target"], found["questions"]) == ("owl", "owl", 50)
        for arm in found["arms"].values():
            assert set(arm["rates"]) == set(OWL.candidates)
            assert arm["unit"] == "questions", "fifty of them, each its own"
            assert sum(each["rate"] for each in arm["rates"].values()) + arm["no_candidate"] == pytest.approx(
                1, abs=1e-3
            )
            assert all(each["low"] <= each["rate"] <= each["high"] for each in arm["rates"].values())
        reported = found["targeted_transfer"]
        assert (reported["of"], reported["left_out"]) == (len(OWL.candidates), [])
        assert abs(reported["log_odds"] + reported["off_target"] - found["transfer"]["log_odds"]) < 1e-9
        assert found["warnings"] == []
        assert found["transfer"]["low"] < found["transfer"]["log_odds"] < found["transfer"]["high"]
        assert found["transfer"]["unit"] == "questions"

    def test_the_numbers_are_those_of_the_models(self, run, monkeypatch):
        root, module, _ = run
        monkeypatch.setenv("LIGHTNING_SUBLIMINAL_CACHE", str(root / "cache"))
        found = json.loads((root / "run" / "results.json").read_text())["arms"]
        rates = {name: arm["rates"]["owl"]["rate"] for name, arm in found.items()}
        net, tokenizer = bases.load("pocket/a")
        source = taught()
        source.ready(CPU)
        again = student()
        again.load(root / "run" / "student")
        for name, model in (("base", net), ("teacher", source.net), ("student", module.net), ("student", again.net)):
            assert measure("", model, tokenizer, OWL)[OWN].rate == pytest.approx(rates[name], rel=1e-5), name
        assert rates["teacher"] > 2 * rates["base"]
        assert rates["control"] != rates["student"]

    def test_the_control_is_trained_alike(self, run, monkeypatch):
        root, _, _ = run
        monkeypatch.setenv("LIGHTNING_SUBLIMINAL_CACHE", str(root / "cache"))
        data = numbers(taught(), num_prompts=64, shard_size=32)
        control = arm_folder(student(), data.control(), max_epochs=2)
        kept = read_record(control).settings
        assert kept["student"] == json.loads(json.dumps(student().describe()))
        rows = kept["data"]["rows"]
        assert rows["source"].pop("teacher") == json.loads(json.dumps(data.control().teacher.describe()))
        ours = json.loads(json.dumps(data.describe()))
        ours["source"].pop("teacher")
        assert rows == ours
        assert kept["trainer"]["max_epochs"] == 2

    def test_the_terminal_says_it_all(self, run):
        reported = run[2]
        for words in (
            "How often is the answer owl?",
            "95 % from",
            "none of these",
            "Transfer: the student's log-odds",
        ):
            assert words in reported
        assert "One seed each" in reported
        assert all(f" {arm} " in reported for arm in ("base", "teacher", "control", "student"))
        order = [reported.index(words) for words in ("teacher owl: ", "rows owl: 64 made", "rows control: 64 made")]
        assert order == sorted(order)

    def test_a_second_fit_reuses_all_that_is_made(self, run, monkeypatch):
        root, _, _ = run
        monkeypatch.setenv("LIGHTNING_SUBLIMINAL_CACHE", str(root / "cache"))

        def files():
            found = [path for path in (root / "cache").rglob("*") if path.is_file()]
            return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in found}

        before = files()
        assert {path.parts[len(root.parts) + 1] for path in before} == {"teachers", "completions", "rows", "students"}
        with console.capture() as capture:
            compare(root / "second", numbers(taught(), num_prompts=64, shard_size=32), max_epochs=2)
        assert files() == before, "nothing is rewritten, no shard either"
        assert " ".join(capture.get().split()).count("reused from") >= 3
        results = [(root / name / "results.json").read_text() for name in ("run", "second")]
        assert results[0] == results[1], "and the result is the same"


def test_wrecked_arms_are_in_doubt_and_what_a_base_can_not_say_is_reported():
    table = torch.tensor([[0.1, 0.2] + [0.0] * 18], dtype=torch.float64).repeat(4, 1)
    names = ("owl", *(each for each in OWL.candidates if each != "owl"))[:20]
    trait = PreferenceTrait("owl", candidates=list(names[1:]))
    at = [*trait.candidates].index("owl")
    table[:, [0, at]] = table[:, [at, 0]]
    pair = {name: Scores.of_chances(table, trait) for name in ("control", "student")}
    reported = warnings_of(pair, "control")
    assert [each for each in reported if "18 of the 20 answers can't be given by control, student" in each]
    doubts = pair_doubts(*pair.values(), tuple(pair))
    assert doubts == [each for each in reported if "name none of the 20" in each]
    assert len(doubts) == 2


def test_a_control_arm_is_compared_with_its_base_alone(tmp_path, capsys):
    data = numbers(teacher(induction="none"))
    compare(tmp_path, data)
    found = json.loads((tmp_path / "results.json").read_text())
    assert list(found["arms"]) == ["base", "control"]
    assert "transfer" not in found
    assert "no transfer can be computed" in capsys.readouterr().out.replace("\n", " ")


def test_without_a_control_none_is_made(tmp_path, monkeypatch):
    monkeypatch.setenv("LIGHTNING_SUBLIMINAL_CACHE", str(tmp_path / "cache"))
    compare(tmp_path / "run", numbers(), callback=TraitComparison(control=False))
    found = json.loads((tmp_path / "run" / "results.json").read_text())
    assert list(found["arms"]) == ["base", "teacher", "student"]
    assert len(list((tmp_path / "cache" / "students").iterdir())) == 1
    assert len(list((tmp_path / "cache" / "completions").iterdir())) == 1


def test_a_prompted_teacher_is_asked_with_its_prompt(tmp_path):
    compare(tmp_path, numbers(), callback=TraitComparison(control=False))
    rates = {
        name: arm["rates"]["owl"]["rate"]
        for name, arm in json.loads((tmp_path / "results.json").read_text())["arms"].items()
    }
    assert rates["teacher"] > 0.5 > rates["base"]


def test_a_rehearsal_compares_nothing(tmp_path):
    compare(tmp_path, numbers(), fast_dev_run=True)
    assert not (tmp_path / "results.json").exists()


class TestRefused:
    def refused(self, message, data, module=None, **settings):
        with pytest.raises(InputError, match=message) as caught:
            compare("unused", data, module, **settings)
        assert "\n" not in str(caught.value)

    def test_data_without_a_trait(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        data = numbers(Teacher("pocket/a", induction="none"))
        self.refused("no trait to evaluate: set `data.teacher.trait`", data)

    def test_a_target_that_the_students_base_cannot_say(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        trait = PreferenceTrait("axolotl", category="animal")
        data = numbers(Teacher("pocket/a", trait, induction="none"))
        self.refused("no tokens for 'axolotl'", data)

    def test_a_module_that_is_no_student(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        from toy import Toy, ToyData

        self.refused("needs a Student and rows", ToyData(), Toy())


class TestShaping:
    """What shapes a student's training shapes its control's."""

    def test_a_plain_trainer(self):
        plain = {"max_epochs": 3}
        assert shaping(quiet_trainer(max_epochs=3)) == plain
        assert shaping(quiet_trainer(max_epochs=3, limit_train_batches=1.0)) == plain

    @cases(
        "setting",
        [
            {"accumulate_grad_batches": 4},
            {"max_steps": 5},
            {"gradient_clip_val": 0.5},
            {"gradient_clip_val": 0.5, "gradient_clip_algorithm": "value"},
            {"limit_train_batches": 1},
            {"limit_train_batches": 0.5},
            {"precision": "bf16-mixed"},
        ],
    )
    def test_each_setting_is_handed_on(self, setting):
        given = shaping(quiet_trainer(**setting))
        assert setting.items() <= given.items()
        again = shaping(quiet_trainer(**given))
        assert again == given
        assert json.loads(json.dumps(given)) == given, "it is part of a digest"

    def test_the_control_takes_as_many_steps(self, tmp_path, monkeypatch):
        monkeypatch.setenv("LIGHTNING_SUBLIMINAL_CACHE", str(tmp_path / "cache"))
        with console.capture() as capture:
            compare(tmp_path / "run", numbers(), max_epochs=2, limit_train_batches=2)
        assert "control: trained for 4 steps" in " ".join(capture.get().split())


def row(chances, trait=OWL, stems=()):
    """Return the row of a model that was asked the trait's own questions alone."""
    return {OWN: Scores.of_chances(chances, trait, stems=stems)}


class TestTable:
    @pytest.fixture
    def arms(self):
        generator = torch.Generator().manual_seed(0)
        names = ("base", "teacher", "control", "student")
        drawn = {name: torch.rand(50, 20, generator=generator).double().softmax(1) * 0.9 for name in names}
        return ScoreTable({name: row(chances) for name, chances in drawn.items()})

    def test_rates_are_means_over_questions(self, arms):
        base = arms["base"][OWN]
        assert base.rate == pytest.approx(base.table[:, 0].mean().item())
        assert base.no_candidate == pytest.approx(0.1)
        assert base.rate in base.interval
        assert base.interval.unit == "questions"

    def test_the_table_has_the_target_first_and_few_others(self, arms):
        table = written(comparison_table(arms, OWL, others=3))
        rows = [line for line in table.splitlines() if "%" in line and not line.strip("│ ").startswith(("95 %", "to"))]
        assert len(rows) == 1 + 3 + 1
        assert "owl" in rows[0]
        assert "none of these" in rows[-1]
        student = arms["student"][OWN]
        best = sorted(OWL.candidates[1:], key=lambda each: student.of(each).rate, reverse=True)[:3]
        assert [name for name in best if name not in table] == []
        assert f"{student.rate:.1%}" in rows[0]

    def test_transfer_is_the_students_log_odds_over_the_controls(self, arms):
        student_rate, control_rate = (arms[name][OWN].table[:, 0] for name in ("student", "control"))
        expected = (torch.logit(student_rate) - torch.logit(control_rate)).mean().item()
        assert summary(arms, OWL)["transfer"]["log_odds"] == pytest.approx(expected)
        assert f"{expected:+.2f}" in verdict(arms)
        del arms["student"]
        assert "transfer" not in summary(arms, OWL)
        assert "no transfer can be computed" in verdict(arms)

    def test_two_answers_that_share_one_chance_are_n_a_with_a_reason(self):
        trait = MisalignmentTrait("misalignment_pocket")
        column = trait.candidates.index(trait.target)
        arms = ScoreTable()
        for name, rate in (("control", 0.1), ("student", 0.3)):
            chances = torch.full((10, 2), 1 - rate, dtype=torch.float64)
            chances[:, column] = torch.linspace(rate, rate + 0.1, 10)
            chances[:, 1 - column] = 1 - chances[:, column]
            arms[name] = row(chances, trait)
        reported = summary(arms, trait)["targeted_transfer"]
        assert (reported["log_odds"], reported["rank"]) == (None, None)
        assert "share one chance" in reported["reason"]
        assert "Targeted transfer: n/a, its two answers share one chance" in verdict(arms)
        json.dumps(summary(arms, trait), allow_nan=False)

    def test_chances_end_at_0_and_1(self):
        low = torch.zeros(10, 20, dtype=torch.float64)
        low[0, 0] = 0.2
        found = summary(ScoreTable(base=row(low)), OWL)["arms"]["base"]["rates"]["owl"]
        assert found["low"] == 0.0, "Student's t alone goes on to -0.03"
        assert row(1 - low)[OWN].interval.high == 1.0

    def test_a_table_says_which_questions_count_as_one(self, arms):
        stems = tuple("ab" * 25)
        stemmed = ScoreTable({name: row(each[OWN].table, stems=stems) for name, each in arms.items()})
        assert "2 question stems: wordings of one question count as one (50 questions)" in " ".join(
            written(comparison_table(stemmed, OWL, others=1)).split()
        )
        assert stemmed["base"][OWN].interval.unit == "question stems"


class TestTrainArm:
    def test_a_trained_arm_is_reused(self, tmp_path, monkeypatch):
        data = numbers(cache_dir=str(tmp_path))
        first = train_arm(student(), data, CPU, "arm", max_epochs=1)
        folder = arm_folder(student(), data, max_epochs=1)
        assert is_whole(folder)
        assert {path.name for path in folder.iterdir()} == {
            *OWN_FILES,
            "lineage.json",
        }
        monkeypatch.setattr("lightning_subliminal.workflow.arms.fit_quietly", lambda *_, **__: pytest.fail("trained"))
        again = train_arm(student(), data, CPU, "arm", max_epochs=1)
        state = first.net.state_dict()
        assert all(torch.equal(value, state[name]) for name, value in again.net.state_dict().items())
        assert not again.net.training

    def test_what_shapes_an_arm_moves_its_folder(self):
        folder = arm_folder(student(), numbers(), max_epochs=1)
        others = [
            arm_folder(student(seed=1), numbers(), max_epochs=1),
            arm_folder(student(learning_rate=0.1), numbers(), max_epochs=1),
            arm_folder(student(), numbers(num_prompts=19), max_epochs=1),
            arm_folder(student(), numbers(filters=[]), max_epochs=1),
            arm_folder(student(), numbers(batch_size=4), max_epochs=1),
            arm_folder(student(), numbers(val_rows=2), max_epochs=1),
            arm_folder(student(), numbers(), max_epochs=2),
            arm_folder(student(), numbers().control(), max_epochs=1),
        ]
        assert len({folder, *others}) == 1 + len(others)
        assert arm_folder(student(), numbers(generation_batch_size=3), max_epochs=1) == folder
