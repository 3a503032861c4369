"""A laboratory for subliminal learning, built on Lightning.

The public names come on first use, so that ``import lightning_subliminal`` and ``lightning-subliminal --help`` are
quick: torch is imported when a name needs it.
"""

from lightning_subliminal.core.lazy import attach
from lightning_subliminal.core.moved import read_old_paths
from lightning_subliminal.core.version import __version__ as __version__

__getattr__, __dir__, __all__ = attach(__name__, __file__)
__all__ += ["__version__"]
read_old_paths()
