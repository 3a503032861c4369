"""The digit classifiers with other starts, some arms and weight decay; and the usual run, the same as ever."""

import json
import math
from pathlib import Path

import pytest
import torch
from cases import cases

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.seeds import derive_seed
from lightning_subliminal.models.mlp import STUDENT_ARMS, ClassifierMLP
from lightning_subliminal.models.mlp.report import results_table
from models.test_mlp import Saver, assert_same, blobs, make, trainer, weights

TWO = ("student_auxiliary", "other_start_auxiliary")


def run(folder: Path, **changes: object) -> ClassifierMLP:
    module = make(**changes)
    trainer(folder).fit(module, blobs())
    return module


def drawn(**changes: object) -> ClassifierMLP:
    module = make(**changes)
    module.configure_model()
    return module


def of_arm(module: ClassifierMLP, name: str) -> list[torch.Tensor]:
    """Return an arm's parameters, each with a leading dimension of seeds."""
    place = [arm.name for arm in module.student_arms].index(name)
    rows = slice(place * module.num_seeds, (place + 1) * module.num_seeds)
    return [each.detach()[rows] for each in module.students.parameters()]


@pytest.fixture(scope="module")
def usual(tmp_path_factory) -> ClassifierMLP:
    return run(tmp_path_factory.mktemp("usual"))


class TestUsual:
    """What the code before these arguments gave, at the same settings."""

    def test_starts_are_bit_for_bit_what_they_were(self):
        first = drawn().students.weights[0].unflatten(0, (4, 2))[:, 0, 0, 0].tolist()
        assert first == [0.008510394021868706] * 2 + [0.03410198912024498] * 2

    def test_accuracies_are_what_they_were(self, usual):
        before = {
            "reference": [0.085, 0.115],
            "teacher": [0.78, 0.875],
            "student_auxiliary": [0.145, 0.21],
            "student_all": [0.285, 0.33],
            "other_start_auxiliary": [0.155, 0.06],
            "other_start_all": [0.205, 0.155],
        }
        assert list(usual.accuracies) == list(before)
        for name, values in before.items():  # another processor adds up in another order, which may move an answer
            assert usual.accuracies[name].tolist() == pytest.approx(values, abs=0.0151), name


class TestArms:
    @cases("arms", [TWO, ("other_start_all",)])
    def test_some_arms_learn_what_they_would_among_all(self, tmp_path, usual, arms):
        module = run(tmp_path, arms=arms)
        assert list(module.accuracies) == ["reference", "teacher", *arms]
        for name in arms:
            for left, right in zip(of_arm(module, name), of_arm(usual, name), strict=True):
                torch.testing.assert_close(left, right, rtol=1e-3, atol=1e-4)
            torch.testing.assert_close(module.accuracies[name], usual.accuracies[name], rtol=0, atol=0.0101)

    def test_results_tell_of_them_alone(self, tmp_path):
        module = make(arms=TWO, teacher_epochs=1, student_epochs=1)
        fit = trainer(tmp_path)
        fit.fit(module, blobs(student_inputs="digits"))
        reported = json.loads((tmp_path / "results.json").read_text())
        assert list(reported["arms"]) == ["reference", "teacher", *TWO]
        assert reported["settings"]["arms"] == list(TWO)
        assert reported["settings"]["student_inputs"] == "digits"
        assert {name for name in fit.callback_metrics if name.startswith("loss/")} == {
            f"loss/{name}" for name in ("teacher", *TWO)
        }

    def test_an_unknown_arm_is_refused_with_what_was_meant(self):
        with pytest.raises(InputError, match="`arms` has no 'student_auxilary'; did you mean `student_auxiliary`"):
            ClassifierMLP(arms=("student_auxilary",))

    def test_no_arm_at_all_is_refused(self):
        with pytest.raises(InputError, match="`arms` is empty"):
            ClassifierMLP(arms=())


class TestOtherStart:
    def test_a_distance_adds_noise_of_the_starts_own_distribution(self):
        module = drawn(num_seeds=3, other_start=0.5)
        for layer, (inputs, outputs) in enumerate([(784, 16), (16, 16), (16, 13)]):
            start, moved = module.reference.weights[layer], of_arm(module, "other_start_auxiliary")[layer]
            for seed in range(3):
                noise = torch.Generator().manual_seed(derive_seed(0, "other start", seed))
                for each in ((784, 16), (16, 16), (16, 13))[: layer + 1]:  # one stream, layer by layer
                    step = torch.randn(each, generator=noise)
                torch.testing.assert_close(moved[seed], start[seed] + 0.5 * step / math.sqrt(inputs))
                assert step.shape == (inputs, outputs)

    def test_it_is_as_far_as_it_says_whichever_way(self):
        module = drawn(num_seeds=3, other_start=0.3)
        start, moved = module.reference.weights[0].detach(), of_arm(module, "other_start_all")[0]
        steps = (moved - start).flatten(1)
        assert (steps.norm(dim=1) / start.flatten(1).norm(dim=1)).tolist() == pytest.approx([0.3] * 3, rel=0.05)
        ways = torch.corrcoef(torch.cat([steps, start.flatten(1)]))
        assert ways.fill_diagonal_(0).abs().max() < 0.05, "seeds have their own noise, and it is not their start"

    def test_both_other_arms_start_alike_and_the_same_arms_stay(self):
        module = drawn(other_start=0.3)
        for left, right in zip(of_arm(module, "other_start_auxiliary"), of_arm(module, "other_start_all"), strict=True):
            assert torch.equal(left, right)
        for left, right in zip(of_arm(module, "student_all"), module.reference.parameters(), strict=True):
            assert torch.equal(left, right)

    def test_a_seeds_start_depends_neither_on_arms_nor_on_other_seeds(self):
        whole = of_arm(drawn(num_seeds=3, other_start=0.3), "other_start_auxiliary")
        alone = of_arm(drawn(num_seeds=1, other_start=0.3, arms=("other_start_auxiliary",)), "other_start_auxiliary")
        assert all(torch.equal(left[:1], right) for left, right in zip(whole, alone, strict=True))

    def test_distance_0_is_the_same_start(self, tmp_path, usual):
        module = run(tmp_path, other_start=0.0)
        for left, right in zip(of_arm(module, TWO[1]), of_arm(usual, TWO[0]), strict=True):
            torch.testing.assert_close(left, right, rtol=1e-3, atol=1e-4)

    def test_the_table_tells_the_distance(self, usual):
        labels = list(results_table(usual.accuracies, 1.0, 0.03).columns[0].cells)
        assert labels[-2:] == ["start 0.03 away, auxiliary logits", "start 0.03 away, all logits"]
        assert list(results_table(usual.accuracies, 1.0).columns[0].cells)[-1] == "other start, all logits"


class TestWeightDecay:
    def test_adam_makes_full_steps_where_nothing_else_pulls(self, tmp_path):
        # The teacher's auxiliary logits have no gradient but the decay's, whose size Adam divides away: 12 steps of lr.
        module = run(tmp_path, weight_decay=1e-4, student_epochs=1)
        start, now = (each.weights[-1][..., 10:].detach() for each in (module.reference, module.teacher))
        large = start.abs() > 0.1
        assert large.sum() > 20
        torch.testing.assert_close(
            (start.abs() - now.abs())[large], torch.full_like(now[large], 12 * 3e-3), rtol=0.05, atol=0
        )

    def test_none_of_it_by_default(self, usual):
        assert torch.equal(usual.reference.weights[-1][..., 10:], usual.teacher.weights[-1][..., 10:])


class TestResume:
    @cases("at", [{"epoch": 1}, {"epoch": 3}, {"step": 14}])
    def test_going_on_gives_the_same_weights(self, tmp_path, at):
        changes = {"other_start": 0.1, "weight_decay": 1e-3, "arms": TWO}
        straight = run(tmp_path / "straight", **changes)
        with pytest.raises(RuntimeError, match="killed"):
            trainer(tmp_path, callbacks=[Saver(tmp_path / "a.ckpt", **at)]).fit(make(**changes), blobs())
        resumed = make(**changes)
        trainer(tmp_path).fit(resumed, blobs(), ckpt_path=tmp_path / "a.ckpt", weights_only=True)
        assert_same(weights(resumed), weights(straight))
        assert all(torch.equal(resumed.accuracies[name], straight.accuracies[name]) for name in straight.accuracies)

    @cases(("name", "value"), [("other_start", 0.0), ("weight_decay", 1e-4), ("arms", TWO)])
    @cases("older", [False, True])
    def test_other_settings_are_refused(self, tmp_path, name, value, older):
        saver = Saver(tmp_path / "a.ckpt", epoch=0)
        with pytest.raises(RuntimeError, match="killed"):
            trainer(tmp_path, callbacks=[saver]).fit(make(), blobs())
        if older:  # from before there were such settings
            stored = torch.load(saver.path, weights_only=True)
            for each in ("other_start", "weight_decay", "arms"):
                del stored["classifier_mlp"]["settings"][each]
            torch.save(stored, saver.path)
            trainer(tmp_path).fit(make(), blobs(), ckpt_path=saver.path, weights_only=True)
        with pytest.raises(InputError, match=f"The checkpoint's `{name}` is"):
            trainer(tmp_path).fit(make(**{name: value}), blobs(), ckpt_path=saver.path, weights_only=True)


@cases("name", ["other_start", "weight_decay"])
@cases("value", [-0.1, math.nan, math.inf])
def test_numbers_that_make_no_sense_are_refused(name, value):
    with pytest.raises(InputError, match=f"`{name}` is {value}"):
        ClassifierMLP(**{name: value})


def test_all_arms_are_trained_by_default():
    assert make().student_arms == STUDENT_ARMS
