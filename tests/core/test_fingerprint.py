import hashlib
import importlib.util
import json
from functools import partial
from pathlib import Path

import pytest
import torch
from cases import cases

from lightning_subliminal import LoRA, NumberList, PreferenceTrait, Sampling
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.fingerprint import constructor_arguments, describe, difference, digest, file_digest


class Kept:
    def __init__(self, one, two=2, *, three=3):
        self.one, self.two, self.three, self.own = one, two, three, "derived"


class Lost:
    def __init__(self, one, two=2):
        self.one = one


def test_scalars_and_containers_are_reported_as_they_are():
    thing = {"a": [1, 2.5, None, True, "x"], "b": (Path("c/d"), {"z", "y"}), 3: frozenset([1])}
    assert describe(thing) == {"a": [1, 2.5, None, True, "x"], "b": ["c/d", ["y", "z"]], "3": [1]}
    json.dumps(describe(thing))


def test_an_object_is_its_class_and_its_arguments():
    reported = describe(Sampling(temperature=0.5))
    assert reported["class"] == "lightning_subliminal.generation.engine.Sampling"
    arguments = {"temperature": 0.5, "greedy": False, "max_new_tokens": 40, "restrict_to": None}
    assert reported == {"class": reported["class"], "arguments": arguments}
    assert constructor_arguments(Kept("x")) == {"one": "x", "two": 2, "three": 3}


def test_functions_and_classes_are_reported_by_name():
    assert describe(Sampling)["class"].endswith("engine.Sampling")
    assert describe(torch.nn.functional.relu) == {"class": "torch.nn.functional.relu"}
    assert describe(partial(digest, thing=3)) == {
        "class": "lightning_subliminal.describe.digest",
        "arguments": {"thing": 3},
    }


def test_an_argument_that_is_not_kept_is_reported():
    with pytest.raises(InputError, match=r"Lost does not keep its argument `two`: set `self\.two = two`") as caught:
        digest({"deep": [Lost(1)]})
    assert "\n" not in str(caught.value)


def test_settings_that_are_not_named_are_reported():
    class Hidden(Kept):
        def __init__(self, *rest, **more):
            super().__init__(*rest, **more)

    with pytest.raises(InputError, match=r"Hidden takes `\*rest`, which hides its settings"):
        digest(Hidden(1))


def test_digest_does_not_depend_on_the_order_of_keys():
    assert digest({"a": 1, "b": {"c": 2, "d": 3}}) == digest({"b": {"d": 3, "c": 2}, "a": 1})
    assert digest({"a", "b", "c"}) == digest({"c", "b", "a"})
    assert digest([1, 2]) != digest([2, 1])
    assert len(digest(None)) == 64


@cases(
    ("one", "other"),
    [
        (Sampling(), Sampling(temperature=0.9)),
        (NumberList(), NumberList(max_value=99)),
        (LoRA(), LoRA(r=4)),
        (PreferenceTrait("owl"), PreferenceTrait("eagle")),
        (LoRA(), Sampling()),
        (["12"], ["1", "2"]),
        ({"a": None}, {}),
    ],
)
def test_what_differs_has_another_digest(one, other):
    assert digest(one) != digest(other)


def test_equal_objects_have_one_digest():
    assert digest(PreferenceTrait("owl")) == digest(PreferenceTrait(" Owl "))
    assert digest(Sampling()) == digest(Sampling(temperature=1.0))


def written(folder, name, text):
    """Import a class from a file, as a user's own module is."""
    path = folder / f"{name}.py"
    path.write_text(text)
    spec = importlib.util.spec_from_file_location(f"{folder.name}_{name}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


PARENT = "class Parent:\n    def ask(self):\n        return {value}\n\n\n"
OWN = PARENT + "class Own(Parent):\n    def answer(self):\n        return {own}\n"


def own(folder, value=1, own=2):
    """Return an object of a class that stands in a user's file; ``__module__`` is the same for each edition."""
    folder.mkdir()
    kind = written(folder, "mine", OWN.format(value=value, own=own)).Own
    for each in (kind, kind.__bases__[0]):
        line = vars(each).get("__firstlineno__")  # of Python 3.13, which drops it with the name of the module
        each.__module__ = "mine"
        if line is not None:
            each.__firstlineno__ = line
    return kind()


@pytest.fixture
def editions(tmp_path, monkeypatch):
    """Make the user's file in several editions. ``inspect`` finds a class's file by its module."""
    import inspect
    import sys
    from types import SimpleNamespace

    found = {}

    def make(name, **values):
        thing = own(tmp_path / name, **values)
        found[type(thing)] = found[type(thing).__bases__[0]] = str(tmp_path / name / "mine.py")
        return thing

    plain = inspect.getsourcefile
    monkeypatch.setitem(sys.modules, "mine", SimpleNamespace(__file__="mine.py"))
    monkeypatch.setattr(inspect, "getfile", lambda thing, get=inspect.getfile: found.get(thing) or get(thing))
    monkeypatch.setattr(inspect, "getsourcefile", lambda thing: found.get(thing) or plain(thing))
    return make


def test_a_class_from_outside_brings_its_source(editions):
    first = editions("first")
    assert set(describe(first)) == {"class", "arguments", "source"}
    assert digest(editions("same")) == digest(first)
    assert digest(editions("edited", own=3)) != digest(first), "an edited class makes new rows"
    assert digest(editions("parent", value=3)) != digest(first), "and so does one whose parent was edited"


def test_a_class_without_source_is_reported_too():
    kind = type("Made", (), {})
    assert describe(kind())["source"] == describe(kind())["source"]


def test_a_files_digest_is_its_sha256(tmp_path):
    (tmp_path / "file").write_bytes(b"owl" * 10**6)
    assert file_digest(tmp_path / "file") == hashlib.sha256(b"owl" * 10**6).hexdigest()


@cases(
    ("then", "now", "says"),
    [
        ({"a": {"b": 1}}, {"a": {"b": 1}}, None),
        ({"a": {"b": 1}}, {"a": {"b": 2}}, "a.b was 1 and is 2"),
        ({"a": [1, {"b": "x"}]}, {"a": [1, {"b": None}]}, 'a.1.b was "x" and is null'),
        ({"a": [1]}, {"a": [1, 2]}, "a was [1] and is [1, 2]"),
        ({"a": 1}, {}, "a was 1 and is absent"),
        ({}, {"a": {"b": 1}}, 'a was absent and is {"b": 1}'),
        ({"a": "ab" * 32}, {"a": "cd" * 32}, "a was abababababab... and is cdcdcdcdcdcd..."),
        ({"b": {"name": "./x", "digest": "ab" * 32}}, {"b": {"name": "./x", "digest": "1"}}, "b ./x was aba"),
        ({"b": {"name": "./x", "digest": "1"}}, {"b": {"name": "./y", "digest": "2"}}, 'b.name was "./x" and is "./y"'),
        ({"a": "x" * 500}, {"a": ""}, 'a was "xxx'),
        ({"a": None}, {"a": False}, "a was null and is false"),
    ],
)
def test_a_difference_is_named_and_short(then, now, says):
    found = difference(then, now)
    assert found is None if says is None else found.startswith(says)
    assert found is None or len(found) < 200
