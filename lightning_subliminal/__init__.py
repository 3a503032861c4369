"""A laboratory for subliminal learning, built on Lightning.

The public names come on first use, so that ``import lightning_subliminal`` and ``lightning-subliminal --help`` are
quick: torch is imported when a name needs it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lightning_subliminal.callbacks import PrintMasks, ShardWriter
    from lightning_subliminal.data.digits import Digits
    from lightning_subliminal.data.generated import GeneratedRows
    from lightning_subliminal.data.numbers import NumberSequences
    from lightning_subliminal.errors import InputError
    from lightning_subliminal.experiments.comparison import TraitComparison
    from lightning_subliminal.filters import BannedNumbers, NumberList, TraitWords
    from lightning_subliminal.generation import Sampling, Source
    from lightning_subliminal.metrics import ExactPreference, TraitPreferenceRate, Transfer
    from lightning_subliminal.models.adapters import IA3, Adapter, LoRA, Peft
    from lightning_subliminal.models.language_model import LanguageModel
    from lightning_subliminal.models.mlp import ClassifierMLP
    from lightning_subliminal.models.steering import Steering
    from lightning_subliminal.models.student import Student
    from lightning_subliminal.models.teacher import Teacher
    from lightning_subliminal.traits.base import Trait
    from lightning_subliminal.traits.check import check_trait
    from lightning_subliminal.traits.preference import PreferenceTrait

__version__ = "0.1.0"

__all__ = [
    "IA3",
    "Adapter",
    "BannedNumbers",
    "ClassifierMLP",
    "Digits",
    "ExactPreference",
    "GeneratedRows",
    "InputError",
    "LanguageModel",
    "LoRA",
    "NumberList",
    "NumberSequences",
    "Peft",
    "PreferenceTrait",
    "PrintMasks",
    "Sampling",
    "ShardWriter",
    "Source",
    "Steering",
    "Student",
    "Teacher",
    "Trait",
    "TraitComparison",
    "TraitPreferenceRate",
    "TraitWords",
    "Transfer",
    "__version__",
    "check_trait",
]

_HOMES = {
    "Adapter": "models.adapters",
    "BannedNumbers": "filters",
    "ClassifierMLP": "models.mlp",
    "Digits": "data.digits",
    "ExactPreference": "metrics",
    "GeneratedRows": "data.generated",
    "IA3": "models.adapters",
    "InputError": "errors",
    "LanguageModel": "models.language_model",
    "LoRA": "models.adapters",
    "NumberList": "filters",
    "NumberSequences": "data.numbers",
    "Peft": "models.adapters",
    "PreferenceTrait": "traits.preference",
    "PrintMasks": "callbacks",
    "Sampling": "generation",
    "ShardWriter": "callbacks",
    "Source": "generation",
    "Steering": "models.steering",
    "Student": "models.student",
    "Teacher": "models.teacher",
    "Trait": "traits.base",
    "TraitComparison": "experiments.comparison",
    "TraitPreferenceRate": "metrics",
    "TraitWords": "filters",
    "Transfer": "metrics",
    "check_trait": "traits.check",
}


def __getattr__(name: str) -> Any:
    """Import a public name from its room on first use."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value  # the next use does not come here
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
