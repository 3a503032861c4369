"""theory: check the theorem on a config's model, predict transfer before training, interpolate models."""

from pathlib import Path

from lightning_subliminal.cli.verb import Group, Verb
from lightning_subliminal.core.config.shipped import find_config

__all__ = ["VERB", "check", "interpolate", "predict"]


def check(
    config: Path,
    rows: int = 16,
    draws: int = 3,
    other_start: str | None = None,
    out: Path | None = None,
) -> None:
    """Check the theorem on a config's student: does imitation lower the teacher's loss?

    Args:
        config: a config of `fit` such as owl_numbers, also mnist_mlp.
        rows: number of rows, or images, that the student imitates on.
        draws: number of draws of them.
        other_start: start the student from this base (`other` for a ClassifierMLP), where the theorem promises nothing.
        out: folder for results; without it runs/NAME-theorem-DIGEST.
    """
    from lightning_subliminal.cli.theory.check import check_config

    check_config(find_config(config), rows, draws, other_start, out)


def predict(
    config: Path, data: str | None = None, trait: str | None = None, top: int = 3, out: Path | None = None
) -> None:
    """Predict, without training, how rows would change the trait, next to the control's rows.

    Args:
        config: a config of `fit`, such as owl_numbers.
        data: other rows, in any format that `data show` reads.
        trait: the target of a preference, such as cat, instead of the config's trait.
        top: number of rows with the highest scores to show.
        out: folder for results; without it runs/NAME-prediction-DIGEST.
    """
    from lightning_subliminal.cli.theory.predict import predict_config

    predict_config(find_config(config), data, trait, top, out)


def interpolate(config: Path, students: int = 3, points: int = 13, out: Path | None = None) -> None:
    """Measure the trait on lines between base, student, control and teacher, and in averaged students.

    Args:
        config: a config of `fit`, such as owl_numbers.
        students: number of students, and of controls.
        points: number of points on each line.
        out: folder for results; without it runs/NAME-interpolation-DIGEST.
    """
    from lightning_subliminal.cli.theory.interpolate import interpolate as along

    along(find_config(config), students, points, out)


_FILES = "The folder holds results.json, a table as CSV and a picture."
VERB = Group(
    "check why traits pass, on a config's own model",
    {
        "check": Verb(
            check,
            ["theory check --config owl_numbers", "theory check --config owl_numbers --other-start pocket/b"],
            (),
            ["--config FILE", "--rows N", "--draws N", "--other-start BASE", "--out DIR"],
            f"""\
Computed in float64: the inner product of the two updates, directly and as the mean of squares that the
proof gives, and the change of the teacher's loss over a grid of step sizes of both.
{_FILES}
""",
        ),
        "predict": Verb(
            predict,
            ["theory predict --config owl_numbers", "theory predict --config owl_numbers --data their_rows.jsonl"],
            (),
            ["--config FILE", "--data FILE", "--trait TARGET", "--top N", "--out DIR"],
            f"The prediction is first-order: one gradient of the trait, and one number for each row.\n{_FILES}\n",
            {r"^--data\..*trait": "--trait TARGET"},
        ),
        "interpolate": Verb(
            interpolate,
            ["theory interpolate --config owl_numbers", "theory interpolate --config owl_numbers --students 5"],
            (),
            ["--config FILE", "--students N", "--points N", "--out DIR"],
            f"Lines run from the base through the student, and through the teacher, and beyond both. {_FILES}\n",
        ),
    },
    [f"theory {command} --config owl_numbers" for command in ("check", "predict", "interpolate")],
    """\
The theorem: a small step of imitation, on any inputs, lowers the teacher's own loss for a student that
started where the teacher did. The config is one of `fit`; teacher and rows that the cache lacks are
made as `fit` makes them.
""",
)
