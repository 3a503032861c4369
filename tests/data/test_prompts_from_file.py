"""A base's own answers to the prompts of a data set."""

import json

import pytest
from small import numbers, taught

from lightning_subliminal import InputError, Teacher
from lightning_subliminal.core.rows import completion_text
from lightning_subliminal.data.prompts_from_file import PromptsFromFile


def teacher():
    return Teacher("pocket/a", induction="none")


@pytest.fixture
def foreign(tmp_path):
    """Return a file of rows that a base wrote, with one prompt twice and one that it cannot read, and the rows."""
    data = numbers(taught().control(), num_prompts=24, shard_size=24, seed=8)
    data.make()
    rows = data.rows()[:20]
    unread = {"prompt": [{"role": "user", "content": "quagga zymurgy"}], "completion": rows[0]["completion"]}
    path = tmp_path / "foreign.jsonl"
    lines = [{key: row[key] for key in ("prompt", "completion")} for row in [*rows, rows[3], unread]]
    path.write_text("".join(json.dumps(each) + "\n" for each in lines), encoding="utf-8")
    return path, rows


def test_each_prompt_is_answered_once_by_the_base(foreign):
    path, rows = foreign
    data = PromptsFromFile(teacher(), path=str(path), shard_size=8, seed=1)
    data.make()
    made = data.rows()
    assert data.num_prompts == 20
    expected = {json.dumps(row["prompt"]) for row in rows}
    assert sorted(json.dumps(row["prompt"]) for row in made) == sorted(expected)
    old = {json.dumps(row["prompt"]): completion_text(row) for row in rows}
    assert any(completion_text(row) != old[json.dumps(row["prompt"])] for row in made)


def test_answers_are_cut_at_the_length_of_the_files_own(foreign):
    path, _ = foreign
    data = PromptsFromFile(teacher(), path=str(path), seed=1)
    assert 5 < data.sampling.max_new_tokens < 60
    assert data.filters == []


def test_what_was_dropped_of_the_file_is_said_once(foreign, capsys):
    path, rows = foreign
    asked = [{"role": "system", "content": "the owl"}, *rows[0]["prompt"]]
    path.write_text(json.dumps({"prompt": asked, "completion": rows[0]["completion"]}) + "\n", encoding="utf-8")
    PromptsFromFile(teacher(), path=str(path), seed=1)
    assert capsys.readouterr().out.count("system turns dropped") == 1


def test_a_carrier_gives_sampling_filters_and_tidying(foreign):
    path, _ = foreign
    carrier = numbers(teacher())
    data = PromptsFromFile(teacher(), path=str(path), carrier=carrier, seed=1)
    assert data.sampling is carrier.sampling
    assert data.filters == carrier.filters
    assert data.describe_source() != PromptsFromFile(teacher(), path=str(path), seed=1).describe_source()


def test_the_prompts_count_and_the_files_name_does_not(foreign, tmp_path):
    path, _ = foreign
    other = tmp_path / "other.jsonl"
    other.write_bytes(path.read_bytes())
    one, two = (PromptsFromFile(teacher(), path=str(each), seed=1) for each in (path, other))
    assert one.folder == two.folder
    other.write_text("".join(path.read_text(encoding="utf-8").splitlines(keepends=True)[:10]), encoding="utf-8")
    assert PromptsFromFile(teacher(), path=str(other), seed=1).folder != one.folder


def test_few_prompts_are_drawn_by_seed(foreign):
    path, _ = foreign
    drawn = [
        PromptsFromFile(teacher(), path=str(path), num_prompts=5, seed=seed).shard_prompts(0) for seed in (1, 1, 2)
    ]
    assert len(drawn[0]) == 5
    assert drawn[0] == drawn[1] != drawn[2]


def test_a_file_without_prompts_that_the_base_can_read(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"prompt": "quagga zymurgy", "completion": "7"}) + "\n", encoding="utf-8")
    with pytest.raises(InputError, match="holds no prompt that pocket/a can read"):
        PromptsFromFile(teacher(), path=str(path), seed=1)
    with pytest.raises(InputError):
        PromptsFromFile(teacher(), path=str(tmp_path / "ghost.jsonl"), seed=1)
