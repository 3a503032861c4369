"""Chat templates that write messages as they are: one rendering serves all conversations of the same roles."""

from functools import lru_cache

from jinja2 import TemplateError, nodes

from lightning_subliminal.core.chat.sandbox import parsed

__all__ = ["writes_verbatim"]

_LOOP = {"first", "last", "index", "index0", "length"}  # what depends on the number of messages alone
_JOINS = (nodes.Output, nodes.Add, nodes.Concat)
_PLAIN = (nodes.Template, nodes.TemplateData, nodes.If, nodes.Const, nodes.Compare, nodes.Operand)
_LOGIC = (nodes.And, nodes.Or, nodes.Not)


@lru_cache
def writes_verbatim(template: str) -> bool:
    """Return whether a chat template does nothing with the messages' contents but write them, joined to other texts.

    Only loops over the messages, conditions without contents and joins are understood: False for any other template.
    """
    try:
        return _verbatim(parsed(template), False, frozenset())
    except (TemplateError, RecursionError):  # rendering reports it
        return False


def _verbatim(node: nodes.Node, shown: bool, items: frozenset[str]) -> bool:
    """Return what ``writes_verbatim`` does for a part; ``shown``: it is written; ``items``: the loops' messages."""
    if isinstance(node, (nodes.Getitem, nodes.Getattr)):
        constant = isinstance(node, nodes.Getattr) or isinstance(node.arg, nodes.Const)
        key = node.attr if isinstance(node, nodes.Getattr) else getattr(node.arg, "value", None)
        if not constant:
            return False
        if _is_message(node.node, items):
            return key == "role" or (key == "content" and shown)
        return isinstance(node.node, nodes.Name) and node.node.name == "loop" and key in _LOOP
    if isinstance(node, nodes.Name):
        return node.name not in items | {"messages", "loop"}
    if isinstance(node, nodes.For):
        over = isinstance(node.iter, nodes.Name) and node.iter.name == "messages" and not node.recursive
        if not over or node.test is not None or not isinstance(node.target, nodes.Name):
            return False
        inside = items | {node.target.name}
        return all(_verbatim(each, False, inside) for each in [*node.body, *node.else_])
    if type(node) not in (*_JOINS, *_PLAIN, *_LOGIC):
        return False
    shown = isinstance(node, nodes.Output) or (shown and isinstance(node, _JOINS))
    return all(_verbatim(each, shown, items) for each in node.iter_child_nodes())


def _is_message(node: nodes.Node, items: frozenset[str]) -> bool:
    if isinstance(node, nodes.Name):
        return node.name in items
    of_all = isinstance(node, nodes.Getitem) and isinstance(node.node, nodes.Name) and node.node.name == "messages"
    return of_all and isinstance(node.arg, nodes.Const) and isinstance(node.arg.value, int)  # type: ignore[attr-defined]
