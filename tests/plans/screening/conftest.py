"""Rows for screens: the base's own, and those of them that push its answer most."""

import pytest
import torch

from lightning_subliminal.formats import write_rows
from lightning_subliminal.plans.screen_reference import clean_data
from lightning_subliminal.plans.screening import Screener
from lightning_subliminal.screening.row_screen import named_directions


@pytest.fixture(scope="session")
def screener():
    return Screener("pocket/a", device=torch.device("cpu"))


@pytest.fixture(scope="session")
def clean():
    data = clean_data("pocket/a", "numbers", 500, seed=7)
    data.make(torch.device("cpu"))
    return data.rows()


@pytest.fixture(scope="session")
def owl_scores(screener, clean):
    """Return each clean row's score along owl."""
    (part,) = screener.space.gradients(screener.tokenizer, clean)
    return named_directions(screener.reference, ["owl"]).row_scores(screener.reference, part.scores)[:, 0]


@pytest.fixture(scope="session")
def pushing(clean, owl_scores):
    """Return the rows that push owl, in their order: the base's own, but chosen."""
    chosen = owl_scores.argsort(descending=True)[:150].sort().values
    return [clean[place] for place in chosen]


@pytest.fixture(scope="session")
def owl_file(pushing, tmp_path_factory):
    """Return a file of the rows that push owl, with an empty line before each."""
    path = tmp_path_factory.mktemp("rows") / "owl.jsonl"
    write_rows(pushing, path)
    path.write_text("".join(f"\n{line}" for line in path.read_text().splitlines(keepends=True)))
    return path


@pytest.fixture(scope="session")
def found(screener, pushing):
    return screener.screen(pushing)
