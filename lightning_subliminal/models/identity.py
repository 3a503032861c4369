"""A module's identity as plain data: its hyperparameters, which checkpoints are checked with and rebuilt from."""

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

_IDENTITY = "lightning_subliminal"  # the key of a checkpoint for what its weights belong to
_SETTINGS = LightningModule.CHECKPOINT_HYPER_PARAMS_KEY


class RebuiltModule(LightningModule):
    """A module whose hyperparameters are its constructor arguments, as in YAML; its checkpoints rebuild it.

    Override ``identity`` to add what the weights belong to.
    """

    def __init__(self) -> None:
        super().__init__()
        self._log_hyperparams = True

    def identity(self) -> dict[str, Any]:
        """Return what a checkpoint's weights belong to, as plain data."""
        return {"class": kind_of(type(self))}

    @property
    def hparams(self) -> Any:
        """Class, what the weights belong to, and constructor arguments, as plain data, for loggers."""
        if "_hparams" not in vars(self):
            with suppress(InputError):  # within the constructor, or if the settings can't be read
                identity = self.identity()
                names = {"class": "class", "files": "base_digest"}
                known = {name: identity[key] for key, name in names.items() if key in identity}
                self._hparams = AttributeDict(known | plain(constructor_arguments(self)))
                self._hparams_initial = copy.deepcopy(self._hparams)
        return super().hparams

    @property
    def hparams_initial(self) -> AttributeDict:
        """The hyperparameters when they were first read."""
        _ = self.hparams
        return super().hparams_initial

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Store what the weights belong to, and the hyperparameters that the constructor takes."""
        checkpoint[_IDENTITY] = self.identity()
        takes = parameters(type(self))
        settings = {name: value for name, value in (checkpoint.get(_SETTINGS) or {}).items() if name in takes}
        checkpoint[_SETTINGS] = settings | ({"seed": resolve_seed(settings["seed"])} if "seed" in settings else {})

    def check_identity(self, checkpoint: Mapping[str, Any]) -> None:
        """Refuse a checkpoint with another identity, whose weights would be ignored without a warning.

        Raises:
            InputError: naming what differs, and how to load it.
        """
        saved, own = checkpoint.get(_IDENTITY), self.identity()
        if not isinstance(saved, Mapping):
            return
        odd = [name for name in own if name in saved and saved[name] != own[name]]
        if odd and not (odd == ["base"] and saved.get("files") == own["files"]):
            listed = [f"{name} {plainly(saved[name])}, here {plainly(own[name])}" for name in odd]
            raise InputError(
                f"The checkpoint is of another {type(self).__name__}: {'; '.join(listed)}. Load it as it was trained: "
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
        """Load a trained module, with the settings of its training unless others are given.

        Args:
            checkpoint_path: a file that Lightning wrote.
            map_location: the device of its tensors; the CPU if None.
            hparams_file: Lightning's argument; refused, since the checkpoint has its settings.
            strict: Lightning's argument; a checkpoint that lacks a trained weight is always refused.
            weights_only: refuse pickled code.
            arguments: of the constructor.

        Raises:
            InputError: if the checkpoint is of another class, a given base or adapter differs from its own, or one of
                its settings is an object of a class that is not imported and has to be given.
        """
        if hparams_file is not None:
            raise InputError("`hparams_file` is not supported: the checkpoint has its settings; pass others by name.")
        file = torch.load(checkpoint_path, map_location=map_location or "cpu", weights_only=weights_only is not False)
        saved = file.get(_IDENTITY)
        saved = saved if isinstance(saved, dict) else {}
        if (kind := saved.get("class", kind_of(cls))) != kind_of(cls):
            raise InputError(
                f"The checkpoint is of the class {current_path(str(kind)).rpartition('.')[2]}, not of {cls.__name__}: "
                "load it with that class."
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
            raise InputError(
                f"The checkpoint lacks weights of {cls.__name__} ({lacking[0]} first): it is not complete."
            )
        return module


def plain(value: Any) -> Any:
    """Return a setting as in YAML: an object by its class_path and init_args, or by its class if those can't be read.

    ``build`` builds it again.
    """
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Mapping):
        return {str(name): plain(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    if isinstance(value, (set, frozenset)):
        return sorted((plain(each) for each in value), key=str)
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, partial) and isclass(value.func):
        return {"class_path": kind_of(value.func), "init_args": plain(value.keywords)}
    try:
        return {"class_path": kind_of(type(value)), "init_args": plain(constructor_arguments(value))}
    except (InputError, TypeError, ValueError):
        return {"class": kind_of(value if hasattr(value, "__qualname__") else type(value))}


def plainly(value: Any) -> str:
    """Return a base's name, or an object's class with its settings, for messages."""
    if not isinstance(value, Mapping):
        return str(value)[:12] if isinstance(value, str) and len(value) == 64 else repr(value)
    kind = value.get("class_path", value.get("class"))
    settings = value.get("init_args", value.get("arguments")) or {}
    return f"{str(kind).rpartition('.')[2]}({', '.join(f'{name}={each!r}' for name, each in settings.items())})"


def _built(setting: Any, name: str, expected: Any) -> Any:
    """Build a setting from a checkpoint, which must not decide what is imported.

    Raises:
        InputError: if it needs a class that is not imported, or can't be built.
    """
    if isinstance(setting, Mapping) and "arguments" in setting:  # from old checkpoints, without settings
        setting = {"class_path": setting.get("class"), "init_args": setting["arguments"]}
    try:
        return fitted(build(_known(setting), None, name, expected), expected, name)
    except (InputError, LookupError) as err:
        why = f" ({err})" if isinstance(err, InputError) else ""
        raise InputError(
            f"The checkpoint was made with the {name} {plainly(setting)}: pass it to load_from_checkpoint(path, "
            f"{name}=...), since a file must not decide which class is imported{why}."
        ) from err


def _known(setting: Any) -> Any:
    """Return a setting with the current path of each class.

    Raises:
        LookupError: if one is neither of this package nor imported already.
    """
    if isinstance(setting, list):
        return [_known(each) for each in setting]
    if not isinstance(setting, Mapping):
        return setting
    if set(setting) == {"class"}:
        raise LookupError(setting["class"])
    if "class_path" not in setting:
        return {name: _known(value) for name, value in setting.items()}
    path = current_path(str(setting["class_path"]))
    module, _, name = path.rpartition(".")
    if not module.startswith("lightning_subliminal") and not hasattr(sys.modules.get(module), name):
        raise LookupError(path)
    arguments = setting.get("init_args") or {}
    config = arguments.get("config_class", "peft.")  # a class that `Peft` imports
    if not str(config).startswith("peft."):
        raise LookupError(config)
    return {"class_path": path, "init_args": _known(arguments)}
