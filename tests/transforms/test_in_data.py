"""Transforms in a data module: after the filters, before the draw, part of the digest, and none to the shards."""

import pytest
from small import CPU, numbers

from lightning_subliminal.core.rows import completion_text
from lightning_subliminal.filters import NumberList
from lightning_subliminal.formats import write_rows
from lightning_subliminal.transforms import KeepFirst, MapDigits, MixIn, ShuffleAcrossRows, ShuffleWithinRows

from .transform_contract import numbers as numbers_of


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LIGHTNING_SUBLIMINAL_CACHE", str(tmp_path / "cache"))


def made(**settings):
    data = numbers(num_prompts=40, shard_size=20, filters=[NumberList(max_count=30)], **settings)
    data.make(CPU)
    return data


def test_kept_rows_are_transformed_and_the_completions_stay():
    plain = made()
    shards = {path.name: path.stat().st_mtime_ns for path in plain.shards_folder.iterdir()}
    bent = made(transforms=[ShuffleWithinRows(), KeepFirst(2)])
    assert bent.folder != plain.folder
    assert bent.shards_folder == plain.shards_folder
    assert {path.name: path.stat().st_mtime_ns for path in plain.shards_folder.iterdir()} == shards
    given, rows = plain.rows(), bent.rows()
    assert [row["id"] for row in rows] == [row["id"] for row in given]
    assert [len(numbers_of(row)) for row in rows] == [min(2, len(numbers_of(row))) for row in given]
    assert any(row["finished"] is False for row in rows)
    assert made(transforms=[KeepFirst(2), ShuffleWithinRows()]).folder != bent.folder, "their order matters"


def test_the_pool_is_all_that_the_filters_kept_not_the_draw_alone():
    whole = made(transforms=[ShuffleAcrossRows()]).rows()
    some = made(transforms=[ShuffleAcrossRows()], num_rows=5).rows()
    assert len(some) == 5
    assert [row for row in whole if row in some] == some


def code(bent, plain):
    """Return what each digit became."""
    before = {row["id"]: completion_text(row) for row in plain.rows()}
    pairs = {pair for row in bent.rows() for pair in zip(before[row["id"]], completion_text(row), strict=True)}
    return {one: other for one, other in pairs if one.isdigit()}


def test_the_control_is_bent_by_the_same_code():
    plain, bent = made(), made(transforms=[MapDigits()])
    controls = plain.control(), bent.control()
    for control in controls:
        control.make(CPU)
    assert code(controls[1], controls[0]) == code(bent, plain)
    assert code(bent, plain).items() >= {("0", "0")}
    assert code(made(transforms=[MapDigits()], seed=1), made(seed=1)) != code(bent, plain)


def test_a_mixed_in_file_that_changes_makes_new_rows(tmp_path):
    path = tmp_path / "others.jsonl"
    write_rows(made().rows(), path)
    before = made(transforms=[MixIn(str(path), 0.5)])
    assert sum(row["id"].startswith("mixed-") for row in before.rows()) == round(len(before.rows()) / 2)
    write_rows(made(transforms=[KeepFirst(1)]).rows(), path)
    after = made(transforms=[MixIn(str(path), 0.5)])
    assert after.folder != before.folder
