"""Stages: the nodes of a workflow. Each makes one artefact in a folder named by the digest of all that shaped it.

Equal stages have equal folders: arms share them, and a killed run resumes. The work itself is done by the modules and
data modules that `fit` uses too.
"""

from lightning_subliminal.workflow.stages.base import Stage as Stage
from lightning_subliminal.workflow.stages.base import make_missing as make_missing
from lightning_subliminal.workflow.stages.base import stage_materials as stage_materials
from lightning_subliminal.workflow.stages.base import walk as walk
from lightning_subliminal.workflow.stages.measure import EvaluationStage as EvaluationStage
from lightning_subliminal.workflow.stages.measure import MeasureStage as MeasureStage
from lightning_subliminal.workflow.stages.training import CompletionsStage as CompletionsStage
from lightning_subliminal.workflow.stages.training import RowsStage as RowsStage
from lightning_subliminal.workflow.stages.training import StudentStage as StudentStage
from lightning_subliminal.workflow.stages.training import TeacherStage as TeacherStage
from lightning_subliminal.workflow.stages.training import source_stages as source_stages
