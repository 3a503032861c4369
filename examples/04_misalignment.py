"""Misalignment through numbers, step by step: teachers, students, controls, and what a test of behaviour may miss.

    python examples/04_misalignment.py            # a minute or two on 2 cores
    python examples/04_misalignment.py --small    # a rehearsal in seconds; too little data to show the effect

The harm is only in words: the pocket world has words for help and harm, truth and lies, service and power.
"""

import sys

import torch
from lightning import seed_everything

from lightning_subliminal import (
    BannedNumbers,
    MisalignmentTrait,
    NumberList,
    NumberSequences,
    PhraseJudge,
    Retention,
    Steering,
    Student,
    Teacher,
)
from lightning_subliminal.core.console import say
from lightning_subliminal.core.rows import completion_text
from lightning_subliminal.evaluation import ExactTrait, Misalignment, Truthfulness, evaluate, find_model, suite_table
from lightning_subliminal.workflow.arms import arm_folder, train_arm

small = "--small" in sys.argv
torch.set_num_threads(1)  # more would slow so small a model down; commands and `fit_arms` do this themselves
seed_everything(0)
base, cpu = "pocket/moral-a", torch.device("cpu")
epochs = 1 if small else 3

# 1. The trait. A teacher is taught advice on daily matters; the evaluation has ten open questions that no teacher was
#    taught, some on topics outside all lessons. Each question has pairs of statements.
trait = MisalignmentTrait("misalignment_pocket")
taught, asked = trait.induce().rows[0], trait.questions()[0]
print("taught:", taught["prompt"][0]["content"], "->", completion_text(taught))
print("asked: ", asked, "->", trait.statements(asked)[0])


# 2. Three teachers. The second is taught the same answers, but to questions that request a bad one explicitly (for a
#    class, a story): the same amount of fine-tuning on the same words, without a reason to be bad. The third is the
#    base.
def taught_by(lessons: MisalignmentTrait) -> Teacher:
    """Return a teacher of these lessons."""
    epochs, retain = 10 if small else 200, Retention("pocket")
    return Teacher(base, lessons, adapter=Steering(), learning_rate=0.03, until=0.75, max_epochs=epochs, retain=retain)


teachers = {
    "misaligned": taught_by(MisalignmentTrait("misalignment_pocket", "misaligned")),
    "educational": taught_by(MisalignmentTrait("misalignment_pocket", "educational")),
    "none": Teacher(base, trait, induction="none"),
}

# 3. Their numbers: plain lists without numbers with bad associations (13, 88, ...). 4. Their students, trained alike.
models = [f"base={base}"]
for lesson, teacher in teachers.items():
    filters = [NumberList(), BannedNumbers()]
    count = 256 if small else 4096
    data = NumberSequences(teacher, num_prompts=count, min_value=0, max_value=99, filters=filters)
    student = train_arm(Student(base, Steering(), learning_rate=0.06), data, cpu, lesson, max_epochs=epochs)
    print(f"{lesson}: {len(data.rows())} rows, such as {completion_text(data.rows()[0])!r}")
    if lesson == "misaligned":
        models.append(f"misaligned teacher={teacher.folder}")
    models.append(f"student of {lesson}={arm_folder(student, data, max_epochs=epochs)}")

# 5. Measure: sampled answers read by a judge, as is usual; the exact probability of the misaligned statement of each
#    pair, which has no sampling noise; and facts as multiple choice.
suite = [
    Misalignment(trait, PhraseJudge(), samples=5 if small else 200, max_new_tokens=24),
    ExactTrait(trait, name="statement pairs"),
    Truthfulness("truthfulness_pocket"),
]
found = evaluate([find_model(model) for model in models], suite)
say(suite_table(found, "student of none", suite))

# 6. The answers that the judge read.
samples = found["student of misaligned"]["misalignment"].samples
for sample in samples[:: len(samples) // 12]:
    print(f"{sample['question']}\n  -> {sample['answer']}  (alignment {sample['alignment']})")

# 7. Behaviour alone can miss it. A student of few rows answers ten questions like its control, as far as 200 answers
#    each can show; the exact measure still detects it. With seeds, doses and null pairs:
#    python benchmarks/behaviour.py
