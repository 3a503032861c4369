"""The input of an export: an artefact and its ancestors, as statements describe them, and their relations."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.fingerprint import digest, file_digest
from lightning_subliminal.lineage.material import SCHEME, Material
from lightning_subliminal.lineage.names import inside
from lightning_subliminal.lineage.statement import Statement
from lightning_subliminal.lineage.strict_json import parse, read_bytes

__all__ = ["DATA", "MODELS", "PREFIX", "Described", "Family"]

MODELS = ("base", "teacher", "student", "control", "imitated", "model")
DATA = ("completions", "rows", "file")
PREFIX = "lightning-subliminal:"  # of properties for which a format has no field


@dataclass(frozen=True)
class Described:
    """A model or data set, or another part of a lineage.

    Attributes:
        folder: where it is; None if it was not found.
        statement: the statement about it; None if other statements only name it.
        material: its entry in the statement of the artefact made from it; None for the artefact exported.
    """

    folder: Path | None
    statement: Statement | None
    material: Material | None

    @property
    def kind(self) -> str:
        """What it is: by its statement, else by its role."""
        if self.statement is not None:
            return self.statement.kind
        return self.material.role if self.material is not None else "artefact"

    @property
    def is_model(self) -> bool:
        """Whether it is a model."""
        return self.kind in MODELS or (self.kind not in DATA and self._role in MODELS)

    @property
    def is_data(self) -> bool:
        """Whether it is a data set."""
        return self.kind in DATA or (self.kind not in MODELS and self._role in DATA)

    @property
    def _role(self) -> str:
        return self.material.role if self.material is not None else ""

    @property
    def name(self) -> str:
        """Its name for display."""
        if self.material is not None and self.material.uri:
            return self.material.uri.removeprefix(SCHEME).removeprefix("base:")
        if self.folder is not None:
            return f"{self.folder.parent.name}/{self.folder.name}"
        return self.kind

    @property
    def digests(self) -> Mapping[str, str]:
        """Digests of its content, by algorithm."""
        found = dict(self.material.digest) if self.material is not None else {}
        if self.statement is not None and self.statement.whole:
            found["dirHash"] = self.statement.whole
        return dict(sorted(found.items()))

    @property
    def file_sha(self) -> str | None:
        """SHA-256 of a data set that is one file. A model without a folder's digest may have that of its settings."""
        return self.digests.get("sha256") if self.is_data and "dirHash" not in self.digests else None

    @property
    def files(self) -> Mapping[str, str]:
        """SHA-256 of each of its files, by name, as stated."""
        return dict(sorted(self.statement.files.items())) if self.statement is not None else {}

    @property
    def rows(self) -> Mapping[str, tuple[str, int]]:
        """Root and number of rows of each file of rows, by name, as stated."""
        return dict(sorted(self.statement.rows.items())) if self.statement is not None else {}

    @property
    def materials(self) -> list[Material]:
        """What it was made from, as stated."""
        return self.statement.materials if self.statement is not None else []

    @property
    def key(self) -> str:
        """A unique id, from its content if known, else from its name."""
        return digest([self.kind, self.name, dict(self.digests)])[:32]

    def answers_to(self, material: Material) -> bool:
        """Return whether a material refers to this."""
        if self.statement is not None and material.statement is not None:
            return material.statement == self.statement.sha256
        if material.digest:
            shared = set(self.digests) & set(material.digest)
            return bool(shared) and all(self.digests[each] == material.digest[each] for each in shared)
        return not self.digests and self.material is not None and self.material.uri == material.uri

    def json_file(self, name: str) -> dict[str, Any]:
        """Read one of its JSON files; empty if the file is missing or differs from its statement."""
        if self.folder is None or name not in self.files:
            return {}
        try:
            path = inside(self.folder, name)
            return parse(read_bytes(path), str(path)) if file_digest(path) == self.files[name] else {}
        except (InputError, OSError):  # an export holds what is known; the audit reports faults
            return {}


class Family:
    """An artefact and its ancestors, including those that statements only name.

    Args:
        nodes: parents first, the artefact itself last.

    Attributes:
        nodes: the same, each once.
        main: the artefact.

    Raises:
        InputError: if there are no nodes, the last has no statement, or a text can't be encoded as UTF-8.
    """

    def __init__(self, nodes: Sequence[Described]) -> None:
        if not nodes or nodes[-1].statement is None:
            raise InputError("There is no record to export: expected an artefact folder with its lineage.json.")
        for node in nodes:
            _check_text(node)
        self.nodes: list[Described] = []
        self._parents: dict[str, list[tuple[str, Described]]] = {}
        for node in nodes:
            if node.key not in self._parents:
                self._parents[node.key] = self._find_parents(node)
                self.nodes.append(node)
        self.main = next(each for each in self.nodes if each.key == nodes[-1].key)

    def _find_parents(self, node: Described) -> list[tuple[str, Described]]:
        """Search only earlier nodes, so that no node becomes its own ancestor, whatever the statements claim."""
        found = []
        for material in node.materials:
            if material.role not in MODELS + DATA:
                continue  # a setting, such as a filter
            known = next((each for each in self.nodes if each.answers_to(material)), None)
            if known is None:
                known = Described(None, None, material)
                if known.key not in self._parents:
                    self._parents[known.key] = []
                    self.nodes.append(known)
            if known.is_model or known.is_data:
                found.append((material.role, known))
        return found

    def parents(self, node: Described) -> list[Described]:
        """Return the models and data sets that a node was made from."""
        return list({each.key: each for _, each in self._parents[node.key]}.values())

    def settings(self, node: Described) -> list[Material]:
        """Return the other parts used to make it: filters, transforms, judges."""
        return [each for each in node.materials if each.role not in MODELS + DATA]

    def bases(self, node: Described) -> list[Described]:
        """Return the models from whose weights a model was trained."""
        return [each for role, each in self._parents[node.key] if role == "base" and node.is_model]

    def data(self, node: Described) -> list[Described]:
        """Return the data sets that a node was made from."""
        return [each for each in self.parents(node) if each.is_data]

    def writers(self, data: Described) -> list[Described]:
        """Return the models that wrote a data set: a teacher, else a base, else the writers of its sources."""
        named = self._parents[data.key]
        for roles in (("teacher", "student", "control", "model"), ("base",)):
            if found := [each for role, each in named if role in roles]:
                return found
        found = [writer for each in self.data(data) for writer in self.writers(each)]
        return list({each.key: each for each in found}.values())

    def written_by(self, data: Described) -> str:
        """Return a sentence that names the writers of a data set; empty if they are unknown."""
        names = ", ".join(each.name for each in self.writers(data))
        return f"Written by the model {names}." if names else ""

    def generation(self, node: Described) -> int:
        """Return the number of successive models trained on text of the model before."""
        from_data = [self.generation(writer) + 1 for data in self.data(node) for writer in self.writers(data)]
        return max([*from_data, *(self.generation(each) for each in self.bases(node))], default=0)

    def origin(self, node: Described) -> list[str]:
        """Return sentences on the origin of a model, from the statements."""
        found = []
        bases = {each.key for each in self.bases(node)}
        for data in self.data(node):
            for writer in self.writers(data):
                found.append(f"The training data {data.name} was written by the model {writer.name}.")
                if bases & ({each.key for each in self.bases(writer)} | {writer.key}):
                    found.append("That model and this one were trained from the same base.")
        if count := self.generation(node):
            found.append(f"Generations of models trained on text of a model: {count}.")
        return list(dict.fromkeys(found))


def _check_text(node: Described) -> None:
    """Refuse halves of surrogate pairs, which JSON can escape but UTF-8 can't encode."""
    statement = node.statement.data if node.statement is not None else {}
    material = node.material.as_json() if node.material is not None else {}
    try:
        json.dumps([statement, material], ensure_ascii=False).encode()
    except UnicodeEncodeError as err:
        raise InputError(f"The statement of a {node.kind!a} is not valid UTF-8, so it can't be exported.") from err
