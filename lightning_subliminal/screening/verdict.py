"""The verdict of a screen: clean, shift or a trait by name, from what the detectors found."""

from collections.abc import Sequence
from typing import Literal

from lightning_subliminal.screening.detectors import Detection, holm

__all__ = ["Verdict", "decide"]

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


def decide(
    shift: Detection,
    traits: Sequence[Detection],
    suspects: Sequence[Detection],
    lead: float,
    alpha: float,
    suspect_lead: float = float("inf"),
    suspect_share: float = SUSPECT_SHARE,
) -> tuple[Verdict, str | None]:
    """Return the verdict, and the trait that it names.

    Two kinds of evidence may name a trait: the displacement of a known teacher, and the natural gradient of an answer,
    which needs no teacher. If they name different traits, the verdict is a shift, unless the answer leads the others
    and there is no teacher of it: then its rows are near some other teacher's.

    Args:
        shift: of the whole space.
        traits: of the catalogue's natural gradients.
        suspects: of known teachers' displacements.
        lead: of the highest of ``traits`` over its second, see ``DirectionDetector.lead``.
        alpha: chance of a false alarm of the whole screen.
        suspect_lead: of the highest of ``suspects`` over its second.
        suspect_share: along a teacher's displacement, above which it explains the shift.
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
    if by_teacher is not None and by_answer not in (None, by_teacher):
        stranger = lead >= LEAD and all(each.name != by_answer for each in suspects)
        return ("trait", by_answer) if stranger else ("shift", None)
    named = by_teacher or by_answer
    return ("shift", None) if named is None else ("trait", named)
