"""The pure functions below the metrics: they count and compute, and keep nothing."""

from lightning_subliminal.metrics.functional.exact import (
    candidate_probabilities,
    check_target,
    exact_preference,
    prompts_by_question,
    question_probabilities,
)
from lightning_subliminal.metrics.functional.intervals import (
    Interval,
    log_odds,
    mean_interval,
    moments_interval,
    wilson_interval,
)
from lightning_subliminal.metrics.functional.preference import count_answers, named_candidates
from lightning_subliminal.metrics.functional.transfer import transfer, transfer_interval

__all__ = [
    "Interval",
    "candidate_probabilities",
    "check_target",
    "count_answers",
    "exact_preference",
    "log_odds",
    "mean_interval",
    "moments_interval",
    "named_candidates",
    "prompts_by_question",
    "question_probabilities",
    "transfer",
    "transfer_interval",
    "wilson_interval",
]
