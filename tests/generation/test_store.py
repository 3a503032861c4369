import os
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from cases import cases

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.generation.servers.store import ReplyStore

ROOT = Path(__file__).parent.parent.parent
WRITER = """
import runpy, sys
from pathlib import Path

ReplyStore = runpy.run_path(sys.argv[4])["ReplyStore"]  # without the room around it, which brings torch
with ReplyStore(Path(sys.argv[1])) as store:
    for number in range(int(sys.argv[2])):
        store.put(f"{number:064x}", {"text": sys.argv[3]})
        print(number, flush=True)
"""


def writer(path: Path, count: int, text: str) -> "subprocess.Popen[str]":
    source = ROOT / "lightning_subliminal" / "generation" / "servers" / "store.py"
    command = [sys.executable, "-c", WRITER, str(path), str(count), text, str(source)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def test_a_reply_is_kept(tmp_path):
    path = tmp_path / "deep" / "replies.sqlite"
    reply = {"text": 'ÄÖ "85"\n', "tokens": None, "first": [["8", -0.5]], "half": "\ud800"}
    with ReplyStore(path) as store:
        assert (len(store), store.get("a")) == (0, None)
        store.put("a", reply)
        store.put("a", {"text": "another"})  # the first stays
        store.put("b", {})
        assert (len(store), store.get("a"), store.get("b")) == (2, reply, {})
    store.close()
    with ReplyStore(path) as store:
        assert store.get("a") == reply
        with sqlite3.connect(path) as other:
            assert other.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        other.close()


def test_a_closed_store_is_our_own_mistake(tmp_path):
    store = ReplyStore(tmp_path / "x")
    store.close()
    with pytest.raises(sqlite3.ProgrammingError):
        store.get("a")


def test_several_threads(tmp_path):
    with ReplyStore(tmp_path / "x") as store:

        def write(start: int) -> None:
            for number in range(start, start + 60):  # half of them another thread's, too
                store.put(str(number), {"text": str(number)})
                assert store.get(str(number)) == {"text": str(number)}

        threads = [threading.Thread(target=write, args=(start,)) for start in range(0, 120, 30)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(store) == 150


def test_several_processes_and_kill_9(tmp_path):
    path = tmp_path / "x"
    killed, other = writer(path, 10**6, "killed"), writer(path, 40, "other")
    reported = [int(killed.stdout.readline()) for _ in range(50)][-1]
    killed.send_signal(signal.SIGKILL)
    assert other.communicate(timeout=30)[0].split()[-1] == "39"
    assert other.returncode == 0
    killed.communicate()
    with ReplyStore(path) as store:
        assert len(store) > reported  # each that it said it had put
        assert {store.get(f"{number:064x}")["text"] for number in range(reported + 1)} <= {"killed", "other"}
        store.put("after", {})
        assert store.get("after") == {}


def test_opening_waits_for_another_that_makes_the_file(tmp_path):
    other = sqlite3.connect(tmp_path / "x", isolation_level=None, check_same_thread=False)
    other.execute("CREATE TABLE half (made)")
    other.execute("BEGIN IMMEDIATE")  # SQLite refuses the switch to a write-ahead log at once, whatever the timeout
    done = threading.Timer(0.3, other.rollback)
    done.start()
    with ReplyStore(tmp_path / "x") as store:
        assert len(store) == 0
    done.join()
    other.close()


@cases("damage", ["no database", "cut", "no JSON", "no reply"])
def test_a_damaged_file_is_reported_in_one_line(tmp_path, damage):
    path = tmp_path / "x"
    ReplyStore(path).close()
    with sqlite3.connect(path) as connection:
        connection.executemany("INSERT INTO replies VALUES (?, '{}')", [(f"{number:064x}",) for number in range(2000)])
    connection.close()
    whole = path.read_bytes()
    if damage == "no database":
        path.write_bytes(b"What is this?\n" * 100)
    elif damage == "cut":
        path.write_bytes(whole[: len(whole) // 2])
    else:
        with sqlite3.connect(path) as connection:
            connection.execute("UPDATE replies SET reply = ?", ("{" if damage == "no JSON" else "[1]",))
        connection.close()

    def read() -> None:
        with ReplyStore(path) as store:
            for number in range(2000):
                store.get(f"{number:064x}")

    with pytest.raises(InputError, match=r"damaged .*: move the file away, and the next run asks") as reported:
        read()
    assert str(path) in str(reported.value)
    assert "\n" not in str(reported.value)


def test_a_place_that_cannot_be_used_is_reported(tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match=r"can't be used .*: use a writable folder"):
        ReplyStore(tmp_path / "folder")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="can't be used"):
        ReplyStore(tmp_path / "file" / "x")


def test_an_empty_file_is_a_new_store(tmp_path):
    (tmp_path / "x").touch()
    with ReplyStore(tmp_path / "x") as store:
        assert len(store) == 0


class TestWhoSigns:
    """With a signing key, a reply is believed only where that key has signed it: rows are kept or dropped by them."""

    @pytest.fixture
    def path(self, tmp_path, monkeypatch):
        pytest.importorskip("cryptography", reason="signatures need it")
        from lightning_subliminal.lineage.signatures.keys import make_key

        make_key(tmp_path / "key")
        with ReplyStore(tmp_path / "replies.sqlite") as store:
            store.put("theirs", {"text": "99"})
        monkeypatch.setenv("LIGHTNING_SUBLIMINAL_SIGNING_KEY", str(tmp_path / "key"))
        return tmp_path / "replies.sqlite"

    def test_ones_own_is_believed_and_stays_the_first(self, path):
        with ReplyStore(path) as store:
            store.put("mine", {"text": "85"})
            store.put("mine", {"text": "11"})
            assert store.get("mine") == {"text": "85"}

    def test_an_unsigned_one_is_asked_for_again(self, path):
        with ReplyStore(path) as store:
            assert store.get("theirs") is None
            store.put("theirs", {"text": "12"})
            assert store.get("theirs") == {"text": "12"}

    @pytest.mark.parametrize(
        "change",
        [
            "UPDATE replies SET reply = replace(reply, '85', '99') WHERE digest = 'mine'",
            "UPDATE replies SET digest = 'other' WHERE digest = 'mine'",
        ],
    )
    def test_a_changed_one_and_one_of_another_question_are_not_believed(self, change, path):
        with ReplyStore(path) as store:
            store.put("mine", {"text": "85"})
            store._connection.execute(change)
            assert store.get("mine") is None
            assert store.get("other") is None

    def test_without_the_key_it_is_what_it_was(self, path, monkeypatch):
        with ReplyStore(path) as store:
            store.put("mine", {"text": "85"})
            monkeypatch.delenv("LIGHTNING_SUBLIMINAL_SIGNING_KEY")
            assert store.get("mine") == {"text": "85"}
