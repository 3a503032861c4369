"""Evaluation: probes measure models, and the result is one table.

A `Probe` is a set of questions and a way to score the answers: by exact probabilities, or by sampled answers that are
parsed or judged. A `ModelRef` is any model: a base by name, a run, a folder, an adapter, a hub id, or a net in memory.
`evaluate` measures each model with each probe and returns a `ScoreTable` of `Scores`: a value a unit (such as a
question), the rate over units with its interval, and counts. Transfer is a `Contrast` of two rows of the table.

    from lightning_subliminal import PreferenceTrait
    from lightning_subliminal.evaluation import Questions, evaluate, find_model

    owl = Questions().of(PreferenceTrait("owl"))
    student, control = find_model("student=runs/owl_numbers/student"), find_model("control=pocket/a")
    table = evaluate([student, control], [owl])
    table["student"][owl.name].rate, table["student"][owl.name].interval
    moved = table.contrast("student", "control")
    moved.log_odds, moved.targeted.rank

All measurements go through these: the table of `fit`, `test`, the evaluations of a plan, suites and the command
`evaluate`, `chat`, inspect_ai's tasks, the models of `theory interpolate`, and the examples. A probe of your own
overrides `Probe.measure`; one whose answers are a trait's candidates overrides `TraitProbe.chances`, and works in all.
"""

from lightning_subliminal.evaluation.contrast import Contrast
from lightning_subliminal.evaluation.model_ref import ModelRef, find_model
from lightning_subliminal.evaluation.probe import Evaluation, Probe, TraitProbe
from lightning_subliminal.evaluation.probes.carrier_quality import CarrierQuality
from lightning_subliminal.evaluation.probes.in_context import QuestionsAfterRows
from lightning_subliminal.evaluation.probes.judged_misalignment import Misalignment, OpenQuestions
from lightning_subliminal.evaluation.probes.questions import ExactTrait, Questions, QuestionsAfterNumbers
from lightning_subliminal.evaluation.probes.sampled_answers import SampledAnswers, Stories
from lightning_subliminal.evaluation.probes.truthfulness import Truthfulness
from lightning_subliminal.evaluation.report import suite_table, write_results
from lightning_subliminal.evaluation.run import evaluate
from lightning_subliminal.evaluation.scores import Scores, difference
from lightning_subliminal.evaluation.table import ScoreTable

__all__ = [
    "CarrierQuality",
    "Contrast",
    "Evaluation",
    "ExactTrait",
    "Misalignment",
    "ModelRef",
    "OpenQuestions",
    "Probe",
    "Questions",
    "QuestionsAfterNumbers",
    "QuestionsAfterRows",
    "SampledAnswers",
    "ScoreTable",
    "Scores",
    "Stories",
    "TraitProbe",
    "Truthfulness",
    "difference",
    "evaluate",
    "find_model",
    "suite_table",
    "write_results",
]
