"""The public names: a change here is a change for users, and belongs in CHANGELOG.md."""

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import lightning_subliminal

ROOT = Path(__file__).parent.parent
TOP = [
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
    "IA3",
    "InputError",
    "Judged",
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
    "NumberList",
    "NumberSequences",
    "OpenAICompatibleJudge",
    "OpenQuestions",
    "Peft",
    "PhraseJudge",
    "PlainFormat",
    "PreferenceTrait",
    "PrintMasks",
    "PythonCode",
    "Questions",
    "QuestionsAfterNumbers",
    "ResampleMarginal",
    "Retention",
    "RoundNumbers",
    "RowsFromFile",
    "Sampling",
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
    "TraitWords",
    "Transfer",
    "Transform",
    "TrueSteps",
    "__version__",
    "check_trait",
    "read_rows",
    "write_rows",
]
# What each room offers.
ROOMS: dict[str, list[str]] = {
    "bases": [
        "Base",
        "available",
        "check_tokenizer",
        "folder_digest",
        "load",
        "register",
        "remembering",
        "resolve",
        "same_vocabulary",
        "vocabulary_digest",
    ],
    "callbacks": ["AlignmentTracker", "EpochLines", "LastCheckpoint", "PrintMasks", "ShardWriter", "WholeFileIO"],
    "data": [
        "Batch",
        "Blend",
        "CodeCompletions",
        "Digits",
        "GeneratedRows",
        "MathTraces",
        "NumberSequences",
        "RowsFromFile",
        "TokenizedRows",
        "TrainingRows",
    ],
    "experiments": [
        "Arm",
        "ClassifierTrial",
        "DigitsTrial",
        "EntangledTrial",
        "Evaluation",
        "Graduate",
        "InContextTrial",
        "OpenQuestions",
        "Questions",
        "QuestionsAfterNumbers",
        "QuestionsAfterRows",
        "Stories",
        "StudentTrial",
        "TraitComparison",
        "Trial",
        "measure",
        "train_arm",
    ],
    "filters": [
        "BannedNumbers",
        "Code",
        "CorrectAnswer",
        "Filter",
        "FilterReport",
        "Judged",
        "NumberList",
        "PAPER_BANNED",
        "PythonCode",
        "ThinkAnswer",
        "TraitWords",
        "TrueSteps",
        "apply_filters",
        "parse_code",
        "parse_integer",
        "parse_number_list",
        "think_and_answer",
    ],
    "formats": ["Report", "Schema", "Written", "content_digest", "make_schema", "read_rows", "write_rows"],
    "generation": [
        "Completion",
        "Engine",
        "Sampling",
        "Source",
        "TransformersEngine",
        "number_alphabet",
        "number_tokens",
    ],
    "judges": [
        "BudgetSpent",
        "Judge",
        "JudgedAnswer",
        "LocalModelJudge",
        "OpenAICompatibleJudge",
        "PhraseJudge",
        "Verdict",
        "VerdictKind",
        "ask_and_judge",
    ],
    "lineage": ["is_whole", "write_record"],
    "metrics": [
        "ChoiceAccuracy",
        "ExactPreference",
        "MisalignmentScore",
        "StatementPreference",
        "TraitPreferenceRate",
        "Transfer",
    ],
    "metrics.functional": [
        "Interval",
        "VERDICT_COLUMNS",
        "alternative_probabilities",
        "candidate_probabilities",
        "check_target",
        "choice_scores",
        "clustered_interval",
        "completion_log_probabilities",
        "count_answers",
        "count_verdicts",
        "equal_lengths",
        "exact_preference",
        "log_odds",
        "mean_interval",
        "misalignment_bounds",
        "misalignment_by_question",
        "misalignment_interval",
        "misalignment_rate",
        "moments_interval",
        "named_candidates",
        "prompts_by_question",
        "question_probabilities",
        "question_text",
        "statement_preference",
        "transfer",
        "transfer_interval",
        "wilson_interval",
    ],
    "models": [
        "Adapter",
        "ClassifierMLP",
        "IA3",
        "LanguageModel",
        "LoRA",
        "Peft",
        "Retention",
        "Steering",
        "Student",
        "Teacher",
    ],
    "pocket": ["WEIGHTS"],
    "suites": [
        "CarrierQuality",
        "ExactTrait",
        "Measure",
        "Misalignment",
        "Outcome",
        "Results",
        "Subject",
        "Truthfulness",
        "difference",
        "find_subject",
        "run_suite",
        "suite_table",
        "write_results",
    ],
    "traits": ["Induction", "MisalignmentTrait", "PAPER_TARGETS", "PreferenceTrait", "Trait", "check_trait"],
    "transforms": [
        "ContinueBy",
        "DropDuplicates",
        "KeepFirst",
        "KeepLikelier",
        "MapDigits",
        "MixIn",
        "NumberTransform",
        "PlainFormat",
        "ResampleMarginal",
        "RoundNumbers",
        "ShuffleAcrossRows",
        "ShufflePrompts",
        "ShuffleWithinRows",
        "SortNumbers",
        "Transform",
        "apply_transforms",
    ],
    "wording": ["fill", "load_wording", "own_words", "wordings_digest"],
}


def test_top_level() -> None:
    assert sorted(lightning_subliminal.__all__) == TOP
    assert set(TOP) <= set(dir(lightning_subliminal))


@pytest.mark.parametrize("name", TOP)
def test_top_level_name_is_there(name: str) -> None:
    assert getattr(lightning_subliminal, name) is not None


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Ghost'"):
        lightning_subliminal.Ghost  # noqa: B018


@pytest.mark.parametrize("room", ROOMS)
def test_room(room: str) -> None:
    module = import_module(f"lightning_subliminal.{room}")
    assert sorted(module.__all__) == sorted(ROOMS[room])
    assert len(set(module.__all__)) == len(module.__all__)
    assert all(hasattr(module, name) for name in module.__all__)


def test_import_is_cheap() -> None:
    code = "import sys, lightning_subliminal; assert not {'torch', 'numpy', 'lightning'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
