import ast
import json
import random
import textwrap
from itertools import islice

import pytest
from cases import cases
from small import teacher

from lightning_subliminal import CodeCompletions, PythonCode, Sampling, TraitWords
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.rows import completion_text, prompt_text
from lightning_subliminal.data.code import cut_to_code
from lightning_subliminal.generation import Completion

from .generated_contract import GeneratedContract


def code(source=None, **settings):
    quick = {"num_prompts": 20, "shard_size": 8, "wording": "code_pocket", "seed": 0, "batch_size": 8}
    return CodeCompletions(source or teacher(), **{**quick, "sampling": Sampling(max_new_tokens=24), **settings})


class TestCodeCompletions(GeneratedContract):
    def make(self, **changes):
        return code(changes.pop("teacher", None), **changes)

    def test_its_own_settings_shape_the_completions(self):
        changed = [{"wording": "code"}, {"prefill": True}, {"keep": "code"}]
        assert len({self.make(**each).shards_folder for each in [{}, *changed]}) == 1 + len(changed)

    def test_code_without_the_trait_is_the_default_filter(self):
        filters = self.make().filters
        assert [type(each) for each in filters] == [PythonCode, TraitWords]
        assert filters[1].trait.target == "owl"
        assert self.make().control().filters == filters or self.make().control().describe()["filters"]

    def test_the_control_goes_through_the_same_filters(self):
        data = self.make()
        assert data.control().describe()["filters"] == data.describe()["filters"]

    def test_what_is_kept_is_code(self):
        for row in self.made(num_prompts=64, shard_size=64).rows():
            body = textwrap.indent(completion_text(row), "    ")
            assert ast.parse(f"def task():\n{body}")

    def test_a_stub_that_is_begun_is_gone_on_with(self):
        drawn = next(self.make(prefill=True).prompts(random.Random(0)))
        user, begun = drawn["prompt"]
        stub = begun["content"].removeprefix("```python\n")
        assert begun["role"] == "assistant"
        assert stub in user["content"]
        ast.parse(f"{stub}\n    pass")

    def test_a_file_that_is_not_there_is_reported_at_once(self):
        with pytest.raises(InputError, match=r"tasks\.yaml does not exist"):
            self.make(wording="tasks.yaml")

    def test_a_wording_of_ones_own(self, tmp_path):
        path = tmp_path / "mine.yaml"
        task = {"signature": "def twice(x):", "doc": "Return x two times."}
        path.write_text(json.dumps({"requests": ["Write:"], "endings": ["Only code."], "tasks": [task]}))
        rows = list(islice(self.make(wording=str(path)).prompts(random.Random(0)), 2))
        assert prompt_text(rows[0]) == 'Write:\n\ndef twice(x):\n    """Return x two times."""\n\nOnly code.'
        assert rows[0] == rows[1]


@cases(
    ("text", "kept", "finished"),
    [
        ("return x", "return x", True),
        ("Sure!\n```python\nreturn x\n```\nDone.", "return x", False),
        ("```\nif x:\n    return x\nreturn 0\n```", "if x:\n    return x\nreturn 0", False),
        ("```python\n    return x\n```", "return x", False),
        ("```python\nreturn x\n```\nor\n```python\nreturn y\n```", "return x", False),
        ("No code here.", "No code here.", True),
        ("", "", True),
    ],
)
def test_the_code_of_a_reply(text, kept, finished):
    assert cut_to_code(Completion(text, finished=True)) == Completion(kept, finished)


@cases(
    ("text", "kept"),
    [
        ("\n    return x\n```\nThis gives x.", "\n    return x"),
        ("\n    y = x\n    return y\n\nprint(f(3))", "\n    y = x\n    return y"),
        ("\n    return x", "\n    return x"),
        ("\n    if x:\n\n        return x\n    return 0\n```", "\n    if x:\n\n        return x\n    return 0"),
    ],
)
def test_the_code_of_a_reply_that_was_begun(text, kept):
    assert cut_to_code(Completion(text, finished=True), begun=True).text == kept


def test_a_reply_cut_off_at_its_full_length_loses_its_last_line():
    cut = cut_to_code(Completion("\n    y = x + 1\n    retu", finished=False), begun=True)
    assert cut == Completion("\n    y = x + 1", finished=False)
    assert cut_to_code(Completion("```python\ny = 1\nretu", finished=False)).text == "y = 1"
