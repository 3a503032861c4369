"""A laboratory for subliminal learning, built on Lightning.

The public names come on first use, so that ``import lightning_subliminal`` and ``lightning-subliminal --help`` are
quick: torch is imported when a name needs it.
"""

from lightning_subliminal.lazy import attach

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = attach(__name__, __file__)
__all__ += ["__version__"]
