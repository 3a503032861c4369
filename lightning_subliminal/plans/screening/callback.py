"""A screen of a fit's rows, before its first training step."""

from pathlib import Path
from typing import Literal

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.seed import isolate_rng

from lightning_subliminal.core.console import say
from lightning_subliminal.core.errors import InputError, TaintedError, check_alpha
from lightning_subliminal.core.processes import on_first, results_folder
from lightning_subliminal.data import TrainingRows
from lightning_subliminal.lineage import RowsTree, artefact_material
from lightning_subliminal.plans.screening.record import write_screen_result
from lightning_subliminal.plans.screening.screener import screen_file
from lightning_subliminal.screening import Screen

__all__ = ["ScreenData"]

_HIGHEST = 37.0  # z above which a double's p is 0, and the shift's z infinite: loggers get a number


class ScreenData(Callback):
    """Screens the rows of a fit for the model's base before the first training step, and stops if they are not clean.

    The first process screens, the others wait; the training is the same as without it. Figures are logged as
    ``screen/shift_z``, ``screen/highest_z`` and ``screen/rows``, and the verdict is written into ``test-results`` of
    the run's folder, where `audit --require screened` reads it. Rows that a teacher with a trait wrote are tainted, and
    a fit on them is supposed to stop: an experiment that wants to train on them says ``action: warn``. Clean rows of
    which more than 1 % have no score stop a fit, too.

    Args:
        carrier: numbers, code or math, or a config of `fit`: what clean rows of the base look like.
        reference: a file of `screen reference` in its place.
        suspects: models or adapters to look for besides the catalogue, each ``NAME=PLACE`` as ``--suspect`` takes it.
        alpha: chance of a false alarm of the whole screen.
        action: at another verdict than clean, `stop` the fit, or `warn` and go on.

    Attributes:
        found: the screen, on the first process, once it is made.
    """

    found: Screen | None = None

    def __init__(
        self,
        carrier: str = "numbers",
        reference: str | None = None,
        suspects: list[str] | None = None,
        alpha: float = 0.01,
        action: Literal["stop", "warn"] = "stop",
    ) -> None:
        if action not in ("stop", "warn"):
            raise InputError(f"`action` is {action!r}: choose stop or warn.")
        check_alpha(alpha)
        self.carrier = carrier
        self.reference = reference
        self.suspects = suspects
        self.alpha = alpha
        self.action = action

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Screen on the first process.

        Raises:
            TaintedError: if the rows are not clean and ``action`` is stop; the command line exits with 3.
            InputError: if the rows, the base or the reference can't be screened, or more than 1 % of clean rows have no
                score and ``action`` is stop; it exits with 2.
        """
        data, base = getattr(trainer, "datamodule", None), getattr(pl_module, "base", None)
        if not isinstance(data, TrainingRows) or base is None:
            raise InputError("ScreenData needs a Student and rows to train it on, such as RowsFromFile.")
        folder = results_folder(trainer)
        on_first(lambda: self._screen(trainer, data, str(base), folder))

    def _screen(self, trainer: Trainer, data: TrainingRows, base: str, folder: Path) -> None:
        tree = RowsTree()
        with isolate_rng():  # a base that is loaded may draw numbers
            self.found = found = screen_file(
                data.rows(),
                base,
                self.carrier,
                Path(self.reference) if self.reference is not None else None,
                self.suspects or (),
                self.alpha,
                device=trainer.strategy.root_device,
                tree=tree,
            )
        figures: dict[str, float] = {
            "screen/shift_z": min(found.shift.z, _HIGHEST),
            "screen/highest_z": min(max(each.z for each in found.traits), _HIGHEST),
            "screen/rows": found.rows,
        }
        for logger in trainer.loggers:
            logger.log_metrics(figures, step=trainer.global_step)
            logger.save()
        kept = ""
        if not trainer.fast_dev_run:  # type: ignore[attr-defined]
            path = write_screen_result(folder, found, base, artefact_material("rows", data.folder), tree)
            kept = f"; kept in {path}"
        for line in found.lines():
            say(f"screen    {line.removeprefix('verdict: ')}")
        if found.verdict == "clean" and found.gap is None:
            return
        anyway = f"Nothing was trained{kept}; to train on them all the same, set `action: warn` of ScreenData."
        if found.gap is not None:
            said = f"are clean for {base} as far as they could be read: {found.gap}"
            stop = InputError(f"The rows of {data.title} {said}. {anyway}")
        else:
            said = f"are not clean for {base}"
            what = f"trait {found.named}" if found.named else "a shift"
            stop = TaintedError(f"The rows of {data.title} {said}: {what}. {anyway}")
        if self.action == "stop":
            raise stop
        say(f"WARNING   the rows of {data.title} {said}; `action` is warn, so the fit goes on")
