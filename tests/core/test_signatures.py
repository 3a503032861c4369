"""The parameters of a class's constructor, with those that it hands on; YAML and ``--help`` read the same ones."""

import inspect

import pytest
from cases import cases
from jsonargparse import ArgumentParser

import lightning_subliminal
from lightning_subliminal import data, models
from lightning_subliminal.core.config.signatures import parameters
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.fingerprint import constructor_arguments


class Grandparent:
    def __init__(self, size: int = 1, colour: str = "red", seed: int | None = None) -> None:
        self.size, self.colour, self.seed = size, colour, seed


class Parent(Grandparent):
    def __init__(self, shape: str, **rest) -> None:
        super().__init__(**rest)
        self.shape = shape


class Child(Parent):
    """Sets one argument of its parent by place, and one by name; has another default for a third."""

    def __init__(self, weight: float, size: int = 3, **rest) -> None:
        super().__init__("round", size=size, seed=1, **rest)
        self.weight = weight


class Popped(Parent):
    def __init__(self, **rest) -> None:
        self.own = rest.pop("own", None)
        super().__init__(**rest)


class Swallowed(Parent):
    def __init__(self, **rest) -> None:
        super().__init__("round")


class Elsewhere(Parent):
    def __init__(self, **rest) -> None:
        super().__init__("round")
        self.setup(**rest)

    def setup(self, **rest) -> None: ...


def test_what_is_handed_on_is_known_by_name_type_and_default():
    found = parameters(Child)
    assert list(found) == ["weight", "size", "colour"]
    assert found["size"].default == 3
    assert found["colour"].annotation is str
    assert found["colour"].default == "red"
    assert constructor_arguments(Child(2.0, colour="blue")) == {"weight": 2.0, "size": 3, "colour": "blue"}


@cases("kind", [Popped, Swallowed, Elsewhere])
def test_what_is_not_handed_on_whole_stays_hidden(kind):
    assert "rest" in parameters(kind)
    with pytest.raises(InputError, match=rf"{kind.__name__} takes `\*\*rest`, which hides its settings"):
        constructor_arguments(kind(**({"shape": "round"} if kind is Popped else {})))


KINDS = [kind for room in (data, models) for kind in vars(room).values() if inspect.isclass(kind)]


@cases("kind", [kind for kind in KINDS if not inspect.isabstract(kind)])
def test_yaml_takes_the_same_parameters(kind):
    if not hasattr(lightning_subliminal, kind.__name__):
        pytest.skip("not for configs")
    parser = ArgumentParser(exit_on_error=False)
    added = parser.add_class_arguments(kind, "x", fail_untyped=False)
    assert {key.split(".")[1] for key in added} == set(parameters(kind))
