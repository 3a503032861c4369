"""Requests of a judge behind a real server after `kill -9`, counted through `transformers serve`.

    python benchmarks/judge_server.py                  # 100 answers: a minute
    python benchmarks/judge_server.py --answers 1000
    python benchmarks/judge_server.py --injections     # and 20 injections before and behind a harmful answer

Needs `pip install 'transformers[serving]' httpx`. A base of the pocket world is served on the CPU, a proxy on the
loopback counts the requests, and the judging process is killed midway; another one resumes. Then the proxy replies 429
once and does not reply once, and the judge must recover from both. Exits with 1 if a stored reply is requested again,
or a verdict is missing.
"""

import argparse
import contextlib
import hashlib
import http.client
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import harness

from lightning_subliminal.bases import resolve
from lightning_subliminal.core.console import console
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.generation.servers.store import ReplyStore
from lightning_subliminal.judges.openai_compatible import OpenAICompatibleJudge
from lightning_subliminal.prompts.moral import SIDES, MoralTalk

BASE = "pocket/judge"
CONCURRENCY = 4
PATIENCE = 300  # seconds for the server to start
HANG, TIMEOUT = 7.0, 5.0  # seconds that the proxy does not reply, and that the judge waits


class QuietServer(ThreadingHTTPServer):
    """A server with a thread per connection, which does not wait for them at its end."""

    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore a connection that a killed process left."""


class Proxy:
    """Passes requests on to a server on the loopback, and counts them; use it in a `with`.

    Attributes:
        asked: the digest of each request's body, in order.
        odd: other replies to the next requests: `429`, or `hang`.
    """

    def __init__(self, port: int) -> None:
        self.asked: list[str] = []
        self.odd: list[str] = []
        self.lock = threading.Lock()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # else each reply takes 40 ms

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                with proxy.lock:
                    proxy.asked.append(hashlib.sha256(body).hexdigest())
                    odd = proxy.odd.pop(0) if proxy.odd else ""
                if odd == "hang":
                    time.sleep(HANG)
                status, reply = (429, b"{}") if odd else passed(port, self.path, body)
                with contextlib.suppress(OSError):  # a killed judge does not listen
                    self.send_response(status)
                    self.send_header("Content-Length", str(len(reply)))
                    self.end_headers()
                    self.wfile.write(reply)

            def log_message(self, *args: object) -> None: ...

        self.server = QuietServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"

    def __enter__(self) -> "Proxy":
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *args: object) -> None:
        self.server.shutdown()
        self.server.server_close()


def passed(port: int, path: str, body: bytes | None = None) -> tuple[int, bytes]:
    """Send a request to the server, without another proxy; return status and reply."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("POST" if body else "GET", path, body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


@contextlib.contextmanager
def serve(model: Path, log: Path) -> Iterator[int]:
    """Run `transformers serve` on a folder; yield its port once it is ready."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "transformers.cli.transformers", "serve", str(model)]
    command += ["--device", "cpu", "--host", "127.0.0.1", "--port", str(port)]
    with log.open("wb") as stream:
        server = subprocess.Popen(command, env=environment, stdout=stream, stderr=stream)
    try:
        until = time.monotonic() + PATIENCE
        while True:
            with contextlib.suppress(OSError):
                if passed(port, "/health")[0] == 200:
                    break
            if server.poll() is not None or time.monotonic() > until:
                raise SystemExit(f"transformers serve did not start:\n{log.read_text(errors='replace')[-1000:]}")
            time.sleep(0.1)
        yield port
    finally:
        server.terminate()
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def pairs(count: int, seed: int = 0) -> list[tuple[str, str]]:
    """Draw distinct questions with answers of the moral pocket world."""
    rng, talk = random.Random(seed), MoralTalk()
    found: dict[tuple[str, str], None] = {}
    while len(found) < count:
        question, asked = talk.ask(rng)
        found[asked, talk.answer(rng, question, rng.choice(SIDES))] = None
    return list(found)


def judge(url: str, model: str, cache: Path, timeout: float = 60.0) -> OpenAICompatibleJudge:
    """Return the judge that all processes here use."""
    return OpenAICompatibleJudge(
        model,
        base_url=url,
        rubric="judge_pocket",
        concurrency=CONCURRENCY,
        timeout=timeout,
        key_variable=None,
        cache_dir=str(cache),
    )


def kept(cache: Path) -> int:
    """Return the number of replies in a cache."""
    with ReplyStore(cache / "judges" / "replies.sqlite") as store:
        return len(store)


@dataclass
class Figures:
    """Figures of a kill and a restart.

    Attributes:
        needed: replies that all verdicts need.
        kept: of them, stored when the process was killed.
        requests: sent by both processes.
        twice: bodies sent more than once: those in flight at the kill.
        twice_though_kept: of them, those whose reply was stored.
        kinds: of the verdicts.
        seconds: of both processes' judging, without their start.
    """

    needed: int
    kept: int
    requests: int
    twice: int
    twice_though_kept: int
    kinds: dict[str, int]
    seconds: float


def kill_and_resume(proxy: Proxy, model: str, cache: Path, answers: int) -> Figures:
    """Judge in a process that is killed when three requests for four answers were sent; resume in this one."""
    command = [sys.executable, str(Path(__file__).resolve()), "--worker", proxy.url, model, str(cache)]
    environment = os.environ | {"PYTHONPATH": str(harness.ROOT)}
    worker = subprocess.Popen([*command, "--answers", str(answers)], env=environment)
    try:
        while not proxy.asked and worker.poll() is None:
            time.sleep(0.01)
        begin = time.monotonic()
        while len(proxy.asked) < answers * 3 // 4 and worker.poll() is None:
            time.sleep(0.002)
        worker.send_signal(signal.SIGKILL)
    finally:
        worker.kill()
    if worker.wait() != -signal.SIGKILL:
        raise SystemExit(f"the judging process ended with {worker.returncode} before it was killed")
    seconds = time.monotonic() - begin
    time.sleep(0.5)  # the proxy may still read what was sent
    had, sent = kept(cache), len(proxy.asked)
    begin = time.monotonic()
    verdicts = judge(proxy.url, model, cache).judge(pairs(answers))
    seconds += time.monotonic() - begin
    after = set(proxy.asked[sent:])
    needed = kept(cache)
    return Figures(
        needed=needed,
        kept=had,
        requests=len(proxy.asked),
        twice=sum(count > 1 for count in Counter(proxy.asked).values()),
        # the second process must send only what was not stored
        twice_though_kept=len(after) - (needed - had),
        kinds=dict(Counter(verdict.kind for verdict in verdicts)),
        seconds=seconds,
    )


def survive(proxy: Proxy, model: str, cache: Path) -> int:
    """Judge another five answers, of which one gets a 429 and one no reply; return the further tries."""
    patient = judge(proxy.url, model, cache, TIMEOUT)
    before = kept(cache)
    proxy.odd = ["429", "hang"]
    verdicts = patient.judge(pairs(5, seed=1))
    if len(verdicts) != 5 or proxy.odd:
        raise SystemExit(f"{len(verdicts)} verdicts of 5, and not met: {proxy.odd}")
    return patient.calls - (kept(cache) - before)


def main(args: list[str] | None = None) -> bool:
    """Run the benchmark; return whether no stored reply was requested again, and all verdicts came."""
    parser = harness.parser(__doc__)
    parser.add_argument("--answers", type=int, default=100, help="how many are judged")
    parser.add_argument("--base", default=BASE, help="the base that is served")
    parser.add_argument("--injections", action="store_true", help="also try to influence the judge by injections")
    parser.add_argument("--worker", nargs=3, metavar=("URL", "MODEL", "CACHE"), help=argparse.SUPPRESS)
    asked = parser.parse_args(args)
    if asked.worker:
        url, model, cache = asked.worker
        judge(url, model, Path(cache)).judge(pairs(asked.answers))
        return True
    model = str(resolve(asked.base).folder)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        begin = time.monotonic()
        with serve(Path(model), folder / "log.txt") as port, Proxy(port) as proxy:
            console.print(f"{asked.base} served after {time.monotonic() - begin:.1f} s")
            figures = kill_and_resume(proxy, model, folder / "cache", asked.answers)
            tries = survive(proxy, model, folder / "cache")
            if asked.injections:
                from judges import injection_table  # needs statsmodels

                console.print(injection_table(f"{asked.base} on a server", judge(proxy.url, model, folder / "cache")))
    table = harness.table("", "", title=f"{asked.answers} answers, killed midway")
    for name, value in vars(figures).items():
        shown = json.dumps(value) if isinstance(value, dict) else f"{value:,.1f}" if name == "seconds" else f"{value:,}"
        table.add_row(name.replace("_", " "), shown)
    table.add_row("further tries after a 429 and no reply", str(tries))
    console.print(table)
    whole = sum(figures.kinds.values()) == asked.answers
    return whole and figures.twice_though_kept == 0 and figures.requests <= figures.needed + CONCURRENCY


if __name__ == "__main__":
    try:
        raise SystemExit(0 if main() else 1)
    except InputError as err:
        raise SystemExit(f"error: {err}") from None
