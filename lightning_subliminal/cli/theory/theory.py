"""theory: the theorem checked on a config's own model, transfer predicted before training, lines between models."""

from functools import partial
from pathlib import Path

from lightning_subliminal.cli.positional import Spelling, show_guide
from lightning_subliminal.core.config.shipped import find_config
from lightning_subliminal.core.errors import InputError

__all__ = ["COMMANDS", "check", "guide", "interpolate", "predict", "spelled"]

_GUIDE = """\
theory: why it passes on, checked and used on a config's own model.

One small step of imitation, on any inputs, moves a student with the teacher's start down the teacher's own loss. The
config is one of `fit`; teacher and rows are made where the cache lacks them, as `fit` does.

usage: lightning-subliminal theory check|predict|interpolate --config FILE [options]

check: is it so for this model? The inner product of the two updates, twice: as it is, and as the mean of squares that
the proof makes of it; and how the teacher's loss changes over a grid of steps of both, in float64.
  --rows N               rows, or images, that the student imitates on (default 16)
  --draws N              draws of them (default 3)
  --other-start BASE     the student starts from this base instead (`other` with a ClassifierMLP): nothing is promised

predict: what would training on these rows do to the trait? To first order, from one gradient of the trait and a number
a row; nobody is trained. Beside it the same for the control's rows.
  --data FILE            other rows: any format that `data show` reads
  --top N                how many of the highest rows to show (default 3)

interpolate: the trait on the line from base through student and beyond, to the teacher and beyond, beside the control;
and in the means of several students: does averaging concentrate it?
  --students N           students and controls (default 3)
  --points N             places on each line (default 13)

for all of them:
  --config FILE          such as owl_numbers; check also takes mnist_mlp
  --out DIR              where results go (default runs/NAME-...-DIGEST): results.json, a table as CSV, a picture

examples:
  lightning-subliminal theory check --config owl_numbers
  lightning-subliminal theory check --config owl_numbers --other-start pocket/b
  lightning-subliminal theory predict --config owl_numbers
  lightning-subliminal theory interpolate --config owl_numbers --students 5
"""


def check(
    experiment: Path | None = None,  # --config, which jsonargparse takes for its own
    rows: int = 16,
    draws: int = 3,
    other_start: str | None = None,
    out: Path | None = None,
) -> None:
    """Check the theorem on a config's student.

    Args:
        experiment: a config of `fit`.
        rows: rows, or images, that the student imitates on.
        draws: draws of them.
        other_start: where the student starts instead.
        out: folder for results.
    """
    from lightning_subliminal.cli.theory.check import check_config

    check_config(_given(experiment), rows, draws, other_start, out)


def predict(
    experiment: Path | None = None,
    data: str | None = None,
    top: int = 3,
    out: Path | None = None,
) -> None:
    """Predict what training on rows would do to the trait.

    Args:
        experiment: a config of `fit`.
        data: other rows.
        top: how many of the highest rows to show.
        out: folder for results.
    """
    from lightning_subliminal.cli.theory.predict import predict_config

    predict_config(_given(experiment), data, top, out)


def interpolate(experiment: Path | None = None, students: int = 3, points: int = 13, out: Path | None = None) -> None:
    """Measure the lines between base, student, control and teacher, and the means of students.

    Args:
        experiment: a config of `fit`.
        students: students and controls.
        points: places on each line.
        out: folder for results.
    """
    from lightning_subliminal.cli.theory.interpolate import interpolate as along

    along(_given(experiment), students, points, out)


COMMANDS = {"check": check, "predict": predict, "interpolate": interpolate}
guide = partial(show_guide, _GUIDE)
spelled = Spelling(renamed={"--config": "--experiment", "-c": "--experiment", "--other-start": "--other_start"})


def _given(config: Path | None) -> Path:
    if config is None:
        raise InputError("`config` is missing: give --config FILE, such as owl_numbers.")
    return find_config(config)
