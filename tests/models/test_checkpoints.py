"""A checkpoint is loaded as what was trained, or refused with what differs; never the untrained base in silence."""

import functools

import pytest
import torch
import yaml
from cases import cases
from lightning.pytorch.loggers import CSVLogger
from small import CPU, numbers, quiet_trainer, taught, tokenized
from torch.utils.data import DataLoader

from lightning_subliminal import IA3, ClassifierMLP, LoRA, OnPolicy, Peft, SoftTargets, Steering, Student, Teacher
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.data.tokenized import row_loader

KINDS = {
    "steering": Steering,
    "lora": lambda: LoRA(r=2),
    "ia3": IA3,
    "peft": lambda: Peft("peft.VeraConfig", {"r": 4, "target_modules": ["q_proj"]}),
    "full": lambda: None,
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Train a student of pocket/b with each kind of adapter; give its checkpoint and its logits."""
    root = tmp_path_factory.mktemp("checkpoints")
    made = {}
    for name, adapter in KINDS.items():
        student = Student("pocket/b", adapter(), learning_rate=0.02, seed=0)
        trainer = quiet_trainer(default_root_dir=root)
        trainer.fit(student, numbers(cache_dir=str(root / "cache")))
        trainer.save_checkpoint(root / f"{name}.ckpt")
        made[name] = root / f"{name}.ckpt", logits(student)
    return made


@torch.no_grad()
def logits(student):
    return student.eval().net(input_ids=torch.arange(3, 20)[None]).logits


@cases("kind", KINDS)
def test_what_was_trained_is_what_is_loaded(trained, kind):
    path, before = trained[kind]
    loaded = Student.load_from_checkpoint(path, base="pocket/b", adapter=KINDS[kind](), weights_only=True)
    assert torch.equal(logits(loaded), before)


@cases("kind", KINDS)
def test_without_arguments_base_and_adapter_are_those_it_was_trained_with(trained, kind):
    path, before = trained[kind]
    loaded = Student.load_from_checkpoint(path)
    assert loaded.base == "pocket/b"
    assert torch.equal(logits(loaded), before)


def test_a_class_that_only_the_file_names_is_not_imported(trained, tmp_path):
    checkpoint = torch.load(trained["lora"][0], weights_only=True)
    checkpoint["lightning_subliminal"]["adapter"] = {"class": "antigravity.Adapter", "arguments": {}}
    torch.save(checkpoint, tmp_path / "odd.ckpt")
    with pytest.raises(InputError, match=r"made with the adapter Adapter.*pass it to load_from_checkpoint"):
        Student.load_from_checkpoint(tmp_path / "odd.ckpt")


@cases("kind", KINDS)
def test_another_base_is_refused_with_the_difference(trained, kind):
    with pytest.raises(InputError, match="base 'pocket/b', here 'pocket/a'") as caught:
        Student.load_from_checkpoint(trained[kind][0], base="pocket/a", adapter=KINDS[kind](), weights_only=True)
    assert "\n" not in str(caught.value)


@cases(
    ("kind", "given", "says"),
    [
        ("lora", LoRA(r=4), r"adapter LoRA\(r=2.*here LoRA\(r=4"),
        ("lora", None, r"adapter LoRA\(r=2.*here None"),
        ("steering", LoRA(r=2), r"adapter Steering.*here LoRA"),
        ("full", LoRA(r=2), r"adapter None, here LoRA"),
    ],
)
def test_another_adapter_is_refused_with_the_difference(trained, kind, given, says):
    with pytest.raises(InputError, match=says):
        Student.load_from_checkpoint(trained[kind][0], base="pocket/b", adapter=given, weights_only=True)


def test_a_checkpoint_without_an_identity_is_compared_by_its_weights(trained, tmp_path):
    checkpoint = torch.load(trained["lora"][0], weights_only=True)
    del checkpoint["lightning_subliminal"], checkpoint["hyper_parameters"]
    torch.save(checkpoint, tmp_path / "old.ckpt")
    loaded = Student.load_from_checkpoint(tmp_path / "old.ckpt", base="pocket/b", adapter=LoRA(r=2), weights_only=True)
    assert torch.equal(logits(loaded), trained["lora"][1])
    with pytest.raises(InputError, match="has weights that this Student lacks"):
        Student.load_from_checkpoint(tmp_path / "old.ckpt", base="pocket/b", weights_only=True)


@cases("kind", KINDS)
def test_hyperparameters_are_plain_and_say_what_was_trained(trained, kind):
    file = torch.load(trained[kind][0], weights_only=True)
    loaded = Student.load_from_checkpoint(trained[kind][0])
    assert yaml.safe_load(yaml.safe_dump(dict(loaded.hparams))) == loaded.hparams
    assert loaded.hparams["base_digest"] == file["lightning_subliminal"]["files"]
    assert {name: loaded.hparams[name] for name in file["hyper_parameters"]} == file["hyper_parameters"]
    assert file["hyper_parameters"]["learning_rate"] == loaded.learning_rate == 0.02


def saved(module, tmp_path, data=None):
    trainer = quiet_trainer(max_epochs=1, default_root_dir=tmp_path)
    trainer.fit(module, data if data is not None else row_loader(tokenized(8), 8, seed=0))
    trainer.save_checkpoint(tmp_path / "module.ckpt")
    return tmp_path / "module.ckpt"


def test_settings_that_are_objects_are_rebuilt(tmp_path):
    source = taught(cache_dir=str(tmp_path / "cache"))
    settings = {
        "objective": SoftTargets("numbers", "reverse"),
        "train_on": "divergent",
        "divergence": source,
        "optimizer": functools.partial(torch.optim.RMSprop, lr=0.02),
        "schedule": functools.partial(torch.optim.lr_scheduler.StepLR, step_size=2),
    }
    student = Student("pocket/a", Steering(), seed=3, **settings)
    path = saved(student, tmp_path, numbers(source, filters=[], cache_dir=str(tmp_path / "cache")))
    loaded = Student.load_from_checkpoint(path)
    assert loaded.describe() == student.describe()
    assert torch.equal(logits(loaded), logits(student))


class Mine(Steering):
    """An adapter of a user's."""


def test_a_users_class_is_rebuilt_where_it_is_imported(tmp_path, monkeypatch):
    path = saved(Student("pocket/a", Mine(), seed=0), tmp_path)
    assert type(Student.load_from_checkpoint(path).adapter) is Mine
    monkeypatch.delitem(globals(), "Mine")
    with pytest.raises(InputError, match=r"made with the adapter Mine\(.*pass it to load_from_checkpoint"):
        Student.load_from_checkpoint(path)


def test_a_config_class_of_another_package_is_not_imported(trained, tmp_path):
    checkpoint = torch.load(trained["peft"][0], weights_only=True)
    checkpoint["lightning_subliminal"]["adapter"]["arguments"]["config_class"] = "antigravity.Config"
    torch.save(checkpoint, tmp_path / "odd.ckpt")
    message = r"made with the adapter Peft\(config_class='antigravity.*pass it to load_from_checkpoint"
    with pytest.raises(InputError, match=message):
        Student.load_from_checkpoint(tmp_path / "odd.ckpt")


def test_another_class_is_refused(trained):
    with pytest.raises(InputError, match="is of the class Student, not of Teacher: load it with that class"):
        Teacher.load_from_checkpoint(trained["lora"][0])


def test_another_precision_of_the_base_is_refused(trained):
    with pytest.raises(InputError, match="base_dtype 'float32', here 'bfloat16'"):
        Student.load_from_checkpoint(trained["lora"][0], base_dtype="bfloat16")


def test_an_open_file_and_another_learning_rate_will_do(trained):
    with open(trained["lora"][0], "rb") as file:
        loaded = Student.load_from_checkpoint(file, learning_rate=0.5)
    assert loaded.learning_rate == 0.5
    assert torch.equal(logits(loaded), trained["lora"][1])


def test_a_weight_that_is_not_there_is_named(trained, tmp_path):
    checkpoint = torch.load(trained["lora"][0], weights_only=True)
    checkpoint["state_dict"].pop(min(checkpoint["state_dict"]))
    torch.save(checkpoint, tmp_path / "half.ckpt")
    with pytest.raises(InputError, match="lacks weights of Student"):
        Student.load_from_checkpoint(tmp_path / "half.ckpt")


@cases("adapter", [Steering(), None])
def test_a_teacher_keeps_the_weights_of_its_checkpoint(adapter, tmp_path):
    teacher = taught(adapter=adapter, cache_dir=str(tmp_path / "empty"))
    path = saved(teacher, tmp_path)
    loaded = Teacher.load_from_checkpoint(path)
    assert loaded.describe() == teacher.describe()
    loaded.make(CPU)  # which would train one that the cache lacks
    loaded.release()
    assert torch.equal(logits(loaded.ready(CPU)), logits(teacher))
    assert not list((tmp_path / "empty").rglob("*.safetensors"))


def test_classifiers_are_rebuilt(tmp_path, monkeypatch):
    monkeypatch.setenv("PL_GLOBAL_SEED", "7")
    module = ClassifierMLP(num_seeds=2, hidden=(8, 4), teacher_epochs=1, student_epochs=1, arms=["student_all"])
    images = torch.rand(16, 784, generator=torch.Generator().manual_seed(0))
    digits = DataLoader([(image, place % 10) for place, image in enumerate(images)], batch_size=8)
    trainer = quiet_trainer(max_epochs=-1, default_root_dir=tmp_path)
    monkeypatch.setattr(ClassifierMLP, "learns_from", "digits")
    trainer.fit(module, digits)
    trainer.save_checkpoint(tmp_path / "mlp.ckpt")
    monkeypatch.setenv("PL_GLOBAL_SEED", "8")  # what the seed was is in the file
    loaded = ClassifierMLP.load_from_checkpoint(tmp_path / "mlp.ckpt")
    assert (loaded.num_seeds, loaded.hidden, *loaded.arms) == (2, (8, 4), "student_all")
    for name in ("reference", "teacher", "students"):
        assert torch.equal(getattr(loaded, name)(images), getattr(module, name)(images))
    with pytest.raises(InputError, match="`num_seeds` is 2, not 3"):
        ClassifierMLP.load_from_checkpoint(tmp_path / "mlp.ckpt", num_seeds=3)


def test_forward_is_the_nets():
    student = Student("pocket/a", LoRA(r=2), seed=0, objective=OnPolicy())
    ids = torch.arange(3, 20)[None]
    assert torch.equal(student(input_ids=ids).logits, student.net(input_ids=ids).logits)


def test_a_logger_gets_the_hyperparameters(tmp_path):
    trainer = quiet_trainer(max_epochs=1, default_root_dir=tmp_path, logger=CSVLogger(tmp_path))
    trainer.fit(Student("pocket/a", LoRA(r=2), seed=0), row_loader(tokenized(8), 8, seed=0))
    (file,) = tmp_path.rglob("hparams.yaml")
    reported = yaml.safe_load(file.read_text())
    assert (reported["base"], reported["adapter"]["init_args"]["r"]) == ("pocket/a", 2)
    assert len(reported["base_digest"]) == 64
