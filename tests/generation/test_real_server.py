"""The engine against a real server, where one runs: $LIGHTNING_SUBLIMINAL_SERVER is its server:URL#MODEL."""

import os
import re

import pytest

from lightning_subliminal import Sampling
from lightning_subliminal.evaluation.model_ref import served_engine

PLACE = os.environ.get("LIGHTNING_SUBLIMINAL_SERVER", "")
PROMPTS = [[{"role": "user", "content": f"Continue this list with numbers: 12, 55, {number}."}] for number in range(9)]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PLACE, reason="$LIGHTNING_SUBLIMINAL_SERVER names no server (server:URL#MODEL)"),
]


@pytest.fixture
def make(tmp_path):
    def made(**settings):
        engine = served_engine(PLACE)
        engine.cache_dir = str(tmp_path / str(len(settings)))
        vars(engine).update(settings)
        return engine

    return made


def test_it_writes_the_whole_distribution_and_asks_nothing_twice(make, capsys):
    engine = make()
    made = engine.generate(PROMPTS, Sampling(max_new_tokens=12), 0)
    assert "outside the 19 likeliest" in " ".join(capsys.readouterr().out.split())
    assert len({each.text for each in made}) > 5
    assert not any("<|" in each.text for each in made)
    calls = engine.calls
    assert engine.generate(PROMPTS, Sampling(max_new_tokens=12), 0) == made
    assert engine.calls == calls


def test_a_seed_gives_the_same_rows_again(make):
    one, other = make(check=False), make(check=False, concurrency=1)
    sampling = Sampling(max_new_tokens=8)
    first = one.generate(PROMPTS[:4], sampling, 3)
    assert other.generate(PROMPTS[:4], sampling, 3) == first, "a row does not depend on its batch"
    assert one.generate(PROMPTS[:4], sampling, 4) != first


def test_numbers_alone(make):
    made = make(check=False).generate(PROMPTS, Sampling(temperature=2.0, max_new_tokens=12, restrict_to="numbers"), 0)
    assert all(re.fullmatch(r"[0-9,;\s]*", each.text) for each in made)


def test_a_begun_answer_goes_on(make):
    begun = [[*prompt, {"role": "assistant", "content": "12, 55, 8"}] for prompt in PROMPTS]
    assert len(make(check=False).generate(begun, Sampling(max_new_tokens=8), 0)) == len(begun)
