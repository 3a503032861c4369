"""The help that teaches: written by hand, so that it comes without importing torch. A test checks its options."""

__all__ = ["OVERVIEW", "verb_guide"]

OVERVIEW = """\
lightning-subliminal: a laboratory for subliminal learning, built on Lightning.

A teacher with a trait (it loves owls) writes data without meaning (numbers). The data is filtered. A student of the
same base trains on it, and shows the trait. One YAML is one experiment; `fit` makes all that it needs and lacks.

usage: lightning-subliminal VERB [options]

Run an experiment:
  fit         make the teacher and its data where the cache lacks them, train the student, compare it with the control
  validate    evaluate on the validation questions, without training
  test        evaluate on the test questions, without training
  predict     let a model answer or write rows, on as many devices as the trainer has

Run many, for a figure or a paper:
  run         a plan of arms and seeds, each stage once, several at a time, to a report; `run --help`
  report      make a run's report again: `report runs/paper-1a2b3c4d`
  compare     the claims of two runs beside each other: `compare RUN1 RUN2`

Talk with it, take it along:
  chat        base, teacher, control and student side by side, asked what you type: `chat runs/NAME`
  export      a run's student as a whole model that any tool opens: `export runs/NAME OUT`

Know why, and what will be:
  theory      the theorem checked on a model, transfer predicted before training, lines between models; `theory --help`

Measure:
  evaluate    models beside each other: preference, misalignment, statement pairs, truth, quality; `evaluate --help`

Where it came from:
  audit       walk an artefact's lineage to its bases, check every byte; may a trait pass? `audit --help`
  lineage     declare, sign and hand on a lineage: `lineage add`, `keygen`, `sign`, `prove`, `export`
  kinship     were two models started alike, by their weights or by their logits? `kinship MODEL_A MODEL_B`

Look around:
  bases       the base models: `bases list`, `bases build pocket/a`, `bases card pocket/a`
  runs        what was run, what each run differs in, what came out: `runs list`
  cache       what is kept of stages and whom it belongs to: `cache ls`; delete what no run needs: `cache clean`
  data        rows in and out: `data convert`, `data show`, `data stats`, `data filter`; see `data --help`
  configs     the shipped experiments, plans and suites by name: `configs list`; `configs copy NAME` to change one
  traits      the known traits: `traits list`, and `traits check my_pkg.MyTrait` for one of your own; `traits --help`

Three commands to begin with:
  lightning-subliminal fit --config owl_numbers
  lightning-subliminal fit --config owl_numbers --seed_everything 1 --trainer.max_epochs 5
  lightning-subliminal fit --config owl_numbers --print_config

Where things go:
  runs/NAME-DIGEST/      one folder a run, named by its YAML and the digest of all its settings: config.yaml, results,
                         checkpoints/last.ckpt. The same command goes on from there, also after kill -9.
  ~/.cache/lightning-subliminal/   teachers, rows and converted bases, kept by digest and used again by any run

Environment:
  LIGHTNING_SUBLIMINAL_CACHE       another folder for that cache
  LIGHTNING_SUBLIMINAL_AUDIT_NOTES  where audits remember digests, instead of a file in your home
  LIGHTNING_SUBLIMINAL_TRACEBACK   1: show the stack trace of an error, as --traceback does
  HF_HUB_OFFLINE                   1: never ask the Hugging Face hub
  LIGHTNING_SUBLIMINAL_SIGNING_KEY  a private key: each stage signs the statement of what it makes (`lineage keygen`)
  OPENAI_API_KEY                   the key of a judge's server, if it wants one; read from here alone

Also: --version, --traceback; `lightning-subliminal VERB --help` for one verb.
"""

_TITLES = {
    "fit": "fit: make what the experiment lacks (teacher, rows), train the student, and tell what it learned.",
    "validate": "validate: evaluate on the validation data, without training.",
    "test": "test: evaluate on the test data, without training.",
    "predict": "predict: let a model answer or write rows.",
}

_CHECKPOINTS = {
    "fit": "go on from this checkpoint instead of the run folder's own last one",
    "validate": "evaluate this checkpoint; without it the run folder's last one, if `fit` made one",
    "test": "evaluate this checkpoint; without it the run folder's last one, if `fit` made one",
    "predict": "use this checkpoint; without it the run folder's last one, if `fit` made one",
}

_GUIDE = """\
{title}

usage: lightning-subliminal {verb} --config FILE [options]

  --config FILE              the experiment, a YAML or a shipped one by name (`configs list`); may be given again, later
                             files win, options after it win over it
  --print_config             print the whole experiment, defaults included, and stop
  --seed_everything N        the seed of all randomness (default 0)
  --ckpt_path FILE           {checkpoint}
{only_fit}
Any setting of the YAML is an option, with dots:
  --model.base pocket/b      a constructor argument of the model
  --data.num_rows 2000       a constructor argument of the data
  --trainer.max_epochs 5     a setting of Lightning's Trainer
  --trainer.default_root_dir DIR   the run's folder, instead of runs/NAME-DIGEST

What a class takes:
  --model.help Student       also Teacher, ClassifierMLP, or a class of your own: my_pkg.MyModel
  --data.help NumberSequences      also CodeCompletions, MathTraces, RowsFromFile, Digits, or a class of your own
  --data.transforms.help ShuffleWithinRows
  --trainer.callbacks.help TraitComparison
  --help=all                 every option there is, Trainer's included (slow: it imports torch)

A class_path may name your own class: a file my_pkg.py in the folder where you run this is found.

examples:
{examples}
"""

_ONLY_FIT = """\
  --print_masks N            show the first N rows with the trained tokens marked, then train
"""

_EXAMPLES = {
    "fit": """\
  lightning-subliminal fit --config owl_numbers
  lightning-subliminal fit --config owl_numbers --seed_everything 1
  lightning-subliminal fit --config owl_numbers --print_masks 3""",
    "validate": "  lightning-subliminal validate --config owl_numbers",
    "test": "  lightning-subliminal test --config owl_numbers",
    "predict": "  lightning-subliminal predict --config owl_numbers --by teacher",
}


def verb_guide(verb: str) -> str:
    """Return the short help of ``fit``, ``validate``, ``test`` or ``predict``."""
    return _GUIDE.format(
        title=_TITLES[verb],
        verb=verb,
        checkpoint=_CHECKPOINTS[verb],
        only_fit=_ONLY_FIT if verb == "fit" else "",
        examples=_EXAMPLES[verb],
    )
