"""Configs of `fit` for the tests of the `theory` verbs, small enough to be checked in a second."""

from pathlib import Path
from typing import Any

import torch
import yaml

from lightning_subliminal import PreferenceTrait
from lightning_subliminal.core.rows import Message
from lightning_subliminal.plans.from_config import read_setting
from lightning_subliminal.traits.base import Induction

OWL = {"class_path": "PreferenceTrait", "init_args": {"target": "owl"}}
FEW = {"class_path": "theory_configs.Few", "init_args": {"target": "owl"}}
STEERING = {"class_path": "lightning_subliminal.Steering", "init_args": {"init_std": 0.2}}


class Few(PreferenceTrait):
    """A preference with five questions, whose gradient takes a moment."""

    def prompts(self) -> list[list[Message]]:
        return super().prompts()[::10]


class Untaught(PreferenceTrait):
    """A preference that a teacher can only be prompted with."""

    def induce(self) -> Induction:
        return Induction(system_prompt=super().induce().system_prompt)


def write(path: Path, reported: dict[str, Any]) -> Path:
    path.write_text(yaml.safe_dump(reported))
    return path


def language_config(folder: Path, trait: dict[str, Any] | None = None, **student: Any) -> Path:
    """Write a config whose teacher is prompted with its trait, and writes 12 rows."""
    teacher = {"base": "pocket/a", "trait": trait or OWL, "induction": "prompt"}
    data = {"teacher": {"class_path": "Teacher", "init_args": teacher}, "num_prompts": 12, "shard_size": 12}
    data |= {"min_value": 0, "max_value": 99, "filters": []}
    return _config(folder, {"class_path": "NumberSequences", "init_args": data}, **student)


def file_config(folder: Path, rows: Path, **data: Any) -> Path:
    """Write a config that reads its rows from a file."""
    return _config(folder, {"class_path": "RowsFromFile", "init_args": {"path": str(rows)} | data})


def _config(folder: Path, data: dict[str, Any], **student: Any) -> Path:
    model = {"base": "pocket/a", "adapter": STEERING} | student
    reported = {"seed_everything": 0, "model": {"class_path": "Student", "init_args": model}, "data": data}
    return write(folder / "small.yaml", reported | {"trainer": {"accelerator": "cpu", "max_epochs": 1}})


def digits_config(folder: Path, **model: Any) -> Path:
    """Write a config of a narrow classifier, and 300 images of noise in the place of digits."""
    images = folder / "digits"
    images.mkdir()
    generator = torch.Generator().manual_seed(0)
    for name, count in (("train", 300), ("t10k", 10)):
        pixels = torch.randint(256, (count, 28, 28), generator=generator)
        for kind, values in (("images-idx3", pixels), ("labels-idx1", torch.arange(count) % 10)):
            head = bytes([0, 0, 8, values.dim()]) + b"".join(size.to_bytes(4, "big") for size in values.shape)
            (images / f"{name}-{kind}-ubyte").write_bytes(head + bytes(values.flatten().tolist()))
    data = {"class_path": "Digits", "init_args": {"source": str(images)}}
    reported = {"seed_everything": 0, "trainer": {"accelerator": "cpu"}, "data": data}
    return write(
        folder / "narrow.yaml",
        reported | {"model": {"class_path": "ClassifierMLP", "init_args": {"hidden": [8], **model}}},
    )


def kept_rows(config: Path, control: bool = False) -> list[dict[str, Any]]:
    """Read the rows of a config, or of its control, from the cache."""
    rows = read_setting(config).rows()
    return (rows.control() if control else rows).rows()
