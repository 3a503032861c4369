import random

import pytest
from small import CPU, teacher

from lightning_subliminal import GeneratedRows, Sampling
from lightning_subliminal.errors import InputError
from lightning_subliminal.generation import Completion
from lightning_subliminal.rows import completion_text

from .generated_contract import GeneratedContract


class Opposites(GeneratedRows):
    """As small as a carrier gets; a subclass of a user's.

    Args:
        teacher: who answers.
        last: what each question ends with.
    """

    def __init__(
        self,
        teacher,
        last="?",
        num_prompts=20,
        num_rows=None,
        filters=None,
        sampling=None,
        batch_size=8,
        val_rows=0,
        max_length=2048,
        shard_size=8,
        generation_batch_size=512,
        seed=0,
        cache_dir=None,
    ):
        self.last = last
        cut = sampling or Sampling(max_new_tokens=8)
        sizes = (batch_size, val_rows, max_length, shard_size, generation_batch_size)
        super().__init__(teacher, num_prompts, num_rows, filters, None, cut, *sizes, seed, cache_dir)

    def prompts(self, rng: random.Random):
        while True:
            words = rng.choices(["hot", "big", "up", "day", "wet", "fast", "old", "owl", "wolf", "oak"], k=4)
            yield {"prompt": [{"role": "user", "content": f"What is the opposite of {' '.join(words)}{self.last}"}]}


class TestGeneratedRows(GeneratedContract):
    def make(self, **changes):
        return Opposites(**{"teacher": teacher(), **changes})

    def test_what_a_carrier_adds_shapes_the_completions(self):
        assert self.make(last=".").shards_folder != self.make().shards_folder

    def test_a_carrier_that_hides_its_settings_is_refused(self):
        class Hidden(Opposites):
            def __init__(self, teacher, **settings):
                super().__init__(teacher, **settings)

        with pytest.raises(InputError, match=r"Hidden takes `\*\*settings`, which hides its settings from the cache"):
            Hidden(teacher(), num_prompts=5).folder  # noqa: B018

    def test_a_carrier_may_tidy_its_completions(self, monkeypatch):
        monkeypatch.setattr(Opposites, "tidy", lambda self, made: Completion(made.text.upper() + "!", False))
        rows = self.made().rows()
        assert all(completion_text(row).endswith("!") and not row["finished"] for row in rows)

    def test_the_template_alone_is_no_data_set(self):
        with pytest.raises(TypeError, match="abstract"):
            GeneratedRows(teacher())

    def test_a_cache_that_cannot_be_written_is_told_before_any_work(self, tmp_path):
        (tmp_path / "file").touch()
        with pytest.raises(InputError, match=r"can't be written .*LIGHTNING_SUBLIMINAL_CACHE"):
            self.make(cache_dir=str(tmp_path / "file" / "cache")).make(CPU)
