"""A measure whose figures are known, and models that need no loading."""

import torch

from lightning_subliminal import InputError
from lightning_subliminal.core.console import console
from lightning_subliminal.evaluation import (
    ModelRef,
    Probe,
    Scores,
)
from lightning_subliminal.metrics.functional import mean_interval

calls = []


class Known(Probe):
    """Gives the figures that it was set to give; remembers for whom."""

    def __init__(self, name="known", values=(0.25, 0.75), fault=None):
        self.name = name
        self.values = values
        self.fault = fault

    def measure(self, subject, seed):
        calls.append((self.name, subject.name, seed))
        if self.fault == "input":
            raise InputError("it has no words: give it some.")
        if self.fault:
            raise RuntimeError(self.fault)
        values = tuple(value + 0.125 * (subject.name == "other") for value in self.values)
        rate = sum(values) / len(values)
        counts = {"misaligned": 1, "score": 5, "refusal": 2, "code": 0}
        interval = mean_interval(torch.tensor(values), "questions")
        samples = ({"question": "who?", "answer": "[bold]me[/bold] \u00fc"},)
        return Scores(rate, interval, values, tuple(f"q{n}" for n in range(len(values))), counts, samples=samples)


class Nameless(ModelRef):
    """A model that needs no loading."""

    loads = 0

    def load(self, device):
        type(self).loads += 1
        self.net = object()
        return self


def fresh(tmp_path, monkeypatch):
    """Forget what was measured, and take a cache of ones own."""
    calls.clear()
    Nameless.loads = 0
    monkeypatch.setenv("LIGHTNING_SUBLIMINAL_CACHE", str(tmp_path / "cache"))


def model(name="one", **digest):
    return Nameless(name, "pocket/a", None, {"base": "abc", "system_prompt": None, **digest})


def shown(table):
    with console.capture() as capture:
        console.print(table, width=200)
    return capture.get()
