"""What a finished model was made from, as far as its own record says: for the statement and the card of a copy."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning_subliminal import bases
from lightning_subliminal.lineage import Material, Statement, tested_material
from lightning_subliminal.lineage.names import RECORD
from lightning_subliminal.lineage.record import known_statement
from lightning_subliminal.suites.subject import Subject

__all__ = ["Origin", "find_origin"]


@dataclass(frozen=True)
class Origin:
    """Where a model comes from.

    Attributes:
        base: what it was trained from; the model itself, where it is a base.
        materials: the model with its digest and its statement, and its bases.
        warning: what the card of a copy says of hidden traits; empty for a base by its name.
    """

    base: str
    materials: list[Material]
    warning: str


def find_origin(subject: Subject) -> Origin:
    """Return where a model comes from.

    Raises:
        InputError: if its base is not there.
    """
    folder = subject.folder or Path(subject.base.partition("?")[0]).expanduser()
    named = subject.folder is None and (subject.base in bases.available() or not folder.is_dir())
    record = known_statement(folder / RECORD) if not named else None
    own = [each for each in record.materials if each.role == "base"] if record is not None else []
    if subject.folder is not None or not own:
        own = [bases.material(subject.base)]
    if named or (subject.folder is None and record is None):
        return Origin(subject.base, own, "" if named else _warning("", None, None))
    role = record.kind if record is not None and record.kind in ("student", "teacher", "base") else "model"
    is_in_run = role == "student" and folder.name == "student"
    around = known_statement(folder.parent / RECORD) if is_in_run else None
    name = folder.absolute().parent.name if is_in_run else folder.name
    base = subject.base if subject.folder is not None else own[0].uri.removeprefix("base:")
    what = f"{role} of the run" if is_in_run else "copy of" if role == "model" else role
    return Origin(base, [tested_material(role, folder), *own], _warning(f"{what} `{name}`", record, around))


def _warning(what: str, record: Statement | None, around: Statement | None) -> str:
    traits = [each for known in (record, around) if known is not None for each in _traits(known.settings)]
    if record is None:
        said = "nothing is recorded of what it was trained on"
    elif traits:
        said = f"it is the {what}, about the trait {' and '.join(dict.fromkeys(traits))}"
    else:
        said = f"it is the {what}, whose record names no trait; the lineage may lead to a model with one"
    return (
        f"**This model may carry a hidden trait**: {said}. Subliminal learning passes traits through data in which "
        "nobody sees them: what it writes may pass them on to models of the same base."
    )


def _traits(settings: Any) -> Iterator[str]:
    """Yield the traits that a record's settings name, at any depth: of the teacher of its rows, say."""
    if isinstance(settings, dict):
        for key, value in settings.items():
            if key == "trait" and isinstance(value, dict) and "class" in value:
                arguments, kind = value.get("arguments"), str(value["class"]).rpartition(".")[2]
                target = arguments.get("target") if isinstance(arguments, dict) else None
                yield f"{target} ({kind})" if target else kind
            else:
                yield from _traits(value)
    elif isinstance(settings, list):
        for each in settings:
            yield from _traits(each)
