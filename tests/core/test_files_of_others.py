"""Files that are none: pipes, devices, sockets, holes, endless ones. Nothing hangs, and no output replaces them."""

import gzip
import json
import os
import re
import select
import socket
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from cases import cases

from lightning_subliminal.cli.entry import main
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.fingerprint import file_digest
from lightning_subliminal.core.io import bounds
from lightning_subliminal.core.io.bounds import MAX_KEY, MAX_SPARSE, Bound
from lightning_subliminal.core.io.files import atomically, plain_folder, read_bytes, read_json, temporary_file
from lightning_subliminal.formats import read_rows
from lightning_subliminal.lineage.signatures.keys import private_key, trusted_keys

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="POSIX")
ROW = json.dumps({"prompt": "a", "completion": "b"}) + "\n"


def make(kind, path):
    if kind == "a FIFO":
        os.mkfifo(path)
    elif kind == "a socket":
        socket.socket(socket.AF_UNIX).bind(str(path))
    elif kind == "a character device":
        path.symlink_to("/dev/zero")
    elif kind == "a folder":
        path.mkdir()
    else:
        with path.open("wb") as stream:
            stream.write(b"{")
            stream.truncate(1 << 40)
    return path


@cases("kind", ["a FIFO", "a socket", "a character device", "a folder", "holes"])
def test_what_is_no_regular_file_is_reported_at_once(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # a socket's name is short
    path = make(kind, Path("it"))
    for read in (read_bytes, read_json, file_digest, private_key, lambda path: trusted_keys([path])):
        with pytest.raises(InputError, match=r"\n?.*it.* (not a regular file|holes|hold[s]? no keys|bytes)") as caught:
            read(path)
        assert "\n" not in str(caught.value)


def test_a_file_is_read_up_to_its_bound_which_the_error_names(tmp_path):
    path = tmp_path / "key"
    path.write_bytes(bytes(MAX_KEY + 1))
    with pytest.raises(InputError, match=r"key has 65,537 bytes: .* 65,536 \(LIGHTNING_SUBLIMINAL_MAX_KEY=NUMBER"):
        private_key(path)
    assert len(read_bytes(path)) == MAX_KEY + 1


def test_a_bound_is_set_by_its_variable(monkeypatch):
    monkeypatch.setenv("LIGHTNING_SUBLIMINAL_MAX_KEY", "12")
    assert Bound("MAX_KEY", 3) == 12
    monkeypatch.setenv("LIGHTNING_SUBLIMINAL_MAX_KEY", "lots")
    with pytest.raises(InputError, match="MAX_KEY is 'lots': expected a whole number, such as 3"):
        Bound("MAX_KEY", 3)


def test_a_file_of_proc_that_does_not_tell_its_size_is_read(tmp_path):
    assert b"Name:" in read_bytes(Path("/proc/self/status"))
    with pytest.raises(InputError, match="and more: expected at most 8"):
        read_bytes(Path("/proc/self/status"), Bound("MAX_KEY", 8))


def test_a_large_file_without_holes_is_no_sparse_one(tmp_path, monkeypatch):
    monkeypatch.setattr("lightning_subliminal.core.io.files.MAX_SPARSE", Bound("MAX_SPARSE", 10))
    path = tmp_path / "whole"
    path.write_bytes(b"a" * 5000)
    assert len(read_bytes(path)) == 5000
    with path.open("ab") as stream:
        stream.truncate(1 << 24)
    with pytest.raises(InputError, match="most of them holes"):
        read_bytes(path)
    assert MAX_SPARSE > 10


def test_json_that_is_nested_too_deeply_is_reported(tmp_path):
    path = tmp_path / "it.json"
    path.write_text("[" * 100_000)
    with pytest.raises(InputError, match="nested too deeply"):
        read_json(path)


def test_a_folder_for_a_library_holds_regular_files_alone(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "nowhere").symlink_to("nowhere at all")
    plain_folder(tmp_path)
    os.mkfifo(tmp_path / "a" / "data.arrow")
    with pytest.raises(InputError, match=r"data\.arrow can't be read: it is a FIFO"):
        plain_folder(tmp_path)


def write(path):
    path.write_bytes(b"reported")


def test_a_device_is_written_to_and_stays():
    before = os.stat(os.devnull)
    atomically(Path(os.devnull), write)
    after = os.stat(os.devnull)
    assert stat.S_ISCHR(after.st_mode)
    assert after.st_ino == before.st_ino


@cases("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
@cases("into", ["pipe", "file"])
def test_own_output_is_written_to(name, into, tmp_path):
    code = (
        "import pathlib, sys; from lightning_subliminal.core.io.files import atomically; print('before');"
        f"atomically(pathlib.Path({name!r}), lambda path: path.write_text('reported')); print(' after')"
    )
    if into == "pipe":
        said = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
    else:
        with (tmp_path / "out").open("wb") as stream:
            subprocess.run([sys.executable, "-c", code], stdout=stream, check=True)
        said = (tmp_path / "out").read_bytes()
    assert said == b"before\nreported after\n"
    assert os.path.islink("/dev/stdout")


def test_a_fifo_is_written_to_where_somebody_reads(tmp_path):
    path = tmp_path / "fifo"
    os.mkfifo(path)
    with pytest.raises(InputError, match="a FIFO without a reader"):
        atomically(path, write)
    said = []
    number = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # counts as a reader at once, before anybody writes
    os.set_blocking(number, True)

    def read() -> None:
        select.select([number], [], [])  # a pipe that nobody has opened to write yet would read as ended
        said.append(os.fdopen(number, "rb").read())

    reader = threading.Thread(target=read)
    atomically(path, lambda place: (reader.start(), place.write_bytes(b"reported" * 100_000)))
    reader.join()
    assert said == [b"reported" * 100_000]
    assert path.is_fifo()


def test_a_socket_or_a_folder_is_not_replaced(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make("a socket", Path("socket"))
    (tmp_path / "folder").mkdir()
    for name in ("socket", "folder"):
        with pytest.raises(InputError, match=name):
            atomically(Path(name), write)
    assert Path("socket").is_socket()
    assert Path("folder").is_dir()


def test_a_link_is_replaced_and_not_followed_and_none_at_the_temporary_name(tmp_path, monkeypatch):
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / "out").symlink_to(victim)
    monkeypatch.setattr("secrets.token_hex", lambda size: "known")
    (tmp_path / ".out.known").symlink_to(victim)
    with pytest.raises(InputError, match="File exists"):
        atomically(tmp_path / "out", write)
    (tmp_path / ".out.known").unlink()
    atomically(tmp_path / "out", write)
    assert victim.read_text() == "mine"
    assert (tmp_path / "out").read_text() == "reported"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["out", "victim"]


def test_a_long_name_has_a_temporary_one(tmp_path):
    path = tmp_path / ("é" * 127)
    atomically(path, write)
    assert path.read_text() == "reported"
    assert temporary_file(path, folder=True).parent == tmp_path


def run(capsys, *words):
    with pytest.raises(SystemExit) as stop:
        main([str(word) for word in words])
    return stop.value.code, capsys.readouterr()


@cases("kind", ["a FIFO", "a character device", "holes"])
def test_lineage_and_audit_end_with_a_line(kind, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "a.txt").write_text("a")
    main(["lineage", "add", "model", "--kind", "model"])
    capsys.readouterr()
    make(kind, Path("it"))
    for words in (["lineage", "add", "it", "--kind", "model"], ["lineage", "sign", "model", "--key", "it"]):
        code, said = run(capsys, *words)
        assert code == 2
        assert said.err.count("\n") == 1
        assert "it" in said.err
    monkeypatch.setenv("LIGHTNING_SUBLIMINAL_AUDIT_NOTES", str(tmp_path / "it"))
    (tmp_path / "model" / "a.txt").unlink()
    make(kind, tmp_path / "model" / "a.txt")
    code, said = run(capsys, "audit", "model")
    assert code == 3
    assert "a.txt" in said.out


def test_a_rows_file_is_read_up_to_a_ratio_and_a_line(tmp_path, monkeypatch):
    monkeypatch.setattr("lightning_subliminal.core.io.bounds.MAX_UNPACKED", Bound("MAX_UNPACKED", 1 << 20))
    with gzip.open(tmp_path / "bomb.jsonl.gz", "wb") as stream:
        stream.write((ROW * 100_000).encode())
    with pytest.raises(InputError, match=r"bomb.jsonl.gz unpacks to more than 200 times its [\d,]+ bytes"):
        list(read_rows(tmp_path / "bomb.jsonl.gz"))
    monkeypatch.setattr("lightning_subliminal.formats.storage.text_file.MAX_LINE", Bound("MAX_LINE", 1000))
    (tmp_path / "long.jsonl").write_text(ROW + json.dumps({"prompt": "a" * 2000, "completion": "b"}))
    with pytest.raises(InputError, match=r"long.jsonl, line 2 has more than 1,000 bytes"):
        list(read_rows(tmp_path / "long.jsonl"))


def test_a_parquet_bomb_is_reported(tmp_path, monkeypatch):
    import pyarrow
    import pyarrow.parquet

    monkeypatch.setattr("lightning_subliminal.core.io.bounds.MAX_UNPACKED", Bound("MAX_UNPACKED", 1 << 20))
    text = pyarrow.array(["a" * 20_000]).dictionary_encode()
    same = pyarrow.DictionaryArray.from_arrays(pyarrow.array([0] * 500, pyarrow.int32()), text.dictionary)
    table = pyarrow.table({"prompt": same.cast(pyarrow.string()), "completion": ["b"] * 500})
    pyarrow.parquet.write_table(table, tmp_path / "bomb.parquet", compression="zstd")
    with pytest.raises(InputError, match=r"bomb.parquet unpacks to more than 200 times"):
        list(read_rows(tmp_path / "bomb.parquet"))


def test_duplicate_keys_are_found_in_linear_time(tmp_path):
    from lightning_subliminal.lineage.strict_json import parse

    keys = ",".join(f'"{key}":1' for key in range(100_000))
    with pytest.raises(InputError, match="duplicate key '99999'"):
        parse(f'{{{keys},"99999":1}}'.encode(), "it")
    (tmp_path / "a.jsonl").write_text(f'{ROW}{{{keys},"99999":1}}\n')
    with pytest.raises(InputError, match=r"line 2: expected each key once, found '99999' twice"):
        list(read_rows(tmp_path / "a.jsonl"))


def test_each_bound_is_explained_and_in_the_threat_model():
    known = [name for name, value in vars(bounds).items() if isinstance(value, Bound)]
    source = Path(bounds.__file__).read_text(encoding="utf-8")
    security = (Path(__file__).parents[2] / "SECURITY.md").read_text(encoding="utf-8")
    assert len(known) >= 20
    for name in known:
        assert re.search(rf"^{name} = Bound\(.*\)  # \w|^{name} = Bound\(.*\)  # \.\.\. if", source, re.MULTILINE)
        assert f"`{name}`" in security or f"(`{name}`" in security
        assert getattr(bounds, name).how.startswith(f"LIGHTNING_SUBLIMINAL_{name}=")
