"""Chat templates are programs of other people: here their loops end, and their texts stay small.

transformers renders them in jinja2's sandbox, which keeps them from files and from code, and not from ten billion
steps or ten gigabytes. So each turn of a loop, each call and each operator that can make something large counts, and
looks at the clock; what nests a million things is not compared, shown or hashed.
"""

import datetime
import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from jinja2 import TemplateError, meta, nodes, pass_context, pass_eval_context
from jinja2.compiler import CodeGenerator, Frame
from jinja2.filters import do_join, make_attrgetter
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

from lightning_subliminal.core.chat.costs import SIZED, charge, pieces, spend, spending, weight
from lightning_subliminal.core.errors import InputError

__all__ = ["BoundedEnvironment", "bounded_rendering", "names_read"]

_BITS = 100_000  # of a whole number
_HIDDEN = {"_loop_vars", "_block_vars"}  # keywords that jinja2 adds to calls
_DAY: ContextVar[datetime.date | None] = ContextVar("day", default=None)


def _strftime_on_the_day(format: str) -> str:  # transformers names it so
    day = _DAY.get()
    return "" if day is None else day.strftime(format)


@pass_eval_context
def _join(context: nodes.EvalContext, value: Any, d: Any = "", attribute: str | int | None = None) -> Any:
    """Join as jinja2's filter does, and count."""
    found = value if attribute is None else map(make_attrgetter(context.environment, attribute), value)
    return do_join(context, pieces(found, d), d)


def _guarded(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a filter or test that counts; what jinja2 passes before its arguments does not."""
    name = "%" if name == "format" else name
    before = 1 if getattr(function, "jinja_pass_arg", None) is not None else 0

    @functools.wraps(function)
    def counted(*args: Any, **kwargs: Any) -> Any:
        charge(name, args[before:], kwargs)
        return function(*args, **kwargs)

    return counted


class _Guarded(dict[str, Callable[..., Any]]):
    """Filters or tests, each of which counts, those that are added later, too."""

    def __setitem__(self, name: str, function: Callable[..., Any]) -> None:
        super().__setitem__(name, _guarded(name, function))


@pass_context  # jinja2 would else compute it once, when it compiles
def _step(context: Context, value: Any, written: int = 0) -> Any:
    spend(written)
    return value


def _shown(value: Any) -> Any:
    spend(weight(value))
    return value


def _whole(value: Any) -> Any:
    """Refuse to compare or hash what nests too much; else return it."""
    weight(value)
    return value


def _joined(values: list[Any]) -> str:
    spend(sum(map(weight, values)))
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
        dict.__setitem__(self.filters, "join", _join)
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
            charge("*", [left, right], {})
        elif operator == "%" and isinstance(left, str):
            charge("%", [left, right], {})
        elif operator == "+":
            spend(weight(left) + weight(right))
        return super().call_binop(context, operator, left, right)

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805 - as jinja2 does
        """Call something, and count it."""
        name = str(getattr(__obj, "__name__", "a call"))
        bound = getattr(getattr(__obj, "__wrapped__", __obj), "__self__", None)  # jinja2 wraps `format`
        held = [bound] if isinstance(bound, SIZED) else []
        if name == "strftime_now" and _DAY.get() is not None:
            __obj = _strftime_on_the_day
        charge(name, [*held, *args], {key: each for key, each in kwargs.items() if key not in _HIDDEN})
        if name == "join" and held and args:
            args = (pieces(args[0], bound), *args[1:])
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
def bounded_rendering(day: datetime.date | None = None) -> Iterator[None]:
    """Bound what chat templates that are rendered inside may cost, together.

    Args:
        day: what they read as today's date; the day itself where it is left out.
    """
    _install()
    token = _DAY.set(day)
    try:
        with spending():
            yield
    finally:
        _DAY.reset(token)


@functools.lru_cache
def names_read(template: str) -> frozenset[str]:
    """Return the names that a chat template reads and does not set itself; none where it can't be parsed."""
    from transformers.utils import chat_template_utils as theirs

    _install()
    environment = theirs._compile_jinja_template("").environment  # it knows transformers' tags
    try:
        parsed = environment.parse(template)
        brought = {each.name for each in parsed.find_all(nodes.Name)} & environment.globals.keys()
        return frozenset(meta.find_undeclared_variables(parsed) | brought)
    except (TemplateError, RecursionError):  # rendering says so
        return frozenset()
