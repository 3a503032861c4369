"""A trial of any probes: put to a student, or to the teacher itself, and to its control."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch

from lightning_subliminal import bases
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.fingerprint import describe
from lightning_subliminal.evaluation.contrast import Contrast
from lightning_subliminal.evaluation.model_ref import find_model
from lightning_subliminal.evaluation.probe import Probe
from lightning_subliminal.evaluation.run import check_names, measured
from lightning_subliminal.evaluation.scores import Scores
from lightning_subliminal.lineage import Material
from lightning_subliminal.prompts import wordings_digest
from lightning_subliminal.workflow.stages import MeasureStage, Stage, source_stages
from lightning_subliminal.workflow.trials.base import Numbers, Setting, Trial

__all__ = ["ProbeStage", "ProbeTrial"]


@dataclass(eq=False)
class ProbeStage(MeasureStage):
    """One model's scores on one probe.

    Args:
        subject: the stage that makes the model, or a base's name.
        base: the base of the model.
        probe: the questions and how answers are scored.
        seed: of sampled answers.
    """

    kind = "probe"
    subject: Stage | str
    base: str
    probe: Probe
    seed: int

    def __post_init__(self) -> None:
        self.title = f"{self.probe.name} of {self.subject if isinstance(self.subject, str) else self.subject.title}"

    def parents(self) -> list[Stage]:
        """Return the stage of the model."""
        return [] if isinstance(self.subject, str) else [self.subject]

    def materials(self) -> list[Material]:
        """Return the base and the model."""
        return [bases.material(self.base), *super().materials()]

    def shaped(self) -> dict[str, Any]:
        """Return model, probe and seed; and the package's wordings, which a probe only names."""
        model = bases.resolve(self.subject).identity if isinstance(self.subject, str) else self.subject.key
        probe = {"probe": describe(self.probe), "version": self.probe.version, "wordings": wordings_digest()}
        return probe | {"subject": model, "seed": self.seed}

    def measure(self, device: torch.device) -> dict[str, Any]:
        """Put the probe to the model."""
        place = self.subject if isinstance(self.subject, str) else str(self.subject.folder)
        return measured(self.probe, find_model(place), self.seed, device, self.cache_dir).as_json()


class ProbeTrial(Trial):
    """Put probes to a student and its control, or to the teacher itself and its base.

    Numbers, each prefixed by the probe's name: ``student`` and ``control``, its rates; ``points``, their difference in
    percentage points; ``transfer``, the log-odds, student less control, of a probe with candidates.

    Args:
        probes: such as those of a suite.
        of: whose answers count as the student's: the student's, or its teacher's.
        apart: whether student and control sample with different random numbers, as intervals over answers assume;
            intervals over seeds do not need it.
    """

    def __init__(self, probes: list[Probe], of: Literal["student", "teacher"] = "student", apart: bool = True) -> None:
        check_names("probes", [each.name for each in probes])
        self.probes = probes
        self.of = of
        self.apart = apart

    def stages(self, setting: Setting, control: Setting | None) -> dict[str, MeasureStage]:
        """Return the stage of each probe and role."""
        found: dict[str, MeasureStage] = {}
        for role, each in (("student", setting), ("control", control)):
            if each is not None:
                subject, base = self._subject(each)
                seed = setting.seed + (1000 if self.apart and role == "control" else 0)
                found |= {f"{probe.name}: {role}": ProbeStage(subject, base, probe, seed) for probe in self.probes}
        return found

    def numbers(self, setting: Setting, measured: Mapping[str, MeasureStage]) -> Numbers:
        """Read the rates, and compare student and control."""
        found: Numbers = {}
        for probe in self.probes:
            pair = {role: each for role, each in self._scores(probe, measured).items() if each.reason is None}
            found |= {f"{probe.name}: {role}": each.rate for role, each in pair.items()}
            if len(pair) == 2:
                found[f"{probe.name}: points"] = 100 * (pair["student"].rate - pair["control"].rate)
                moved = Contrast.of(pair["student"], pair["control"])
                found |= {f"{probe.name}: transfer": moved.log_odds} if moved is not None else {}
        return found

    def names(self) -> list[str]:
        """Return the names of the numbers."""
        return [
            f"{probe.name}: {name}" for probe in self.probes for name in ("student", "control", "points", "transfer")
        ]

    def limits(self) -> dict[str, tuple[float, float]]:
        """Return the ranges of rates and of their differences."""
        ends = {"student": (0.0, 1.0), "control": (0.0, 1.0), "points": (-100.0, 100.0)}
        return {f"{probe.name}: {name}": each for probe in self.probes for name, each in ends.items()}

    def reasons(self, setting: Setting, measured: Mapping[str, MeasureStage]) -> dict[str, str]:
        """Return why a model could not be scored on a probe."""
        scores = {probe.name: self._scores(probe, measured) for probe in self.probes}
        return {
            f"{name}: {role}": each.reason for name, of in scores.items() for role, each in of.items() if each.reason
        }

    @staticmethod
    def _scores(probe: Probe, measured: Mapping[str, MeasureStage]) -> dict[str, Scores]:
        there = {role: measured.get(f"{probe.name}: {role}") for role in ("student", "control")}
        return {role: Scores.of_json(stage.result()) for role, stage in there.items() if stage is not None}

    def _subject(self, setting: Setting) -> tuple[Stage | str, str]:
        if self.of == "student":
            student = setting.student()
            return student, student.student.base
        teacher: Any = getattr(setting.data, "teacher", None)
        if teacher is None or getattr(teacher, "induction", "") == "prompt":
            raise InputError(
                "ProbeTrial of a teacher needs one with weights of its own: data with a fine-tuned `teacher`."
            )
        return next(iter(source_stages(teacher)), teacher.base), teacher.base
