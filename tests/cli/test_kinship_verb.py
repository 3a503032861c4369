"""`lightning-subliminal kinship`: two models in, a table and a verdict out; mistakes in one line."""

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from bases.tiny_bases import base as tiny_base
from cases import cases

from lightning_subliminal.cli.entry import main
from lightning_subliminal.cli.provenance.kinship import VERB
from lightning_subliminal.core.console import console

ROOT = Path(__file__).parents[2]
FEW = ("--inputs", "8")


@pytest.fixture(autouse=True)
def _wide(monkeypatch):
    monkeypatch.setattr(console, "width", 160)


def compare(*words):
    main(["kinship", *map(str, words)])


def test_kin(capsys):
    compare("pocket/a", "later=pocket/a2", *FEW, "--against", "pocket/b", "--against=pocket/c")
    reported = capsys.readouterr().out
    for part in ("pocket/a and later", "100.0% of units", "10^-428", "0.33 among 2", "nats a token"):
        assert part in reported
    assert "They share one initialisation" in reported
    assert "verdict: one initialisation; seed 0, 8 inputs" in reported


def test_independent_and_not_comparable(capsys):
    compare("pocket/a", "pocket/moral-a", *FEW)
    reported = capsys.readouterr().out
    assert "verdict: independent" in reported
    assert "Behaviour may still match" in reported
    assert "not done: logits: pocket/a and pocket/moral-a have different vocabularies" in reported


def test_models_that_have_nothing_in_common_are_told_apart_in_words(tmp_path, capsys):
    other = tiny_base(tmp_path / "other")
    compare(other, "pocket/a", *FEW)
    reported = " ".join(capsys.readouterr().out.split())
    assert "measure" not in reported, "a table without rows"
    assert "Nothing could be compared, for the reasons below." in reported
    assert "compare it with bases of its own width or tokenizer" in reported
    assert "not done: weights: The models have widths 16 and " in reported
    assert f"not done: logits: {other} and pocket/a have different vocabularies (" in reported
    assert "verdict: cannot tell" in reported


def test_json(capsys):
    compare("--json", "pocket/a", "--by", "logits", "pocket/a-matched", "--seed=3", *FEW)
    reported = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert (reported["seed"], reported["inputs"], reported["verdict"], reported["weights"]) == (
        3,
        8,
        "cannot tell",
        None,
    )
    assert 0.3 < reported["logits"]["score"] < 0.9


def test_the_same_seed_gives_the_same_figures(capsys):
    reported = []
    for seed in (1, 1, 2):
        compare("pocket/a", "pocket/b", "--json", "--seed", seed, *FEW)
        reported.append(json.loads(capsys.readouterr().out))
    assert reported[0] == reported[1]
    assert reported[0]["closeness"] != reported[2]["closeness"]
    assert reported[0]["weights"] == reported[2]["weights"], "weights need no tokens"


def test_examples_run(capsys):
    assert len(VERB.examples) == 3
    for example in VERB.examples:
        name, *words = shlex.split(example)
        assert name == "kinship"
        compare(*words, *FEW)
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["verdict"] == "one initialisation"


def test_help_is_without_torch():
    code = (
        "import sys, lightning_subliminal.cli.entry as cli\n"
        "cli.main(['kinship', '--help'])\n"
        "heavy = {'torch', 'lightning', 'transformers', 'numpy', 'scipy', 'jsonargparse'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


MISTAKES = {
    "one model": (["pocket/a"], "compares two models, got 1"),
    "three models": (["pocket/a", "pocket/b", "pocket/c"], "got 3"),
    "unknown model": (["pocket/a", "pocket/d"], "There is no base 'pocket/d'"),
    "unknown way": (["pocket/a", "pocket/b", "--by", "eye"], "`by`"),
    "misspelt option": (["pocket/a", "pocket/b", "--sed", "1"], "unknown option '--sed': did you mean '--seed'?"),
    "too few inputs": (["pocket/a", "pocket/b", "--inputs", "1"], "`inputs` is 1"),
    "logits of two vocabularies": (["pocket/a", "pocket/moral-a", "--by=logits"], "different vocabularies"),
    "too few tokens": (["pocket/a", "pocket/b", "--by=logits", "--inputs=2"], "raise `inputs`"),
}


@cases("name", MISTAKES)
def test_mistake_is_one_line(name, capsys):
    words, reported = MISTAKES[name]
    with pytest.raises(SystemExit) as stop:
        compare(*words)
    assert stop.value.code == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("warning:")]
    assert line.startswith("error: ")
    assert reported in line
