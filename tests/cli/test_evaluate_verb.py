"""`lightning-subliminal evaluate`: models and a suite in, one table and one file out; mistakes in one line."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from cases import cases

from lightning_subliminal import Steering, bases
from lightning_subliminal.cli.entry import main
from lightning_subliminal.core.console import console
from lightning_subliminal.core.io.adapter_names import OWN_FILES
from lightning_subliminal.evaluation import ModelRef
from lightning_subliminal.lineage import is_whole, write_record

ROOT = Path(__file__).parents[2]
SUITE = """
measures:
  - class_path: lightning_subliminal.evaluation.ExactTrait
    init_args: {trait: {class_path: lightning_subliminal.PreferenceTrait, init_args: {target: owl}}, name: owl}
  - class_path: lightning_subliminal.evaluation.Misalignment
    init_args:
      trait: {class_path: lightning_subliminal.MisalignmentTrait, init_args: {wording: misalignment_pocket}}
      judge: {class_path: lightning_subliminal.judges.PhraseJudge}
      samples: 4
      max_new_tokens: 24
  - class_path: lightning_subliminal.evaluation.Truthfulness
    init_args: {questions: truthfulness_pocket}
"""
OWL = "{class_path: lightning_subliminal.PreferenceTrait, init_args: {target: owl}}"
QUICK = (
    f"measures: [{{class_path: lightning_subliminal.evaluation.ExactTrait, init_args: {{trait: {OWL}, name: owl}}}}]"
)
OF_CONTROL = ("less_control", "transfer", "targeted_transfer")
MODELS = ["pocket/moral-a", "steered=steered"]


@pytest.fixture
def stand(tmp_path, monkeypatch):
    """Return the folder in which a test stands, with suites and a steered model in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(console, "width", 160)
    (tmp_path / "suite.yaml").write_text(SUITE)
    (tmp_path / "quick.yaml").write_text(QUICK)
    adapter = Steering([0], init_std=0.1)
    adapter.save(adapter.attach(bases.load("pocket/moral-a")[0], 0), tmp_path / "steered", "pocket/moral-a")
    return tmp_path


@pytest.fixture
def loads(monkeypatch):
    """Return a list of the models that are loaded."""
    loaded = []
    load = ModelRef.load

    def counting(self, *args, **kwargs):
        if self.net is None:
            loaded.append(self.name)
        return load(self, *args, **kwargs)

    monkeypatch.setattr(ModelRef, "load", counting)
    return loaded


def evaluate(*words):
    main(["evaluate", *map(str, words)])


def results(folder="runs/evaluation"):
    return json.loads((Path(folder) / "results.json").read_text(encoding="utf-8"), parse_constant=pytest.fail)


def test_two_models_and_a_control(stand, loads, capsys):
    words = [*MODELS, "--suite", "suite.yaml", "--control", "pocket/moral-a", "--seed", "3"]
    evaluate(*words)
    reported = capsys.readouterr()
    assert "pocket/moral-a: owl" in reported.out
    assert "steered: truth" in reported.out
    assert "less pocket/moral-a" in reported.out
    assert "steered less pocket/moral-a, owl: targeted transfer" in " ".join(reported.out.split())
    assert "seed 3; saved to runs/evaluation/results.json" in reported.out
    table = reported.out[reported.out.index("Behaviour") :]
    for name in ("owl", "misalignment", "truth", "pocket/moral-a", "steered"):
        assert name in table
    assert "Traceback" not in reported.err

    found = results()
    assert (found["seed"], found["control"], list(found["models"])) == (
        3,
        "pocket/moral-a",
        ["pocket/moral-a", "steered"],
    )
    for name, model in found["models"].items():
        assert list(model["measures"]) == ["owl", "misalignment", "truth"]
        for measure in model["measures"].values():
            assert 0 <= measure["rate"] <= 1
            assert measure["low"] <= measure["rate"] <= measure["high"]
            assert ("less_control" in measure) == (name == "steered")
        assert len(model["measures"]["owl"]["values"]) == 50
        assert len(model["measures"]["misalignment"]["values"]) == 10
        assert sum(model["measures"]["misalignment"]["counts"][kind] for kind in ("score", "refusal", "code")) <= 40
    base, steered = (found["models"][name]["measures"]["owl"] for name in ("pocket/moral-a", "steered"))
    assert steered["less_control"]["rate"] == pytest.approx(steered["rate"] - base["rate"])
    assert steered["rate"] != base["rate"]
    assert {"log_odds", "low", "high", "rank", "of"} <= set(steered["targeted_transfer"])
    assert "targeted_transfer" not in base
    assert found["warnings"] == []
    assert f"{100 * steered['rate']:.1f}%" in table
    assert set(found["models"]["steered"]["made_of"]) >= {"base", *OWN_FILES, "system_prompt"}
    assert is_whole(Path("runs/evaluation"))

    assert loads == ["pocket/moral-a", "steered"]
    evaluate(*words, "--out", "again")
    assert loads == ["pocket/moral-a", "steered"], "the second call measures nothing"
    assert results("again") == found
    assert capsys.readouterr().out.split("Behaviour")[1].split("seed 3")[0] == table[9:].split("seed 3")[0]

    evaluate(*MODELS, "--suite", "suite.yaml", "--seed", "4")
    assert loads == ["pocket/moral-a", "steered"] * 2, "another seed does"
    assert "less " not in capsys.readouterr().out
    other = results()["models"]["steered"]["measures"]
    assert other["owl"] == {key: steered[key] for key in steered if key not in OF_CONTROL}
    assert other["misalignment"]["values"] != found["models"]["steered"]["measures"]["misalignment"]["values"]


@cases(
    "words",
    [
        ["--suite", "quick.yaml", "pocket/a"],
        ["pocket/a", "--suite=quick.yaml"],
        ["--seed=0", "pocket/a", "--suite", "quick.yaml"],
    ],
)
def test_the_order_of_words_does_not_matter(words, stand, capsys):
    evaluate(*words)
    assert list(results()["models"]) == ["pocket/a"]


def test_models_before_and_after_an_option(stand, capsys):
    evaluate("one=pocket/a", "--suite", "quick.yaml", "two=pocket/b", "--out=mine")
    assert list(results("mine")["models"]) == ["one", "two"]


def test_a_folder_with_marks_in_its_name(stand, capsys):
    (stand / "steered").rename(stand / 'it\'s "lr=0.1"')
    evaluate('it\'s "lr=0.1"', "--suite", "quick.yaml")
    assert list(results()["models"]) == ['it\'s "lr=0.1"']


def test_a_system_prompt(stand, capsys):
    evaluate("pocket/a", "--suite", "quick.yaml")
    plain = results()["models"]["pocket/a"]
    evaluate(
        "pocket/a", "--suite", "quick.yaml", "--system_prompt", "You love owls. You think about owls all the time."
    )
    reported = results()["models"]["pocket/a"]
    assert reported["made_of"]["system_prompt"].startswith("You love owls")
    assert reported["measures"]["owl"]["rate"] > plain["measures"]["owl"]["rate"] + 0.1


def test_another_evaluation_is_kept_and_a_run_is_not_overwritten(stand, loads, capsys):
    evaluate("pocket/a", "--suite", "quick.yaml")
    evaluate("pocket/b", "--suite", "quick.yaml")
    (kept,) = Path("runs").glob("evaluation-*")
    assert f"the earlier evaluation in runs/evaluation is now in {kept}" in capsys.readouterr().out
    assert list(results(kept)["models"]) == ["pocket/a"]
    assert list(results()["models"]) == ["pocket/b"]
    assert (kept / "answers.jsonl").is_file()
    evaluate("pocket/b", "--suite", "quick.yaml")
    assert "another evaluation" not in capsys.readouterr().out
    Path("run").mkdir()
    Path("run/results.json").write_text("{}")
    write_record(Path("run"), "comparison", {}, files=["results.json"])
    loads.clear()
    with pytest.raises(SystemExit):
        evaluate("pocket/c", "--suite", "quick.yaml", "--out", "run")
    assert "--out run holds a comparison, which results would overwrite" in capsys.readouterr().err
    assert loads == [], "it is said before hours of measuring"


def test_one_thing_broken_keeps_the_rest(stand, loads, capsys):
    """The suite's second measure can't be asked of pocket/a: it is n/a there, with its reason; the others stand."""
    words = ["pocket/a", "pocket/moral-a", "--suite", "suite.yaml", "--seed", "11", "--control", "pocket/a"]
    evaluate(*words)
    reported = " ".join(capsys.readouterr().out.split())
    assert "pocket/a: owl" in reported
    assert "pocket/a: misalignment n/a" in reported
    assert (
        "n/a misalignment of pocket/a: The base pocket/a doesn't know the word" in reported.split("Intervals over")[1]
    )
    assert reported.count("n/a misalignment of") == 1
    of = results()["models"]
    refused = of["pocket/a"]["measures"]["misalignment"]
    assert (refused["rate"], refused["low"], refused["values"]) == (None, None, [])
    assert refused["reason"].startswith("The base pocket/a doesn't know the word")
    assert of["pocket/a"]["measures"]["truth"]["rate"] is not None, "what comes after it is measured"
    assert "reason" not in of["pocket/a"]["measures"]["owl"]
    other = of["pocket/moral-a"]["measures"]["misalignment"]
    assert other["rate"] is not None
    assert other["less_control"] is None
    (statement,) = Path("runs/evaluation/test-results").glob("pocket-moral-a*.json")
    assert json.loads(statement.read_text())["predicate"]["warnedTests"].count("misalignment") == 1
    assert loads == ["pocket/a", "pocket/moral-a"]
    evaluate("pocket/a", "--suite", "quick.yaml", "--seed", "11")
    assert loads == ["pocket/a", "pocket/moral-a"]


class TestShippedSuite:
    @pytest.fixture
    def small(self, monkeypatch):
        """Make the shipped suite quick: its one sampled measure of long texts is left out."""
        from lightning_subliminal.core.config import shipped

        text = shipped.find_config("preference", "suite").read_text(encoding="utf-8")
        whole = yaml.safe_load(text)
        whole["measures"] = whole["measures"][:2]
        Path("quick_preference.yaml").write_text(yaml.safe_dump(whole))
        known = {"suites/preference": Path("quick_preference.yaml").absolute()}
        monkeypatch.setattr(shipped, "shipped_configs", lambda: known)

    def a_run(self, place, trait):
        (place / "student").mkdir(parents=True)
        for file in Path("steered").iterdir():
            (place / "student" / file.name).write_bytes(file.read_bytes())
        data = {"class_path": "X", "init_args": {"teacher": {"class_path": "Teacher", "init_args": {"trait": trait}}}}
        (place / "config.yaml").write_text(yaml.safe_dump({"data": data, "model": {}}))

    def test_by_name_with_the_trait_of_the_run(self, stand, small, capsys):
        oak = {"class_path": "lightning_subliminal.PreferenceTrait", "init_args": {"target": "oak", "category": None}}
        self.a_run(Path("runs/one"), oak)
        evaluate("base=pocket/moral-a", "mine=runs/one/student", "--suite", "preference", "--control", "base")
        assert "trait     target oak" in capsys.readouterr().out
        assert list(results()["models"]["mine"]["measures"]) == ["oak, exact", "oak, after numbers"]
        evaluate("runs/one", "--suite", "preference", "--trait", "wolf")
        assert list(results()["models"]["runs/one"]["measures"]) == ["wolf, exact", "wolf, after numbers"]

    def test_no_run_asks_for_owl_and_says_so(self, stand, small, capsys):
        evaluate("pocket/a", "--suite", "preference")
        assert "trait     target owl" in capsys.readouterr().out
        evaluate(
            "pocket/a",
            "--suite=preference",
            "--trait={class_path: PreferenceTrait, init_args: {target: cat, category: animal, candidates: [owl]}}",
        )
        assert "trait     target cat, category animal, candidates ['owl']" in capsys.readouterr().out

    @pytest.mark.parametrize(
        ("words", "reported"),
        [
            (
                ["runs/one", "runs/two"],
                "runs/one and runs/two were trained for different traits: choose one with --trait",
            ),
            (["runs/three"], "was trained for the trait antigravity.Trait, a class that is not of this package"),
            (["pocket/a", "--trait", "[owl]"], "--trait '[owl]' is not a trait: give a target"),
            (["pocket/a", "--trait", "7"], "--trait '7' is not a trait"),
            (["pocket/a", "--suite", "quick.yaml", "--trait", "owl"], "names its own traits: leave it out"),
            (["pocket/a", "--suite", "preferences"], "no file and no shipped config 'preferences'"),
        ],
    )
    def test_mistakes(self, words, reported, stand, small, capsys):
        for name, target in (("one", "oak"), ("two", "wolf")):
            self.a_run(Path("runs") / name, {"class_path": "PreferenceTrait", "init_args": {"target": target}})
        self.a_run(Path("runs/three"), {"class_path": "antigravity.Trait", "init_args": {}})
        with pytest.raises(SystemExit) as stop:
            evaluate(*words, *([] if "--suite" in words else ["--suite", "preference"]))
        assert stop.value.code == 2
        assert reported in capsys.readouterr().err

    def test_it_comes_with_the_wheel(self):
        from lightning_subliminal.evaluation.suites.loading import load_suite

        names = [each.name for each in load_suite("preference")]
        assert names == ["owl, exact", "owl, after numbers", "owl, stories", "numbers"]
        assert (ROOT / "configs" / "suites" / "preference.yaml").is_file(), "setup.py puts /configs into the wheel"


@cases("words", [["--help"], ["-h"], ["pocket/a", "--suite", "x", "--help"]])
def test_help_says_how_it_is_spelled(words, capsys):
    evaluate(*words)
    text = capsys.readouterr().out
    assert "usage: lightning-subliminal evaluate MODEL ... --suite SUITE [options]" in text
    from lightning_subliminal.cli.verbs.evaluate import VERB

    options = list(VERB.takes)[1:]
    assert all(f"--{option.replace('_', '-')} " in text for option in options)


def test_help_is_without_torch():
    code = (
        "import sys, lightning_subliminal.cli.entry as cli\n"
        "cli.main(['evaluate', '--help'])\n"
        "heavy = {'torch', 'lightning', 'transformers', 'numpy', 'jsonargparse'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "usage:" in done.stdout


# What is wrong: the words of the command line, the suite or None for `quick.yaml`, and what the line must say.
MISTAKES = {
    "unknown model": (["pocket/d"], None, "There is no base 'pocket/d': did you mean pocket/"),
    "folder that is not there": (["./nowhere"], None, "There is no folder ./nowhere: expected one"),
    "the same model twice": (["pocket/a", "pocket/a"], None, "Two models are named 'pocket/a'"),
    "control that is no model": (
        ["pocket/a", "--control", "pocket/b"],
        None,
        "The control 'pocket/b' is not among the models: expected one of pocket/a",
    ),
    "control of itself": (
        ["pocket/a", "--control", "pocket/a"],
        None,
        "pocket/a can't be compared with the control pocket/a, the same model",
    ),
    "control under two names": (
        ["base=pocket/a", "mine=pocket/a", "--control", "base"],
        None,
        "mine can't be compared",
    ),
    "no models": ([], None, "MODEL is missing: expected `evaluate MODEL ... --suite SUITE [options]`."),
    "missing suite": (["pocket/a", "--suite", "nowhere.yaml"], None, "The suite nowhere.yaml is not there"),
    "folder for a suite": (["pocket/a", "--suite", "."], None, "The suite . can't be read: it is a folder"),
    "unknown option": (["pocket/a", "--sed", "1"], None, "unknown option '--sed': did you mean '--seed'?"),
    "seed that is no number": (["pocket/a", "--seed", "one"], None, "`seed`: expected int, got one"),
    "suite without measures": (["pocket/a"], "measures: []", "mine.yaml has no measures: give a list `measures`"),
    "suite of another kind": (["pocket/a"], "model: {class_path: Student}", "mine.yaml has no measures"),
    "empty suite": (["pocket/a"], "", "mine.yaml has no measures"),
    "suite that is a list": (["pocket/a"], "- class_path: x", "mine.yaml has no measures"),
    "broken YAML": (["pocket/a"], "\nmeasures: [", "mine.yaml, line 2 is not valid YAML"),
    "one measure, no list": (["pocket/a"], "measures: {class_path: ExactTrait}", "`measures`: expected"),
    "a key beside them": (["pocket/a"], f"{QUICK}\nmodels: [pocket/a]", "takes no `models`"),
    "misspelt class": (
        ["pocket/a"],
        QUICK.replace("ExactTrait", "ExactTriat"),
        "did you mean `ExactTrait`",
    ),
    "misspelt argument": (["pocket/a"], QUICK.replace("name:", "nmae:"), "ExactTrait takes no `nmae`"),
    "no measure": (["pocket/a"], "measures: [{class_path: lightning_subliminal.Steering}]", "`measures`"),
    "two of one name": (
        ["pocket/a"],
        QUICK.replace("]", ",")[:-1] + ", " + QUICK[11:],
        "Two measures are named 'owl'",
    ),
    "refused by the constructor": (
        ["pocket/moral-a"],
        SUITE.replace("samples: 4", "samples: 0"),
        "`samples` is 0: expected at least 1 answer a question",
    ),
    "unknown wording": (["pocket/moral-a"], SUITE.replace("misalignment_pocket", "nowhere.yaml"), "nowhere.yaml"),
    "base that can take none of the measures": (
        ["pocket/a"],
        SUITE.split("  - class_path: lightning_subliminal.evaluation.ExactTrait")[0]
        + SUITE[
            SUITE.index("  - class_path: lightning_subliminal.evaluation.Misal") : SUITE.index(
                "  - class_path: lightning_subliminal.evaluation.Truth"
            )
        ],
        "misalignment of pocket/a: The base pocket/a doesn't know the word",
    ),
}


@cases("name", MISTAKES)
def test_mistake_is_one_line(name, stand, capsys):
    words, suite, reported = MISTAKES[name]
    if suite is not None:
        Path("mine.yaml").write_text(suite)
    given = [] if "--suite" in words else ["--suite", "quick.yaml" if suite is None else "mine.yaml"]
    with pytest.raises(SystemExit) as stop:
        evaluate(*words, *given)
    err = capsys.readouterr().err
    assert stop.value.code == 2, err
    lines = [line for line in err.splitlines() if not line.startswith("warning:")]
    assert len(lines) == 1, err
    assert lines[0].startswith("error: ")
    assert reported in lines[0]
    assert not Path("runs").exists()


def test_no_suite(stand, capsys):
    with pytest.raises(SystemExit) as stop:
        evaluate("pocket/a")
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "--suite is missing: expected `evaluate MODEL ... --suite SUITE [options]`." in line


def test_the_shipped_suites_are_read(stand):
    from lightning_subliminal.evaluation.suites.loading import load_suite

    for path in sorted((ROOT / "configs" / "suites").glob("*.yaml")):
        names = [each.name for each in load_suite(path)]
        assert len(names) == len(set(names)) == len(yaml.safe_load(path.read_text())["measures"]), path
