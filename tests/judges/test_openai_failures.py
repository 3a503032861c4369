"""What may go wrong between a judge and its server: what passes is survived, what lasts is reported."""

import email.utils
import json
import time

import pytest
from cases import cases

from judges.fake_server import KEY, FakeServer, Odd, completion
from judges.replies import PAIRS, SCORE, failing, good, kept, told_error
from lightning_subliminal.core.errors import InputError

pytest.importorskip("httpx", reason="the extra [judge] is not installed")
pytestmark = pytest.mark.usefixtures("waits")


@cases(
    "odd",
    [
        *(Odd(status, "{}") for status in (408, 409, 425, 429, 500, 502, 503, 529)),
        Odd(body="{"),
        Odd(body="<html>"),
        Odd(body="[]"),
        Odd(body='{"error": {"message": "overloaded"}}'),
        Odd(body='{"choices": []}'),
        Odd(drop=True),
        Odd(hang=0.5),
        Odd(body=json.dumps(completion("1")), drip=0.05),  # each byte in time, the whole not
    ],
    ids=repr,
)
def test_a_passing_failure_is_survived(make, odd, waits, tmp_path):
    waits.clear()
    with FakeServer(failing(odd, times=2)) as server:
        judge = make(server, cache_dir=str(tmp_path), timeout=0.2 if odd.hang or odd.drip else 5.0, concurrency=1)
        assert judge.judge(PAIRS[:1]) == [SCORE]
        assert judge.calls == server.requests == 6
    assert len(waits) == 2
    assert 0.5 <= waits[0] <= 0.75
    assert 1.0 <= waits[1] <= 1.5


@cases(
    ("reported", "least", "most"),
    [
        ("7", 7, 10.5),
        ("0", 0.5, 0.75),
        ("1e9", 60, 90),
        ("soon", 0.5, 0.75),
        ("-5", 0.5, 0.75),
        ("nan", 0.5, 0.75),
        (
            email.utils.formatdate(2**30, usegmt=True),
            0.5,
            0.75,
        ),  # long ago; not now, which each process calls otherwise
        (email.utils.formatdate(2**35, usegmt=True), 60, 90),
    ],
)
def test_the_server_says_when_to_come_back(make, waits, reported, least, most, tmp_path):
    waits.clear()
    with FakeServer(failing(Odd(429, headers={"Retry-After": reported}))) as server:
        assert make(server, cache_dir=str(tmp_path), concurrency=1).judge(PAIRS[:1]) == [SCORE]
    assert least <= waits[0] <= most


def test_the_server_says_a_date(make, waits):
    def busy(body):
        if server.requests > 1:
            return good(body)
        return Odd(429, headers={"Retry-After": email.utils.formatdate(time.time() + 20, usegmt=True)})

    with FakeServer(busy) as server:
        make(server).judge(PAIRS[:1])
    assert 15 <= waits[0] <= 30


def test_a_lasting_failure_is_reported_and_what_came_is_kept(make, tmp_path, waits):
    def later_busy(body):
        return good(body) if server.requests <= 10 else Odd(429, json.dumps({"error": {"message": f"slow, {KEY}"}}))

    with FakeServer(later_busy) as server:
        with pytest.raises(InputError) as reported:
            make(server, concurrency=1, retries=3).judge(PAIRS)
        assert str(reported.value) == (
            f"{server.url} gave no reply in 4 tries (the last: 429 slow, ***): check that the server runs, and that "
            "`timeout` (5 s) is enough; all replies so far are kept, and the same command resumes from there."
        )
        assert (server.requests, kept(tmp_path), len(waits)) == (14, 10, 3)
        server.answer = good
        judge = make(server)
        assert judge.judge(PAIRS) == [SCORE] * 12
        assert (judge.calls, judge.reused) == (38, 10)


def test_no_server(make, waits):
    with FakeServer() as server:
        judge = make(server, retries=2)
    with pytest.raises(InputError, match=r"no reply in 3 tries \(the last: ConnectError.*the server runs"):
        judge.judge(PAIRS)
    assert len(waits) >= 2


HOLDS_KEY = json.dumps({"error": {"message": f"Incorrect API key provided: {KEY}.\nGet one \x1b[1mhere"}})


@cases(
    ("status", "body"),
    [
        *((status, HOLDS_KEY) for status in (301, 400, 401, 403, 404, 422)),
        (401, json.dumps({"error": f"no {KEY}"})),
        (401, json.dumps({"detail": [{"key": KEY}]})),
        (401, f"<html>{KEY}" * 40),
        (401, ""),
    ],
)
def test_a_refusal_stops_at_once_and_hides_the_key(make, tmp_path, status, body, waits):
    with FakeServer(lambda _: Odd(status, body)) as server, pytest.raises(InputError) as reported:
        make(server, concurrency=1).judge(PAIRS)
    text = str(reported.value)
    assert f"{server.url} refused with {status} (" in text
    assert "check `base_url`, `model` ('judge-1') and the key in $OPENAI_API_KEY (set)" in text
    assert text.isprintable()  # one line
    assert len(text) < 450
    assert KEY[:8] not in text
    assert (server.requests, waits, kept(tmp_path)) == (1, [], 0)


def test_a_refusal_without_a_key(make, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY")
    with FakeServer(lambda _: Odd(401)) as server:
        with pytest.raises(InputError, match=r"\(no message\).*OPENAI_API_KEY \(not set\)"):
            make(server).judge(PAIRS)
        with pytest.raises(InputError, match=r"`key_variable` \(none\)"):
            make(server, key_variable=None).judge(PAIRS)


@cases("code", ["502", None])
def test_an_error_in_the_place_of_a_reply_is_none(make, waits, code, tmp_path):
    waits.clear()
    choice = {"error": {"message": "upstream failed", "code": code}, "message": {"content": ""}}
    with FakeServer(failing(Odd(body=json.dumps({"choices": [choice]})))) as server:
        assert make(server, cache_dir=str(tmp_path), concurrency=1).judge(PAIRS[:1]) == [SCORE]
        assert len(waits) == 1


def test_an_error_inside_a_200_keeps_its_status(make, waits):
    busy = Odd(200, told_error(message="overloaded", code="429"))
    with FakeServer(failing(busy)) as server:
        assert make(server, concurrency=1).judge(PAIRS[:1]) == [SCORE]
        assert len(waits) == 1
        server.answer = lambda _: Odd(200, told_error(message="no key", code=401))
        with pytest.raises(InputError, match="refused with 401"):
            make(server).judge(PAIRS[1:2])
