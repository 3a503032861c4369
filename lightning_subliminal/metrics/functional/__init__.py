"""The pure functions below the metrics: they count and compute, and keep nothing."""

from lightning_subliminal.core.rows import prompts_by_question
from lightning_subliminal.metrics.functional.choices import choice_scores
from lightning_subliminal.metrics.functional.exact import (
    candidate_probabilities,
    check_target,
    exact_preference,
    question_probabilities,
    question_text,
)
from lightning_subliminal.metrics.functional.intervals import (
    Interval,
    clustered_interval,
    clustered_mean_interval,
    log_odds,
    mean_interval,
    moments_interval,
    question_interval,
    wilson_interval,
)
from lightning_subliminal.metrics.functional.misalignment import (
    VERDICT_COLUMNS,
    count_verdicts,
    misalignment_bounds,
    misalignment_by_question,
    misalignment_interval,
    misalignment_rate,
)
from lightning_subliminal.metrics.functional.preference import count_answers, named_candidates
from lightning_subliminal.metrics.functional.statements import (
    alternative_probabilities,
    completion_log_probabilities,
    equal_lengths,
    statement_preference,
)
from lightning_subliminal.metrics.functional.transfer import (
    Targeted,
    targeted_transfer,
    transfer,
    transfer_interval,
    why_untargeted,
)

__all__ = [
    "VERDICT_COLUMNS",
    "Interval",
    "Targeted",
    "alternative_probabilities",
    "candidate_probabilities",
    "check_target",
    "choice_scores",
    "clustered_interval",
    "clustered_mean_interval",
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
    "question_interval",
    "question_probabilities",
    "question_text",
    "statement_preference",
    "targeted_transfer",
    "transfer",
    "transfer_interval",
    "why_untargeted",
    "wilson_interval",
]
