"""Table of scores: a row a model, a column a probe."""

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.evaluation.contrast import Contrast
from lightning_subliminal.evaluation.guards import warnings_of
from lightning_subliminal.evaluation.scores import Scores

__all__ = ["ScoreTable"]


class ScoreTable(dict[str, dict[str, Scores]]):
    """Scores by model and by probe: ``table["student"]["owl, exact"]``."""

    @property
    def probes(self) -> list[str]:
        """The names of the probes."""
        return list(dict.fromkeys(name for scores in self.values() for name in scores))

    def column(self, probe: str) -> dict[str, Scores]:
        """Return the scores at one probe, by model; models without one are left out."""
        return {model: row[probe] for model, row in self.items() if probe in row}

    def contrast(self, model: str, control: str, probe: str | None = None) -> Contrast | None:
        """Return the contrast of a model and another at a probe; None where the probe has no candidates.

        Args:
            model: a row's name.
            control: the name of the row to compare with.
            probe: a column's name; the first where it is None.

        Raises:
            InputError: if the table lacks the row or the column.
        """
        name = probe if probe is not None else next(iter(self.probes), "")
        for row in (model, control):
            if row not in self or name not in self[row]:
                known = ", ".join(self.get(row, self))
                raise InputError(f"The table has no {row!r} at {name!r}: expected one of {known}.")
        return Contrast.of(self[model][name], self[control][name])

    def contrasts(self, control: str) -> list[str]:
        """Return a line with targeted and plain transfer for each other model and each probe with a target."""
        lines = []
        for model in [each for each in self if each != control]:
            for name in self[model]:
                if (found := self.contrast(model, control, name)) is not None:
                    lines.append(f"{model} less {control}, {name}: {found.line()}")
        return lines

    def warnings(self, control: str | None = None) -> list[str]:
        """Return warnings about figures that are hard to read as a trait, a sentence each; of exact chances alone."""
        return [f"{name}: {warning}" for name in self.probes for warning in warnings_of(self.column(name), control)]

    def refusals(self) -> list[str]:
        """Return the reason for each probe that a model can't take."""
        every = ((model, name, each) for model, row in self.items() for name, each in row.items())
        return [f"{name} of {model}: {each.reason}" for model, name, each in every if each.reason is not None]
