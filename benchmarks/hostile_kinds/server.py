"""A hostile judge server: it echoes the key, never ends, counts nonsense, nests, escapes."""

import json
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from hostile_kinds import Kind, Try

KEY = "sk-hostile-0123456789abcdef"
Reply = Callable[[random.Random], tuple[int, bytes, dict[str, str]]]
ESCAPES = ("\x1b[31m", "\x1b]0;title\x07", "\x9b2J", "\x00", "\u202e", "\r", "\x7f")


def completion(text: object, **more: Any) -> dict[str, Any]:
    """Return a reply in the shape of the API."""
    reply = {"choices": [{"message": {"content": text}, "finish_reason": "stop"}], "usage": {"total_tokens": 20}}
    return reply | more


def echo(rng: random.Random) -> tuple[int, bytes, dict[str, str]]:
    """The key, in the reply or in an error, plain or escaped."""
    key = "".join(rng.choice([each, f"\\u{ord(each):04x}"]) for each in KEY)
    body = json.dumps(rng.choice([completion("MARK"), {"error": {"message": "no MARK"}}, "MARK"]))
    return rng.choice([200, 200, 401, 500]), body.replace("MARK", key).encode(), {}


def endless(rng: random.Random) -> tuple[int, bytes, dict[str, str]]:
    """A body of many megabytes."""
    return rng.choice([200, 400, 503]), rng.choice([b" ", b"[", b"\x00", b'"']) * rng.randrange(17 << 20, 40 << 20), {}


def nested(rng: random.Random) -> tuple[int, bytes, dict[str, str]]:
    """JSON nested deep, also as the message or as an argument."""
    deep = rng.choice(["[", '{"error":', '{"choices":[', '{"a":[']) * rng.randrange(1000, 200_000)
    return rng.choice([200, 400, 422, 500]), deep.encode(), {}


def nonsense(rng: random.Random) -> tuple[int, bytes, dict[str, str]]:
    """Counts, texts and choices of the wrong kind or size."""
    count: Any = rng.choice([10**30, -1, 1e308, "many", None, [], {}, True, float("nan")])
    text: Any = rng.choice([None, 85, [], {"text": "85"}, "9" * 100_000, "85" + "\ud800", "", "NaN", "1e999"])
    reply = completion(text, usage=rng.choice([{"total_tokens": count}, count]))
    if rng.random() < 0.3:
        reply["choices"] = rng.choice([None, {}, [None], [[]], [{"message": None}], "choices", [{"text": "85"}]])
    return 200, json.dumps(reply).encode(), {}


def escapes(rng: random.Random) -> tuple[int, bytes, dict[str, str]]:
    """Control characters in an error's message, which is shown."""
    words = "".join(rng.choice([*ESCAPES, "word ", "é"]) for _ in range(rng.randrange(3, 60)))
    body = json.dumps({"error": {"message": words}}) if rng.random() < 0.5 else words
    return rng.choice([400, 401, 404, 500]), body.encode(), {"Retry-After": rng.choice(["0", "-1", "1e9", words[:0]])}


def elsewhere(rng: random.Random) -> tuple[int, bytes, dict[str, str]]:
    """A redirect, which would take the key to another server; odd encodings."""
    odd = rng.choice([{"Location": "http://127.0.0.1:9/"}, {"Content-Encoding": "gzip"}, {"Content-Encoding": "br"}])
    odd |= rng.choice([{}, {"Content-Type": "text/plain; charset=none-such"}])
    return rng.choice([200, 301, 302, 307, 308]), b"\x1f\x8b\x08 not gzip", odd


@contextmanager
def serving(reply: Reply, rng: random.Random, server: ThreadingHTTPServer) -> Iterator[None]:
    """Serve while a try runs."""
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()


def kind(reply: Reply) -> Kind:
    """Return a kind that filters rows by a judge behind this server."""

    def make(rng: random.Random, folder: Path) -> Try:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                status, body, headers = reply(rng)
                with suppress(OSError):
                    self.send_response(status)
                    for name, value in ({"Content-Type": "application/json"} | headers).items():
                        self.send_header(name, value)
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)

            def log_message(self, *args: object) -> None:
                """Log nothing."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads, server.block_on_close = True, False
        server.handle_error = lambda *args: None  # type: ignore[method-assign]
        rows = [{"prompt": f"question {number}?", "completion": f"answer {number}."} for number in range(2)]
        (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        settings = {"model": "m", "base_url": f"http://127.0.0.1:{server.server_port}/v1", "retries": 0, "timeout": 20}
        settings |= {"mode": rng.choice(["text", "text", "expected"]), "coherence": False}
        judge = {"class_path": "lightning_subliminal.OpenAICompatibleJudge", "init_args": settings}
        filters = [{"class_path": "lightning_subliminal.filters.Judged", "init_args": {"judge": judge}}]
        (folder / "filters.yaml").write_text(json.dumps({"filters": filters}))
        words = ["data", "filter", "rows.jsonl", "out.jsonl", "--config", "filters.yaml"]
        return Try(
            words,
            frozenset({0, 2}),
            environment={"OPENAI_API_KEY": KEY},
            around=serving(reply, rng, server),
            after=_key_is_nowhere,
        )

    return make


def _key_is_nowhere(folder: Path) -> list[str]:
    """Return the files that contain the key."""
    files = [path for path in folder.parent.rglob("*") if path.is_file()]
    return [f"the key is in {path.name}" for path in files if KEY.encode() in path.read_bytes()]


KINDS: dict[str, Kind] = {each.__name__: kind(each) for each in (echo, endless, nested, nonsense, escapes, elsewhere)}
