"""Trials: what a plan measures in each of its cells, a file each with the stages that it needs."""

from lightning_subliminal.workflow.trials.base import Numbers as Numbers
from lightning_subliminal.workflow.trials.base import Setting as Setting
from lightning_subliminal.workflow.trials.base import Trial as Trial
from lightning_subliminal.workflow.trials.digits import DigitsStage as DigitsStage
from lightning_subliminal.workflow.trials.digits import DigitsTrial as DigitsTrial
from lightning_subliminal.workflow.trials.prediction import PredictionTrial as PredictionTrial
from lightning_subliminal.workflow.trials.probes import ProbeTrial as ProbeTrial
from lightning_subliminal.workflow.trials.screening import ClassifierStage as ClassifierStage
from lightning_subliminal.workflow.trials.screening import ClassifierTrial as ClassifierTrial
from lightning_subliminal.workflow.trials.screening import EntangledStage as EntangledStage
from lightning_subliminal.workflow.trials.screening import EntangledTrial as EntangledTrial
from lightning_subliminal.workflow.trials.student import InContextTrial as InContextTrial
from lightning_subliminal.workflow.trials.student import StudentTrial as StudentTrial
from lightning_subliminal.workflow.trials.student import TaskStage as TaskStage
