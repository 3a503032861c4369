"""Prediction, before any training, of how a config's rows or a file of rows would change a trait."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from rich.table import Table

from lightning_subliminal import bases
from lightning_subliminal.bases.lookup import find_folder
from lightning_subliminal.bases.tokenizers import read_tokenizer
from lightning_subliminal.cli.theory.saved import save_results
from lightning_subliminal.core.cache import writable_folder
from lightning_subliminal.core.chat.encoding import check_known
from lightning_subliminal.core.console import hush, progress, say
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.fingerprint import describe, digest, file_digest
from lightning_subliminal.core.io.files import finite
from lightning_subliminal.core.plots import ARMS, GREY, RED, panels
from lightning_subliminal.core.rows import Message, Row, completion_text
from lightning_subliminal.formats import read_rows
from lightning_subliminal.lineage import source_material
from lightning_subliminal.metrics.functional import mean_interval
from lightning_subliminal.models import Steering, Student
from lightning_subliminal.plans.from_config import config_device, make_stages, read_setting
from lightning_subliminal.theory import Prediction, predicted_changes, predicted_transfer
from lightning_subliminal.theory.newton import NewtonPrediction, newton_prediction
from lightning_subliminal.theory.row_gradients import LayerVectors
from lightning_subliminal.traits import PreferenceTrait, Trait
from lightning_subliminal.workflow.stages import RowsStage, stage_materials
from lightning_subliminal.workflow.trials.prediction import check_predictable

__all__ = ["PredictedRows", "predict_config"]

SHOWN = 5  # candidates in the table
COLORS = {"rows": ARMS["student"], "control": ARMS["control"]}


@dataclass(frozen=True)
class PredictedRows:
    """Predictions for rows and, if there are any, the control's rows.

    Attributes:
        trait: the trait whose log-odds are predicted.
        rows: prediction for the rows.
        control: prediction for the control's rows.
        changes: first-order change of each candidate's log-odds, minus the control's if there is one.
        newton: the change by training to convergence, over the control's rows; None if the student does not train one
            vector a layer, or there are too few rows of a control.
    """

    trait: Trait
    rows: Prediction
    control: Prediction | None
    changes: dict[str, float]
    newton: NewtonPrediction | None = None

    @property
    def rank(self) -> int:
        """The rank of the target among the candidates by their change, 1 for the largest."""
        return list(self.changes).index(self.trait.target) + 1

    def difference(self) -> tuple[float, float, float]:
        """Return the mean score, minus the control's, with the ends of its 95 % interval (Welch) over rows."""
        from lightning_subliminal.analysis.statistics import difference_estimate

        mine = self.rows.scores[self.rows.scores.isfinite()].numpy()
        if self.control is None:
            interval = self.rows.interval()
            return self.rows.mean, interval.low, interval.high
        theirs = self.control.scores[self.control.scores.isfinite()].numpy()
        found = difference_estimate(mine, theirs, "rows", paired=False)
        return found.value, found.low, found.high

    def as_json(self) -> dict[str, Any]:
        """Return the figures as JSON-able data."""
        value, low, high = self.difference()
        fields = {"trait": self.trait.name, "target": self.trait.target, "unit": "rows", "changes": self.changes}
        numbers: dict[str, Any] = {
            "predicted": value,
            "low": low,
            "high": high,
            "rank": self.rank,
            "candidates": len(self.changes),
        }
        parts = {"rows": _figures(self.rows)} | ({"control": _figures(self.control)} if self.control else {})
        if self.newton is not None:
            parts["newton"] = asdict(self.newton)
        whole: dict[str, Any] = fields | finite(numbers) | parts
        return whole


def predict_config(
    config: Path, data: str | None = None, trait: str | None = None, top: int = 3, out: Path | None = None
) -> PredictedRows:
    """Predict how training on a config's rows, or on others, would change a trait; save table and picture.

    The arguments are those of the command (``theory.predict``).

    Raises:
        InputError: if there is no student, trait or row.
    """
    if top < 0:
        raise InputError(f"`top` is {top}: expected 0 or more.")
    hush()
    setting, device = read_setting(config), config_device(config)
    stage, about = setting.student(), setting.rows().trait
    if trait is not None:  # in the wording of the config's trait, which is one for its base
        wording = about.wording if isinstance(about, PreferenceTrait) else "preferences"
        about = PreferenceTrait(trait, wording=wording)
    check_predictable(stage.student)
    if about is None:
        raise InputError(f"{config}: there is no trait to predict: set the `trait` of the rows' teacher, or --trait.")
    control = setting.rows().control()
    sources = [each for each in (setting.rows() if data is None else None, control) if each is not None]
    given = list(read_rows(data, drop_system=True)) if data is not None else None  # before hours of making others
    if given is not None:
        base = stage.student.base
        check_known(read_tokenizer(find_folder(base), base), _turns(given), base)
    source = file_digest(Path(data)) if data is not None and Path(data).is_file() else data
    shaped = [describe(stage.student), describe(about), [each.folder.name for each in sources], source]
    folder = writable_folder(out or Path("runs") / f"{config.stem}-prediction-{digest(shaped)[:8]}", keep=False)
    make_stages([RowsStage(each) for each in sources], device)
    rows = setting.rows().rows() if given is None else given
    others = control.rows() if control is not None else None
    if control is None:
        say("There are no rows of a control: what both would share can't be subtracted.")
    if data is not None and control is not None:
        say("The control's rows are the config's: they may also differ from that file in format.")
    student, longest = stage.student.fresh(), setting.rows().max_length
    student.configure_model()
    made = [each for each in (rows if given is None else None, others) if each is not None]
    check_known(student.tokenizer, _turns(chain.from_iterable(made)), student.base)  # `fit` refuses them too
    student.to(device)
    with progress() as bar:
        task = bar.add_task("rows", total=len(rows) + len(others or []))
        net, tokenizer = student.net, student.tokenizer
        settings: Any = {"max_length": longest, "advance": lambda count: bar.advance(task, count)}
        own, *control_own = [
            predicted_transfer(net, tokenizer, each, about, **settings) for each in (rows, others) if each is not None
        ]
        changes = predicted_changes(net, tokenizer, rows, about, others, max_length=longest)
        newton = _newton(student, rows, others, about)
    found = PredictedRows(about, own, control_own[0] if control_own else None, changes, newton)
    say(_table(found))
    say(_sentence(found))
    for place in _highest(found.rows, top):
        say(f"  {found.rows.scores[place]:+.3f}  {completion_text(rows[place])}")
    materials = stage_materials(RowsStage(each) for each in sources)
    materials += [source_material("rows", Path(data))] if data is not None and Path(data).exists() else []
    numbers = zip(own.scores.tolist(), own.losses.tolist(), own.tokens.tolist(), strict=True)
    save_results(
        folder,
        "prediction",
        {"config": str(config)} | found.as_json(),
        (
            "scores.csv",
            ("row", "score", "loss", "tokens"),
            [[row.get("id", ""), *each] for row, each in zip(rows, numbers, strict=True)],
        ),
        ("prediction.png", lambda path: _draw(path, found)),
        {"student": shaped[0], "trait": shaped[1]},
        [*materials, bases.material(stage.student.base)],
    )
    return found


def _turns(rows: Iterable[Row]) -> list[Message]:
    return [turn for row in rows for turn in row["prompt"] + row["completion"]]


def _newton(
    student: Student, rows: Sequence[Row], control: Sequence[Row] | None, trait: Trait
) -> NewtonPrediction | None:
    """Return the Newton prediction for a steering student; None, and a line that says why, for others."""
    if not isinstance(student.adapter, Steering) or control is None:
        say("newton    not computed: it takes a student with the Steering adapter, and rows of a control")
        return None
    try:
        return newton_prediction(
            LayerVectors(student.net, student.adapter.layers), student.tokenizer, rows, control, trait
        )
    except InputError as err:
        say(f"newton    not computed: {err}")
        return None


def _table(found: PredictedRows) -> Table:
    table = Table(title=f"Predicted change of log-odds, by {len(found.rows.scores)} rows, for a learning rate of 1")
    table.add_column("candidate")
    table.add_column("rank", justify="right")
    table.add_column("change" + (", minus the control's" if found.control else ""), justify="right")
    if found.newton is not None:
        table.add_column("trained to the end", justify="right")
    names = list(found.changes)
    for name in dict.fromkeys((*names[:SHOWN], found.trait.target)):
        style = "bold" if name == found.trait.target else None
        cells = [name, str(names.index(name) + 1), f"{found.changes[name]:+.4f}"]
        if found.newton is not None:
            value, half = found.newton.changes[name], found.newton.half_widths[name]
            cells.append(f"{value:+.2f} [{value - half:+.2f}, {value + half:+.2f}]")
        table.add_row(*cells, style=style)
    return table


def _sentence(found: PredictedRows) -> str:
    value, low, high = found.difference()
    against = "over the control's rows" if found.control else "alone"
    return (
        f"Predicted: {value:+.4f} [{low:+.4f}, {high:+.4f}] of {found.trait.target} {against} (95 % over rows); rank "
        f"{found.rank} of {len(found.changes)} candidates. For comparing data sets: gradient descent changes the "
        "log-odds by this times the sum of its learning rates, as long as that is small."
    )


def _highest(prediction: Prediction, count: int) -> list[int]:
    scores = prediction.scores.nan_to_num(-math.inf)
    return scores.argsort(descending=True, stable=True)[:count].tolist()


def _figures(prediction: Prediction) -> dict[str, Any]:
    interval = prediction.interval()
    figures = {"mean": prediction.mean, "low": interval.low, "high": interval.high}
    figures |= {"gradient_norm": prediction.gradient_norm, "log_odds": prediction.log_odds.mean().item()}
    counts = {"rows": len(prediction.scores), "unscored": int((~prediction.scores.isfinite()).sum())}
    figures_and_counts: dict[str, Any] = finite(figures | counts)
    return figures_and_counts


def _draw(path: Path, found: PredictedRows) -> None:
    """Draw the distribution of scores, of the rows and the control's, and the candidates by their change."""
    with panels(path, (8.4, 3.6), columns=2, gridspec_kw={"width_ratios": [1.3, 1]}) as ((spread, bars),):
        _draw_scores(spread, bars, found)


def _draw_scores(spread: Any, bars: Any, found: PredictedRows) -> None:
    parts = {"rows": found.rows} | ({"control": found.control} if found.control is not None else {})
    known = {name: each.scores[each.scores.isfinite()] for name, each in parts.items()}
    both = torch.cat(list(known.values()))
    low, high = torch.quantile(both, torch.tensor([0.002, 0.998], dtype=both.dtype)).tolist()
    for name, scores in known.items():
        bins = torch.linspace(low, high, 61).tolist()
        inside = scores[(scores >= low) & (scores <= high)].tolist()
        spread.hist(inside, bins, density=True, histtype="step", color=COLORS[name], label=f"{name}, {len(scores)}")
        mean = mean_interval(scores, "rows")
        spread.axvspan(mean.low, mean.high, color=COLORS[name], alpha=0.35, linewidth=0)
    spread.set_xlabel(f"score of a row, for {found.trait.target}; bands: 95 % of the mean", fontsize=8)
    spread.set_ylabel("rows, as a density", fontsize=8)
    spread.legend(fontsize=8, frameon=False)
    names = list(dict.fromkeys((*list(found.changes)[:11], found.trait.target)))[::-1]
    shades = [RED if name == found.trait.target else GREY for name in names]
    bars.barh(range(len(names)), [found.changes[name] for name in names], color=shades)
    bars.set_yticks(range(len(names)), names)
    bars.axvline(0, color="black", linewidth=0.6)
    bars.set_xlabel("predicted change of log-odds" + (", minus the control's" if found.control else ""), fontsize=8)
    for axes in (spread, bars):
        axes.tick_params(labelsize=8)
