"""Store of servers' replies, so that no call is made, or paid for, twice: one SQLite file."""

import json
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.lineage.work_digests import open_value, seal_value

__all__ = ["ReplyStore"]

_WAIT = 60.0  # seconds for another process to finish its write, which takes milliseconds


class ReplyStore:
    """Replies on disk, each under the digest of all that shaped it.

    A reply is on disk when ``put`` returns, so that after a kill or a power cut only missing replies are asked for.
    Several threads and processes may use one file at once.

    Args:
        path: the file; created with its folder if missing.

    Raises:
        InputError: if the file can't be used, or is damaged; also by any method later.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder, ReplyStore(Path(folder) / "replies.sqlite") as store:
        ...     store.put("ab12", {"text": "85"})
        ...     store.get("ab12"), store.get("cd34"), len(store)
        ({'text': '85'}, None, 1)
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self._lock = threading.Lock()  # the threads of one process share the connection
        with self._locked():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # autocommit: each reply is a transaction of its own
            self._connection = sqlite3.connect(self.path, timeout=_WAIT, isolation_level=None, check_same_thread=False)
        try:
            with self._locked():
                self._to_write_ahead()
                self._connection.execute("PRAGMA synchronous = FULL")
                self._connection.execute(
                    "CREATE TABLE IF NOT EXISTS replies (digest TEXT PRIMARY KEY, reply TEXT NOT NULL) WITHOUT ROWID"
                )
        except InputError:
            self.close()
            raise

    def _to_write_ahead(self) -> None:
        """Switch to a write-ahead log, which SQLite refuses at once while another process writes."""
        until = time.monotonic() + _WAIT
        while True:
            try:
                self._connection.execute("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError as err:
                if "locked" not in str(err) or time.monotonic() > until:
                    raise
                time.sleep(0.01)
            else:
                return

    def get(self, digest: str) -> dict[str, Any] | None:
        """Return the reply under a digest; None if it is missing, or not signed by the key in use."""
        with self._locked():
            row = self._connection.execute("SELECT reply FROM replies WHERE digest = ?", (digest,)).fetchone()
            if row is None:
                return None
            reply = json.loads(row[0])
            if not isinstance(reply, dict):
                raise sqlite3.DatabaseError(f"{digest[:12]} is not a reply")
        return open_value(digest, reply)

    def put(self, digest: str, reply: dict[str, Any]) -> None:
        """Store a reply, signed if a signing key is set; a trusted reply under the same digest stays."""
        self.put_all({digest: reply})

    def put_all(self, replies: Mapping[str, dict[str, Any]]) -> None:
        """Store replies by their digests in one transaction: all are on disk after the time of one write."""
        sealed = [(digest, json.dumps(seal_value(digest, reply))) for digest, reply in replies.items()]
        self._write("INSERT OR IGNORE INTO replies VALUES (?, ?)", sealed)
        # a reply that is there already may not be trusted
        if distrusted := [each for each in sealed if self.get(each[0]) is None]:
            self._write("INSERT OR REPLACE INTO replies VALUES (?, ?)", distrusted)

    def _write(self, statement: str, rows: list[tuple[str, str]]) -> None:
        with self._locked(), self._connection:
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.executemany(statement, rows)

    def __len__(self) -> int:
        with self._locked():
            return int(self._connection.execute("SELECT count(*) FROM replies").fetchone()[0])

    def close(self) -> None:
        """Close the file; closing twice does nothing."""
        self._connection.close()

    def __enter__(self) -> "ReplyStore":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the lock, and convert SQLite's errors."""
        try:
            with self._lock:
                yield
        except sqlite3.ProgrammingError:  # such as a closed store: not the file's fault
            raise
        except (sqlite3.OperationalError, OSError) as err:
            why = getattr(err, "strerror", None) or err
            raise InputError(
                f"The replies in {self.path} can't be used ({why}): use a writable folder with free space on a "
                "local disk."
            ) from err
        except (sqlite3.DatabaseError, ValueError) as err:
            raise InputError(
                f"The replies in {self.path} are damaged ({err}): move the file away, and the next run asks again."
            ) from err
