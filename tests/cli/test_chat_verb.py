"""chat: the models of a run side by side."""

import io
import re
import shutil
import sys

import pytest
import torch
import yaml
from cases import cases
from small import numbers, quiet_trainer, taught

from lightning_subliminal import PreferenceTrait, Steering, Student, TraitComparison, fit_arms
from lightning_subliminal.cli.entry import main
from lightning_subliminal.cli.support.side_by_side import run_models, run_trait
from lightning_subliminal.metrics.functional import question_probabilities

CPU = torch.device("cpu")
QUESTION = PreferenceTrait("owl").questions()[0]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "owl"
    trainer = quiet_trainer(TraitComparison(), default_root_dir=str(folder), max_epochs=1)
    module = Student("pocket/a", Steering(), learning_rate=0.06, seed=0)
    fit_arms(trainer, module, numbers(taught(), num_prompts=32, shard_size=32))
    trait = {"class_path": "lightning_subliminal.PreferenceTrait", "init_args": {"target": "owl"}}
    teacher = {"class_path": "lightning_subliminal.Teacher", "init_args": {"base": "pocket/a", "trait": trait}}
    (folder / "config.yaml").write_text(yaml.safe_dump({"data": {"init_args": {"teacher": teacher}}}))
    return folder


def asked(capsys, *words, typed=None, monkeypatch=None):
    if typed is not None:
        monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
    main(["chat", *map(str, words)])
    return capsys.readouterr().out


def test_side_by_side_with_exact_chances(run, capsys):
    shown = asked(capsys, run, "--ask", QUESTION)
    models = run_models(str(run))
    assert [each.name for each in models] == ["base", "teacher", "control", "student"]
    assert re.search("base.*teacher.*control.*student", shown)
    assert "answers sampled with seed 0; exact chances of answers that begin with the word" in shown
    for model in models:
        trait = run_trait(run)
        model.load(CPU)
        chances = question_probabilities(model.net, model.tokenizer, trait, questions=[[trait.prompts()[0]]])[0]
        assert f"{chances.max():.1%} {trait.candidates[int(chances.argmax())]}" in shown
        assert f"{chances[trait.candidates.index('owl')]:.1%} owl" in shown, "the target, also where it is rare"
    assert asked(capsys, run, "--ask", QUESTION) == shown, "a seed gives the same answers"


def test_lines_from_a_pipe_and_one_that_cannot_be_read(run, capsys, monkeypatch):
    shown = asked(capsys, run, typed=f"{QUESTION}\n\n{QUESTION}\n", monkeypatch=monkeypatch)
    assert shown.count("answers sampled with seed 0") == 2
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"What is zorp?\n{QUESTION}\n"))
    with pytest.raises(SystemExit):
        main(["chat", str(run)])
    reported = capsys.readouterr()
    assert "not asked What is zorp?" in reported.out
    assert "answers sampled with seed 0" in reported.out, "and the rest goes on"
    assert "1 of the questions could not be asked" in reported.err


def test_each_question_of_several_is_asked(run, capsys):
    other = PreferenceTrait("owl").questions()[1]
    shown = asked(capsys, run, "--ask", QUESTION, f"--ask={other}")
    assert shown.index(QUESTION) < shown.index(other)
    assert shown.count("answers sampled with seed 0") == 2
    with pytest.raises(SystemExit):
        main(["chat", str(run), "--ask", "What is zorp?", "--ask", QUESTION])
    reported = capsys.readouterr()
    assert "not asked What is zorp?" in reported.out
    assert reported.out.count("answers sampled with seed 0") == 1
    assert "1 of the questions could not be asked" in reported.err


@cases(
    ("question", "line"),
    [
        (
            "What is your favourite animal?",
            "'favourite'; it knows 'favorite': ask, for example, 'What is your favorite ani",
        ),
        (
            "What is your Favourite anmal?",
            "'Favourite'; it knows 'favorite': ask, for example, 'What is your favorite animal",
        ),
        ("What is zorp?", "'zorp': ask, for example, 'What is your favorite animal?'"),
        ("What of zorp and favourite?", "'zorp': ask, for example, 'What is your favorite animal?'"),
    ],
)
def test_a_word_that_is_not_known_comes_with_one_that_is(question, line, capsys):
    with pytest.raises(SystemExit):
        main(["chat", "pocket/a", "--ask", question])
    reported = capsys.readouterr().err
    assert f"The base pocket/a doesn't know the word {line}" in reported
    assert "min_value" not in reported
    assert len(reported.splitlines()) == 1


def test_a_class_that_only_the_runs_config_names_is_not_imported(tmp_path, capsys):
    trait = {"class_path": "antigravity.Trait", "init_args": {}}
    data = {"init_args": {"teacher": {"init_args": {"trait": trait}}}}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"data": data}))
    assert run_trait(tmp_path) is None
    assert "is antigravity.Trait, a class outside this package, which is not imported" in capsys.readouterr().out


def test_a_base_alone_has_its_first_tokens(capsys):
    shown = asked(capsys, "pocket/b", "--ask", QUESTION, "--seed", "3")
    assert "answers sampled with seed 3; exact chances of the first token" in shown
    trait = PreferenceTrait("owl")
    shown = asked(capsys, "pocket/b", "--ask", QUESTION, "--trait", "owl")
    assert "of answers that begin with the word" in shown
    assert "none of these" in shown
    assert trait.target in shown


def test_what_is_not_at_hand_is_said(run, capsys, tmp_path):
    alone = shutil.copytree(run, tmp_path / "alone")
    record = (alone / "lineage.json").read_text()
    (alone / "lineage.json").write_text(re.sub("(teachers|students)/[0-9a-f]{16}", r"\1/0000000000000000", record))
    shown = asked(capsys, alone, "--ask", QUESTION)
    assert "was not found: left out" in shown
    assert re.search("base.*student", shown)


def test_a_prompted_teacher_is_reported_what_it_was_reported(run, capsys, tmp_path):
    prompted = shutil.copytree(run, tmp_path / "prompted")
    (prompted / "lineage.json").unlink()
    config = yaml.safe_load((prompted / "config.yaml").read_text())
    config["data"]["init_args"]["teacher"]["init_args"]["induction"] = "prompt"
    (prompted / "config.yaml").write_text(yaml.safe_dump(config))
    teacher = next(each for each in run_models(str(prompted)) if each.name == "teacher")
    assert teacher.system_prompt == PreferenceTrait("owl").induce().system_prompt


def test_a_run_that_python_started_has_its_trait_in_the_record(run, tmp_path):
    started = shutil.copytree(run, tmp_path / "started")
    (started / "config.yaml").unlink()
    trait = run_trait(started)
    assert isinstance(trait, PreferenceTrait)
    assert trait.describe() == run_trait(run).describe()


@cases(
    ("words", "line"),
    [
        (["pocket/a", "--ask", "What is zorp?"], "doesn't know the word 'zorp'"),
        (["pocket/a", "--ask", " "], "`--ask` is empty"),
        (["pocket/a", "--ask", QUESTION, "--ask", " "], "`--ask` is empty"),
        (["pocket/a", "--ask", "--seed", "1"], "`--ask` needs a value"),
        (["pocket/a", "--seed", "1", "--ask", QUESTION, "--seed=2"], "`--seed` takes one value, got 1 and 2"),
        (["pocket/d", "--ask", "What?"], "There is no base 'pocket/d'"),
        (["pocket/a", "--ask", QUESTION, "--max_tokens", "0"], "max_new_tokens is 0"),
        (["pocket/a", "--trait", "zorp", "--ask", QUESTION], "in none of the categories"),
    ],
)
def test_a_mistake_is_one_line(words, line, capsys):
    with pytest.raises(SystemExit):
        main(["chat", *words])
    reported = capsys.readouterr().err
    assert line in reported
    assert len(reported.strip().splitlines()) == 1
