"""The parents of an artefact: find them on this disk, and check that they are what its statement names."""

from dataclasses import replace
from pathlib import Path

from lightning_subliminal.audit.digests import Digests
from lightning_subliminal.audit.locate import BASE, Places, named_base, read_beside
from lightning_subliminal.audit.node import Node, label_of
from lightning_subliminal.bases.folders import has_whole_weights, model_files
from lightning_subliminal.bases.hub import is_hub_id
from lightning_subliminal.core.errors import InputError, UnreadableError
from lightning_subliminal.core.io.adapter_names import adapter_files
from lightning_subliminal.lineage.import_card import card_claims
from lightning_subliminal.lineage.material import SCHEME, Material
from lightning_subliminal.lineage.names import RECORD, artefact_files, dir_hash
from lightning_subliminal.lineage.statement import Statement

__all__ = ["Parents"]

_Report = tuple[str, str, object]  # of a finding: rule, message, path


class Parents:
    """Parents on this disk, each read once, however many artefacts were made from it.

    Args:
        places: folders in which parents may be.
        digests: remembers digests.
    """

    def __init__(self, places: Places, digests: Digests) -> None:
        self.places, self.digests = places, digests
        self._parents: dict[tuple[object, ...], tuple[Node | None, list[_Report]]] = {}
        self._statements: dict[Path, Statement | Exception | None] = {}
        self._bases: dict[Path, tuple[Path | None, bool]] = {}
        self._wholes: dict[tuple[Path, bool], str | None] = {}

    def get(self, material: Material, child: Path | None) -> tuple[Node | None, list[_Report]]:
        """Return a parent's node, None if it can't be named, and the findings for its child."""
        opened, is_fixed = None, False
        if child is not None and material.role in ("base", "student"):
            opened, is_fixed = self._opened(material, child)
        named = (material.role, material.uri, tuple(sorted(material.digest.items())), material.statement)
        key = (*named, opened, is_fixed)
        if key not in self._parents:
            self._parents[key] = self._resolve(material, opened, is_fixed)
        return self._parents[key]

    def node(self, path: Path, material: Material | None) -> Node:
        """Return the node of an artefact on this disk."""
        node = Node(str(path), label_of(material, path), path, material=material)
        try:
            node.statement = self._statement(path)
        except (UnreadableError, OSError) as err:
            node.report("unreadable", f"its statement: {err}", path)
            return node
        except InputError as err:
            node.report("bad-statement", str(err), path)
            return node
        if node.statement is None:
            with node.guarding("its card"):
                node.claims = _claims(node, path)
            with node.guarding("its content"):
                node.report("no-statement" if material is None else "unknown-origin", _without_statement(path))
        return node

    def _statement(self, path: Path) -> Statement | None:
        if path not in self._statements:
            try:
                self._statements[path] = read_beside(path)
            except (InputError, OSError) as err:
                self._statements[path] = err
        found = self._statements[path]
        if isinstance(found, Exception):
            raise found
        return found

    def _opened(self, material: Material, child: Path) -> tuple[Path | None, bool]:
        """Return what a loader of ``child`` opens for a parent, and whether the base must be where its name leads."""
        if material.role == "student":
            place = child / "student"
            is_inside = material.uri.startswith(SCHEME) and material.uri.endswith("/student") and place.is_dir()
            return (place if is_inside else None), False
        if child not in self._bases:
            is_adapter = child.is_dir() and adapter_files(child) is not None and not has_whole_weights(child)
            self._bases[child] = named_base(child), is_adapter
        return self._bases[child]

    def _resolve(self, material: Material, opened: Path | None, is_fixed: bool) -> tuple[Node | None, list[_Report]]:
        """Find a parent. A copy elsewhere is accepted, except for a parent that a loader of the child opens."""
        is_place = material.uri.startswith((SCHEME, BASE))
        named = Node(f"{material.uri}@{_pin(material)}", label_of(material, None), material=material)
        if not is_place:
            known = "name and digest" if material.digest else "name"
            named.report("unknown-origin", f"only its {known} is known")
            return named, []
        wrong = None
        try:
            hinted = list(self.places.hinted(material)) if opened is None else [opened]
            for path in hinted:
                node = self.node(path, material)
                wrong = self._mismatch(node, material)
                if wrong is None:
                    return node, []
        except (UnreadableError, PermissionError) as err:
            return None, [("unreadable", f"the {material.role} that it names: {err}", "")]
        except (InputError, OSError, RuntimeError) as err:  # such as a name too long for this disk, or ~unknown
            return None, [("unsafe-path", f"the {material.role} that it names: {err}", "")]
        if opened is None and not (is_fixed and hinted):
            place = self.places.by_statement.get(material.statement or "")
            if place is not None and self._mismatch(found := self.node(place, material), material) is None:
                return found, []
        what = f"{material.role} {label_of(material, None)}"
        if wrong is not None:
            node.key += f"@{_pin(material)}"  # another child may rightly name the node of the plain key
            return node, [("wrong-parent", f"{what}: {wrong}", hinted[-1])]
        if is_hub_id(material.uri.removeprefix(BASE)) and material.statement is None:
            named.report("unknown-origin", f"{what} is not on this machine: only its name and digest are known")
            return named, []
        message = f"{what} ({_pin(material)[:16]}) was not found: --search FOLDER adds a folder to search"
        return named, [("missing-parent", message, "")]

    def _mismatch(self, node: Node, material: Material) -> str | None:
        """Return why an artefact is not the material, None if it is. Its statement's claims alone don't suffice."""
        path, statement, is_base = node.path or Path(), node.statement, material.uri.startswith(BASE)
        is_restated = False
        if material.statement is not None:
            if statement is None:
                unread = [each.says for each in node.findings if each.rule in ("bad-statement", "unreadable")]
                return unread[0] if unread else "its statement is missing now"
            if statement.sha256 != material.statement:
                is_same = statement.whole == material.digest.get("dirHash")
                is_restated = is_same and is_base
                if is_same and not is_base:
                    return "its statement was changed, though the digests in it are the same"
                if not is_same:
                    whole = str(statement.whole)[:16]
                    return f"its statement is about something else ({whole}, not {_pin(material)[:16]})"
            elif not is_base:
                return None  # the statement is the same: changed files are reported one by one
        expected, found = _expected(material, path), self._whole(path, is_base)
        if expected is not None and found != expected:
            return f"its content has the digest {str(found)[:16]}, not {expected[:16]}"
        if is_restated:
            node.report("restated", "its statement was changed since its child was made, its files were not")
        return None

    def _whole(self, path: Path, is_base: bool) -> str | None:
        """Return the present digest: of a base's model files, of all files of another folder, or of a file."""
        if not path.is_dir():
            return self.digests.get(path)
        if (path, is_base) not in self._wholes:
            if is_base:  # a base may hold links, as in the Hub's cache
                paths = model_files(path)
            else:
                paths = {name: path / name for name in artefact_files(path) if not (path / name).is_symlink()}
            files = {name: self.digests.get(each) or "unreadable" for name, each in paths.items()}
            self._wholes[path, is_base] = dir_hash(files)
        return self._wholes[path, is_base]


def _without_statement(path: Path) -> str:
    """Return the message for an artefact without a statement, with what to do."""
    message = "it has no statement of what it was made from"
    if path.is_file() and (path.parent / RECORD).is_file():
        return f"{message}; it is a file of an artefact: audit {path.parent}"
    if path.is_dir() and not any(path.iterdir()):
        return f"{message}; the folder is empty"
    if path.is_dir() and (inside := sorted(path.glob(f"*/{RECORD}"))):
        of = "1 artefact that has one" if len(inside) == 1 else f"{len(inside):,} artefacts that have one"
        return f"{message}; it holds {of}: audit {inside[0].parent}"
    return f"{message}; `lineage add` declares what is known of it"


def _claims(node: Node, path: Path) -> list[Material]:
    if not path.is_dir():
        return []
    try:
        claims = card_claims(path)
    except InputError as err:
        node.report("unverified-claim", f"its card can't be read ({err})", path)
        return []
    for each in claims:
        node.report("unverified-claim", f"its card names {each.uri} as its {each.role}", path)
    return [replace(each, uri=f"{BASE}{each.uri}") if each.role == "base" else each for each in claims]


def _expected(material: Material, path: Path) -> str | None:
    """Return the digest by which a material was named: of a folder, or of a file."""
    folder, file = material.digest.get("dirHash"), material.digest.get("sha256")
    return folder if file is None or (folder is not None and path.is_dir()) else file


def _pin(material: Material) -> str:
    return next(iter(material.digest.values()), "no digest")
