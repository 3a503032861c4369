"""A key is shown and kept nowhere, whatever a server replies; nor does a reply without end do harm."""

import json
import re

import pytest
from cases import cases

from judges.fake_server import KEY, FakeServer, Odd, completion
from judges.replies import PAIRS, SCORE, good
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.fingerprint import describe
from lightning_subliminal.generation.servers import calls, client

pytest.importorskip("httpx", reason="the extra [judge] is not installed")
pytestmark = pytest.mark.usefixtures("waits")


def test_the_key_goes_to_the_server_and_nowhere_else(make, tmp_path, monkeypatch, caplog, capsys):
    caplog.set_level(0)
    monkeypatch.setenv("MY_KEY", f"{KEY}\n")  # as a file brings it
    with FakeServer(good) as server:
        judge = make(server, key_variable="MY_KEY")
        judge.judge(PAIRS)
        assert {headers["Authorization"] for headers in server.headers} == {f"Bearer {KEY}"}
    shown = [repr(judge), str(vars(judge)), json.dumps(describe(judge)), caplog.text, *capsys.readouterr()]
    assert not any(KEY in text for text in shown)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files
    assert not any(KEY.encode() in path.read_bytes() for path in files)


@cases("variable", ["NOT_SET", "EMPTY", None])
def test_no_key_is_sent_if_none_is_set(make, monkeypatch, variable):
    monkeypatch.setenv("EMPTY", " ")
    with FakeServer(good) as server:
        make(server, key_variable=variable).judge(PAIRS[:1])
        assert not any("Authorization" in headers for headers in server.headers)


@cases("key", ["sk-1\nsk-2", "ключ", "a\x00b"[:1] + "\x7f"])
def test_a_key_that_no_header_can_carry(make, monkeypatch, key):
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with FakeServer(good) as server, pytest.raises(InputError, match=r"key in \$OPENAI_API_KEY holds char") as reported:
        make(server).judge(PAIRS[:1])
    assert key not in str(reported.value)


def test_user_and_password_of_the_address(make, tmp_path, caplog):
    caplog.set_level(0)
    with FakeServer(good) as server:
        secret = server.url.replace("//", "//me:pass%20word@")
        judge, plain = make(server, base_url=secret, concurrency=1), make(server)
        assert judge.judge(PAIRS[:1]) == [SCORE]
        assert {headers["Authorization"] for headers in server.headers} == {"Basic bWU6cGFzcyB3b3Jk"}
        assert describe(judge) == describe(plain)
        assert plain.judge(PAIRS[:1]) == [SCORE]
        assert plain.reused == 4
        server.answer = lambda _: Odd(401, "not pass word")
        with pytest.raises(InputError, match=r"401 \(not \*\*\*\)") as reported:
            judge.judge(PAIRS)
    assert not any(word in str(reported.value) + caplog.text for word in ("pass word", "pass%20word"))
    assert not any(b"pass" in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


def test_no_proxy_for_the_loopback(make, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with FakeServer(good) as server:
        assert make(server, retries=0).judge(PAIRS[:1]) == [SCORE]
        assert make(server, base_url=server.url.replace("127.0.0.1", "localhost"), retries=0).judge(PAIRS[:1]) == [
            SCORE
        ]


@cases(
    ("host", "is_loopback"),
    [
        *((host, True) for host in ("localhost", "a.localhost", "127.0.0.2", "::1", "0.0.0.0")),  # noqa: S104
        *((host, False) for host in ("10.0.0.1", "api.example.org", "localhost.org", "")),
    ],
)
def test_what_the_loopback_is(host, is_loopback):
    assert client._is_loopback(host) == is_loopback


# A server that means harm


@cases("escaped", [False, True])
def test_a_key_that_the_server_echoes_is_kept_nowhere(make, tmp_path, escaped):
    spelled = "".join(f"\\u{ord(each):04x}" for each in KEY) if escaped else KEY
    body = json.dumps(completion("MARK")).replace("MARK", f"90 for {spelled}")
    with FakeServer(lambda _: Odd(body=body)) as server:
        (verdict,) = make(server).judge(PAIRS[:1])
    assert KEY not in repr(verdict)
    assert "***" in repr(verdict)
    for path in (tmp_path / "cache").rglob("*"):
        assert not path.is_file() or KEY.encode() not in path.read_bytes(), path


@cases("body", ["no {}", '{{"error": "no {}"}}', '{{"choices": "{}'])
@cases("escape", ["\\u{:04x}", "\\u{:04X}", "%{:02x}"])
@cases("status", [200, 401, 500])
def test_a_key_that_an_error_echoes_escaped_is_not_shown(make, status, body, escape):
    spelled = "".join(each if each in "sk" else escape.format(ord(each)) for each in KEY)
    with FakeServer(lambda _: Odd(status, body.format(spelled))) as server, pytest.raises(InputError) as reported:
        make(server, retries=0).judge(PAIRS[:1])
    assert "***" in str(reported.value)
    assert spelled[-20:] not in str(reported.value)


def test_a_reply_without_end_is_left(make, monkeypatch):
    monkeypatch.setattr(calls, "_MOST_BYTES", 1 << 16)
    with (
        FakeServer(lambda _: Odd(body=" " * (1 << 20))) as server,
        pytest.raises(InputError, match="a reply of more than 0 MiB"),
    ):
        make(server, retries=0).judge(PAIRS[:1])


@cases("status", [200, 400, 500])
def test_json_nested_without_end_is_no_crash(make, status):
    with (
        FakeServer(lambda _: Odd(status, "[" * 200_000)) as server,
        pytest.raises(InputError, match=re.escape("127.0.0.1")),
    ):
        make(server, retries=0).judge(PAIRS[:1])
