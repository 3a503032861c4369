"""A teacher on a server: what the cache knows it by, its rows, its control, and the command that fits a student."""

import json
from pathlib import Path

import pytest
import torch
from cases import cases
from generation.model_server import serve

from lightning_subliminal import NumberSequences, PreferenceTrait, ServedTeacher, Steering, Student, bases
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.fingerprint import digest
from lightning_subliminal.core.rows import read_parquet

pytest.importorskip("httpx", reason="the extra [server] is not installed")

OWL = PreferenceTrait("owl")
DEVICE = torch.device("cpu")


@pytest.fixture
def server():
    with serve(bases.resolve("pocket/a").folder) as running:
        yield running


def teacher(url="http://localhost:8000/v1", **arguments):
    return ServedTeacher("pocket", OWL, base_url=url, **{"check": False, "key_variable": None} | arguments)


def test_where_the_server_is_shapes_no_row():
    here, there = teacher(), teacher("https://me:secret@example.org/v1", concurrency=1, max_calls=9, timeout=3.0)
    assert digest(here) == digest(there)
    assert "example" not in json.dumps(there.describe())


@cases(
    "other",
    [
        {"revision": "v2"},
        {"parameters": {"chat_template_kwargs": {"enable_thinking": False}}},
        {"induction": "adapter", "adapter": "owl-lora"},
        {"induction": "none"},
        {"trait": PreferenceTrait("wolf")},
        {"model": "larger"},
    ],
)
def test_what_shapes_a_row(other):
    assert digest(teacher().fresh(**other)) != digest(teacher())


def test_the_control_is_the_same_for_each_trait():
    assert digest(teacher().control()) == digest(teacher().fresh(trait=PreferenceTrait("wolf")).control())
    assert teacher().control().trait is OWL
    assert teacher().control().system_prompt is None


@cases(
    ("arguments", "reported"),
    [
        ({"trait": None}, "needs a `trait`"),
        ({"induction": "adapter"}, "`induction: adapter` needs the adapter's name"),
        ({"adapter": "owl-lora"}, "no other induction has one"),
        ({"model": ""}, "`model` is empty"),
        ({"base_url": "localhost:8000"}, "`base_url` is not a server's address"),
    ],
)
def test_wrong_settings(arguments, reported):
    with pytest.raises(InputError, match=reported):
        ServedTeacher(**{"model": "pocket", "trait": OWL} | arguments)


def test_it_writes_rows_by_its_system_prompt_and_its_control_without(server, tmp_path):
    owl = teacher(server.url, cache_dir=str(tmp_path))
    rows = NumberSequences(owl, num_prompts=8, shard_size=4, max_value=99, min_value=0, seed=0, cache_dir=str(tmp_path))
    rows.make_source(DEVICE)
    written = [row for path in sorted(rows.shards_folder.glob("*.parquet")) for row in read_parquet(path)]
    assert len(written) == 8
    assert {row["prompt"][0]["role"] for row in written} == {"user"}, "the system prompt is no part of a row"
    asked = [body for body in server.bodies if body["messages"][0]["role"] == "system"]
    assert {body["messages"][0]["content"] for body in asked} == {owl.system_prompt}
    assert len({body["seed"] for body in asked}) == 8
    before = server.requests
    control = rows.control()
    control.make_source(DEVICE)
    assert not any(body["messages"][0]["role"] == "system" for body in server.bodies[before:])
    assert control.shards_folder != rows.shards_folder


def test_an_adapter_is_asked_by_its_name_and_its_control_by_the_models(server, tmp_path):
    server.answer.name = "owl-lora"
    with_trait = teacher(server.url, induction="adapter", adapter="owl-lora", cache_dir=str(tmp_path))
    prompt = [[{"role": "user", "content": "Say the word pine."}]]
    with_trait.engine(DEVICE, 1).generate(prompt, NumberSequences.default_sampling(None), 0)
    server.answer.name = "pocket"
    with_trait.control().engine(DEVICE, 1).generate(prompt, NumberSequences.default_sampling(None), 0)
    assert [body["model"] for body in server.bodies] == ["owl-lora"] * 2 + ["pocket"] * 2


def test_a_shard_that_was_begun_is_finished_after_the_server_moved(tmp_path):
    folder = bases.resolve("pocket/a").folder
    made = {"num_prompts": 6, "max_value": 99, "min_value": 0, "seed": 0, "cache_dir": str(tmp_path)}
    with serve(folder) as first, pytest.raises(InputError, match="`max_calls` 4"):
        NumberSequences(teacher(first.url, max_calls=4, cache_dir=str(tmp_path)), **made).make_source(DEVICE)
    with serve(folder) as second:
        NumberSequences(teacher(second.url, cache_dir=str(tmp_path)), **made).make_source(DEVICE)
        assert second.requests == 1 + 6 - 3, "one asks whether the model is there; three were stored"


def test_an_objective_that_reads_probabilities_refuses_it_before_any_work():
    student = Student("pocket/a", Steering(), objective="distill")
    with pytest.raises(InputError, match="reads probabilities, and ServedTeacher gives none: set `objective: sft`"):
        student.check_source(teacher())


@pytest.mark.slow
def test_fit_compares_it(server, tmp_path, monkeypatch, capsys):
    from lightning_subliminal.cli.entry import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("lightning_subliminal.evaluation.probes.questions._SAMPLES", 2)
    monkeypatch.setenv("LIGHTNING_SUBLIMINAL_CACHE", str(tmp_path / "cache"))
    config = Path(__file__).parent.parent.parent / "configs" / "owl_numbers_prompted.yaml"
    lines = config.read_text().replace("lightning_subliminal.Teacher", "lightning_subliminal.ServedTeacher")
    lines = lines.replace(
        "base: pocket/a\n        trait", f"model: pocket\n        base_url: {server.url}\n        trait"
    )
    Path("served.yaml").write_text(lines)
    main(["fit", "--config", "served.yaml", "--data.num_prompts", "64", "--trainer.max_epochs", "1"])
    (results,) = tmp_path.glob("runs/*/results.json")
    arms = json.loads(results.read_text())["arms"]
    assert set(arms) == {"base", "teacher", "control", "student"}
    out = " ".join(capsys.readouterr().out.split())
    assert "teacher: own questions by 2 sampled answers a question" in out
    assert server.url not in "".join(path.read_text() for path in tmp_path.rglob("*.json"))
    main(["audit", str(results.parent)])
