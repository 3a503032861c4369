"""traits: which ones are known, and what is wrong with one of your own."""

import inspect
from importlib import import_module
from typing import TYPE_CHECKING

from lightning_subliminal.commands.messages import did_you_mean
from lightning_subliminal.errors import InputError

if TYPE_CHECKING:
    from lightning_subliminal.traits.base import Trait

__all__ = ["COMMANDS", "check", "show"]


def show() -> None:
    """List the known traits: categories of preferences with their candidates, and misalignment."""
    from rich.console import Console
    from rich.table import Table

    from lightning_subliminal.wording import load_wording

    table = Table("category", "candidates", title="PreferenceTrait(target=..., category=...)", title_justify="left")
    for name, entry in load_wording("categories").items():
        table.add_row(name, ", ".join(entry["members"]))
    console = Console()
    console.print(table)
    console.print(
        "MisalignmentTrait(wording=..., lesson=...): misalignment, misalignment_pocket; or a YAML of your own"
    )


def check(trait: str) -> None:
    """Check a trait of your own: its questions, its candidates, what it matches.

    Args:
        trait: the import path of its class or of an instance, such as my_pkg.MyTrait; a known target, such as owl; or a
            YAML file with the wording of a MisalignmentTrait.
    """
    from rich.console import Console

    from lightning_subliminal.traits.check import check_trait

    found = _load(trait)
    console = Console()
    for remark in check_trait(found):
        console.print(f"remark: {remark}", markup=False)
    questions, candidates = len(found.questions()), len(found.candidates)
    console.print(f"{trait} is fine: {questions} questions, {candidates} candidates, target {found.target}.")


def _load(path: str) -> "Trait":
    """Give the trait at an import path, or the preference trait with a target."""
    from lightning_subliminal.traits.base import Trait
    from lightning_subliminal.traits.preference import PreferenceTrait

    if path.endswith((".yaml", ".yml")):
        from lightning_subliminal.traits.misalignment import MisalignmentTrait

        return MisalignmentTrait(path)
    module, dot, name = path.rpartition(".")
    if not dot and path.endswith("Trait"):  # a class of ours
        module, name = "lightning_subliminal", path
    elif not dot:
        return PreferenceTrait(target=path)
    try:
        found = getattr(import_module(module), name, None)
    except ImportError as err:
        raise InputError(
            f"{path} can't be imported ({err}): give it as my_pkg.MyTrait, from the folder of my_pkg."
        ) from err
    if found is None:
        raise InputError(f"There is no `{name}` in {module}{did_you_mean(name, dir(import_module(module)))}")
    if isinstance(found, type) and issubclass(found, Trait):
        if inspect.isabstract(found):
            missing = ", ".join(sorted(found.__abstractmethods__))
            raise InputError(f"{path} is abstract: it still needs {missing}.")
        found = found()
    if not isinstance(found, Trait):
        raise InputError(f"{path} is no Trait: extend lightning_subliminal.Trait.")
    return found


COMMANDS = {"list": show, "check": check}
