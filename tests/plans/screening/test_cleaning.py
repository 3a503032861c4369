"""Balanced copies of a data set that carries a trait."""

import pytest
import torch

from lightning_subliminal import InputError
from lightning_subliminal.formats import read_rows, write_rows
from lightning_subliminal.plans.screen_reference import clean_data
from lightning_subliminal.plans.screening import Screener
from lightning_subliminal.plans.screening.cleaning import balance_directions, clean_file, clean_rows
from lightning_subliminal.screening import DirectionDetector, RunningSums

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def screener():
    return Screener("pocket/a", device=CPU)


@pytest.fixture(scope="module")
def pushing(screener):
    """Return rows of the base that push owl: those with a high score along its teacher are twice as many."""
    data = clean_data("pocket/a", "numbers", 1500, seed=11)
    data.make(CPU)
    rows = list(data.rows())
    scores = torch.cat([part.scores for part in screener.space.gradients(screener.tokenizer, rows)])
    detector = DirectionDetector.known(screener.reference)
    along = detector.row_scores(screener.reference, scores)[:, detector.names.index("owl")]
    return [rows[place] for place in along.argsort(descending=True)[:1000].tolist()]


def test_a_balanced_copy_no_longer_moves_the_base(screener, pushing, tmp_path):
    write_rows(pushing, tmp_path / "rows.jsonl")
    found = screener.screen(pushing)
    assert (found.verdict, found.named) == ("trait", "owl")
    cleaned = clean_file(screener, found, tmp_path / "rows.jsonl", tmp_path / "clean.jsonl")
    assert cleaned.rows == len(pushing)
    assert cleaned.different < len(pushing)
    assert "owl" in cleaned.line()
    kept = list(read_rows(tmp_path / "clean.jsonl"))
    assert len(kept) == len(pushing)
    known = {(row["prompt"][-1]["content"], row["completion"][-1]["content"]) for row in pushing}
    assert {(row["prompt"][-1]["content"], row["completion"][-1]["content"]) for row in kept} <= known
    sums = RunningSums(screener.reference)
    for part in screener.space.gradients(screener.tokenizer, kept):
        sums.add(part.scores)
    detector = DirectionDetector.known(screener.reference)
    before = next(each for each in found.teachers if each.name == "owl")
    after = detector.decide(sums)[detector.names.index("owl")]
    assert abs(after.z) < 2.5 < before.z / 4  # resampling has a noise of its own
    step = torch.linalg.solve(screener.reference.metric, found.movement)  # where training on all of the rows would go
    assert abs(sums.shift @ step) < 0.1 * (found.movement @ step)


def test_the_seed_decides_the_copy(screener, pushing):
    found = screener.screen(pushing)
    directions = balance_directions(screener, found)
    first, second, other = (clean_rows(screener, pushing, directions, seed)[0] for seed in (0, 0, 1))
    assert [row["id"] for row in first] == [row["id"] for row in second] != [row["id"] for row in other]
    assert len({row["id"] for row in first}) == len(first)


def test_only_a_named_trait_is_balanced(screener, tmp_path):
    data = clean_data("pocket/a", "numbers", 400, seed=12)
    data.make(CPU)
    found = screener.screen(data.rows())
    with pytest.raises(InputError, match=r"The verdict is clean: `clean` expects a trait by name"):
        clean_file(screener, found, "rows.jsonl", tmp_path / "clean.jsonl")


def test_rows_of_a_pipe_are_read_once(screener, pushing, tmp_path):
    found = screener.screen(pushing)
    with pytest.raises(InputError, match="pass a file"):
        clean_file(screener, found, "-", tmp_path / "clean.jsonl")
