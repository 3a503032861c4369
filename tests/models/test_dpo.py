"""Direct preference optimisation: the loss by hand, a killed fit, and rows without pairs."""

import copy
import random

import pytest
import torch
from cases import cases
from small import CPU, number_rows, numbers, quiet_trainer, straight_and_killed, taught
from torch.nn.functional import logsigmoid

from lightning_subliminal import (
    DPO,
    ChoosePairs,
    LoRA,
    NumberSequences,
    ShuffleWithinRows,
    Steering,
    Student,
    Teacher,
    TraitComparison,
)
from lightning_subliminal.core.chat.encoding import row_ids
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.fingerprint import digest
from lightning_subliminal.data.tokenized import Part
from lightning_subliminal.screening import KeepLikelier
from lightning_subliminal.transforms import DropDuplicates, Transform

SIDES = ("completion", "rejected")


class TextAlone(Transform):
    """Writes a text where messages should be."""

    def apply(self, rows, rng):
        return [{**row, "rejected": "owl"} for row in rows]


def pairs(**settings):
    """Return 24 requests that the base answers four times each, and two of the answers by chance."""
    base = Teacher("pocket/a", taught().trait, induction="none")
    settings = {"num_prompts": 24, "answers_per_prompt": 4, "transforms": [ChoosePairs()], **settings}
    return numbers(base, **settings)


def student(adapter=None, beta=0.1, **settings):
    settings = {"learning_rate": 0.05, "seed": 0, **settings}
    return Student("pocket/a", Steering() if adapter is None else adapter, DPO(beta), **settings)


def log_likelihood(net, tokenizer, row, side):
    prompt, completion = row_ids(tokenizer, {**row, "completion": row[side]})
    logs = net(torch.tensor([prompt + completion])).logits[0].log_softmax(-1)
    places = torch.arange(len(prompt), len(prompt) + len(completion))
    return logs[places - 1, torch.tensor(completion)].sum()


def by_hand(net, tokenizer, rows, before, beta):
    gained = [log_likelihood(net, tokenizer, row, "completion") for row in rows]
    lost = [log_likelihood(net, tokenizer, row, "rejected") for row in rows]
    return -logsigmoid(beta * (torch.stack(gained) - torch.stack(lost) - before))


class Losses(Student):
    """Keeps the loss of its training rows, and of the same by hand, after each epoch."""

    def on_train_start(self):
        with torch.no_grad():
            rows = self.trainer.datamodule.rows()
            sides = [[log_likelihood(self.net, self.tokenizer, row, side) for side in SIDES] for row in rows]
        self.margins = torch.tensor([chosen - rejected for chosen, rejected in sides])

    def on_train_epoch_end(self):
        data, rows = self.trainer.datamodule.train_data, self.trainer.datamodule.rows()
        with torch.no_grad():
            values = by_hand(self.net, self.tokenizer, rows, self.margins, self._objective.beta)
            self.found = [*vars(self).get("found", []), (self.loss(data.batch(range(len(rows)))), values.mean())]


@cases(("adapter", "beta"), [(Steering(), 0.1), (Steering([0]), 0.5), (LoRA(r=2), 0.1)])
def test_the_loss_is_that_by_hand(adapter, beta):
    module = Losses("pocket/a", adapter, DPO(beta), learning_rate=0.01, seed=0)
    quiet_trainer(max_epochs=2).fit(module, datamodule=pairs())
    for found, expected in module.found:
        assert found.item() == pytest.approx(expected.item(), abs=2e-5)
    assert module.found[1][1] < module.found[0][1] < 0.69, "it is log 2 before the first step"
    assert module._objective.rejected is None, "it is released when the fit ends"


def test_killed_and_resumed_is_straight(tmp_path):
    found = straight_and_killed(student, pairs, tmp_path)
    assert all(torch.equal(*pair) for pair in zip(*found, strict=True))
    assert found[0][0].abs().sum() > 0


def test_accumulated_and_padded_batches_have_the_gradient_of_one():
    class Watched(Student):
        def on_train_start(self):
            self.gradients = []
            data, places = self.trainer.datamodule.train_data, list(range(6))
            share = 6 / 8  # two devices of four rows each, where only three of the second count
            second = [Part(4, True, share), Part(5, True, share), Part(0, False, share), Part(1, False, share)]
            first = [Part(place, True, share) for place in places[:4]]
            for parts in ([data.batch(places)], [data.batch(first), data.batch(second)]):
                loss = sum(self.loss(part) for part in parts) / len(parts)
                self.gradients.append(torch.autograd.grad(loss, trained_of(self)))

    def trained_of(module):
        return [each for each in module.parameters() if each.requires_grad]

    module = Watched("pocket/a", Steering(), DPO(), learning_rate=0.05, seed=0)
    quiet_trainer().fit(module, datamodule=pairs())
    for one, other in zip(*module.gradients, strict=True):
        assert torch.allclose(one, other, atol=1e-6)
        assert one.abs().sum() > 0


def test_rows_held_out_have_a_validation_loss():
    module = student()
    trainer = quiet_trainer()
    trainer.fit(module, datamodule=pairs(val_rows=4))
    assert 0 < trainer.callback_metrics["val/loss"] < 20


def test_rows_without_pairs_and_a_wrong_beta_are_refused(capsys):
    with pytest.raises(InputError, match="no column `rejected`: add a `ChoosePairs`"):
        quiet_trainer().fit(student(), datamodule=pairs(transforms=[]))
    with pytest.raises(InputError, match="`dpo` needs pairs: add a `ChoosePairs` to `transforms`"):
        student().check_rows(pairs(transforms=[]))
    with pytest.raises(InputError, match="`ChoosePairs` needs several completions of a prompt: set `answers_per"):
        student().check_rows(pairs(answers_per_prompt=1))
    with pytest.raises(InputError, match="A teacher of wolf chooses the rows, and owl would be asked for"):
        TraitComparison().check(student(), pairs(transforms=[ChoosePairs(taught("wolf"))]))
    Student("pocket/a").check_rows(pairs())
    assert (
        "note      the rows are pairs: `sft` reads the chosen completions alone, `dpo` both" in capsys.readouterr().out
    )
    with pytest.raises(InputError, match="ShuffleWithinRows changes one completion of a pair, and not the other"):
        pairs(transforms=[ChoosePairs(), ShuffleWithinRows()]).make(CPU)
    pairs(transforms=[ShuffleWithinRows(), ChoosePairs(), DropDuplicates()]).make(CPU)
    with pytest.raises(InputError, match="`rejected` is 'owl': expected a list of one assistant message"):
        quiet_trainer().fit(student(), datamodule=pairs(transforms=[TextAlone()]))
    with pytest.raises(InputError, match="`beta` is 0"):
        DPO(0)
    with pytest.raises(InputError, match="`train_on: divergent` is for single completions, not for pairs"):
        student(train_on="divergent")


def test_beta_is_in_the_digest_and_the_default_is_one():
    assert digest(Student("pocket/a", Steering(), "dpo", learning_rate=0.05, seed=0)) == digest(student())
    assert digest(student(beta=0.2)) != digest(student()) == digest(copy.copy(student()))
    assert digest(student()) != digest(Student("pocket/a", Steering(), learning_rate=0.05, seed=0))


class Fixed(NumberSequences):
    """Rows of a user's own, whose transforms are no argument."""

    def __init__(self, teacher):
        quick = {"num_prompts": 4, "shard_size": 4, "min_value": 0, "max_value": 99, "seed": 0}
        super().__init__(teacher, transforms=[DropDuplicates()], **quick)

    def describe(self):
        return {}


def test_rows_that_fix_their_transforms_have_a_control():
    assert [type(each) for each in Fixed(taught()).control().transforms] == [DropDuplicates]


class TestChoosePairs:
    def test_a_teacher_likes_the_first_more_than_the_other(self):
        chosen = pairs(transforms=[ChoosePairs(taught())])
        chosen.make(CPU)
        all_rows = pairs(transforms=[])
        all_rows.make(CPU)
        scored = KeepLikelier(taught(), 1.0).scores
        rows = chosen.rows()
        assert 15 < len(rows) <= 24
        for row in rows:
            alike = [each for each in all_rows.rows() if each["prompt"] == row["prompt"]]
            scores = scored(alike)
            assert 2 <= len(alike) <= 4
            assert scored([row])[0] == pytest.approx(max(scores), abs=1e-5)
            assert scored([{**row, "completion": row["rejected"]}])[0] == pytest.approx(min(scores), abs=1e-5)

    def test_the_control_is_the_choice_by_chance(self):
        data = pairs(transforms=[ChoosePairs(taught())])
        control = data.control()
        assert [each.teacher for each in control.transforms] == [None]
        assert control.folder != data.folder
        assert control.shards_folder == data.shards_folder, "the base writes both, once"
        assert control.control().folder == control.folder

    def test_two_different_completions_by_chance(self):
        rows = [{**row, "prompt": number_rows(1)[0]["prompt"]} for row in number_rows(5)]
        alone, twice = number_rows(6)[5], [number_rows(8)[7]] * 2
        (pair,) = ChoosePairs().apply([*rows, alone, *twice], random.Random(0))
        assert pair["prompt"] == rows[0]["prompt"]
        assert pair["completion"] != pair["rejected"]
        drawn = {str(ChoosePairs().apply(rows, random.Random(seed))[0]["rejected"]) for seed in range(40)}
        assert len(drawn) == 5
        with pytest.raises(InputError, match="No prompt has two different completions: set `answers_per_prompt`"):
            ChoosePairs().apply([alone, *twice], random.Random(0))

    def test_the_teacher_is_made_first_and_needs_probabilities(self):
        assert ChoosePairs().ingredients() == []
        each = ChoosePairs(taught())
        assert each.ingredients() == [each.teacher]
        with pytest.raises(InputError, match="has no `ready`"):
            ChoosePairs(object())
