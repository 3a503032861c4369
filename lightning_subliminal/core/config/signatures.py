"""The arguments of a class's constructor, including those that it passes to its parent as ``**kwargs``."""

import ast
import inspect
import itertools
import textwrap
from functools import cache
from inspect import Parameter
from typing import Any, get_type_hints

__all__ = ["parameters"]


def parameters(kind: Any) -> dict[str, Parameter]:
    """Return the parameters of a class's constructor, each annotated with its type, or with Any.

    If it only passes ``**kwargs`` to ``super().__init__``, the parent's parameters replace them, without those that the
    call sets. So a subclass lists its own options alone, as jsonargparse reads it for YAML and ``--help``. If the
    source does otherwise, or is missing, ``**kwargs`` stays.

    Example:
        >>> class Parent:
        ...     def __init__(self, size: int = 1) -> None: ...
        >>> list(parameters(Parent))
        ['size']
    """
    return _resolved(kind)


@cache
def _resolved(kind: Any) -> dict[str, Parameter]:
    found = dict(inspect.signature(kind).parameters)
    chain = [each for each in kind.__mro__ if "__init__" in vars(each)]
    if chain:
        found = _typed(chain[0], found)
    set_on_the_way: set[str] = set()
    for child, parent in itertools.pairwise(chain):
        rest = next((name for name, each in found.items() if each.kind is Parameter.VAR_KEYWORD), None)
        inherited = _typed(parent, dict(list(inspect.signature(vars(parent)["__init__"]).parameters.items())[1:]))
        given = _given(child, rest, list(inherited)) if rest is not None else None
        if rest is None or given is None:
            break
        del found[rest]
        set_on_the_way |= given
        found |= {name: each for name, each in inherited.items() if name not in {*found, *set_on_the_way}}
    return found


def _typed(kind: Any, found: dict[str, Parameter]) -> dict[str, Parameter]:
    try:
        hints = get_type_hints(kind.__init__)
    except (NameError, TypeError):  # a name imported only for type checkers
        hints = {}
    return {name: each.replace(annotation=hints.get(name, Any)) for name, each in found.items()}


def _given(kind: Any, rest: str, inherited: list[str]) -> set[str] | None:
    """Return the parent's parameters that ``super().__init__(..., **rest)`` sets; None if there is no such call."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(vars(kind)["__init__"])))
    except (OSError, TypeError, SyntaxError):
        return None
    uses = [node for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id == rest]
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and _is_super_init(node.func)]
    for call in calls:
        whole = [key for key in call.keywords if key.arg is None and isinstance(key.value, ast.Name)]
        if len(uses) == 1 and any(key.value is uses[0] for key in whole):
            return {key.arg for key in call.keywords if key.arg is not None} | set(inherited[: len(call.args)])
    return None


def _is_super_init(called: ast.expr) -> bool:
    return (
        isinstance(called, ast.Attribute)
        and called.attr == "__init__"
        and isinstance(called.value, ast.Call)
        and isinstance(called.value.func, ast.Name)
        and called.value.func.id == "super"
        and not called.value.args
    )
