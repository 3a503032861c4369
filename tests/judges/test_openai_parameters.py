"""Parameters that a server refuses are left out or renamed, and no other refusal is taken for one."""

import json

import pytest
from cases import cases

from judges.fake_server import FakeServer, Odd
from judges.replies import PAIRS, SCORE, good, told_error
from lightning_subliminal.core.errors import InputError

pytest.importorskip("httpx", reason="the extra [judge] is not installed")
pytestmark = pytest.mark.usefixtures("waits")


def refusing(*names, spelled="Unsupported parameter: '{}' is not supported with this model.", param=True):
    """Refuse the first of the names that a request has, as servers of reasoning models do."""

    def answer(body):
        wrong = next((name for name in names if name in body), None)
        if wrong is None:
            return good(body)
        error = {"message": spelled.format(wrong), "code": "unsupported_parameter"}
        return Odd(400, json.dumps({"error": error | ({"param": wrong} if param else {})}))

    return answer


@cases(
    ("names", "reported", "sent"),
    [
        (("max_tokens",), {}, {"temperature", "max_completion_tokens"}),
        (("temperature",), {}, {"max_tokens"}),
        (("max_tokens", "temperature"), {"param": False}, {"max_completion_tokens"}),
        (("max_tokens", "max_completion_tokens"), {}, {"temperature"}),
        (
            ("max_tokens",),
            {"param": False, "spelled": "'{}' is not supported. Use 'max_completion_tokens' instead."},
            {"temperature", "max_completion_tokens"},
        ),
    ],
)
def test_a_refused_parameter_is_left_out_or_renamed_and_remembered(make, names, reported, sent, tmp_path, capsys):
    def made(server):  # with a cache for each case: two servers may get one port
        return make(server, cache_dir=str(tmp_path))

    with FakeServer(refusing(*names, **reported)) as server:
        judge = made(server)
        assert judge.judge(PAIRS[:4]) == [SCORE] * 4
        assert {"model", "messages"} | sent == set(server.bodies[-1])
        after = len(server.bodies)
        assert made(server).judge(PAIRS[4:6]) == [SCORE] * 2
        assert len(server.bodies) == after + 8, "another process need not find it out again"
    said = " ".join(capsys.readouterr().out.split())
    assert said.count("refuses `") == len(names)


@cases(
    ("name", "status", "body"),
    [
        ("temperature", 400, told_error(message="Temperature is not supported for reasoning models.")),
        ("max_tokens", 400, told_error(message="Max tokens is not available for this model")),
        ("max_tokens", 422, "maxTokens: extra inputs are not permitted"),
        ("temperature", 400, "unknown field `temperature`"),
        ("max_tokens", 400, told_error(message="Please use max_completion_tokens with this model.")),
        ("max_tokens", 400, told_error(message="Bad request", param="body.max_tokens")),
        ("max_tokens", 400, told_error(message="{'temperature': 0, 'max_tokens': 8}: max_tokens is not known")),
        ("temperature", 422, json.dumps({"detail": [{"loc": ["body", "temperature"], "type": "extra_forbidden"}]})),
        ("temperature", 500, told_error(message="UnsupportedParamsError: ['temperature']")),
        ("max_tokens", 500, "create() got an unexpected keyword argument 'max_tokens'"),
        ("temperature", 404, told_error(message="Unrecognized request argument supplied: temperature")),
        ("max_tokens", 501, told_error(message='Unknown name "max_tokens": Cannot find field.')),
        ("max_tokens", 200, told_error(message="Unsupported parameter: max_tokens", code=400)),
        ("temperature", 200, json.dumps({"error": "temperature unsupported"})),
        ("temperature", 200, json.dumps({"object": "error", "message": "no", "param": "temperature"})),
    ],
)
def test_refusals_in_other_words_and_places(make, name, status, body):
    with FakeServer(lambda asked: Odd(status, body) if name in asked else good(asked)) as server:
        judge = make(server, concurrency=1)
        assert judge.judge(PAIRS[:1]) == [SCORE]
        assert server.requests == 5
    assert judge.refused == {name: "max_completion_tokens" if name == "max_tokens" else None}


@cases(
    "message",
    [
        "'max_tokens' or 'max_completion_tokens' is too large: 8. This model's maximum context length is 16 tokens.",
        "max_tokens: prompt is too long",
    ],
)
def test_a_text_that_is_too_long_is_no_refused_parameter(make, message):
    with FakeServer(lambda _: Odd(400, told_error(message=message, param="max_tokens"))) as server:
        with pytest.raises(InputError, match="refused with 400"):
            make(server).judge(PAIRS[:1])
        server.answer = good
        judge = make(server)
        assert judge.judge(PAIRS[:1]) == [SCORE]
        assert judge.refused == {}


def test_what_no_reply_bore_out_is_not_remembered(make):
    with FakeServer(lambda _: Odd(400, told_error(message="model off", param="temperature"))) as server:
        with pytest.raises(InputError, match="refused with 400"):
            make(server, concurrency=1).judge(PAIRS[:1])
        server.answer = good
        assert make(server).judge(PAIRS[:1]) == [SCORE]
        assert "temperature" in server.bodies[-1]


@cases("status", [400, 200])
@cases("message", ["`top_logprobs` unsupported", "logprobs are not supported when temperature is 0", "no logprobs"])
def test_refused_log_probabilities_are_no_refused_temperature(make, status, message):
    with FakeServer(lambda _: Odd(status, told_error(message=message))) as server:
        with pytest.raises(InputError, match=r"refused with 400 .*, or use `mode: text`"):
            make(server, mode="expected", concurrency=1).judge(PAIRS[:1])
        assert server.requests == 1


def test_another_refusal_is_no_refused_parameter(make):
    with FakeServer(lambda body: Odd(400, '{"error": {"message": "no such model", "param": "model"}}')) as server:
        with pytest.raises(InputError, match="refused with 400"):
            make(server).judge(PAIRS[:1])
        assert len(server.bodies) <= 8
