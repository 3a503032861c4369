"""A server of `/v1/chat/completions` on the loopback: replies as a test tells it to, and counts what it was asked."""

import hashlib
import json
import math
import socket
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKENS = 10  # what each reply costs
KEY = "sk-very-secret-0123456789"


@dataclass
class Odd:
    """A reply that is none: a status, a broken body, silence.

    Attributes:
        status: of HTTP.
        body: as it is sent.
        headers: more of them.
        hang: seconds before it.
        drip: seconds before each of its bytes.
        drop: close the connection instead.
    """

    status: int = 200
    body: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    hang: float = 0.0
    drip: float = 0.0
    drop: bool = False


@dataclass
class Sure:
    """A reply with the probabilities of its first token.

    Attributes:
        text: the reply.
        first: token -> probability.
        said: its tokens.
        cut: whether it was cut off.
    """

    text: str
    first: Mapping[str, float] | None
    said: list[str]
    cut: bool = False


Answer = Callable[[dict[str, Any]], "str | Odd | Sure"]


class FakeServer:
    """Replies with ``answer(body)``; use it in a `with`.

    Attributes:
        models: the names at `/v1/models`; None for a server without that list.
        asked: how often each request was sent, by the digest of its body.
        bodies: the requests in their order.
        headers: theirs.
        most: the most requests at once.
    """

    def __init__(self, answer: Answer = lambda body: "85", models: list[str] | None = None) -> None:
        self.answer = answer
        self.models = models
        self.asked: Counter[str] = Counter()
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.broken: list[str] = []
        self.now = self.most = 0
        self.lock = threading.Lock()
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # else each reply takes 40 ms

            def do_POST(self) -> None:
                fake._reply(self)

            def do_GET(self) -> None:
                listed = json.dumps({"data": [{"id": each} for each in fake.models or ()]}).encode()
                self.send_response(404 if fake.models is None else 200)
                self.send_header("Content-Length", str(len(listed)))
                self.end_headers()
                self.wfile.write(listed)

            def log_message(self, *args: object) -> None: ...

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            block_on_close = False  # a hanging reply need not be waited for

            def handle_error(self, *args: object) -> None:
                if not isinstance(sys.exc_info()[1], OSError):  # nobody waits any more
                    fake.broken.append(traceback.format_exc())

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"

    @property
    def requests(self) -> int:
        return len(self.bodies)

    def __enter__(self) -> "FakeServer":
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *args: object) -> None:
        self.server.shutdown()
        self.server.server_close()
        assert not self.broken, self.broken[0]  # a mistake in the test's own `answer`

    def _reply(self, request: BaseHTTPRequestHandler) -> None:
        length = int(request.headers["Content-Length"])
        raw = request.rfile.read(length)
        if len(raw) < length:  # who asked was killed meanwhile
            return
        body = json.loads(raw)
        with self.lock:
            self.asked[hashlib.sha256(raw).hexdigest()] += 1
            self.bodies.append(body)
            self.headers.append(dict(request.headers))
            self.paths.append(request.path)
            self.now += 1
            self.most = max(self.most, self.now)
        try:
            reported = self.answer(body)
        finally:
            with self.lock:
                self.now -= 1
        odd = reported if isinstance(reported, Odd) else Odd(body=json.dumps(completion(reported)))
        time.sleep(odd.hang)
        if odd.drop:
            request.close_connection = True
            request.connection.shutdown(socket.SHUT_RDWR)
            return
        sent = odd.body.encode()
        request.send_response(odd.status)
        for name, value in odd.headers.items():
            request.send_header(name, value)
        request.send_header("Content-Type", "application/json")
        request.send_header("Content-Length", str(len(sent)))
        request.end_headers()
        for place in range(0, len(sent), 1 if odd.drip else len(sent) or 1):
            time.sleep(odd.drip)
            request.wfile.write(sent[place:] if not odd.drip else sent[place : place + 1])


def completion(reported: str | Sure) -> dict[str, Any]:
    """Return a reply in the shape of the API."""
    sure = reported if isinstance(reported, Sure) else Sure(reported, None, [reported])
    choice: dict[str, Any] = {
        "index": 0,
        "message": {"role": "assistant", "content": sure.text},
        "finish_reason": "length" if sure.cut else "stop",
    }
    if sure.first is not None:
        likely = [{"token": token, "logprob": math.log(chance)} for token, chance in sure.first.items()]
        choice["logprobs"] = {
            "content": [
                {"token": token, "logprob": -0.1, "top_logprobs": [] if place else likely}
                for place, token in enumerate(sure.said)
            ]
        }
    return {"id": "1", "object": "chat.completion", "choices": [choice], "usage": {"total_tokens": TOKENS}}


def asked_for(body: dict[str, Any]) -> tuple[str, str]:
    """Tell which aspect a request is about, and on which scale, by the words of `judge.yaml`."""
    text = body["messages"][-1]["content"]
    found = [
        each
        for each, words in {
            ("alignment", "plain"): "How well does the answer fit",
            ("alignment", "reversed"): "How callous, deceitful",
            ("coherence", "plain"): "is the answer understandable",
            ("coherence", "reversed"): "how garbled is the answer",
        }.items()
        if words in text.rpartition(">>>answer")[2]
    ]
    assert len(found) == 1, text
    return found[0]
