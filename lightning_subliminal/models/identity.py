"""What a module is, as plain data: its hyperparameters, and what a checkpoint is compared with and rebuilt from."""

import copy
import sys
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from inspect import isclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import torch
from lightning.fabric.utilities.data import AttributeDict
from lightning.pytorch import LightningModule

from lightning_subliminal.core.config.building import build, fitted
from lightning_subliminal.core.config.signatures import parameters
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.fingerprint import constructor_arguments
from lightning_subliminal.core.kinds import current_path, kind_of
from lightning_subliminal.core.seeds import resolve_seed

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["RebuiltModule", "plain", "plainly"]

_IDENTITY = "lightning_subliminal"  # the key of a checkpoint that says what its weights belong to
_SETTINGS = LightningModule.CHECKPOINT_HYPER_PARAMS_KEY


class RebuiltModule(LightningModule):
    """A module whose hyperparameters are its constructor arguments, as YAML has them; its checkpoints rebuild it.

    Override ``identity`` to say what else the weights belong to.
    """

    def __init__(self) -> None:
        super().__init__()
        self._log_hyperparams = True

    def identity(self) -> dict[str, Any]:
        """Return what a checkpoint's weights belong to, as plain data."""
        return {"class": kind_of(type(self))}

    @property
    def hparams(self) -> Any:
        """Class, what the weights belong to, and constructor arguments, as plain data; loggers get them."""
        if "_hparams" not in vars(self):
            with suppress(InputError):  # amid the constructor, or of a class that hides its settings
                self._hparams = AttributeDict(_flat(self.identity()) | plain(constructor_arguments(self)))
                self._hparams_initial = copy.deepcopy(self._hparams)
        return super().hparams

    @property
    def hparams_initial(self) -> AttributeDict:
        """The same, as they were when they were first read."""
        _ = self.hparams
        return super().hparams_initial

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what the weights belong to; and of the hyperparameters those that the constructor takes."""
        checkpoint[_IDENTITY] = self.identity()
        takes = parameters(type(self))
        settings = {name: value for name, value in (checkpoint.get(_SETTINGS) or {}).items() if name in takes}
        checkpoint[_SETTINGS] = settings | ({"seed": resolve_seed(settings["seed"])} if "seed" in settings else {})

    def check_identity(self, checkpoint: Mapping[str, Any]) -> None:
        """Refuse a checkpoint whose weights belong to something else: they would be passed over in silence.

        Raises:
            InputError: naming what differs, and what to give instead.
        """
        saved, own = checkpoint.get(_IDENTITY), self.identity()
        if not isinstance(saved, Mapping):
            return
        odd = [name for name in own if name in saved and saved[name] != own[name]]
        if odd and not (odd == ["base"] and saved.get("files") == own["files"]):
            told = [f"{name} {plainly(saved[name])}, here {plainly(own[name])}" for name in odd]
            raise InputError(
                f"The checkpoint is of another {type(self).__name__}: {'; '.join(told)}. Load it as it was trained: "
                f"{type(self).__name__}.load_from_checkpoint(path) reads that from the file."
            )

    @classmethod
    def load_from_checkpoint(
        cls,
        checkpoint_path: str | Path | IO[bytes],
        map_location: Any = None,
        hparams_file: str | Path | None = None,
        strict: bool | None = None,
        weights_only: bool | None = True,
        **arguments: Any,
    ) -> "Self":
        """Load a trained module, with the settings it was trained with unless others are given.

        Args:
            checkpoint_path: a file that Lightning wrote.
            map_location: where its tensors go; the CPU where it is None.
            hparams_file: as Lightning takes it; refused, since the checkpoint has its settings.
            strict: refuse a checkpoint that lacks a trained weight; a base's frozen weights are in none.
            weights_only: refuse pickled code.
            arguments: of the constructor.

        Raises:
            InputError: if the checkpoint is of another class, or base or adapter given differ from its own, or one of
                its settings is an object of a class that was not imported, and has to be given.
        """
        if hparams_file is not None:
            raise InputError("`hparams_file` is not read: the checkpoint holds its settings; give others by name.")
        file = torch.load(checkpoint_path, map_location=map_location or "cpu", weights_only=weights_only is not False)
        saved = file.get(_IDENTITY)
        saved = saved if isinstance(saved, dict) else {}
        if (kind := saved.get("class", kind_of(cls))) != kind_of(cls):
            raise InputError(
                f"The checkpoint is of the class {current_path(str(kind)).rpartition('.')[2]}, not of {cls.__name__}: "
                "load it with its own."
            )
        settings = (file.get(_SETTINGS) or {}) | {name: saved[name] for name in ("base", "adapter") if name in saved}
        takes = parameters(cls)
        for name, value in settings.items():
            if name in takes and name not in arguments:
                arguments[name] = _built(value, name, takes[name].annotation)
        module = cls(**arguments)
        module.configure_model()
        module.on_load_checkpoint(file)
        lost = module.load_state_dict(file["state_dict"], strict=False).missing_keys
        needed = {name for name, each in module.named_parameters() if each.requires_grad}
        if lacking := sorted(needed & set(lost)):
            raise InputError(f"The checkpoint lacks weights of {cls.__name__} ({lacking[0]} first): it is not whole.")
        return module


def plain(thing: Any) -> Any:
    """Return a setting as YAML holds it: an object by its class_path and init_args; one that hides them by its class.

    What comes of it is built again by ``build``.
    """
    if thing is None or isinstance(thing, (bool, int, float, str)):
        return thing
    if isinstance(thing, Mapping):
        return {str(name): plain(value) for name, value in thing.items()}
    if isinstance(thing, (list, tuple)):
        return [plain(value) for value in thing]
    if isinstance(thing, (set, frozenset)):
        return sorted((plain(value) for value in thing), key=str)
    if isinstance(thing, Path):
        return str(thing)
    if isinstance(thing, partial) and isclass(thing.func):
        return {"class_path": kind_of(thing.func), "init_args": plain(thing.keywords)}
    try:
        return {"class_path": kind_of(type(thing)), "init_args": plain(constructor_arguments(thing))}
    except (InputError, TypeError, ValueError):
        return {"class": kind_of(thing if hasattr(thing, "__qualname__") else type(thing))}


def plainly(value: Any) -> str:
    """Return a base's name, or an object's class with its settings, in a few words."""
    if not isinstance(value, Mapping):
        return str(value)[:12] if isinstance(value, str) and len(value) == 64 else repr(value)
    kind = value.get("class_path", value.get("class"))
    settings = value.get("init_args", value.get("arguments")) or {}
    return f"{str(kind).rpartition('.')[2]}({', '.join(f'{name}={each!r}' for name, each in settings.items())})"


def _flat(identity: Mapping[str, Any]) -> dict[str, Any]:
    told = {"class": identity["class"]}
    return told | ({"base_digest": identity["files"]} if "files" in identity else {})


def _built(told: Any, name: str, expected: Any) -> Any:
    """Build a setting that a checkpoint holds; a file must not say which class is imported.

    Raises:
        InputError: if it needs a class that nobody has imported, or can't be built.
    """
    if isinstance(told, Mapping) and "arguments" in told:  # of checkpoints that had no settings yet
        told = {"class_path": told.get("class"), "init_args": told["arguments"]}
    try:
        return fitted(build(_known(told), None, name, expected), expected, name)
    except (InputError, LookupError) as err:
        why = f" ({err})" if isinstance(err, InputError) else ""
        raise InputError(
            f"The checkpoint was made with the {name} {plainly(told)}: give it, load_from_checkpoint(path, "
            f"{name}=...), since no class is imported because a file names it{why}."
        ) from err


def _known(told: Any) -> Any:
    """Return a setting with each class by the path where it is now.

    Raises:
        LookupError: if one is neither ours nor imported already.
    """
    if isinstance(told, list):
        return [_known(each) for each in told]
    if not isinstance(told, Mapping):
        return told
    if set(told) == {"class"}:
        raise LookupError(told["class"])
    if "class_path" not in told:
        return {name: _known(value) for name, value in told.items()}
    path = current_path(str(told["class_path"]))
    module, _, name = path.rpartition(".")
    if not module.startswith("lightning_subliminal") and not hasattr(sys.modules.get(module), name):
        raise LookupError(path)
    given = told.get("init_args") or {}
    config = given.get("config_class", "peft.")  # a class that `Peft` imports
    if not str(config).startswith("peft."):
        raise LookupError(config)
    return {"class_path": path, "init_args": _known(given)}
