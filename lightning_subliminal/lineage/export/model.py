"""What an export is made from: an artefact and its ancestors, as statements describe them, and their ties."""

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

__all__ = ["DATA", "MODELS", "PREFIX", "Described", "Family", "Metric"]

MODELS = ("base", "teacher", "student", "control", "imitated", "model")
DATA = ("completions", "rows", "file")
PREFIX = "lightning-subliminal:"  # of properties that a format has no field for


@dataclass(frozen=True)
class Described:
    """A model or data set, or another part of a lineage.

    Attributes:
        folder: where it is; None where it is not at hand.
        statement: what is said of it; None where it is only named.
        material: how the artefact made from it names it; None for one that nothing was made from.
    """

    folder: Path | None
    statement: Statement | None
    material: Material | None

    @property
    def kind(self) -> str:
        """What it is: by its statement, else by the role that it had."""
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
        """What people call it."""
        if self.material is not None and self.material.uri:
            return self.material.uri.removeprefix(SCHEME).removeprefix("base:")
        if self.folder is not None:
            return f"{self.folder.parent.name}/{self.folder.name}"
        return self.kind

    @property
    def digests(self) -> Mapping[str, str]:
        """Digests of what it holds, by algorithm."""
        told = dict(self.material.digest) if self.material is not None else {}
        if self.statement is not None and self.statement.whole:
            told["dirHash"] = self.statement.whole
        return dict(sorted(told.items()))

    @property
    def file_sha(self) -> str | None:
        """SHA-256 of a data set that is one file; a model's, without a folder's digest, may be that of settings."""
        return self.digests.get("sha256") if self.is_data and "dirHash" not in self.digests else None

    @property
    def files(self) -> Mapping[str, str]:
        """SHA-256 of each of its files, by name, as its statement has them."""
        return dict(sorted(self.statement.files.items())) if self.statement is not None else {}

    @property
    def key(self) -> str:
        """A name that no other node has: from what it holds, else from what it is called."""
        return digest([self.kind, self.name, dict(self.digests)])[:32]

    def answers_to(self, material: Material) -> bool:
        """Tell whether a material means this."""
        if self.statement is not None and material.statement is not None:
            return material.statement == self.statement.sha256
        if material.digest:
            shared = set(self.digests) & set(material.digest)
            return bool(shared) and all(self.digests[each] == material.digest[each] for each in shared)
        return not self.digests and self.material is not None and self.material.uri == material.uri

    def json_file(self, name: str) -> dict[str, Any]:
        """Return what a JSON file of it says; nothing where it is not as the statement has it."""
        if self.folder is None or name not in self.files:
            return {}
        try:
            path = inside(self.folder, name)
            return parse(read_bytes(path), str(path)) if file_digest(path) == self.files[name] else {}
        except (InputError, OSError):  # an export tells what is known; what is wrong is for the audit
            return {}


@dataclass(frozen=True)
class Metric:
    """A figure that whoever exports vouches for.

    Attributes:
        type: what was measured, such as ``owl rate``.
        value: the figure.
        low: lower end of its interval.
        high: its upper end.
        slice: of what it was measured on.
    """

    type: str
    value: float
    low: float | None = None
    high: float | None = None
    slice: str | None = None


class Family:
    """An artefact and its ancestors; those that a statement only names are there too.

    Args:
        nodes: parents first, the artefact itself last.

    Attributes:
        nodes: the same, each once.
        main: the artefact.

    Raises:
        InputError: if there are none, the last has no statement, or one holds what is no text.
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
        """Look among the nodes before it only: so whatever statements say, nothing is its own ancestor."""
        found = []
        for material in node.statement.materials if node.statement is not None else []:
            if material.role not in MODELS + DATA:
                continue  # a part of the set-up, such as a filter
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
        """Return the models and data sets that one was made from."""
        return list({each.key: each for _, each in self._parents[node.key]}.values())

    def settings(self, node: Described) -> list[Material]:
        """Return the other parts that it was made with: filters, transforms, judges."""
        found = node.statement.materials if node.statement is not None else []
        return [each for each in found if each.role not in MODELS + DATA]

    def bases(self, node: Described) -> list[Described]:
        """Return the models whose weights a model goes on from."""
        return [each for role, each in self._parents[node.key] if role == "base" and node.is_model]

    def data(self, node: Described) -> list[Described]:
        """Return the data sets that one was made from."""
        return [each for each in self.parents(node) if each.is_data]

    def writers(self, data: Described) -> list[Described]:
        """Return the models that wrote a data set: a teacher, else a base, else those of its sources."""
        named = self._parents[data.key]
        for roles in (("teacher", "student", "control", "model"), ("base",)):
            if found := [each for role, each in named if role in roles]:
                return found
        found = [writer for each in self.data(data) for writer in self.writers(each)]
        return list({each.key: each for each in found}.values())

    def generation(self, node: Described) -> int:
        """Return how many times in a row a model was trained on what a model before it wrote."""
        from_data = [self.generation(writer) + 1 for data in self.data(node) for writer in self.writers(data)]
        return max([*from_data, *(self.generation(each) for each in self.bases(node))], default=0)

    def told(self, node: Described) -> list[str]:
        """Say in sentences what the statements say of how a model came about."""
        said = []
        bases = {each.key for each in self.bases(node)}
        for data in self.data(node):
            for writer in self.writers(data):
                said.append(f"The training data {data.name} was written by the model {writer.name}.")
                if bases & ({each.key for each in self.bases(writer)} | {writer.key}):
                    said.append("That model and this one go on from the same base.")
        if count := self.generation(node):
            said.append(f"Generations of models trained on what a model wrote: {count}.")
        return list(dict.fromkeys(said))


def _check_text(node: Described) -> None:
    """Refuse halves of surrogate pairs, which JSON can write as escapes and no UTF-8 document can hold."""
    told = [node.statement.data if node.statement is not None else {}]
    told += [node.material.as_json() if node.material is not None else {}]
    try:
        json.dumps(told, ensure_ascii=False).encode()
    except UnicodeEncodeError as err:
        raise InputError(f"The statement of a {node.kind!a} holds half a character, so it can't be told.") from err
