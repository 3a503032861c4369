"""Import what a dotted path in a YAML names, except what a config has no use for and could do harm.

A YAML can run code, since it names classes: a class in the working folder, or a function for a callback. Refused are
Python's standard library except a few plain modules, and whatever starts processes, loads pickles or compiles.
"""

import builtins
import importlib
import inspect
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from typing import Any

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.kinds import current_path

__all__ = ["REFUSAL", "check_object", "check_words", "guard_parser", "import_path", "own_folder"]

_PLAIN = {  # modules of the standard library that a config may name
    *("cmath", "collections", "datetime", "decimal", "fractions", "math", "numbers", "random", "statistics", "string"),
}
_PLAIN_BUILTINS = {
    *("abs", "bool", "bytes", "complex", "dict", "float", "frozenset", "int", "len", "list", "max", "min", "object"),
    *("pow", "range", "reversed", "round", "set", "slice", "sorted", "str", "sum", "tuple"),
}
# Other packages that run commands, evaluate texts, compile, unpickle, or change this list.
_REFUSED = (
    *("IPython", "_distutils_hack", "_pytest", "cffi", "cloudpickle", "dill", "fabric", "fire", "hydra", "invoke"),
    *("joblib", "jsonargparse", "lightning_subliminal.cli", "lightning_subliminal.commands", "numpy.distutils"),
    *("numpy.f2py", "numpy.lib.npyio", "numpy.load", "numpy.testing", "pandas.core.computation", "pandas.eval"),
    *("pandas.io.pickle", "pandas.read_pickle", "paramiko", "pexpect", "pip", "pkg_resources", "plumbum", "psutil"),
    *("ptyprocess", "pytest", "setuptools", "sh", "sympy.core.sympify", "sympy.parsing", "sympy.sympify"),
    *("torch._dynamo", "torch._inductor", "torch.distributed.elastic", "torch.distributed.launch"),
    *("torch.distributed.launcher", "torch.distributed.rpc", "torch.distributed.run", "torch.hub", "torch.jit"),
    *("torch.load", "torch.multiprocessing", "torch.package", "torch.serialization", "torch.testing"),
    *("torch.utils.bottleneck", "torch.utils.collect_env", "torch.utils.cpp_extension", "torch.utils.model_zoo"),
    *("lightning_subliminal.core.error_messages", "triton", "wheel"),
)
_STARTERS = ("subprocess", "multiprocessing", "ctypes", "_ctypes", "runpy", "code", "pty", "asyncio")
_WHY = "may not be named in a config (it can start a process, run a text or touch files)"
_INSTEAD = "name a class of this package, of Lightning, or of your own module."
_SCRIPTS = ("__main__", "__mp_main__")
_OF_SCRIPT = (
    "is in a script or notebook, which a config can't name, since no other process finds it: put the class into a "
    "module next to the YAML, such as my_pkg.py, and name it as my_pkg.NAME."
)
REFUSAL = re.compile(
    f"`[^`]*`[^`]{{0,200}}(?:{re.escape(f'{_WHY}: {_INSTEAD}')}|{re.escape(_OF_SCRIPT).replace('NAME', '[^`]{1,200}')})"
)


def import_path(path: str) -> Any:
    """Import and return what a dotted path names, if a config may name it.

    Args:
        path: of a class, function or object; a module in the working folder is found if no installed one has its name.

    Raises:
        InputError: if a config may not name it.
        ImportError: if its module can't be imported.
        AttributeError: if the module does not define the name.
    """
    check_words(path)
    path = current_path(path)
    module, _, name = path.rpartition(".")
    with own_folder(path):
        found = getattr(importlib.import_module(module), name)
    check_object(found, path)
    return found


def check_words(path: str) -> None:
    """Check a path before its module is imported; raise an InputError if a config may not name it."""
    words = path.split(".")
    if words[0] in _SCRIPTS:
        raise InputError(f"`{path}` {_OF_SCRIPT.replace('NAME', words[-1])}")
    if any(word.startswith("__") for word in words) or _refused(path):
        raise InputError(f"`{path}` {_WHY}: {_INSTEAD}")


def check_object(found: Any, path: str) -> None:
    """Check an imported object, which may be a refused one under a harmless path.

    Raises:
        InputError: if it is a refused object, derives from one, or calls one.
    """
    inner = found
    while isinstance(inner, partial):
        inner = inner.func
    kind = inner if inspect.isclass(inner) else type(inner)
    homes = [f"{each.__module__}.{each.__qualname__}" for each in kind.__mro__]
    starts = any(home.split(".")[0] in _STARTERS for home in homes)
    module, name = getattr(inner, "__module__", None), getattr(inner, "__qualname__", None)
    is_named = inspect.ismodule(inner) or inspect.isroutine(inner) or inspect.isclass(inner)
    home = inner.__name__ if inspect.ismodule(inner) else f"{module}.{name}"
    if starts or (is_named and module != "" and (module or inspect.ismodule(inner)) and _refused(home)):
        own = f" as {home}" if is_named and home != path else ""
        raise InputError(f"`{path}`{own} {_WHY}: {_INSTEAD}")


def _refused(path: str) -> bool:
    top, _, rest = path.partition(".")
    if top == "builtins":
        found = getattr(builtins, rest, None)
        is_error = isinstance(found, type) and issubclass(found, BaseException)
        return rest.partition(".")[0] not in _PLAIN_BUILTINS and not is_error
    if top in sys.stdlib_module_names:
        return top not in _PLAIN
    return any(f"{path}.".startswith(f"{each}.") for each in _REFUSED)


@contextmanager
def own_folder(path: str) -> Iterator[None]:
    """Make a module of the working folder importable inside, if no installed one has its name.

    Once a user's module has been imported from there, the folder stays on the path: the module may import others later,
    and workers must find it. Otherwise nothing in the folder is ever imported.
    """
    top, here = path.partition(".")[0], os.getcwd()
    if not top.isidentifier() or top in sys.modules or here in sys.path or _is_installed(top):
        yield
        return
    importlib.invalidate_caches()
    sys.path.append(here)
    try:
        yield
    finally:
        if top not in sys.modules:
            sys.path.remove(here)


def _is_installed(top: str) -> bool:
    """Return whether a module of this name is installed; a folder without ``__init__.py`` does not count."""
    found = find_spec(top)
    return found is not None and found.origin is not None


def guard_parser() -> None:
    """Make jsonargparse import by this module's rules, for the whole process."""
    util = importlib.import_module("jsonargparse._util")
    original: Callable[..., Any] = util.import_object
    if hasattr(original, "guarded"):
        return

    def import_object(name: Any, check_path: bool = True) -> Any:
        if not check_path or not isinstance(name, str) or "." not in name:
            return original(name) if check_path else original(name, check_path=False)
        check_words(name)
        with own_folder(name):
            found = original(current_path(name))
        check_object(found, name)
        return found

    import_object.guarded = True  # type: ignore[attr-defined]
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == "jsonargparse" and vars(module).get("import_object") is original:
            module.import_object = import_object  # type: ignore[attr-defined]
