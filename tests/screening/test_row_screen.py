"""Scores of rows as columns of `datasets`."""

import pickle

import datasets
import pytest
import torch
from small import number_rows

from lightning_subliminal import InputError
from lightning_subliminal.plans.screen_reference import find_reference, load_space
from lightning_subliminal.screening import DirectionDetector, RowScreen


@pytest.fixture(scope="module")
def reference():
    return find_reference("pocket/a", "numbers")


@pytest.fixture(scope="module")
def screen(reference):
    return RowScreen(reference, "pocket/a", ["owl", "yes"])


def test_columns_are_those_of_the_screen(screen, reference):
    rows = number_rows(30)
    table = datasets.Dataset.from_list(rows).map(screen.scores, batched=True, batch_size=8)
    space, tokenizer = load_space("pocket/a", None, torch.device("cpu"))
    (part,) = space.gradients(tokenizer, rows)
    known, white = DirectionDetector.known(reference), DirectionDetector.white(reference)
    for name, detector in (("owl", known), ("yes", white)):
        scores = detector.row_scores(reference, part.scores)[:, detector.names.index(name)]
        assert table[f"z_{name}"] == pytest.approx(scores.tolist(), abs=1e-3)
    assert table["log_likelihood"] == pytest.approx(part.log_likelihoods.tolist(), abs=1e-3)
    high = table.filter(lambda row: row["z_owl"] is not None and row["z_owl"] > 1)
    assert set(high["id"]) == {row["id"] for row, z in zip(rows, table["z_owl"], strict=True) if z > 1}


def test_other_layouts_and_rows_without_a_score(screen):
    found = screen.scores({"prompt": ["Go on: 3, 9", "x"], "completion": ["12, 14", "Er schläft."]})
    assert found["z_owl"][1] is None
    assert found["log_likelihood"][0] < 0
    assert screen.scores({"prompt": [], "completion": []}) == {"z_owl": [], "z_yes": [], "log_likelihood": []}


def test_it_travels_without_its_model(screen):
    again = pickle.loads(pickle.dumps(screen))  # noqa: S301 - our own bytes
    assert "_loaded" not in vars(again)
    batch = {"prompt": ["Go on: 3, 9"], "completion": ["12, 14"]}
    assert again.scores(batch) == screen.scores(batch)
    assert len(pickle.dumps(screen)) < 500_000


def test_mistakes(reference, tmp_path):
    with pytest.raises(InputError, match="knows no trait 'owll'; did you mean `owl`"):
        RowScreen(reference, "pocket/a", ["owll"])
    with pytest.raises(InputError, match="has another digest"):
        RowScreen(reference, "pocket/b", ["owl"])
    with pytest.raises(InputError, match="There is no reference"):
        RowScreen(tmp_path / "ghost", "pocket/a", ["owl"])
