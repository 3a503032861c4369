"""The walk of an audit: from an artefact to everything it was made from, each artefact checked once."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lightning_subliminal.audit import checks
from lightning_subliminal.audit.digests import Digests
from lightning_subliminal.audit.locate import BASE, Places
from lightning_subliminal.audit.node import Link, Node, label_of
from lightning_subliminal.audit.parents import Parents
from lightning_subliminal.bases.folder_checks import read_elsewhere
from lightning_subliminal.bases.lookup import POCKET
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.io.adapter_names import holds_model
from lightning_subliminal.core.io.bounds import MAX_ARTEFACTS, MAX_LINKS
from lightning_subliminal.lineage.material import SCHEME
from lightning_subliminal.lineage.signatures.keys import TrustedKey

__all__ = ["Graph", "walk"]

# Roles of parts that are defined by class and settings: they have no files.
_SETTINGS = ("filter", "transform", "measure", "margin", "data")


@dataclass
class Graph:
    """An artefact and everything it was made from.

    Attributes:
        root: key of the artefact.
        nodes: by key, children before parents.
        digests: the digests computed.
    """

    root: str
    nodes: dict[str, Node]
    digests: Digests

    def upstream(self, key: str, roles: Sequence[str] | None = None) -> list[Node]:
        """Return a node and everything it was made from, nearest first; through links of some roles only, if given."""
        seen, waiting = {key: self.nodes[key]}, deque([key])
        while waiting:
            for link in self.nodes[waiting.popleft()].links:
                if link.key not in seen and (roles is None or link.role in roles):
                    seen[link.key] = self.nodes[link.key]
                    waiting.append(link.key)
        return list(seen.values())

    def parents_first(self, ignored: Sequence[str] = ()) -> list[Node]:
        """Return the artefact and everything it was made from, parents first as far as there are no cycles.

        Args:
            ignored: roles of links that are not followed.
        """
        seen, found = set[str](), list[Node]()
        stack = [(self.root, False)]
        while stack:
            key, is_left = stack.pop()
            if is_left:
                found.append(self.nodes[key])
            elif key not in seen:
                seen.add(key)
                stack.append((key, True))
                stack += [(link.key, False) for link in self.nodes[key].links if link.role not in ignored]
        return found


def walk(
    path: Path,
    keys: Sequence[TrustedKey] = (),
    search: Sequence[Path] = (),
    digests: Digests | None = None,
    tick: Callable[[int], None] = lambda size: None,
    begin: Callable[[int], None] = lambda size: None,
) -> Graph:
    """Walk from an artefact to its bases and check each artefact.

    Args:
        path: an artefact's folder, a file with a statement next to it, or a model's folder without one.
        keys: trusted public keys; empty to trust no one.
        search: further folders in which parents may be.
        digests: remembers digests; None for a new one.
        tick: called with numbers of bytes as they are digested.
        begin: called with the number of all bytes to digest.

    Raises:
        InputError: if ``path`` does not exist.
    """
    try:
        exists = path.exists()
    except OSError as err:
        raise InputError(f"{path} can't be reached ({err.strerror}): give a path that you may read.") from err
    if not exists:
        raise InputError(f"{path} was not found: give an artefact's folder, such as runs/NAME/student, or a data file.")
    path = path.absolute()
    digests = digests or Digests()
    parents = Parents(Places(path if path.is_dir() else path.parent, search), digests)
    root = parents.node(path, None)
    graph = Graph(root.key, {root.key: root}, digests)
    waiting, count = deque([root.key]), 0
    while waiting:
        node = graph.nodes[waiting.popleft()]
        links: dict[Link, None] = {}
        for material in node.statement.materials if node.statement is not None else node.claims:
            is_place = material.uri.startswith((SCHEME, BASE))
            if material.role in _SETTINGS or (not is_place and material.uri.startswith("lightning_subliminal.")):
                node.settings.append(material)
                continue
            parent = None
            with node.guarding(f"the {material.role} {label_of(material, None)[:200]}"):
                parent, reports = parents.get(material, node.path)
                for report in reports:
                    node.report(*report)
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
    places = {node.key: place for place, node in enumerate(graph.parents_first())}
    for node in graph.nodes.values():
        for link in node.links:
            if places[link.key] >= places[node.key]:
                node.report("cycle", f"its {link.role} {graph.nodes[link.key].label} was made from it")
    files = [path for node in graph.nodes.values() for path in checks.plain_files(node)]
    begin(sum(checks.size_of(each) for each in files))
    digests.add(files, tick)
    for node in graph.nodes.values():
        with node.guarding("its statement"):
            checks.check_statement(node)
        with node.guarding("its files"):
            checks.check_files(node, digests)
        with node.guarding("its rows"):
            checks.check_rows(node, digests)
        with node.guarding("the files that loaders read"):
            for away in read_elsewhere(node.path) if node.path is not None and node.path.is_dir() else ():
                node.report("read-elsewhere", away)
            _check_model_in_run(graph, node)
    _check_signatures(graph, keys)
    digests.keep()
    return graph


def _check_model_in_run(graph: Graph, node: Node) -> None:
    """Report a model in a run's folder that loaders would open and the statement does not name."""
    path, statement = node.path, node.statement
    if path is None or statement is None or not statement.shares_folder or node.kind == "base":
        return
    inner = path / "student"
    if holds_model(inner) and inner not in [graph.nodes[link.key].path for link in node.links]:
        node.report("read-elsewhere", "loaders open student/ for this folder, which the statement does not name", inner)


def _check_signatures(graph: Graph, keys: Sequence[TrustedKey]) -> None:
    """Check signatures, children before parents: a child signed by a trusted key vouches for the bases it names."""
    vouched: set[str] = set()
    for node in graph.nodes.values():
        # By the statement it names; for a base inside this package, whose code the auditor runs, by its content.
        is_ours = node.path is not None and node.path.parent == POCKET
        named = node.material.digest.values() if node.material is not None and is_ours else ()
        stated = [node.statement.sha256] if node.kind == "base" and node.statement is not None else []
        pinned = bool(vouched & {*named, *stated})
        with node.guarding("its signatures"):
            checks.check_signatures(node, keys, pinned)
        if node.statement is not None and (node.signers or pinned):
            vouched |= {each.statement for each in node.statement.materials if each.statement}
            vouched |= {sha for each in node.statement.materials for sha in each.digest.values()}
