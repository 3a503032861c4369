"""YAML within bounds: what is beyond one is refused at once, in one line that names it."""

import os
import time

import pytest
from cases import cases

from lightning_subliminal.cli.entry import main
from lightning_subliminal.core.config.safe_yaml import load_yaml, read_text, read_yaml
from lightning_subliminal.core.error_messages import OneLineParser
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.io.bounds import MAX_DEPTH, MAX_NODES, MAX_YAML


def bomb(levels: int, width: int = 9) -> str:
    lines = ["a0: &a0 x\n"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * width)}]\n" for n in range(1, levels)]
    return "".join(lines)


MERGED = "".join(f"c{n}: &{'bca'[n % 3]} {{<<: [*{'abc'[n % 3]}, *{'abc'[n % 3]}]}}\n" for n in range(30))
REFUSED = {
    "aliases": (bomb(12), "line 7: more than 200,000 values"),
    "wide aliases": (bomb(4, 3000), "more than 200,000 values"),
    "merged aliases": ("a: &a {b: 1}\n" + MERGED, "200,000 values"),
    "a long text, often": (f"a: &a {'x' * 1_000_000}\nb: [{'*a, ' * 300}]", "more than 200,000 values"),
    "many values": ("a: [" + "1, " * (MAX_NODES + 1) + "]", "more than 200,000 values"),
    "many keys": ("".join(f"k{n}: 1\n" for n in range(MAX_NODES // 2 + 1)), "more than 200,000 values"),
    "it holds itself": ("a: &a [1, *a]", "the alias *a holds itself"),
    "two hold each other": ("a: &a {b: &b [*a]}", "the alias *a holds itself"),
    "deep lists": ("[" * 100_000, f"nested deeper than {MAX_DEPTH} levels"),
    "deep mappings": ("{a: " * 300, f"nested deeper than {MAX_DEPTH} levels"),
    "deep by indentation": ("".join(f"{' ' * n}a:\n" for n in range(100)), f"nested deeper than {MAX_DEPTH} levels"),
    "bytes": ("x" * (MAX_YAML + 1), f"at most {MAX_YAML:,}"),
    "a long number": ("a: 1" + "0" * 5000, "a number of 5,001 characters"),
    "a long number by base 60": ("a: 1" + ":59" * 100_000, "a number of 300,001 characters"),
    "a key twice": ("a: 1\nb: 2\na: 3", "line 3: the key 'a' is there twice"),
    "a quoted key twice": ("{a: 1, 'a': 2}", "the key 'a' is there twice"),
    "a key twice, inside": ("m:\n  - {b: 1, c: {x: 1, x: 2}}", "line 2: the key 'x' is there twice"),
    "a list as key": ("? [a]\n: 1", "found unhashable key"),
    "a tag": ("a: !!python/object/apply:os.system [ls]", "line 1 is not YAML of plain values"),
    "a tag of one's own": ("a: !include other.yaml", "line 1 is not YAML of plain values"),
    "a control character": ("a: b\x1b[31m", "is not valid YAML"),
    "a date that is none": ("a: 2020-13-45", "month must be in"),
    "two documents": ("a: 1\n---\nb: 2", "expected a single document"),
    "an alias of nothing": ("a: *b", "undefined alias"),
}


@cases("name", REFUSED)
def test_what_is_beyond_a_bound_is_refused_at_once(name: str) -> None:
    text, says = REFUSED[name]
    begin = time.monotonic()
    with pytest.raises(InputError) as found:
        load_yaml(text, "mine.yaml")
    assert says in str(found.value)
    assert str(found.value).startswith("mine.yaml")
    assert "\n" not in str(found.value)
    assert len(str(found.value)) < 400
    assert time.monotonic() - begin < 20


def test_aliases_and_merges_within_the_bounds_stay() -> None:
    text = "x: &x {a: 1, b: [1, 2]}\ny: {<<: *x, a: 2}\nz: [*x, *x]\n1: a\n'1': b"
    x = {"a": 1, "b": [1, 2]}
    assert load_yaml(text, "it") == {"x": x, "y": {"a": 2, "b": [1, 2]}, "z": [x, x], 1: "a", "1": "b"}


@cases("count", [1, 100_000])
def test_small_and_large_texts_are_read_alike(count: int) -> None:
    assert load_yaml("a: [" + "1e3, " * count + "yes, 0x1f]", "it")["a"][-2:] == [True, 31]


def test_what_is_no_file(tmp_path, monkeypatch) -> None:
    (tmp_path / "latin.yaml").write_bytes(b"a: \xe9")
    os.mkfifo(tmp_path / "pipe.yaml")
    with (tmp_path / "sparse.yaml").open("wb") as stream:
        stream.truncate(2**40)
    for name, says in (
        ("nowhere.yaml", "is not there"),
        (".", "it is a folder"),
        ("latin.yaml", "expected UTF-8"),
        ("sparse.yaml", f"more than {MAX_YAML:,} bytes"),
        ("/dev/zero", "it is a device"),
        ("a\x00b", "can't be read"),
        ("x" * 5000, "can't be read"),
    ):
        with pytest.raises(InputError, match="(?s)" + says) as found:
            read_text(tmp_path / name)
        assert "\n" not in str(found.value)
    monkeypatch.setattr("lightning_subliminal.core.config.safe_yaml.WAIT", 0.1)
    with pytest.raises(InputError, match="a pipe that sent nothing"):
        read_yaml(tmp_path / "pipe.yaml")  # nobody writes into it


def test_a_pipe_is_read_while_somebody_writes(tmp_path, monkeypatch) -> None:
    reader, writer = os.pipe()
    os.write(writer, b"a: 1")
    monkeypatch.setattr("lightning_subliminal.core.config.safe_yaml.WAIT", 0.2)
    with pytest.raises(InputError, match="a pipe that sent nothing"):
        read_text(f"/dev/fd/{reader}")
    os.write(writer, b"a: 1")
    os.close(writer)
    assert read_yaml(f"/dev/fd/{reader}") == {"a": 1}
    os.close(reader)


@cases(
    ("text", "says"),
    [
        ("filters: &a [*a]", "f.yaml, line 1: the alias *a holds itself"),
        ("filters: [" + "1, " * 5001 + "]", "f.yaml, line 1: more than 5,000 values"),
        ("filters: " + "[" * 100, "f.yaml, line 1: nested deeper than 64 levels"),
        ("filters: 1\nfilters: 2", "f.yaml, line 2: the key 'filters' is there twice"),
        ("filters: !!python/name:os.system", "could not determine a constructor"),
    ],
)
def test_the_parser_of_options_has_the_same_bounds(text, says, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.jsonl").write_text('{"prompt": "a", "completion": "b"}')
    (tmp_path / "f.yaml").write_text(text)
    with pytest.raises(SystemExit) as stop:
        main(["data", "filter", "rows.jsonl", "out.jsonl", "--config", "f.yaml"])
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert says in line


@cases("value", ["&a [*a]", "[" * 200, "1" * 5000, "!!python/name:os.system", "{a: 1, a: 2}"])
def test_so_has_the_value_of_an_option(value, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.jsonl").write_text('{"prompt": "a", "completion": "b"}')
    with pytest.raises(SystemExit) as stop:
        main(["data", "filter", "rows.jsonl", "out.jsonl", f"--filters={value}"])
    assert stop.value.code == 2
    assert capsys.readouterr().err.count("error: ") == 1


@cases("kind", [list[int] | int | None, int, bool, float | None])
def test_a_bomb_is_not_read_another_way_for_numbers_and_none(kind) -> None:
    parser = OneLineParser()
    parser.add_argument("--x", type=kind)
    with pytest.raises(InputError, match="x"):
        parser.parse_args([f"--x={bomb(9)}"])  # 9**9 values, were its aliases followed


@cases("text", ["!!nothing x", "!ENV $HOME", "filters: !include other.yaml", "filters: 2020-13-01"])
@cases("verb", ["filter", "check"])
def test_a_refused_tag_names_its_file(text, verb, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.jsonl").write_text('{"prompt": "a", "completion": "b"}\n')
    (tmp_path / "f.yaml").write_text(text)
    words = ["data", "filter", "rows.jsonl", "out.jsonl", "--config", "f.yaml"]
    with pytest.raises(SystemExit) as stop:
        main(words if verb == "filter" else ["traits", "check", "f.yaml"])
    assert stop.value.code == 2
    (line,) = [each for each in capsys.readouterr().err.splitlines() if each.startswith("error: ")]
    assert "f.yaml" in line
