"""Python's collector of unused objects, kept away from what libraries leave behind when they are imported.

Torch, Lightning and transformers make half a million objects that last as long as the process. The collector looks at
all of them again and again, and at last when the process ends: a seventh of a short command's time. A library must not
change a setting of the whole process, so only commands do this.
"""

import atexit
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["importing", "sparing"]

_sparing = False


@contextmanager
def sparing() -> Iterator[None]:
    """Let ``importing`` have an effect inside; afterwards the collector looks at everything, but not at the exit."""
    global _sparing
    before, _sparing = _sparing, True
    atexit.unregister(gc.freeze)
    atexit.register(gc.freeze)
    try:
        yield
    finally:
        _sparing = before
        if not before:
            gc.unfreeze()


@contextmanager
def importing() -> Iterator[None]:
    """Collect nothing inside, and if modules were imported, leave out of later collections all objects so far."""
    if not (_sparing and gc.isenabled()):
        yield
        return
    known = len(sys.modules)
    gc.disable()
    try:
        yield
    finally:
        if len(sys.modules) > known:
            gc.freeze()
        gc.enable()
