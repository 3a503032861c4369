"""Chat templates are programs of other people: here their loops end, and their texts stay small.

transformers renders them in jinja2's sandbox, which keeps them from files and from code, and not from ten billion
steps or ten gigabytes. So each turn of a loop, each call and each operator that can make something large counts, and
looks at the clock; what nests a million things is not compared, shown or hashed.
"""

import functools
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from jinja2 import nodes, pass_context
from jinja2.compiler import CodeGenerator, Frame
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

from lightning_subliminal.bounds import MAX_STEPS, MAX_WRITTEN, TEMPLATE_SECONDS
from lightning_subliminal.errors import InputError

__all__ = ["BoundedEnvironment", "bounded_rendering"]

_BITS = 100_000  # of a whole number
_PLAIN = (int, float, bool, type(None))
_SIZED = (str, bytes, list, tuple, dict, set, frozenset, range)
# What makes a text or a list as long as a number says.
_LENGTHS = {
    *("center", "ljust", "rjust", "zfill", "expandtabs", "indent", "wordwrap", "batch", "slice", "tojson"),
    *("truncate", "round", "format", "replace", "urlize"),
}
_WIDE = re.compile(r"\d{6}|\*|\{[^{}]*\{")  # of a format: a width of six digits, or one that an argument gives


class _Spent:
    """What one rendering has spent."""

    def __init__(self) -> None:
        self.steps = self.written = 0
        self.end = time.thread_time() + TEMPLATE_SECONDS  # of this thread's: a busy machine is no fault

    def spend(self, written: int = 0) -> None:
        """Count a step, and characters that it writes.

        Raises:
            InputError: if it is one too many.
        """
        self.steps += 1
        self.written += written
        MAX_STEPS.check(self.steps, f"it takes more than {MAX_STEPS:,} steps")
        MAX_WRITTEN.check(self.written, f"it handles more than {MAX_WRITTEN:,} characters")
        if time.thread_time() > self.end:
            raise InputError(f"it takes more than {TEMPLATE_SECONDS} s ({TEMPLATE_SECONDS.how})")


_SPENT: ContextVar[_Spent | None] = ContextVar("spent", default=None)


def _spend(written: int = 0) -> None:
    spent = _SPENT.get()
    if spent is not None:
        spent.spend(written)


def _weight(value: Any) -> int:
    """Return about how many characters a value has when it is shown; of what it holds each counts where it stands.

    Raises:
        InputError: if it holds more than ``MAX_STEPS`` things.
    """
    if isinstance(value, str):
        return len(value)
    if isinstance(value, _PLAIN) or not isinstance(value, _SIZED):
        return 1
    waiting, held, weight = [value], 1, 0
    while waiting:
        each = waiting.pop()
        if isinstance(each, str):
            weight += len(each)
        elif isinstance(each, _SIZED):
            held += len(each)
            MAX_STEPS.check(held, f"a value holds more than {MAX_STEPS:,} others")
            weight += len(each)
            if isinstance(each, dict):
                waiting += [*each.keys(), *each.values()]
            elif not isinstance(each, (range, bytes)):
                waiting += each
    return weight


def _charge(name: str, arguments: list[Any]) -> None:
    """Count an operation by the two largest of its arguments: the result can be as large as their product."""
    numbers = name in _LENGTHS
    sizes = [
        abs(each) if numbers and type(each) is int else _weight(each) for each in arguments if type(each) is not bool
    ]
    if name == "sum":  # lists would be added over and over
        for each in arguments[1:]:
            if isinstance(each, _SIZED) and not isinstance(each, str):
                raise InputError("it sums lists")
    if name == "format" and arguments and isinstance(arguments[0], str) and _WIDE.search(arguments[0]):
        raise InputError(f"it formats by {arguments[0][:40]!r}, whose width is not bounded")
    most = sorted(sizes, reverse=True)[:2]
    cost = functools.reduce(lambda one, other: one * max(1, other), most, 1)
    MAX_WRITTEN.check(cost, f"`{name}` may make a text of {MAX_WRITTEN:,} characters and more")
    _spend(sum(most))


def _guarded(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a filter or test that counts; what jinja2 passes before its arguments does not."""
    before = 1 if getattr(function, "jinja_pass_arg", None) is not None else 0

    @functools.wraps(function)
    def counted(*args: Any, **kwargs: Any) -> Any:
        _charge(name, [*args[before:], *kwargs.values()])
        return function(*args, **kwargs)

    return counted


class _Guarded(dict[str, Callable[..., Any]]):
    """Filters or tests, each of which counts, those that are added later, too."""

    def __setitem__(self, name: str, function: Callable[..., Any]) -> None:
        super().__setitem__(name, _guarded(name, function))


@pass_context  # jinja2 would else compute it once, when it compiles
def _step(context: Context, value: Any, written: int = 0) -> Any:
    _spend(written)
    return value


def _shown(value: Any) -> Any:
    _spend(_weight(value))
    return value


def _whole(value: Any) -> Any:
    """Refuse to compare or hash what nests too much; else return it."""
    _weight(value)
    return value


def _joined(values: list[Any]) -> str:
    _spend(sum(map(_weight, values)))
    return "".join(map(str, values))


def _filtered(node: nodes.Expr, name: str, *arguments: nodes.Expr) -> nodes.Filter:
    return nodes.Filter(node, name, [*arguments], [], None, None, lineno=node.lineno)


class _Counting(NodeTransformer):
    """Puts a step into each loop and macro, and counts what is joined, shown, compared and looked up."""

    def _body(self, node: Any) -> Any:
        self.generic_visit(node)
        written = sum(len(each.data) for each in node.find_all(nodes.TemplateData))
        one = nodes.Const(1, lineno=node.lineno)
        step = _filtered(one, "bounded step", nodes.Const(written, lineno=node.lineno))
        node.body.insert(0, nodes.ExprStmt(step, lineno=node.lineno))
        return node

    visit_Macro = visit_CallBlock = _body  # noqa: N815 - jinja2's names

    def visit_For(self, node: nodes.For) -> nodes.For:  # noqa: N802
        self._body(node)
        if node.test is not None:
            node.test = nodes.And(
                _filtered(nodes.Const(True, lineno=node.lineno), "bounded step"), node.test, lineno=node.lineno
            )
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Filter:  # noqa: N802
        self.generic_visit(node)
        return _filtered(nodes.List(node.nodes, lineno=node.lineno), "bounded join")

    def visit_Output(self, node: nodes.Output) -> nodes.Output:  # noqa: N802
        self.generic_visit(node)
        node.nodes = [
            each if isinstance(each, nodes.TemplateData) else _filtered(each, "bounded show") for each in node.nodes
        ]
        return node

    def visit_Compare(self, node: nodes.Compare) -> nodes.Compare:  # noqa: N802
        self.generic_visit(node)
        node.expr = self._small(node.expr)
        for operand in node.ops:
            operand.expr = self._small(operand.expr)
        return node

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Getitem:  # noqa: N802
        self.generic_visit(node)
        if not isinstance(node.arg, nodes.Slice):
            node.arg = self._small(node.arg)
        return node

    def visit_Pair(self, node: nodes.Pair) -> nodes.Pair:  # noqa: N802
        self.generic_visit(node)
        node.key = self._small(node.key)
        return node

    @staticmethod
    def _small(node: nodes.Expr) -> nodes.Expr:
        return node if isinstance(node, nodes.Const) else _filtered(node, "bounded whole")


class _Generator(CodeGenerator):
    """Writes the Python of a template that counts."""

    def visit_Template(self, node: nodes.Template, frame: Frame | None = None) -> None:  # noqa: N802
        """Write a template."""
        super().visit_Template(_Counting().visit(node), frame)


class BoundedEnvironment(ImmutableSandboxedEnvironment):
    """jinja2's sandbox with bounds of steps, characters and time.

    Args:
        kwargs: as for jinja2's environments.
    """

    code_generator_class = _Generator
    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.filters = _Guarded({name: _guarded(name, each) for name, each in self.filters.items()})
        tests: dict[str, Any] = dict(self.tests)
        self.tests = _Guarded({name: _guarded(name, each) for name, each in tests.items()})  # type: ignore[assignment]
        for name, each in (("step", _step), ("show", _shown), ("whole", _whole), ("join", _joined)):
            dict.__setitem__(self.filters, f"bounded {name}", each)
        self.globals.pop("lipsum", None)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Compute an operator that can make something large.

        Raises:
            InputError: if it would.
        """
        if operator == "**":
            if not all(isinstance(each, (int, float)) for each in (left, right)):
                raise InputError("it takes powers of what is no number")
            if isinstance(left, int) and isinstance(right, int) and left.bit_length() * max(0, right) > _BITS:
                raise InputError(f"it computes {str(left)[:20]} ** {str(right)[:20]}")
        elif isinstance(left, int) and isinstance(right, int):
            if left.bit_length() + right.bit_length() > _BITS:
                raise InputError(f"it computes numbers of {_BITS:,} bits")
        elif operator == "*":
            _charge("center", [left, right])  # a length and a number
        elif operator == "%" and isinstance(left, str):
            _charge("format", [left, *(right if isinstance(right, tuple) else [right])])
        elif operator == "+":
            _spend(_weight(left) + _weight(right))
        return super().call_binop(context, operator, left, right)

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        """Return what ``"...".format`` does, without widths that fill the memory.

        Raises:
            InputError: if the text names such a width.
        """
        found = super().wrap_str_format(value)
        if found is not None and _WIDE.search(value.__self__):
            raise InputError(f"it formats by {value.__self__[:40]!r}, whose width is not bounded")
        return found

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805 - as jinja2 does
        """Call something, and count it."""
        bound = getattr(__obj, "__self__", None)
        held = [bound] if isinstance(bound, _SIZED) else []
        _charge(str(getattr(__obj, "__name__", "a call")), [*held, *args, *kwargs.values()])
        return super().call(__context, __obj, *args, **kwargs)


@functools.cache
def _install() -> None:
    """Have transformers compile chat templates in this environment.

    Raises:
        InputError: if it compiles them in a way that is not known here.
    """
    from transformers import __version__
    from transformers.utils import chat_template_utils as theirs

    compiled: Any = getattr(theirs, "_compile_jinja_template", None)
    theirs.ImmutableSandboxedEnvironment = BoundedEnvironment
    if compiled is not None:
        compiled.cache_clear()
    if compiled is None or not isinstance(compiled("").environment, BoundedEnvironment):
        raise InputError(
            f"transformers {__version__} compiles chat templates in a way that can't be bounded: install 5.24."
        )


@contextmanager
def bounded_rendering() -> Iterator[None]:
    """Bound what chat templates that are rendered inside may cost, together."""
    _install()
    token = _SPENT.set(_Spent())
    try:
        yield
    finally:
        _SPENT.reset(token)
