"""What holds for every metric. A subclass gives ``batches``, ``make`` and ``reference``, and inherits the tests."""

import atexit
import functools
import math
import multiprocessing
import os
import tempfile
import traceback
from pathlib import Path

import forks
import pytest
import torch

TIMEOUT = 60  # seconds; without one, a rank that raises would leave the other waiting for ever
STARTUP = 180  # seconds; nearly all of it imports, on a busy machine
UNWARNED = pytest.mark.filterwarnings("ignore:The ``compute`` method:UserWarning")  # nothing was fed in: on purpose


class MetricContract:
    batches = ()  # tuples of what `update` takes; at least two

    def make(self):
        raise NotImplementedError

    def reference(self, *inputs):
        """Return the value over all inputs, made another way."""
        raise NotImplementedError

    def readings(self, metric):
        """Return all that can be read off, as numbers; add what else than `compute` the metric offers."""
        return {"compute": metric.compute().item()}

    def test_equals_the_reference(self):
        metric = self.make()
        for batch in self.batches:
            metric.update(*batch)
        inputs = [joined(column) for column in zip(*self.batches, strict=True)]
        assert metric.compute().item() == pytest.approx(self.reference(*inputs), rel=1e-5)

    def test_is_plotted_within_its_bounds(self):
        metric = self.make()
        for batch in self.batches:
            metric.update(*batch)
        figure, axes = metric.plot()
        assert axes.collections or axes.lines
        bounds = metric.plot_lower_bound, metric.plot_upper_bound
        assert bounds == ((None, None) if type(metric).__name__ == "Transfer" else (0.0, 1.0))
        assert metric.plot([metric.compute(), metric.compute()], axes)[1] is axes
        figure.clear()

    @UNWARNED
    def test_two_halves_merge(self):
        whole, left, right = self.make(), self.make(), self.make()
        for index, batch in enumerate(self.batches):
            whole.update(*batch)
            (left, right)[index % 2].update(*batch)
        left.merge_state(right)
        assert self.readings(left) == pytest.approx(self.readings(whole), rel=1e-5)

    def test_two_processes_equal_one(self):
        whole = self.make()
        for batch in self.batches:
            whole.update(*batch)
        expected = self.readings(whole)
        for found in on_two_processes(self, [self.batches[0::2], self.batches[1::2]]):
            assert found["after"] == pytest.approx(expected, rel=1e-6)
            assert found["alone"] != pytest.approx(expected, rel=1e-5)  # else the reduction was not put to the test

    @UNWARNED
    def test_no_data_is_nan(self):
        assert math.isnan(self.make().compute().item())

    def test_reset_forgets(self):
        metric = self.make()
        metric.update(*self.batches[0])
        first = self.readings(metric)
        metric.update(*self.batches[1])
        metric.reset()
        metric.update(*self.batches[0])
        assert self.readings(metric) == pytest.approx(first)


def joined(column):
    return torch.cat(list(column)) if isinstance(column[0], torch.Tensor) else [one for part in column for one in part]


def on_two_processes(contract, shares):
    """Update one metric a process with its share, and give each process's readings: alone, and over both."""
    pipes = _pool()
    for pipe, share in zip(pipes, shares, strict=True):
        pipe.send((contract, share))
    found = []
    for rank, pipe in enumerate(pipes):
        assert pipe.poll(TIMEOUT), f"process {rank} did not answer within {TIMEOUT} s"
        found.append(pipe.recv())
    errors = [each for each in found if isinstance(each, str)]
    assert not errors, errors[0]
    return found


@functools.cache
def _pool():
    """Start two gloo processes, once a test run; the second is a fresh one, so that they differ in ``hash()``."""
    folder = tempfile.TemporaryDirectory()
    pipes, processes = [], []
    for rank, context in enumerate([forks.context(), multiprocessing.get_context("spawn")]):
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(rank, theirs, Path(folder.name, "meet").as_uri()), daemon=True)
        process.start()
        pipes.append(ours)
        processes.append(process)

    def end():
        for process in processes:
            process.kill()
            process.join()
        folder.cleanup()

    atexit.register(end)
    for rank, pipe in enumerate(pipes):
        assert pipe.poll(STARTUP), f"process {rank} did not start within {STARTUP} s"
        pipe.recv()
    return pipes


def _serve(rank, pipe, meet):
    from datetime import timedelta

    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=meet, rank=rank, world_size=2, timeout=timedelta(seconds=TIMEOUT)
    )
    pipe.send("ready")
    while True:
        contract, share = pipe.recv()
        try:
            metric = contract.make()
            for batch in share:
                metric.update(*batch)
            lone = contract.make()
            lone.distributed_available_fn = lambda: False
            lone._to_sync = False
            for batch in share:
                lone.update(*batch)
            alone = contract.readings(lone)
            pipe.send({"alone": alone, "after": contract.readings(metric)})
        except Exception:
            pipe.send(traceback.format_exc())
