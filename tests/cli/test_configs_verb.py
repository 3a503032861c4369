"""Configs by name: found from anywhere, listed with their purpose, copied with what they refer to."""

import re
import shutil
from importlib import import_module
from pathlib import Path

import pytest
import yaml
from cases import cases

from lightning_subliminal.cli.entry import main
from lightning_subliminal.cli.verbs.configs import purpose, references
from lightning_subliminal.core.config import shipped
from lightning_subliminal.core.config.shipped import find_config, shipped_configs
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.lineage import environment

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.fixture(autouse=True)
def away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def mistake(words: list[str], capsys: pytest.CaptureFixture) -> str:
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert stop.value.code == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    return lines[0]


def scalars(value: object) -> list[str]:
    if isinstance(value, dict):
        value = list(value.values())
    return [each for part in value for each in scalars(part)] if isinstance(value, list) else [str(value)]


# --- found ------------------------------------------------------------------------------------------------------------


def test_every_config_has_a_name() -> None:
    expected = {path.relative_to(CONFIGS).as_posix().removesuffix(".yaml"): path for path in CONFIGS.rglob("*.yaml")}
    assert shipped_configs() == expected
    assert {"owl_numbers", "qwen2.5-7b_owl_numbers", "experiments/paper", "suites/pocket"} <= set(expected)


@cases("name", ["owl_numbers", "qwen2.5-7b_owl_numbers", "suites/large"])
def test_a_path_that_exists_wins(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_config(name) == CONFIGS / f"{name}.yaml"
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("mine: 1")
    assert find_config(name) == Path(name)


def test_a_folder_is_no_config() -> None:
    Path("owl_numbers").mkdir()
    assert find_config("owl_numbers") == CONFIGS / "owl_numbers.yaml"
    Path("mine").mkdir()
    with pytest.raises(InputError, match="The config mine can't be read: it is a folder"):
        find_config("mine")


def test_a_file_of_the_same_name_is_pointed_at() -> None:
    Path("owl_numbers.yaml").write_text("mine: 1")
    with pytest.warns(UserWarning, match="the shipped config; for the file owl_numbers.yaml write the suffix, too"):
        assert find_config("owl_numbers") == CONFIGS / "owl_numbers.yaml"


@cases(
    ("word", "meant"),
    [
        ("owl_nunbers", "owl_numbers"),
        ("Owl_Numbers", "owl_numbers"),
        ("configs/owl_numbers.yaml", "owl_numbers"),
        ("./owl_numbers.yml", "owl_numbers"),
        ("qwen2.5-7b_owl_number", "qwen2.5-7b_owl_numbers"),
        ("paper", "experiments/paper"),
        ("experiments/papers", "experiments/paper"),
        ("configs/experiments/paper.yaml", "experiments/paper"),
        ("prefernces", "experiments/preferences"),
        ("pocket", "suites/pocket"),
    ],
)
def test_an_unknown_name_hints_at_the_one_that_was_meant(word: str, meant: str) -> None:
    with pytest.raises(InputError) as refused:
        find_config(word)
    reported = str(refused.value)
    assert f"no file and no shipped config {word!r}" in reported
    assert f"; did you mean `{meant}`? `lightning-subliminal configs list` shows them." in reported


@cases(
    ("word", "what", "meant"),
    [
        ("preferences", "suite", "suites/preference"),
        ("preferense", "plan", "experiments/preferences"),
        ("misalignement", "plan", "experiments/misalignment"),
        ("owl_number", "plan", "owl_numbers"),
    ],
)
def test_the_hint_is_of_the_own_kind_first(word: str, what: str, meant: str) -> None:
    with pytest.raises(InputError, match=f"The {what} {word} is not there.*; did you mean `{meant}`"):
        find_config(word, what)


def test_a_name_that_nothing_resembles_gets_no_hint() -> None:
    with pytest.raises(
        InputError, match=r"no shipped config 'zzz' \(looked in .*\): `lightning-subliminal configs list`"
    ):
        find_config("zzz")


@cases("verb", ["fit", "validate", "test", "predict"])
@cases("words", [["--config", "owl_numbers"], ["--config=qwen2.5-7b_owl_numbers"], ["-c", "code_owl"]])
def test_trainer_verbs_take_names(verb: str, words: list[str], capsys: pytest.CaptureFixture) -> None:
    main([verb, *words, "--print_config"])
    reported = yaml.safe_load(capsys.readouterr().out)
    config = yaml.safe_load((CONFIGS / f"{words[-1].removeprefix('--config=')}.yaml").read_text())
    assert reported["model"]["init_args"]["base"] == config["model"]["init_args"]["base"]


def test_names_and_files_are_mixed_and_later_ones_win(capsys: pytest.CaptureFixture) -> None:
    Path("mine.yaml").write_text("seed_everything: 7\ndata: {init_args: {num_prompts: 12}}\n")
    main(["fit", "--config", "owl_numbers", "-c", "mine.yaml", "--print_config"])
    reported = yaml.safe_load(capsys.readouterr().out)
    assert (reported["seed_everything"], reported["data"]["init_args"]["num_prompts"]) == (7, 12)
    assert reported["model"]["init_args"]["base"] == "pocket/a"


def test_a_run_of_a_name_is_the_run_of_its_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """One folder, so that either goes on with the other's; what was typed is kept."""
    from lightning_subliminal.cli.verbs.trainer import LabCLI

    monkeypatch.setattr(LabCLI, "instantiate_classes", lambda self: None)
    import_module("lightning_subliminal.models")
    by_name, by_path = (LabCLI("fit", ["--config", word]) for word in ("owl_numbers", f"{CONFIGS}/owl_numbers.yaml"))
    assert by_name.folder == by_path.folder
    assert by_name.folder.name.startswith("owl_numbers-")
    assert by_name.command == "lightning-subliminal fit --config owl_numbers"


@cases("name", [name for name in shipped_configs() if name.startswith("experiments/")])
def test_run_takes_every_plan_by_name(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr("lightning_subliminal.plans.run.run_plan", lambda plan, *rest: asked.append(plan))
    main(["run", "--config", name, "--dry-run"])
    assert asked == [CONFIGS / f"{name}.yaml"]


@cases(
    ("word", "what", "expected"),
    [
        ("paper", "plan", "experiments/paper"),
        ("experiments/paper", "plan", "experiments/paper"),
        ("pocket", "suite", "suites/pocket"),
        ("suites/preference", "suite", "suites/preference"),
        ("owl_numbers", "plan", "owl_numbers"),  # refused as a plan once it is read
    ],
)
def test_a_verb_knows_the_folder_of_its_own_kind(word: str, what: str, expected: str) -> None:
    assert find_config(word, what) == CONFIGS / f"{expected}.yaml"


def test_suites_are_taken_by_name(capsys: pytest.CaptureFixture) -> None:
    from lightning_subliminal.evaluation.suites.loading import load_suite

    by_name, by_path = load_suite(Path("suites/pocket")), load_suite(CONFIGS / "suites" / "pocket.yaml")
    assert [each.name for each in by_name] == [each.name for each in by_path]
    words = ["evaluate", "pocket/a", "--suite", "suites/pocket", "--control", "nobody"]  # refused after reading it
    assert "The control 'nobody' is not among the models" in mistake(words, capsys)


@cases("verb", ["check", "predict", "interpolate"])
def test_theory_takes_names(verb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    function = {"check": "check_config", "predict": "predict_config", "interpolate": "interpolate"}[verb]
    asked = []
    room = import_module(f"lightning_subliminal.cli.theory.{verb}")
    monkeypatch.setattr(room, function, lambda config, *rest: asked.append(config))
    main(["theory", verb, "--config", "owl_numbers"])
    assert asked == [CONFIGS / "owl_numbers.yaml"]


@cases(
    "words",
    [
        ["fit", "--config", "nowhere"],
        ["predict", "--config=nowhere"],
        ["run", "--config", "nowhere", "--dry-run"],
        ["theory", "check", "--config", "nowhere"],
        ["evaluate", "pocket/a", "--suite", "nowhere"],
    ],
)
def test_every_verb_refuses_an_unknown_name_alike(words: list[str], capsys: pytest.CaptureFixture) -> None:
    assert "nowhere is not there: no file and no shipped config 'nowhere'" in mistake(words, capsys)


@cases(
    ("name", "reported"),
    [
        ("experiments/paper", "is a plan: `lightning-subliminal run --config "),
        ("experiments/dose", "is a plan: `lightning-subliminal run --config "),
        ("suites/pocket", "is a suite of measures: `lightning-subliminal evaluate MODEL ... --suite "),
    ],
)
def test_fit_names_the_verb_of_a_plan_or_suite(name: str, reported: str, capsys: pytest.CaptureFixture) -> None:
    assert reported in mistake(["fit", "--config", name], capsys)


def test_a_plan_of_ones_own_names_shipped_configs() -> None:
    from lightning_subliminal.plans.reading import read_plan

    plan = {"title": "Mine", "common": "owl_numbers", "arms": {"one": {}, "code": {"common": "code_owl"}}}
    Path("plans").mkdir()
    Path("plans/mine.yaml").write_text(yaml.safe_dump(plan))
    Path("plans/all.yaml").write_text(yaml.safe_dump({"include": ["mine.yaml", "experiments/carriers"]}))
    made = read_plan(Path("plans/all.yaml"))
    assert [each.name for each in made.experiments] == ["mine", "carriers"]
    assert made.experiments[0].arms["code"].config == yaml.safe_load((CONFIGS / "code_owl.yaml").read_text())


# --- listed -----------------------------------------------------------------------------------------------------------


@cases("words", [["configs"], ["configs", "list"]])
def test_each_is_listed_with_its_purpose(words: list[str], capsys: pytest.CaptureFixture) -> None:
    main(words)
    lines = capsys.readouterr().out.splitlines()
    for name, path in shipped_configs().items():
        [line] = [line for line in lines if line.startswith(f"  {name} ")]
        assert line.endswith(purpose(path))


@cases("name", shipped_configs())
def test_purpose_is_one_short_sentence(name: str) -> None:
    reported = purpose(shipped_configs()[name])
    assert 20 < len(reported) <= 140
    assert reported[-1] in ".?"
    assert ".yaml`" not in reported


@cases(
    ("text", "expected"),
    [
        ("# One thing. Another.\nmodel: 1\n", "One thing."),
        ("# A sentence that goes\n# on. Then more.\n", "A sentence that goes on."),
        ("# No stop at its end\nmodel: 1 # more.\n", "No stop at its end"),
        ("model: 1\n# Late.\n", ""),
        ("", ""),
    ],
)
def test_purpose_is_the_first_comment(text: str, expected: str) -> None:
    Path("it.yaml").write_text(text)
    assert purpose(Path("it.yaml")) == expected


# --- copied -----------------------------------------------------------------------------------------------------------


@cases(
    ("words", "expected"),
    [
        (["owl_numbers"], ["owl_numbers.yaml"]),
        (["qwen2.5-7b_owl_numbers", "here"], ["here/qwen2.5-7b_owl_numbers.yaml"]),
        (["owl_numbers", "a/mine.yaml"], ["a/mine.yaml"]),
        (["suites/pocket", "there/"], ["there/suites/pocket.yaml"]),
        (["experiments/dose", "plans"], ["plans/experiments/dose.yaml", "plans/owl_numbers.yaml"]),
    ],
)
def test_a_copy_and_what_it_refers_to(
    words: list[str], expected: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: object
) -> None:
    monkeypatch.chdir(tmp_path)
    main(["configs", "copy", *words])
    assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.yaml")) == expected
    assert (tmp_path / expected[0]).read_bytes() == (CONFIGS / f"{words[0]}.yaml").read_bytes()


def test_a_copied_plan_of_plans_is_read_as_the_shipped_one() -> None:
    from lightning_subliminal.plans.reading import read_plan

    main(["configs", "copy", "experiments/paper", "mine"])
    copied, ours = (read_plan(root / "experiments" / "paper.yaml") for root in (Path("mine"), CONFIGS))
    assert [each.name for each in copied.experiments] == [each.name for each in ours.experiments]
    for mine, theirs in zip(copied.experiments, ours.experiments, strict=True):
        assert {name: arm.config for name, arm in mine.arms.items()} == {
            name: arm.config for name, arm in theirs.arms.items()
        }


def test_nothing_is_overwritten(away: Path, capsys: pytest.CaptureFixture) -> None:
    (away / "owl_numbers.yaml").write_text("mine: 1")
    reported = mistake(["configs", "copy", "experiments/dose"], capsys)
    assert "owl_numbers.yaml exists and differs, and nothing is overwritten" in reported
    assert [path.name for path in away.rglob("*.yaml")] == ["owl_numbers.yaml"], "nothing is left half done"
    assert (away / "owl_numbers.yaml").read_text() == "mine: 1"


def test_a_link_or_a_folder_in_the_way_stays(away: Path, capsys: pytest.CaptureFixture) -> None:
    (away / "link.yaml").symlink_to("nowhere")
    assert "link.yaml exists and differs" in mistake(["configs", "copy", "owl_numbers", "link.yaml"], capsys)
    (away / "owl_numbers.yaml").mkdir()
    assert "owl_numbers.yaml exists and differs" in mistake(["configs", "copy", "owl_numbers"], capsys)


def test_an_equal_file_is_counted_and_left(capsys: pytest.CaptureFixture) -> None:
    main(["configs", "copy", "experiments/dose"])
    capsys.readouterr()
    main(["configs", "copy", "experiments/defences"])
    reported = capsys.readouterr().out
    assert "owl_numbers.yaml: exists already, equal" in reported
    assert "defences.yaml: written" in reported
    assert "now: lightning-subliminal run --config experiments/defences.yaml" in reported


@cases(
    ("words", "reported"),
    [
        (["owl_number"], "There is no shipped config 'owl_number'; did you mean `owl_numbers`?"),
        (["experiments/dose", "one.yaml"], "refers to 1 other files, so one.yaml can't hold it: choose a folder"),
        (["owl_numbers", "/proc/nowhere"], "can't be written"),
        (["owl_numbers", "file/inner"], "can't be written"),
    ],
)
def test_a_copy_that_cannot_be_made(words: list[str], reported: str, capsys: pytest.CaptureFixture) -> None:
    Path("file").write_text("")
    assert reported in mistake(["configs", "copy", *words], capsys)


def test_no_file_is_named_in_a_way_that_a_copy_would_miss() -> None:
    for path in shipped_configs().values():
        words = scalars(yaml.safe_load(path.read_text()))
        named = {word for word in words if re.fullmatch(r"\S+\.(ya?ml|jsonl?|csv|txt|parquet|jinja|py)", word)}
        assert named == {word for word in named if (path.parent / word).resolve() in references(path)}, path


# --- shipped ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def package(away: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a package as a wheel installs it, with other people's things beside it."""
    package = away / "site-packages" / "lightning_subliminal"
    shutil.copytree(CONFIGS, package / "configs")
    (package.parent / "configs").mkdir()
    (package.parent / "configs" / "theirs.yaml").write_text("# Another package's.")
    (package / "code.py").write_text("")
    monkeypatch.setattr(shipped, "_PACKAGE", package)
    shipped_configs.cache_clear()
    environment.code_digest.cache_clear()
    yield package
    shipped_configs.cache_clear()
    environment.code_digest.cache_clear()


def test_a_wheel_reads_its_own(package: Path) -> None:
    assert find_config("experiments/paper") == package / "configs" / "experiments" / "paper.yaml"
    shutil.rmtree(package / "configs")
    shipped_configs.cache_clear()
    assert shipped_configs() == {}, "and never another package's folder of that name"


def test_code_has_one_digest_with_and_without_configs(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "__file__", str(package / "lineage" / "environment.py"))
    wheel = environment.code_digest()
    shutil.rmtree(package / "configs")
    environment.code_digest.cache_clear()
    assert environment.code_digest() == wheel
    (package / "wording").mkdir()
    (package / "wording" / "configs.yaml").write_text("words: 1")
    environment.code_digest.cache_clear()
    assert environment.code_digest() != wheel, "words are a part of it"


@cases(("word", "file"), [("mine", "mine.yaml"), ("mine.yaml", "mine.yml"), ("sub/mine", "sub/mine.yml")])
@cases("verb", ["run", "fit"])
def test_a_file_that_lacks_its_suffix_is_proposed(
    verb: str, word: str, file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(file).parent.mkdir(exist_ok=True)
    Path(file).write_text("title: Mine")
    assert f"; did you mean `{file}`?" in mistake([verb, "--config", word], capsys)


def test_the_readme_of_plans_runs_as_it_stands(capsys: pytest.CaptureFixture) -> None:
    text = (CONFIGS / "experiments/README.md").read_text()
    assert "../" not in text, "a plan in a folder of its own has no configs above it"
    Path("mine.yaml").write_text(text.partition("```yaml\n")[2].partition("```")[0])
    main(["run", "--config", "mine.yaml", "--dry-run"])
    assert "Owls and wolves through numbers: 8 cells, seeds 0-1" in capsys.readouterr().out
    assert not Path("runs").exists()
