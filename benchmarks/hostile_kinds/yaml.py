"""Hostile YAML for each verb that reads one: bombs, bounds, wrong types, special files, escapes."""

import copy
import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hostile_yaml as bad
import yaml
from hostile_yaml import FILTERS, FIT, PLAN, QUESTIONS, SUITE, TRAIT

from hostile_kinds import Kind, Try, kinds, write
from hostile_kinds.files import special

Verb = tuple[list[str], dict[str, Any]]
Maker = Callable[[random.Random], str | bytes]
ESCAPES = ("\x1b[31m", "\x1b]0;title\x07", "\x9b2J", "\x08", "\u202e", "\r", "\x7f", "\u2028", "\x85")


def _verbs(folder: Path) -> list[Verb]:
    """Return command lines that read ``f.yaml``, each with a valid content of the file."""
    (folder / "rows.jsonl").write_text(json.dumps({"prompt": "a", "completion": "1, 2"}) + "\n")
    asked = copy.deepcopy(SUITE)
    asked["measures"][0]["init_args"]["evaluation"] = {"class_path": "Questions", "init_args": {"path": "f.yaml"}}
    (folder / "asked.yaml").write_text(yaml.safe_dump(asked))
    return [
        (["fit", "--config", "f.yaml"], FIT),
        (["run", "--config", "f.yaml", "--dry-run"], PLAN),
        (["theory", "check", "--config", "f.yaml"], FIT),
        (["theory", "predict", "--config", "f.yaml"], FIT),
        (["evaluate", "pocket/a", "--suite", "f.yaml"], SUITE),
        (["evaluate", "pocket/a", "--suite", "asked.yaml"], QUESTIONS),
        (["data", "filter", "rows.jsonl", "out.jsonl", "--config", "f.yaml"], FILTERS),
        (["traits", "check", "f.yaml"], TRAIT),
    ]


def _try(words: list[str], codes: set[int] | None = None, names: tuple[str, ...] = ()) -> Try:
    return Try(words, frozenset(codes or {2}), names)


def _refused(make: Maker, names: tuple[str, ...] = ()) -> Kind:
    """Return a kind whose file has the text of ``make``, which each verb refuses with an error that has ``names``."""

    def kind(rng: random.Random, folder: Path) -> Try:
        words, _ = rng.choice(_verbs(folder))
        text = make(rng)
        (folder / "f.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
        return _try(words, names=names)

    return kind


def not_a_file(rng: random.Random, folder: Path) -> Try:
    """A folder, a pipe without a writer, a device, a circular link, a sparse file, a socket, or nothing."""
    words, _ = rng.choice(_verbs(folder))
    path = folder / "f.yaml"
    kind = rng.choice(["special", "special", "special", "terminal", "circle", "dangling", "nothing", "below a file"])
    if kind == "special":
        special(rng, path)
    elif kind == "below a file":
        words = [word.replace("f.yaml", "rows.jsonl/f.yaml") for word in words]
    elif kind != "nothing":
        path.symlink_to({"terminal": "/dev/tty", "circle": "f.yaml", "dangling": "nowhere.yaml"}[kind])
    return _try(words)


def _places(thing: Any) -> list[tuple[Any, Any]]:
    inner = thing.items() if isinstance(thing, dict) else enumerate(thing) if isinstance(thing, list) else ()
    return [place for key, each in inner for place in ((thing, key), *_places(each))]


def _junk(rng: random.Random) -> Any:
    return rng.choice(
        [
            *(None, True, [], {}, "", -1, 10**30, 1e300, float("nan"), float("inf"), [[]], [None], {"a": 1}, {1: 2}),
            *("owl", "1e400", "-.inf", "\x1b[31mred", "/dev/zero", "f.yaml", ".", "x" * 50_000, "{target}", "${HOME}"),
            *({"class_path": None}, {"class_path": "Student"}, {"class_path": 3, "init_args": 4}, {"init_args": {}}),
            *({"class_path": "Student", "init_args": []}, {"class_path": "a.b.c"}, {"class_path": "."}, {"": ""}),
            *({"class_path": "x" * 5_000}, {"class_path": "os.path.join"}, [{"class_path": "NumberList"}] * 2),
        ]
    )


def wrong_types(rng: random.Random, folder: Path) -> Try:
    """A good file with one value, or two, of a wrong kind."""
    words, good = rng.choice([verb for verb in _verbs(folder) if verb[0][0] not in ("fit", "theory")])
    config = copy.deepcopy(good)
    for _ in range(rng.choice([1, 1, 2])):
        holder, key = rng.choice(_places(config))
        if rng.random() < 0.2 and isinstance(holder, dict):
            holder[rng.choice(["\x1b[31m", "odd", 3, None, True, "a.b.c", "x" * 10_000])] = _junk(rng)
        else:
            holder[key] = _junk(rng)
    write(folder, config)
    return _try(words, {0, 2})


def wrong_types_of_fit(rng: random.Random, folder: Path) -> Try:
    """A value of a wrong kind for `fit`, which only prints its config, and for `theory` without rows."""
    config = copy.deepcopy(FIT)
    holder, key = rng.choice(_places(config))
    holder[key] = _junk(rng)
    write(folder, config)
    theory = ["theory", "check", "--config", "f.yaml", "--rows", "0"]
    return _try(rng.choice([["fit", "--config", "f.yaml", "--print_config"], theory]), {0, 2})


def mutated(rng: random.Random, folder: Path) -> Try:
    """A good file with some characters changed, dropped or doubled."""
    words, good = rng.choice([verb for verb in _verbs(folder) if verb[0][0] not in ("fit", "theory")])
    text = list(yaml.safe_dump(good, sort_keys=False))
    for _ in range(rng.randrange(1, 12)):
        place = rng.randrange(len(text))
        odd = [*"[]{}:&*!|>'\"%@`#-?,\t\n\\ \x1b\u202e", chr(rng.randrange(0x3000))]
        text[place] = rng.choice(["", text[place] * 2, *odd])
    (folder / "f.yaml").write_text("".join(text), errors="replace")
    return _try(words, {0, 2})


def escapes(rng: random.Random, folder: Path) -> Try:
    """Control characters in keys and values, which messages show."""
    words, good = rng.choice(_verbs(folder))
    config = copy.deepcopy(good)
    evil = "".join(rng.choice([*ESCAPES, "word"]) for _ in range(rng.randrange(1, 8))) + rng.choice(ESCAPES)
    holder, key = rng.choice(_places(config))
    if isinstance(holder, dict) and rng.random() < 0.5:
        holder[evil] = 1
    else:
        holder[key] = rng.choice([evil, {evil: evil}, [evil], {"class_path": evil}, {"class_path": f"a.{evil}"}])
    (folder / "f.yaml").write_text(yaml.safe_dump(config, sort_keys=False, allow_unicode=False))
    if words[0] == "fit":
        words = [*words, "--print_config"]
    return _try(words, {0, 2} if words[0] != "theory" else {2})


def escapes_in_a_plan(rng: random.Random, folder: Path) -> Try:
    """Control characters where a plan that works is shown: title, arms, axes, targets."""
    _verbs(folder)
    evil = f"a{rng.choice(ESCAPES)}b{rng.choice(ESCAPES)}"
    config = copy.deepcopy(PLAN)
    config["title"] = evil
    config["arms"] = {evil: {}}
    config["axes"] = {evil: {"to": {evil: {"model.seed": 1}, "b": {"model.seed": 2}}}}
    write(folder, config)
    return _try(["run", "--config", "f.yaml", "--dry-run"], {0, 2})


def many_cells(rng: random.Random, folder: Path) -> Try:
    """Axes, seeds and arms that are small, but whose product is endless."""
    config = copy.deepcopy(PLAN)
    kind = rng.randrange(4)
    if kind == 0:
        config["axes"] = {f"x{n}": {"set": "model.seed", "to": list(range(30))} for n in range(rng.randrange(5, 30))}
    elif kind == 1:
        config["axes"] = {"x": {"set": "model.seed", "to": list(range(rng.randrange(60_000, 150_000)))}}
    elif kind == 2:
        rates = [0.1 / n for n in range(1, 999)]
        config |= {"seeds": "0-9999", "axes": {"x": {"set": "model.learning_rate", "to": rates}}}
    else:
        config["arms"] = {f"a{n}": {"model.seed": n} for n in range(rng.randrange(30_000, 60_000))}
    write(folder, config)
    return _try(["run", "--config", "f.yaml", "--dry-run"], {2}, ("f.yaml",))


def many_candidates(rng: random.Random, folder: Path) -> Try:
    """A trait with too many candidates."""
    words, good = rng.choice([verb for verb in _verbs(folder) if "traits" in verb[0] or "f.yaml" in verb[0][-1:]])
    config = copy.deepcopy(good)
    names = [f"owl{n}" for n in range(rng.randrange(10_000, 60_000))]
    for holder, key in _places(config):
        if isinstance(holder[key], dict) and "target" in holder[key]:
            holder[key] |= {"candidates": ["owl", *names], "category": "animal"}
    if "target" in config.get("init_args", {}):
        config["init_args"] |= {"candidates": ["owl", *names], "category": "animal"}
    write(folder, config)
    return _try(words, {2} if config != good else {0, 2})


def circles_of_files(rng: random.Random, folder: Path) -> Try:
    """Files that include each other."""
    kind = rng.randrange(5)
    texts = [
        ("run", "title: a\ninclude: [f.yaml]"),
        ("run", "title: a\ncommon: f.yaml\narms: {a: {}}"),
        ("run", "title: a\ninclude: [g.yaml]"),
        ("fit", "model: f.yaml"),
        ("fit", "data: {class_path: NumberSequences, init_args: {teacher: g.yaml}}"),
    ]
    verb, text = texts[kind]
    (folder / "f.yaml").write_text(text)
    (folder / "g.yaml").write_text(text.replace("g.yaml", "f.yaml"))
    return _try([verb, "--config", "f.yaml", *(["--dry-run"] if verb == "run" else [])])


def values_that_name_files(rng: random.Random, folder: Path) -> Try:
    """A value of a config that is the path of a pipe, a device, a bomb, a sparse terabyte."""
    os.mkfifo(folder / "pipe")
    (folder / "bomb.yaml").write_text(bad.alias_bomb(rng))
    with (folder / "sparse").open("wb") as stream:
        stream.truncate(2**40)
    place = rng.choice(["pipe", "/dev/zero", "/dev/stdin", "bomb.yaml", "sparse", "/proc/self/mem", "."])
    config = copy.deepcopy(FIT)
    holder, key = rng.choice([(config, "model"), (config, "data"), (config["data"]["init_args"], "teacher")])
    holder[key] = place
    write(folder, config)
    return _try(["fit", "--config", "f.yaml", "--print_config"])


def values_of_options(rng: random.Random, folder: Path) -> Try:
    """Bombs and brackets as the value of an option, which is YAML too."""
    _verbs(folder)
    short = ["1" * 5000, "&a *a", "*a", "!!x", "{a: ["]
    bombs = [bad.alias_bomb(rng), bad.deep_nesting(rng)[:100_000], bad.alias_circle(rng), bad.odd_tag(rng)]
    value = rng.choice([*bombs, *short])
    words = rng.choice(
        [
            ["fit", "--config", "owl_numbers", f"--data={value}", "--print_config"],
            ["fit", "--config", "owl_numbers", f"--seed_everything={value}", "--print_config"],
            ["fit", "--config", "owl_numbers", f"--trainer.callbacks={value}", "--print_config"],
            ["data", "filter", "rows.jsonl", "out.jsonl", f"--filters={value}"],
            ["data", "show", "rows.jsonl", f"--rows={value}"],
            ["evaluate", "pocket/a", "--suite", "preference", f"--trait={value}"],
            ["evaluate", f"pocket/a?enable_thinking={value}", "--suite", "preference"],
            ["traits", "check", "owl", f"--init.candidates={value}"],
        ]
    )
    return _try(words, {2})


def runs_of_others(rng: random.Random, folder: Path) -> Try:
    """Folders of runs with a hostile config.yaml, which are listed, shown and used in a chat."""
    run = folder / "runs" / "owl-12345678"
    run.mkdir(parents=True)
    makers: list[Maker] = [bad.alias_bomb, bad.alias_circle, bad.deep_nesting, bad.odd_tag, bad.key_twice]
    makers += [bad.wrong_bytes, bad.nearly_empty, bad.large_text]
    text = rng.choice(makers)(rng)
    (run / "config.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    if rng.random() < 0.5:
        (run / "results.json").write_text(rng.choice(["{}", "[" * 50_000, '{"transfer": "\\u001b[31m"}', "\x00", ""]))
    words = rng.choice([["runs", "list"], ["runs", "show", str(run)], ["chat", str(run)], ["cache", "list"], ["runs"]])
    return _try(words, {0, 2})


def cards_of_others(rng: random.Random, folder: Path) -> Try:
    """A folder's README.md with hostile front matter."""
    made = folder / "model"
    made.mkdir()
    makers = [bad.alias_bomb, bad.merge_bomb, bad.alias_circle, bad.deep_nesting, bad.odd_tag, bad.key_twice]
    text = rng.choice([*makers, bad.long_number, bad.long_texts])(rng)
    (made / "README.md").write_text(f"---\nbase_model: a/b\n{text}\n---\n# Model\n")
    (made / "train.jsonl").write_text('{"prompt": "a", "completion": "b"}\n')
    return _try(["audit", "model"], {2, 3, 0})


KINDS: dict[str, Kind] = kinds(globals()) | {
    "alias bomb": _refused(bad.alias_bomb, (" values, aliases counted",)),
    "merge bomb": _refused(bad.merge_bomb, (" values, aliases counted",)),
    "long texts by alias": _refused(bad.long_texts, ("f.yaml", "MAX_")),
    "circle of aliases": _refused(bad.alias_circle, ("f.yaml", "holds itself")),
    "deep nesting": _refused(bad.deep_nesting, ("f.yaml",)),
    "many values": _refused(bad.many_values, ("f.yaml", "MAX_")),
    "large file": _refused(bad.large_text, ("f.yaml",)),
    "long numbers": _refused(bad.long_number, ("f.yaml", "at most")),
    "tags": _refused(bad.odd_tag, ("f.yaml",)),
    "keys twice": _refused(bad.key_twice, ("f.yaml", "there twice")),
    "bytes": _refused(bad.wrong_bytes, ("f.yaml",)),
    "empty": _refused(bad.nearly_empty),
}
