import os
import re
import threading
import time
from pathlib import Path

import pytest
from cases import cases

from lightning_subliminal.core import cache
from lightning_subliminal.core.cache import cache_root, holding, writable_folder
from lightning_subliminal.core.errors import InputError

POSIX = pytest.mark.skipif(os.name != "posix", reason="owners, modes and locks are POSIX's")


def test_the_folder_given_then_the_variable_then_the_home(monkeypatch, tmp_path):
    monkeypatch.setenv("LIGHTNING_SUBLIMINAL_CACHE", str(tmp_path / "named"))
    assert cache_root("given") == Path("given")
    assert cache_root() == tmp_path / "named"
    monkeypatch.setenv("LIGHTNING_SUBLIMINAL_CACHE", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_root() == tmp_path / ".cache" / "lightning-subliminal"


def test_a_folder_is_made_and_left_empty(tmp_path):
    folder = writable_folder(tmp_path / "a" / "b")
    assert list(folder.iterdir()) == []
    assert writable_folder(folder) == folder


def test_a_folder_that_is_only_tried_leaves_nothing(tmp_path):
    (tmp_path / "there").mkdir()
    for path in (tmp_path / "a" / "b", tmp_path / "there" / "c", tmp_path / "there"):
        writable_folder(path, keep=False)
    assert [each.name for each in tmp_path.rglob("*")] == ["there"]
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"file/b can't be written .*: choose a folder that you may write") as caught:
        writable_folder(tmp_path / "file" / "b", keep=False)
    assert "cache" not in str(caught.value)


def test_a_folder_that_cannot_be_made_is_reported(tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "cache"):
        with pytest.raises(InputError, match=r"can't be written .*: set LIGHTNING_SUBLIMINAL_CACHE") as caught:
            writable_folder(path)
        assert "\n" not in str(caught.value)


def test_a_link_at_a_probes_name_is_not_followed(tmp_path):
    victim = tmp_path / "victim"
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / f".probe-{os.getpid()}").symlink_to(victim)
    writable_folder(tmp_path / "cache")
    assert not victim.exists()
    assert [each.is_symlink() for each in (tmp_path / "cache").iterdir()] == [True]


# --- whose cache is it? -----------------------------------------------------------------------------------------------


def said_of(folder, capsys):
    cache._LOOKED_AT.discard(str(folder))
    for _ in range(2):  # said once
        assert cache_root(folder) == folder
    return capsys.readouterr().err.splitlines()


@POSIX
@cases(
    ("mode", "owner", "says"),
    [
        (0o700, None, None),
        (0o755, None, None),
        (0o777, None, "may be written by every user"),
        (0o1777, None, "may be written by every user"),
        (0o757, None, "may be written by every user"),
        (0o700, 4711, r"belongs to another user \(uid 4711\)"),
        (0o777, 4711, r"belongs to another user \(uid 4711\)"),
    ],
)
def test_a_cache_that_others_may_write_is_reported_in_one_line(mode, owner, says, tmp_path, capsys, monkeypatch):
    tmp_path.chmod(mode)
    if owner is not None:
        monkeypatch.setattr(cache.os, "getuid", lambda: owner + 1)
        monkeypatch.setattr(type(tmp_path), "stat", lambda *_, **__: status(0o040000 | mode, owner))
    reported = said_of(tmp_path, capsys)
    assert len(reported) == (says is not None)
    for line in reported:
        assert re.match(f"warning: the cache .* {says}, who can change .*: set LIGHTNING_SUBLIMINAL_CACHE to", line)


def status(mode, uid, gid=0):
    return os.stat_result((mode, 1, 1, 2, uid, gid, 0, 0, 0, 0))


@POSIX
def test_a_group_of_one_is_nobody_else():
    import pwd

    me = pwd.getpwuid(os.getuid())
    foreign = me.pw_gid + 4711
    assert cache._writers(status(0o40770, os.getuid(), foreign)) == f"may be written by its group (gid {foreign})"
    assert cache._writers(status(0o40750, os.getuid(), foreign)) is None
    if os.getuid() == 0:  # root's group is root alone
        assert cache._writers(status(0o40770, 0, 0)) is None


def test_a_cache_of_root_is_trusted():
    assert cache._writers(status(0o40755, 0)) is None


# --- locks ------------------------------------------------------------------------------------------------------------


@POSIX
def test_a_lock_is_held_by_one_alone_whoever_deletes_its_file(tmp_path):
    """Each holder deletes the file, as a stage does: who waited for it must not think that it holds the next one's."""
    lock, inside, most = tmp_path / "lock", [], []

    def work():
        for _ in range(40):
            with holding(lock):
                inside.append(1)
                most.append(len(inside))
                time.sleep(0.0005)
                lock.unlink()
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert (len(most), max(most)) == (160, 1)
    assert not lock.exists()


@POSIX
def test_who_does_not_wait_is_reported(tmp_path):
    lock = tmp_path / "lock"
    with holding(lock) as held, holding(lock, wait=False) as other:
        assert (held, other) == (True, False)
        lock.unlink()
        with holding(lock, wait=False) as third:
            assert third, "another file, which nobody holds"
    with holding(lock, wait=False) as held:
        assert held


@POSIX
def test_a_link_in_a_locks_place_is_not_followed(tmp_path):
    (tmp_path / "lock").symlink_to(tmp_path / "victim")
    with pytest.raises(InputError, match=r"The lock .* can't be held"), holding(tmp_path / "lock"):
        pass
    assert not (tmp_path / "victim").exists()
