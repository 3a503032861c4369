"""Public names imported on first use: a package lists them once, in the ``__init__.pyi`` that type checkers read."""

import ast
from collections.abc import Callable
from importlib import import_module
from importlib.util import resolve_name
from pathlib import Path
from typing import Any

__all__ = ["attach"]


def attach(package: str, file: str) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Return ``__getattr__``, ``__dir__`` and ``__all__`` of a package.

    Args:
        package: its ``__name__``.
        file: its ``__file__``; the names are those that its stub imports from this package.
    """
    stub = ast.parse(Path(file).with_suffix(".pyi").read_text(encoding="utf-8"))
    found = [node for node in stub.body if isinstance(node, ast.ImportFrom) and node.level]
    homes = {
        name.name: resolve_name(f"{'.' * node.level}{node.module}", package) for node in found for name in node.names
    }

    def __getattr__(name: str) -> Any:  # noqa: N807
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(import_module(homes[name]), name)
        vars(import_module(package))[name] = value  # later uses do not get here
        return value

    return __getattr__, lambda: sorted({*vars(import_module(package)), *homes}), sorted(homes)
