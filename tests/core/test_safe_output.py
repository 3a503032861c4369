"""What reaches the terminal is text, whoever wrote it."""

import io
import json
import shutil
import sys
import warnings
from pathlib import Path

import pytest
import yaml
from cases import cases

from lightning_subliminal import bases
from lightning_subliminal.cli.entry import main
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.safe_output import CleanStream, clean, clean_output, rich_console, shorten
from lightning_subliminal.formats.row_errors import Fault

PERSIAN = "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645"
INDIC = "\u0915\u094d\u200d\u0937"
EVIL = "a\x1b[31mb\x9b2J\x00\x07\u202e\x7f\u2028"


@cases(
    ("text", "written"),
    [
        ("plain, é, 鳥\u3000, \xa0|\t\n", "plain, é, 鳥\u3000, \xa0|\t\n"),
        ("a\x1b[31mb", "a\\u001b[31mb"),
        ("\x9b\x85\u202e\u200b", "\\u009b\\u0085\\u202e\\u200b"),
        ("\U000e0001", "\\udb40\\udc01"),
        ("a\rb", "a\\u000db"),
        (PERSIAN, PERSIAN),
        (INDIC, INDIC),
        ("\U0001f469\u200d\U0001f52c ko\xadala", "\U0001f469\u200d\U0001f52c ko\xadala"),
        ("\u06dd\u0661, \u0601\u0661", "\u06dd\u0661, \u0601\u0661"),
        ("\u200e\u200f\u061c\u2066\u2069\u2060\ufeff", "\\u200e\\u200f\\u061c\\u2066\\u2069\\u2060\\ufeff"),
    ],
)
def test_what_a_terminal_obeys_is_written_out(text: str, written: str) -> None:
    assert clean(text) == written


def test_json_keeps_its_meaning() -> None:
    text = json.dumps({"a": "\x9b\u200b\U000e0001é"}, ensure_ascii=False)
    assert json.loads(clean(text)) == json.loads(text)


def test_a_stream_passes_text_and_bars() -> None:
    kept = io.StringIO()
    stream = CleanStream(kept)
    stream.writelines(["\r 50%|##", "a\r\n", "\x1b[A", "x\x1b[2Jy\n"])
    assert kept.getvalue() == "\r 50%|##a\nx\\u001b[2Jy\n"
    assert stream.encoding == kept.encoding


def test_consoles_keep_their_colours_alone() -> None:
    kept = io.StringIO()
    console = rich_console(file=kept, force_terminal=True, color_system="standard", width=80)
    console.print(EVIL, style="red", markup=False)
    assert kept.getvalue().startswith("\x1b[31ma")
    assert "\x1b[31mb" not in kept.getvalue()
    assert "\x9b" not in kept.getvalue()


def test_output_is_clean_inside_and_as_before_after(capsys: pytest.CaptureFixture) -> None:
    before = sys.stdout
    with clean_output():
        print(EVIL)
        print(EVIL, file=sys.stderr)
    assert sys.stdout is before
    assert not any("\x1b" in each or "\x9b" in each for each in capsys.readouterr())


def _plan(evil: str) -> dict:
    return {"title": evil, "common": "owl_numbers", "arms": {evil: {}}, "axes": {}}


@cases(
    ("words", "text", "code"),
    [
        (["run", "--config", "f.yaml", "--dry-run"], yaml.safe_dump(_plan(EVIL)), 0),
        (["run", "--config", "f.yaml", "--dry-run"], yaml.safe_dump({EVIL: 1}), 2),
        (["theory", "check", "--config", "f.yaml"], yaml.safe_dump({"model": {"class_path": f"a.{EVIL}"}}), 2),
        (["traits", "check", "f.yaml"], yaml.safe_dump({"class_path": EVIL}), 2),
        (["evaluate", "pocket/a", "--suite", "f.yaml"], yaml.safe_dump({"measures": [{EVIL: 1}]}), 2),
        ([EVIL], "", 2),
    ],
)
def test_names_of_a_yaml_reach_the_terminal_as_text(
    words: list[str],
    text: str,
    code: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("f.yaml").write_text(text)
    try:
        main(words)
        found = 0
    except SystemExit as stop:
        found = stop.code
    reported = "".join(capsys.readouterr())
    assert found == code
    assert all(each.isprintable() or each in "\n\t" for each in reported)
    assert reported.count("error: ") == (code == 2)


def test_a_warning_is_cleaned_too(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setattr("lightning_subliminal.cli.entry._run", lambda words: warnings.warn(EVIL, stacklevel=1))
    main(["x"])
    assert "\\u001b[31m" in capsys.readouterr().err


def _panic(words: list[str]) -> None:
    raise type("PanicException", (BaseException,), {})("called `Option::unwrap()` on a `None` value")


def _of(err: BaseException) -> object:
    def raising(words: list[str]) -> None:
        raise err

    return raising


@cases(
    ("run", "says"),
    [
        (_panic, "a library can't read its input"),
        (
            _of(PermissionError(13, "Permission denied", "/x/y")),
            "/x/y can't be used: Permission denied: check the path.",
        ),
        (_of(IsADirectoryError(21, "Is a directory", "d")), "d can't be used: Is a directory"),
        (_of(OSError(5, "Input/output error")), "Input/output error: check the path."),
        (_of(RecursionError("maximum recursion depth")), "nested too deeply"),
        (_of(UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte")), "a text is not UTF-8"),
        (_of(MemoryError()), "needs more memory than is available"),
    ],
)
def test_what_a_file_can_cause_is_a_mistake_in_a_line(
    run: object, says: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr("lightning_subliminal.cli.entry._run", run)
    with pytest.raises(SystemExit) as stop:
        main(["x"])
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert says in line


def test_a_long_line_keeps_its_ends() -> None:
    assert shorten("x" * 2000) == "x" * 2000
    assert len(shorten("x" * 10**6)) < 2100


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("normalizer", {"type": "Precompiled", "precompiled_charsmap": "AAAA"}),  # panics when it is read
        ("pre_tokenizer", {"type": "FixedLength", "length": 0}),  # panics when it is used
    ],
)
def test_a_panic_of_the_tokenizers_library_is_one_line(
    key: str, value: dict, tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    pocket = Path(__file__).parents[2] / "lightning_subliminal" / "bases" / "pocket" / "weights" / "a"
    shutil.copytree(pocket, tmp_path / "base")
    reported = json.loads((tmp_path / "base" / "tokenizer.json").read_text())
    (tmp_path / "base" / "tokenizer.json").write_text(json.dumps(reported | {key: value}))
    with pytest.raises(InputError, match=r"the tokenizer in .* can't be read") as found:
        bases.load(str(tmp_path / "base"))
    assert "\n" not in str(found.value)
    assert "panicked" not in capfd.readouterr().err


@cases(("name", "said"), [(PERSIAN, PERSIAN), ("a\u202eb\x1b", r"a\u202eb\x1b")])
def test_a_column_of_joined_letters_is_named_as_it_is(name: str, said: str) -> None:
    assert str(Fault(name, "expected text")) == f"{said}: expected text"
