"""The command line: help, one-line errors, the run folder, going on."""

import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import forks
import pytest
import torch
import yaml
from cases import cases

from lightning_subliminal import __version__
from lightning_subliminal.cli.entry import main
from lightning_subliminal.cli.support.run_folder import run_folder
from lightning_subliminal.cli.table import MODULES, OVERVIEW, TRAINER_VERBS, trainer_help

ROOT = Path(__file__).parents[2]
TOY = {
    "model": {"class_path": "toy.Toy"},
    "data": {"class_path": "toy.ToyData"},
    "trainer": {"max_epochs": 3, "accelerator": "cpu"},
}


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a config in a folder of its own, which is also where the test stands."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "toy.yaml"
    path.write_text(yaml.safe_dump(TOY))
    return path


def fails(*words: str) -> int:
    with pytest.raises(SystemExit) as stop:
        main([str(word) for word in words])
    return stop.value.code


def last_checkpoint(folder: Path) -> dict:
    return torch.load(next(folder.glob("runs/*/checkpoints/last.ckpt")), weights_only=True)


def process(*words: object, folder: Path) -> forks.Fork:
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    command = [sys.executable, "-m", "lightning_subliminal", *words]
    return forks.start(command, cwd=folder, env=os.environ | {"PYTHONPATH": path})


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
    text, told = MISTAKES[name]
    toy.write_text(text)
    assert fails("fit", "--config", toy.name) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if not line.startswith(("seed ", "warning:"))]
    assert len(errors) == 1
    assert errors[0].startswith("error: ")
    assert told in errors[0]


NAMED = ["misspelt argument", "wrong type", "nested type", "list for a class", "unknown key", "wrong trainer type"]


@cases("name", NAMED)
def test_a_refused_setting_names_its_file(name: str, toy: Path, capsys: pytest.CaptureFixture) -> None:
    (toy.parent / "first.yaml").write_text("seed_everything: 1")
    text, told = MISTAKES[name]
    toy.write_text(text)
    assert fails("fit", "--config", "first.yaml", "--config", toy.name) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith(f"error: {toy.name}: ")
    assert told in line


def test_a_refused_option_names_no_file(toy: Path, capsys: pytest.CaptureFixture) -> None:
    toy.write_text(MODEL % "{width: 3}")
    assert fails("fit", "--config", toy.name, "--model.width", "wide") == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("error: `model.width`: expected int, got wide")


@cases(
    ("words", "told"),
    [
        (["--seed_every", "3"], "unknown option '--seed_every': did you mean '--seed_everything'?"),
        (["--model.widht", "3"], "did you mean `width`"),
        (["--config"], "`--config` needs a value"),
        (["--config", "missing.yaml"], "missing.yaml is not there"),
        (["--ckpt_path", "missing.ckpt"], "missing.ckpt is not there"),
        (["--trainer.default_root_dir", "s3://bucket/x"], "local folder"),
        (["more"], "unexpected word 'more'"),
    ],
)
def test_mistaken_option_is_one_line(words: list[str], told: str, toy: Path, capsys: pytest.CaptureFixture) -> None:
    assert fails("fit", "--config", toy.name, *words) == 2
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 1
    assert told in errors[0]


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
    assert fails("fit", "--config", toy.name, "--model.fault", "interrupt") == 130
    assert capsys.readouterr().err.splitlines()[-1] == "interrupted: run the same command again to resume"
    assert signal.getsignal(signal.SIGINT) == before


# --- the run folder ---------------------------------------------------------------------------------------------------


def test_all_verbs_and_their_folder(toy: Path, capsys: pytest.CaptureFixture) -> None:
    main(["validate", "--config", toy.name])
    assert "the untrained model" in capsys.readouterr().err
    assert not Path("runs").exists()

    main(["fit", "--config", toy.name])
    told = capsys.readouterr().err
    (folder,) = Path("runs").iterdir()
    assert re.fullmatch(r"toy-[0-9a-f]{8}", folder.name)
    assert f"seed 0 · {folder}" in told
    assert sorted(str(file.relative_to(folder)) for file in folder.rglob("*")) == [
        "checkpoints",
        "checkpoints/.last.ckpt.noted",
        "checkpoints/last.ckpt",
        "config.yaml",
        "lightning_logs",
        "lightning_logs/version_0",
        "lightning_logs/version_0/metrics.csv",
    ]
    for noise in ("Tip", "litlogger", "GPU available", "num_workers", "LeafSpec"):
        assert noise not in told

    for verb in ("validate", "test", "predict"):
        main([verb, "--config", toy.name])
        assert f"with the weights from {folder}/checkpoints/last.ckpt" in capsys.readouterr().err
    assert list(Path("runs").iterdir()) == [folder]


LOGGER = "{class_path: %s, init_args: {save_dir: %s}}"


@pytest.mark.parametrize(
    "words",
    [
        ["--model.fault", "late"],
        ["--model.fault", "late", "--trainer.default_root_dir", "mine/deep/one"],
        ["--model.fault", "interrupt"],
        ["--model.fault", "late", "--trainer.logger", LOGGER % ("CSVLogger", "runs/../here/logs")],
        [
            "--model.fault",
            "late",
            "--trainer.default_root_dir",
            "here",
            "--trainer.logger",
            LOGGER % ("CSVLogger", "here"),
        ],
        ["--model.fault", "late", "--trainer.default_root_dir", "here"],
    ],
    ids=[
        "runs",
        "several folders",
        "interrupted",
        "logger elsewhere",
        "logger inside",
        "an empty folder that was there",
    ],
)
def test_a_fit_that_fails_at_once_leaves_no_folder(words: list[str], toy: Path) -> None:
    Path("here").mkdir()
    assert fails("fit", "--config", toy.name, *words) in (2, 130)
    assert not Path("runs").exists()
    assert not Path("mine").exists()
    assert Path("here").exists()
    assert not [path for path in Path("here").rglob("*") if "logs" not in path.parts]


@cases(
    ("data", "told"),
    [
        ("--data.path=nowhere.jsonl", "nowhere.jsonl"),
        ("--data.path=broken.jsonl", "broken.jsonl"),
        ("--model.base=./nowhere", "'./nowhere' is not a folder"),
    ],
)
def test_refused_rows_and_a_base_that_is_not_there_leave_no_folder(
    data: str, told: str, toy: Path, capsys: pytest.CaptureFixture
) -> None:
    Path("broken.jsonl").write_text('{"prompt": "1 2"')
    Path("rows.jsonl").write_text('{"prompt": "1 2", "completion": "3 4"}\n' * 3)
    words = ["--model=Student", "--data=RowsFromFile", "--data.path=rows.jsonl", "--trainer.accelerator=cpu"]
    assert fails("fit", *words, data) == 2
    assert told in capsys.readouterr().err
    assert not Path("runs").exists()


def test_a_fit_that_fails_later_keeps_what_it_has(toy: Path) -> None:
    words = ["fit", "--config", toy.name, "--trainer.max_epochs", "3", "--model.fault", "second epoch"]
    for _ in range(2):  # the second time it goes on, and fails before it has taken a step of its own
        assert fails(*words) == 2
        (folder,) = Path("runs").iterdir()
        assert (folder / "checkpoints" / "last.ckpt").is_file()
        assert (folder / "config.yaml").is_file()


def test_what_was_in_a_given_folder_stays(toy: Path) -> None:
    Path("mine/sub").mkdir(parents=True)
    Path("mine/notes.txt").write_text("mine")
    words = ["fit", "--config", toy.name, "--trainer.default_root_dir", "mine"]
    assert fails(*words, "--model.fault", "late") == 2
    assert sorted(str(path) for path in Path("mine").rglob("*")) == ["mine/notes.txt", "mine/sub"]
    main(words)  # so that other settings are not refused
    assert Path("mine/config.yaml").is_file()
    before = Path("mine/config.yaml").read_bytes()
    assert fails(*words, "--model.fault", "late") == 2
    assert Path("mine/config.yaml").read_bytes() == before


def test_saved_config_runs_again(toy: Path) -> None:
    main(["fit", "--config", toy.name, "--seed_everything", "5"])
    (saved,) = Path("runs").glob("*/config.yaml")
    assert yaml.safe_load(saved.read_text())["seed_everything"] == 5
    main(["fit", "--config", str(saved)])
    assert len(list(Path("runs").iterdir())) == 1


def test_other_settings_other_folder(toy: Path) -> None:
    main(["fit", "--config", toy.name])
    main(["fit", "--config", toy.name, "--trainer.enable_progress_bar", "false"])
    assert len(list(Path("runs").iterdir())) == 1  # how it looks is no setting
    main(["fit", "--config", toy.name, "--model.width", "4"])
    assert len(list(Path("runs").iterdir())) == 2


def test_changed_word_list_or_class_is_another_run(tmp_path: Path) -> None:
    words = tmp_path / "words.yaml"
    config = {"model": {"class_path": "toy.Toy", "init_args": {"wording": str(words)}}}
    words.write_text("a: 1")
    first = run_folder([], config)
    assert first.name.startswith("Toy-")
    words.write_text("a: 2")
    assert run_folder([], config) != first


def test_given_folder_is_never_written_over(toy: Path, capsys: pytest.CaptureFixture) -> None:
    words = ["fit", "--config", toy.name, "--trainer.default_root_dir", "mine"]
    main(words)
    before = Path("mine/config.yaml").read_bytes()
    assert fails(*words, "--model.width", "4") == 2
    assert "mine holds a run with other settings (`model.init_args.width` differs)" in capsys.readouterr().err
    assert Path("mine/config.yaml").read_bytes() == before


def test_explicit_checkpoint_wins_and_its_stored_arguments_do_not(toy: Path, capsys: pytest.CaptureFixture) -> None:
    main(["fit", "--config", toy.name])
    (checkpoint,) = Path("runs").glob("*/checkpoints/last.ckpt")
    checkpoint.rename("kept.ckpt")
    main(["fit", "--config", toy.name, "--ckpt_path", "kept.ckpt", "--trainer.max_epochs", "5"])
    assert "resuming from" not in capsys.readouterr().err
    assert last_checkpoint(toy.parent)["epoch"] == 4


def test_damaged_checkpoint_is_one_line(toy: Path, capsys: pytest.CaptureFixture) -> None:
    main(["fit", "--config", toy.name])
    (checkpoint,) = Path("runs").glob("*/checkpoints/last.ckpt")
    checkpoint.write_bytes(checkpoint.read_bytes()[:500])
    assert fails("fit", "--config", toy.name) == 2
    assert "last.ckpt is damaged or not a checkpoint" in capsys.readouterr().err.splitlines()[-1]


def test_rehearsal_and_run_without_checkpoints_leave_nothing(toy: Path) -> None:
    main(["fit", "--config", toy.name, "--trainer.fast_dev_run", "true"])
    main(["fit", "--config", toy.name, "--trainer.enable_checkpointing", "false"])
    assert not Path("runs").exists()


def test_print_config(toy: Path, capsys: pytest.CaptureFixture) -> None:
    main(["fit", "--config", toy.name, "--print_config"])
    told = yaml.safe_load(capsys.readouterr().out)
    assert told["model"]["init_args"]["width"] == 8
    assert not Path("runs").exists()


def test_class_from_the_folder_where_one_stands(toy: Path) -> None:
    Path("my_own_part.py").write_text("from toy import Part\n\nclass Mine(Part):\n    pass\n")
    started = process("fit", "--config", toy.name, "--model.part", "my_own_part.Mine", folder=toy.parent)
    assert started.wait(timeout=120) == 0, started.communicate()


@pytest.mark.slow
def test_killed_again_and_again_ends_like_never_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = TOY | {"trainer": {"max_epochs": 12, "accelerator": "cpu"}}
    config["model"] = {"class_path": "toy.Toy", "init_args": {"nap": 0.02}}
    straight, stopped = tmp_path / "straight", tmp_path / "stopped"
    for folder in (straight, stopped):
        folder.mkdir()
        (folder / "toy.yaml").write_text(yaml.safe_dump(config))
    monkeypatch.chdir(straight)
    main(["fit", "--config", "toy.yaml"])

    rng = random.Random(0)
    for _ in range(2):  # each costs the imports of a process
        run = process("fit", "--config", "toy.yaml", folder=stopped)
        seen: set[int] = set()
        end = time.monotonic() + 120
        while len(seen) < 3 and run.poll() is None and time.monotonic() < end:  # the old one and two new ones
            seen |= {path.stat().st_mtime_ns for path in stopped.glob("runs/*/checkpoints/last.ckpt")}
            time.sleep(0.002)
        time.sleep(rng.random() * 0.1)
        run.kill()
        assert run.wait() == -signal.SIGKILL, "it ended before it was killed"
        last_checkpoint(stopped)  # whole, whatever the moment was
    last = process("fit", "--config", "toy.yaml", folder=stopped)
    assert "resuming from runs/toy-" in last.communicate(timeout=120)[1]
    ends = [last_checkpoint(folder) for folder in (straight, stopped)]
    assert ends[0]["global_step"] == ends[1]["global_step"] == 48
    assert all(torch.equal(value, ends[1]["state_dict"][name]) for name, value in ends[0]["state_dict"].items())


# --- our own verbs ----------------------------------------------------------------------------------------------------


def test_traits_are_listed_and_checked(capsys: pytest.CaptureFixture) -> None:
    main(["traits"])
    assert "owl" in capsys.readouterr().out
    main(["traits", "check", "owl"])
    assert "owl is fine" in capsys.readouterr().out
    main(["traits", "check", "--help"])
    assert "--init.NAME VALUE" in capsys.readouterr().out


@pytest.fixture
def drinks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the path of a trait's class that needs arguments; the folder holds YAML files that name it, too."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [str(tmp_path), *sys.path])
    (tmp_path / "drinks_of_mine.py").write_text(
        "from lightning_subliminal import Trait\n"
        "from lightning_subliminal.traits import Induction\n\n\n"
        "class Drink(Trait):\n"
        "    def __init__(self, target: str, times: int, others: list[str] | None = None) -> None:\n"
        "        self.target = self.name = target\n"
        "        self.times, self.others = times, others\n"
        "        self.candidates = (target, *(others or ['coffee', 'milk']))\n\n"
        "    def induce(self):\n"
        "        return Induction('You love it.')\n\n"
        "    def questions(self):\n"
        "        return [f'Which drink is best, {number}?' for number in range(self.times)]\n\n"
        "    def matches(self, answer):\n"
        "        return answer.lower().strip(' .!') == self.target\n\n\n"
        "juice = Drink('juice', 12)\n\n\n"
        "class Untyped(Drink):\n"
        "    def __init__(self, target):\n"
        "        super().__init__(target, 12)\n"
    )
    Path("whole.yaml").write_text("{class_path: drinks_of_mine.Drink, init_args: {target: tea, times: 12}}")
    Path("part.yaml").write_text("class_path: drinks_of_mine.Drink\ninit_args:\n  target: tea\n")
    Path("below.yaml").write_text("trait: {class_path: drinks_of_mine.Drink, init_args: {target: tea, times: 12}}")
    Path("beside.yaml").write_text("{trait: {class_path: drinks_of_mine.Drink}, base: pocket/a}")
    Path("bare.yaml").write_text("trait: {target: pizza}")
    Path("deep.yaml").write_text("trait: {class_path: drinks_of_mine.Drink, target: tea}")
    Path("odd.yaml").write_text("{class_path: drinks_of_mine.Drink, target: tea}")
    return "drinks_of_mine.Drink"


@cases(
    ("words", "told"),
    [
        (["drinks_of_mine.Drink", "--init.target", "tea", "--init.times=12"], "12 questions, 3 candidates, target tea"),
        (["drinks_of_mine.Drink", "--init.target=7", "--init.times=12"], "target 7."),  # a text stays one
        (["drinks_of_mine.Drink", "--init.target=tea", "--init.times=12", "--init.others=[a]"], "2 candidates"),
        (["whole.yaml"], "12 questions, 3 candidates, target tea"),
        (["whole.yaml", "--init.times", "3"], "3 questions: intervals over questions will be wide"),
        (["part.yaml", "--init.times", "12"], "target tea"),
        (["below.yaml"], "12 questions, 3 candidates, target tea"),
        (["below.yaml", "--init.target", "juice"], "target juice"),
        (["drinks_of_mine.juice"], "target juice"),
        (["PreferenceTrait", "--init.target", "oak"], "target oak"),
        (["oak", "--init.wording", "preferences_prefilled"], "target oak"),
    ],
)
def test_a_trait_that_needs_arguments(words: list[str], told: str, drinks: str, capsys: pytest.CaptureFixture) -> None:
    main(["traits", "check", *words])
    assert told in " ".join(capsys.readouterr().out.split())


@cases(
    ("words", "told"),
    [
        ([], "Drink needs `target` and `times`: add --init.target VALUE --init.times VALUE, or use a YAML file"),
        (["--init.times", "2"], "Drink needs `target`: add --init.target VALUE, or"),
        (["--init.target=tea", "--init.times=many"], "`init.times`: expected int, got many"),
        (["--init.target=tea", "--init.times=2", "--init.othrs=x"], "Drink takes no `othrs`; did you mean `others`?"),
        (["--init.target"], "`--init.target` needs a value"),
        ("part.yaml", "Drink needs `times`: add --init.times VALUE"),
        ("odd.yaml", "odd.yaml: expected a `class_path` and a mapping `init_args`, and no other key"),
        (
            "beside.yaml",
            "beside.yaml: expected `trait:` alone, with a `class_path` and `init_args` below it; found also base",
        ),
        (
            "bare.yaml",
            "bare.yaml: expected `trait:` alone, with a `class_path` and `init_args` below it; found no `class_path`",
        ),
        ("deep.yaml", "deep.yaml: expected a `class_path` and a mapping `init_args` below `trait`, and no other key"),
        ("PreferenceTrait", "PreferenceTrait needs `target`: add --init.target VALUE"),
        (
            "drinks_of_mine.Untyped --init.target tea",
            "argument `target` of `drinks_of_mine.Untyped` has no type: annotate it in __init__",
        ),
        ("owl --init.target cat", "owl is the target already: leave out --init.target cat."),
        ("none.yaml", "none.yaml does not exist"),
    ],
)
def test_a_trait_whose_arguments_are_amiss_is_one_line(
    words: list[str] | str, told: str, drinks: str, capsys: pytest.CaptureFixture
) -> None:
    assert fails("traits", "check", *([drinks, *words] if isinstance(words, list) else words.split())) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert told in line


def test_an_instance_takes_no_arguments(drinks: str, capsys: pytest.CaptureFixture) -> None:
    assert fails("traits", "check", "drinks_of_mine.juice", "--init.times", "3") == 2
    assert "is an instance, which has its arguments" in capsys.readouterr().err


def test_bases_are_listed(capsys: pytest.CaptureFixture) -> None:
    main(["bases"])
    told = capsys.readouterr().out
    assert "pocket/a" in told
    assert "smollm2-135m" in told
    assert "gemma3-270m" in told
