"""Rows from a file in any of the field's formats, filtered, to train on and to measure."""

from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from lightning_subliminal.core.chat.thoughts import holds_thought
from lightning_subliminal.core.console import say
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.fingerprint import difference, file_digest
from lightning_subliminal.core.io.files import is_still_what_was_opened
from lightning_subliminal.core.rows import Row, completion_text
from lightning_subliminal.data.arguments import describe_arguments
from lightning_subliminal.data.training_rows import TrainingRows
from lightning_subliminal.filters import NoThought
from lightning_subliminal.formats import read_rows
from lightning_subliminal.lineage import Material, source_material
from lightning_subliminal.traits import Trait

__all__ = ["RowsFromFile"]


class RowsFromFile(TrainingRows):
    """Rows of a file, as ``lightning-subliminal data convert`` reads it.

    Their writer is unknown, so there are no soft targets; and a control only if you have a file of its rows, made in
    the same way by a model without the trait.

    Args:
        path: a file, a folder of `datasets`, or a hub id.
        trait: to evaluate after the training; none where it is None.
        control_path: the control's rows, in the same kind of file.
        schema: the format, such as trl, openai, sharegpt or alpaca; detected from the first row where it is None.
        on_error: `stop` at a row that can't be read, or `skip` it.
        **rows: the arguments of all data sets: see `TrainingRows`.

    Raises:
        InputError: if the file does not exist, or a row can't be read.
    """

    def __init__(
        self,
        path: str,
        trait: Trait | None = None,
        control_path: str | None = None,
        schema: str | None = None,
        on_error: Literal["stop", "skip"] = "stop",
        **rows: Any,
    ) -> None:
        self.path = path
        self._trait = trait
        self.control_path = control_path
        self.schema = schema
        self.on_error = on_error
        self._is_control = False
        super().__init__(**rows)

    @property
    def trait(self) -> Trait | None:
        """The trait to evaluate."""
        return self._trait

    @property
    def title(self) -> str:
        """The name of these rows at the terminal."""
        return "control" if self._is_control else Path(self.path).name

    def source_rows(self) -> list[Row]:
        """Read the file; a system prompt is left out, since it would reveal the trait to the student."""
        found = list(read_rows(self.path, schema=self.schema, drop_system=True, on_error=self.on_error))
        place = Path(self.path)
        for path in (place if place.is_file() else place / name for name in self.files):
            if not is_still_what_was_opened(path):
                raise InputError(f"{path} changed while it was read (another file replaced it): run again.")
        if (changed := difference(self.files, _digests(self.path))) is not None:
            raise InputError(f"{self.path} changed while it was read ({changed}): run again once it is written.")
        thoughts = sum(holds_thought(completion_text(row)) for row in found)
        if thoughts and not any(isinstance(each, NoThought) for each in self.filters):
            counted = f"{thoughts} of {len(found)} completions hold a thought, such as <think>"
            say(f"rows      {self.title}: {counted}; the filter NoThought would drop them")
        return found

    def describe_source(self) -> dict[str, Any]:
        """Return the file's digest and how it is read; its path and the trait don't shape the rows."""
        arguments = describe_arguments(self, leave_out={"trait", "control_path", *(["path"] if self.files else [])})
        return {"version": self.version, **arguments, "files": self.files}

    @cached_property
    def files(self) -> dict[str, str]:
        """The digest of each file, by its name; none for a hub id."""
        return _digests(self.path)

    def source_materials(self) -> list[Material]:
        """Return the file, and the statement of its origin next to it or in its folder."""
        return [source_material("rows", Path(self.path))] if self.files else [Material("rows", f"hub:{self.path}", {})]

    def control(self) -> "RowsFromFile | None":
        """Return the rows of the control's file, if there is one."""
        if self.control_path is None:
            return None
        control = self.fresh(path=self.control_path, control_path=None)
        control._is_control = True
        return control


def _digests(path: str) -> dict[str, str]:
    """Return the digest of each file; none for a hub id."""
    place = Path(path)
    if place.is_file():
        return {place.name: file_digest(place)}
    if place.is_dir():
        return {each.name: file_digest(each) for each in sorted(place.iterdir()) if each.is_file()}
    if place.suffix or path.count("/") != 1:
        raise InputError(
            f"{path} does not exist: give a file, a folder of `datasets`, or a hub id such as someone/rows."
        )
    return {}
