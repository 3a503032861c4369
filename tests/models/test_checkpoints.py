"""A checkpoint is loaded as what was trained, or refused with what differs; never the untrained base in silence."""

import pytest
import torch
from small import numbers, quiet_trainer

from lightning_subliminal import IA3, LoRA, Steering, Student
from lightning_subliminal.errors import InputError

KINDS = {"steering": Steering, "lora": lambda: LoRA(r=2), "ia3": IA3, "full": lambda: None}


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


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_trained_is_what_is_loaded(trained, kind):
    path, before = trained[kind]
    loaded = Student.load_from_checkpoint(path, base="pocket/b", adapter=KINDS[kind](), weights_only=True)
    assert torch.equal(logits(loaded), before)


@pytest.mark.parametrize("kind", KINDS)
def test_without_arguments_base_and_adapter_are_those_it_was_trained_with(trained, kind):
    path, before = trained[kind]
    loaded = Student.load_from_checkpoint(path)
    assert loaded.base == "pocket/b"
    assert torch.equal(logits(loaded), before)


def test_a_class_that_only_the_file_names_is_not_imported(trained, tmp_path):
    checkpoint = torch.load(trained["lora"][0], weights_only=True)
    checkpoint["lightning_subliminal"]["adapter"] = {"class": "antigravity.Adapter", "arguments": {}}
    torch.save(checkpoint, tmp_path / "odd.ckpt")
    with pytest.raises(InputError, match=r"made with the adapter Adapter.*give it"):
        Student.load_from_checkpoint(tmp_path / "odd.ckpt")


@pytest.mark.parametrize("kind", KINDS)
def test_another_base_is_refused_with_the_difference(trained, kind):
    with pytest.raises(InputError, match="base 'pocket/b', here 'pocket/a'") as caught:
        Student.load_from_checkpoint(trained[kind][0], base="pocket/a", adapter=KINDS[kind](), weights_only=True)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
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
    del checkpoint["lightning_subliminal"]
    torch.save(checkpoint, tmp_path / "old.ckpt")
    loaded = Student.load_from_checkpoint(tmp_path / "old.ckpt", base="pocket/b", adapter=LoRA(r=2), weights_only=True)
    assert torch.equal(logits(loaded), trained["lora"][1])
    with pytest.raises(InputError, match="has weights that this Student lacks"):
        Student.load_from_checkpoint(tmp_path / "old.ckpt", base="pocket/b", weights_only=True)
