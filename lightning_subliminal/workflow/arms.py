"""Arms: one condition of an experiment each, a student trained on rows and then evaluated."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from lightning_subliminal import bases
from lightning_subliminal.core.cache import cache_root, writable_folder
from lightning_subliminal.core.console import say
from lightning_subliminal.core.fingerprint import digest
from lightning_subliminal.core.processes import rank
from lightning_subliminal.data import TrainingRows
from lightning_subliminal.evaluation import ModelRef, Questions, Scores, TraitProbe
from lightning_subliminal.lineage import Material, artefact_material, is_whole, write_record
from lightning_subliminal.models.nested_fit import fit_quietly
from lightning_subliminal.models.student import Student
from lightning_subliminal.traits import Trait

if TYPE_CHECKING:
    from lightning.pytorch import Trainer
    from transformers import PreTrainedTokenizerBase

__all__ = [
    "SHAPING",
    "arm_folder",
    "arm_materials",
    "arm_settings",
    "canonical",
    "measure",
    "measure_model",
    "restore_dtype",
    "shaping",
    "train_arm",
]

OWN = "own questions"  # the trait's own set, the first column of a comparison


def measure(
    name: str,
    net: nn.Module,
    tokenizer: "PreTrainedTokenizerBase",
    trait: Trait,
    system_prompt: str | None = None,
    evaluations: Mapping[str, TraitProbe] | None = None,
) -> dict[str, Scores]:
    """Return a loaded model's scores on a trait's questions and on further sets: a row of a ``ScoreTable``."""
    return measure_model(ModelRef.held(name, net, tokenizer, system_prompt=system_prompt), trait, evaluations)


def measure_model(
    model: ModelRef, trait: Trait, evaluations: Mapping[str, TraitProbe] | None = None
) -> dict[str, Scores]:
    """Return the scores of ``measure`` of any model, such as one on a server."""
    probes: dict[str, TraitProbe] = {OWN: Questions()} | dict(evaluations or {})
    return {label: probe.of(trait, label).measure(model, 0) for label, probe in probes.items()}


def arm_folder(student: Student, data: TrainingRows, **trainer: Any) -> Path:
    """Return the folder of an arm's student, named by the digest of all that shapes it."""
    return cache_root(data.cache_dir) / "students" / digest(arm_settings(student, data, trainer))[:16]


def arm_settings(student: Student, data: TrainingRows, trainer: Mapping[str, Any]) -> dict[str, Any]:
    """Return all that shapes an arm's student; the batch size is that of all devices together."""
    given = canonical(trainer)
    size = data.batch_size * given.pop("devices", 1)
    loading = {"batch_size": size, "val_rows": data.val_rows, "rows": data.describe()}
    return {"student": student.describe(), "data": loading, "trainer": given}


def arm_materials(student: Student, data: TrainingRows) -> list[Material]:
    """Return what an arm's student was made from: base, rows, and the models that its training compares it with."""
    compared = [made for each in student.sources(data) for made in each.materials()]
    return [bases.material(student.base), artefact_material("rows", data.folder), *compared]


def train_arm(student: Student, data: TrainingRows, device: torch.device, label: str, **trainer: Any) -> Student:
    """Train a student, or load it from the cache; a killed run resumes from its last epoch.

    Args:
        student: an untrained student.
        data: its rows; made first if the cache lacks them.
        device: where to train.
        label: its name at the terminal.
        trainer: arguments of ``lightning.Trainer`` that shape the result, such as ``max_epochs``. Several `devices` are
            those of ``training_like``, and all its processes call this.

    Returns:
        The trained student, on the device.
    """
    folder = arm_folder(student, data, **trainer)
    if is_whole(folder):
        student.load(folder)
        student.to(device).eval()
        say(f"{label}: reused from {folder}")
        return student
    checkpoints = writable_folder(folder) / "checkpoints"
    given = {key: value for key, value in trainer.items() if key != "devices"}
    steps = fit_quietly(student, data, device, label, checkpoints, **given)
    if rank() == 0:
        student.save(folder)
        shutil.rmtree(checkpoints, ignore_errors=True)
        write_record(folder, "student", arm_settings(student, data, trainer), arm_materials(student, data))
    say(f"{label}: trained for {steps} steps, kept in {folder}")
    restore_dtype(student)
    student.to(device).eval()
    return student


def restore_dtype(student: Student) -> None:
    """Restore a student's base to ``base_dtype`` after a trainer with a precision such as ``bf16-true``."""
    dtype = getattr(torch, student.base_dtype)
    if any(each.dtype != dtype for each in student.net.parameters() if not each.requires_grad):
        trained = {name: each.detach().cpu() for name, each in student.net.named_parameters() if each.requires_grad}
        student.net = None
        student.configure_model()
        student.net.load_state_dict(trained, strict=False)


SHAPING = {  # arguments of a trainer that shape what it trains, with the values that change nothing
    "max_epochs": (None, -1),
    "max_steps": (None, -1),
    "precision": (None, "32-true"),
    "gradient_clip_val": (None,),
    "gradient_clip_algorithm": (None,),
    "accumulate_grad_batches": (None, 1),
    "limit_train_batches": (None, 1.0),
    "devices": (1,),
}
_EPOCHS = 1000  # Lightning's default without `max_epochs` and `max_steps`
_PRECISIONS = {"32": "32-true", "16": "16-mixed", "bf16": "bf16-mixed", "64": "64-true"}


def canonical(trainer: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a trainer that shape what it trains, without those at their defaults.

    So `fit` and `run` find each other's students, however their YAML spells the same setting.
    """
    given = dict(trainer)
    given |= {"precision": _PRECISIONS.get(str(given["precision"]), given["precision"])} if "precision" in given else {}
    # With types: 1.0 of the batches are all of them, 1 is a single one.
    usual = {key: [(type(each), each) for each in values] for key, values in SHAPING.items()}
    changed = {key: value for key, value in given.items() if (type(value), value) not in usual.get(key, ())}
    if changed.get("max_epochs") == _EPOCHS and "max_steps" not in changed:
        del changed["max_epochs"]
    return changed


def shaping(trainer: "Trainer") -> dict[str, Any]:
    """Return the arguments of a trainer that shape what it trains, so that a control is trained the same way."""
    given = {key: getattr(trainer, key) for key in SHAPING if key != "devices"} | {"devices": trainer.world_size}
    algorithm = trainer.gradient_clip_algorithm
    return canonical(given | {"gradient_clip_algorithm": getattr(algorithm, "value", None)})
