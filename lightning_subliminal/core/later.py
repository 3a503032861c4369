"""Parts of libraries that a command rarely needs, executed on first use: two thirds of the time until its first line.

``import lightning`` executes all of torchmetrics, and with it scipy's signal processing and matplotlib; and torch's
compiler, only to know what an object that it compiled looks like, as transformers does to tell it what to leave alone.
Here these modules are executed, in place, when something else in them is asked for. A library must not change what a
process imports, so only commands do this.
"""

import importlib
import logging
import sys
from collections.abc import Callable, Sequence
from functools import wraps
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

__all__ = ["import_later"]


def import_later() -> None:
    """Execute the modules below on first use, from here on; those that are imported already stay as they are."""
    if not any(isinstance(each, _LaterFinder) for each in sys.meta_path):
        sys.meta_path.insert(0, _LaterFinder())


class _StandIn(type):
    """The type of what stands for a class or function until its module is executed: no object is its instance."""

    def __new__(cls, module: str, name: str) -> "_StandIn":
        return super().__new__(cls, name, (), {"__module__": module})

    def __init__(cls, module: str, name: str) -> None:
        pass

    def __instancecheck__(cls, instance: object) -> bool:
        return not isinstance(sys.modules[cls.__module__], _Later) and isinstance(instance, cls._real())

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        return cls._real()(*args, **kwargs)

    def _real(cls) -> Any:
        module = sys.modules[cls.__module__]
        if isinstance(module, _Later):
            module.execute()
        return getattr(module, cls.__name__)


def _disable(function: Callable[..., Any] | None = None, *args: Any, **kwargs: Any) -> Callable[..., Any]:
    """Return a function as torch's compiler leaves it alone, which makes no difference until there is one."""
    if function is None:
        return lambda function: _disable(function, *args, **kwargs)
    real: list[Callable[..., Any]] = []

    @wraps(function)
    def call(*its_args: Any, **its_kwargs: Any) -> Any:
        compiler = sys.modules["torch._dynamo"]
        if not real and not isinstance(compiler, _Later):
            real.append(compiler.disable(function, *args, **kwargs))
        return (real[0] if real else function)(*its_args, **its_kwargs)

    return call


def _constant(function: Any) -> Any:
    function._dynamo_marked_constant = True  # all that the compiler's own does
    return function


def _allow(function: Any) -> Any:
    _allowed.append(function)
    return function


def _from(module: str, name: str) -> Callable[[], Any]:
    return lambda: getattr(importlib.import_module(module), name)


def _stand_ins(module: str, *names: str) -> dict[str, Callable[[], Any]]:
    return {name: lambda name=name: _StandIn(module, name) for name in names}  # type: ignore[misc]


# By module: what other modules take from it while they are imported themselves, and how to make it.
_PARTS: dict[str, dict[str, Callable[[], Any]]] = {
    "torchmetrics": {
        "_logger": lambda: logging.getLogger("torchmetrics"),
        "__version__": _from("torchmetrics.__about__", "__version__"),
        "Metric": _from("torchmetrics.utilities.checks", "Metric"),  # `torchmetrics.metric` can't be imported first
        "MetricCollection": _from("torchmetrics.collections", "MetricCollection"),
    },
    "torchmetrics.utilities.plot": _stand_ins(
        "torchmetrics.utilities.plot", "_AX_TYPE", "_PLOT_OUT_TYPE", "plot_single_or_multi_val"
    ),
    "torch._dynamo": {
        "disable": lambda: _disable,
        "assume_constant_result": lambda: _constant,
        "allow_in_graph": lambda: _allow,
        "graph_break": lambda: lambda *args, **kwargs: None,  # at each step of an optimizer
        **_stand_ins("torch._dynamo", "OptimizedModule"),
    },
    "torch._dynamo._trace_wrapped_higher_order_op": _stand_ins(
        "torch._dynamo._trace_wrapped_higher_order_op", "TransformGetItemToIndex"
    ),
    # The grammar of a format that no schema of ours has; jsonschema takes it where it is installed.
    "rfc3987_syntax": _stand_ins("rfc3987_syntax", "is_valid_syntax"),
    # For losses of transformers that are not used here.
    "scipy.optimize": _stand_ins("scipy.optimize", "linear_sum_assignment"),
}
_FIRST = {"torch._dynamo", "scipy.optimize"}  # whose other submodules need them
_allowed: list[Any] = []  # functions of other modules that the compiler takes as they are


class _LaterFinder:
    """Finds the modules like the other finders, with a loader that waits."""

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: Any = None) -> ModuleSpec | None:
        parent = sys.modules.get(name.rpartition(".")[0])
        if name not in _PARTS:
            if isinstance(parent, _Later) and parent.__name__ in _FIRST:
                parent.execute()
            return None
        for finder in sys.meta_path:
            spec = None if finder is self else finder.find_spec(name, path, target)
            if spec is not None and spec.loader is not None:
                spec.loader = _LaterLoader(spec.loader)  # type: ignore[assignment]
                return spec
        return None


class _LaterLoader:
    def __init__(self, loader: Any) -> None:
        self.real = loader

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)

    def exec_module(self, module: ModuleType) -> None:
        module.__class__ = _Later


class _Later(ModuleType):
    """A module that is executed when something else than one of its parts is asked for."""

    def __getattr__(self, name: str) -> Any:
        part = _PARTS[self.__name__].get(name)
        if part is not None:
            value = part()
            if isinstance(self, _Later):
                vars(self)[name] = value  # later uses do not get here
            return value
        if name == "__path__":  # `from module import` asks whether it is a package
            raise AttributeError(name)
        self.execute()
        return getattr(self, name)

    def execute(self) -> None:
        """Become the module."""
        for name in _PARTS[self.__name__]:
            vars(self).pop(name, None)
        self.__class__ = ModuleType  # type: ignore[assignment]
        spec: Any = self.__spec__
        spec.loader = self.__loader__ = spec.loader.real
        spec.loader.exec_module(self)
        for function in _allowed if self.__name__ == "torch._dynamo" else ():
            self.allow_in_graph(function)
