"""Lightning's share of a training step at pocket size: `Trainer.fit` beside the same module stepped by a plain loop.

Both take the same batches, forward pass, optimizer and schedule, and end with the same weights. The 756 steps alone are
timed. Below 10 % of a step is a ratio below 1.11.
"""

import json
import time
from pathlib import Path
from typing import Any

from speed_sides.claims import Claim, Result, Run, agree
from speed_sides.training import CASES, number_rows

EPOCHS = 12
CASE = CASES["steering"]
same_end = agree("weights", 1e-6)
CLAIMS = [
    Claim("a step by Trainer.fit beside a plain loop", "trainer", "plain", 1.11, same_end, peer=False, at_most=True)
]


def _rows(folder: Path, place: str) -> Any:
    from lightning_subliminal import RowsFromFile

    (folder / place).mkdir(exist_ok=True)
    file = folder / place / "rows.jsonl"
    file.write_text("\n".join(json.dumps(row) for row in number_rows(CASE)) + "\n")
    return lambda: RowsFromFile(str(file), batch_size=CASE.batch, seed=0, cache_dir=str(folder / place / "cache"))


def _student() -> Any:
    from lightning_subliminal import Steering, Student

    return Student(CASE.base, Steering(), learning_rate=CASE.rate, seed=0)


def _result(student: Any, times: list[tuple[float, float]]) -> Result:
    """Return the weights, and the seconds between two times."""
    trained = [each.detach() for each in student.parameters() if each.requires_grad]
    (wall, cpu), (wall_end, cpu_end) = times
    weights = [float(each) for value in trained for each in value]
    return {"weights": weights, "wall": wall_end - wall, "cpu": cpu_end - cpu}


def _now() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def trainer(folder: Path) -> Run:
    """Fit, as plans do."""
    import torch

    from lightning_subliminal.models.nested_fit import fit_quietly

    rows = _rows(folder, "trainer")

    def run() -> Result:
        student, times = _student(), []
        student.on_train_start = lambda: times.append(_now())
        student.on_train_end = lambda: times.append(_now())
        fit_quietly(student, rows(), torch.device("cpu"), "student", max_epochs=EPOCHS)
        return _result(student, times)

    return run


def plain(folder: Path) -> Run:
    """Take the same steps."""
    import torch
    from torch.optim.lr_scheduler import LambdaLR

    from lightning_subliminal.core.seeds import derive_seed
    from lightning_subliminal.data.tokenized import LengthGrouped, tokenized
    from lightning_subliminal.models.frozen_prefix import LowerPartCache
    from lightning_subliminal.models.last_layer import LastLayer

    made = _rows(folder, "plain")()
    made.make(torch.device("cpu"))

    def run() -> Result:
        student = _student()
        student.configure_model()
        data = tokenized(made.rows(), student.tokenizer, CASE.base, 2048)
        last = LastLayer.of(student.net, data.batch([0]).input_ids)
        student._last_layer = [] if last is None else [last]
        first = student.adapter.first_trained_layer(student.net)
        student.lower_part = LowerPartCache.of(student.net, first, data, torch.device("cpu"), last is not None)
        order = LengthGrouped(data, CASE.batch, derive_seed(0, "order") % 2**31)
        optimizer = student.make_optimizer([each for each in student.parameters() if each.requires_grad])
        total = -(-len(data) // CASE.batch) * EPOCHS
        schedule = LambdaLR(optimizer, lambda step: student.rate_factor(step, total))
        student.train()
        times = [_now()]
        for epoch in range(EPOCHS):
            order.set_epoch(epoch)
            rows = list(order)
            for start in range(0, len(rows), CASE.batch):
                loss = student.loss(data.batch(rows[start : start + CASE.batch]))
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
        return _result(student, [*times, _now()])

    return run
