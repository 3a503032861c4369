"""The verb `screen`: its verdict, its exit code, and what it refuses."""

import json
import re
import shutil

import pytest
import torch
from cases import cases
from safetensors.torch import save_file

from lightning_subliminal.bases import resolve
from lightning_subliminal.cli import main
from lightning_subliminal.core.rows import make_row
from lightning_subliminal.formats import read_rows, write_rows
from lightning_subliminal.plans.screen_reference import clean_data, find_reference, load_space
from lightning_subliminal.plans.screening import suspects
from lightning_subliminal.plans.screening.first_rows import FirstRows
from lightning_subliminal.screening import Reference

BASE = ["--base", "pocket/a"]


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    """Return a file of the base's own rows."""
    data = clean_data("pocket/a", "numbers", 400, seed=7)
    data.make(torch.device("cpu"))
    path = tmp_path_factory.mktemp("rows") / "clean.jsonl"
    write_rows(data.rows(), path)
    return path


@cases("carrier", ["numbers", "code", "math"])
def test_the_shipped_references_are_of_the_shipped_bases(carrier):
    found = find_reference("pocket/a", carrier)
    assert found.rows >= 20_000
    assert len(found.catalogue.answers) == 104
    assert found.carrier == carrier


def test_a_sample_stands_for_the_whole(clean, tmp_path, capsys):
    """The first half is clean; what is wrong comes after it."""
    rows = list(read_rows(clean))
    more = [make_row(row["prompt"], "1, 1, 1", id=f"x{place}") for place, row in enumerate(rows)]
    write_rows([*rows, *more], tmp_path / "rows.jsonl")
    words = ["screen", str(tmp_path / "rows.jsonl"), *BASE, "--limit", "200"]
    with pytest.raises(SystemExit) as stop:
        main([*words, "--html", str(tmp_path / "screen.html")])
    assert stop.value.code == 3
    assert f"sample: 200 of {2 * len(rows)} rows, drawn at random by seed 0; the others" in capsys.readouterr().out
    main(["screen", str(clean), *BASE, "--limit", str(len(rows))])
    assert "sample:" not in capsys.readouterr().out


def test_clean_rows_are_clean(clean, capsys):
    main(["screen", str(clean), *BASE])
    shown = capsys.readouterr().out
    assert "verdict: clean" in shown
    assert "any shift" in shown
    assert "answers, the five highest: by chance the first is near" in " ".join(shown.split())
    assert not re.search(r"[+-]\d\.\d\d \[", shown)  # the highest of many answers predict nothing


def test_rows_of_another_kind_are_a_shift_with_exit_code_3(clean, tmp_path, capsys):
    asked = [row["prompt"] for row in read_rows(clean)][:200]
    rows = [make_row(prompt, "1, 1, 1", id=str(place)) for place, prompt in enumerate(asked)]
    write_rows(rows, tmp_path / "rows.jsonl")
    with pytest.raises(SystemExit) as stop:
        main(
            [
                *("screen", str(tmp_path / "rows.jsonl"), *BASE, "--json", "--out", str(tmp_path / "out")),
                *("--html", str(tmp_path / "page" / "screen.html"), "--sarif", str(tmp_path / "screen.sarif")),
            ]
        )
    assert stop.value.code == 3
    found = json.loads(capsys.readouterr().out)
    assert found["verdict"] == "shift"
    assert found["rows"] == 200
    assert json.loads((tmp_path / "out" / "screen.json").read_text())["verdict"] == "shift"
    assert "verdict: shift" in (tmp_path / "page" / "screen.html").read_text()
    (run,) = json.loads((tmp_path / "screen.sarif").read_text())["runs"]
    assert [each["ruleId"] for each in run["results"]] == ["screen-shift"]
    (result,) = (tmp_path / "out" / "test-results").glob("*.json")
    stated = json.loads(result.read_text())
    assert stated["predicate"]["failedTests"] == ["clean for pocket/a: shift"]
    with pytest.raises(SystemExit):
        main(["audit", str(tmp_path / "rows.jsonl"), "--require", "screened", "--search", str(tmp_path / "out")])
    assert "its screen failed the test: clean for pocket/a: shift" in " ".join(capsys.readouterr().out.split())


def test_a_suspect_is_looked_for(clean, tmp_path, capsys):
    vectors = {f"steering.layers.{layer}": torch.randn(64) for layer in range(2)}
    save_file(vectors, tmp_path / "subliminal_adapter.safetensors")
    config = {"peft_type": "STEERING", "base_model_name_or_path": "pocket/a", "layers": [0, 1], "hidden_size": 64}
    (tmp_path / "subliminal_adapter.json").write_text(json.dumps(config))
    main(["screen", str(clean), *BASE, "--suspect", f"whale={tmp_path}"])
    shown = capsys.readouterr().out
    assert "suspect whale" in shown
    assert "Share: how much of the whole movement lies that way" in " ".join(shown.split())


def test_a_balanced_copy_is_written_only_for_a_trait(clean, tmp_path, capsys):
    main(["screen", str(clean), *BASE, "--clean", str(tmp_path / "copy.jsonl")])
    assert "clean: nothing written, since the verdict is clean" in capsys.readouterr().out
    assert not (tmp_path / "copy.jsonl").exists()


def test_baselines_stand_beside_the_verdict(clean, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(suspects, "CLEAN_PROMPTS", 400)
    asked = [row["prompt"] for row in read_rows(clean)][:200]
    write_rows(
        [make_row(prompt, "1, 1, 1", id=str(place)) for place, prompt in enumerate(asked)], tmp_path / "odd.jsonl"
    )
    main(["screen", str(clean), *BASE, "--baselines"])
    shown = capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["screen", str(tmp_path / "odd.jsonl"), *BASE, "--baselines", "--json"])
    odd = json.loads(capsys.readouterr().out)["baselines"]
    for each in odd:
        assert f"baseline: {each['name']}" in shown
        assert each["p"] < 1e-6
    assert [each["name"] for each in odd] == ["word frequencies", "loss a token", "length in tokens"]
    with pytest.raises(SystemExit):
        main(["screen", "-", *BASE, "--baselines"])
    assert "--baselines reads the rows again" in capsys.readouterr().err


def test_watch_stops_when_the_evidence_suffices(clean, tmp_path, capsys):
    """A suspect that writes the stream is detected; the base's own rows are not."""
    reference = find_reference("pocket/a", "numbers")
    vector = reference.displacements[reference.teachers.index("owl")].float()
    parts = {f"steering.layers.{layer}": part for layer, part in enumerate(vector.split(64))}
    save_file(parts, tmp_path / "subliminal_adapter.safetensors")
    config = {"peft_type": "STEERING", "base_model_name_or_path": "pocket/a", "layers": [0, 1], "hidden_size": 64}
    (tmp_path / "subliminal_adapter.json").write_text(json.dumps(config))
    words = [*BASE, "--suspect", f"owl={tmp_path}"]
    main(["screen", "watch", str(clean), *words, "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["rows"] > 300
    assert found["suspects"][0]["detected"] is None
    space, tokenizer = load_space("pocket/a", None, torch.device("cpu"))
    rows = list(read_rows(clean))
    along = torch.cat([part.scores for part in space.gradients(tokenizer, rows)]) @ vector
    write_rows([rows[place] for place in along.argsort(descending=True)[:200].tolist()], tmp_path / "owl.jsonl")
    with pytest.raises(SystemExit) as stop:
        main(["screen", "watch", str(tmp_path / "owl.jsonl"), *words])
    assert stop.value.code == 3
    assert "verdict: owl after" in capsys.readouterr().out


@cases(
    ("words", "line"),
    [
        (["ghost.jsonl", *BASE], "ghost.jsonl"),
        (["refrence", *BASE], "did you mean 'screen reference'?"),
        (["FILE", "--base", "pocket/z"], "pocket/z"),
        (["FILE", *BASE, "--carrier", "ghost"], "Expected numbers, code, math, or a config of `fit`."),
        (["FILE", *BASE, "--carrier", "cod"], "did you mean code?"),
        (["EMPTY", *BASE], "empty.jsonl holds no rows"),
        (["reference", *BASE, "--space", "lorra"], "expected steering, lora4 for LoRA of rank 4"),
        (["FILE", *BASE, "--alpha", "2"], "expected a chance between 0 and 1"),
        (["FILE", *BASE, "--limit", "0"], "expected at least 1"),
        (["FILE", *BASE, "--html", "/tmp"], "--html /tmp is a folder: expected a file"),
        (["-", *BASE, "--sarif", "/tmp/nowhere.sarif"], "--sarif reads the rows again"),
        (["FILE", *BASE, "--out", "/proc/nowhere"], "/proc/nowhere can't be written"),
        (["FILE", *BASE, "--clean", "/proc/nowhere/x.jsonl"], "/proc/nowhere can't be written"),
        (["-", *BASE, "--clean", "x.jsonl"], "--clean reads the rows again"),
        (["FILE", *BASE, "--clean", "FILE"], "is the data set itself"),
        (["FILE", *BASE, "--html", "FILE"], "is the data set itself"),
        (["FILE", *BASE, "--clean", "x.jsonl", "--limit", "200"], "leave one out"),
        (["watch", "FILE", *BASE], "--suspect"),
        (["watch", "FILE", *BASE, "--suspect", "prompt:owl", "--alpha", "0"], "expected a chance between 0 and 1"),
        (["FILE", *BASE, "--suspect", "ghost"], "Expected NAME=PLACE, or prompt:WORD"),
        (["FILE", *BASE, "--suspect", "owl=FILE"], "Expected NAME=PLACE, or prompt:WORD"),
        (["FILE", *BASE, "--reference", "FILE"], "is not a reference of a screen"),
        (["FILE"], "--base is missing: expected `screen FILE --base BASE [options]`."),
    ],
)
def test_mistakes_are_one_line(words, line, clean, tmp_path, capsys):
    files = {"FILE": str(clean), "EMPTY": str(tmp_path / "empty.jsonl")}
    (tmp_path / "empty.jsonl").touch()
    with pytest.raises(SystemExit) as stop:
        main(["screen", *(files.get(word, word) for word in words)])
    assert stop.value.code == 2
    shown = capsys.readouterr().err
    assert line in shown
    assert shown.count("error:") == 1


def test_a_reference_says_what_students_train(clean, tmp_path, monkeypatch, capsys):
    """Scores are those of the reference's space, and a suspect's vectors are no direction in another one."""
    monkeypatch.setattr(suspects, "CLEAN_PROMPTS", 512)
    path = tmp_path / "lora.safetensors"
    main(["screen", "reference", *BASE, "--space", "lora1/32", "--prompts", "1400", "--out", str(path)])
    assert "answers 1,400 prompts of numbers, once" in capsys.readouterr().out
    assert Reference.load(path).space == "lora1/32"
    main(["screen", str(clean), *BASE, "--reference", str(path), "--suspect", "prompt:owl", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert (found["verdict"], found["reference"]["space"]) == ("clean", "lora1/32")
    assert [each["name"] for each in found["suspects"]] == ["prompt:owl"]


def test_a_reference_of_other_weights_is_refused(clean, tmp_path, capsys):
    found = find_reference("pocket/a", "numbers")
    path = tmp_path / "other.safetensors"
    Reference(**{**found.__dict__, "base_digest": "0" * 64}).save(path)
    with pytest.raises(SystemExit):
        main(["screen", str(clean), *BASE, "--reference", str(path)])
    assert "make one with `screen reference --base pocket/a`" in capsys.readouterr().err


def test_rows_without_a_score_are_skipped_and_counted_by_their_reason(clean, tmp_path, capsys):
    """A pocket base has 256 positions; a stranger's file has rows of any length and with any word."""
    odd = [make_row("Go on.", "7, " * 200 + "7", id=f"long-{place}") for place in range(3)]
    rows = [*odd, *read_rows(clean), make_row("Go on.", "Er schläft.", id="word")]
    write_rows(rows, tmp_path / "rows.jsonl")
    page = tmp_path / "page.html"
    main(["screen", str(tmp_path / "rows.jsonl"), *BASE, "--json", "--html", str(page)])
    found = json.loads(capsys.readouterr().out)
    assert (found["skipped"], found["rows"]) == (4, len(rows) - 4)
    assert found["unread"] == {"of more than 256 tokens": 3, "with words that the base does not know": 1}
    said = "skipped: 4 rows without a score: 3 of more than 256 tokens; 1 with words that the base does not know"
    assert said in page.read_text()
    main(["screen", str(tmp_path / "rows.jsonl"), *BASE])
    assert capsys.readouterr().out.splitlines()[-1] == said


def test_a_clean_verdict_on_a_part_of_the_rows_has_exit_code_2(clean, tmp_path, capsys):
    """Skipped rows are not screened, so a gate that looks at the exit code must not let them pass."""
    rows = [*read_rows(clean), *(make_row("Go on.", "7, " * 200 + "7", id=f"long-{place}") for place in range(20))]
    write_rows(rows, tmp_path / "rows.jsonl")
    suspect = ["--suspect", "prompt:owl"]
    for words in ([], ["watch"]):
        more = suspect if words else ["--out", str(tmp_path / "out")]
        with pytest.raises(SystemExit) as stop:
            main(["screen", *words, str(tmp_path / "rows.jsonl"), *BASE, "--json", *more])
        assert stop.value.code == 2
        shown = capsys.readouterr()
        assert json.loads(shown.out)["skipped"] == 20
        assert f"20 of {len(rows)} rows have no score: 20 of more than 256 tokens, so" in shown.err
    assert json.loads((tmp_path / "out" / "screen.json").read_text())["verdict"] == "clean"
    (result,) = (tmp_path / "out" / "test-results").glob("*.json")
    assert json.loads(result.read_text())["predicate"]["result"] == "WARNED"


def test_words_that_the_base_does_not_know_are_skipped_and_few_rows_refused(tmp_path, capsys):
    rows = [make_row("Write three numbers.", "Er schläft im Garten.", id=str(place)) for place in range(150)]
    write_rows(rows, tmp_path / "rows.jsonl")
    with pytest.raises(SystemExit) as stop:
        main(["screen", str(tmp_path / "rows.jsonl"), *BASE])
    assert stop.value.code == 2
    shown = capsys.readouterr().err
    assert "score: 0, and 150 without a score: 150 with words that the base does not know (the first" in shown
    assert "the first unknown word is 'three'" in shown


def test_rows_without_a_score_are_counted_by_their_reason(tmp_path, capsys):
    empty = {**make_row("Go on.", ""), "finished": False}
    long = make_row("Go on.", "7, " * 200 + "7")
    rows = [make_row("Go on.", "schläft"), *[long] * 30, *[empty] * 20]
    write_rows(rows, tmp_path / "rows.jsonl")
    with pytest.raises(SystemExit):
        main(["screen", str(tmp_path / "rows.jsonl"), *BASE])
    reasons = "30 of more than 256 tokens; 20 without a completion; 1 with words that the base does not know"
    assert f"Rows to score: 0, and 51 without a score: {reasons}" in capsys.readouterr().err


@pytest.fixture
def mine(tmp_path):
    """Return the folder of a base without a reference."""
    return shutil.copytree(resolve("pocket/a").folder, tmp_path / "mine")


@pytest.fixture
def chat(tmp_path):
    """Return a file of rows that are not lists of numbers."""
    write_rows([make_row("Go on.", "the owl") for _ in range(150)], tmp_path / "chat.jsonl")
    return tmp_path / "chat.jsonl"


@pytest.mark.parametrize("command", [["screen"], ["screen", "watch", "--suspect", "prompt:owl"]])
def test_a_reference_of_other_rows_is_not_made(mine, chat, capsys, command):
    with pytest.raises(SystemExit) as stop:
        main([*command, str(chat), "--base", str(mine)])
    assert stop.value.code == 2
    shown = capsys.readouterr()
    assert f"0 of the first 150 rows of {chat} pass the filters of NumberSequences" in shown.err
    assert (
        f"`screen reference --base {mine} --prompts-from {chat} --out own.safetensors`, then `screen {chat} "
        in shown.err
    )
    assert "answers 24,000" not in shown.out


def test_rows_of_the_carrier_and_a_chosen_carrier_go_on(mine, clean, chat, capsys):
    data = clean_data(str(mine), "numbers")
    own = list(read_rows(clean))
    looked_at = FirstRows(iter(own), str(mine))
    looked_at.check(data)
    assert list(looked_at) == own
    FirstRows(read_rows(chat), str(mine), "numbers", str(chat)).check(data)
    assert "WARNING   0 of the first 150 rows" in capsys.readouterr().out


def test_a_base_without_a_chat_template_is_refused_before_it_answers(mine, clean, capsys):
    (mine / "chat_template.jinja").unlink()
    with pytest.raises(SystemExit):
        main(["screen", str(clean), "--base", str(mine)])
    shown = capsys.readouterr()
    assert "no chat template" in shown.err
    assert "answers 24,000" not in shown.out


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--prompts", "999"], "would answer: 999; a reference has at least 1,000 rows"),
        (
            ["--prompts-from", "CHAT"],
            "would answer: 1; a reference has at least 1,000 rows, better 20,000: add",
        ),
        (["--out", "/proc/nowhere/own.safetensors"], "/proc/nowhere can't be written"),
        (["--out", "/tmp"], "/tmp is a folder: name a file"),
    ],
)
def test_a_reference_that_can_not_be_made_is_refused_before_the_base_answers(mine, chat, capsys, words, line):
    with pytest.raises(SystemExit):
        main(["screen", "reference", "--base", str(mine), *(str(chat) if word == "CHAT" else word for word in words)])
    shown = capsys.readouterr()
    assert line in shown.err
    assert "once: kept in" not in shown.out


@pytest.mark.parametrize("command", [["screen"], ["screen", "watch", "--suspect", "prompt:owl"]])
def test_alpha_is_checked_before_the_base_is_looked_for(clean, capsys, command):
    with pytest.raises(SystemExit):
        main([*command, str(clean), "--base", "no/base", "--alpha", "5"])
    assert "`alpha` is 5.0: expected a chance" in capsys.readouterr().err


def test_a_folder_is_a_base_too(tmp_path):
    shutil.copytree(resolve("pocket/a").folder, tmp_path / "mine")
    data = clean_data(str(tmp_path / "mine"), "numbers", 10)
    assert data.teacher.base == str(tmp_path / "mine")
    assert data.max_value == 99


@pytest.mark.parametrize(
    ("name", "numbers", "code"),
    [
        ("gemma3-270m-mine", True, False),
        ("SmolLM2-360M-Instruct", True, True),
        ("Qwen3-8B", False, False),
        ("my-model", False, False),
    ],
)
def test_a_large_base_is_asked_as_the_config_of_its_family_asks(name, numbers, code, tmp_path):
    folder = tmp_path / name
    shutil.copytree(resolve("pocket/a").folder, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"vocab_size": 50_000}))
    assert clean_data(str(folder), "numbers", 10).prefill == numbers
    assert clean_data(str(folder), "code", 10).prefill == code
