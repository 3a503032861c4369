"""What a finished model was made from, as far as its own record says: for the statement and the card of a copy."""

from dataclasses import dataclass
from pathlib import Path

from lightning_subliminal import bases
from lightning_subliminal.evaluation.model_ref import ModelRef
from lightning_subliminal.lineage import Material, tested_material
from lightning_subliminal.lineage.names import RECORD
from lightning_subliminal.lineage.record import known_statement
from lightning_subliminal.workflow.saving import hidden_trait_warning

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


def find_origin(subject: ModelRef) -> Origin:
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
        return Origin(subject.base, own, "" if named else hidden_trait_warning(""))
    role = record.kind if record is not None and record.kind in ("student", "teacher", "base") else "model"
    is_in_run = role == "student" and folder.name == "student"
    around = known_statement(folder.parent / RECORD) if is_in_run else None
    name = folder.absolute().parent.name if is_in_run else folder.name
    base = subject.base if subject.folder is not None else own[0].uri.removeprefix("base:")
    known = [each.settings for each in (record, around) if record is not None and each is not None]
    what = f"{role} of the run" if is_in_run else "copy of" if role == "model" else role
    warning = hidden_trait_warning(f"{what} `{name}`", *known)
    return Origin(base, [tested_material(role, folder, subject.digest), *own], warning)
