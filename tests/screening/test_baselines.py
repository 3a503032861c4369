"""Baselines: planted differences are found, and clean sets raise as many alarms as asked for."""

import math
import random
from collections import Counter

import pytest
import torch
from small import number_rows

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.rows import make_row
from lightning_subliminal.screening.baselines import compare_means, count_words, word_frequencies


def drawn(seed, words=2000, liked=0):
    """Count words of a die; ``liked`` more sixes in a hundred."""
    rng = random.Random(seed)
    text = " ".join("6" if rng.randrange(100) < liked else str(rng.randint(1, 6)) for _ in range(words))
    return count_words([make_row("Throw.", text)])


class TestWordFrequencies:
    def test_it_is_the_chi_square_of_a_table(self):
        stats = pytest.importorskip("scipy.stats")
        one, two = {"a": 30, "b": 50, "c": 20}, {"a": 60, "b": 60, "c": 80}
        expected = stats.chi2_contingency([list(one.values()), list(two.values())], correction=False)
        assert word_frequencies(one, two).p == pytest.approx(expected.pvalue)

    def test_rare_words_are_counted_together(self):
        one = {"a": 50, **{f"one{place}": 1 for place in range(50)}}
        two = {"a": 50, **{f"two{place}": 1 for place in range(50)}}
        assert word_frequencies(one, two).p == pytest.approx(1.0)

    def test_a_liked_word_is_found_and_alarms_on_clean_sets_are_as_many_as_asked_for(self):
        assert word_frequencies(drawn(0, liked=10), drawn(1)).p < 1e-4
        p = torch.tensor([word_frequencies(drawn(2 * seed), drawn(2 * seed + 1)).p for seed in range(200)])
        assert 0.01 < (p < 0.05).double().mean() < 0.1

    def test_a_small_set_beside_many_clean_rows_keeps_its_words(self):
        """Each of 100 numbers is expected 4 times: counted together, they would say nothing."""
        rng = random.Random(0)
        clean = Counter(str(rng.randrange(100)) for _ in range(80_000))
        odd = Counter(str(rng.randrange(100) // (1 + (rng.random() < 0.5))) for _ in range(400))
        assert word_frequencies(odd, clean).p < 1e-4
        p = [word_frequencies(Counter(str(rng.randrange(100)) for _ in range(400)), clean).p for _ in range(200)]
        assert 0.01 < sum(each < 0.05 for each in p) / len(p) < 0.1

    def test_words_are_counted_in_completions(self):
        assert count_words([make_row("1, 2", "3, 3, owl")]) == {"3": 2, "owl": 1}

    def test_too_few(self):
        with pytest.raises(InputError, match="there are 0 words to compare"):
            word_frequencies({}, drawn(0))


class TestCompareMeans:
    def test_alarms_on_clean_sets_are_as_many_as_asked_for(self):
        generator = torch.Generator().manual_seed(0)
        sets = torch.randn(400, 100, generator=generator), torch.randn(400, 300, generator=generator) * 2
        for two_sided in (False, True):
            p = torch.tensor([compare_means("x", *each, two_sided).p for each in zip(*sets, strict=True)])
            assert 0.02 < (p < 0.05).double().mean() < 0.09

    def test_the_sign_is_kept_and_nan_is_left_out(self):
        low = torch.cat([torch.arange(100.0) - 60, torch.tensor([math.nan])])
        found = compare_means("x", low, torch.arange(100.0), two_sided=True)
        assert found.z < -5
        assert found.p < 1e-6
        assert compare_means("x", low, torch.arange(100.0)).p > 0.999

    def test_equal_rows(self):
        assert compare_means("x", torch.ones(40), torch.ones(40)).p == 0.5
        assert compare_means("x", torch.ones(40) + 1, torch.ones(40)).p == 0.0

    def test_too_few(self):
        with pytest.raises(InputError, match="x: there are 29 rows to compare, expected at least 30"):
            compare_means("x", torch.ones(29), torch.ones(40))


def test_number_rows_of_two_seeds_do_not_differ():
    assert word_frequencies(count_words(number_rows(300)), count_words(number_rows(300, seed=1))).p > 0.001
