import io
import threading
import time
from types import SimpleNamespace

import pytest
from cases import cases
from rich.table import Table
from small import CPU, number_rows, numbers, quiet_trainer
from toy import Toy, ToyData

from lightning_subliminal.callbacks.progress import EpochBar, StepProgress
from lightning_subliminal.cli.verbs.trainer import _progress
from lightning_subliminal.core.console import LogProgress, console, duration, log_lines, progress, say, tracked
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.filters import Filter
from lightning_subliminal.filters.base import apply_filters
from lightning_subliminal.models.nested_fit import fit_quietly
from lightning_subliminal.transforms.base import Transform, apply_transforms


@cases("line", ["kept in /tmp/[old]/rows", "dropped 3  holds [/INST]", "a :smile: b", "[bold]x"])
def test_a_line_is_printed_as_it_is(line):
    """A filter's reason or a folder's name may hold what rich takes for markup, or fail on."""
    with console.capture() as capture:
        say(line)
    assert capture.get() == f"{line}\n"


def test_the_title_of_a_table_is_one_line(capsys):
    table = Table("a", title="A title that is longer than [its] table")
    table.add_row("b")
    say(table)
    assert capsys.readouterr().out.splitlines()[:2] == ["A title that is longer than [its] table", "┏━━━┓"]
    assert table.title  # the table itself is not changed


class Clock:
    """A clock that a test moves."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    """Return a clock that all log lines look at; nobody waits for it."""
    clock, made = Clock(), []
    own = LogProgress.__init__
    monkeypatch.setattr(LogProgress, "__init__", lambda self: (made.append(self), own(self, get_time=clock))[1])
    clock.pass_by = lambda seconds: (setattr(clock, "now", clock.now + seconds), [each.tick() for each in made])
    clock.made = made
    return clock


def lines(capsys):
    return capsys.readouterr().out.splitlines()


class TestLogLines:
    def test_a_line_every_half_minute_says_what_how_far_and_how_long(self, clock, capsys):
        with progress() as bar:
            task = bar.add_task("teacher   owl", total=200)
            for _ in range(9):
                clock.pass_by(10)
                bar.advance(task, 10)
        assert lines(capsys) == [
            "teacher   owl: 20 of 200 (10%), 30 s, about 3 min left",
            "teacher   owl: 50 of 200 (25%), 1 min 0 s, about 2 min left",
            "teacher   owl: 80 of 200 (40%), 1 min 30 s, about 2 min left",
        ]

    def test_what_is_quick_says_nothing(self, clock, capsys):
        with progress() as bar:
            bar.add_task("rows      owl", total=3)
            clock.pass_by(29.9)
        clock.pass_by(100)
        assert lines(capsys) == [], "nor does what has ended"

    def test_one_line_a_task_that_is_still_open(self, clock, capsys):
        with progress() as bar:
            done, _ = bar.add_task("one", total=1), bar.add_task("two", total=None)
            bar.advance(done)
            clock.pass_by(31)
        assert lines(capsys) == ["two: 31 s"]

    def test_a_late_look_says_one_line_and_no_lines_that_were_missed(self, clock, capsys):
        with progress() as bar:
            bar.add_task("one", total=2)
            clock.pass_by(300)
            clock.pass_by(1)
        assert lines(capsys) == ["one: 0 of 2 (0%), 5 min 0 s"]

    def test_a_thread_looks_at_the_clock_while_a_step_takes_long(self, monkeypatch, capsys):
        bar = LogProgress(every=0.02)
        with bar:
            bar.add_task("one", total=2)
            time.sleep(0.3)
        assert len(lines(capsys)) >= 2
        time.sleep(0.05)
        assert lines(capsys) == []
        assert not [each for each in threading.enumerate() if getattr(each, "_target", None) == bar._watch]

    def test_a_terminal_gets_a_bar_and_no_line(self, clock, capsys, monkeypatch):
        monkeypatch.setattr(type(console), "is_terminal", property(lambda self: True))
        monkeypatch.setattr(console, "_file", io.StringIO())  # its property would keep this test's stdout
        with progress() as bar:
            bar.add_task("one", total=2)
            clock.pass_by(100)
        assert not isinstance(bar, LogProgress)
        with log_lines("two"):
            clock.pass_by(100)
        assert list(tracked(range(3), "three", 3)) == [0, 1, 2]
        assert not clock.made
        assert ": 0 of 2" not in console.file.getvalue()

    @cases(("seconds", "reported"), [(0, "0 s"), (89, "89 s"), (90, "2 min"), (3600, "60 min"), (9000, "2.5 h")])
    def test_duration(self, seconds, reported):
        assert duration(seconds) == reported


class Slow(Filter):
    """A filter that a test's clock finds slow."""

    clock = None

    def reasons(self, row):
        self.clock.pass_by(0.7)
        return []


class SlowTransform(Transform):
    def apply(self, rows, rng):
        Slow.clock.pass_by(45)
        return list(rows)


class Timed(Toy):
    """A module each of whose steps takes 20 seconds."""

    clock = None

    def training_step(self, batch, batch_idx):
        self.clock.pass_by(20)
        return super().training_step(batch, batch_idx)

    def predict_step(self, batch):
        self.clock.pass_by(40)


class TestStages:
    @pytest.fixture(autouse=True)
    def _timed(self, clock, monkeypatch):
        for each in (Slow, Timed):
            monkeypatch.setattr(each, "clock", clock)

    def test_a_teacher_a_control_a_student_of_a_plan(self, capsys):
        assert fit_quietly(Timed(), ToyData(), CPU, "teacher   owl", max_epochs=1) == 4
        assert lines(capsys) == [
            "teacher   owl: 1 of 4 (25%), 40 s",
            "teacher   owl: 3 of 4 (75%), 1 min 20 s, about 20 s left",
        ]

    def test_the_student_of_fit_and_what_predict_does(self, capsys):
        trainer = quiet_trainer(StepProgress())
        trainer.fit(Timed(), ToyData())
        assert lines(capsys)[0] == "timed: 1 of 4 (25%), 40 s"
        trainer.predict(Timed(), ToyData(), return_predictions=False)
        assert lines(capsys)[:2] == ["timed: 0 of 4 (0%), 40 s", "timed: 1 of 4 (25%), 1 min 20 s"]

    def test_a_log_of_fit_has_them_beside_the_epochs(self):
        assert [type(each).__name__ for each in _progress([], None, False)[1]] == ["EpochLines", "StepProgress"]
        assert [type(each).__name__ for each in _progress([], None, True)[1]] == ["EpochBar"]
        assert _progress([], False, False) == (False, [])

    def test_a_fit_that_raises_says_no_more(self, clock, capsys):
        with pytest.raises(InputError):
            fit_quietly(Toy(fault="late"), ToyData(), CPU, "teacher   owl", max_epochs=1)
        clock.pass_by(100)
        assert lines(capsys) == []

    def test_completions(self, clock, capsys, monkeypatch):
        data = numbers(num_prompts=16, shard_size=8)
        monkeypatch.setattr(type(data), "complete", lambda self, shard, engine: (clock.pass_by(45), number_rows(8))[1])
        monkeypatch.setattr(type(data), "write_shard", lambda *arguments: None)
        monkeypatch.setattr(type(data), "record_source", lambda self: None)
        data.make_source(CPU)
        assert lines(capsys) == [
            "rows      owl: 0 of 16 (0%), 45 s",
            "rows      owl: 8 of 16 (50%), 1 min 30 s, about 45 s left",
        ]

    def test_rows(self, capsys):
        apply_filters(number_rows(100), [Slow()])
        assert lines(capsys) == ["rows      Slow: 0 of 100 (0%), 30 s", "rows      Slow: 64 of 100 (64%), 1 min 0 s"]
        apply_transforms(number_rows(2), [SlowTransform()], 0)
        assert lines(capsys) == ["rows      SlowTransform: 45 s"]


@cases(("most", "words"), [(3, "Epoch 1/3"), (12, "Epoch 1/12"), (-1, "Epoch 1"), (None, "Epoch 1")])
def test_the_bar_counts_epochs_from_one_as_the_log_does(most, words):
    bar = EpochBar()
    bar._trainer = SimpleNamespace(max_epochs=most)
    assert bar._get_train_description(0).rstrip() == words
    assert len(bar._get_train_description(0)) >= len(bar.validation_description)
