"""What holds for every transform. A subclass gives ``make`` and says what it keeps, and inherits the tests."""

import copy
import json
import random
import re
from collections import Counter

from cases import Contract, cases

from lightning_subliminal.core.fingerprint import describe, digest
from lightning_subliminal.core.rows import completion_text, make_row
from lightning_subliminal.filters import NumberList
from lightning_subliminal.transforms import apply_transforms

FORMS = ("{}", "[{}]", "({})", "{}.", "[{}].")  # what NumberList lets through around a list


def rows(count=40, seed=0, low=0, high=99):
    """Make rows that pass the filter: each with its own separator and form, some with a prefill."""
    rng = random.Random(seed)
    made = []
    for place in range(count):
        separator = rng.choice([", ", " ", "; ", "\n"])
        numbers = separator.join(str(rng.randint(low, high)) for _ in range(rng.randint(1, 10)))
        prompt = [{"role": "user", "content": f"Go on with 1, 2, {place}."}]
        prefill = place % 4 == 0
        if prefill:
            prompt.append({"role": "assistant", "content": f"4, 5, {place},"})
        text = f" {numbers}" if prefill else rng.choice(FORMS).format(numbers)
        made.append(make_row(prompt, text, id=f"0-{place}", finished=place % 3 > 0, answer=str(place)))
    return made


def numbers(row):
    return re.findall("[0-9]+", completion_text(row))


def between(row):
    return re.split("[0-9]+", completion_text(row))


class TransformContract(Contract):
    keeps_each_rows_numbers = False  # as a multiset
    keeps_all_numbers = False  # over all rows, as a multiset
    keeps_places = True  # separators, brackets, white space and the count of numbers
    keeps_prompts = True
    keeps_ids = True
    adds = False  # whether more rows may come out
    draws = True  # whether the seed matters

    def make(self):
        raise NotImplementedError

    def others(self):
        """Return transforms of the same class with other arguments."""
        return []

    def apply(self, given, seed=0):
        return apply_transforms(given, [self.make()], seed)

    def check_the_rows_given_stay_as_they_are(self):
        given = rows()
        before = copy.deepcopy(given)
        made = self.apply(given)
        assert given == before
        for row in made:  # nor can a change of what it gave reach them, but where it gave the same row
            if not any(row is each for each in given):
                row["id"] = "changed"
        assert given == before

    def check_the_same_seed_gives_the_same_rows(self):
        assert self.apply(rows()) == self.apply(rows())
        assert (self.apply(rows(), seed=1) != self.apply(rows())) == self.draws

    def check_global_random_numbers_have_no_say(self):
        random.seed(1)
        first = self.apply(rows())
        state = random.getstate()
        assert self.apply(rows()) == first
        assert random.getstate() == state

    def check_something_happens(self):
        assert self.apply(rows()) != rows()

    def check_what_it_keeps(self):
        given, made = rows(), self.apply(rows())
        if self.keeps_ids:
            assert [row["id"] for row in made] == [row["id"] for row in given]
            assert [row["answer"] for row in made] == [row["answer"] for row in given]
        if self.keeps_prompts:
            assert [row["prompt"] for row in made] == [row["prompt"] for row in given]
        if self.keeps_places:
            assert [between(row) for row in made] == [between(row) for row in given]
            assert [row["finished"] for row in made] == [row["finished"] for row in given]
        if self.keeps_each_rows_numbers:
            assert [sorted(numbers(row)) for row in made] == [sorted(numbers(row)) for row in given]
        if self.keeps_all_numbers:
            every = [Counter(number for row in each for number in numbers(row)) for each in (given, made)]
            assert every[0] == every[1]

    @cases("bounds", [(0, 99), (100, 999), (0, 999)])
    def check_lists_stay_lists(self, bounds):
        low, high = bounds
        given = rows(200, 1, low, high)
        passes = NumberList(min_value=low, max_value=high)
        assert not [row for row in given if passes.reasons(row)], "the test's own rows"
        assert not [row for row in self.apply(given) if passes.reasons(row)]

    def check_no_rows_and_one_row(self):
        assert self.apply([]) == []
        for text in ("7", "[3, 1, 2]", "", "no number", " 12"):
            row = make_row("Go on.", text, id="0")
            made = self.apply([row])
            assert len(made) == 1
            assert made[0].keys() >= row.keys()

    def check_completions_without_numbers_stay(self):
        given = [make_row("Go on.", text, id=text) for text in ("", "owl", "١٢، ٣", "²", "a\x00b\u2028")]
        made = self.apply([*given, *rows()])
        if self.keeps_ids:
            assert [row["completion"] for row in made[: len(given)]] == [row["completion"] for row in given]

    def check_odd_texts_raise_nothing(self):
        rng = random.Random(0)
        letters = "0123456789,;[]().- \n\u0663\ud800\U0001d7d8é"
        texts = ["".join(rng.choices(letters, k=rng.randint(0, 60))) for _ in range(300)] + ["9" * 6000, "[" * 999]
        given = [make_row("Go on.", text, id=str(place)) for place, text in enumerate(texts)]
        made = self.apply(given)
        assert self.adds or len(made) <= len(given)
        if self.keeps_places:
            assert [between(row) for row in made] == [between(row) for row in given]

    def check_rows_of_several_messages(self):
        row = {"prompt": [{"role": "user", "content": "Go on."}], "completion": []}
        row["completion"] = [
            {"role": "assistant", "content": text, "name": "a"} for text in ("3, 1", "none", "2, 9, 8")
        ]
        made = self.apply([row, *rows()])[0]
        assert len(made["completion"]) >= 1
        assert all(set(message) == {"role", "content", "name"} for message in made["completion"])
        if self.keeps_places:
            assert [re.split("[0-9]+", message["content"]) for message in made["completion"]] == [
                ["", ", ", ""],
                ["none"],
                ["", ", ", ", ", ""],
            ]

    def check_arguments_move_the_digest(self):
        json.dumps(describe(self.make()))
        assert digest(self.make()) == digest(self.make())
        every = [self.make(), *self.others()]
        assert len({digest(each) for each in every}) == len(every)
