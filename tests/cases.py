"""Cases of one behaviour as one test: where a list of inputs is data, its length is not a number of tests."""

import contextlib
import inspect
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
from _pytest.outcomes import Failed, Skipped

__all__ = ["Contract", "cases"]


def cases(names: str | tuple[str, ...], values: Iterable[Any], ids: Any = None) -> Callable[[Any], Any]:
    """Call a test once a case, as ``pytest.mark.parametrize`` would, but as one test that names each case that fails.

    Each case has a ``tmp_path`` and a ``monkeypatch`` of its own, and reads what it printed alone; all other fixtures
    are shared by the cases, so only those of a wider scope than a test may be taken. Several decorators multiply.

    Args:
        names: the parameters, comma-separated or as a tuple.
        values: a value a case, or a tuple of as many as there are names.
        ids: ignored; a failed case is shown by its values.
    """
    given = [name.strip() for name in names.split(",")] if isinstance(names, str) else list(names)
    rows = [value if len(given) > 1 else (value,) for value in values]

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        inner = getattr(test, "inner", test)
        axes = [*getattr(test, "axes", []), [dict(zip(given, row, strict=True)) for row in rows]]

        def walk(*self: Any, **fixtures: Any) -> None:
            failed, skipped = [], []
            chosen = [
                {name: value for part in each for name, value in part.items()} for each in itertools.product(*axes)
            ]
            assert chosen, "a test of no case"
            for place, case in enumerate(chosen):
                try:
                    with _own(fixtures, place) as own:
                        inner(*self, **case, **own)
                except Skipped as skip:
                    skipped.append(skip)
                except (Exception, Failed) as err:  # Failed: nothing was raised that should be
                    failed.append((case, err))
            if failed:
                lines = [f"{_short(case)}: {type(err).__name__}: {_short(err)}" for case, err in failed]
                raise AssertionError(f"{len(failed)} of {len(chosen)} cases failed\n" + "\n".join(lines)) from failed[
                    0
                ][1]
            if len(skipped) == len(chosen):
                raise skipped[0]

        walk.__name__, walk.__doc__, walk.__module__ = inner.__name__, inner.__doc__, inner.__module__
        walk.__qualname__ = inner.__qualname__
        walk.inner, walk.axes = inner, axes  # type: ignore[attr-defined]
        names = {name for axis in axes for each in axis[:1] for name in each}
        left = [each for each in inspect.signature(inner).parameters.values() if each.name not in names]
        walk.__signature__ = inspect.Signature(left)  # type: ignore[attr-defined]
        return walk

    return decorate


class Contract:
    """What holds for each implementation of an interface: a subclass inherits one test that runs all its checks.

    A check is a method whose name begins with ``check_``; it takes fixtures as a test does, and a ``tmp_path`` and a
    ``monkeypatch`` of its own.
    """

    def test_contract(self, request: pytest.FixtureRequest) -> None:
        """Run each check, and name those that fail."""
        checks = [name for name in dir(self) if name.startswith("check_")]
        assert checks, "a contract without a check"
        failed, skipped = [], []
        for place, name in enumerate(checks):
            check = getattr(self, name)
            fixtures = {each: request.getfixturevalue(each) for each in inspect.signature(check).parameters}
            try:
                with _own(fixtures, place) as own:
                    check(**own)
            except Skipped as skip:
                skipped.append(skip)
            except (Exception, Failed) as err:
                failed.append((name, err))
        if failed:
            lines = [f"{name}: {type(err).__name__}: {_short(err)}" for name, err in failed]
            raise AssertionError(f"{len(failed)} of {len(checks)} checks failed\n" + "\n".join(lines)) from failed[0][1]
        if len(skipped) == len(checks):
            raise skipped[0]


@contextlib.contextmanager
def _own(fixtures: dict[str, Any], place: int) -> Iterator[dict[str, Any]]:
    """Make what a case has for itself of pytest's fixtures."""
    own = dict(fixtures)
    if "tmp_path" in own:
        own["tmp_path"] = own["tmp_path"] / f"case-{place}"
        own["tmp_path"].mkdir()
    if "capsys" in own:
        own["capsys"].readouterr()
    with pytest.MonkeyPatch.context() as patch:
        if "monkeypatch" in own:
            own["monkeypatch"] = patch
        yield own


def _short(value: Any) -> str:
    text = " ".join(str(value).split())
    return text if len(text) < 400 else f"{text[:400]} ..."
