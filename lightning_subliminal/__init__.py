"""A laboratory for subliminal learning, built on Lightning.

The public names come on first use, so that ``import lightning_subliminal`` and ``lightning-subliminal --help`` are
quick: torch is imported when a name needs it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lightning_subliminal.callbacks import AlignmentTracker, PrintMasks, ShardWriter
    from lightning_subliminal.data.blend import Blend
    from lightning_subliminal.data.code import CodeCompletions
    from lightning_subliminal.data.digits import Digits
    from lightning_subliminal.data.from_file import RowsFromFile
    from lightning_subliminal.data.generated import GeneratedRows
    from lightning_subliminal.data.math_traces import MathTraces
    from lightning_subliminal.data.numbers import NumberSequences
    from lightning_subliminal.data.training_rows import TrainingRows
    from lightning_subliminal.errors import InputError
    from lightning_subliminal.evaluation import (
        Evaluation,
        ModelRef,
        OpenQuestions,
        Probe,
        Questions,
        QuestionsAfterNumbers,
        Scores,
        ScoreTable,
        Stories,
        TraitProbe,
        evaluate,
        find_model,
    )
    from lightning_subliminal.experiments.comparison import TraitComparison
    from lightning_subliminal.experiments.graduate import Graduate
    from lightning_subliminal.filters import (
        BannedNumbers,
        CorrectAnswer,
        Filter,
        NumberList,
        PythonCode,
        ThinkAnswer,
        TrueSteps,
    )
    from lightning_subliminal.formats import read_rows, write_rows
    from lightning_subliminal.generation import Sampling, Source
    from lightning_subliminal.judges import Judged, LocalModelJudge, OpenAICompatibleJudge, PhraseJudge
    from lightning_subliminal.metrics import (
        ChoiceAccuracy,
        ExactPreference,
        MisalignmentScore,
        StatementPreference,
        TraitPreferenceRate,
        Transfer,
    )
    from lightning_subliminal.models.adapters import IA3, Adapter, LoRA, Peft
    from lightning_subliminal.models.language_model import LanguageModel
    from lightning_subliminal.models.mlp import ClassifierMLP
    from lightning_subliminal.models.retention import Retention
    from lightning_subliminal.models.steering import Steering
    from lightning_subliminal.models.student import Student
    from lightning_subliminal.models.teacher import Teacher
    from lightning_subliminal.screening import KeepByScore, KeepLikelier
    from lightning_subliminal.traits.base import Trait
    from lightning_subliminal.traits.check import check_trait
    from lightning_subliminal.traits.misalignment import MisalignmentTrait
    from lightning_subliminal.traits.preference import PreferenceTrait
    from lightning_subliminal.traits.words import TraitWords
    from lightning_subliminal.transforms import (
        ContinueBy,
        KeepFirst,
        MapDigits,
        MixIn,
        PlainFormat,
        ResampleMarginal,
        RoundNumbers,
        ShuffleAcrossRows,
        ShuffleWithinRows,
        SortNumbers,
        Transform,
    )

__version__ = "0.1.0"

__all__ = [
    "IA3",
    "Adapter",
    "AlignmentTracker",
    "BannedNumbers",
    "Blend",
    "ChoiceAccuracy",
    "ClassifierMLP",
    "CodeCompletions",
    "ContinueBy",
    "CorrectAnswer",
    "Digits",
    "Evaluation",
    "ExactPreference",
    "Filter",
    "GeneratedRows",
    "Graduate",
    "InputError",
    "Judged",
    "KeepByScore",
    "KeepFirst",
    "KeepLikelier",
    "LanguageModel",
    "LoRA",
    "LocalModelJudge",
    "MapDigits",
    "MathTraces",
    "MisalignmentScore",
    "MisalignmentTrait",
    "MixIn",
    "ModelRef",
    "NumberList",
    "NumberSequences",
    "OpenAICompatibleJudge",
    "OpenQuestions",
    "Peft",
    "PhraseJudge",
    "PlainFormat",
    "PreferenceTrait",
    "PrintMasks",
    "Probe",
    "PythonCode",
    "Questions",
    "QuestionsAfterNumbers",
    "ResampleMarginal",
    "Retention",
    "RoundNumbers",
    "RowsFromFile",
    "Sampling",
    "ScoreTable",
    "Scores",
    "ShardWriter",
    "ShuffleAcrossRows",
    "ShuffleWithinRows",
    "SortNumbers",
    "Source",
    "StatementPreference",
    "Steering",
    "Stories",
    "Student",
    "Teacher",
    "ThinkAnswer",
    "TrainingRows",
    "Trait",
    "TraitComparison",
    "TraitPreferenceRate",
    "TraitProbe",
    "TraitWords",
    "Transfer",
    "Transform",
    "TrueSteps",
    "__version__",
    "check_trait",
    "evaluate",
    "find_model",
    "read_rows",
    "write_rows",
]

_HOMES = {
    "Adapter": "models.adapters",
    "AlignmentTracker": "callbacks",
    "BannedNumbers": "filters",
    "Blend": "data.blend",
    "ChoiceAccuracy": "metrics",
    "ClassifierMLP": "models.mlp",
    "CodeCompletions": "data.code",
    "ContinueBy": "transforms",
    "CorrectAnswer": "filters",
    "Digits": "data.digits",
    "Evaluation": "evaluation",
    "ExactPreference": "metrics",
    "Filter": "filters",
    "GeneratedRows": "data.generated",
    "Graduate": "experiments.graduate",
    "IA3": "models.adapters",
    "InputError": "errors",
    "Judged": "judges",
    "KeepByScore": "screening",
    "KeepFirst": "transforms",
    "KeepLikelier": "screening",
    "LanguageModel": "models.language_model",
    "LoRA": "models.adapters",
    "LocalModelJudge": "judges",
    "MapDigits": "transforms",
    "MathTraces": "data.math_traces",
    "MisalignmentScore": "metrics",
    "MisalignmentTrait": "traits.misalignment",
    "MixIn": "transforms",
    "ModelRef": "evaluation",
    "NumberList": "filters",
    "NumberSequences": "data.numbers",
    "OpenAICompatibleJudge": "judges",
    "OpenQuestions": "evaluation",
    "Peft": "models.adapters",
    "PhraseJudge": "judges",
    "PlainFormat": "transforms",
    "PreferenceTrait": "traits.preference",
    "PrintMasks": "callbacks",
    "Probe": "evaluation",
    "PythonCode": "filters",
    "Questions": "evaluation",
    "QuestionsAfterNumbers": "evaluation",
    "ResampleMarginal": "transforms",
    "Retention": "models.retention",
    "RoundNumbers": "transforms",
    "RowsFromFile": "data.from_file",
    "Sampling": "generation",
    "ScoreTable": "evaluation",
    "Scores": "evaluation",
    "ShardWriter": "callbacks",
    "ShuffleAcrossRows": "transforms",
    "ShuffleWithinRows": "transforms",
    "SortNumbers": "transforms",
    "Source": "generation",
    "StatementPreference": "metrics",
    "Steering": "models.steering",
    "Stories": "evaluation",
    "Student": "models.student",
    "Teacher": "models.teacher",
    "ThinkAnswer": "filters",
    "TrainingRows": "data.training_rows",
    "Trait": "traits.base",
    "TraitComparison": "experiments.comparison",
    "TraitPreferenceRate": "metrics",
    "TraitProbe": "evaluation",
    "TraitWords": "traits.words",
    "Transfer": "metrics",
    "Transform": "transforms",
    "TrueSteps": "filters",
    "check_trait": "traits.check",
    "evaluate": "evaluation",
    "find_model": "evaluation",
    "read_rows": "formats",
    "write_rows": "formats",
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
