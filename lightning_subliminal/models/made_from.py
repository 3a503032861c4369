"""What a fit is made from, stored in its checkpoints: a run resumes and ends only with the same inputs."""

import json
import os
from functools import partial
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from lightning_subliminal import bases
from lightning_subliminal.callbacks.last_checkpoint import LastCheckpoint, WholeFileIO
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.fingerprint import describe, difference, file_digest, outside_source
from lightning_subliminal.core.kinds import kind_of
from lightning_subliminal.data import TrainingRows
from lightning_subliminal.lineage import artefact_material, is_whole
from lightning_subliminal.lineage.signatures.sign import SIGNING_KEY
from lightning_subliminal.lineage.work_digests import check_noted, noted
from lightning_subliminal.models.language_model import LanguageModel

__all__ = ["MadeFrom", "begun_from", "check_unchanged"]


class MadeFrom(Callback):
    """Stores what shapes a fit in its checkpoints, and refuses to resume from one with other inputs.

    A student's statement records its inputs as they are at the end. That is true only if they were the same at the
    start, and when a killed run resumed.

    Args:
        mend: advice at the end of messages about a refused checkpoint.

    Attributes:
        begun_from: name and digest of a given checkpoint other than the run's own; None without one.
    """

    def __init__(self, mend: str) -> None:
        self.mend = mend
        self.begun_from: dict[str, str] | None = None
        self._then: dict[str, Any] = {}
        self._has_checked = False

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Record what shapes the fit; its data are made before this."""
        self.note(pl_module, trainer.datamodule if stage == "fit" else None)  # type: ignore[attr-defined]
        reader = trainer.strategy.checkpoint_io
        if isinstance(reader, WholeFileIO):  # before weights are loaded, whose shapes could clash
            reader.check = partial(self._check, trainer, stage == "fit")

    def note(self, module: LightningModule, data: Any) -> None:
        """Record what shapes a fit."""
        self._then = shaped(module, data)

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Check a checkpoint that another reader has loaded."""
        if not self._has_checked and trainer.ckpt_path is not None:
            self._check(trainer, trainer.state.fn == "fit", Path(trainer.ckpt_path), checkpoint)

    def state_dict(self) -> dict[str, Any]:
        """Return what shapes the fit, as plain data."""
        return {"made_from": self._then, "begun_from": self.begun_from}

    def check_unchanged(self, module: LightningModule, data: Any) -> None:
        """Check at the end that no input has changed.

        Raises:
            InputError: naming what changed.
        """
        now = shaped(module, data)
        changed = difference(self._then, now)
        if changed is not None:
            raise InputError(
                f"An input of this training changed meanwhile ({changed}), so nothing is saved: put it back and run "
                f"the same again, or start over. {self.mend}"
            )
        if (folder := getattr(data, "folder", None)) is not None and "materials" in now:
            is_whole(folder)

    def _check(self, trainer: Trainer, is_fit: bool, path: Path, checkpoint: dict[str, Any]) -> None:
        self._has_checked = True
        own = any(
            isinstance(each, LastCheckpoint) and each.path.absolute() == path.absolute()
            for each in trainer.callbacks  # type: ignore[attr-defined]
        )
        if noted(path) is not None or (is_fit and (own or os.environ.get(SIGNING_KEY))):
            check_noted(path, self.mend)
        kept = checkpoint.get("callbacks")
        state = kept.get(self.state_key) if isinstance(kept, dict) else None
        state = state if isinstance(state, dict) else {}
        then = state.get("made_from")
        if is_fit and own:
            self.begun_from = state.get("begun_from")
        elif is_fit and path.is_file():
            self.begun_from = {"name": path.name, "sha256": file_digest(path)}
        if then is None and not (is_fit and own):
            return
        then = then if isinstance(then, dict) else {}
        if is_fit:
            changed = difference(then, self._then)
        else:
            changed = difference({"model": then.get("model")}, {"model": self._then["model"]})
        if changed is not None:
            raise InputError(f"{path} was trained from other inputs than the present ones: {changed}. {self.mend}")


def check_unchanged(trainer: Trainer, module: LightningModule, data: Any) -> None:
    """Check a trainer's inputs by its ``MadeFrom``, if it has one."""
    for each in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(each, MadeFrom):
            each.check_unchanged(module, data)


def begun_from(trainer: Trainer) -> dict[str, str] | None:
    """Return name and digest of the checkpoint that a fit was given; None for its own or none."""
    found = [each.begun_from for each in trainer.callbacks if isinstance(each, MadeFrom)]  # type: ignore[attr-defined]
    return found[0] if found else None


def shaped(module: LightningModule, data: Any) -> dict[str, Any]:
    """Return what shapes a fit, as plain data with digests; each file is read again.

    Args:
        module: what is trained.
        data: its data module; None without one, or if nothing is trained.
    """
    with bases.remembering():  # digests from within only
        found: dict[str, Any] = {"model": _described(module)}
        materials = [bases.material(module.base)] if isinstance(module, LanguageModel) else []
        if isinstance(data, TrainingRows):
            parts = [each for each in data.ingredients() if isinstance(each, TrainingRows)]
            found["data"] = [_described(_without_digests(each)) for each in (data, *parts)]
            found["loading"] = {"batch_size": data.batch_size * data.num_processes, "val_rows": data.val_rows}
            teacher = getattr(data, "teacher", None)
            materials.append(artefact_material("rows", data.folder))
            materials += teacher.materials() if teacher is not None else []
        elif data is not None:
            found["data"] = _described(data)
        found["materials"] = {f"{each.role} {each.uri}": dict(each.digest) for each in materials}
    plain: dict[str, Any] = json.loads(json.dumps(found))
    return plain


def _described(value: Any) -> Any:
    """Describe an object; one whose settings can't be read by class and source alone."""
    try:
        return describe(value)
    except (InputError, TypeError, ValueError):
        return {"class": kind_of(type(value))} | outside_source(value)


def _without_digests(data: Any) -> Any:
    """Return the same data set without remembered digests."""
    try:
        return data.fresh()
    except (InputError, TypeError):  # a user's class whose settings can't be read
        return data
