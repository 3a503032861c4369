"""A hub on loopback: what ``huggingface_hub`` asks of the real one, served from a folder, with faults to order.

A repository is a folder of revisions, ``ROOT/org/model/main`` and ``ROOT/org/model/step1000``, each with its files. By
hand, to watch a command download: ``python tests/bases/hub_server.py ROOT``, then ``HF_ENDPOINT=http://127.0.0.1:PORT``.
"""

import hashlib
import json
import re
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

__all__ = ["HubServer", "serve"]


class HubServer(ThreadingHTTPServer):
    """A hub.

    Attributes:
        asked: method, path and range of each request.
        gated: repositories whose files need a licence; all may read what they hold.
        cuts: how often the connection ends in the middle of a file, by the file's name.
        stalls: files that stop in the middle.
        delay: seconds before each answer.
        down: the status of each answer, if not 200.
    """

    daemon_threads = True

    def __init__(self, root: Path, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.root, self.url = root, f"http://127.0.0.1:{self.server_address[1]}"
        self.asked: list[str] = []
        self.gated: set[str] = set()
        self.cuts: Counter[str] = Counter()
        self.stalls: set[str] = set()
        self.delay, self.down = 0.0, 0
        self.never = threading.Event()  # to wait for: a test may take the client's `sleep` away

    def fetched(self) -> list[str]:
        """Return the names of the files whose bytes were asked for, with the range, and forget all requests."""
        found = [line.split("/", 5)[-1] for line in self.asked if line.startswith("GET ") and "/api/" not in line]
        self.asked.clear()
        return sorted(found)

    def commit(self, repo: str, revision: str) -> str:
        """Return the commit of a revision: a digest of its files, which a change of them changes."""
        lines = [f"{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()}" for path in self.files(repo, revision)]
        return hashlib.sha256("\n".join([repo, *lines]).encode()).hexdigest()[:40]

    def files(self, repo: str, revision: str) -> list[Path]:
        """Return the files of a revision."""
        return sorted(path for path in (self.root / repo / revision).rglob("*") if path.is_file())


@contextmanager
def serve(root: Path) -> Iterator[HubServer]:
    """Serve a folder inside."""
    with HubServer(root) as hub:
        threading.Thread(target=hub.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield hub
        hub.shutdown()


class _RefusedError(Exception):
    """An answer of the hub that is an error, by status, code and message."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: HubServer

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.server.asked.append(f"{self.command} {path} {self.headers.get('Range', '')}".rstrip())
        self.server.never.wait(self.server.delay)
        try:
            if self.server.down:
                raise _RefusedError(self.server.down, "", "not today")
            self._answer([unquote(part) for part in path.strip("/").split("/")])
        except _RefusedError as err:
            status, code, message = err.args
            self._send(status, b"{}", {"X-Error-Code": code, "X-Error-Message": message})

    do_HEAD = do_GET  # noqa: N815

    def _answer(self, parts: list[str]) -> None:
        if parts[:2] == ["api", "models"]:
            repo, rest = "/".join(parts[2:4]), parts[4:]
            folder, commit = self._find(repo, rest[1] if len(rest) > 1 else "main")
            entries = [self._entry(path, folder) for path in self.server.files(repo, folder.name)]
            if rest[:1] == ["tree"]:
                found: Any = entries
            else:
                siblings = [{"rfilename": each["path"], **each} for each in entries]
                gated = "auto" if repo in self.server.gated else False
                found = {"id": repo, "sha": commit, "private": False, "gated": gated, "siblings": siblings}
            self._send(200, json.dumps(found).encode(), {"Content-Type": "application/json"})
            return
        if len(parts) < 4:
            raise _RefusedError(404, "", "Not found")
        repo, (where, revision, *file) = "/".join(parts[:2]), parts[2:]
        folder, commit = self._find(repo, revision)
        path, name = folder.joinpath(*file), "/".join(file)
        if repo in self.server.gated:
            raise _RefusedError(403 if "Authorization" in self.headers else 401, "GatedRepo", "Access is restricted")
        if not path.is_file():
            raise _RefusedError(404, "EntryNotFound", "Entry not found")
        content = path.read_bytes()
        etag = hashlib.sha256(content).hexdigest()
        reported = {"X-Repo-Commit": commit, "ETag": f'"{etag}"', "Accept-Ranges": "bytes"}
        if where == "resolve" and path.suffix == ".safetensors":  # large files are on another server
            place = f"{self.server.url}/{repo}/large/{commit}/{name}"
            reported |= {"Location": place, "X-Linked-Size": str(len(content)), "X-Linked-ETag": f'"{etag}"'}
            self._send(302, b"", reported)
            return
        begin = int((re.match(r"bytes=(\d+)-", self.headers.get("Range", "")) or [0, 0])[1])
        if begin:
            reported["Content-Range"] = f"bytes {begin}-{len(content) - 1}/{len(content)}"
        self._send(206 if begin else 200, content[begin:], reported, name)

    def _find(self, repo: str, revision: str) -> tuple[Path, str]:
        """Return the folder and the commit of a revision, by its name, its commit or the commit's beginning."""
        folder = self.server.root / repo
        if not folder.is_dir():
            raise _RefusedError(401, "RepoNotFound", "Repository not found")
        for each in sorted(path for path in folder.iterdir() if path.is_dir()):
            commit = self.server.commit(repo, each.name)
            if each.name == revision or (len(revision) >= 7 and commit.startswith(revision)):
                return each, commit
        raise _RefusedError(404, "RevisionNotFound", f"Invalid rev id: {revision}")

    def _entry(self, path: Path, folder: Path) -> dict[str, Any]:
        sha, size = hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_size
        entry = {"type": "file", "path": path.relative_to(folder).as_posix(), "size": size, "oid": sha[:40]}
        lfs = {"oid": sha, "sha256": sha, "size": size, "pointerSize": 134}
        large = {"lfs": lfs} if path.suffix == ".safetensors" else {}
        return entry | large

    def _send(self, status: int, content: bytes, headers: dict[str, str], name: str = "") -> None:
        self.send_response(status)
        for key, value in (headers | {"Content-Length": str(len(content))}).items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        stalls, cut = name in self.server.stalls, self.server.cuts[name] > 0
        self.wfile.write(content[: len(content) // 2] if stalls or cut else content)
        if stalls:
            self.wfile.flush()
            self.server.never.wait(3)
        if cut:
            self.server.cuts[name] -= 1
        self.close_connection = self.close_connection or stalls or cut

    def handle(self) -> None:
        """Answer until the client goes, also in the middle of an answer."""
        with suppress(ConnectionError):
            super().handle()

    def log_message(self, *_: Any) -> None:
        """Print nothing."""


if __name__ == "__main__":
    with HubServer(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0) as served:
        print(f"HF_ENDPOINT={served.url}", flush=True)
        served.serve_forever()
