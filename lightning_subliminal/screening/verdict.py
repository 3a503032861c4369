"""The verdict of a screen: clean, shift or a trait by name, from what the detectors found."""

import statistics
from collections.abc import Sequence
from typing import Literal, NamedTuple

from torch import Tensor

from lightning_subliminal.screening.detectors import (
    MANY,
    SAME,
    Detection,
    DirectionDetector,
    RunningSums,
    ShiftDetector,
    holm,
)
from lightning_subliminal.screening.reference import FEWEST_TEACHERS

__all__ = ["Agreement", "Ruling", "Verdict", "agreement", "decide", "rule"]

Verdict = Literal["clean", "shift", "trait"]

# All were fixed on the ten targets of the paper, bags of their rows, and rows of prompted teachers, which shift a base
# towards no trait; tests and tables use other targets.
# Shares below which a direction does not explain the shift, of natural gradients and of teachers' displacements where
# there are too few teachers to tell (``Reference.stranger_share``).
WHITE_SHARE = 0.30
SUSPECT_SHARE = 0.60
# A weak shift has a high share in many directions at once: the best must also lead the second by so many standard
# deviations of their difference, or be beyond doubt by itself.
LEAD = 1.0
SUSPECT_LEAD = 0.75
BEYOND_DOUBT = 6.0
# A teacher's displacement is near those of other traits, so its answer must also be raised: z and rank of the natural
# gradient of the same name.
AGREES, AGREES_RANK = 1.5, 5
# Share of a teacher's displacement below which the natural gradient of the same name is not believed.
DENIED = 0.45
# Where most of a shift is something else, as where a teacher spoils sums, no share is large. What a teacher and its
# answer have above the other teachers and answers of the same screen, added up, and what that sum leads the next by. Of
# shifts in a random direction these name 1 % (the shares above 2.5 %).
EVIDENCE, EVIDENCE_LEAD = 5.5, 1.5


class Agreement(NamedTuple):
    """The trait for which a known teacher and an answer speak most, together.

    Attributes:
        teacher: what the teacher's displacement found.
        answer: what the natural gradient of the answer of the same name found.
        evidence: how far z of both are above the mean of all teachers and of all answers, in standard deviations of
            these; the sum of the two.
        lead: over the next trait whose teacher is another movement.
    """

    teacher: Detection
    answer: Detection
    evidence: float
    lead: float

    @property
    def is_sure(self) -> bool:
        """Whether both limits are reached."""
        return self.evidence >= EVIDENCE and self.lead >= EVIDENCE_LEAD


class Ruling(NamedTuple):
    """A verdict, and the findings that it rests on.

    Attributes:
        verdict: clean, shift or trait.
        named: the trait, if the verdict is one.
        shift: of the whole space.
        answers: a finding for each answer of the catalogue.
        teachers: a finding for each known teacher.
    """

    verdict: Verdict
    named: str | None
    shift: Detection
    answers: list[Detection]
    teachers: list[Detection]


def rule(sums: RunningSums, answers: DirectionDetector, teachers: DirectionDetector, alpha: float) -> Ruling:
    """Return the verdict on rows, from the sums of their scores.

    Args:
        sums: of the rows.
        answers: the catalogue's natural gradients, ``DirectionDetector.white``.
        teachers: known teachers' displacements, ``DirectionDetector.known``.
        alpha: chance of a false alarm of the whole screen.
    """
    reference = sums.reference
    (shift,) = ShiftDetector().decide(sums)
    white, known = answers.decide(sums), teachers.decide(sums)
    leads = answers.lead(reference, white), teachers.lead(reference, known)
    cosines = teachers.cosines(reference)
    together = [agreement(white, known, cosines)]
    if sums.loose is not None and sums.rows >= MANY:  # a name that long rows hide, or short ones
        tight = RunningSums(reference, sums.rows, sums.skipped, sums.total)
        together.append(agreement(answers.decide(tight), teachers.decide(tight), cosines))
    share = reference.stranger_share or SUSPECT_SHARE
    found = decide(shift, white, known, leads[0], alpha, leads[1], share, together)
    return Ruling(*found, shift, white, known)


def agreement(traits: Sequence[Detection], suspects: Sequence[Detection], cosines: Tensor) -> Agreement | None:
    """Return the trait for which a teacher and an answer speak most; None with fewer than 20 of either.

    Args:
        traits: of the catalogue's natural gradients.
        suspects: of known teachers' displacements.
        cosines: of these with each other, see ``DirectionDetector.cosines``.
    """
    if min(len(suspects), len(traits)) < FEWEST_TEACHERS:
        return None
    answers = {each.name: (each, above) for each, above in zip(traits, _above_the_others(traits), strict=True)}
    by_teacher = dict(enumerate(_above_the_others(suspects)))
    sums = {
        place: by_teacher[place] + answers[each.name][1] for place, each in enumerate(suspects) if each.name in answers
    }
    if not sums:
        return None
    first = max(sums, key=sums.__getitem__)
    name = suspects[first].name
    others = (place for place in sums if suspects[place].name != name and float(cosines[first, place]) <= SAME)
    lead = sums[first] - max((sums[place] for place in others), default=float("-inf"))
    return Agreement(suspects[first], answers[name][0], sums[first], lead)


def _above_the_others(findings: Sequence[Detection]) -> list[float]:
    """Return how far each z is above the mean of all, in standard deviations of all."""
    values = [each.z for each in findings]
    mean, spread = statistics.fmean(values), statistics.stdev(values)
    return [(value - mean) / max(spread, 1e-12) for value in values]


def decide(
    shift: Detection,
    traits: Sequence[Detection],
    suspects: Sequence[Detection],
    lead: float,
    alpha: float,
    suspect_lead: float = float("inf"),
    suspect_share: float = SUSPECT_SHARE,
    together: Sequence[Agreement | None] = (),
) -> tuple[Verdict, str | None]:
    """Return the verdict, and the trait that it names.

    Two kinds of evidence may name a trait: the displacement of a known teacher, and the natural gradient of an answer,
    which needs no teacher. If they name different traits, the verdict is a shift, unless the answer leads the others
    and there is no teacher of it: then its rows are near some other teacher's. Where neither explains enough of the
    shift, both may name a trait together.

    Args:
        shift: of the whole space.
        traits: of the catalogue's natural gradients.
        suspects: of known teachers' displacements.
        lead: of the highest of ``traits`` over its second, see ``DirectionDetector.lead``.
        alpha: chance of a false alarm of the whole screen.
        suspect_lead: of the highest of ``suspects`` over its second.
        suspect_share: along a teacher's displacement, above which it explains the shift.
        together: of ``traits`` and ``suspects``, by scores shortened to one length or the other; None are left out.
    """
    found = set(holm([*traits, *suspects], alpha / 2))  # one family: a suspect more must not add to the error rate
    if shift.p > alpha / 2 and not found:
        return "clean", None
    ranked = sorted(traits, key=lambda each: -each.z)
    teacher = max(suspects, key=lambda each: each.z, default=None)
    by_teacher = by_answer = None
    if teacher is not None and teacher in found and teacher.share >= suspect_share and suspect_lead >= SUSPECT_LEAD:
        same = next((place for place, each in enumerate(ranked) if each.name == teacher.name), None)
        if same is None or (same < AGREES_RANK and ranked[same].z >= AGREES):
            by_teacher = teacher.name
    if ranked and ranked[0] in found and ranked[0].share >= WHITE_SHARE:
        answer, sure = ranked[0], ranked[0].z >= BEYOND_DOUBT or lead >= LEAD
        known = max((each.share for each in suspects if each.name == answer.name), default=1.0)
        by_answer = answer.name if sure and known >= DENIED else None
    named = by_teacher or by_answer
    if by_teacher is not None and by_answer not in (None, by_teacher):
        stranger = lead >= LEAD and all(each.name != by_answer for each in suspects)
        named = by_answer if stranger else None
    if named is None:
        both = {each.name for each in traits if each in found} & {each.name for each in suspects if each in found}
        joint = {each.answer.name for each in together if each is not None and each.is_sure} & both
        named = joint.pop() if len(joint) == 1 else None
    return ("shift", None) if named is None else ("trait", named)
