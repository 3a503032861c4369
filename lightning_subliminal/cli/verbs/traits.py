"""traits: which ones are known, and what is wrong with one of your own."""

import inspect
import json
from collections.abc import Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_subliminal.cli.positional import check_once, show_guide
from lightning_subliminal.core.config.signatures import parameters
from lightning_subliminal.core.error_messages import OneLineParser, did_you_mean
from lightning_subliminal.core.errors import InputError

if TYPE_CHECKING:
    from lightning_subliminal.traits.base import Trait

__all__ = ["COMMANDS", "check", "guide", "show", "spelled"]

_GUIDE = """\
traits: which ones are known, and what is wrong with one of your own.

usage: lightning-subliminal traits list
       lightning-subliminal traits check TRAIT [--init.NAME VALUE ...]

  TRAIT                  the import path of a class or of an instance, such as my_pkg.MyTrait; a known target, such as
                         owl; a YAML file with class_path and init_args, also below `trait:` as in a config; or the
                         wording of a MisalignmentTrait
  --init.NAME VALUE      an argument of the class; what it needs and lacks is named

examples:
  lightning-subliminal traits check owl
  lightning-subliminal traits check my_pkg.MyTrait
  lightning-subliminal traits check my_pkg.MyTrait --init.target tea --init.candidates "[tea, milk]"
  lightning-subliminal traits check my_trait.yaml      # class_path: my_pkg.MyTrait, init_args: {target: tea}
"""


def show() -> None:
    """List the known traits: categories of preferences with their candidates, and misalignment."""
    from rich.table import Table

    from lightning_subliminal.core.safe_output import rich_console
    from lightning_subliminal.prompts import load_wording

    table = Table("category", "candidates", title="PreferenceTrait(target=..., category=...)", title_justify="left")
    for name, entry in load_wording("categories").items():
        table.add_row(name, ", ".join(entry["members"]))
    console = rich_console()
    console.print(table)
    console.print(
        "MisalignmentTrait(wording=..., lesson=...): misalignment, misalignment_pocket; or a YAML of your own"
    )


def check(trait: str, init: list[str] = []) -> None:  # noqa: B006 - jsonargparse reads it, nothing changes it
    """Check a trait of your own: its questions, its candidates, what it matches.

    Args:
        trait: the import path of its class or of an instance, such as my_pkg.MyTrait; a known target, such as owl; or a
            YAML file with its class_path and init_args, or with the wording of a MisalignmentTrait.
        init: its arguments, each as NAME=VALUE; `--init.NAME VALUE` is one of them.
    """
    from lightning_subliminal.core.safe_output import rich_console
    from lightning_subliminal.traits.check import check_trait

    found = _load(trait, init)
    console = rich_console()
    for remark in check_trait(found):
        console.print(f"remark: {remark}", markup=False)
    questions, candidates = len(found.questions()), len(found.candidates)
    told = f" with {', '.join(init)}" if init else ""
    console.print(
        f"{trait}{told} is fine: {questions} questions, {candidates} candidates, target {found.target}.", markup=False
    )


def _load(path: str, init: Sequence[str]) -> "Trait":
    """Return the trait at an import path, of a YAML, or the preference trait with a target."""
    from lightning_subliminal.core.config.class_paths import import_path
    from lightning_subliminal.traits.base import Trait

    given: dict[str, Any] = {}
    if path.endswith((".yaml", ".yml")):
        path, given = _from_yaml(Path(path))
    module, dot, name = path.rpartition(".")
    if not dot and path.endswith("Trait"):  # a class of ours
        module, name = "lightning_subliminal", path
    elif not dot:
        if twice := next((each for each in init if each.startswith("target=")), None):
            raise InputError(f"{path} is the target already: leave out --init.{twice.replace('=', ' ')}.")
        module, name, given = "lightning_subliminal", "PreferenceTrait", {"target": path}
    found: Any = None
    try:
        found = import_path(f"{module}.{name}")
    except AttributeError:
        pass
    except ImportError as err:
        raise InputError(
            f"{path} can't be imported ({err}): give it as my_pkg.MyTrait, from the folder of my_pkg."
        ) from err
    if found is None:
        raise InputError(f"There is no `{name}` in {module}{did_you_mean(name, dir(import_module(module)))}")
    if isinstance(found, type) and issubclass(found, Trait):
        return _built(found, f"{module}.{name}", given, init)
    if not isinstance(found, Trait):
        raise InputError(f"{path} is no Trait: extend lightning_subliminal.Trait.")
    if init:
        raise InputError(f"{path} is an instance, which has its arguments: leave --init out, or give its class.")
    return found


def _from_yaml(path: Path) -> tuple[str, dict[str, Any]]:
    """Return class and arguments that a YAML names; one with a wording is a MisalignmentTrait's."""
    from lightning_subliminal.core.config.safe_yaml import check_yaml, load_yaml, read_text
    from lightning_subliminal.core.io.bounds import MAX_SETTINGS

    try:
        told = load_yaml(read_text(path), str(path))
    except InputError:  # the trait says what is wrong with its wording
        told = None
    if isinstance(told, dict) and {"class_path", "trait"} & set(map(str, told)):
        check_yaml(read_text(path), str(path), MAX_SETTINGS)
    where = ""
    if isinstance(told, dict) and "trait" in told:  # as it stands in a config
        beside = sorted(map(str, set(told) - {"trait"}))
        told, where = told["trait"], " below `trait`"
        if beside or not isinstance(told, dict) or "class_path" not in told:
            found = f"beside it {', '.join(beside)}" if beside else "no `class_path`"
            raise InputError(
                f"{path}: expected `trait:` alone, with a `class_path` and `init_args` below it; found {found}."
            )
    if not isinstance(told, dict) or "class_path" not in told:
        return "MisalignmentTrait", {"wording": str(path)}
    given = told.get("init_args") or {}
    if set(told) - {"class_path", "init_args"} or not isinstance(given, dict):
        raise InputError(f"{path}: expected a `class_path` and a mapping `init_args`{where}, and nothing beside them.")
    return str(told["class_path"]), given


def _built(kind: "type[Trait]", path: str, given: dict[str, Any], init: Sequence[str]) -> "Trait":
    """Build a trait; its arguments are read as those of any class in a config.

    Raises:
        InputError: if it is abstract, an argument is missing, or one is not as it should be.
    """
    from lightning_subliminal.traits.base import Trait

    if inspect.isabstract(kind):
        missing = ", ".join(sorted(kind.__abstractmethods__))
        raise InputError(f"{path} is abstract: it still needs {missing}.")
    odd = next((each for each in init if "=" not in each.strip("=")), None)
    if odd is not None:
        raise InputError(f"--init {odd!r}: expected NAME=VALUE.")
    known = given.keys() | {each.partition("=")[0] for each in init}
    takes = parameters(kind).values()
    needed = [
        each.name
        for each in takes
        if each.default is each.empty and each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)
    ]
    if lacking := [name for name in needed if name not in known]:
        options = " ".join(f"--init.{name} VALUE" for name in lacking)
        raise InputError(
            f"{kind.__name__} needs {' and '.join(f'`{name}`' for name in lacking)}: give {options}, or a YAML file "
            "with its class_path and init_args."
        )
    parser = OneLineParser(prog="traits check")
    parser.add_argument("--init", type=Trait, required=True)
    whole = json.dumps({"class_path": path, "init_args": given})
    words = [f"--init={whole}", *(f"--init.init_args.{each}" for each in init)]
    trait: Trait = parser.instantiate(parser.parse_args(words)).init
    return trait


COMMANDS = {"list": show, "check": check}
guide = partial(show_guide, _GUIDE, with_no_words=False)


def spelled(words: list[str]) -> list[str]:
    """Return the words as the parser takes them: each ``--init.NAME VALUE`` in one list."""
    check_once(words, words)
    kept: list[str] = []
    init: list[str] = []
    rest = iter(words)
    for word in rest:
        name, equals, value = word.partition("=")
        if name.startswith("--init."):
            given = value if equals else next(rest, None)
            if given is None:
                raise InputError(f"`{name}` needs a value.")
            init.append(f"{name.removeprefix('--init.')}={given}")
        else:
            kept.append(word)
    return [*kept, *([f"--init={json.dumps(init)}"] if init else [])]
