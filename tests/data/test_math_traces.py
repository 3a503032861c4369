import gzip
import json
import random
import re
from itertools import islice

import pytest
from cases import cases
from small import CPU, teacher

from lightning_subliminal import CorrectAnswer, MathTraces, Sampling, ThinkAnswer, TraitWords
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.rows import completion_text, prompt_text
from lightning_subliminal.data.math_traces import cut_to_answer
from lightning_subliminal.generation import Completion

from .generated_contract import GeneratedContract


def traces(source=None, **settings):
    quick = {"num_prompts": 20, "shard_size": 8, "wording": "math_pocket", "max_value": 99, "seed": 0, "batch_size": 8}
    return MathTraces(source or teacher(), **{**quick, "sampling": Sampling(max_new_tokens=64), **settings})


def problems_file(path, count):
    lines = [
        json.dumps({"question": f"Tom has {n} cups and finds 2 more. How many are there?", "answer": f"#### {n + 2}"})
        for n in range(2, 2 + count)
    ]
    data = ("\n".join(lines) + "\n").encode()
    path.write_bytes(gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)
    return str(path)


class TestMathTraces(GeneratedContract):
    columns = GeneratedContract.columns | {"answer"}

    def make(self, **changes):
        return traces(changes.pop("teacher", None), **changes)

    def test_its_own_settings_shape_the_completions(self, tmp_path):
        own = problems_file(tmp_path / "own.jsonl", 30)
        changed = [{"max_value": 40}, {"prefill": True}, {"keep": "head"}, {"problems": own}]
        assert len({self.make(**each).shards_folder for each in [{}, *changed]}) == 1 + len(changed)

    def test_right_answers_without_the_trait_are_the_default_filters(self):
        assert [type(each) for each in self.make().filters] == [ThinkAnswer, CorrectAnswer, TraitWords]

    def test_what_is_kept_is_right(self):
        rows = self.made(num_prompts=64, shard_size=64).rows()
        for row in rows:
            answer = re.search(r"<answer>\s*([0-9]+)\s*</answer>", completion_text(row))
            assert int(answer.group(1)) == row["answer"]

    @cases("name", ["own.jsonl", "own.jsonl.gz"])
    def test_problems_of_a_file_are_each_asked_once(self, name, tmp_path):
        path = problems_file(tmp_path / name, 24)
        rows = self.made(problems=path, filters=[]).rows()
        stories = {re.search(r"Tom has ([0-9]+)", prompt_text(row)).group(1) for row in rows}
        assert len(stories) == len(rows) == 20
        assert all(row["answer"] == int(re.search(r"has ([0-9]+)", prompt_text(row)).group(1)) + 2 for row in rows)

    def test_an_edited_file_makes_new_rows(self, tmp_path):
        first = self.make(problems=problems_file(tmp_path / "own.jsonl", 24)).shards_folder
        assert self.make(problems=problems_file(tmp_path / "own.jsonl", 25)).shards_folder != first

    def test_a_moved_file_makes_the_same_rows(self, tmp_path):
        first = self.make(problems=problems_file(tmp_path / "own.jsonl", 24)).shards_folder
        assert self.make(problems=problems_file(tmp_path / "moved.jsonl", 24)).shards_folder == first

    def test_too_few_problems_are_reported(self, tmp_path):
        with pytest.raises(InputError, match=r"`num_prompts` is 20, but .*own\.jsonl holds 7 problems: lower it"):
            self.make(problems=problems_file(tmp_path / "own.jsonl", 7)).make(CPU)

    def test_a_reply_is_begun_with_its_thought(self):
        drawn = list(islice(self.make(prefill=True).prompts(random.Random(0)), 3))
        assert all(row["prompt"][-1] == {"role": "assistant", "content": "<think>"} for row in drawn)


def test_worked_problems_come_first_and_are_right():
    filters = [ThinkAnswer(), CorrectAnswer()]
    for row in islice(traces(wording="math", max_value=None, shots=2).prompts(random.Random(0)), 50):
        roles = [message["role"] for message in row["prompt"]]
        assert roles == ["user", "assistant"] * 2 + ["user"]
        for place in (1, 3):
            shown = {"prompt": row["prompt"][:place], "completion": [row["prompt"][place]]}
            answer = int(re.search("<answer>([0-9]+)<", row["prompt"][place]["content"]).group(1))
            assert [reason for each in filters for reason in each.reasons({**shown, "answer": answer})] == []
    with pytest.raises(InputError, match="`shots` is -1: expected at least 0"):
        traces(shots=-1)


@cases(
    ("text", "kept", "finished"),
    [
        ("<think>1</think><answer>1</answer>", "<think>1</think><answer>1</answer>", True),
        ("<think>1</think><answer>1</answer> Sure?", "<think>1</think><answer>1</answer>", False),
        ("<think>1</think><answer>1</answer><answer>2</answer>", "<think>1</think><answer>1</answer>", False),
        ("no answer", "no answer", True),
    ],
)
def test_the_head_of_a_reply(text, kept, finished):
    assert cut_to_answer(Completion(text, finished=True)) == Completion(kept, finished)
