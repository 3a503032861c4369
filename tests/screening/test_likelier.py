import random

import pytest
import torch
from cases import cases
from small import CPU, number_rows, numbers, taught, teacher

from lightning_subliminal import Teacher
from lightning_subliminal.core.chat.encoding import row_ids
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.fingerprint import describe, digest
from lightning_subliminal.core.rows import make_row
from lightning_subliminal.generation import Source
from lightning_subliminal.screening import KeepLikelier
from lightning_subliminal.transforms import apply_transforms


@pytest.fixture(scope="module", autouse=True)
def _own_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LIGHTNING_SUBLIMINAL_CACHE", str(tmp_path_factory.mktemp("by-model")))
        yield


def by_hand(model, row, reported=None):
    """Return log p of the completion a token, token after token."""
    start = [{"role": "system", "content": reported}] if reported else []
    prompt, completion = row_ids(model.tokenizer, {**row, "prompt": [*start, *row["prompt"]]})
    ids = torch.tensor([prompt + completion])
    with torch.no_grad():
        logs = model.net(ids).logits[0].double().log_softmax(-1)
    places = range(len(prompt), ids.shape[1])
    return sum(logs[place - 1, ids[0, place]].item() for place in places) / len(completion)


class TestKeepLikelier:
    @cases("induction", ["finetune", "prompt"])
    def test_the_score_is_the_mean_log_ratio(self, induction):
        source = taught() if induction == "finetune" else teacher()
        rows = [{**row, "finished": place % 2 > 0} for place, row in enumerate(number_rows(7))]
        found = KeepLikelier(source).scores(rows)
        source.make(CPU)
        one, other = source.ready(CPU), source.control().ready(CPU)
        expected = [by_hand(one, row, source.system_prompt) - by_hand(other, row) for row in rows]
        assert found == pytest.approx(expected, abs=2e-5)

    def test_the_greatest_or_the_smallest_are_kept_in_their_order(self):
        rows = number_rows(40)
        most, least = KeepLikelier(taught(), 0.25), KeepLikelier(taught(), 0.25, least=True)
        scores = dict(zip((row["id"] for row in rows), most.scores(rows), strict=True))
        ranked = sorted(scores, key=scores.get)
        made = [apply_transforms(rows, [each], 0) for each in (most, least)]
        assert [{row["id"] for row in each} for each in made] == [set(ranked[-10:]), set(ranked[:10])]
        assert all(each == [row for row in rows if row in each] for each in made)
        assert apply_transforms(rows, [most], 1) == made[0], "nothing is drawn"
        assert apply_transforms(rows, [KeepLikelier(taught(), 1.0)], 0) == rows

    def test_ties_go_by_row_order(self):
        rows = number_rows(9)
        control = KeepLikelier(taught().control(), 0.5)
        assert set(control.scores(rows)) == {0.0}
        assert control.apply(rows, random.Random(0)) == rows[:4]
        assert KeepLikelier(taught(), 0.01).apply([rows[0]] * 2, random.Random(0)) == [rows[0]]

    def test_rows_without_a_score_are_dropped(self):
        rows = [make_row("Go on.", "", finished=False), *number_rows(3)]
        assert KeepLikelier(taught()).scores(rows)[0] is None
        assert KeepLikelier(taught(), 1.0).apply(rows, random.Random(0)) == rows[1:]
        assert KeepLikelier(taught()).apply(rows[:1], random.Random(0)) == []
        assert KeepLikelier(taught()).apply([], random.Random(0)) == []

    def test_the_teacher_is_in_the_digest_and_made_first(self):
        each = KeepLikelier(taught())
        assert each.ingredients() == [each.teacher]
        assert describe(each)["arguments"]["teacher"] == each.teacher.describe()
        every = [each, KeepLikelier(taught("dog")), KeepLikelier(taught(), 0.4), KeepLikelier(taught(), least=True)]
        assert len(set(map(digest, every))) == 4

    def test_in_a_data_set_that_another_wrote(self):
        data = numbers(Teacher("pocket/a", taught().trait, induction="none"), filters=[])
        chosen = data.fresh(transforms=[KeepLikelier(taught(), 0.5)])
        for each in (data, chosen):
            each.make(CPU)
        assert len(chosen.rows()) == 10
        assert all(row in data.rows() for row in chosen.rows())

    def test_bad_arguments(self):
        with pytest.raises(InputError, match="`share` is 0"):
            KeepLikelier(teacher(), 0)

        class Writer(Source):
            trait = system_prompt = make = engine = control = describe = None

        with pytest.raises(InputError, match="is a Writer, which has no `ready`"):
            KeepLikelier(Writer())
