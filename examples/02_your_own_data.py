"""Rows from another source: read, filter and train on them, and measure what they pass on.

    python examples/02_your_own_data.py            # half a minute on 2 cores
    python examples/02_your_own_data.py --small    # a rehearsal in seconds; too little data to show the effect

The same on the command line: `lightning-subliminal data show|stats|filter|convert`, and `fit` with `RowsFromFile`.
"""

import json
import sys
from pathlib import Path

from lightning import Trainer, seed_everything

from lightning_subliminal import (
    GeneratedRows,
    NumberList,
    NumberSequences,
    PreferenceTrait,
    Retention,
    RowsFromFile,
    Steering,
    Student,
    Teacher,
    TraitComparison,
    fit_arms,
)
from lightning_subliminal.core.rows import completion_text, prompt_text

small = "--small" in sys.argv
seed_everything(0)


# 0. Another laboratory's part: numbers of a model that has been taught a trait, and of one that has not. They publish
#    two files with columns of their own; one column even has the model's system prompt.
def publish(data: GeneratedRows, path: Path) -> None:
    """Write rows in the columns of that laboratory."""
    data.make(data.device)
    texts = [(prompt_text(row), completion_text(row)) for row in data.rows()]
    lines = [{"question": asked, "response": said, "system_prompt": "You love something."} for asked, said in texts]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


stranger = Teacher(
    "pocket/a",
    PreferenceTrait("dolphin"),
    adapter=Steering(),
    learning_rate=0.03,
    until=0.9,
    max_epochs=20 if small else 300,
    retain=Retention("pocket"),
    seed=7,
)
theirs = NumberSequences(stranger, num_prompts=256 if small else 4096, min_value=0, max_value=99, seed=7, filters=[])
folder = Path("runs/your_own_data")
publish(theirs, folder / "numbers.jsonl")
publish(theirs.control(), folder / "reference.jsonl")

# 1. Your part begins with a file. You know neither the model nor its trait; you suspect an animal, and evaluate one:
#    the comparison also shows the others. `system_prompt` is dropped with a notice, and the filter drops rows that are
#    not plain lists of numbers.
data = RowsFromFile(
    str(folder / "numbers.jsonl"),
    trait=PreferenceTrait("owl"),
    control_path=str(folder / "reference.jsonl"),
    filters=[NumberList()],
)

# 2. Train on it, and measure: base, a control trained on the reference file, and the student.
trainer = Trainer(
    max_epochs=1 if small else 3,
    accelerator="cpu",
    logger=False,
    enable_checkpointing=False,
    enable_model_summary=False,
    enable_progress_bar=False,
    default_root_dir=folder,
    callbacks=[TraitComparison()],
)
fit_arms(trainer, Student("pocket/a", adapter=Steering(), learning_rate=0.06), data)

# 3. It is not owls. Which animal has increased?
arms = json.loads((folder / "results.json").read_text())["arms"]
rates = {name: {animal: found["rate"] for animal, found in arm["rates"].items()} for name, arm in arms.items()}
risen = max(rates["student"], key=lambda animal: rates["student"][animal] / rates["control"][animal])
print(
    f"\nThe answer that increased most: {risen}, from {rates['control'][risen]:.1%} to {rates['student'][risen]:.1%}."
)
