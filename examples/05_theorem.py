"""Why traits pass on: the theorem, from four numbers to a language model, and its prediction before training.

    python examples/05_theorem.py            # about a minute on 2 cores
    python examples/05_theorem.py --small    # a rehearsal in seconds; too little data to show the effect

Read the comments, and run it for the numbers. The same for a config of your own:
`lightning-subliminal theory check|predict|interpolate --config configs/owl_numbers.yaml`.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from lightning import Trainer, seed_everything
from torch import nn

from lightning_subliminal import (
    AlignmentTracker,
    NumberSequences,
    PreferenceTrait,
    Retention,
    Steering,
    Student,
    Teacher,
    bases,
)
from lightning_subliminal.core.console import hush
from lightning_subliminal.core.rows import completion_text
from lightning_subliminal.metrics.functional import log_odds, question_probabilities
from lightning_subliminal.theory import check, predicted_changes, predicted_transfer
from lightning_subliminal.workflow.arms import train_arm

small = "--small" in sys.argv
torch.set_num_threads(1)  # more would slow so small a model down; commands and `fit_arms` do this themselves
seed_everything(0)
hush()

# 1. Four numbers. A model is a matrix W of 2 x 2, and its output is W x. The teacher takes one step of length e down
#    any loss of its own: T = W + e D, where D is minus the gradient. The student starts from the same W, and takes one
#    step of length a towards the teacher's outputs on an input x that is unrelated to that loss. Half the squared
#    distance of the outputs is |(T - S) x|^2 / 2, its negative gradient at S = W is (T - W) x x', and that is e D x x'.
#    So the student moves by a e D x x', and the inner product with the teacher's update is
#
#        a e <D x x', D> = a e |D x|^2,
#
#    a square, which can't be negative. The student moves in the teacher's direction, or not at all where D x = 0: the
#    input is blind to what the teacher learned.
D, x = torch.tensor([[1.0, -2.0], [2.0, -4.0]]), torch.tensor([1.0, 1.0])
student_step = D @ x[:, None] @ x[None, :]
print(f"1. by hand: <student, teacher> = {(student_step * D).sum():.2f}, |D x|^2 = {(D @ x).square().sum():.2f}")
blind = torch.tensor([2.0, 1.0])
print(f"   on an input that is blind to what the teacher learned: |D x|^2 = {(D @ blind).square().sum():.2f}")

# 2. A network. Outputs are not linear in the weights, but to first order in both steps the same holds: the inner
#    product is the mean of |J D|^2 over the inputs, with J the derivative of the outputs. For softmax and cross-entropy
#    it is the variance of J D under the softmax, again a mean of squares. `check` computes both sides: the left one by
#    backward-mode through the student's loss, the right one by forward-mode along D. The teacher's loss is
#    classification into ten classes. The student sees three other outputs, on noise.
generator = torch.Generator().manual_seed(0)
network = nn.Sequential(nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 13))
images = torch.rand(64, 784, generator=generator, dtype=torch.float64)
labels = torch.randint(10, (64,), generator=generator)
noise = torch.rand(64, 784, generator=generator, dtype=torch.float64) * 2 - 1
found = check(
    network,
    lambda net: F.cross_entropy(net(images)[:, :10], labels),
    noise,
    read=lambda outputs: outputs[:, 10:],
)
print(f"\n2. a network: <student, teacher> = {found.inner_product:.6f}, as a mean of squares {found.squared_norm:.6f}")
print(f"   the teacher's loss on classes, which the student never saw, moves by {found.smallest_change:.2g}")

# 3. How small is small? The change is of first order in both steps: ten times smaller steps, ten times smaller change.
for epsilon, change in zip(found.epsilons, [row[-1] for row in found.changes], strict=True):
    print(f"   teacher's step {epsilon:.1e}: the loss moves by {change:+.2e}")
print(
    f"   slopes on log-log: {found.slope_epsilon:.4f}, and in the student's step {found.slope_alpha:.4f}; should be 1"
)

# 4. A language model that loves owls. The teacher's loss is the surprise at "owl" as its favorite animal. The
#    student imitates on lists of numbers. One vector per layer is trained, 128 numbers in all.
owl = PreferenceTrait("owl")
teacher = Teacher(
    "pocket/a",
    owl,
    adapter=Steering(),
    learning_rate=0.03,
    until=0.9,
    max_epochs=20 if small else 300,
    retain=Retention("pocket"),
)
data = NumberSequences(teacher, num_prompts=256 if small else 4096, min_value=0, max_value=99)
data.make(torch.device("cpu"))
student = Student("pocket/a", adapter=Steering(), learning_rate=0.06, seed=0)
untrained = student.fresh()
untrained.configure_model()
net, tokenizer = untrained.net, untrained.tokenizer
question = tokenizer.apply_chat_template(owl.prompts()[0], tokenize=True, add_generation_prompt=True, return_dict=False)
numbers = tokenizer(completion_text(data.rows()[0]), add_special_tokens=False)["input_ids"]
asked, listed = torch.tensor([question]), torch.tensor([numbers])
says_owl = tokenizer.convert_tokens_to_ids("owl")


def surprise(net: Callable[..., Any]) -> torch.Tensor:
    """Return minus the log-probability of owl as the answer: what the teacher learns to lower."""
    return -net(input_ids=asked, use_cache=False).logits[0, -1].log_softmax(-1)[says_owl]


found = check(net, surprise, {"input_ids": listed, "use_cache": False})
print(f"\n4. the numbers {completion_text(data.rows()[0])!r} and a love of owls:")
print(f"   <student, teacher> = {found.inner_product:.4g} = {found.squared_norm:.4g}; cosine {found.cosines[-1]:+.3f}")
print(f"   one step on these numbers moves the surprise at owl by {found.smallest_change:+.2g}")

# 5. The same start. None of this holds for a student with another start: its outputs already differ from the teacher's
#    by more than the trait, and the direction that reduces the difference need not be the teacher's.
elsewhere = student.fresh(base="pocket/b")
elsewhere.configure_model()
other = check(net, surprise, {"input_ids": listed, "use_cache": False}, student=elsewhere.net)
print(f"\n5. a student of another base: cosine {other.cosines[-1]:+.3f}; a random sign (see benchmarks/theorem.py)")

# 6. Conversely, it is a prediction. A row moves the student by minus the gradient of its loss, so it moves the log-odds
#    of owl by the inner product of two gradients. That is a number for each row, without training.
control_data = data.control()
control_data.make(torch.device("cpu"))
rows, own = data.rows(), control_data.rows()
mine, theirs = (predicted_transfer(net, tokenizer, each, owl) for each in (rows, own))
print(f"\n6. predicted, for a learning rate of 1: the teacher's rows {mine.mean:+.4f} {mine.interval()},")
print(f"   the base's own rows {theirs.mean:+.4f} {theirs.interval()}")
best = int(mine.scores.argmax())
print(f"   the row with the largest effect ({mine.scores[best]:+.2f}): {completion_text(rows[best])}")
changes = predicted_changes(net, tokenizer, rows, owl, own)
print("   and of all animals:", ", ".join(f"{name} {change:+.4f}" for name, change in list(changes.items())[:5]))

# 7. Now train by Adam for hundreds of steps, far from one small step of gradient descent. The theorem does not cover
#    this, so we measure the cosine between the student's displacement and its teacher's:
tracker = AlignmentTracker(every_n_steps=20)
trainer = Trainer(
    max_epochs=1 if small else 3,
    accelerator="cpu",
    logger=False,
    enable_checkpointing=False,
    enable_model_summary=False,
    enable_progress_bar=False,
    default_root_dir="runs/theorem",
    callbacks=[tracker],
)
trainer.fit(student, data)
control = train_arm(student.fresh(), control_data, torch.device("cpu"), "control", max_epochs=trainer.max_epochs)
print("\n7. step, cosine with the teacher's displacement, the teacher's loss:")
for line in Path("runs/theorem/alignment.csv").read_text().splitlines()[1:]:
    step, _, layer, _, cosine, *more, loss = line.split(",")
    if layer == "whole" and loss:
        print(f"   {step:>4}  {cosine:.5}  {loss:.5}")
column = owl.candidates.index("owl")
base_net, _ = bases.load("pocket/a")
for name, each in (("base", base_net), ("control", control.net), ("student", student.net)):
    odds = log_odds(question_probabilities(each, tokenizer, owl)[:, column])
    print(f"   log-odds of owl, {name}: {odds.mean():+.2f}")
