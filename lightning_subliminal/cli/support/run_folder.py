"""The folder of a run, runs/NAME-DIGEST, which the same settings find again."""

import hashlib
import json
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from lightning_subliminal.core.config.safe_yaml import load_yaml, read_text
from lightning_subliminal.core.config.shipped import find_config
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.io.bounds import MAX_SETTINGS
from lightning_subliminal.core.rows import atomically

__all__ = ["FINISHED", "check_configs", "file_of_mistake", "no_empty_folder", "run_folder", "save_config", "settings"]

FINISHED = "# finished"  # a line of config.yaml once `fit` has finished
# Settings that do not change the results of a run.
_WITHOUT_EFFECT = ("config", "ckpt_path", "print_masks", "verbose", "by", "estimate")
_WITHOUT_EFFECT_ANYWHERE = ("gradient_checkpointing",)  # the same gradients, in less memory
_LIBRARIES = ("lightning", "lightning_subliminal", "torch", "transformers")
# Files written before anything is computed: our config, and those of loggers when they start.
_STARTED = ("config.yaml", "hparams.yaml", "events.out.tfevents.*")
_OTHER_VERBS = (  # a key that only their YAML has
    ("include", "plan", "run --config"),
    ("arms", "plan", "run --config"),
    ("measures", "suite of measures", "evaluate MODEL ... --suite"),
)
TRAIT_OPTION = "--data.teacher.init_args.trait"
_WITHOUT_EFFECT_TRAINER = ("default_root_dir", "enable_progress_bar", "enable_model_summary")


def check_configs(words: list[str]) -> tuple[list[str], list[Path]]:
    """Find the configs that a command line names, by path or as shipped ones, and check that each is a YAML mapping.

    Returns:
        The words with the path of each config, and the paths in order.

    Raises:
        InputError: naming file and line, if one is missing, empty, not a YAML mapping, or for another verb.
    """
    for word, after in zip(words, [*words[1:], ""], strict=True):
        _check_value(*word.partition("=")[::2], after)
    spelled, paths = [], []
    rest = iter(words)
    for word in rest:
        name, equals, value = word.partition("=")
        if name in ("--config", "-c"):
            value = value if equals else next(rest, "")
            if not value:
                raise InputError(f"`{name}` needs a value: expected a YAML file, or a shipped config's name.")
            paths.append(find_config(value))
            _check_config(paths[-1])
            word = f"--config={paths[-1]}"
        spelled.append(word)
    return spelled, paths


def _check_value(option: str, value: str, after: str) -> None:
    """Check that a YAML that an option names does not repeat the option's own name above its content."""
    path, key = Path(value or after), option.rpartition(".")[2]
    if option.startswith("--") and "." in option and path.suffix in (".yaml", ".yml") and path.is_file():
        read = load_yaml(read_text(path), str(path), MAX_SETTINGS)
        if isinstance(read, dict) and list(read) == [key]:
            raise InputError(
                f"{path} holds `{key}:` above its content, as a config does: for {option}, write its `class_path` and "
                f"`init_args` at the top, without `{key}:`."
            )


def _check_config(path: Path) -> None:
    read = load_yaml(read_text(path), str(path), MAX_SETTINGS)
    if read is None:
        raise InputError(f"The config {path} is empty: expected `model:`, `data:` and `trainer:`.")
    if not isinstance(read, dict):
        raise InputError(
            f"The config {path} holds a {type(read).__name__}: expected a mapping with `model:`, `data:`, `trainer:`."
        )
    for key, kind, verb in _OTHER_VERBS:
        if key in read and not {"model", "data", "trainer"} & set(read):
            raise InputError(f"{path} is a {kind}: `lightning-subliminal {verb} {path}`.")
    if {"trait", "class_path"} & set(read) and not {"model", "data", "trainer"} & set(read):
        what = "a trait" if "trait" in read else "one class"
        as_trait = "" if "trait" in read else ", if it is a trait"
        raise InputError(
            f"{path} holds {what}, and no config with `model:`, `data:`, `trainer:`: give it beside a config as "
            f"`{TRAIT_OPTION} {path}`{as_trait}, with `class_path` and `init_args` at its top."
        )


def file_of_mistake(line: str, configs: list[Path], words: list[str]) -> Path | None:
    """Return the config that holds a refused setting.

    Args:
        line: the error; the first name in backquotes is the setting.
        configs: configs of the command line in order: a later one overrides an earlier one.
        words: words of the command line; a value that an option sets is not the file's.

    Returns:
        None if no config holds the setting, or an option sets it, a part of it, or a group that contains it; the file
        that is the option's value, if it is a YAML.
    """
    named = re.search(r"`([\w.]+)`", line)
    setting = named[1] if named else ""
    # a message leaves out `init_args`, which an option has
    given = {
        word.partition("=")[0].removeprefix("--").replace(".init_args", ""): word.partition("=")[2] or after
        for word, after in zip(words, [*words[1:], ""], strict=True)
        if word.startswith("--")
    }
    options = list(given)
    if given.get(setting, "").endswith((".yaml", ".yml")) and Path(given[setting]).is_file():
        return Path(given[setting])
    if any(f"{one}.".startswith(f"{other}.") for each in options for one, other in ((each, setting), (setting, each))):
        return None
    holding = [path for path in configs if setting.partition(".")[0] in load_yaml(read_text(path), str(path))]
    return holding[-1] if holding else None


def settings(config: dict[str, Any]) -> dict[str, Any]:
    """Return the part of a resolved config that changes the results; a logger never does."""
    kept = {key: value for key, value in config.items() if key not in _WITHOUT_EFFECT}
    trainer = kept.get("trainer") or {}
    kept["trainer"] = {key: value for key, value in trainer.items() if key not in _WITHOUT_EFFECT_TRAINER}
    if trainer:
        kept["trainer"]["logger"] = False
    return _effective(kept)


def _effective(value: Any) -> Any:
    """Return a part of a config without the settings that change no result, wherever they are."""
    if isinstance(value, dict):
        return {key: _effective(each) for key, each in value.items() if key not in _WITHOUT_EFFECT_ANYWHERE}
    return [_effective(each) for each in value] if isinstance(value, list) else value


def run_folder(configs: list[Path], config: dict[str, Any], root: Path = Path("runs")) -> Path:
    """Return the folder of a run: the config's stem, or the model's name, and 8 digits of a digest of all settings.

    A setting that names a file or a user's class adds the digest of that file, so that editing a trait or a word list
    starts a new run instead of resuming the old one.
    """
    kept = settings(config)
    sources = {text: _source_digest(text) for text in sorted(set(_texts(kept)))}
    text = json.dumps([kept, sources], sort_keys=True, default=str)
    stem = configs[0].stem if configs else str((config.get("model") or {}).get("class_path", "run")).rpartition(".")[2]
    return root / f"{stem}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def save_config(text: str, folder: Path) -> None:
    """Write ``config.yaml`` into a run's folder, but never over one with other settings.

    Raises:
        InputError: naming the first setting that differs, if the folder belongs to another run.
    """
    path = folder / "config.yaml"
    try:
        old = load_yaml(read_text(path), str(path)) if path.exists() else None
    except InputError as err:
        raise InputError(f"{path} can't be read: delete it, or choose another --trainer.default_root_dir.") from err
    if isinstance(old, dict):
        key = _first_difference(settings(old), settings(load_yaml(text, "The new config")))
        if key is not None:
            raise InputError(
                f"{folder} holds a run with other settings (`{key}` differs): choose another "
                "--trainer.default_root_dir, or delete that folder."
            )
    atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


@contextmanager
def no_empty_folder(folder: Path, has_computed: Callable[[], bool]) -> Iterator[None]:
    """Remove a new run's folder if the run fails or is interrupted before it wrote any results.

    Args:
        folder: the run's folder; earlier files stay, and so does the folder of a run that was started before.
        has_computed: returns whether a step was taken, so that a logger's file may hold its loss.
    """
    before = {each.name for each in folder.iterdir()} if folder.is_dir() else set()
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    try:
        yield
    except BaseException:
        if "config.yaml" not in before and folder.is_dir():
            _remove_started(folder, before, _STARTED[:1] if has_computed() else _STARTED, missing)
        raise


def _remove_started(folder: Path, before: set[str], names: tuple[str, ...], missing: list[Path]) -> None:
    new = [each for each in folder.iterdir() if each.name not in before]
    inside = [each for top in new for each in (top, *top.rglob("*"))]
    if any(not each.is_dir() and not any(map(each.match, names)) for each in inside):
        return
    with suppress(OSError):  # another process may have started the same run: then its folder is not empty
        for each in sorted(inside, reverse=True):  # the files of a folder before the folder
            each.rmdir() if each.is_dir() else each.unlink()
        for each in missing:
            each.rmdir()


def _first_difference(old: Any, new: Any, at: str = "") -> str | None:
    """Return the dotted name of the first setting that differs."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted({*old, *new}, key=str):
            found = _first_difference(old.get(key), new.get(key), f"{at}.{key}" if at else str(key))
            if found is not None:
                return found
        return None
    return None if old == new else at


def _texts(value: Any) -> Iterator[str]:
    """Yield all texts among the settings."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, (dict, list)):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _texts(each)


def _source_digest(text: str) -> str:
    """Return the digest of the file that a setting names by its path, or as a class of a user's module."""
    try:
        path = Path(text)
        if not path.is_file():
            module = sys.modules.get(text.rpartition(".")[0])  # parsing the config has imported it
            ours = module is None or module.__name__.partition(".")[0] in _LIBRARIES
            path = Path("" if ours else getattr(module, "__file__", None) or "")
        return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
    except (OSError, ValueError):  # too long for a name, a null byte, not readable: then it names no file
        return ""
