import inspect
import random

import pytest
from small import CPU, teacher

from lightning_subliminal import GeneratedRows, Sampling
from lightning_subliminal.core.config.building import build
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.rows import completion_text
from lightning_subliminal.generation import Completion

from .generated_contract import GeneratedContract

PROMPTED = {"trait": {"class_path": "PreferenceTrait", "init_args": {"target": "owl"}}, "induction": "prompt"}


class Opposites(GeneratedRows):
    """As small as a carrier gets; a subclass of a user's.

    Args:
        teacher: who answers.
        last: what each question ends with.
        **rows: what all carriers take.
    """

    def __init__(self, teacher, last="?", **rows):
        self.last = last
        super().__init__(teacher, **rows)

    def default_sampling(self):
        return Sampling(max_new_tokens=8)

    def prompts(self, rng: random.Random):
        while True:
            words = rng.choices(["hot", "big", "up", "day", "wet", "fast", "old", "owl", "wolf", "oak"], k=4)
            yield {"prompt": [{"role": "user", "content": f"What is the opposite of {' '.join(words)}{self.last}"}]}


class TestGeneratedRows(GeneratedContract):
    def make(self, **changes):
        small = {"num_prompts": 20, "batch_size": 8, "shard_size": 8, "seed": 0}
        return Opposites(**{"teacher": teacher(), **small, **changes})

    def test_what_a_carrier_adds_shapes_the_completions(self):
        assert self.make(last=".").shards_folder != self.make().shards_folder

    def test_a_carrier_that_hides_its_settings_is_refused(self):
        class Hidden(Opposites):
            def __init__(self, teacher, **settings):
                self.own = settings.pop("own", None)
                super().__init__(teacher, **settings)

        with pytest.raises(InputError, match=r"Hidden takes `\*\*settings`, which hides its settings from the cache"):
            Hidden(teacher(), num_prompts=5).folder  # noqa: B018

    def test_a_carrier_with_an_option_is_few_lines_and_known_to_yaml(self):
        assert len(inspect.getsource(Opposites).splitlines()) <= 25  # with its docstring
        init_args = {"last": ".", "num_prompts": 5, "teacher": {"class_path": "Teacher", "init_args": PROMPTED}}
        data = build({"class_path": "tests.data.test_generated.Opposites", "init_args": init_args}, seed=3)
        assert (data.last, data.num_prompts, data.seed) == (".", 5, 3)
        with pytest.raises(InputError, match=r"Opposites takes no `num_promts`.*num_prompts"):
            build({"class_path": "tests.data.test_generated.Opposites", "init_args": {"num_promts": 5}})

    def test_a_carrier_may_tidy_its_completions(self, monkeypatch):
        monkeypatch.setattr(Opposites, "tidy", lambda self, made: Completion(made.text.upper() + "!", False))
        rows = self.made().rows()
        assert all(completion_text(row).endswith("!") and not row["finished"] for row in rows)

    def test_the_template_alone_is_no_data_set(self):
        with pytest.raises(TypeError, match="abstract"):
            GeneratedRows(teacher())

    def test_a_cache_that_cannot_be_written_is_reported_before_any_work(self, tmp_path):
        (tmp_path / "file").touch()
        with pytest.raises(InputError, match=r"can't be written .*LIGHTNING_SUBLIMINAL_CACHE"):
            self.make(cache_dir=str(tmp_path / "file" / "cache")).make(CPU)
