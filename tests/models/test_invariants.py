"""Runs that must give the same weights, however they are cut into batches, epochs and processes."""

import pytest
import torch
from cases import cases
from lightning.pytorch import Callback
from small import CPU, number_rows, numbers, pocket_tokenizer, quiet_trainer, taught, tokenized
from torch.utils.data import DataLoader

from lightning_subliminal import LoRA, Peft, Retention, Steering, Student
from lightning_subliminal.callbacks import LastCheckpoint, WholeFileIO
from lightning_subliminal.data.tokenized import IGNORED, Batch, TokenizedRows, row_loader
from lightning_subliminal.models.frozen_prefix import LowerPartCache
from lightning_subliminal.models.nested_fit import fit_quietly
from lightning_subliminal.models.stored_keys import StoredKeys
from lightning_subliminal.workflow import train_arm

UPPER_LORA = {"target_modules": ["q_proj", "v_proj"], "layers_to_transform": [1], "r": 2}
UPPER = {  # nothing is trained below layer 1
    "steering the last layer": Steering([1]),
    "steering all layers": Steering(),
    "lora on the upper layer": Peft("peft.LoraConfig", UPPER_LORA),
    "lora with dropout": Peft("peft.LoraConfig", {**UPPER_LORA, "lora_dropout": 0.3}),
}


def student(adapter=None, **settings):
    adapter = Steering(init_std=0.05) if adapter is None else adapter
    return Student("pocket/a", adapter, **{"learning_rate": 0.02, "seed": 0, **settings})


def trained(net):
    return {name: value.detach().clone() for name, value in net.named_parameters() if value.requires_grad}


def assert_same(one, other, tolerance):
    assert one.keys() == other.keys()
    for name, value in one.items():
        torch.testing.assert_close(value, other[name], rtol=0, atol=tolerance)


def moved(module):
    fresh = module.fresh()
    fresh.configure_model()
    return not all(torch.equal(value, trained(fresh)[name]) for name, value in trained(module).items())


def in_order(data, batch_size):
    return DataLoader(data, batch_size, collate_fn=data.batch)


@cases("adapter", [Steering(init_std=0.05), LoRA(r=2)], ids=["steering", "lora"])
@cases("optimizer", ["adam", "sgd"])
def test_eight_steps_of_one_are_one_of_eight(adapter, optimizer):
    data, found = tokenized(32), []
    for batch_size, accumulated in ((8, 1), (1, 8), (4, 2)):
        module = student(adapter, optimizer=optimizer)
        trainer = quiet_trainer(accumulate_grad_batches=accumulated, max_epochs=2)
        trainer.fit(module, in_order(data, batch_size))
        assert trainer.global_step == 8
        assert moved(module)
        found.append(trained(module))
    # Adam divides by a gradient's size, which lifts the last bits of a small one
    tolerance = 1e-6 if optimizer == "sgd" else 1e-5
    assert_same(found[1], found[0], tolerance)
    assert_same(found[2], found[0], tolerance)


def test_accumulation_through_a_data_module():
    found = []
    for batch_size, accumulated in ((32, 1), (4, 8)):
        module = student(optimizer="sgd")
        data = numbers(num_prompts=32, shard_size=32, batch_size=batch_size, filters=[])
        trainer = quiet_trainer(accumulate_grad_batches=accumulated, max_epochs=2)
        trainer.fit(module, datamodule=data)
        assert trainer.global_step == 2
        found.append(trained(module))
    assert_same(found[1], found[0], 1e-6)


def ready(module):
    module.configure_model()
    return module.eval()


def test_padded_is_unpadded():
    data, module = tokenized(24), ready(student())
    together = data.batch(range(24))
    assert len(set(data.lengths)) > 10, "else there is no padding"
    alone = [module.loss(data.batch([index])).item() for index in range(24)]
    assert module.loss(together).item() == pytest.approx(sum(alone) / 24, rel=1e-5)
    wider = Batch(
        torch.nn.functional.pad(together.input_ids, (0, 9)),
        torch.nn.functional.pad(together.labels, (0, 9), value=IGNORED),
        together.rows,
        together.mean_tokens,
    )
    assert module.loss(wider).item() == pytest.approx(module.loss(together).item(), rel=1e-6)
    other = wider._replace(input_ids=wider.input_ids.masked_fill(wider.input_ids == 0, 7))
    assert module.loss(other).item() == pytest.approx(module.loss(together).item(), rel=1e-6)


def test_a_rows_gradient_does_not_depend_on_its_batch():
    data, module = tokenized(8), ready(student())

    def gradient(*batches):
        module.zero_grad()
        for batch in batches:
            (module.loss(batch) * len(batch.rows)).backward()
        return {name: value.grad.clone() for name, value in module.named_parameters() if value.requires_grad}

    assert_same(gradient(*(data.batch([index]) for index in range(8))), gradient(data.batch(range(8))), 1e-5)


@torch.no_grad()
def test_the_loss_is_that_of_transformers():
    data, module = tokenized(24), ready(student())
    for rows in (list(range(24)), [3, 5], [7]):
        batch = data.batch(rows)
        mask = torch.arange(batch.input_ids.shape[1]) < torch.tensor([[data.lengths[row]] for row in rows])
        theirs = module.net(input_ids=batch.input_ids, attention_mask=mask.long(), labels=batch.labels).loss
        tokens = (batch.labels[:, 1:] != IGNORED).sum()  # they take the batch's mean, we the data set's
        ours = module.loss(batch) * len(rows) * data.mean_tokens / tokens
        assert ours.item() == pytest.approx(theirs.item(), rel=1e-5)
    assert module.loss(data.batch(range(24))).item() == pytest.approx(
        module.net(input_ids=data.input_ids, labels=data.labels).loss.item(), rel=1e-5
    )


@cases("name", [*UPPER, "and retained answers"])
def test_a_reused_lower_part_changes_nothing(name, monkeypatch):
    retain = Retention("pocket", num_prompts=16, rows_per_step=8) if name not in UPPER else None
    adapter, found, used = UPPER.get(name, Steering()), [], []
    for kind, name in ((LowerPartCache, "hidden"), (StoredKeys, "states")):
        own = getattr(kind, name)
        monkeypatch.setattr(kind, name, lambda self, *args, own=own: used.append(1) or own(self, *args))
    for reuse in (True, False):
        module = student(adapter, reuse_lower_part=reuse, retain=retain)
        data = tokenized(24)
        quiet_trainer(max_epochs=3).fit(module, row_loader(data, 8, seed=1), in_order(data, 8))
        count = 18 if retain is not None else 9
        assert len(used) == count, "each of the first run's training steps, and nothing else"
        assert moved(module)
        assert module.lower_part is None, "it is freed"
        found.append(trained(module))
    assert_same(found[1], found[0], 1e-5)


def test_what_is_trained_at_the_bottom_is_computed_each_time(monkeypatch):
    monkeypatch.setattr(LowerPartCache, "of", lambda *_: pytest.fail("nothing lies below layer 0"))
    for adapter in (LoRA(r=2), None):
        module = Student("pocket/a", adapter, learning_rate=1e-3, seed=0)
        quiet_trainer().fit(module, in_order(tokenized(8), 8))


def test_activations_that_do_not_fit_are_computed_each_time(monkeypatch):
    monkeypatch.setattr("lightning_subliminal.models.frozen_prefix.LIMIT", 1000)
    module = student(Steering([1]))
    monkeypatch.setattr(LowerPartCache, "hidden", lambda *_: pytest.fail("they were stored"))
    quiet_trainer().fit(module, in_order(tokenized(8), 8))
    assert moved(module)


class KilledError(Exception):
    pass


class KillAtStart(Callback):
    """Stops a run as the second epoch starts."""

    def on_train_epoch_start(self, trainer, *args):
        if trainer.current_epoch == 1:
            raise KilledError


class KillAmid(Callback):
    """Stops a run amid the second epoch."""

    def on_train_batch_end(self, trainer, *args):
        if trainer.global_step == 5:
            raise KilledError


DROPOUT = Peft("peft.LoraConfig", {"target_modules": ["q_proj", "down_proj"], "r": 2, "lora_dropout": 0.3})


@cases(
    "settings",
    [
        {"adapter": DROPOUT},
        {"adapter": Steering(init_std=0.05), "warmup_steps": 3},
        {"adapter": UPPER["lora with dropout"]},
        {"adapter": Steering([1], init_std=0.05), "schedule": "constant"},
    ],
    ids=["lora", "steering", "upper lora", "upper steering"],
)
@cases("kill", [KillAtStart, KillAmid])
def test_killed_and_resumed_is_straight(settings, kill, tmp_path):
    data = tokenized(24)  # three steps an epoch

    def run(folder, *callbacks):
        module = student(**settings)
        trainer = quiet_trainer(
            LastCheckpoint(folder), *callbacks, max_epochs=3, enable_checkpointing=True, plugins=[WholeFileIO()]
        )
        last = folder / "last.ckpt"
        torch.manual_seed(hash(str(folder)) % 1000)  # what went on before has no say
        path = str(last) if last.is_file() else None
        trainer.fit(module, row_loader(data, 8, seed=1), ckpt_path=path, weights_only=True)
        module.save(folder / "adapter")
        assert trainer.global_step == 9
        return (folder / "adapter" / module.adapter.files.weights).read_bytes()

    straight = run(tmp_path / "straight")
    with pytest.raises(KilledError):
        run(tmp_path / "killed", kill())
    assert (tmp_path / "killed" / "last.ckpt").is_file()
    steps = []

    class Count(Callback):
        def on_train_batch_end(self, trainer, *args):
            steps.append(trainer.global_step)

    assert run(tmp_path / "killed", Count()) == straight
    assert steps == [4, 5, 6, 7, 8, 9], "it goes on from the epoch's end"


@cases("objective", ["sft", "distill"])
def test_a_killed_arm_goes_on(objective, tmp_path, monkeypatch):
    source = taught()
    module = student(DROPOUT, objective=objective)
    found = []
    for name in ("straight", "killed"):
        data = numbers(source, num_prompts=24, batch_size=8, filters=[], cache_dir=str(tmp_path / name))
        if name == "killed":
            with monkeypatch.context() as patch:
                patch.setattr(Student, "on_train_epoch_start", raise_at_second)
                with pytest.raises(KilledError):
                    train_arm(module.fresh(), data, CPU, "", max_epochs=3)
        made = train_arm(module.fresh(), data, CPU, "", max_epochs=3)
        found.append(trained(made))
    assert_same(found[0], found[1], 0)
    assert not list(tmp_path.rglob("*.ckpt")), "checkpoints go when the arm is whole"


def raise_at_second(self):
    if self.current_epoch == 1:
        raise KilledError


def test_a_fit_on_the_way_leaves_the_random_numbers_alone():
    import random

    import numpy as np

    torch.manual_seed(5)
    random.seed(5)
    np.random.seed(5)
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    module = student(DROPOUT)
    assert fit_quietly(module, row_loader(tokenized(16), 8, seed=1), CPU, "a label", max_epochs=2) == 4
    assert moved(module)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1]
    assert np.random.get_state()[1].tolist() == states[2]


def test_what_went_on_before_has_no_say():
    found = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        module = student(DROPOUT)
        fit_quietly(module, row_loader(tokenized(16), 8, seed=1), CPU, "", max_epochs=2)
        found.append(trained(module))
    assert_same(*found, 0)
    other = student(DROPOUT, seed=1)
    fit_quietly(other, row_loader(tokenized(16), 8, seed=1), CPU, "", max_epochs=2)
    assert any(not torch.equal(value, found[0][name]) for name, value in trained(other).items())


def test_labels_of_prompts_have_no_say():
    """Other words in the prompts' labels would move the weights, were they trained on."""
    rows = number_rows(8)
    data = TokenizedRows(rows, pocket_tokenizer())
    module = ready(student())
    logits, tokens = module.completion_logits(data.batch(range(8)))
    said = [token for row in data.labels.tolist() for token in row if token != IGNORED]
    assert sorted(tokens.tolist()) == sorted(said)
    assert logits.shape == (len(said), len(pocket_tokenizer()))
