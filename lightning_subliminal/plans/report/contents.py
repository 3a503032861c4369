"""The contents of a report: JSON-able data, checked by ``schema.yaml`` before anything is drawn or written."""

import math
from collections.abc import Iterator, Mapping
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any, get_args

from lightning_subliminal.analysis.claims import Verdict
from lightning_subliminal.core.config.building import read_yaml
from lightning_subliminal.core.errors import InputError

__all__ = ["VERDICTS", "checked", "cleaned"]

VERDICTS: tuple[str, ...] = get_args(Verdict)

# Characters that neither XML nor a terminal takes; a lone surrogate can't even be written as UTF-8.
_BAD = dict.fromkeys((*range(9), 11, 12, *range(14, 32), 127, *range(0xD800, 0xE000), 0xFFFE, 0xFFFF), "\ufffd")


def checked(report: Any) -> dict[str, Any]:
    """Return a clean copy of a report, with the default of each optional key that is missing; further keys are kept.

    Raises:
        InputError: naming the place, if a key is missing or has a value of another kind; or if jsonschema is missing.
    """
    made: dict[str, Any] = cleaned(report)
    for error in _validator().iter_errors(made):
        place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.absolute_path)
        raise InputError(f"report{place}: {error.message[:200]}: correct it, or make the report again.")
    seen: set[tuple[str, str]] = set()
    for at, claim in enumerate(made["claims"]):
        key = (claim["experiment"], claim["id"])
        if key in seen:
            raise InputError(f"report.claims[{at}] is {'/'.join(key)!r} again: give each claim an id of its own.")
        seen.add(key)
    names = [experiment["name"] for experiment in made["experiments"]]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise InputError(f"report.experiments has {twice!r} twice: give each experiment a name of its own.")
    for figure in (figure for experiment in made["experiments"] for figure in experiment["figures"]):
        if figure["kind"] == "matrix":
            _check_shape(figure)
    return made


def cleaned(value: Any) -> Any:
    """Return JSON-able data without what JSON, XML or UTF-8 can't hold: nan, infinity, controls and surrogates."""
    if isinstance(value, str):
        return value.translate(_BAD)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None  # a numpy float64 is a float too
    if isinstance(value, Mapping):
        return {cleaned(str(key)): cleaned(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [cleaned(each) for each in value]
    return value


def _check_shape(matrix: dict[str, Any]) -> None:
    rows, columns = len(matrix["rows"]), len(matrix["columns"])
    for key in ("values", "low", "high"):
        if matrix[key] is None:
            matrix[key] = [[None] * columns for _ in range(rows)]
        if len(matrix[key]) != rows or any(len(line) != columns for line in matrix[key]):
            raise InputError(f"report, figure {matrix['title']!r}: {key} is not {rows} x {columns}: give each cell.")


@cache
def _validator() -> Any:
    """Return a validator that also fills in defaults, where a key is missing or None."""
    try:
        from jsonschema import Draft202012Validator, validators
    except ImportError as err:
        raise InputError("Reports need jsonschema: pip install 'lightning-subliminal[report]'.") from err
    validate = Draft202012Validator.VALIDATORS["properties"]

    def properties(validator: Any, properties: Any, value: Any, schema: Any) -> Iterator[Any]:
        if isinstance(value, dict):
            for name, part in properties.items():
                if "default" in part and value.get(name) is None:
                    value[name] = deepcopy(part["default"])
        yield from validate(validator, properties, value, schema)

    extended = validators.extend(Draft202012Validator, {"properties": properties})
    return extended(read_yaml(Path(__file__).with_name("schema.yaml")))
