"""The table of all verbs: what each does and the module that has its entry; read without importing torch."""

from importlib import import_module

from lightning_subliminal.cli.pages import page
from lightning_subliminal.cli.verb import Group, Verb

__all__ = ["MODULES", "OVERVIEW", "OVERVIEW_ALL", "TRAINER_VERBS", "commands", "entry_of", "trainer_help"]

_VERBS = {  # section -> verb -> module in this folder, and its line in the overview
    "run an experiment": {
        "fit": ("verbs.trainer", "make the teacher and its data, train the student, compare it with the control"),
        "validate": ("verbs.trainer", "compute the loss on held-out rows, without training"),
        "test": ("verbs.trainer", "ask the trait's questions, without training"),
        "predict": ("verbs.trainer", "write answers or rows with a model, on all devices of the trainer"),
        "run": ("verbs.run", "run a plan of arms and seeds, several at a time, and write its report"),
        "report": ("verbs.report", "write a run's report again"),
        "compare": ("verbs.compare", "compare the claims of two runs"),
    },
    "use and measure models": {
        "chat": ("verbs.chat", "ask base, teacher, control and student the same questions"),
        "evaluate": ("verbs.evaluate", "measure models with a suite: preference, misalignment, truth, quality"),
        "export": ("provenance.export", "write a student as a whole model that other tools open"),
        "theory": ("theory.theory", "check the theorem, predict transfer before training, interpolate models"),
    },
    "screen and trace data": {
        "screen": ("verbs.screen", "check whether a data set carries a trait, before any training on it"),
        "audit": ("provenance.audit", "check an artefact's lineage byte by byte, and whether a trait may pass"),
        "lineage": ("provenance.lineage", "declare, sign, prove and export a lineage"),
        "kinship": ("provenance.kinship", "test whether two models share an initialisation"),
    },
    "look up": {
        "bases": ("verbs.bases", "list, build and measure the base models"),
        "runs": ("verbs.runs", "list runs with their settings and results"),
        "cache": ("verbs.cache", "list the artefacts of stages, and delete those that no run needs"),
        "data": ("verbs.data", "convert, show, count and filter rows"),
        "configs": ("verbs.configs", "list and copy the shipped experiments, plans and suites"),
        "traits": ("verbs.traits", "list the known traits, and check one of your own"),
    },
}
MODULES = {verb: module for section in _VERBS.values() for verb, (module, _) in section.items()}
TRAINER_VERBS = ("fit", "validate", "test", "predict")

OVERVIEW = """\
lightning-subliminal: study how models pass traits on through unrelated data, built on Lightning.

examples:
  lightning-subliminal fit --config owl_numbers
  lightning-subliminal fit --config owl_numbers --seed_everything 1 --trainer.max_epochs 5
  lightning-subliminal chat runs/owl_numbers-d72c6117

usage: lightning-subliminal VERB [options]
"""
for _section, _verbs in _VERBS.items():
    OVERVIEW += f"\n{_section}:\n"
    OVERVIEW += "".join(f"  {verb:10}{about}\n" for verb, (_, about) in _verbs.items())
OVERVIEW += """
Help on one verb: lightning-subliminal VERB --help
Files, environment variables: lightning-subliminal --help=all
"""

OVERVIEW_ALL = f"""\
{OVERVIEW}
files:
  runs/NAME-DIGEST/      one folder for each run, named by its YAML and the digest of its settings:
                         config.yaml, results, checkpoints/last.ckpt. The same command resumes it,
                         also after kill -9.
  ~/.cache/lightning-subliminal/   teachers, rows and converted bases by digest, shared by all runs

environment:
  LIGHTNING_SUBLIMINAL_CACHE        another folder for that cache
  LIGHTNING_SUBLIMINAL_AUDIT_NOTES  where audits remember digests, instead of a file in your home
  LIGHTNING_SUBLIMINAL_SIGNING_KEY  a private key with which each stage signs its statement
                                    (`lineage keygen`)
  LIGHTNING_SUBLIMINAL_TRACEBACK    1: show the stack trace of an error, as --traceback does
  HF_HUB_OFFLINE                    1: never contact the Hugging Face hub
  OPENAI_API_KEY                    the key of a judge's server; read from here alone

options of all verbs: --version, --traceback
"""

_ABOUT = {
    "fit": "make the teacher and the rows that the cache lacks, train the student, compare it with the control",
    "validate": "compute the loss on the held-out rows, without training",
    "test": "ask the trait's questions, without training",
    "predict": "write answers or rows with a model",
}
_EXAMPLES = {
    "fit": (
        "fit --config owl_numbers",
        "fit --config owl_numbers --seed_everything 1 --trainer.max_epochs 5",
        "fit --config owl_numbers --print_masks 3",
        "fit --config qwen2.5-7b_owl_numbers --estimate",
    ),
    "predict": ("predict --config owl_numbers --by teacher",),
}
_RESUME = "resume from this checkpoint instead of the run folder's own last one"
_LATEST = "use this checkpoint instead of the run folder's last one"
_OWN_OPTIONS = {
    "fit": (
        ("--print_masks N", "show the first N rows with the trained tokens marked, then train"),
        ("--estimate", "print parameters, memory per device, FLOPs and hours, from config.json alone, and stop"),
    ),
    "predict": (("--by WRITER", "model (default), into the run's folder, or teacher, into the cache, for `fit`"),),
}
_NOTES = """\
Every setting of the YAML is an option, with dots:
  --model.base pocket/b              a constructor argument of the model
  --data.num_rows 2000               a constructor argument of the data
  --trainer.max_epochs 5             a setting of Lightning's Trainer
  --trainer.default_root_dir DIR     the run's folder, instead of runs/NAME-DIGEST

The arguments of a class:
  --model.help Student               also Teacher, ClassifierMLP or your own my_pkg.MyModel
  --data.help NumberSequences        also CodeCompletions, MathTraces, RowsFromFile, Digits
  --data.transforms.help ShuffleWithinRows
  --trainer.callbacks.help TraitComparison

A class_path may name your own class: a file my_pkg.py in the working folder is found."""


def entry_of(verb: str) -> Verb | Group:
    """Return the entry of a verb that is not the trainer's."""
    entry: Verb | Group = import_module(f"lightning_subliminal.cli.{MODULES[verb]}").VERB
    return entry


def commands() -> dict[str, Verb]:
    """Return all commands by full name, such as ``export`` and ``data convert``, except the trainer's verbs."""
    found: dict[str, Verb] = {}
    for verb in MODULES.keys() - set(TRAINER_VERBS):
        entry = entry_of(verb)
        if isinstance(entry, Group):
            found |= {f"{verb} {key}": each for key, each in entry.commands.items()}
        else:
            found[verb] = entry
    return dict(sorted(found.items()))


def trainer_help(verb: str) -> str:
    """Return the short help of ``fit``, ``validate``, ``test`` or ``predict``."""
    rows = [
        (
            "--config FILE",
            "the experiment: a YAML file, or a shipped one by name (`configs list`); of several, "
            "later settings override earlier ones",
        ),
        ("--print_config", "print the whole experiment, defaults included, and stop"),
        ("--seed_everything N", "the seed of all randomness (default 0)"),
        ("--ckpt_path FILE", _RESUME if verb == "fit" else _LATEST),
        *_OWN_OPTIONS.get(verb, ()),
    ]
    examples = _EXAMPLES.get(verb, (f"{verb} --config owl_numbers",))
    return page(f"{verb}: {_ABOUT[verb]}", examples, f"{verb} --config FILE [options]", rows, _NOTES, verb)
