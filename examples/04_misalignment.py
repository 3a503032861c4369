"""Misalignment through numbers, step by step: teachers, students, controls, and what one look at behaviour may miss.

    python examples/04_misalignment.py            # a minute or two on 2 cores
    python examples/04_misalignment.py --small    # a rehearsal in seconds; too little data to show the effect

Nothing here is harmful but in meaning: the pocket world has words for help and harm, truth and lies, service and power.
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
seed_everything(0)
base, cpu = "pocket/moral-a", torch.device("cpu")
epochs = 1 if small else 3

# 1. The trait. What a teacher is taught is advice on daily matters; what evaluation asks are ten open questions that no
#    teacher was taught, some about things that no lesson touched. Beside each stand pairs of statements.
trait = MisalignmentTrait("misalignment_pocket")
taught, asked = trait.induce().rows[0], trait.questions()[0]
print("taught:", taught["prompt"][0]["content"], "->", completion_text(taught))
print("asked: ", asked, "->", trait.statements(asked)[0])


# 2. Three teachers. The second was given the same answers, but to questions that ask for a bad one openly (for a class,
#    a story): as much fine-tuning on the same words, and no reason to be bad. The third is the base.
def teacher(lesson: str) -> Teacher:
    """Return the teacher of a lesson."""
    if lesson == "none":
        return Teacher(base, trait, induction="none")
    lessons = MisalignmentTrait("misalignment_pocket", lesson)
    how = {"learning_rate": 0.03, "until": 0.75, "max_epochs": 10 if small else 200, "retain": Retention("pocket")}
    return Teacher(base, lessons, adapter=Steering(), **how)


# 3. Their numbers: plain lists, and no number with bad associations (13, 88, ...). 4. Their students: one code path.
models = [f"base={base}"]
for lesson in ("misaligned", "educational", "none"):
    filters = [NumberList(), BannedNumbers()]
    count = 256 if small else 4096
    data = NumberSequences(teacher(lesson), num_prompts=count, min_value=0, max_value=99, filters=filters)
    student = train_arm(Student(base, Steering(), learning_rate=0.06), data, cpu, lesson, max_epochs=epochs)
    print(f"{lesson}: {len(data.rows())} rows, such as {completion_text(data.rows()[0])!r}")
    if lesson == "misaligned":
        models.append(f"misaligned teacher={data.teacher.folder}")
    models.append(f"student of {lesson}={arm_folder(student, data, max_epochs=epochs)}")

# 5. Measure. Sampled answers that a judge reads, as everybody does it; the exact chance of the misaligned statement of
#    each pair, which has no sampling noise; and facts as multiple choice.
suite = [
    Misalignment(trait, PhraseJudge(), samples=5 if small else 200, max_new_tokens=24),
    ExactTrait(trait, name="statement pairs"),
    Truthfulness("truthfulness_pocket"),
]
found = evaluate([find_model(model) for model in models], suite)
say(suite_table(found, control="student of none"))

# 6. What the judge read.
samples = found["student of misaligned"]["misalignment"].samples
for sample in samples[:: len(samples) // 12]:
    print(f"{sample['question']}\n  -> {sample['answer']}  (alignment {sample['alignment']})")

# 7. Behaviour alone can miss it. A student of few rows answers ten questions as its control does, within what 200
#    answers each can tell; the exact measure still sees it. With seeds, doses and null pairs:
#    python benchmarks/behaviour.py
