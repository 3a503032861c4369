"""The command line: help and one-line errors."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cases import cases

from lightning_subliminal import __version__
from lightning_subliminal.cli.entry import main
from lightning_subliminal.cli.table import MODULES, OVERVIEW, TRAINER_VERBS, trainer_help

from .toys import fails

ROOT = Path(__file__).parents[2]

# --- help -------------------------------------------------------------------------------------------------------------


@cases("words", [[], ["--help"], ["-h"], ["help"]])
def test_overview_names_every_verb(words: list[str], capsys: pytest.CaptureFixture) -> None:
    main(words)
    text = capsys.readouterr().out
    assert text == OVERVIEW
    assert all(re.search(rf"^  {verb} ", text, re.MULTILINE) for verb in MODULES)


def test_environment_variables_are_behind_help_all(capsys: pytest.CaptureFixture) -> None:
    main(["--help=all"])
    text = capsys.readouterr().out
    assert text.startswith(OVERVIEW)
    for name in ("CACHE", "AUDIT_NOTES", "SIGNING_KEY", "TRACEBACK"):
        assert f"\n  LIGHTNING_SUBLIMINAL_{name} " in text
    assert "HF_HUB_OFFLINE" in text
    assert "OPENAI_API_KEY" in text


def test_version(capsys: pytest.CaptureFixture) -> None:
    main(["--version"])
    assert capsys.readouterr().out == f"lightning-subliminal {__version__}\n"


@cases("words", [["--help"], *([verb, "--help"] for verb in MODULES)])
def test_help_is_quick_and_imports_no_torch(words: list[str]) -> None:
    code = (
        "import sys, lightning_subliminal.cli.entry as cli\n"
        f"try: cli.main({words!r})\n"
        "except SystemExit as stop: assert not stop.code\n"
        "heavy = {'torch', 'lightning', 'transformers', 'numpy'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    begin = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - begin < 3  # a tenth of it when the machine is idle


def test_look_ups_import_no_torch(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"prompt": "4, 8", "completion": "15, 16"}\n')
    looked = [
        *(["runs", "list"], ["cache"], ["configs", "list"], ["traits", "list"], ["traits", "check", "owl"]),
        *(["data", "show", "rows.jsonl"], ["data", "stats", "rows.jsonl"], ["audit", "pocket/a"]),
        *(["lineage", "keygen", "key"], ["lineage", "add", "rows.jsonl", "--kind", "rows"]),
        *(["lineage", "sign", "rows.jsonl", "--key", "key"], ["lineage", "prove", "rows.jsonl"]),
        ["lineage", "export", "rows.jsonl", "--to", "croissant"],
    ]
    code = (
        "import sys, lightning_subliminal.cli.entry as cli\n"
        f"for words in {looked!r}:\n"
        "    cli.main(words)\n"
        "    heavy = {'torch', 'lightning', 'transformers'} & set(sys.modules)\n"
        "    assert not heavy, (words, heavy)"
    )
    env = os.environ | {"PYTHONPATH": str(ROOT), "LIGHTNING_SUBLIMINAL_CACHE": str(tmp_path / "cache")}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr


@cases("verb", TRAINER_VERBS)
def test_help_promises_only_options_that_exist(verb: str, capsys: pytest.CaptureFixture) -> None:
    main([verb, "--help=all"])
    every = capsys.readouterr().out
    promised = set(re.findall(r"--[a-z_]+(?:\.[a-z_]+)?", trainer_help(verb))) - {"--help"}
    fixed = {option for option in promised if not option.startswith(("--model.", "--data."))}
    assert fixed >= {"--config", "--print_config", "--ckpt_path", "--seed_everything", "--trainer.max_epochs"}
    assert not {option for option in fixed if not re.search(rf"{re.escape(option)}[ .\[]", every)}


# --- errors -----------------------------------------------------------------------------------------------------------

MODEL = "model: {class_path: toy.Toy, init_args: %s}\ndata: {class_path: toy.ToyData}\n"
MISTAKES = {
    "misspelt class": ("model: {class_path: toy.Tyo}\ndata: {class_path: toy.ToyData}", "did you mean `Toy`"),
    "misspelt module": ("model: {class_path: toyy.Toy}\ndata: {class_path: toy.ToyData}", "no module `toyy`"),
    "unknown short name": ("model: {class_path: Toyy}\ndata: {class_path: toy.ToyData}", "no class is named `Toyy`"),
    "no subclass": (
        "model: {class_path: torch.nn.Linear}\ndata: {class_path: toy.ToyData}",
        "is not a subclass of LightningModule",
    ),
    "Python's own": (
        "model: {class_path: pathlib.Path}\ndata: {class_path: toy.ToyData}",
        "may not be named in a config",
    ),
    "list for a class": ("model: [1]\ndata: {class_path: toy.ToyData}", "expected the class_path of a LightningModule"),
    "misspelt argument": (MODEL % "{widht: 3}", "`model`: Toy takes no `widht`; did you mean `width`"),
    "wrong type": (MODEL % "{width: wide}", "`model.width`: expected int, got wide"),
    "nested argument": (
        MODEL % "{part: {class_path: toy.Part, init_args: {sise: 1}}}",
        "`model.part`: Part takes no `sise`",
    ),
    "nested type": (MODEL % "{part: {class_path: toy.Part, init_args: {size: x}}}", "`model.part.size`: expected int"),
    "word for a class": (MODEL % "{part: owl}", "`model.part`: expected Part or null, got owl"),
    "no data": ("model: {class_path: toy.Toy}", "`data` is missing"),
    "unknown key": (MODEL % "{}" + "modle: 1", "no `modle`; did you mean `model`"),
    "unknown trainer key": (MODEL % "{}" + "trainer: {max_epoch: 1}", "did you mean `max_epochs`"),
    "wrong trainer type": (MODEL % "{}" + "trainer: {max_epochs: many}", "expected int or null, got many"),
    "unknown callback": (
        MODEL % "{}" + "trainer: {callbacks: [{class_path: RichProgresBar}]}",
        "did you mean `RichProg",
    ),
    "broken YAML": ("model: {class_path: toy.Toy\ndata: x", "toy.yaml, line 2"),
    "empty YAML": ("", "is empty"),
    "list YAML": ("- 1", "holds a list"),
    "mistake in the constructor": (MODEL % "{fault: input}", "error: `fault` is input: expected none; leave it out."),
    "mistake while training": (MODEL % "{fault: late}" + "trainer: {max_epochs: 1}", "error: late mistake: mend it."),
}


@cases("name", MISTAKES)
def test_mistake_is_one_line(name: str, toy: Path, capsys: pytest.CaptureFixture) -> None:
    text, reported = MISTAKES[name]
    toy.write_text(text)
    assert fails("fit", "--config", toy.name) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if not line.startswith(("seed ", "warning:"))]
    assert len(errors) == 1
    assert errors[0].startswith("error: ")
    assert reported in errors[0]


NAMED = ["misspelt argument", "wrong type", "nested type", "list for a class", "unknown key", "wrong trainer type"]


@cases("name", NAMED)
def test_a_refused_setting_names_its_file(name: str, toy: Path, capsys: pytest.CaptureFixture) -> None:
    (toy.parent / "first.yaml").write_text("seed_everything: 1")
    text, reported = MISTAKES[name]
    toy.write_text(text)
    assert fails("fit", "--config", "first.yaml", "--config", toy.name) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith(f"error: {toy.name}: ")
    assert reported in line


def test_a_refused_option_names_no_file(toy: Path, capsys: pytest.CaptureFixture) -> None:
    toy.write_text(MODEL % "{width: 3}")
    assert fails("fit", "--config", toy.name, "--model.width", "wide") == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("error: `model.width`: expected int, got wide")


@cases(
    ("words", "reported"),
    [
        (["--seed_every", "3"], "unknown option '--seed_every': did you mean '--seed_everything'?"),
        (["--model.widht", "3"], "did you mean `width`"),
        (["--config"], "`--config` needs a value"),
        (["--config", "missing.yaml"], "missing.yaml is not there"),
        (["--ckpt_path", "missing.ckpt"], "missing.ckpt is not there"),
        (["--trainer.default_root_dir", "s3://bucket/x"], "local folder"),
        (["more"], "unexpected word 'more'; see --help"),
        (["owl_numbers"], "unexpected word 'owl_numbers': did you mean `--config owl_numbers`?"),
    ],
)
def test_mistaken_option_is_one_line(words: list[str], reported: str, toy: Path, capsys: pytest.CaptureFixture) -> None:
    assert fails("fit", "--config", toy.name, *words) == 2
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 1
    assert reported in errors[0]


@cases("words", [["chek"], ["check"], ["check", "my_pkg_that_is_not.MyTrait"], ["check", "toy.Toy"]])
def test_mistake_in_own_verb_is_one_line(words: list[str], capsys: pytest.CaptureFixture) -> None:
    assert fails("traits", *words) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_surprise_is_one_line_and_its_trace_comes_when_asked_for(toy: Path, capsys: pytest.CaptureFixture) -> None:
    words = ["fit", "--config", toy.name, "--model.fault", "surprise"]
    assert fails(*words) == 1
    assert capsys.readouterr().err.splitlines()[-1] == "error: RuntimeError: boom (--traceback shows where)"
    assert fails(*words, "--traceback") == 1
    assert "Traceback (most recent call last)" in capsys.readouterr().err


def test_trace_comes_by_environment_variable(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setenv("LIGHTNING_SUBLIMINAL_TRACEBACK", "1")
    assert fails("fitt") == 2
    assert "Traceback" in capsys.readouterr().err


def test_interrupt_says_how_to_go_on(toy: Path, capsys: pytest.CaptureFixture) -> None:
    before = signal.getsignal(signal.SIGINT)
    last = "runs/one/checkpoints/last.ckpt"
    for fault, given, said in (
        ("interrupt", None, "starts again: no epoch of it was kept yet"),
        ("interrupt later", None, "goes on after the last epoch that was kept"),
        ("interrupt later", None, "goes on after the last epoch that was kept"),  # before the next one
        (
            "interrupt later",
            "mine.ckpt",
            f"starts again from mine.ckpt; to go on after the last epoch that was kept, set --ckpt_path {last}",
        ),
    ):
        words = ["fit", "--config", toy.name, "--model.fault", fault, "--trainer.max_epochs", "3"]
        words += ["--trainer.default_root_dir", "runs/one"]
        if given is not None:
            shutil.copy(last, given)
            words += ["--ckpt_path", given]
        assert fails(*words) == 130
        out, err = capsys.readouterr()
        assert out.splitlines()[-1] == f"stopped   this training {said}"
        assert err.splitlines()[-1] == "interrupted: run the same command again, which uses what was finished"
    assert signal.getsignal(signal.SIGINT) == before
