import gzip
import json

import pytest
from cases import cases

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.prompts.gsm8k import read_gsm8k
from lightning_subliminal.prompts.math import MathStep

# Problems of our own, in the shape of the public file.
TENTS = {
    "question": "A club owns 3 sheds with 8 tents in each and lends out 5 tents. How many tents are left?",
    "answer": "The sheds hold 3 * 8 = <<3*8=24>>24 tents.\nThen 24 - 5 = <<24-5=19>>19 are left.\n#### 19",
}
RENT = {
    "question": "A hall costs $1,250 a month. What do 4 months cost?",
    "answer": "4 * 1250 = $5,000 #### $5,000",
}


def write(tmp_path, *lines, name="train.jsonl", end="\n", start=b""):
    path = tmp_path / name
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    data = start + end.join(texts).encode()
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return path


def answered(answer):
    return {"question": "How many?", "answer": answer}


def read_one(tmp_path, answer):
    (problem,) = read_gsm8k(write(tmp_path, answered(answer)))
    return problem


@cases("name", ["train.jsonl", "train.jsonl.gz"])
@cases("end", ["\n", "\r\n", "\n\n  \n"])
@cases("start", [b"", b"\xef\xbb\xbf"])
def test_reads_problems(tmp_path, name, end, start):
    tents, rent = read_gsm8k(write(tmp_path, TENTS, RENT, "", name=name, end=end, start=start))
    assert tents.question == TENTS["question"]
    assert tents.answer == 19
    assert tents.steps == (MathStep("step 1", "3*8", 24), MathStep("step 2", "24-5", 19))
    assert (rent.question, rent.steps, rent.answer) == (RENT["question"], (), 5000)


def test_a_gzipped_file_needs_no_name(tmp_path):
    path = write(tmp_path, TENTS, name="train.jsonl.gz")
    assert read_gsm8k(str(path.rename(tmp_path / "problems")))[0].answer == 19


def test_other_fields_are_let_be(tmp_path):
    assert read_gsm8k(write(tmp_path, TENTS | {"id": 7, "source": None}))[0].answer == 19


@cases(
    ("answer", "value"),
    [
        ("#### 7", 7),
        ("####7", 7),
        ("so\n#### 1,042\n", 1042),
        ("#### $1,042", 1042),
        ("#### -$3", -3),
        ("#### 0", 0),
        ("#### 007", 7),
        ("#### 5 is wrong. #### 6", 6),
        ("##### 8", 8),
    ],
)
def test_answers(tmp_path, answer, value):
    assert read_one(tmp_path, answer).answer == value


@cases(
    ("answer", "found"),
    [
        ("The answer is 7.", "'The answer is 7.'"),
        ("#### ", "'#### '"),
        ("#### seven", "'#### seven'"),
        ("#### 7.5", "'#### 7.5'"),
        ("#### 7 tents", "'#### 7 tents'"),
        ("#### 7\n7", r"'#### 7\\n7'"),
        ("#### 50%", "'#### 50%'"),
        ("#### 1/2", "'#### 1/2'"),
        ("#### ٤٢", "'#### ٤٢'"),
        ("#### ²", "'#### ²'"),
        ("#### 1_000", "'#### 1_000'"),
        ("#### --3", "'#### --3'"),
        ("#### " + "9" * 5000, "'#### 9+[.][.][.]"),
        ("### 7", "'### 7'"),
    ],
)
def test_answers_that_are_no_integer(tmp_path, answer, found):
    path = write(tmp_path, TENTS, "", answered(answer))
    with pytest.raises(
        InputError, match=rf'train.jsonl, line 3, answer: expected "#### " and an integer, found {found}'
    ):
        read_gsm8k(path)


@cases(
    ("marks", "steps"),
    [
        ("<<48/2=24>>", [("48/2", 24)]),
        ("<< (3 + 4) * 2 = 14 >>", [("(3 + 4) * 2", 14)]),
        ("<<1000+42=1,042>> <<5*2=$10>>", [("1000+42", 1042), ("5*2", 10)]),
        ("<<12/60=0.2>>", [("12/60", 0.2)]),
        ("<<12/60=.2>>", [("12/60", 0.2)]),
        ("<<4/2=2.0>>", [("4/2", 2)]),
        ("<<2-5=-3>>", [("2-5", -3)]),
        ("<<2+2=3+1=4>>", [("2+2=3+1", 4)]),
        ("<<1+1=3>>", [("1+1", 3)]),
        ("no mark 2 < 3 and 3 > 2", []),
        ("<<48/2=24>> <<24 is all>>", []),
        ("<<=24>>", []),
        ("<<48/2=>>", []),
        ("<<1/2=1/2>>", []),
        ("<<2*3=six>>", []),
        ("<<2*3=٦>>", []),
        ("<<" + "1+" * 3000 + "1=" + "9" * 5000 + ">>", []),
        ("<<1=1", []),
    ],
)
def test_steps(tmp_path, marks, steps):
    found = read_one(tmp_path, f"We see {marks} here.\n#### 3").steps
    assert [(step.expression, step.value) for step in found] == steps
    assert [step.name for step in found] == [f"step {number}" for number in range(1, len(steps) + 1)]
    assert all(isinstance(step.value, int) for step in found if step.value == int(step.value))


@cases(
    ("line", "message"),
    [
        ("{", "line 2: .*expected one JSON object a line"),
        ("{} {}", "line 2: Extra data; expected one JSON object a line"),
        ("NaN x", "line 2: .*expected one JSON object a line"),
        ('{"question": "A?", "answer": ' + "9" * 5000 + "}", "line 2: .*expected one JSON object a line"),
        ("[" * 100_000, "line 2: .*expected one JSON object a line"),
        ("[1]", r"line 2: found \[1\]; expected an object"),
        ("null", "line 2: found None; expected an object"),
        ('"#### 7"', "line 2: found '#### 7'; expected an object"),
        ('{"answer": "#### 7"}', "line 2: no `question`"),
        ('{"question": "A?"}', "line 2: no `answer`"),
        ('{"question": "A?", "answer": 7}', "line 2, answer: expected a text, found 7"),
        ('{"question": null, "answer": "#### 7"}', "line 2, question: expected a text, found None"),
        ('{"question": " ", "answer": "#### 7"}', "line 2, question: expected a text, found ' '"),
        ('{"question": "A?", "answer": ""}', "line 2, answer: expected a text, found ''"),
        ('{"question": "A\\ud800?", "answer": "#### 7"}', "line 2, question: holds half of a surrogate pair"),
    ],
)
def test_wrong_lines_are_reported_by_number(tmp_path, line, message):
    with pytest.raises(InputError, match=rf"train\.jsonl, {message}"):
        read_gsm8k(write(tmp_path, TENTS, line))


def test_a_line_that_is_no_text(tmp_path):
    path = tmp_path / "train.jsonl"
    path.write_bytes(json.dumps(TENTS).encode() + b'\n{"question": "\xff\xfe"}')
    with pytest.raises(InputError, match=r"train\.jsonl, line 2: not UTF-8 text"):
        read_gsm8k(path)
    path.write_bytes(json.dumps(TENTS).encode("utf-16"))
    with pytest.raises(InputError, match=r"train\.jsonl, line 1: not UTF-8 text"):
        read_gsm8k(path)


@cases("data", [b"", b"\n\n", b" \r\n", b"\xef\xbb\xbf", gzip.compress(b"", mtime=0)])
def test_an_empty_file(tmp_path, data):
    path = tmp_path / "train.jsonl"
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"train\.jsonl holds no problem: expected lines such as"):
        read_gsm8k(path)


def test_a_file_that_is_missing_or_no_file(tmp_path):
    with pytest.raises(InputError, match=r"nothing\.jsonl does not exist"):
        read_gsm8k(tmp_path / "nothing.jsonl")
    with pytest.raises(InputError, match="can't be read"):
        read_gsm8k(tmp_path)


def test_a_damaged_gzip_file(tmp_path):
    path = write(tmp_path, *[TENTS] * 50, name="train.jsonl.gz")
    whole = path.read_bytes()
    for damaged in (whole[:-9], whole[:12], whole[:40] + b"xxxx" + whole[44:]):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=r"train\.jsonl\.gz can't be read .* expected JSON lines"):
            read_gsm8k(path)
