"""`fit` and `run` find each other's students; logs of `fit`; who writes in `predict`."""

import csv
from pathlib import Path

import pytest
import torch
import yaml
from cases import cases
from small import CPU, numbers, quiet_trainer, taught, teacher

from lightning_subliminal import InputError, LoRA, Steering, Student, fit_arms
from lightning_subliminal.callbacks import ShardWriter
from lightning_subliminal.cli.entry import main
from lightning_subliminal.core.processes import check_strategy
from lightning_subliminal.core.rows import read_parquet
from lightning_subliminal.lineage import read_record
from lightning_subliminal.plans.reading import read_plan
from lightning_subliminal.plans.run import plan_cells
from lightning_subliminal.workflow import train_arm
from lightning_subliminal.workflow.arms import arm_folder, canonical, shaping
from lightning_subliminal.workflow.stages import StudentStage, walk

SHORT = "lightning_subliminal."
OWL = {"class_path": f"{SHORT}PreferenceTrait", "init_args": {"target": "owl"}}
CONFIG = {
    "seed_everything": 0,
    "model": {
        "class_path": f"{SHORT}Student",
        "init_args": {"base": "pocket/a", "adapter": {"class_path": f"{SHORT}Steering"}, "learning_rate": 0.03},
    },
    "data": {
        "class_path": f"{SHORT}NumberSequences",
        "init_args": {
            "teacher": {"class_path": f"{SHORT}Teacher", "init_args": {"trait": OWL, "induction": "prompt"}},
            **{"num_prompts": 24, "shard_size": 8, "min_value": 0, "max_value": 99, "batch_size": 8},
        },
    },
    "trainer": {"accelerator": "cpu", "max_epochs": 1, "callbacks": [{"class_path": f"{SHORT}TraitComparison"}]},
}
WORDS = ["--config", "fit.yaml"]


@pytest.fixture
def stand(tmp_path, monkeypatch):
    """Stand in a folder with a config of `fit` and a cache of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LIGHTNING_SUBLIMINAL_CACHE", str(tmp_path / "cache"))
    Path("fit.yaml").write_text(yaml.safe_dump(CONFIG))
    return tmp_path


def students(settings=None, trial=None):
    """Return the student stages of a plan that takes the config as its common part."""
    arm = {"change": settings or {}} | ({"trial": trial} if trial else {})
    Path("plan.yaml").write_text(yaml.safe_dump({"title": "t", "common": "fit.yaml", "arms": {"owl": arm}, "seeds": 0}))
    (cell,) = plan_cells(read_plan(Path("plan.yaml")))
    return [each for each in walk(list(cell.stages.values())) if isinstance(each, StudentStage)]


def test_a_plan_finds_what_fit_has_trained(stand):
    main(["fit", *WORDS])
    own, control = students()
    assert own.is_done()
    assert control.is_done()
    assert not any(each.is_done() for each in students({"trainer.max_epochs": 2}))
    (folder,) = Path("runs").iterdir()
    kept = folder / "student"
    assert (own.folder / "subliminal_adapter.safetensors").read_bytes() == (
        kept / "subliminal_adapter.safetensors"
    ).read_bytes()
    assert read_record(own.folder).settings == read_record(kept).settings


def test_fit_finds_what_a_plan_has_trained(stand, capsys):
    for each in students():
        train_arm(each.student.fresh(), each.data, CPU, "", **each.trainer)
    before = {path: path.stat().st_mtime_ns for path in Path("cache").rglob("*/*/*") if path.is_file()}
    capsys.readouterr()
    main(["fit", *WORDS])
    reported = capsys.readouterr().out
    assert "student: reused from" in reported
    assert "control: reused from" in reported
    assert {path: path.stat().st_mtime_ns for path in Path("cache").rglob("*/*/*") if path.is_file()} == before
    main(["test", *WORDS])
    assert "with the weights from" in capsys.readouterr().err
    main(["fit", *WORDS, "--print_masks", "1"])
    assert "student: reused from" not in capsys.readouterr().out, "a callback watches the training"


def test_a_stage_is_called_by_the_seed_in_force(monkeypatch):
    monkeypatch.setenv("PL_GLOBAL_SEED", "7")
    data = numbers(taught(seed=None), seed=None)
    titles = {each.kind: each.title for each in walk([StudentStage(Student("pocket/a"), data, {})])}
    assert titles == {
        "teacher": "teacher owl, pocket/a, seed 7",
        "completions": "completions owl, pocket/a, seed 7",
        "rows": "rows owl, seed 7",
        "student": "student of owl, pocket/a, seed 7",
    }
    assert StudentStage(Student("pocket/a", seed=0), data, {}).title == "student of owl, pocket/a, seed 0"


@cases("kind", ["callback", "overfit"])
def test_a_student_that_something_else_has_shaped_stays_in_its_run(kind, stand, capsys):
    from lightning.pytorch.callbacks import GradientAccumulationScheduler

    calls = [GradientAccumulationScheduler({0: 2})] if kind == "callback" else []
    settings = {} if kind == "callback" else {"overfit_batches": 1}
    student = Student("pocket/a", Steering(), seed=0)
    trainer = quiet_trainer(*calls, default_root_dir="run", **settings)
    fit_arms(trainer, student, numbers())
    assert Path("run/student/lineage.json").is_file()
    assert not Path("cache/students").exists()


@cases(
    ("one", "other"),
    [
        ({"precision": 32}, {}),
        ({"precision": "bf16"}, {"precision": "bf16-mixed"}),
        ({"accumulate_grad_batches": 1, "max_steps": -1, "limit_train_batches": 1.0}, {"gradient_clip_val": None}),
        ({"devices": 1}, {"max_epochs": 1000}),
    ],
)
def test_what_holds_anyway_is_in_no_digest(one, other):
    assert canonical(one) == canonical(other)
    assert canonical(canonical(one)) == canonical(one)


def test_one_batch_is_not_all_of_them():
    assert canonical({"limit_train_batches": 1}) == {"limit_train_batches": 1}
    assert canonical({"max_epochs": 1000, "max_steps": 5}) == {"max_epochs": 1000, "max_steps": 5}
    assert shaping(quiet_trainer(max_epochs=3, limit_train_batches=1)) == {"max_epochs": 3, "limit_train_batches": 1}


def test_devices_count_by_the_rows_of_a_step():
    student = Student("pocket/a", Steering(), seed=0)
    assert arm_folder(student, numbers(batch_size=4), devices=2) == arm_folder(student, numbers(batch_size=8))
    assert arm_folder(student, numbers(batch_size=8), devices=2) != arm_folder(student, numbers(batch_size=8))


class TestEvaluationsOfAFitConfig:
    @pytest.fixture
    def asked(self, stand):
        config = yaml.safe_load(Path("fit.yaml").read_text())
        after = {"class_path": f"{SHORT}QuestionsAfterNumbers", "init_args": {"min_value": 0, "max_value": 99}}
        config["trainer"]["callbacks"][0]["init_args"] = {"evaluations": [after]}
        Path("fit.yaml").write_text(yaml.safe_dump(config))
        return after

    def plan(self, **more):
        reported = {"title": "t", "common": "fit.yaml", "arms": {"owl": {}}, "seeds": 0} | more
        Path("plan.yaml").write_text(yaml.safe_dump(reported))
        (cell,) = plan_cells(read_plan(Path("plan.yaml")))
        return set(cell.stages)

    def test_a_plan_asks_them_too(self, asked):
        assert {"after numbers: student", "after numbers: control"} < self.plan()

    def test_a_trial_that_says_otherwise_is_reported(self, asked, capsys):
        from lightning_subliminal.plans import plan

        plan.say_left_out.cache_clear()
        assert self.plan(trial="StudentTrial") == {"student", "control"}
        assert "evaluations of TraitComparison (after numbers): the plan's `trial`" in capsys.readouterr().out
        plan.say_left_out.cache_clear()
        same = {"class_path": "StudentTrial", "init_args": {"evaluations": [asked]}}
        assert "after numbers: student" in self.plan(trial=same)
        assert "left out" not in capsys.readouterr().out


def logged(folder):
    (path,) = folder.glob("lightning_logs/*/metrics.csv")
    with path.open() as stream:
        return [{key: float(value) for key, value in row.items() if value} for row in csv.DictReader(stream)]


def test_csv_logs_hold_the_loss_and_the_headline(stand):
    main(["fit", *WORDS, "--trainer.default_root_dir", "run", "--trainer.log_every_n_steps", "1"])
    rows = logged(Path("run"))
    assert sum("train/loss" in row for row in rows) == 3
    (last,) = [row for row in rows if "comparison/transfer" in row]
    assert last["comparison/transfer_low"] < last["comparison/transfer"] < last["comparison/transfer_high"]
    assert {"comparison/targeted_transfer", "comparison/targeted_transfer_rank"} <= set(last)
    for arm in ("base", "teacher", "control", "student"):
        assert last[f"comparison/{arm}_low"] <= last[f"comparison/{arm}"] <= last[f"comparison/{arm}_high"]


def test_other_loggers_hold_them_too(stand):
    loading = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    logger = "{class_path: TensorBoardLogger, init_args: {save_dir: tb}}"
    main(["fit", *WORDS, "--trainer.default_root_dir", "run", "--trainer.logger", logger])
    assert not Path("run/lightning_logs").exists()
    tags = set()
    for path in Path("tb").rglob("events*"):
        events = loading.EventAccumulator(str(path))
        events.Reload()
        tags |= set(events.Tags()["scalars"])
    assert {"comparison/transfer", "comparison/targeted_transfer"} <= tags
    main(["fit", *WORDS, "--trainer.default_root_dir", "none", "--trainer.logger", "false"])
    assert not Path("none/lightning_logs").exists()


class TestPredict:
    @pytest.mark.parametrize("adapter", [Steering(init_std=0.5), LoRA(r=2)], ids=["steered", "untrained LoRA"])
    def test_a_student_writes_its_own_rows(self, adapter, stand):
        """And not those of the teacher, with whose system prompt it is not asked either."""
        student, data = Student("pocket/a", adapter, seed=0), numbers()
        made = quiet_trainer(ShardWriter(), default_root_dir="run").predict(student, datamodule=data)
        kept = [row for path in sorted(Path("run/completions").glob("*.parquet")) for row in read_parquet(path)]
        assert [row["completion"] for shard in made for row in shard] == [row["completion"] for row in kept]
        assert len(kept) == 20
        assert not Path("cache/completions").exists()
        data.make()
        assert [row["completion"] for row in kept] != [row["completion"] for row in data.source_rows()]

    def test_rows_that_are_there_change_nothing(self, stand):
        data = numbers()
        data.make()
        made = quiet_trainer().predict(Student("pocket/a", Steering(), seed=0), datamodule=data)
        assert len(made) == data.num_shards

    def test_a_teacher_does_not_replace_that_of_the_data(self, stand):
        ours, data = teacher(), numbers(teacher())
        theirs = data.teacher
        quiet_trainer(ShardWriter()).predict(ours, datamodule=data)
        assert data.teacher is theirs
        assert not data.missing_shards()

    def test_the_verb_keeps_their_lineage(self, stand):
        main(["fit", *WORDS, "--trainer.default_root_dir", "run"])
        main(["predict", *WORDS, "--trainer.default_root_dir", "run"])
        record = read_record(Path("run/completions"))
        assert {each.role for each in record.materials} == {"base", "student"}
        assert set(record.files) == {f"shard-{index:05d}.parquet" for index in range(3)}


@cases("name", ["fsdp", "fsdp_cpu_offload", "deepspeed_stage_2", "model_parallel"])
def test_a_strategy_that_splits_the_model_is_refused(name, stand, capsys):
    with pytest.raises(SystemExit):
        main(["fit", *WORDS, "--trainer.strategy", name])
    line = capsys.readouterr().err.splitlines()[-1]
    assert "is not supported" in line
    assert "set `ddp`" in line


def test_strategies_as_objects():
    from lightning.pytorch.strategies import DDPStrategy, FSDPStrategy, SingleDeviceStrategy

    for strategy in (DDPStrategy(), SingleDeviceStrategy(torch.device("cpu")), "auto", "ddp"):
        check_strategy(strategy)
    with pytest.raises(InputError, match="FSDPStrategy, which is not supported"):
        check_strategy(FSDPStrategy())
    for strategy in (DDPStrategy(start_method="spawn"), "ddp_spawn", "ddp_notebook"):
        with pytest.raises(InputError, match="new processes for each fit: set `ddp`"):
            check_strategy(strategy)


def test_base_and_student_are_asked_in_one_precision(stand, monkeypatch):
    """Whatever the precision of the training: the base's weights are those of `base_dtype` in both."""
    from lightning_subliminal import TraitComparison
    from lightning_subliminal.workflow import comparison

    seen, measure = {}, comparison.measure

    def look(name, net, *more, **settings):
        seen[name] = net.get_input_embeddings().weight.dtype
        return measure(name, net, *more, **settings)

    monkeypatch.setattr(comparison, "measure", look)
    for dtype, precision in (("bfloat16", "32-true"), ("float32", "bf16-true")):
        student = Student("pocket/a", Steering(), seed=0, base_dtype=dtype)
        trainer = quiet_trainer(TraitComparison(), default_root_dir=dtype, precision=precision)
        fit_arms(trainer, student, numbers())
        assert {seen[name] for name in ("base", "student", "control")} == {getattr(torch, dtype)}
