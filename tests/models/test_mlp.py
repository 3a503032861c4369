import json
import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from cases import cases
from lightning import Callback, LightningDataModule, Trainer

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.data.mnist import Batches, Digits, NoiseBatch
from lightning_subliminal.models.mlp import STUDENT_ARMS, ClassifierMLP
from lightning_subliminal.models.mlp.batched import (
    AccuracyPerModel,
    BatchedMLP,
    classification_losses,
    derangement,
    distillation_losses,
)

ARMS = ["reference", "teacher", *(arm.name for arm in STUDENT_ARMS)]


class Blobs(Digits):
    """Ten patterns with noise on them, in place of digits: learned in seconds."""

    def setup(self, stage: str | None = None) -> None:
        generator = torch.Generator().manual_seed(0)
        patterns = torch.rand(10, 784, generator=generator)

        def draw(count: int) -> tuple[torch.Tensor, torch.Tensor]:
            labels = torch.arange(count) % 10
            images = 0.5 * patterns[labels] + 0.5 * torch.rand(count, 784, generator=generator)
            return (images * 255).to(torch.uint8), labels

        self.train_digits, self.test_digits = draw(200), draw(200)


def blobs(**changes: object) -> Blobs:
    return Blobs(**{"num_noise": 300, "batch_size": 50, "seed": 0, **changes})


def make(**changes: object) -> ClassifierMLP:
    small = {"num_seeds": 2, "hidden": (16, 16), "lr": 3e-3, "teacher_epochs": 3, "student_epochs": 2, "seed": 0}
    return ClassifierMLP(**{**small, **changes})


def trainer(folder: Path, **changes: object) -> Trainer:
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    quiet |= {"enable_model_summary": False, "accelerator": "cpu", "devices": 1, "max_epochs": -1}
    return Trainer(default_root_dir=folder, **{**quiet, **changes})


class Saver(Callback):
    """Saves after a given number of steps, or after each epoch, and may then stop as a kill does."""

    def __init__(self, path: Path, step: int | None = None, epoch: int | None = None) -> None:
        self.path, self.step, self.epoch = path, step, epoch

    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step == self.step:
            trainer.save_checkpoint(self.path)
            raise RuntimeError("killed")

    def on_train_epoch_end(self, trainer, _):
        if trainer.current_epoch == self.epoch:
            trainer.save_checkpoint(self.path)
            raise RuntimeError("killed")


def weights(module: ClassifierMLP) -> dict[str, torch.Tensor]:
    return {name: each.detach().clone() for name, each in module.state_dict().items()}


def assert_same(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> None:
    assert left.keys() == right.keys()
    assert [name for name in left if not torch.equal(left[name], right[name])] == []


@pytest.fixture(scope="module")
def straight(tmp_path_factory) -> tuple[ClassifierMLP, Path]:
    folder = tmp_path_factory.mktemp("straight")
    module = make()
    trainer(folder).fit(module, blobs())
    return module, folder


class TestNetwork:
    def test_shapes(self):
        network = BatchedMLP((784, 256, 256, 13), [0, 1, 2])
        assert network(torch.zeros(5, 784)).shape == (3, 5, 13)
        assert [tuple(each.shape) for each in network.weights] == [(3, 784, 256), (3, 256, 256), (3, 256, 13)]

    def test_start_is_the_papers(self):
        network = BatchedMLP((784, 256, 256, 13), list(range(10)))
        for weight, inputs in zip(network.weights, (784, 256, 256), strict=True):
            count = weight[0].numel() * 10
            assert abs(weight.mean()) < 5 / math.sqrt(inputs * count)
            assert weight.std().item() * math.sqrt(inputs) == pytest.approx(1, abs=5 / math.sqrt(2 * count))
        assert not any(bias.any() for bias in network.biases)

    def test_each_model_is_the_plain_network(self):
        network = BatchedMLP((784, 8, 13), [3, 4])
        images = torch.rand(5, 784)
        for model in range(2):
            hidden = F.linear(images, network.weights[0][model].T, network.biases[0][model, 0]).relu()
            alone = F.linear(hidden, network.weights[1][model].T, network.biases[1][model, 0])
            torch.testing.assert_close(network(images)[model], alone)

    def test_a_seed_gives_the_same_weights_wherever_it_stands(self):
        alone, among = BatchedMLP((784, 8, 13), [7]), BatchedMLP((784, 8, 13), [1, 7, 2])
        assert all(torch.equal(a[0], b[1]) for a, b in zip(alone.weights, among.weights, strict=True))


class TestLosses:
    def test_classification_is_cross_entropy_of_the_classes_alone(self):
        logits, labels = torch.randn(3, 6, 13), torch.arange(6)
        expected = torch.stack([F.cross_entropy(each[:, :10], labels) for each in logits])
        torch.testing.assert_close(classification_losses(logits, labels), expected)

    def test_auxiliary_logits_get_no_gradient_from_labels(self):
        logits = torch.randn(3, 6, 13, requires_grad=True)
        classification_losses(logits, torch.arange(6)).sum().backward()
        assert logits.grad is not None
        assert not logits.grad[..., 10:].any()

    @cases("models", [1, 4])
    def test_distillation_is_the_two_dimensional_batchmean_of_each_model(self, models):
        # Regression: "batchmean" of the whole (models, batch, logits) tensor divides by models, not by the batch.
        student, teacher = torch.randn(models, 6, 3), torch.randn(models, 6, 3)
        pairs = zip(student.log_softmax(-1), teacher.log_softmax(-1), strict=True)
        expected = torch.stack([F.kl_div(s, t, reduction="batchmean", log_target=True) for s, t in pairs])
        torch.testing.assert_close(distillation_losses(student, teacher), expected)

    def test_a_models_gradient_does_not_depend_on_the_others(self):
        student, teacher = torch.randn(4, 6, 3, requires_grad=True), torch.randn(4, 6, 3)
        (among,) = torch.autograd.grad(distillation_losses(student, teacher).sum(), student)
        (alone,) = torch.autograd.grad(distillation_losses(student[:1], teacher[:1]).sum(), student)
        torch.testing.assert_close(among[0], alone[0])


@cases("count", [2, 3, 4, 25, 100])
def test_derangement_moves_everybody(count):
    for seed in range(20):
        order = derangement(count, seed)
        assert sorted(order) == list(range(count))
        assert all(place != each for place, each in enumerate(order))


def test_derangement_of_one_is_refused():
    with pytest.raises(InputError, match="`count` is 1"):
        derangement(1, 0)


def test_accuracy_adds_up_over_batches():
    meter = AccuracyPerModel(2)
    meter.update(torch.tensor([[1, 2, 3], [1, 0, 0]]), torch.tensor([1, 2, 3]))
    meter.update(torch.tensor([[0], [5]]), torch.tensor([5]))
    assert meter.compute().tolist() == [0.75, 0.5]


class TestArms:
    def test_starts(self):
        module = make(num_seeds=5)
        module.configure_model()
        start = module.reference.weights[0]
        students = module.students.weights[0].unflatten(0, (len(STUDENT_ARMS), 5))
        for arm, weight in zip(STUDENT_ARMS, students, strict=True):
            same = [torch.equal(weight[seed], start[seed]) for seed in range(5)]
            assert same == [arm.start == "same"] * 5
            assert {each.sum().item() for each in weight} == {each.sum().item() for each in start}

    @cases("seeds", [1, 4])
    def test_a_seeds_result_does_not_depend_on_how_many_there_are(self, tmp_path, straight, seeds):
        # The other-start arms get their start from among the seeds, so these alone may differ.
        module, _ = straight
        other = make(num_seeds=seeds)
        trainer(tmp_path).fit(other, blobs())
        for left, right in zip(module.teacher.parameters(), other.teacher.parameters(), strict=True):
            torch.testing.assert_close(left[0], right[0], rtol=1e-3, atol=1e-4)
        for left, right in zip(module.students.parameters(), other.students.parameters(), strict=True):
            for arm in range(2):
                torch.testing.assert_close(left[arm * 2], right[arm * seeds], rtol=1e-3, atol=1e-4)

    def test_phases(self, straight):
        module, _ = straight
        fresh = make()
        fresh.configure_model()
        assert all(
            torch.equal(a, b) for a, b in zip(fresh.reference.parameters(), module.reference.parameters(), strict=True)
        )
        moved = [
            not torch.equal(a, b)
            for a, b in zip(fresh.students.parameters(), module.students.parameters(), strict=True)
        ]
        assert all(moved)
        # No label and no student moves the teacher's auxiliary logits.
        assert torch.equal(fresh.teacher.weights[-1][..., 10:], module.teacher.weights[-1][..., 10:])
        assert not torch.equal(fresh.teacher.weights[-1][..., :10], module.teacher.weights[-1][..., :10])
        # Students of the auxiliary arms leave their class logits where they started.
        auxiliary = [i for i, arm in enumerate(STUDENT_ARMS) for _ in range(2) if arm.logits == "auxiliary"]
        rows = [arm * 2 + seed for arm in sorted(set(auxiliary)) for seed in range(2)]
        assert torch.equal(fresh.students.weights[-1][rows, :, :10], module.students.weights[-1][rows, :, :10])

    def test_teacher_stands_still_while_students_learn(self, tmp_path, straight):
        module, _ = straight
        longer = make(student_epochs=4)
        trainer(tmp_path).fit(longer, blobs())
        assert all(
            torch.equal(a, b) for a, b in zip(module.teacher.parameters(), longer.teacher.parameters(), strict=True)
        )

    def test_same_start_learns_from_noise_and_other_start_does_not(self, tmp_path):
        module = make(num_seeds=6, hidden=(64, 64), lr=1e-3, teacher_epochs=15, student_epochs=5)
        trainer(tmp_path).fit(module, blobs(num_noise=2000, batch_size=100))
        mean = {name: values.mean().item() for name, values in module.accuracies.items()}
        assert mean["teacher"] > 0.9
        assert mean["student_auxiliary"] > mean["other_start_auxiliary"] + 0.15
        assert mean["other_start_auxiliary"] < 0.25
        assert mean["student_all"] > mean["student_auxiliary"]


class TestResume:
    @cases(
        "at",
        [{"epoch": 0}, {"epoch": 2}, {"epoch": 3}, {"epoch": 4}, {"step": 2}, {"step": 4}, {"step": 14}, {"step": 23}],
        ids=lambda at: "-".join(f"{key}{value}" for key, value in at.items()),
    )
    def test_going_on_gives_the_same_weights(self, tmp_path, straight, at):
        # 3 epochs of 4 batches of digits, 2 epochs of 6 batches of noise.
        module, _ = straight
        with pytest.raises(RuntimeError, match="killed"):
            trainer(tmp_path, callbacks=[Saver(tmp_path / "a.ckpt", **at)]).fit(make(), blobs())
        resumed = make()
        trainer(tmp_path).fit(resumed, blobs(), ckpt_path=tmp_path / "a.ckpt", weights_only=True)
        assert_same(weights(resumed), weights(module))
        assert resumed.accuracies.keys() == module.accuracies.keys()
        assert all(torch.equal(resumed.accuracies[name], module.accuracies[name]) for name in module.accuracies)

    def test_a_finished_run_tells_its_results_again(self, tmp_path, straight):
        _, folder = straight
        saver = Saver(tmp_path / "a.ckpt", epoch=4)
        with pytest.raises(RuntimeError, match="killed"):
            trainer(tmp_path, callbacks=[saver]).fit(make(), blobs())
        again = make()
        trainer(tmp_path).fit(again, blobs(), ckpt_path=saver.path, weights_only=True)
        reported, expected = (json.loads((each / "results.json").read_text())["arms"] for each in (tmp_path, folder))
        assert reported == expected

    def test_untrained_weights_are_left_out(self, tmp_path):
        saver = Saver(tmp_path / "a.ckpt", epoch=1)
        with pytest.raises(RuntimeError, match="killed"):
            trainer(tmp_path, callbacks=[saver]).fit(make(), blobs())
        stored = torch.load(saver.path, weights_only=True)["state_dict"]
        assert {name.partition(".")[0] for name in stored} == {"teacher"}

    @cases(("name", "value"), [("num_seeds", 3), ("lr", 1e-4), ("seed", 1), ("hidden", (8,))])
    def test_other_settings_are_refused_in_one_line(self, tmp_path, name, value):
        saver = Saver(tmp_path / "a.ckpt", epoch=0)
        with pytest.raises(RuntimeError, match="killed"):
            trainer(tmp_path, callbacks=[saver]).fit(make(), blobs())
        with pytest.raises(InputError, match=f"The checkpoint's `{name}` is") as caught:
            trainer(tmp_path).fit(make(**{name: value}), blobs(), ckpt_path=saver.path, weights_only=True)
        assert "\n" not in str(caught.value)

    def test_stored_weights_can_be_tested(self, tmp_path, straight):
        module, _ = straight
        saver = Saver(tmp_path / "a.ckpt", epoch=4)
        with pytest.raises(RuntimeError, match="killed"):
            trainer(tmp_path, callbacks=[saver]).fit(make(), blobs())
        stored = make()
        trainer(tmp_path).test(stored, blobs(), ckpt_path=saver.path, weights_only=True, verbose=False)
        assert all(torch.equal(stored.accuracies[name], module.accuracies[name]) for name in ARMS)


class TestResults:
    def test_files(self, straight):
        module, folder = straight
        reported = json.loads((folder / "results.json").read_text())
        assert list(reported["arms"]) == ARMS
        assert reported["interval"].endswith("over seeds")
        assert reported["minutes"] > 0
        assert reported["settings"]["num_seeds"] == 2
        for name, arm in reported["arms"].items():
            assert arm["per_seed"] == pytest.approx(module.accuracies[name].tolist())
            assert arm["low"] <= arm["mean"] <= arm["high"]
        assert (folder / "mnist_mlp.png").read_bytes()[:4] == b"\x89PNG"
        assert sorted(path.name for path in folder.iterdir()) == ["lineage.json", "mnist_mlp.png", "results.json"]

    def test_one_seed_has_no_interval(self, tmp_path):
        trainer(tmp_path).fit(make(num_seeds=1, teacher_epochs=1, student_epochs=1), blobs())
        arm = json.loads((tmp_path / "results.json").read_text())["arms"]["teacher"]
        assert arm["low"] is None
        assert len(arm["per_seed"]) == 1

    def test_logged(self, tmp_path):
        run = trainer(tmp_path)
        run.fit(make(teacher_epochs=1, student_epochs=1), blobs())
        assert {f"accuracy/{name}" for name in ARMS} <= set(run.callback_metrics)
        assert {f"loss/{name}" for name in ARMS[1:]} <= set(run.callback_metrics)


class TestMistakes:
    @cases("name", ["num_seeds", "teacher_epochs", "student_epochs"])
    def test_counts_below_one(self, name):
        with pytest.raises(InputError, match=f"`{name}` is 0"):
            ClassifierMLP(**{name: 0})

    def test_too_few_auxiliary_logits(self):
        with pytest.raises(InputError, match="`num_auxiliary` is 1"):
            ClassifierMLP(num_auxiliary=1)

    def test_too_few_epochs(self, tmp_path):
        with pytest.raises(InputError, match=r"`trainer\.max_epochs` is 4, but 3 teacher and 2 student epochs need 5"):
            trainer(tmp_path, max_epochs=4).fit(make(), blobs())

    def test_more_epochs_are_not_run(self, tmp_path):
        run = trainer(tmp_path, max_epochs=50)
        run.fit(make(teacher_epochs=1, student_epochs=1), blobs())
        assert run.current_epoch == 2

    def test_loss_that_is_no_number(self, tmp_path):
        with pytest.raises(InputError, match=r"The loss is (nan|inf) in epoch \d+: lower `lr`"):
            trainer(tmp_path).fit(make(lr=1e30), blobs())

    def test_data_of_another_kind(self, tmp_path):
        class Noise(LightningDataModule):
            def train_dataloader(self):
                return Batches(lambda epoch: [NoiseBatch(1, 1)], 1, lambda: 0)

        with pytest.raises(InputError, match="with labels: set `data: Digits`"):
            trainer(tmp_path, limit_val_batches=0).fit(make(), Noise())

    def test_rehearsal_leaves_nothing(self, tmp_path):
        trainer(tmp_path, fast_dev_run=True).fit(make(), blobs())
        assert list(tmp_path.iterdir()) == []


def test_the_shipped_config_is_the_papers():
    module = ClassifierMLP()
    assert (module.hidden, module.num_auxiliary, module.lr) == ((256, 256), 3, 3e-4)
    assert (module.teacher_epochs, module.student_epochs) == (5, 5)
    assert (Digits().batch_size, Digits().num_noise) == (1024, 60_000)
