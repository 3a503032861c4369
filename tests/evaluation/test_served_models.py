"""Models on servers: what `evaluate` and `chat` can ask them, and what they refuse in one line."""

import json

import pytest
import torch
from cases import cases
from generation.model_server import serve

from lightning_subliminal import PreferenceTrait, Stories, bases, evaluate, find_model
from lightning_subliminal.cli.entry import main
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.evaluation import ExactTrait, Truthfulness

pytest.importorskip("httpx", reason="the extra [server] is not installed")

OWL = PreferenceTrait("owl")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LIGHTNING_SUBLIMINAL_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def server():
    with serve(bases.resolve("pocket/a").folder) as running:
        yield running


def test_its_name_and_what_it_is_made_of():
    model = find_model("student=server:http://localhost:8000/v1#org/model")
    assert model.name == "student"
    assert model.digest["served"] == {"model": "org/model", "revision": "http://localhost:8000/v1"}
    named = find_model("server:http://u:secret@localhost:8000/v1#org/model@v2", "You love owls.")
    assert named.digest == {"served": {"model": "org/model", "revision": "v2"}, "system_prompt": "You love owls."}


@cases("place", ["server:", "server:http://localhost:8000/v1", "server:http://localhost:8000/v1#", "server:#model"])
def test_an_address_without_a_model(place):
    with pytest.raises(InputError, match="expected server:URL#MODEL"):
        find_model(place)


@pytest.mark.slow
def test_sampled_answers_agree_with_exact_chances(server):
    """Of the same model, here and on a server: the exact chance is within the sampled one's interval."""
    names = ["here=pocket/a", f"there=server:{server.url}#pocket"]
    probe = ExactTrait(OWL)
    table = evaluate([find_model(each) for each in names], [probe])
    here, there = (table[name][probe.name] for name in ("here", "there"))
    assert here.exact
    assert not there.exact
    assert there.counts == {"answers": 20 * len(here.units)}
    for animal in OWL.candidates:
        exact, sampled = (torch.tensor(each.chances[animal], dtype=torch.float64) for each in (here, there))
        spread = (exact * (1 - exact)).sum().div(20).sqrt() / len(exact)
        assert abs(float(sampled.mean() - exact.mean())) < 4 * float(spread) + 1e-9, animal


def test_what_needs_weights_is_not_measured_and_the_rest_is(server):
    probes = [Truthfulness("truthfulness_pocket"), Stories("stories_pocket", samples=2).of(OWL)]
    scores = evaluate([find_model(f"there=server:{server.url}#pocket")], probes)["there"]
    reason = scores["truth"].reason
    assert reason == (
        "there is on a server, and this needs the model's weights or exact probabilities: name a base, a folder or a "
        "hub id, or use a measure of sampled answers."
    )
    assert scores["stories"].rate >= 0


def test_weights_are_refused_in_one_line():
    model = find_model("server:http://localhost:8000/v1#model").load(torch.device("cpu"))
    for use in (lambda: model.net.parameters(), lambda: model.net(1), lambda: model.tokenizer.decode([1])):
        with pytest.raises(InputError, match="is on a server, and this needs the model's weights"):
            use()


@pytest.mark.slow
def test_the_verb_evaluate(server, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("lightning_subliminal.evaluation.probes.questions._SAMPLES", 2)
    main(
        [
            "evaluate",
            f"there=server:{server.url}#pocket@v1",
            "here=pocket/a",
            "--suite",
            "preference",
            "--control",
            "here",
        ]
    )
    results = json.loads((tmp_path / "runs/evaluation/results.json").read_text())
    assert all(each.get("reason") is None for each in results["models"]["there"]["measures"].values())
    assert server.url not in "".join(path.read_text() for path in tmp_path.glob("runs/**/*.json*"))
    asked = server.requests
    main(
        [
            "evaluate",
            f"there=server:{server.url}#pocket@v1",
            "here=pocket/a",
            "--suite",
            "preference",
            "--control",
            "here",
        ]
    )
    assert server.requests == asked, "scores are kept"
    main(["audit", "runs/evaluation"])


def test_the_verb_chat(server, capsys):
    main(["chat", f"server:{server.url}#pocket", "--ask", "Say the word pine."])
    out = capsys.readouterr().out
    assert "the server's chances of the first token" in " ".join(out.split())
    assert "%" in out


def test_the_verb_chat_without_a_server(server, capsys):
    with pytest.raises(SystemExit):
        main(["chat", f"server:{server.url}#nobody", "--ask", "Say the word pine."])
    reported = " ".join(capsys.readouterr().err.split())
    assert "The model `nobody` does not exist." in reported
