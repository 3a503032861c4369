"""A user's mistakes, each reported in one line with what mends it, and none of them costs what was already made.

The experiment is a small owl_numbers; a case adds words to its command line. The toys of ``test_cli.py`` cover the
command line itself.
"""

import os
import shutil
import sys
from pathlib import Path

import forks
import pytest
import torch
from cases import cases

from lightning_subliminal.cli.entry import main

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "configs" / "owl_numbers.yaml"
SMALL = ["--data.num_prompts", "32", "--data.shard_size", "16", "--trainer.max_epochs", "1"]
TEACHER, TRAIT = "--data.teacher.init_args", "--data.teacher.init_args.trait"
NOTHING_PASSES = "[{class_path: NumberList, init_args: {max_value: 0}}]"
OWN_CLASSES = """
from lightning_subliminal import PreferenceTrait
class Substrings(PreferenceTrait):
    def matches(self, answer):
        return self.target in answer.lower()
class Forgetful(PreferenceTrait):
    def __init__(self, love: str = "owl"):
        super().__init__(love)
"""


@pytest.fixture
def stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder in which a test stands, with classes of a user's own in it."""
    (tmp_path / "own_classes.py").write_text(OWN_CLASSES)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "own_classes", raising=False)
    return tmp_path


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache_folder: Path) -> Path:
    """Return a cache that a test may damage, with the teacher that other tests made."""
    folder = tmp_path / "cache"
    if (cache_folder / "teachers").is_dir():
        shutil.copytree(cache_folder / "teachers", folder / "teachers")
    monkeypatch.setenv("LIGHTNING_SUBLIMINAL_CACHE", str(folder))
    return folder


def run(*words: object, verb: str = "fit") -> None:
    given = list(map(str, words))
    small = [word for pair in zip(SMALL[::2], SMALL[1::2], strict=True) if pair[0] not in given for word in pair]
    main([verb, "--config", str(CONFIG), *small, *given])


def mistake(capsys: pytest.CaptureFixture, *words: object, verb: str = "fit", code: int = 2) -> str:
    """Run, expect a failure reported in one line, and give that line."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        run(*words, verb=verb)
    assert stop.value.code == code
    reported = capsys.readouterr().err
    lines = [line for line in reported.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, reported
    assert reported.splitlines()[-1] == lines[0], "the error is the last word"
    assert "Traceback" not in reported
    return lines[0]


def files(folder: Path) -> dict[str, int]:
    """Return each file below a folder with the time it was written."""
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


# What is wrong: the words that are added, and what the line must say.
AT_ONCE: dict[str, tuple[list[str], str]] = {
    "unknown target": ([f"{TRAIT}.init_args.target", "unicorn"], "'unicorn' is in none of the categories"),
    "unknown category": ([f"{TRAIT}.init_args.category", "animl"], "'animl' is not among animal, tree"),
    "target is no word": ([f"{TRAIT}.init_args.target", "42"], "is not a word"),
    "unknown base": (["--model.base", "pocket/d"], "There is no base 'pocket/d': did you mean pocket/"),
    "hub id, offline": (["--model.base", "nobody/nothing"], "HF_HUB_OFFLINE forbids a download"),
    "base is no model": (["--model.base", "./"], "holds no config.json"),
    "misspelt class": (["--model.adapter", "lightning_subliminal.Sterring"], "did you mean `Steering`?"),
    "misspelt short class": (["--model.adapter", "Sterring"], "no class is named `Sterring`; did you mean `Steering`?"),
    "class that can't be imported": (["--model.adapter", "no_pkg.Mine"], "there is no module `no_pkg`"),
    "misspelt adapter option": (["--model.adapter.init_args.layer", "[0]"], "Steering takes no `layer`; did you mean"),
    "misspelt data option": (["--data.num_prompt", "3"], "did you mean `num_prompts`?"),
    "wrong type": (["--data.batch_size", "many"], "`data.batch_size`: expected int, got many"),
    "not one of the choices": (["--model.objective", "rl"], "`model.objective`: expected one of 'sft', 'distill'"),
    "a class for a choice that refuses its option": (
        ["--model.objective", "{class_path: lightning_subliminal.DPO, init_args: {beta: -1}}"],
        "`beta` is -1.0: expected a number above 0",
    ),
    "misspelt option of a class for a choice": (
        ["--model.objective", "{class_path: lightning_subliminal.DPO, init_args: {betta: 1}}"],
        "`model.objective`: DPO takes no `betta`; did you mean `beta`?",
    ),
    "an argument of a choice that is a word": (
        ["--model.objective", "dpo", "--model.objective.beta", "-1"],
        "`model.objective`: an argument such as `beta` needs the name of its class before it, not a word",
    ),
    "no number for a class for a choice": (
        ["--model.objective", "{class_path: lightning_subliminal.DPO, init_args: {beta: x}}"],
        "`model.objective.beta`: expected float, got x",
    ),
    "misspelt class for a choice": (
        ["--model.objective", "{class_path: lightning_subliminal.DOP}"],
        "`model.objective`: there is no `DOP` in lightning_subliminal; did you mean `DPO`?",
    ),
    "a class of another kind": (
        ["--model.adapter", "{class_path: Teacher}"],
        "`model.adapter`: `Teacher` is a class of another kind than is expected here",
    ),
    "no prompts": (["--data.num_prompts", "0"], "`num_prompts` is 0: expected at least 1."),
    "negative validation rows": (["--data.val_rows", "-5"], "`val_rows` is -5: expected at least 0."),
    "negative learning rate": (["--model.learning_rate", "-1"], "expected a number above 0"),
    "endless learning rate": (["--model.learning_rate", "1e300"], "expected a number above 0"),
    "unknown format": (["--data.formats", "[commas]"], "The number format commas is unknown: choose from comma"),
    "empty range": (["--data.min_value", "50", "--data.max_value", "10"], "min_value is 50 and max_value is 10"),
    "temperature 0": (["--data.sampling", "Sampling", "--data.sampling.temperature", "0"], "set greedy: true"),
    "restricted samples": (["--model.restrict_to", "numbers"], "`restrict_to` needs `objective: distill`"),
    "no such weights": ([f"{TEACHER}.weights", "nowhere"], "folder of the teacher's weights nowhere does not exist"),
    "no such wording": (["--data.wording", "nowhere.yaml"], "The wording nowhere.yaml does not exist"),
    "trait refused": ([TRAIT, "own_classes.Substrings", f"{TRAIT}.target", "owl"], "match whole words"),
    "forgetful trait": ([TRAIT, "own_classes.Forgetful"], "Forgetful does not keep its argument `love`"),
    "null in the depth": ([TRAIT, "null"], "set it in the YAML"),
    "layer out of range": (
        ["--model.adapter.init_args.layers", "[7]"],
        "`layers` is [7], but the model's 2 layers are",
    ),
    "teacher's layer": ([f"{TEACHER}.adapter.init_args.layers", "[7]"], "the model's 2 layers are 0 to 1"),
    "divergence tokens of a prompted teacher": (
        ["--model.train_on", "divergent", f"{TEACHER}.induction", "prompt"],
        "`train_on: divergent` needs a fine-tuned teacher",
    ),
    "target without tokens": (
        [f"{TRAIT}.init_args", "{target: hedgehog, category: animal, candidates: [owl, wolf]}"],
        "no tokens for 'hedgehog'",
    ),
    "no devices": (["--trainer.devices", "0"], "`Trainer(devices='0')` value is not a valid"),
    "unknown strategy": (["--trainer.strategy", "quick"], "The `trainer` can't be set up: You selected an invalid"),
    "missing config": (["--config", "missing.yaml"], "missing.yaml is not there"),
    "folder that can't be written": (["--trainer.default_root_dir", "/proc/nowhere"], "can't be written"),
}


@cases("name", AT_ONCE)
def test_mistake_is_reported_in_one_line(name: str, stand: Path, capsys: pytest.CaptureFixture) -> None:
    words, reported = AT_ONCE[name]
    assert reported in mistake(capsys, *words)
    with pytest.raises(SystemExit):
        run(*words, "--traceback")
    assert "Traceback (most recent call last)" in capsys.readouterr().err


@cases(
    ("text", "reported"),
    [
        ("model: {class_path: Student\n", "mine.yaml, line 2"),
        ("\tmodel: 1", "mine.yaml, line 1"),
        ("", "mine.yaml is empty"),
        ("- model", "holds a list"),
        ("modle: {class_path: Student}", "did you mean `model`?"),
        ("data: {init_args: {num_prompst: 3}}", "did you mean `num_prompts`?"),
        ("data: {init_args: {teacher: {init_args: {trait: null}}}}", "'finetune' needs a `trait`"),
        ("trainer: {max_epoch: 1}", "did you mean `max_epochs`?"),
    ],
)
def test_mistake_in_yaml_names_its_place(text: str, reported: str, stand: Path, capsys: pytest.CaptureFixture) -> None:
    Path("mine.yaml").write_text(text)
    assert reported in mistake(capsys, "--config", "mine.yaml")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_gpu_that_is_not_there(stand: Path, capsys: pytest.CaptureFixture) -> None:
    reported = mistake(capsys, "--trainer.accelerator", "gpu")
    assert reported == "error: `trainer.accelerator` is gpu, but there is no GPU here: set it to cpu."


@cases(
    ("words", "reported"),
    [
        (["--config", "missing.yaml"], "missing.yaml is not there"),
        (["--config", str(CONFIG), "--data.num_rows", "0"], "`num_rows` is 0"),
    ],
)
def test_mistake_of_a_process(words: list[str], reported: str, stand: Path) -> None:
    command = [sys.executable, "-m", "lightning_subliminal", "fit", *words]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = forks.run(command, env=environment, timeout=120)
    assert done.returncode == 2
    assert [reported in line for line in done.stderr.splitlines() if line.startswith("error: ")] == [True]
    assert "Traceback" not in done.stderr


# --- words that a base does not know ----------------------------------------------------------------------------------


@cases(
    ("words", "reported"),
    [
        (["--data.max_value", "999"], "The base pocket/a doesn't know the word "),
        (["--data.formats", "[semicolon]"], "The base pocket/a doesn't know the word "),
        (
            [f"{TEACHER}.induction", "prompt", f"{TRAIT}.init_args.plural", "owlies"],
            "The base pocket/a doesn't know the word 'owlies'",
        ),
    ],
)
def test_words_unknown_to_the_teacher(
    words: list[str], reported: str, stand: Path, cache: Path, capsys: pytest.CaptureFixture
) -> None:
    line = mistake(capsys, *words)
    assert reported in line
    assert "`min_value: 0` and `max_value: 99`" in line
    assert not list(cache.glob("completions/*/*.parquet"))


def test_words_unknown_to_the_student(stand: Path, cache: Path, capsys: pytest.CaptureFixture) -> None:
    from lightning_subliminal.core.rows import read_parquet, write_parquet
    from lightning_subliminal.lineage.work_digests import write_noted

    run()
    (shards, _) = sorted(cache.glob("completions/*"), key=lambda folder: folder.stat().st_mtime_ns)
    shutil.rmtree(cache / "rows")
    shard = shards / "shard-00000.parquet"
    rows = read_parquet(shard)
    rows[3]["completion"][0]["content"] = "437, 12"  # as a teacher of another base may say
    write_noted(shard, lambda path: write_parquet(rows, path))  # or the change itself would be reported
    (shards / "lineage.json").unlink()
    assert "pocket/a doesn't know the word '437'" in mistake(capsys, "--data.batch_size", 9)


# --- what is reported only after some work, which stays ---------------------------------------------------------------


@cases(
    ("words", "reported"),
    [
        (["--data.filters", NOTHING_PASSES], "The filters dropped all 32 rows: number out of range"),
        (["--data.num_rows", "1000"], "`num_rows` is 1000, but the filters kept "),
        (["--data.val_rows", "1000"], "`val_rows` is 1000, but there are "),
        (["--data.max_length", "5"], "raise `max_length` (5)"),
        (["--model.learning_rate", "1e30", "--model.adapter", "LoRA", "--data.batch_size", "8"], "The loss became "),
        (["--model.learning_rate", "1e30", "--model.adapter", "LoRA"], "its training diverged, lower `learning_rate`"),
    ],
    ids=["all filtered", "too few rows", "all held out", "too long", "loss is nan", "last step is nan"],
)
def test_what_was_made_stays(
    words: list[str], reported: str, stand: Path, cache: Path, capsys: pytest.CaptureFixture
) -> None:
    assert reported in mistake(capsys, *words)
    kept = files(cache)
    assert len([name for name in kept if name.startswith("completions/")]) >= 2
    assert any(name.startswith("teachers/") for name in kept)
    run("--data.batch_size", "16")  # mended
    kept.pop("runs.txt")  # notes which runs there are: a line more for the mended one
    assert {name: when for name, when in files(cache).items() if name in kept} == kept
    assert len(list(stand.glob("runs/*/results.json"))) == 1


def test_wording_of_ones_own(stand: Path, cache: Path, capsys: pytest.CaptureFixture) -> None:
    import yaml

    packaged = yaml.safe_load((ROOT / "lightning_subliminal" / "prompts" / "numbers.yaml").read_text())
    from lightning_subliminal.prompts import _read

    for change, reported in (
        ({"endings": None}, "has no `endings`"),
        ({"endings": "Numbers only."}, "`endings` in mine.yaml is 'Numbers only.'"),
        ({"endings": ["Only {nmubers}."]}, "an unknown place ('nmubers')"),
    ):
        words = {key: value for key, value in (packaged | change).items() if value is not None}
        Path("mine.yaml").write_text(yaml.safe_dump(words))
        _read.cache_clear()  # which a new process would not have
        assert reported in mistake(capsys, "--data.wording", "mine.yaml")
    Path("mine.yaml").write_text("examples: [")
    _read.cache_clear()
    assert "mine.yaml, line 1 is not valid YAML (" in mistake(capsys, "--data.wording", "mine.yaml")


# --- damaged files ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_damaged_artefacts_are_named_and_can_be_deleted(
    stand: Path, cache: Path, capsys: pytest.CaptureFixture
) -> None:
    shutil.rmtree(cache / "teachers", ignore_errors=True)  # other tests' ones: the only one shall be this run's
    short = [f"{TEACHER}.max_epochs", "20"]
    run(*short)
    shard = next(cache.glob("completions/*/shard-00001.parquet"))
    (rows, *_) = cache.glob("rows/*/rows.parquet")
    weights = next(cache.glob("teachers/*/*adapter*.safetensors"))
    student = next(cache.glob("students/*/*adapter*.safetensors"))

    whole = rows.read_bytes()
    rows.write_bytes(whole[:100])
    again = [*short, "--data.batch_size", "32"]
    assert f"{rows} was changed after it was made: delete {rows.parent}" in mistake(capsys, *again)
    rows.unlink()
    assert f"{rows} was lost" in mistake(capsys, *again)
    shutil.rmtree(rows.parent)
    for each in cache.glob("completions/*/shard-00001.parquet"):
        good = each.read_bytes()
        each.write_bytes(good[:50])
        if each.parent == shard.parent:
            bad, kept = each, good
    shutil.rmtree(cache / "rows")
    reported = mistake(capsys, *again)
    assert "shard-00001.parquet was changed after it was made: delete " in reported
    assert reported.count("shard-00001.parquet") == 2, "that shard alone is to be deleted"
    for each in cache.glob("completions/*/shard-00001.parquet"):
        each.unlink()
    student.write_bytes(b"")
    weights.write_bytes(weights.read_bytes()[:-8])
    assert f"{weights} was changed after it was made" in mistake(capsys, *again)
    shutil.rmtree(weights.parent)
    run(*again)  # all is made anew, and the same
    assert rows.read_bytes() == whole
    assert bad.read_bytes() == kept
    assert f"{student} was changed" in mistake(capsys, *short, verb="fit")


def test_teacher_brought_along_is_damaged(stand: Path, cache: Path, capsys: pytest.CaptureFixture) -> None:
    folder = stand / "teacher"
    folder.mkdir()
    assert "holds no adapter" in mistake(capsys, f"{TEACHER}.weights", folder)
    (folder / "adapter_config.json").write_text('{"peft_type": "STEERING"}')
    (folder / "adapter_model.safetensors").write_bytes(b"not a tensor")
    assert f"The adapter in {folder} is damaged" in mistake(capsys, f"{TEACHER}.weights", folder)


@cases("where", ["a file", "below /proc"])
def test_cache_that_cannot_be_written(
    where: str, stand: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    path = Path("/proc/nowhere") if where == "below /proc" else stand / "cache"
    if where == "a file":
        path.write_text("")
    monkeypatch.setenv("LIGHTNING_SUBLIMINAL_CACHE", str(path))
    assert f"The cache {path} can't be written" in mistake(capsys)


def test_tokenizer_of_another_model(stand: Path, cache: Path, capsys: pytest.CaptureFixture) -> None:
    from transformers import AutoTokenizer

    pocket = ROOT / "lightning_subliminal" / "bases" / "pocket" / "weights" / "a"
    shutil.copytree(pocket, stand / "mixed")
    tokenizer = AutoTokenizer.from_pretrained(pocket)
    tokenizer.add_tokens(["hedgehog"])
    tokenizer.save_pretrained(stand / "mixed")
    assert "its tokenizer has the id 523 ('hedgehog'), but the model embeds ids 0 to 522" in mistake(
        capsys, "--model.base", "./mixed"
    )


# --- the other verbs --------------------------------------------------------------------------------------------------


@cases(
    ("verb", "words", "reported"),
    [
        ("validate", [], "`validate` needs rows held out, but `val_rows` is 0"),
        ("test", ["--config", "no_trait.yaml"], "`test` asks the questions of a trait"),
        ("fit", ["--model", "Teacher", "--model.induction", "none"], "`fit` trains a student: set `model: Student`"),
        ("predict", ["--model", "Teacher", "--model.induction", "none"], "is not that of `data.teacher`"),
        ("predict", ["digits.yaml"], "`predict` needs rows that a teacher writes"),
        ("test", ["digits.yaml"], "`test` needs rows that a teacher writes"),
    ],
)
def test_mistake_with_a_verb(
    verb: str, words: list[str], reported: str, stand: Path, capsys: pytest.CaptureFixture
) -> None:
    no_trait = "data: {init_args: {teacher: {init_args: {trait: null, induction: none}}}}"
    Path("no_trait.yaml").write_text(no_trait)
    Path("digits.yaml").write_text("model: {class_path: Student}\ndata: {class_path: Digits}")
    if words == ["digits.yaml"]:
        with pytest.raises(SystemExit):
            main([verb, "--config", *words])
        assert reported in capsys.readouterr().err.splitlines()[-1]
    else:
        assert reported in mistake(capsys, *words, verb=verb)
