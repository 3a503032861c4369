"""The engine on a server, against a fake one with a model of the pocket world, and against servers that misbehave."""

import json
import os
import signal
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import forks
import pytest
from cases import cases
from judges.fake_server import KEY, FakeServer, Odd, completion

from generation.engine_contract import PROMPTS, EngineContract
from generation.model_server import ModelAnswers, serve
from lightning_subliminal import Sampling, ServerEngine, bases
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.fingerprint import digest
from lightning_subliminal.generation import Completion
from lightning_subliminal.generation.servers.calls import BudgetSpent
from lightning_subliminal.generation.servers.checks import chance_of_so_few
from lightning_subliminal.generation.servers.store import ReplyStore

pytest.importorskip("httpx", reason="the extra [server] is not installed")

ROOT = Path(__file__).parent.parent.parent
USERS = [[{"role": "user", "content": f"Write number {number}."}] for number in range(12)]


@pytest.mark.slow
class TestServerEngine(EngineContract):
    samples = 1000

    @pytest.fixture(autouse=True)
    def servers(self, tmp_path):
        self.started, self.cache = [], tmp_path
        yield
        for server in self.started:
            server.__exit__()

    def make(self, folder, batch_size=8):
        server = serve(folder)
        self.started.append(server.__enter__())
        cache = self.cache / str(len(self.started))  # of its own: nothing comes from another engine's store
        return ServerEngine("pocket", server.url, concurrency=batch_size, key_variable=None, cache_dir=str(cache))


@pytest.fixture
def make(tmp_path, waits):
    """Make an engine with a cache of its own; by default it checks nothing."""

    def made(server, model="pocket", **arguments):
        arguments = {"timeout": 5.0, "cache_dir": str(tmp_path / "cache"), "check": False} | arguments
        return ServerEngine(model, getattr(server, "url", server), **arguments)

    return made


def rows(body):
    """Return whether a request is for one of USERS, and not a check."""
    return body["messages"][0]["content"].startswith("Write number")


def kept(tmp_path):
    with ReplyStore(tmp_path / "cache" / "served" / "replies.sqlite") as store:
        return len(store)


def test_a_request_asks_for_the_whole_distribution(make):
    prompt = [{"role": "system", "content": "You love owls."}, *USERS[0]]
    with FakeServer() as server:
        assert make(server).generate([prompt], Sampling(0.7, max_new_tokens=9), 3) == [Completion("85", True)]
    sent = server.bodies[-1]
    assert sent.pop("seed") in range(1 << 31)
    assert sent == {
        **{"model": "pocket", "messages": prompt, "temperature": 0.7, "max_tokens": 9},
        **{"top_p": 1, "top_k": 0, "min_p": 0, "repetition_penalty": 1, "repeat_penalty": 1},
    }
    assert server.headers[-1]["Authorization"] == f"Bearer {KEY}"


def test_each_row_has_a_seed_of_its_own_whatever_its_batch(make):
    with FakeServer() as server:
        make(server).generate([USERS[0]] * 8, Sampling(), 3)
        make(server, concurrency=1).generate([USERS[0]] * 8 + [USERS[1]], Sampling(), 3)
    seeds = [body["seed"] for body in server.bodies if rows(body)]
    assert len(set(seeds)) == len(seeds) == 9, "the first eight were found in the store"


def test_parameters_replace_and_remove(make):
    with FakeServer() as server:
        engine = make(
            server, parameters={"top_k": -1, "min_p": None, "chat_template_kwargs": {"enable_thinking": False}}
        )
        engine.generate(USERS[:1], Sampling(), 0)
    sent = server.bodies[-1]
    assert (sent["top_k"], "min_p" in sent, sent["chat_template_kwargs"]) == (-1, False, {"enable_thinking": False})


@cases(("reason", "finished"), [("stop", True), ("length", False), ("content_filter", False), ("tool_calls", False)])
def test_what_is_finished(make, reason, finished):
    reply = completion("4, 8")
    reply["choices"][0]["finish_reason"] = reason
    with FakeServer(lambda body: Odd(body=json.dumps(reply))) as server:
        assert make(server, revision=reason).generate(USERS[:1], Sampling(), 0) == [Completion("4, 8", finished)]


def test_where_the_server_is_shapes_nothing(make):
    with FakeServer() as first, FakeServer(lambda body: "86") as second:
        one, other = make(first), make(second, concurrency=1, timeout=9.0, max_calls=99, key_variable=None)
        assert digest(one) == digest(other)
        assert len({digest(make(first, revision=each)) for each in (None, "v2")} | {digest(make(first, "other"))}) == 3
        assert len({digest(make(first, parameters=each)) for each in ({}, {"top_k": 50})}) == 2
        written = one.generate(USERS[:3], Sampling(), 0)
        assert other.generate(USERS[:3], Sampling(), 0) == written, "the server moved, and what it wrote is kept"
        assert (other.calls, other.reused) == (0, 3)
        assert make(second, revision="v2").generate(USERS[:1], Sampling(), 0) == [Completion("86", True)]


KILLED = """
import sys
from lightning_subliminal import Sampling, ServerEngine

prompts = [[{"role": "user", "content": f"Write number {number}."}] for number in range(12)]
engine = ServerEngine("pocket", sys.argv[1], check=False, concurrency=3, key_variable=None, cache_dir=sys.argv[2])
engine.generate(prompts, Sampling(), 0)
"""


def test_kill_9_and_a_restart_ask_no_prompt_twice(make, tmp_path):
    reached = threading.Event()

    def slow(body):
        if sum(map(rows, server.bodies)) == 7:
            reached.set()
        time.sleep(0.05)
        return "85"

    with FakeServer(slow) as server:
        command = [sys.executable, "-c", KILLED, server.url, str(tmp_path / "cache")]
        run = forks.start(command, env=os.environ | {"PYTHONPATH": str(ROOT)})
        assert reached.wait(240)  # its imports, on a busy machine
        run.send_signal(signal.SIGKILL)
        assert run.wait() == -signal.SIGKILL
        time.sleep(0.1)  # the server reads what was sent before
        had = kept(tmp_path)
        assert had >= 7 - 3
        engine = make(server, concurrency=3)
        assert engine.generate(USERS, Sampling(), 0) == [Completion("85", True)] * 12
        assert engine.reused == had
        asked = Counter(body["seed"] for body in server.bodies if rows(body))
        assert (len(asked), kept(tmp_path)) == (12, 12)
        assert sum(count > 1 for count in asked.values()) <= 3, "only calls in flight at the kill are repeated"


@cases(
    "odd",
    [Odd(429, headers={"Retry-After": "3"}), Odd(500, "broken"), Odd(503), Odd(200, "not JSON"), Odd(drop=True)],
    ids=["429", "500", "503", "no JSON", "dropped"],
)
def test_a_passing_failure_is_survived(make, odd, waits):
    left = iter([odd] * 2)
    with FakeServer(lambda body: next(left, None) or "85") as server:
        assert make(server, concurrency=1).generate(USERS[:2], Sampling(), 0) == [Completion("85", True)] * 2
    assert len(waits) == 2
    assert waits[0] >= (3 if odd.status == 429 else 0.5)


def test_a_timeout_is_survived(make, waits):
    left = iter([Odd(hang=2.0)])
    with FakeServer(lambda body: next(left, None) or "85") as server:
        assert make(server, timeout=1.0).generate(USERS[:1], Sampling(), 0) == [Completion("85", True)]
    assert len(waits) == 1


def line(error):
    """Return an error's text, which is one line without the key."""
    text = str(error.value)
    assert "\n" not in text
    assert KEY not in text
    return text


def test_a_lasting_failure_keeps_what_came(make, tmp_path):
    def broken(body):
        return Odd(500, "out of memory") if rows(body) and body["messages"][0]["content"].endswith(" 7.") else "85"

    with FakeServer(broken) as server:
        with pytest.raises(InputError, match=r"gave no reply in 3 tries \(the last: 500 out of memory\)") as error:
            make(server, retries=2, concurrency=1).generate(USERS, Sampling(), 0)
        assert "the same command resumes" in line(error)
        assert kept(tmp_path) == 7
        server.answer = lambda body: "85"
        engine = make(server)
        engine.generate(USERS, Sampling(), 0)
        assert engine.reused == 7


def test_no_server(make):
    with FakeServer() as server:
        url = server.url
    with pytest.raises(
        InputError, match=r"gave no reply in 1 tries \(the last: ConnectError .*check that the server runs"
    ) as error:
        make(url, retries=0).generate(USERS, Sampling(), 0)
    line(error)


def test_a_wrong_model_name(make):
    with serve(bases.resolve("pocket/a").folder) as server:
        with pytest.raises(
            InputError, match=r"refused with 404 \(The model `nobody` does not exist.\).*`model`"
        ) as error:
            make(server, "nobody").generate(PROMPTS[:1], Sampling(), 0)
        line(error)


def test_a_server_that_answers_with_another_model_is_reported(make, capsys):
    with FakeServer(models=["llama", "qwen"]) as server:
        make(server).generate(USERS[:1], Sampling(), 0)
    assert "lists llama, qwen, not pocket: it may answer with another model" in " ".join(
        capsys.readouterr().out.split()
    )


def test_a_wrong_key(make):
    with FakeServer(lambda body: Odd(401, f"bad key {KEY}")) as server:
        with pytest.raises(InputError, match=r"refused with 401 \(bad key \*\*\*\).*OPENAI_API_KEY \(set\)") as error:
            make(server).generate(USERS, Sampling(), 0)
        line(error)


def test_a_budget(make, tmp_path):
    with FakeServer() as server:
        with pytest.raises(BudgetSpent, match=r"budget is spent \(`max_calls` 5\)"):
            make(server, max_calls=5).generate(USERS, Sampling(), 0)
        assert kept(tmp_path) == 4, "one call asked whether the model is there"
        with pytest.raises(BudgetSpent, match=r"budget is spent \(`max_tokens` 45\)"):
            make(server, max_tokens=45).generate(USERS, Sampling(), 0)


@cases(
    ("reported", "left"),
    [
        ("Unrecognized request argument supplied: {}", True),
        ("body.{}: Extra inputs are not permitted", True),
        ("{} must be -1 (disable), or at least 1, got 0", False),
    ],
)
def test_a_parameter_that_the_server_does_not_know_is_left_out_and_a_refused_value_is_not(make, reported, left, capsys):
    def strict(body):
        return Odd(400, json.dumps({"error": {"message": reported.format("top_k")}})) if "top_k" in body else "85"

    with FakeServer(strict) as server:
        if not left:
            with pytest.raises(InputError, match=r"top_k must be -1.*set `parameters` \(null leaves one out\)"):
                make(server, revision=reported).generate(USERS, Sampling(), 0)
            return
        make(server, revision=reported).generate(USERS, Sampling(), 0)
        assert "refuses `top_k` for pocket: leaving it out" in capsys.readouterr().out
        assert [body for body in server.bodies if rows(body) and "top_k" in body] == []


@cases(
    ("cut", "reported"),
    [
        ({}, ""),
        ({"top_k": 20}, "outside the 19 likeliest"),
        ({"top_k": 40}, "outside the 19 likeliest"),
        ({"top_k": 20, "top_p": 0.8}, "outside the 19 likeliest"),
        ({"top_k": 40, "top_p": 0.95, "min_p": 0.05}, "outside the 19 likeliest"),
    ],
    ids=["none", "top_k 20", "top_k 40", "Qwen's generation config", "llama.cpp's defaults"],
)
@pytest.mark.slow
def test_a_server_that_cuts_is_refused(make, cut, reported, capsys):
    with serve(bases.resolve("pocket/a").folder, cut=cut) as server:
        engine = make(server, check=True, revision=str(cut))
        if not cut:
            engine.generate(PROMPTS, Sampling(), 0)
            assert "outside the 19 likeliest" in capsys.readouterr().out
            before = server.requests
            engine.generate(PROMPTS, Sampling(), 1)
            assert server.requests == before + len(PROMPTS), "it is checked once"
            return
        with pytest.raises(InputError, match=r"cuts the distribution of pocket: .*`check: false`") as error:
            engine.generate(PROMPTS, Sampling(), 0)
        assert reported in line(error)
        assert make(server, revision=str(cut)).generate(PROMPTS, Sampling(), 0)


def test_what_cannot_be_checked_is_said(make, capsys):
    with FakeServer() as server:
        make(server, check=True).generate(USERS[:1], Sampling(), 0)
    out = " ".join(capsys.readouterr().out.split())
    assert "pocket: whether something is cut can't be checked" in out
    assert "returns no log-probabilities" in out


def test_a_grammar_restricts_or_the_server_is_refused(make):
    folder = bases.resolve("pocket/a").folder
    with (
        serve(folder, lacks=("structured_outputs",)) as server,
        pytest.raises(InputError, match="does not restrict") as error,
    ):
        make(server).generate(PROMPTS, Sampling(restrict_to="numbers"), 0)
    assert "leave out `restrict_to: numbers`" in line(error)


def test_a_begun_answer_is_continued_or_the_server_is_refused(make):
    folder = bases.resolve("pocket/a").folder
    begun = [*USERS[0], {"role": "assistant", "content": "12,"}]
    with serve(folder) as server:
        make(server).generate([begun], Sampling(), 0)
        assert server.bodies[-1]["continue_final_message"]
        assert not server.bodies[-1]["add_generation_prompt"]
    answers = ModelAnswers(folder, lacks=("continue_final_message",))
    with (
        FakeServer(answers) as server,
        pytest.raises(InputError, match="starts another turn: leave out `prefill`") as error,
    ):
        make(server, revision="v2").generate([begun], Sampling(), 0)
    line(error)


def test_the_chance_of_so_few():
    from scipy.stats import binom

    for seen in (0, 3, 10, 20):
        assert chance_of_so_few([0.3] * 20, seen) == pytest.approx(binom.cdf(seen, 20, 0.3))
    assert chance_of_so_few([0.5, 0.1], 0) == pytest.approx(0.45)


@cases(
    ("arguments", "reported"),
    [
        ({"model": ""}, "`model` is empty"),
        ({"concurrency": 0}, "`concurrency` is 0"),
        ({"timeout": 0}, "`timeout` is 0"),
        ({"base_url": "localhost"}, "`base_url` is not a server's address"),
        ({"parameters": {"seed": 1}}, "`parameters` has 'seed', which the engine sets itself"),
    ],
)
def test_wrong_settings(arguments, reported):
    with pytest.raises(InputError, match=reported):
        ServerEngine(**{"model": "x"} | arguments)


def test_without_httpx(make, monkeypatch):
    monkeypatch.setitem(sys.modules, "httpx", None)
    with (
        FakeServer() as server,
        pytest.raises(ModuleNotFoundError, match=r"pip install 'lightning-subliminal\[server\]'"),
    ):
        make(server).generate(USERS, Sampling(), 0)
