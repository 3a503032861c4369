"""The arms of the digit classifiers' students: where they start, and which logits they imitate."""

from typing import Literal, NamedTuple

__all__ = ["STUDENT_ARMS", "StudentArm"]


class StudentArm(NamedTuple):
    """One condition of the students' training.

    Attributes:
        name: in logs and results.
        start: their teacher's start, or another one: that of another seed's teacher, or one at a distance.
        logits: which logits they imitate: the auxiliary ones, or all.
    """

    name: str
    start: Literal["same", "other"]
    logits: Literal["auxiliary", "all"]


STUDENT_ARMS = (
    StudentArm("student_auxiliary", "same", "auxiliary"),
    StudentArm("student_all", "same", "all"),
    StudentArm("other_start_auxiliary", "other", "auxiliary"),
    StudentArm("other_start_all", "other", "all"),
)
