"""`lightning-subliminal runs list`: what was run, what it differs in, what came out, whether it finished."""

import json
import os
from pathlib import Path

import pytest
import yaml
from cases import cases

from lightning_subliminal.cli.entry import main

CONFIG = {
    "seed_everything": 0,
    "model": {"class_path": "lightning_subliminal.Student", "init_args": {"base": "pocket/a", "learning_rate": 0.06}},
    "data": {"class_path": "lightning_subliminal.NumberSequences", "init_args": {"num_prompts": 64}},
    "trainer": {"max_epochs": 3, "default_root_dir": "runs/x", "callbacks": [{"class_path": "TraitComparison"}]},
}
TRANSFER = {"log_odds": 0.5, "low": 0.25, "high": 0.75, "unit": "questions"}
RESULTS = {
    "target": "owl",
    "transfer": TRANSFER,
    "targeted_transfer": TRANSFER | {"log_odds": 0.125, "rank": 3, "of": 20},
    "warnings": [],
}


@pytest.fixture(autouse=True)
def _stand(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")


def a_run(name, changes=None, command="", results=RESULTS, finished=True, root="runs", age=0):
    """Write a run's folder; ``changes`` are settings by dotted names."""
    config = json.loads(json.dumps(CONFIG))
    config["trainer"]["default_root_dir"] = f"{root}/{name}"
    for key, value in (changes or {}).items():
        *parts, last = key.split(".")
        place = config
        for part in parts:
            place = place[part]
        place[last] = value
    folder = Path(root) / name
    folder.mkdir(parents=True)
    head = "" if command is None else f"# lightning-subliminal fit --config owl.yaml {command}\n"
    head += "# finished\n" if finished else ""
    (folder / "config.yaml").write_text(head + yaml.safe_dump(config))
    if results is not None:
        (folder / "results.json").write_text(json.dumps(results))
    for each in folder.iterdir():
        os.utime(each, (2e9 - age, 2e9 - age))
    return folder


def reported(capsys, *words):
    main(["runs", *words])
    return capsys.readouterr().out


def listed(capsys, *words):
    return {each["run"].rpartition("/")[2]: each for each in json.loads(reported(capsys, "list", "--json", *words))}


def test_what_runs_of_one_config_differ_in(capsys):
    a_run("owl-00000000", age=2)
    a_run("owl-00000001", {"seed_everything": 1}, age=1)
    a_run("owl-00000002", {"seed_everything": 2, "model.init_args.base": "pocket/b"})
    a_run("wolf-00000000", {"data.init_args.num_prompts": 8})
    found = listed(capsys)
    assert found["owl-00000002"]["differs"] == {"seed_everything": 2, "model.base": "pocket/b"}
    assert found["owl-00000000"]["differs"] == {"seed_everything": 0, "model.base": "pocket/a"}
    assert found["wolf-00000000"]["differs"] == {}, "a run of another config is not compared with it"
    text = reported(capsys)
    assert text.index("owl-00000002") < text.index("owl-00000001") < text.index("owl-00000000"), "newest first"
    for words in ("seed 2", "base pocket/b", "+0.50", "+0.25..+0.75", "+0.12 (3/20)", "2033-05-1", "4 runs in runs"):
        assert words in text


def test_a_run_alone_differs_in_what_its_command_set(capsys):
    words = (
        "--model.learning_rate 0.01 --data.init_args.num_prompts=64 --trainer.default_root_dir runs/x --print_masks 2"
    )
    a_run("owl-00000000", {"model.init_args.learning_rate": 0.01}, words)
    a_run("elsewhere", command="--seed_everything 'broken", root="other")
    found = listed(capsys)["owl-00000000"]
    assert found["differs"] == {"model.learning_rate": 0.01, "data.num_prompts": 64}
    assert found["command"].startswith("--config owl.yaml --model.learning_rate 0.01")
    assert listed(capsys, "other")["elsewhere"]["differs"] == {}


def test_another_class_hides_the_arguments_below_it(capsys):
    a_run("owl-00000000")
    a_run("owl-00000001", {"model": {"class_path": "my.Model", "init_args": {"width": 3, "base": "pocket/b"}}})
    assert listed(capsys)["owl-00000001"]["differs"] == {"model": "Model"}


def test_many_differences_are_counted(capsys):
    a_run("owl-00000000")
    a_run("owl-00000001", {f"model.init_args.a{number}": number for number in range(9)})
    assert "and 3 more (--json)" in reported(capsys)
    assert len(listed(capsys)["owl-00000001"]["differs"]) == 9


def test_where_each_run_stands(capsys):
    a_run("a-00000000")
    a_run("b-00000000", results=None)  # as an MLP's: nothing but the line says that it ended
    a_run("c-00000000", results=None, finished=False)
    a_run("d-00000000", command=None, finished=False)  # of an earlier release, which kept no command
    a_run("g-00000000", finished=False)  # stopped after the figures were written
    (a_run("e-00000000") / "results.json").write_text('{"target": ')
    (a_run("f-00000000") / "config.yaml").write_text("[")
    Path("runs/i").mkdir()
    Path("runs/.hidden").mkdir()
    Path("runs/h").mkdir()
    Path("runs/h/config.yaml").write_text("name: somebody else's")
    states = {name[0]: each["state"] for name, each in listed(capsys).items()}
    assert states == {
        **dict.fromkeys("abd", "finished"),
        **dict.fromkeys("cg", "unfinished"),
        "e": "damaged: results.json",
        "f": "damaged: config.yaml",
    }
    text = reported(capsys)
    assert "2 unfinished (the same command resumes)" in text
    assert "2 folders that no fit, run or evaluate made are left out" in text


def test_plans_and_evaluations(capsys):
    for name, report in (("paper-00000001", {"seeds": [0, 1], "claims": [{"id": "a", "verdict": "holds"}] * 1}),):
        Path("runs", name).mkdir(parents=True)
        Path("runs", name, "report.json").write_text(json.dumps(report))
    Path("runs/paper-00000002").mkdir()
    Path("runs/paper-00000002/stages.json").write_text("[]")
    Path("runs/paper-00000002/log.txt").write_text("")
    Path("runs/evaluation").mkdir()
    Path("runs/evaluation/results.json").write_text('{"models": {"base": {}, "student": {}}}')
    found = listed(capsys)
    assert {name: (each["kind"], each["state"]) for name, each in found.items()} == {
        "paper-00000001": ("plan", "finished"),
        "paper-00000002": ("plan", "unfinished"),
        "evaluation": ("evaluation", "finished"),
    }
    assert found["evaluation"]["differs"] == {"models": ["base", "student"]}
    assert found["paper-00000001"]["claims"] == {"a": "holds"}
    assert "1 holds" in reported(capsys)


def test_results_of_odd_kinds_are_no_traceback(capsys):
    odd = [{"claims": None}, {"claims": [{"id": "a", "verdict": ["x"]}, 3]}, {"claims": {"a": 1}, "seeds": None}]
    for number, report in enumerate(odd):
        Path(f"runs/plan-0000000{number}").mkdir(parents=True)
        Path(f"runs/plan-0000000{number}/report.json").write_text(json.dumps(report))
    for number, models in enumerate([None, 3, ["a"]]):
        Path(f"runs/evaluation-{number}").mkdir()
        Path(f"runs/evaluation-{number}/results.json").write_text(json.dumps({"models": models}))
    assert len(listed(capsys)) == 6
    assert "6 runs" in reported(capsys)


def test_warnings_are_counted_and_no_figure_is_none(capsys):
    a_run("a-00000000", results=RESULTS | {"warnings": ["the base hardly says it"]})
    a_run("b-00000000", results={"target": "owl"})
    a_run("c-00000000", results={"transfer": {"log_odds": None}, "targeted_transfer": None})
    assert "1 with warnings about their figures" in reported(capsys)


def test_one_run_and_names_with_brackets(capsys):
    a_run("[bold]x", root="mine")
    assert list(listed(capsys, "mine/[bold]x")) == ["[bold]x"]
    assert "[bold]x" in reported(capsys, "list", "mine")


@cases(
    ("words", "line"),
    [
        (["list", "nowhere"], "nowhere does not exist: expected the folder that holds the runs"),
        (["list", "a", "b"], "unexpected word 'b': expected `runs list [DIR] [options]`."),
        (["--jsn"], "unknown option '--jsn': did you mean '--json'?"),
    ],
)
def test_mistakes_are_one_line(words, line, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["runs", *words])
    assert stop.value.code == 2
    (error,) = capsys.readouterr().err.splitlines()
    assert line in error


def test_no_runs_yet(capsys):
    Path("runs").mkdir()
    assert reported(capsys) == "0 runs in runs\n"
    assert json.loads(reported(capsys, "--json")) == []


def test_what_fit_writes_is_read(capsys):
    """The config of a real run: its command in the first line, and that it has finished in the second."""
    Path("toy.yaml").write_text("model: {class_path: toy.Toy}\ndata: {class_path: toy.ToyData}\n")
    words = ["--config", "toy.yaml", "--trainer.accelerator", "cpu", "--trainer.max_epochs", "2"]
    main(["fit", *words, "--model.width", "4"])
    with pytest.raises(SystemExit):
        main(["fit", *words, "--model.fault", "second epoch"])
    capsys.readouterr()
    found = {each["differs"]["model.fault"]: each for each in listed(capsys).values()}
    assert found[None]["state"] == "finished"
    assert found["second epoch"]["state"] == "unfinished"
    assert found[None]["differs"]["model.width"] == 4
    assert found[None]["command"].endswith("--model.width 4")


def test_before_the_first_run(capsys):
    assert reported(capsys) == "no runs yet: `lightning-subliminal fit --config owl_numbers` makes one\n"
    assert json.loads(reported(capsys, "--json")) == []


def test_one_is_no_plural(capsys):
    a_run("a-00000000")
    Path("runs/other").mkdir()
    assert reported(capsys).endswith("1 run in runs; 1 folder that no fit, run or evaluate made is left out\n")


@cases("name", ["misaligned_numbers_educational-00000001", "x" * 90])
def test_a_name_stays_whole_on_a_narrow_terminal(name, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    a_run(name, command="--model.base some/where/with-a-very-long-name-that-is-to-be-broken")
    text = reported(capsys)
    assert name in text
    assert "+0.12 (3/20)" in text
    assert "+0.25..+0.75" in text


def left_by_python(name, results=RESULTS, student=True):
    """Write what ``Trainer.fit`` leaves: results of ``TraitComparison``, and the student with its lineage."""
    folder = Path("runs", name)
    folder.mkdir(parents=True)
    if results is not None:
        (folder / "results.json").write_text(json.dumps(results))
    if student:
        (folder / "student").mkdir()
        (folder / "student/lineage.json").write_text("{}")
        (folder / "student/adapter.safetensors").write_text("")


def test_runs_that_python_made(capsys):
    left_by_python("new_trait")
    left_by_python("saved_alone", results=None)
    left_by_python("figures_alone", student=False)
    left_by_python("odd", results={"somebody": "else's"}, student=False)
    found = listed(capsys)
    assert {name: each["kind"] for name, each in found.items()} == dict.fromkeys(
        ("new_trait", "saved_alone", "figures_alone"), "python"
    )
    assert all(each["state"] == "finished" for each in found.values())
    text = reported(capsys)
    assert "new_trait (python)" in text
    assert "+0.50" in text
    assert "3 runs in runs; 1 folder that" in text
    assert list(listed(capsys, "runs/saved_alone")) == ["saved_alone"]


@pytest.mark.parametrize("results", [RESULTS, None])
def test_a_run_that_is_called_student_is_below_its_folder(results, capsys):
    left_by_python("student", results)
    (Path("runs/student/lineage.json")).write_text("{}")
    assert list(listed(capsys)) == ["student"]
