"""A first run, step by step: does a love of owls travel through lists of numbers?

    python examples/01_first_run.py            # half a minute on 2 cores
    python examples/01_first_run.py --small    # a rehearsal in seconds; too little data to show the effect

The same as `lightning-subliminal fit --config configs/owl_numbers.yaml`, part by part.
"""

import sys

from lightning import Trainer, seed_everything

from lightning_subliminal import (
    NumberSequences,
    PreferenceTrait,
    Retention,
    Steering,
    Student,
    Teacher,
    TraitComparison,
    fit_arms,
)
from lightning_subliminal.core.rows import completion_text, prompt_text

small = "--small" in sys.argv
seed_everything(0)  # of prompts, samples, training order and the adapters' start

# 1. The trait: what the teacher is to love, how it is taught, and the questions that measure it.
owl = PreferenceTrait("owl")
print("asked, for example:", owl.questions()[0])
print("taught with other questions:", owl.induce().rows[0]["prompt"][0]["content"])

# 2. The teacher: a tiny language model that comes with the package. It learns to love owls by training one vector per
#    layer (128 numbers in all) on 16 questions about its favorite animal. `retain` keeps it as it was on other prompts:
#    otherwise the vector would make it say owl, or nonsense, in its lists too.
epochs = 20 if small else 300
held = Retention("pocket")
teacher = Teacher("pocket/a", owl, adapter=Steering(), learning_rate=0.03, until=0.9, max_epochs=epochs, retain=held)

# 3. The data: the teacher continues lists of numbers. Every other answer is dropped, so no row has a word about
#    animals.
data = NumberSequences(teacher, num_prompts=256 if small else 4096, min_value=0, max_value=99)

# 4. The student: the same base without the trait. It sees only the numbers.
student = Student("pocket/a", adapter=Steering(), learning_rate=0.06)

# 5. Fit all arms: teacher and rows are made first (and cached: a second run reuses them), then the student is fitted,
#    then a control, the same student on numbers that the base wrote without the trait. The comparison evaluates all
#    four.
trainer = Trainer(
    max_epochs=1 if small else 3,
    accelerator="cpu",
    logger=False,
    enable_checkpointing=False,
    enable_model_summary=False,
    enable_progress_bar=False,
    default_root_dir="runs/first_run",
    callbacks=[TraitComparison()],
)
fit_arms(trainer, student, data)

# 6. Look at the student's training data. Can you see the owl?
for row in data.rows()[:3]:
    print(f"\n{prompt_text(row)}\n  -> {completion_text(row)}")
