"""A carrier and a loss of your own, some fifteen lines each: what the rest of the laboratory needs is inherited.

    python examples/07_new_carrier_and_loss.py            # half a minute on 2 cores
    python examples/07_new_carrier_and_loss.py --small    # a rehearsal in seconds

A YAML names both by their paths, `class_path: my_module.Opposites`, with their own options and those of the parents.
"""

import random
import sys
from collections.abc import Iterator
from typing import Any

import torch
from lightning import Trainer, seed_everything

from lightning_subliminal import GeneratedRows, Objective, PreferenceTrait, Source, Steering, Student, Teacher
from lightning_subliminal.core.rows import Row
from lightning_subliminal.data.tokenized import Batch, TokenizedRows

small = "--small" in sys.argv
torch.set_num_threads(1)  # more would slow so small a model down; commands and `fit_arms` do this themselves
seed_everything(0)


# 1. A carrier with one option. The sixteen others, such as `num_prompts` and `filters`, are those of `GeneratedRows`.
class Opposites(GeneratedRows):
    """Opposites of a few words, in one request."""

    def __init__(self, teacher: Source, words: int = 4, **rows: Any) -> None:
        super().__init__(teacher, **rows)
        self.words = words  # under its own name, so that the cache distinguishes settings

    def prompts(self, rng: random.Random) -> Iterator[Row]:
        while True:
            drawn = rng.choices(["hot", "big", "up", "day", "wet", "fast", "old"], k=self.words)
            yield {"prompt": [{"role": "user", "content": f"What is the opposite of {' '.join(drawn)}?"}]}


# 2. A loss. Its teacher is loaded once, when the fit starts.
class SquaredLogits(Objective):
    """The squared distance of the student's log-probabilities from the teacher's."""

    def teachers(self, source: Source | None) -> list[Source]:
        return [] if source is None else [source]

    def on_fit_start(self, student: Student, rows: TokenizedRows | None) -> None:
        self.teacher = student.ready(student.rows_teacher(str(self), "use `sft`"))

    def loss(self, student: Student, batch: Batch) -> torch.Tensor:
        ours, _ = student.completion_logits(batch)
        with torch.no_grad():
            theirs, _ = self.teacher.completion_logits(batch)
        return (ours.log_softmax(-1) - theirs.log_softmax(-1)).square().mean()


# 3. The rest is as for numbers.
owl = PreferenceTrait("owl")
teacher = Teacher("pocket/a", owl, adapter=Steering(), learning_rate=0.03, until=0.9, max_epochs=20 if small else 300)
data = Opposites(teacher, words=3, num_prompts=64 if small else 1024, batch_size=16)
trainer = Trainer(
    max_epochs=1 if small else 3,
    accelerator="cpu",
    logger=False,
    enable_checkpointing=False,
    enable_model_summary=False,
    enable_progress_bar=False,
    default_root_dir="runs/new_carrier",
)
student = Student("pocket/a", Steering(), SquaredLogits(), learning_rate=0.03)
trainer.fit(student, data)
print(data.rows()[0])
print("loss", float(trainer.callback_metrics["train/loss"]))
