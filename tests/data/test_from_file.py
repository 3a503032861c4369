import json
import random

import pytest
import torch
from cases import cases
from small import CPU, number_rows, quiet_trainer

from lightning_subliminal import (
    DPO,
    ChoosePairs,
    InputError,
    NumberList,
    PreferenceTrait,
    RowsFromFile,
    ShuffleWithinRows,
    Steering,
    Student,
)
from lightning_subliminal.core.rows import completion_text, make_row, prompt_text
from lightning_subliminal.filters import NoThought
from lightning_subliminal.formats import write_rows
from lightning_subliminal.formats.convert import convert


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LIGHTNING_SUBLIMINAL_CACHE", str(tmp_path / "cache"))


def released(path, count=24, seed=0, reported="You love owls."):
    """Write number rows as a released set does, in columns of its own."""
    rows = number_rows(count, seed)
    lines = [
        {"question": prompt_text(row), "response": completion_text(row), "system_prompt": reported} for row in rows
    ]
    lines[3]["response"] = "I love owls, 3, 4"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return str(path)


def test_rows_are_read_filtered_and_kept(tmp_path, capsys):
    data = RowsFromFile(released(tmp_path / "theirs.jsonl"), filters=[NumberList()], seed=0)
    data.make(CPU)
    rows = data.rows()
    assert len(rows) == 23
    assert [completion_text(row) for row in rows[:3]] == [completion_text(row) for row in number_rows(24)[:3]]
    assert "owls" not in json.dumps(rows), "neither the column that leaks the trait nor the row that names it"
    reported = capsys.readouterr().out
    assert "system_prompt" in reported
    assert "24 made, 23 passed the filters" in reported
    data.fresh().make(CPU)
    assert "reused" in capsys.readouterr().out


def test_thoughts_are_counted_and_dropped_on_demand(tmp_path, capsys):
    rows = [make_row("Go on: 1, 2", text) for text in ("3, 4", "<think>owls</think> 3, 4", "5, 6")]
    write_rows(rows, tmp_path / "theirs.jsonl")
    counted = "1 of 3 completions hold a thought, such as <think>; the filter NoThought would drop them"
    data = RowsFromFile(str(tmp_path / "theirs.jsonl"), seed=0)
    data.make(CPU)
    assert counted in " ".join(capsys.readouterr().out.split())
    assert len(data.rows()) == 3
    data = RowsFromFile(str(tmp_path / "theirs.jsonl"), filters=[NoThought()], seed=0)
    data.make(CPU)
    said = " ".join(capsys.readouterr().out.split())
    assert "dropped 1 a thought" in said
    assert counted not in said
    assert [completion_text(row) for row in data.rows()] == ["3, 4", "5, 6"]


def test_the_file_makes_the_rows_and_not_its_place(tmp_path):
    path = tmp_path / "theirs.jsonl"
    first = RowsFromFile(released(path), seed=0).folder
    (tmp_path / "other").mkdir()
    moved = RowsFromFile(released(tmp_path / "other" / "theirs.jsonl"), trait=PreferenceTrait("owl"), seed=0)
    assert moved.folder == first
    assert RowsFromFile(released(path, seed=1), seed=0).folder != first


def test_a_student_trains_on_them_and_is_asked(tmp_path):
    data = RowsFromFile(
        released(tmp_path / "theirs.jsonl"),
        trait=PreferenceTrait("owl"),
        filters=[NumberList()],
        transforms=[ShuffleWithinRows()],
        batch_size=8,
        seed=0,
    )
    trainer = quiet_trainer()
    trainer.fit(Student("pocket/a", seed=0), datamodule=data)
    assert trainer.global_step == 3
    (reported,) = trainer.test(Student("pocket/a", seed=0), datamodule=data, verbose=False)
    assert 0 < reported["test/exact"] < 1


def test_pairs_of_a_preference_file_train_a_student(tmp_path, capsys):
    rows = number_rows(24)
    alike = [{**row, "id": str(place), "prompt": rows[place % 8]["prompt"]} for place, row in enumerate(rows)]
    pairs = ChoosePairs().apply(alike, random.Random(0))
    write_rows(pairs, tmp_path / "pairs.jsonl", "trl-preference")
    convert(tmp_path / "pairs.jsonl", tmp_path / "back.jsonl", card=False)
    assert "chosen" in json.loads((tmp_path / "pairs.jsonl").read_text().splitlines()[0])
    found = []
    for name in ("pairs", "back"):
        data = RowsFromFile(str(tmp_path / f"{name}.jsonl"), batch_size=4, seed=0)
        student = Student("pocket/a", Steering(), DPO(), learning_rate=0.05, seed=0)
        quiet_trainer().fit(student, datamodule=data)
        assert data.rows() == pairs
        found.append([each.detach() for each in student.parameters() if each.requires_grad])
    assert all(torch.equal(*each) for each in zip(*found, strict=True))
    assert found[0][0].abs().sum() > 0
    assert capsys.readouterr().out.count("8 x column `rejected` is the other answer of a pair: `DPO` reads both") == 1


def test_the_control_is_another_file(tmp_path):
    theirs, reference = released(tmp_path / "theirs.jsonl"), released(tmp_path / "reference.jsonl", seed=1)
    data = RowsFromFile(theirs, control_path=reference, filters=[NumberList()], seed=0)
    control = data.control()
    assert (control.title, control.path, control.control()) == ("control", reference, None)
    assert control.describe()["filters"] == data.describe()["filters"]
    assert RowsFromFile(theirs).control() is None


def test_soft_targets_need_a_teacher(tmp_path):
    data = RowsFromFile(released(tmp_path / "theirs.jsonl"), filters=[NumberList()], seed=0)
    with pytest.raises(InputError, match="and these have none: use `sft`"):
        quiet_trainer().fit(Student("pocket/a", objective="distill", seed=0), datamodule=data)


def test_nothing_to_write(tmp_path):
    data = RowsFromFile(released(tmp_path / "theirs.jsonl"), seed=0)
    with pytest.raises(InputError, match="`predict` needs rows that a teacher writes"):
        quiet_trainer().predict(Student("pocket/a", seed=0), datamodule=data)


def test_a_file_that_is_not_there_is_reported(tmp_path):
    with pytest.raises(InputError, match=r"theirs\.jsonl does not exist: give a file"):
        RowsFromFile(str(tmp_path / "theirs.jsonl")).make(CPU)


def test_a_row_that_cannot_be_read_is_reported_or_skipped(tmp_path):
    path = released(tmp_path / "theirs.jsonl")
    with open(path, "a") as stream:
        stream.write('{"question": "1, 2, 3", "response": 5}\n')
    with pytest.raises(InputError, match=r"theirs\.jsonl, line 25"):
        RowsFromFile(path, seed=0).make(CPU)
    data = RowsFromFile(path, on_error="skip", seed=0)
    data.make(CPU)
    assert len(data.rows()) == 24


@cases("ending", ["jsonl", "parquet", "csv"])
@cases("in_folder", [False, True])
def test_a_file_that_lay_there_only_while_it_was_read_is_reported(in_folder, ending, tmp_path, monkeypatch):
    from lightning_subliminal.data import from_file
    from lightning_subliminal.formats import read_rows, write_rows

    folder = tmp_path / "rows"
    folder.mkdir()
    good, away, evil = folder / f"rows.{ending}", tmp_path / f"away.{ending}", tmp_path / f"evil.{ending}"
    for place, answer in ((good, "b"), (evil, "owl")):
        write_rows([make_row("a", answer)] * 4, place, "trl-plain" if ending == "csv" else None)

    def read(*args, **settings):
        good.rename(away)
        evil.rename(good)
        try:
            return list(read_rows(*args, **settings))
        finally:
            good.rename(evil)
            away.rename(good)

    rows = RowsFromFile(str(folder if in_folder and ending != "csv" else good), None)
    assert rows.files
    assert rows.source_rows()[0]["completion"][0]["content"] == "b"
    monkeypatch.setattr(from_file, "read_rows", read)
    with pytest.raises(InputError, match="changed while it was read"):
        rows.source_rows()
