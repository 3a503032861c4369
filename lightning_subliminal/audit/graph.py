"""Walks from an artefact to all that it was made from, and checks each of them once."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lightning_subliminal.audit.checks import (
    check_files,
    check_rows,
    check_signatures,
    check_statement,
    plain_files,
    size_of,
)
from lightning_subliminal.audit.digests import Digests
from lightning_subliminal.audit.locate import BASE, Places, named_base, read_beside
from lightning_subliminal.audit.node import Link, Node, label_of
from lightning_subliminal.bases.folder_checks import read_elsewhere
from lightning_subliminal.bases.folders import has_whole_weights, model_files
from lightning_subliminal.bases.hub import is_hub_id
from lightning_subliminal.bases.lookup import POCKET
from lightning_subliminal.core.errors import InputError, UnreadableError
from lightning_subliminal.core.io.adapter_names import adapter_files, holds_model
from lightning_subliminal.core.io.bounds import MAX_ARTEFACTS, MAX_LINKS
from lightning_subliminal.lineage.material import SCHEME, Material
from lightning_subliminal.lineage.names import RECORD, artefact_files, dir_hash
from lightning_subliminal.lineage.signatures.keys import TrustedKey
from lightning_subliminal.lineage.statement import Statement

__all__ = ["Graph", "walk"]

# Roles of parts whose class and settings are all there is to know: they have no files.
_SETTINGS = ("filter", "transform", "measure", "margin", "data")


@dataclass
class Graph:
    """What an artefact was made from, all the way down.

    Attributes:
        root: key of the artefact.
        nodes: by their keys, children before parents.
        digests: what was digested.
    """

    root: str
    nodes: dict[str, Node]
    digests: Digests

    def above(self, key: str, roles: Sequence[str] | None = None) -> list[Node]:
        """Return a node and all that it was made from, by links of some roles alone; nearest first."""
        seen, waiting = {key: self.nodes[key]}, deque([key])
        while waiting:
            for link in self.nodes[waiting.popleft()].links:
                if link.key not in seen and (roles is None or link.role in roles):
                    seen[link.key] = self.nodes[link.key]
                    waiting.append(link.key)
        return list(seen.values())


def walk(
    path: Path,
    keys: Sequence[TrustedKey] = (),
    search: Sequence[Path] = (),
    digests: Digests | None = None,
    tick: Callable[[int], None] = lambda size: None,
    begin: Callable[[int], None] = lambda size: None,
) -> Graph:
    """Walk and check.

    Args:
        path: an artefact's folder, a file with a statement beside it, or a model's folder without one.
        keys: public keys that are trusted; none to trust nobody.
        search: further folders in which parents may lie.
        digests: remembers digests; a new one where it is None.
        tick: is told of bytes digested.
        begin: is told of all bytes to digest.

    Raises:
        InputError: if there is nothing at ``path``.
    """
    try:
        is_there = path.exists()
    except OSError as err:
        raise InputError(f"{path} can't be reached ({err.strerror}): give one that you may read.") from err
    if not is_there:
        raise InputError(f"{path} is not there: give an artefact's folder, such as runs/NAME/student, or a data file.")
    path = path.absolute()
    digests = digests or Digests()
    disk = _Disk(Places(path if path.is_dir() else path.parent, search), digests)
    graph = Graph("", {}, digests)
    root = _found(path, None, disk)
    graph.root = root.key
    graph.nodes[root.key] = root
    waiting, count = deque([root.key]), 0
    while waiting:
        node = graph.nodes[waiting.popleft()]
        links: dict[Link, None] = {}
        for material in node.statement.materials if node.statement is not None else node.claims:
            if _is_setting(material):
                node.settings.append(material)
                continue
            parent = None
            with node.guarding(f"the {material.role} {label_of(material, None)[:200]}"):
                parent, told = disk.parent(material, node.path)
                for finding in told:
                    node.find(*finding)
            if parent is None:
                continue
            if parent.key not in graph.nodes:
                graph.nodes[parent.key] = parent
                waiting.append(parent.key)
            links[Link(material.role, parent.key)] = None
        node.links += links
        count += len(links)
        MAX_ARTEFACTS.check(len(graph.nodes), f"{path} was made from more than {MAX_ARTEFACTS:,} artefacts")
        MAX_LINKS.check(count, f"The artefacts behind {path} have more than {MAX_LINKS:,} links")
    _cycles(graph)
    files = [path for node in graph.nodes.values() for path in plain_files(node)]
    begin(sum(size_of(each) for each in files))
    digests.add(files, tick)
    for node in graph.nodes.values():
        with node.guarding("its statement"):
            check_statement(node)
        with node.guarding("its files"):
            check_files(node, digests)
        with node.guarding("its rows"):
            check_rows(node, digests)
        with node.guarding("what a loader reads"):
            for away in read_elsewhere(node.path) if node.path is not None and node.path.is_dir() else ():
                node.find("read-elsewhere", away)
            _check_model_in_run(graph, node)
    _check_signatures(graph, keys)
    digests.keep()
    return graph


_Told = tuple[str, str, object]  # a finding: rule, words, path


class _Disk:
    """What lies on this disk, each thing read once, however many artefacts were made from it.

    Args:
        places: where parents may lie.
        digests: remembers digests.
    """

    def __init__(self, places: Places, digests: Digests) -> None:
        self.places, self.digests = places, digests
        self._parents: dict[tuple[object, ...], tuple[Node | None, list[_Told]]] = {}
        self._statements: dict[Path, Statement | Exception | None] = {}
        self._stands_on: dict[Path, tuple[Path | None, bool]] = {}
        self._wholes: dict[tuple[Path, bool], str | None] = {}

    def parent(self, material: Material, child: Path | None) -> tuple[Node | None, list[_Told]]:
        """Return the node of a parent, if there is one, and what is to be said at its child."""
        opened, is_fixed = None, False
        if child is not None and material.role in ("base", "student"):
            opened, is_fixed = self._opened(material, child)
        named = (material.role, material.uri, tuple(sorted(material.digest.items())), material.statement)
        key = (*named, opened, is_fixed)
        if key not in self._parents:
            self._parents[key] = _parent(material, self, opened, is_fixed)
        return self._parents[key]

    def _opened(self, material: Material, child: Path) -> tuple[Path | None, bool]:
        """Return what a loader of ``child`` opens for a parent, and whether its base is where its name leads alone."""
        if material.role == "student":
            place = child / "student"
            is_inside = material.uri.startswith(SCHEME) and material.uri.endswith("/student") and place.is_dir()
            return (place if is_inside else None), False
        if child not in self._stands_on:
            self._stands_on[child] = named_base(child), _is_adapter(child)
        return self._stands_on[child]

    def statement(self, path: Path) -> Statement | None:
        """Read the statement about an artefact.

        Raises:
            InputError: if it is no strict statement, or a link.
        """
        if path not in self._statements:
            try:
                self._statements[path] = read_beside(path)
            except (InputError, OSError) as err:
                self._statements[path] = err
        found = self._statements[path]
        if isinstance(found, Exception):
            raise found
        return found

    def whole(self, path: Path, is_base: bool) -> str | None:
        """Return the digest of what lies there now."""
        if (path, is_base) not in self._wholes:
            self._wholes[path, is_base] = _digest_now(path, is_base, self.digests)
        return self._wholes[path, is_base]


def _found(path: Path, material: Material | None, disk: _Disk) -> Node:
    """Make the node of something that lies on this disk."""
    node = Node(str(path), label_of(material, path), path, material=material)
    try:
        node.statement = disk.statement(path)
    except (UnreadableError, OSError) as err:
        node.find("unreadable", f"its statement: {err}", path)
        return node
    except InputError as err:
        node.find("bad-statement", str(err), path)
        return node
    if node.statement is None:
        with node.guarding("its card"):
            node.claims = _claims(node, path)
        with node.guarding("what lies there"):
            node.find("no-statement" if material is None else "unknown-origin", _without_statement(path))
    return node


def _without_statement(path: Path) -> str:
    """Say what to do about something without a statement."""
    says = "no statement says what it was made from"
    if path.is_file() and (path.parent / RECORD).is_file():
        return f"{says}; it lies in an artefact: audit {path.parent}"
    if path.is_dir() and not any(path.iterdir()):
        return f"{says}; the folder is empty"
    return f"{says}; `lineage add` declares what somebody knows of it"


def _claims(node: Node, path: Path) -> list[Material]:
    if not path.is_dir():
        return []
    from lightning_subliminal.lineage.import_card import card_claims

    try:
        claims = card_claims(path)
    except InputError as err:
        node.find("unverified-claim", f"its card can't be read ({err})", path)
        return []
    for each in claims:
        node.find("unverified-claim", f"its card names {each.uri} as its {each.role}", path)
    return [replace(each, uri=f"{BASE}{each.uri}") if each.role == "base" else each for each in claims]


def _is_setting(material: Material) -> bool:
    """Return whether a material is a setting, which its child keeps, and not an artefact."""
    is_place = material.uri.startswith((SCHEME, BASE))
    return material.role in _SETTINGS or (not is_place and material.uri.startswith("lightning_subliminal."))


def _check_model_in_run(graph: Graph, node: Node) -> None:
    """Look for a model in a run's folder that its statement does not name, and that its name would load."""
    path, statement = node.path, node.statement
    if path is None or statement is None or not statement.shares_folder or node.kind == "base":
        return
    inner = path / "student"
    if holds_model(inner) and inner not in [graph.nodes[link.key].path for link in node.links]:
        node.find("read-elsewhere", "loaders open student/ for this folder, which the statement does not name", inner)


def _is_adapter(path: Path) -> bool:
    """Return whether a folder holds an adapter alone, which a loader puts on its base."""
    return path.is_dir() and adapter_files(path) is not None and not has_whole_weights(path)


def _parent(material: Material, disk: _Disk, opened: Path | None, is_fixed: bool) -> tuple[Node | None, list[_Told]]:
    """Return the node of a parent, if there is one, and what is to be said at its child.

    A copy elsewhere will do, but not for what a loader of the child opens.
    """
    is_place = material.uri.startswith((SCHEME, BASE))
    named = Node(f"{material.uri}@{_pin(material)}", label_of(material, None), material=material)
    if not is_place:
        named.find("unknown-origin", f"only its {'name' if not material.digest else 'name and digest'} is known")
        return named, []
    wrong = None
    try:
        hinted = list(disk.places.hinted(material)) if opened is None else [opened]
        for path in hinted:
            node = _found(path, material, disk)
            wrong = _mismatch(node, material, disk)
            if wrong is None:
                return node, []
    except (UnreadableError, PermissionError) as err:
        return None, [("unreadable", f"the {material.role} that it names: {err}", "")]
    except (InputError, OSError, RuntimeError) as err:  # a name too long for this disk, or a home of nobody
        return None, [("unsafe-path", f"the {material.role} that it names: {err}", "")]
    if opened is not None or (is_fixed and hinted):
        known = None
    else:  # looked through only where the place doesn't say it
        known = disk.places.by_statement.get(material.statement or "")
    if known is not None and _mismatch(found := _found(known, material, disk), material, disk) is None:
        return found, []
    if wrong is not None:
        node.key += f"@{_pin(material)}"  # not the one that another child may rightly name
        return node, [("wrong-parent", f"{material.role} {label_of(material, None)}: {wrong}", hinted[-1])]
    what = f"{material.role} {label_of(material, None)}"
    if is_hub_id(material.uri.removeprefix(BASE)) and material.statement is None:
        named.find("unknown-origin", f"{what} is not on this machine: it is known by name and digest alone")
        return named, []
    says = f"{what} ({_pin(material)[:16]}) is not at hand: --search FOLDER looks further"
    return named, [("missing-parent", says, "")]


def _mismatch(node: Node, material: Material, disk: _Disk) -> str | None:
    """Tell why something on this disk is not the material; None where it is. What a statement claims is not enough."""
    path, statement = node.path or Path(), node.statement
    restated = False
    if material.statement is not None:
        if statement is None:
            unread = [each.says for each in node.findings if each.rule in ("bad-statement", "unreadable")]
            return unread[0] if unread else "it has no statement now, and had one then"
        if statement.sha256 != material.statement:
            same = statement.whole == material.digest.get("dirHash")
            restated = same and material.uri.startswith(BASE)
            if not restated:
                return (
                    "its statement is not the one of then, though the digests in it are"
                    if same
                    else f"its statement is of something else ({str(statement.whole)[:16]}, not {_pin(material)[:16]})"
                )
        elif not material.uri.startswith(BASE):
            return None  # it is the statement of then: where files differ from it, that is told by file
    expected, found = _expected(material, path), disk.whole(path, material.uri.startswith(BASE))
    if expected is not None and found != expected:
        return f"what it holds has the digest {str(found)[:16]}, not {expected[:16]}"
    if restated:
        node.find("restated", "its statement is not the one of when its child was made; its files are")
    return None


def _expected(material: Material, path: Path) -> str | None:
    """Return the digest that a material was named by: of a folder, or of a file."""
    folder, file = material.digest.get("dirHash"), material.digest.get("sha256")
    if file is None or (folder is not None and path.is_dir()):
        return folder
    return file


def _digest_now(path: Path, is_base: bool, digests: Digests) -> str | None:
    """Return the digest of what lies there: of a model's own files for a base, of all for another folder."""
    if not path.is_dir():
        return digests.get(path)
    if is_base:  # as a hub's cache does, a base may hold links
        files = {name: digests.get(each) for name, each in model_files(path).items()}
    else:
        files = {name: digests.get(path / name) for name in artefact_files(path) if not (path / name).is_symlink()}
    return dir_hash({name: sha or "unreadable" for name, sha in files.items()})


def _pin(material: Material) -> str:
    return next(iter(material.digest.values()), "no digest")


def _cycles(graph: Graph) -> None:
    """Note nodes that lead back to themselves."""
    state: dict[str, int] = {}
    stack: list[tuple[str, bool]] = [(graph.root, False)]
    while stack:
        key, done = stack.pop()
        if done:
            state[key] = 2
            continue
        if state.get(key):
            continue
        state[key] = 1
        stack.append((key, True))
        for link in graph.nodes[key].links:
            if state.get(link.key) == 1:
                graph.nodes[key].find("cycle", f"its {link.role} {graph.nodes[link.key].label} was made from it")
            elif not state.get(link.key):
                stack.append((link.key, False))


def _check_signatures(graph: Graph, keys: Sequence[TrustedKey]) -> None:
    """Check children before parents: a child that somebody trusted has signed vouches for what a base holds."""
    vouched: set[str] = set()
    for node in graph.nodes.values():
        # By the statement of then; of a base inside this package, whose code the auditor runs, by what it holds.
        ours = node.path is not None and node.path.parent == POCKET
        named = node.material.digest.values() if node.material is not None and ours else ()
        told = [node.statement.sha256] if node.kind == "base" and node.statement is not None else []
        pinned = bool(vouched & {*named, *told})
        with node.guarding("its signatures"):
            check_signatures(node, keys, pinned)
        if node.statement is not None and (node.signers or pinned):
            vouched |= {each.statement for each in node.statement.materials if each.statement}
            vouched |= {sha for each in node.statement.materials for sha in each.digest.values()}
