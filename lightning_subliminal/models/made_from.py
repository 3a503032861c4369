"""What a fit is made from, kept in its checkpoints: a run goes on with the same things only, and ends with them."""

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

__all__ = ["MadeFrom", "begun_from", "look_again"]


class MadeFrom(Callback):
    """Keeps what shapes a fit in its checkpoints, and refuses to go on from one that other things have shaped.

    A student's statement says what it was made from as that is at the end. That is true only if it was the same at the
    start, and when a killed run went on.

    Args:
        mend: what to do about a checkpoint that is refused, as the message ends.

    Attributes:
        begun_from: name and digest of a checkpoint that was given, other than the run's own; None where there is none.
    """

    def __init__(self, mend: str) -> None:
        self.mend = mend
        self.begun_from: dict[str, str] | None = None
        self._then: dict[str, Any] = {}
        self._has_looked = False

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Note what shapes the fit; data that a fit needs are made by now."""
        self.note(pl_module, trainer.datamodule if stage == "fit" else None)  # type: ignore[attr-defined]
        reader = trainer.strategy.checkpoint_io
        if isinstance(reader, WholeFileIO):  # before the weights go anywhere, where their shapes could clash
            reader.look = partial(self._look, trainer, stage == "fit")

    def note(self, module: LightningModule, data: Any) -> None:
        """Note what shapes a fit."""
        self._then = shaped(module, data)

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Look at a checkpoint that another reader has read."""
        if not self._has_looked and trainer.ckpt_path is not None:
            self._look(trainer, trainer.state.fn == "fit", Path(trainer.ckpt_path), checkpoint)

    def state_dict(self) -> dict[str, Any]:
        """Return what shapes the fit, as plain data."""
        return {"made_from": self._then, "begun_from": self.begun_from}

    def look_again(self, module: LightningModule, data: Any) -> None:
        """Refuse to save what was made from things that have changed since.

        Raises:
            InputError: naming what changed.
        """
        now = shaped(module, data)
        changed = difference(self._then, now)
        if changed is not None:
            raise InputError(
                f"What this was trained from changed meanwhile ({changed}), so nothing is saved: put it back and run "
                f"the same again, or start over. {self.mend}"
            )
        if (folder := getattr(data, "folder", None)) is not None and "materials" in now:
            is_whole(folder)

    def _look(self, trainer: Trainer, is_fit: bool, path: Path, checkpoint: dict[str, Any]) -> None:
        self._has_looked = True
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
            raise InputError(f"{path} was trained from other things than there are now: {changed}. {self.mend}")


def look_again(trainer: Trainer, module: LightningModule, data: Any) -> None:
    """Let a trainer's ``MadeFrom``, if it has one, look whether anything has changed."""
    for each in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(each, MadeFrom):
            each.look_again(module, data)


def begun_from(trainer: Trainer) -> dict[str, str] | None:
    """Return name and digest of the checkpoint that a fit was told to begin from; None for its own or none."""
    found = [each.begun_from for each in trainer.callbacks if isinstance(each, MadeFrom)]  # type: ignore[attr-defined]
    return found[0] if found else None


def shaped(module: LightningModule, data: Any) -> dict[str, Any]:
    """Return what shapes a fit, as plain data with digests; each file is looked at anew.

    Args:
        module: what is trained.
        data: its data module; None where it has none, or nothing is trained.
    """
    with bases.remembering():  # within, and nothing from before
        told: dict[str, Any] = {"model": _described(module)}
        materials = [bases.material(module.base)] if isinstance(module, LanguageModel) else []
        if isinstance(data, TrainingRows):
            parts = [each for each in data.ingredients() if isinstance(each, TrainingRows)]
            told["data"] = [_described(_anew(each)) for each in (data, *parts)]
            told["loading"] = {"batch_size": data.batch_size * data.num_processes, "val_rows": data.val_rows}
            teacher = getattr(data, "teacher", None)
            materials.append(artefact_material("rows", data.folder))
            materials += teacher.materials() if teacher is not None else []
        elif data is not None:
            told["data"] = _described(data)
        told["materials"] = {f"{each.role} {each.uri}": dict(each.digest) for each in materials}
    plain: dict[str, Any] = json.loads(json.dumps(told))
    return plain


def _described(thing: Any) -> Any:
    """Describe a thing; one that hides its settings by its class and source alone."""
    try:
        return describe(thing)
    except (InputError, TypeError, ValueError):
        return {"class": kind_of(type(thing))} | outside_source(thing)


def _anew(data: Any) -> Any:
    """Return the same data set as nobody has looked at it yet: it remembers no digests."""
    try:
        return data.fresh()
    except (InputError, TypeError):  # a class of the user's that hides its settings
        return data
