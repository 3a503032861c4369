import hashlib
import os
import shutil
import subprocess

import pytest
from cases import cases

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.fingerprint import file_digest
from lightning_subliminal.lineage.names import artefact_files, check_name, dir_hash, inside

NAMES = ["b.txt", "B.txt", "a/b.txt", "a-b.txt", "a.b.txt", "a/z/y.bin", "é.txt", "ﬀ.txt", "😀.txt", "_", "10", "9"]
# in-toto's rule for dirHash (attestation, spec/v1/digest_set.md), as it stands there
PIPELINE = "find . -type f | cut -c3- | LC_ALL=C sort | xargs -r sha256sum | sha256sum"


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "made"
    for place, name in enumerate(NAMES):
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        (made / name).write_bytes(bytes(place))
    return made


def digests(folder):
    return {name: file_digest(folder / name) for name in artefact_files(folder)}


@pytest.mark.skipif(
    not all(map(shutil.which, ("sh", "find", "cut", "sort", "xargs", "sha256sum"))),
    reason="in-toto's rule for dirHash is a pipeline of these programs",
)
def test_dir_hash_is_what_the_shell_prints(folder):
    reported = subprocess.run(["sh", "-c", PIPELINE], cwd=folder, capture_output=True, check=True, text=True)
    assert dir_hash(digests(folder)) == reported.stdout.split()[0]


def test_dir_hash_binds_names_contents_and_nothing_else(folder):
    files = digests(folder)
    whole = dir_hash(files)
    assert dir_hash(dict(reversed(files.items()))) == whole, "the order has no say"
    (folder / "b.txt").rename(folder / "c.txt")
    assert dir_hash(digests(folder)) != whole, "the same content by another name"
    (folder / "c.txt").rename(folder / "b.txt")
    os.utime(folder / "b.txt", (0, 0))
    (folder / "b.txt").chmod(0o600)
    assert dir_hash(digests(folder)) == whole
    swapped = files | {"b.txt": files["B.txt"], "B.txt": files["b.txt"]}
    assert dir_hash(swapped) != whole
    (folder / "empty").write_text("")
    assert dir_hash(digests(folder)) != whole


def test_of_no_files_it_is_that_of_nothing():
    assert dir_hash({}) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_a_line_break_in_a_name_makes_no_second_file():
    one, other = "a" * 64, "b" * 64
    assert dir_hash({f"a\n{other}  b": one}) != dir_hash({"a": one, "b": other})


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="sha256sum is the reference here")
@cases("name", ["a\nb", "a\\b", "a\\nb", "a b", "é"])
def test_dir_hash_writes_odd_names_as_sha256sum_does(tmp_path, name):
    (tmp_path / name).write_text("x")
    line = subprocess.run(["sha256sum", name], cwd=tmp_path, capture_output=True, check=True).stdout
    assert dir_hash({name: file_digest(tmp_path / name)}) == hashlib.sha256(line).hexdigest()


def test_hidden_files_and_statements_about_the_folder_are_not_its_own(folder):
    own = set(artefact_files(folder))
    assert own == set(NAMES)
    for name in (".hidden", ".git/config", "a/.DS_Store", "lineage.json", "lineage.dsse.json", "test-results/a.json"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x")
    assert set(artefact_files(folder)) == own
    for name in ("a/lineage.json", "a/test-results/a.json", "lineage.json.txt", "lineages.json"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x")
        assert name in set(artefact_files(folder)), "only those at the top are about this folder"


def test_links_are_named_so_that_they_can_be_refused_but_not_followed(folder, tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_text("x")
    (folder / "file-link").symlink_to(tmp_path / "outside" / "secret")
    (folder / "folder-link").symlink_to(tmp_path / "outside")
    (folder / "broken").symlink_to(tmp_path / "nowhere")
    (folder / "round").symlink_to(folder)
    found = set(artefact_files(folder))
    assert found == {*NAMES, "file-link", "folder-link", "broken", "round"}
    for name in ("file-link", "folder-link", "folder-link/secret", "broken", "round/b.txt"):
        with pytest.raises(InputError, match="expected plain files"):
            inside(folder, name)
    assert inside(folder, "a/b.txt") == folder / "a" / "b.txt"


def test_a_folder_that_is_a_link_itself_is_a_folder(folder, tmp_path):
    (tmp_path / "cache").symlink_to(folder)  # a cache may lie on another disk
    assert inside(tmp_path / "cache", "a/b.txt").read_bytes() == (folder / "a/b.txt").read_bytes()


@cases("name", ["a", "a/b.txt", "..a", "a..", "a/...", " ", "é/ü", "C", "a:b", "#rows", "-rf", "~"])
def test_plain_names(name, tmp_path):
    check_name(name)
    assert inside(tmp_path, name) == tmp_path / name


@cases(
    "name",
    [
        "",
        "/",
        "/x",
        "//x",
        "..",
        "../x",
        "a/..",
        "a/../../x",
        ".",
        "./a",
        "a/./b",
        "a//b",
        "a/",
        "a\\b",
        "..\\x",
        "C:",
        "C:/x",
    ],
)
def test_names_that_could_lead_out(name, tmp_path):
    for look in (check_name, lambda name: inside(tmp_path, name)):
        with pytest.raises(InputError) as caught:
            look(name)
        assert "\n" not in str(caught.value)
        assert repr(name) in str(caught.value)


@cases("name", ["a\nb", "a\rb", "\x1b[2J", "a\x7f"])
def test_names_that_write_over_the_terminal(name):
    with pytest.raises(InputError, match="control character") as caught:
        check_name(name)
    assert repr(name) in str(caught.value)
