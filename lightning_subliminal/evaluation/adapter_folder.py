"""Folders of adapters, saved by this package or PEFT: find the base, and attach the adapter to it."""

import contextlib
import json
import os
import warnings
from pathlib import Path
from typing import Any

from lightning_subliminal import bases
from lightning_subliminal.bases.folder_checks import adapter_reads_elsewhere
from lightning_subliminal.bases.folders import has_whole_weights
from lightning_subliminal.bases.hub import is_hub_id, local_copy
from lightning_subliminal.bases.lookup import NoSuchBaseError, base_of_adapter
from lightning_subliminal.bases.registry import shipped_name
from lightning_subliminal.bases.weight_headers import check_adapter_size
from lightning_subliminal.core.config.class_paths import import_path
from lightning_subliminal.core.console import say
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.io.adapter_names import OWN_FILES, PEFT_FILES, adapter_files
from lightning_subliminal.core.io.files import read_json
from lightning_subliminal.core.io.lfs import refuse_pointer
from lightning_subliminal.core.io.patterns import check_adapter_patterns
from lightning_subliminal.core.kinds import current_path
from lightning_subliminal.evaluation.vocabulary_growth import grow
from lightning_subliminal.lineage.names import RECORD
from lightning_subliminal.lineage.record import known_statement

__all__ = ["adapter_base", "adapter_config", "check_base", "hub_adapter", "other_base", "with_adapter"]

_CONVERT = (
    "import sys, torch; from safetensors.torch import save_file; f = sys.argv[1]; save_file({k: v.clone() for k, v in "
    "torch.load(f, weights_only=True).items()}, f[:-3] + 'safetensors')"
)


def adapter_config(folder: Path) -> dict[str, Any]:
    """Return the config of the adapter in ``folder``, which names its base.

    Raises:
        InputError: if it can't be read, or doesn't name a base.
    """
    files = adapter_files(folder)
    name = files.config if files else "no config"
    try:
        config = read_json(folder / name)
        base = config["base_model_name_or_path"]
    except (OSError, ValueError, KeyError, TypeError) as err:
        raise InputError(f"The adapter in {folder} names no base ({name}): copy it again.") from err
    if not isinstance(base, str) or not base:
        raise InputError(
            f"The adapter in {folder} names no base: `base_model_name_or_path` in {name} is {json.dumps(base)[:80]}, "
            "as PEFT writes for a model built in memory: write the base's folder or hub id there."
        )
    return dict(config)


def adapter_base(folder: Path) -> str:
    """Return the base of an adapter, as ``bases.load`` takes it.

    PEFT's files name a base by a path, or by an id on the hub with its revision apart. A relative path is that of the
    working folder, else of the adapter's folder or the one above. The lineage record in the same folder has our own
    name of the same base.

    Raises:
        InputError: if the config doesn't name one.
    """
    config = adapter_config(folder)
    base = base_of_adapter(str(config["base_model_name_or_path"]), folder)
    named = _at_revision(shipped_name(base) or base, config, folder)
    record = known_statement(folder / RECORD)
    ours = next((each for each in (record.materials if record else ()) if each.role == "base"), None)
    if ours is None or not ours.uri.startswith("base:"):
        return named
    name = ours.uri.removeprefix("base:")
    path = Path(named).expanduser()
    if name.partition("?")[0] == named:
        return name
    if not path.is_absolute() or (path.is_dir() and bases.folder_digest(path) != ours.digest.get("dirHash")):
        return named
    with contextlib.suppress(InputError):
        if bases.resolve(name).digest == ours.digest.get("dirHash"):
            if not path.is_dir():
                say(f"adapter   {folder}: its base is no longer at {named}; {name} has the same files")
            return name
    return named


def check_base(folder: Path, base: str) -> None:
    """Check that the base of an adapter is found.

    Raises:
        InputError: naming the adapter and the file that names its base.
    """
    try:
        bases.resolve(base)
    except InputError as err:
        if os.path.exists(os.path.expanduser(base)):
            raise
        files = adapter_files(folder)
        name = files.config if files else "no config"
        is_nowhere = isinstance(err, NoSuchBaseError)
        why = "no folder here, beside the adapter or in it has this name" if is_nowhere else str(err)
        raise InputError(
            f"The adapter in {folder} takes its base from `base_model_name_or_path` in {name}, which is {base!r}: "
            f"{why.rstrip('.')}. Write the base's folder, name or hub id there."
        ) from err


def other_base(folder: Path, base: str) -> str:
    """Return that an adapter's base is not the one its statement names by digest; empty where it is."""
    record = known_statement(folder / RECORD)
    shas = [each.digest.get("dirHash") for each in (record.materials if record else ()) if each.role == "base"]
    now = bases.resolve(base).digest
    if not shas or shas[0] in (None, now):
        return ""
    return f"its base {base} has the digest {now[:16]}, and it was trained on one with {str(shas[0])[:16]}"


def _at_revision(base: str, config: dict[str, Any], folder: Path) -> str:
    """Return the base at the revision that the adapter was trained on, as PEFT loads it."""
    revision = config.get("revision")
    if not isinstance(revision, str) or revision in ("", "main") or base.endswith(f"@{revision}"):
        return base
    local = base in bases.available() or Path(base).expanduser().exists()
    if local or "@" in base or not is_hub_id(base):
        why = "is local" if local else "names another" if "@" in base else "is not an id on the hub"
        say(f"adapter   {folder}: its `revision` {revision!r} is ignored, since its base {base} {why}")
        return base
    return f"{base}@{revision}"


def hub_adapter(name: str) -> Path | None:
    """Return the local copy of an adapter by its id on the hub; None if there is no copy, or it is not an adapter."""
    if not is_hub_id(name) or name in bases.available():
        return None
    with contextlib.suppress(Exception):  # huggingface_hub's own errors: there is no copy
        copy = local_copy(name)
        return copy if adapter_files(copy) is not None and not has_whole_weights(copy) else None
    return None


def with_adapter(net: Any, folder: Path) -> Any:
    """Return ``net`` with the adapter of a folder attached.

    Raises:
        InputError: if files are missing, or don't fit.
    """
    config, files = adapter_config(folder), adapter_files(folder)
    assert files is not None  # noqa: S101 - it has a config
    if files == OWN_FILES and (folder / PEFT_FILES.config).is_file():
        say(f"adapter   {folder} holds two: {OWN_FILES.config} is read, {PEFT_FILES.config} is not")
    if config.get("peft_type") == "STEERING":
        layers = config.get("layers")
        if not isinstance(layers, list) or not all(isinstance(layer, int) for layer in layers):
            raise InputError(f"The adapter in {folder} names no `layers` ({files.config}): copy it again.")
        adapter = import_path(current_path("Steering"))(layers)  # a class of `models`, a layer above
        steered = adapter.attach(net, 0)
        adapter.load(steered, folder)
        return steered
    for away in adapter_reads_elsewhere(folder):
        raise InputError(f"In {folder}, {away}: its digest would not cover that; merge them into one adapter.")
    refuse_pointer(folder / files.weights)
    pickle = folder / "adapter_model.bin"
    if not (folder / files.weights).is_file():  # PEFT would read a pickle, or look for a hub id
        if pickle.is_file():
            raise InputError(
                f"The adapter in {folder} is a pickle ({pickle.name}), which can run code and is not read: convert it "
                f'once with `python -c "{_CONVERT}" {pickle}`.'
            )
        raise InputError(f"The adapter in {folder} has no {files.weights}: copy it again.")
    if files == OWN_FILES:
        raise InputError(
            f"The adapter in {folder} is {config.get('peft_type')!r}, of a class of your own: load it with that class, "
            f"`Student(base, adapter=...).load(Path({str(folder)!r}))`."
        )
    from peft import PeftModel, get_peft_model_state_dict
    from safetensors import safe_open

    check_adapter_size(config, folder / files.weights, folder / files.config)
    check_adapter_patterns(config, [name for name, _ in net.named_modules()], folder / files.config)
    try:
        grow(net, folder, config)
        with warnings.catch_warnings():
            # else weights that the file lacks would be those of the base
            warnings.filterwarnings("error", "Found missing adapter keys")
            whole = PeftModel.from_pretrained(net, str(folder))
        with safe_open(folder / files.weights, "pt") as file:
            unread = {*file.keys()} - {*get_peft_model_state_dict(whole, save_embedding_layers=True)}
        if unread:
            say(f"adapter   {folder}: {len(unread)} tensors don't fit its base and are ignored, such as {min(unread)}")
        return whole
    except InputError:
        raise
    except Exception as err:  # PEFT, safetensors and torch each raise their own
        why = " ".join(str(err).split())[:300] or type(err).__name__
        raise InputError(f"The adapter in {folder} can't be attached to its base ({why}): copy it again.") from err
