"""What a report holds: each key with its kind, checked before anything is drawn or written.

A report is JSON-able data. ``VERDICTS`` are the words of a verdict; ``_REPORT`` below is the whole schema. Any number
may be None: not measured, or not to be had (one seed has no interval). A number that is not finite becomes None.
"""

import math
from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any

from lightning_subliminal.core.errors import InputError

__all__ = ["OUTCOMES", "VERDICTS", "checked", "cleaned"]

VERDICTS = ("reproduced", "not reproduced", "holds", "does not hold", "inconclusive", "not measured")
OUTCOMES = {"holds": "reproduced", "does not hold": "not reproduced"}  # one outcome, of one's own claim and a published

Check = Callable[[Any, str], Any]

# Characters that neither XML nor a terminal takes; a lone surrogate can't even be written as UTF-8.
_BAD = dict.fromkeys((*range(9), 11, 12, *range(14, 32), 127, *range(0xD800, 0xE000), 0xFFFE, 0xFFFF), "\ufffd")


def checked(report: Any) -> dict[str, Any]:
    """Return a clean copy of a report, in which every optional key is there; further keys are kept.

    Raises:
        InputError: naming the place, where a key is missing or is of another kind.
    """
    made: dict[str, Any] = _REPORT(cleaned(report), "report")
    seen: set[tuple[str, str]] = set()
    for place, claim in enumerate(made["claims"]):
        key = (claim["experiment"], claim["id"])
        if key in seen:
            raise InputError(f"report.claims[{place}] is {'/'.join(key)!r} again: give each claim an id of its own.")
        seen.add(key)
    names = [experiment["name"] for experiment in made["experiments"]]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise InputError(f"report.experiments has {twice!r} twice: give each experiment a name of its own.")
    return made


def cleaned(value: Any) -> Any:
    """Return JSON-able data without what JSON, XML or UTF-8 can't hold: nan, infinity, control characters, surrogates."""
    if isinstance(value, str):
        return value.translate(_BAD)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None  # a numpy float64 is a float too
    if isinstance(value, Mapping):
        return {cleaned(str(key)): cleaned(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [cleaned(each) for each in value]
    return value


def _is(kind: str, test: Callable[[Any], bool]) -> Check:
    def check(value: Any, place: str) -> Any:
        if not test(value):
            raise InputError(f"{place} is {str(value)[:40]!r}, expected {kind}: mend it, or make the report again.")
        return value

    return check


def _list(each: Check) -> Check:
    whole = _is("a list", lambda value: isinstance(value, list))
    return lambda value, place: [each(part, f"{place}[{at}]") for at, part in enumerate(whole(value, place))]


def _maybe(check: Check) -> Check:
    return lambda value, place: None if value is None else check(value, place)


def _object(optional: Mapping[str, tuple[Check, Any]] | None = None, /, **required: Check) -> Check:
    whole = _is("an object", lambda value: isinstance(value, dict))
    optional = optional or {}

    def check(value: Any, place: str) -> Any:
        made = dict(whole(value, place))
        if missing := sorted(set(required) - set(made)):
            raise InputError(f"{place} has no {missing[0]!r}: add it (None where it may be), or make the report again.")
        for key, each in required.items():
            made[key] = each(made[key], f"{place}.{key}")
        for key, (each, default) in optional.items():
            made[key] = each(made[key], f"{place}.{key}") if made.get(key) is not None else deepcopy(default)
        return made

    return check


def _figure(value: Any, place: str) -> Any:
    kind = _object(kind=_choice(*_FIGURES))(value, place)["kind"]
    made = _FIGURES[kind](value, place)
    if kind == "matrix":
        shape = (len(made["rows"]), len(made["columns"]))
        for key in ("values", "low", "high"):
            if made[key] is None:
                made[key] = [[None] * shape[1] for _ in range(shape[0])]
            if len(made[key]) != shape[0] or any(len(line) != shape[1] for line in made[key]):
                raise InputError(f"{place}.{key} is not {shape[0]} x {shape[1]} as rows x columns: give each cell.")
    return made


def _choice(*words: str) -> Check:
    return _is(f"one of {', '.join(map(repr, words))}", lambda value: isinstance(value, str) and value in words)


_TEXT = _is("a text", lambda value: isinstance(value, str))
_NUMBER = _maybe(_is("a number or None", lambda value: isinstance(value, (int, float)) and not isinstance(value, bool)))
_COUNT = _maybe(_is("a whole number", lambda value: isinstance(value, int) and not isinstance(value, bool)))
_FLAG = _is("true or false", lambda value: isinstance(value, bool))
_LINEAGE: dict[str, tuple[Check, Any]] = {"lineage": (_list(_TEXT), [])}
_STATISTIC: dict[str, tuple[Check, Any]] = {"statistic": (_TEXT, None)}
_ENDS: dict[str, tuple[Check, Any]] = {"low": (_NUMBER, None), "high": (_NUMBER, None)}
_PAIR = _is("two numbers", lambda value: isinstance(value, list) and len(value) == 2)
_LIMITS: dict[str, tuple[Check, Any]] = {"limits": (_PAIR, None)}  # what a number can't leave, as 0 and 1 of a chance
_SAMPLE: dict[str, tuple[Check, Any]] = {"unit": (_TEXT, None), "count": (_COUNT, None)}


def _texts(*names: str) -> dict[str, Check]:
    return dict.fromkeys(names, _TEXT)


def _optional(check: Check, *names: str) -> dict[str, tuple[Check, Any]]:
    return dict.fromkeys(names, (check, None))


_POINT = _object({"label": (_TEXT, "")}, value=_NUMBER)
_BAR = _object(
    {**_LINEAGE, **_ENDS, **_SAMPLE, "group": (_TEXT, None), "points": (_list(_POINT), [])}, label=_TEXT, value=_NUMBER
)
_CURVE_POINT = _object(
    {**_LINEAGE, **_ENDS, "count": (_COUNT, None), "points": (_list(_NUMBER), [])}, x=_NUMBER, value=_NUMBER
)
_CURVE = _object(label=_TEXT, points=_list(_CURVE_POINT))
_DOT = _object(
    {**_LINEAGE, **_optional(_NUMBER, "x_low", "x_high", "y_low", "y_high"), **_optional(_TEXT, "group")},
    **{"label": _TEXT, "x": _NUMBER, "y": _NUMBER},
)
_GRID = _list(_list(_NUMBER))
_FIGURES: dict[str, Check] = {
    "bars": _object(_LIMITS, **_texts("title", "caption", "y"), bars=_list(_BAR)),
    "matrix": _object(
        {**_STATISTIC, **_LIMITS, **_optional(_GRID, "low", "high")},
        **_texts("title", "caption", "row_title", "column_title", "value_title"),
        **{"rows": _list(_TEXT), "columns": _list(_TEXT), "values": _GRID},
    ),
    "curves": _object(
        {**_LIMITS, "log_x": (_FLAG, False)}, **_texts("title", "caption", "x", "y"), curves=_list(_CURVE)
    ),
    "scatter": _object(
        {**_STATISTIC, **_optional(_PAIR, "x_limits", "y_limits")},
        **_texts("title", "caption", "x", "y"),
        points=_list(_DOT),
    ),
}
_TARGETED = _object(
    {**_ENDS, **_SAMPLE, **_optional(_NUMBER, "value", "rank", "rank_of"), **_optional(_TEXT, "reason")}
)
_CLAIM = _object(
    {
        **_LIMITS,
        **_LINEAGE,
        **_ENDS,
        **_SAMPLE,
        **_optional(_TARGETED, "targeted"),
        **_optional(_TEXT, "source", "theirs", "statistic", "note"),
        **_optional(_NUMBER, "value", "p", "p_adjusted"),
        **_optional(_is("an object", lambda value: isinstance(value, dict)), "of"),
        "range": (_is("two bounds", lambda value: isinstance(value, list) and len(value) == 2), [None, None]),
    },
    **_texts("id", "experiment", "says"),
    verdict=_choice(*VERDICTS),
)
_TABLE = _object({"title": (_TEXT, ""), "caption": (_TEXT, "")}, columns=_list(_TEXT), rows=_list(_list(_TEXT)))
_EXPERIMENT = _object(
    {
        **dict.fromkeys(("about", "source"), (_TEXT, "")),
        "warnings": (_list(_TEXT), []),
        "table": (_TABLE, None),
        "figures": (_list(_figure), []),
        "failures": (_list(_object(**_texts("stage", "says"))), []),
    },
    **_texts("name", "title"),
)
_STAGES = ("planned", "shared", "failed")
_REPORT = _object(
    {
        **dict.fromkeys(("about", "command", "rule"), (_TEXT, "")),
        "seeds": (_list(_COUNT), []),
        "stages": (_object(_optional(_COUNT, *_STAGES)), dict.fromkeys(_STAGES)),
    },
    **{"title": _TEXT, "claims": _list(_CLAIM), "experiments": _list(_EXPERIMENT)},
)
