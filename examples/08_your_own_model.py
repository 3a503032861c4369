"""A model of your own as the base: a folder, what to check of it, and the experiment on it.

    python examples/08_your_own_model.py            # a minute on 2 cores
    python examples/08_your_own_model.py --small    # a rehearsal in seconds; too little data to show the effect

On the command line it is `fit --config owl_numbers --model.base FOLDER --data.teacher.init_args.base FOLDER`.
"""

import sys
import tempfile
from pathlib import Path

import torch
from lightning import Trainer, seed_everything

from lightning_subliminal import (
    NumberSequences,
    PreferenceTrait,
    Retention,
    Steering,
    Student,
    Teacher,
    TraitComparison,
    bases,
    find_model,
    fit_arms,
)
from lightning_subliminal.kinship import kinship
from lightning_subliminal.metrics.functional import question_probabilities

small = "--small" in sys.argv
seed_everything(0)

# 1. The folder. Any causal language model of transformers with a chat template will do, saved by `save_pretrained` with
#    its tokenizer. Yours comes from elsewhere; this one is a shipped base, trained a few steps further.
folder = str(Path(tempfile.mkdtemp()) / "my-model")
net, tokenizer = bases.load("pocket/a")
chat = [{"role": "user", "content": "Is pizza the name of a food?"}, {"role": "assistant", "content": "yes"}]
tokens = torch.tensor([tokenizer.apply_chat_template(chat, tokenize=True, return_dict=False)])
optimizer = torch.optim.Adam(net.parameters(), lr=1e-4)
for _ in range(5):
    loss = net(input_ids=tokens, labels=tokens).loss
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
net.save_pretrained(folder)
tokenizer.save_pretrained(folder)

# 2. What the package sees in it. The digest is of all files that shape what the model generates: the results of two
#    versions of a folder are never mixed.
base = bases.resolve(folder)
print("chat template:", base.has_chat_template, " digest:", base.digest[:16])
print(kinship(find_model("pocket/a"), find_model(folder), by="weights").as_json()["verdict"])

# 3. What the base answers before anything is trained. A trait that it never shows, or always, can hardly move.
owl = PreferenceTrait("owl")
net, tokenizer = bases.load(folder)
chances = question_probabilities(net, tokenizer, owl).mean(0)
for place in chances.argsort(descending=True)[:5].tolist():
    print(f"{owl.candidates[place]:10} {chances[place]:.1%}")

# 4. The experiment. Teacher and student name the same folder; everything else is as for a shipped base.
teacher = Teacher(
    folder,
    owl,
    adapter=Steering(),
    learning_rate=0.03,
    until=0.9,
    max_epochs=20 if small else 300,
    retain=Retention("pocket"),
)
data = NumberSequences(teacher, num_prompts=256 if small else 4096, min_value=0, max_value=99)
trainer = Trainer(
    max_epochs=1 if small else 3,
    accelerator="cpu",
    logger=False,
    enable_checkpointing=False,
    enable_model_summary=False,
    enable_progress_bar=False,
    default_root_dir="runs/your_own_model",
    callbacks=[TraitComparison()],
)
fit_arms(trainer, Student(folder, adapter=Steering(), learning_rate=0.06), data)
