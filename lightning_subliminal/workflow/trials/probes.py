"""Any probes in a plan: put to a student, or to the teacher itself, and to its control."""

from collections.abc import Mapping
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


class ProbeStage(MeasureStage):
    """What one model says to one probe.

    Args:
        subject: the stage that makes the model, or a base's name.
        base: the base that the model stands on.
        probe: what is asked.
        seed: moves whatever is sampled.
    """

    kind = "probe"

    def __init__(self, subject: Stage | str, base: str, probe: Probe, seed: int) -> None:
        self.subject = subject
        self.base = base
        self.probe = probe
        self.seed = seed

    @property
    def title(self) -> str:
        """What people call it."""
        return f"{self.probe.name} of {self.subject if isinstance(self.subject, str) else self.subject.title}"

    def parents(self) -> list[Stage]:
        """Return the stage of the model."""
        return [] if isinstance(self.subject, str) else [self.subject]

    def materials(self) -> list[Material]:
        """Return the base and the model."""
        return [bases.material(self.base), *super().materials()]

    def shaped(self) -> dict[str, Any]:
        """Return model, probe and seed; a probe names wordings of the package, and does not hold their words."""
        who = bases.resolve(self.subject).identity if isinstance(self.subject, str) else self.subject.key
        probe = {"probe": describe(self.probe), "version": self.probe.version, "wordings": wordings_digest()}
        return probe | {"subject": who, "seed": self.seed}

    def measure(self, device: torch.device) -> dict[str, Any]:
        """Put the probe."""
        place = self.subject if isinstance(self.subject, str) else str(self.subject.folder)
        return measured(self.probe, find_model(place), self.seed, device, self.cache_dir).as_json()


class ProbeTrial(Trial):
    """Probes are put to a student and its control, or to the teacher itself and its base.

    Numbers, each with the probe's name before: ``student`` and ``control``, its rates; ``points``, their difference in
    percent; ``transfer``, the log-odds, student less control, of a probe with candidates.

    Args:
        probes: what is asked, such as those of a suite.
        of: whose answers are the student's: the student's, or its teacher's.
        apart: whether student and control draw their answers by different random numbers, as intervals over answers
            take for granted; intervals over seeds do not need it.
    """

    def __init__(self, probes: list[Probe], of: Literal["student", "teacher"] = "student", apart: bool = True) -> None:
        check_names("probes", [each.name for each in probes])
        self.probes = probes
        self.of = of
        self.apart = apart

    def stages(self, setting: Setting, control: Setting | None) -> dict[str, MeasureStage]:
        """Return the stage of each probe and role."""
        told: dict[str, MeasureStage] = {}
        for role, each in (("student", setting), ("control", control)):
            if each is not None:
                subject, base = self._subject(each)
                seed = setting.seed + (1000 if self.apart and role == "control" else 0)
                told |= {f"{probe.name}: {role}": ProbeStage(subject, base, probe, seed) for probe in self.probes}
        return told

    def numbers(self, setting: Setting, measured: Mapping[str, MeasureStage]) -> Numbers:
        """Read the rates, and what the student has over its control."""
        told: Numbers = {}
        for probe in self.probes:
            pair = {role: each for role, each in self._scores(probe, measured).items() if each.reason is None}
            told |= {f"{probe.name}: {role}": each.rate for role, each in pair.items()}
            if len(pair) == 2:
                told[f"{probe.name}: points"] = 100 * (pair["student"].rate - pair["control"].rate)
                moved = Contrast.of(pair["student"], pair["control"])
                told |= {f"{probe.name}: transfer": moved.log_odds} if moved is not None else {}
        return told

    def names(self) -> list[str]:
        """Return the names of the numbers."""
        return [
            f"{probe.name}: {name}" for probe in self.probes for name in ("student", "control", "points", "transfer")
        ]

    def limits(self) -> dict[str, tuple[float, float]]:
        """Return those of rates and of their differences."""
        ends = {"student": (0.0, 1.0), "control": (0.0, 1.0), "points": (-100.0, 100.0)}
        return {f"{probe.name}: {name}": each for probe in self.probes for name, each in ends.items()}

    def reasons(self, setting: Setting, measured: Mapping[str, MeasureStage]) -> dict[str, str]:
        """Return why a model could not take a probe."""
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
