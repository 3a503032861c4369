import json

import pytest
from cases import cases

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.io.bounds import MAX_DEPTH, MAX_STATEMENT, Bound
from lightning_subliminal.lineage.strict_json import parse, read_bytes


def refused(data, message):
    with pytest.raises(InputError, match=message) as caught:
        parse(data, "it.json")
    assert str(caught.value).startswith("it.json ")
    assert "\n" not in str(caught.value)


def test_plain_json_is_read_as_any_reader_does():
    text = b'{"a": [1, -2.5e3, true, null, "\\u00e9\\ud83d\\ude00"], "b": {"a": {}}, "": ""}'
    assert parse(text, "it.json") == json.loads(text)
    assert parse(' {"é": "😀"}\n'.encode(), "it.json") == {"é": "😀"}


@cases(
    "text",
    ['{"a": 1, "a": 2}', '{"a": 1, "a": 1}', '{"b": [{"a": 1, "c": 0, "a": 2}]}', '{"a": 1, "\\u0061": 2}'],
    ids=["other", "same", "deep", "escaped"],
)
def test_a_key_twice(text):
    refused(text.encode(), r"is not strict JSON \(duplicate key 'a'\)")


@cases("number", ["NaN", "Infinity", "-Infinity"])
def test_no_number(number):
    refused(f'{{"a": [{number}]}}'.encode(), f"{number} is not a valid JSON number")


@cases("number", ["1e999", "-1e999"])
def test_a_number_that_becomes_infinite(number):
    """Else the file could be read, but what was read could not be written again."""
    refused(f'{{"a": [{number}]}}'.encode(), "is not strict JSON")


def test_a_number_of_too_many_digits():
    refused(b'{"a": ' + b"9" * 100_000 + b"}", "is not strict JSON")


def test_depth():
    lists = MAX_DEPTH - 1  # the object is a level, too
    deepest = b'{"a": ' + b"[" * lists + b"]" * lists + b"}"
    assert parse(deepest, "it.json")
    for levels in (MAX_DEPTH, 1000, 300_000):  # the last overruns the parser's own stack
        refused(b'{"a": ' + b"[" * levels + b"]" * levels + b"}", "nested too deeply: expected at most 64 levels")
        refused(b'{"a": ' * (levels + 1) + b"1" + b"}" * (levels + 1), "nested too deeply: expected at most 64 levels")


@cases(
    "data",
    [
        b"\xef\xbb\xbf{}",
        '{"a": 1}'.encode("utf-16"),
        '{"a": 1}'.encode("utf-16-le"),
        '{"a": 1}'.encode("utf-32"),
        b'{"a": "\xff"}',
        b'{"a": "\xed\xa0\x80"}',
        '{"é": 1}'.encode("latin-1"),
    ],
    ids=["mark", "utf-16", "utf-16-le", "utf-32", "byte", "surrogate", "latin-1"],
)
def test_another_encoding(data):
    refused(data, "is not strict JSON")


@cases("text", ['{"a": "\\ud800"}', '{"\\udfff": 1}', '{"a": [["\\udc00\\ud800"]]}'])
def test_half_of_a_surrogate_pair(text):
    """Some readers keep it, some put a replacement there, and it can't be written as UTF-8."""
    refused(text.encode(), "is not strict JSON")


@cases(
    ("data", "message"),
    [
        (b"[]", "holds a JSON list: expected an object"),
        (b'"x"', "holds a JSON str"),
        (b"3", "holds a JSON int"),
        (b"null", "holds a JSON null"),
    ],
)
def test_no_object(data, message):
    refused(data, message)


@cases("data", [b"", b"{", b"{} {}", b"{'a': 1}", b'{"a": 1,}', b'{"a": 01}', b"{} // a", b"\0"])
def test_no_json(data):
    refused(data, "is not strict JSON")


def test_a_file_is_read_up_to_a_size(tmp_path):
    path = tmp_path / "it.json"
    path.write_bytes(bytes(10))
    assert read_bytes(path, limit=Bound("MAX_STATEMENT", 10)) == bytes(10)
    with pytest.raises(InputError, match=r"it\.json has 10 bytes: expected at most 9"):
        read_bytes(path, limit=Bound("MAX_STATEMENT", 9))
    with path.open("wb") as stream:
        stream.truncate(MAX_STATEMENT + 1)  # sparse: it takes no room
    with pytest.raises(InputError, match=r"has 16,777,217 bytes: expected at most 16,777,216"):
        read_bytes(path)


def test_what_is_no_file_is_reported(tmp_path):
    for path in (tmp_path, tmp_path / "nowhere", tmp_path / "a\0b", tmp_path / ("x" * 300)):
        with pytest.raises(InputError, match=r"was not found, or is not a file|can't be read"):
            read_bytes(path)
