"""Budgets of calls and tokens, and being stopped: what came is kept, and nothing is asked twice."""

import asyncio
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

import forks
import pytest
from cases import cases

from judges.fake_server import KEY, TOKENS, FakeServer, Odd, completion
from judges.replies import PAIRS, SCORE, good, kept
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.generation.servers import replies
from lightning_subliminal.judges.openai_compatible import BudgetSpent

pytest.importorskip("httpx", reason="the extra [judge] is not installed")
pytestmark = pytest.mark.usefixtures("waits")

ROOT = Path(__file__).parent.parent.parent


def test_a_budget_of_calls(make, tmp_path):
    def slow(body):
        time.sleep(0.02)
        return good(body)

    with FakeServer(slow) as server:
        judge = make(server, max_calls=10, concurrency=4)
        with pytest.raises(BudgetSpent) as reported:
            judge.judge(PAIRS)
        assert isinstance(reported.value, InputError)
        path = tmp_path / "cache" / "judges" / "replies.sqlite"
        assert str(reported.value) == (
            f"The judge's budget is spent (`max_calls` 10): 10 calls with {10 * TOKENS} tokens so far; the replies are "
            f"kept in {path}, and the same command resumes with a new budget of the same size."
        )
        assert server.requests == judge.calls == kept(tmp_path) == 10  # those under way came back
        with pytest.raises(BudgetSpent):
            judge.judge(PAIRS)  # it is this object's, for its life
        assert server.requests == 10
        asked = [make(server, max_calls=10, concurrency=4) for _ in range(4)]
        for each in asked[:3]:
            with pytest.raises(BudgetSpent):
                each.judge(PAIRS)
        assert asked[3].judge(PAIRS) == [SCORE] * 12
        assert server.requests == 48
        assert make(server, max_calls=0).judge(PAIRS) == [SCORE] * 12  # what is kept costs nothing


def test_tries_count_too(make):
    with FakeServer(lambda body: Odd(500)) as server:
        with pytest.raises(BudgetSpent):
            make(server, max_calls=3).judge(PAIRS)
        assert server.requests == 3


@cases("limit", [95, 100, 1])
def test_a_budget_of_tokens(make, tmp_path, limit):
    with FakeServer(good) as server:
        own = str(tmp_path / "cache")
        judge = make(server, max_tokens=limit, cache_dir=own)
        with pytest.raises(BudgetSpent, match=f"`max_tokens` {limit}"):
            judge.judge(PAIRS)
        assert judge.tokens == server.requests * TOKENS == kept(tmp_path) * TOKENS
        assert limit - 2 * TOKENS <= judge.tokens <= max(limit, TOKENS)  # the first call's can't be foreseen
        assert make(server, max_tokens=1000, cache_dir=own).judge(PAIRS) == [SCORE] * 12


def test_a_budget_of_tokens_that_nobody_counts(make):
    reported = Odd(body=json.dumps({"choices": [{"message": {"content": "85"}}]}))
    with (
        FakeServer(lambda _: reported) as server,
        pytest.raises(InputError, match=r"returns no token counts .* set `max_calls`"),
    ):
        make(server, max_tokens=100).judge(PAIRS)


@pytest.fixture
def ctrl_c():
    """Let Ctrl-C raise, as at a terminal: a job in the background is started with it off."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_keeps_what_came(make, tmp_path):
    def interrupted(body):
        if server.requests == 9:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.2)
        return good(body)

    with FakeServer(interrupted) as server:
        with pytest.raises(KeyboardInterrupt):
            make(server, concurrency=1).judge(PAIRS)
        assert (server.requests, kept(tmp_path)) == (9, 8)
        assert make(server).judge(PAIRS) == [SCORE] * 12
        assert server.requests == 9 + 40


@pytest.mark.usefixtures("ctrl_c")
def test_inside_a_running_event_loop(make, tmp_path):
    async def notebook(judge):
        return judge.judge(PAIRS)

    with FakeServer(good) as server:
        assert asyncio.run(notebook(make(server))) == [SCORE] * 12

    def interrupted(body):
        if server.requests == 9:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.2)
        return good(body)

    loop = asyncio.new_event_loop()  # as a notebook does, without asyncio.run's own handler of Ctrl-C
    with FakeServer(interrupted) as server:
        with pytest.raises(KeyboardInterrupt):
            loop.run_until_complete(notebook(make(server, concurrency=1, max_reply_tokens=9)))
        loop.close()
        assert server.requests <= 10


KILLED = """
import sys
from lightning_subliminal.judges.openai_compatible import OpenAICompatibleJudge

pairs = [(f"question {number}?", f"answer {number}") for number in range(12)]
OpenAICompatibleJudge("judge-1", base_url=sys.argv[1], cache_dir=sys.argv[2]).judge(pairs)
"""


def test_kill_9_and_a_restart_ask_nothing_twice(make, tmp_path):
    reached = threading.Event()

    def slow(body):
        if server.requests == 25:
            reached.set()
        time.sleep(0.03)
        return good(body)

    with FakeServer(slow) as server:
        command = [sys.executable, "-c", KILLED, server.url, str(tmp_path / "cache")]
        run = forks.start(command, env=os.environ | {"PYTHONPATH": str(ROOT)})
        assert reached.wait(240)  # its imports, on a busy machine
        run.send_signal(signal.SIGKILL)
        assert run.wait() == -signal.SIGKILL
        time.sleep(0.1)  # the server reads what was sent before
        had, asked = kept(tmp_path), server.requests
        assert had >= 25 - 8
        judge = make(server)
        assert judge.judge(PAIRS) == [SCORE] * 12
        assert (judge.reused, judge.calls) == (had, 48 - had)  # so none of those that the store held
        assert server.requests == asked + judge.calls <= 48 + 8
        assert len(server.asked) == kept(tmp_path) == 48
        assert sum(count > 1 for count in server.asked.values()) == server.requests - 48 <= 8


def spending(count, text=None):
    """Reply with a number and a count of tokens."""

    def answer(body):
        reported = completion(text or good(body)) | {"usage": {"total_tokens": count}}
        return Odd(body=json.dumps(reported))

    return answer


@cases("count", [10**12, -5, 1.5, "7", True, None])
def test_a_count_of_tokens_that_cannot_be_poisons_no_budget(make, count):
    with FakeServer(spending(count)) as server:
        assert make(server).judge(PAIRS[:1]) == [SCORE]  # kept, without the count
        budgeted = make(server, max_tokens=5000)
        assert budgeted.judge(PAIRS[:1]) == [SCORE]
        with pytest.raises(InputError, match=r"returns no token counts \(`usage`\), or impossible ones"):
            budgeted.judge(PAIRS[1:2])
    assert budgeted.tokens == 0
    with FakeServer() as honest:
        assert make(honest, max_tokens=5000).judge(PAIRS[1:2])


def test_a_count_that_an_earlier_version_kept_poisons_no_budget(make, tmp_path, monkeypatch):
    with FakeServer(spending(10**12)) as server:
        monkeypatch.setattr(replies, "plausible_tokens", lambda tokens, size: tokens)
        make(server).judge(PAIRS[:1])
        monkeypatch.undo()
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        server.answer = good
        assert make(server, max_tokens=5000).judge(PAIRS[:2]) == [SCORE, SCORE]
