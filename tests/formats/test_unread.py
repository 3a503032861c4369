"""What a file says beside its texts: columns that belong to the prompt, columns of one name, numbers of any size."""

import json
from collections import Counter
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest
from cases import cases

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.formats import read_rows
from lightning_subliminal.formats.storage.stream import Report

from .files import put

pytestmark = pytest.mark.usefixtures("stand")


def notices(record: dict[str, Any]) -> Counter[str]:
    report = Report()
    put("rows.jsonl", json.dumps(record) + "\n")
    assert len(list(read_rows("rows.jsonl", report=report))) == 1
    return report.notices


@cases(
    ("record", "column"),
    [
        ({"question": "How old?", "context": "She is 9.", "answer": "9"}, "context"),
        ({"query": "How old?", "context": ["She is 9."], "response": "9"}, "context"),
        ({"prompt": "a", "completion": "b", "history": [["c", "d"]]}, "history"),
        ({"prompt": "<image> a", "completion": "b", "images": ["a.png"]}, "images"),
        (
            {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}], "tools": [{}]},
            "tools",
        ),
    ],
)
def test_a_column_that_the_prompt_needs_is_counted(record: dict[str, Any], column: str) -> None:
    assert notices(record)[f"column `{column}` is not in the prompt, which is read without it"] == 1


@cases(
    "record",
    [
        {"question": "She is 9. How old?", "context": "She is 9. ", "answer": "9"},
        {"prompt": "a", "completion": "b", "history": [], "context": "", "tools": None},
        {"instruction": "a", "input": "", "output": "b", "history": [["c", "d"]]},
    ],
)
def test_a_column_that_the_prompt_holds_is_not(record: dict[str, Any]) -> None:
    assert not notices(record)


def test_two_columns_of_one_name_are_reported() -> None:
    parts = [pa.array([each]) for each in "abc"]
    pyarrow.parquet.write_table(pa.Table.from_arrays(parts, ["prompt", "completion", "completion"]), "rows.parquet")
    with pytest.raises(InputError, match=r"^rows.parquet: a column appears twice: completion\.$"):
        read_rows("rows.parquet")


@cases("number", ["9" * 400, "-" + "9" * 400, "1e999"])
def test_a_number_of_any_size_may_stand_beside_the_texts(number: str) -> None:
    put("rows.jsonl", f'{{"prompt": "a", "completion": "b", "score": {number}}}\n')
    (row,) = read_rows("rows.jsonl")
    assert row["score"] == json.loads(number)


@cases(
    ("line", "fault"),
    [
        ('{"prompt": "a", "completion": "\\ud83d"}', "completion: expected text, found half of a surrogate pair"),
        ('{"prompt": "a", "completion": "b", "completion": "c"}', "completion"),
    ],
)
def test_the_fault_of_a_single_row_is_its_own(line: str, fault: str) -> None:
    put("rows.jsonl", line + "\n")
    with pytest.raises(InputError, match=rf"^rows.jsonl, line 1.*{fault}"):
        list(read_rows("rows.jsonl"))
