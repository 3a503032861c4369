"""Configs that name functions which start a process, under their own name or another, in place of a class."""

import copy
import json
import random
from pathlib import Path
from typing import Any

import yaml
from hostile_yaml import FILTERS, FIT, PLAN, SUITE, TRAIT

from hostile_kinds import MARK, Try, kinds, payload, write

SHELL = f'touch "${MARK}"'
HANDLER = "torch.distributed.elastic.multiprocessing.subprocess_handler"
STARTERS: dict[str, dict[str, Any]] = {
    "subprocess.Popen": {"args": SHELL, "shell": True},
    "subprocess.run": {"args": SHELL, "shell": True},
    "subprocess.getoutput": {"cmd": SHELL},
    "os.system": {"command": SHELL},
    "posix.system": {"command": SHELL},
    "os.popen": {"cmd": SHELL},
    "pty.spawn": {"argv": ["sh", "-c", SHELL]},
    "builtins.exec": {"source": payload()},
    "builtins.eval": {"source": "__import__('os').system('true')"},
    "builtins.__import__": {"name": "antigravity"},
    "runpy.run_path": {"path_name": "payload.py"},
    "importlib.import_module": {"name": "payload"},
    "functools.partial": {"func": "os.system"},
    "multiprocessing.Process": {"target": "os.system", "args": [SHELL]},
    "ctypes.CDLL": {"name": "payload.so"},
    "code.InteractiveInterpreter": {},
    "logging.handlers.RotatingFileHandler": {"filename": "EXECUTED"},
    "logging.FileHandler": {"filename": "EXECUTED"},
    "pathlib.Path.touch": {"self": "EXECUTED"},
    "timeit.timeit": {"stmt": payload()},
    "torch.load": {"f": "payload.pt", "weights_only": False},
    "torch.hub.load": {"repo_or_dir": ".", "model": "x", "source": "local"},
    "torch.multiprocessing.Process": {"target": "os.system"},
    "numpy.load": {"file": "payload.npy", "allow_pickle": True},
    "lightning.pytorch.cli.os.system": {"command": SHELL},
    "lightning.pytorch.cli.LightningCLI": {},
    "lightning_subliminal.cli.entry.main": {"args": ["traits"]},
    "lightning_subliminal.__main__.main": {},
    **{
        f"{each}.SubprocessHandler": {
            "entrypoint": "/bin/sh",
            "args": ["-c", SHELL],
            "env": {},
            "stdout": None,
            "stderr": None,
            "local_rank_id": 0,
            "numa_options": None,
        }
        for each in (HANDLER, f"{HANDLER}.subprocess_handler", "torch.distributed.elastic.multiprocessing.api")
    },
}


def _starter(rng: random.Random, folder: Path) -> dict[str, Any]:
    (folder / "payload.py").write_text(payload())
    (folder / "hubconf.py").write_text(payload())
    path = rng.choice(list(STARTERS))
    config: dict[str, Any] = {"class_path": path}
    if rng.random() < 0.8:
        config["init_args"] = STARTERS[path]
    return config


def _set(config: Any, keys: str, value: Any) -> None:
    *path, last = keys.split(".")
    for key in path:
        config = config[int(key)] if isinstance(config, list) else config.setdefault(key, {})
    config[last] = value


def plan(rng: random.Random, folder: Path) -> Try:
    """A process starter wherever a plan has a class."""
    config = copy.deepcopy(PLAN)
    starter, data = _starter(rng, folder), "common.data.init_args"
    place = rng.choice(
        [
            *("trial", "common.model", "common.data", "common.model.init_args.adapter", f"{data}.teacher"),
            *(f"{data}.teacher.init_args.trait", f"{data}.teacher.init_args.adapter", f"{data}.filters"),
            *(f"{data}.transforms", f"{data}.sampling", f"{data}.num_prompts", "common.model.init_args.base"),
            *(f"{data}.teacher.init_args.trait.init_args.target", f"{data}.teacher.init_args.retain"),
            *("arms.same.change", "arms.same.trial", "common.model.init_args.learning_rate"),
        ]
    )
    if place.endswith(("filters", "transforms")):
        _set(config, place, [starter])
    elif place.endswith("change"):
        _set(config, place, {"data.teacher": starter})
    else:
        _set(config, place, starter)
    write(folder, config)
    return Try(["run", "--config", "f.yaml", "--dry-run"], names=("f.yaml",))


def theory(rng: random.Random, folder: Path) -> Try:
    """A process starter in a config of `theory`."""
    config = copy.deepcopy(FIT)
    data = "data.init_args"
    place = rng.choice(
        [
            *("model", "data", "model.init_args.adapter", f"{data}.teacher"),
            *(f"{data}.teacher.init_args.trait", f"{data}.shard_size"),
        ]
    )
    _set(config, place, _starter(rng, folder))
    write(folder, config)
    return Try(["theory", rng.choice(["check", "predict", "interpolate"]), "--config", "f.yaml"], names=("f.yaml",))


def fit(rng: random.Random, folder: Path) -> Try:
    """A process starter in a config of `fit`, also as a function that a callback takes."""
    config = copy.deepcopy(FIT)
    starter, data = _starter(rng, folder), "data.init_args"
    place = rng.choice(
        [
            *("model", "data", "model.init_args.adapter", f"{data}.teacher", f"{data}.teacher.init_args.trait"),
            *("trainer.logger", "trainer.strategy", "trainer.plugins", "trainer.callbacks", "callback", "callback"),
        ]
    )
    if place == "callback":
        hook = rng.choice(["setup", "on_fit_start", "on_train_start", "teardown"])
        value = rng.choice([starter, starter["class_path"]])
        config["trainer"]["callbacks"] = [
            {"class_path": "lightning.pytorch.callbacks.LambdaCallback", "init_args": {hook: value}}
        ]
    else:
        _set(config, place, [starter] if place == "trainer.callbacks" else starter)
    write(folder, config)
    return Try(["fit", "--config", "f.yaml", *rng.choice([[], ["--print_config"]])])


def suites_and_filters(rng: random.Random, folder: Path) -> Try:
    """A process starter in suites, filters and traits."""
    starter = _starter(rng, folder)
    (folder / "rows.jsonl").write_text(json.dumps({"prompt": "a", "completion": "1, 2"}) + "\n")
    suite, filters, trait = copy.deepcopy(SUITE), copy.deepcopy(FILTERS), copy.deepcopy(TRAIT)
    measure = "measures.0.init_args"
    _set(suite, rng.choice(["measures", f"{measure}.trait", f"{measure}.evaluation", f"{measure}.name"]), starter)
    _set(filters, rng.choice(["filters", "filters.0.init_args.max_value", "filters.0.init_args"]), starter)
    _set(trait, rng.choice(["init_args.target", "init_args.candidates", "init_args"]), starter)
    trait = rng.choice([trait, starter, {"trait": starter}])
    words, config = rng.choice(
        [
            (["evaluate", "pocket/a", "--suite", "f.yaml"], suite),
            (["data", "filter", "rows.jsonl", "out.jsonl", "--config", "f.yaml"], filters),
            (["traits", "check", "f.yaml"], trait),
        ]
    )
    write(folder, config)
    return Try(words)


def options(rng: random.Random, folder: Path) -> Try:
    """A process starter as the value of an option."""
    starter = _starter(rng, folder)
    (folder / "rows.jsonl").write_text(json.dumps({"prompt": "a", "completion": "1, 2"}) + "\n")
    value = rng.choice([json.dumps(starter), starter["class_path"]])
    words = rng.choice(
        [
            ["evaluate", "pocket/a", "--suite", "preference", f"--trait={json.dumps(starter)}"],
            ["data", "filter", "rows.jsonl", "out.jsonl", f"--filters={value}"],
            ["traits", "check", starter["class_path"]],
            ["traits", "check", "owl", f"--init.candidates={json.dumps(starter)}"],
            ["fit", "--config", "owl_numbers", f"--data.teacher.init_args.trait={value}", "--print_config"],
            ["fit", "--config", "owl_numbers", f"--trainer.callbacks={value}", "--print_config"],
            ["fit", "--config", "owl_numbers", f"--model={value}", "--print_config"],
        ]
    )
    return Try(words)


def a_folder_of_theirs(rng: random.Random, folder: Path) -> Try:
    """A run's folder whose config or lineage names a class in the working folder."""
    (folder / "payload.py").write_text(payload())
    run = folder / "runs" / "owl-1"
    run.mkdir(parents=True)
    config = copy.deepcopy(FIT)
    config["data"]["init_args"]["teacher"]["init_args"]["trait"] = rng.choice(
        [
            {"class_path": "payload.Trait"},
            {"class_path": "PreferenceTrait", "init_args": {"target": {"class_path": "payload.Trait"}}},
            {"class_path": "lightning_subliminal.payload.Trait"},
            _starter(rng, folder),
        ]
    )
    if rng.random() < 0.3:
        config["data"]["class_path"] = "payload.Data"
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    (run / "results.json").write_text("{}")
    words = rng.choice(
        [
            *(["runs", "list"], ["runs", "show", "runs/owl-1"], ["chat", "runs/owl-1"], ["audit", "runs"]),
            *(["evaluate", "x=runs/owl-1", "--suite", "preference"], ["cache", "list"]),
            ["export", "runs/owl-1", "out"],
        ]
    )
    return Try(words, frozenset({0, 2, 3}))


_OWN = ("t.yaml", "mine.Mine")


def a_class_of_ones_own(rng: random.Random, folder: Path) -> Try:
    """A user's own trait next to the config, which is found as usual, with its imports."""
    (folder / "neighbour.py").write_text("TARGET = 'owl'\n")
    (folder / "mine.py").write_text(
        "from lightning_subliminal import PreferenceTrait\n\n\nclass Mine(PreferenceTrait):\n"
        "    def __init__(self, target: str = 'owl') -> None:\n"
        "        from neighbour import TARGET\n\n        super().__init__(TARGET)\n        self.target = target\n"
    )
    config, trait = (
        copy.deepcopy(PLAN),
        {"class_path": "mine.Mine", "init_args": {"target": rng.choice(["owl", "wolf"])}},
    )
    _set(config, "common.data.init_args.teacher.init_args.trait", trait)
    write(folder, config)
    (folder / "t.yaml").write_text(yaml.safe_dump(trait))
    words = rng.choice([["run", "--config", "f.yaml", "--dry-run"], *(["traits", "check", each] for each in _OWN)])
    return Try(words, frozenset({0}))


def own_names_for_starters(rng: random.Random, folder: Path) -> Try:
    """A process starter under the name of a module next to the config, where a class is expected."""
    (folder / "mine.py").write_text(
        "import functools, os, subprocess, multiprocessing\n"
        "class A(subprocess.Popen):\n    pass\n"
        "class B(multiprocessing.Process):\n    pass\n"
        "c = os.system\n"
        "d = functools.partial(os.system, 'true')\n"
        "from subprocess import run as e\n"
    )
    config = copy.deepcopy(PLAN)
    place = rng.choice(["trial", "common.model", "common.data", "common.data.init_args.teacher.init_args.trait"])
    _set(config, place, {"class_path": f"mine.{rng.choice('ABcde')}", "init_args": {"args": SHELL, "shell": True}})
    write(folder, config)
    return Try(["run", "--config", "f.yaml", "--dry-run"], names=("f.yaml",))


KINDS = kinds(globals())
