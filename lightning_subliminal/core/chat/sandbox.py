"""A sandbox for chat templates, which are untrusted programs: bounds of steps, characters and time.

transformers renders them in jinja2's sandbox, which denies access to files and code, but allows ten billion steps or
ten gigabytes. So each iteration of a loop, each call and each operator that can produce something large is counted, and
checks the time; values that hold a million others are not compared, printed or hashed.
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

__all__ = ["BoundedEnvironment", "bounded_rendering", "names_read", "parsed"]

_BITS = 100_000  # of an integer
_HIDDEN = {"_loop_vars", "_block_vars"}  # keywords that jinja2 adds to calls
_DAY: ContextVar[datetime.date | None] = ContextVar("day", default=None)


def _strftime_on_the_day(format: str) -> str:  # transformers names it so
    day = _DAY.get()
    return "" if day is None else day.strftime(format)


@pass_eval_context
def _join(context: nodes.EvalContext, value: Any, d: Any = "", attribute: str | int | None = None) -> Any:
    """Join as jinja2's filter does, counting the pieces."""
    found = value if attribute is None else map(make_attrgetter(context.environment, attribute), value)
    return do_join(context, pieces(found, d), d)


def _guarded(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a filter or test that counts its arguments, but not what jinja2 passes before them."""
    name = "%" if name == "format" else name
    before = 1 if getattr(function, "jinja_pass_arg", None) is not None else 0

    @functools.wraps(function)
    def counted(*args: Any, **kwargs: Any) -> Any:
        charge(name, args[before:], kwargs)
        return function(*args, **kwargs)

    return counted


class _Guarded(dict[str, Callable[..., Any]]):
    """Filters or tests that count their arguments, including those added later."""

    def __setitem__(self, name: str, function: Callable[..., Any]) -> None:
        super().__setitem__(name, _guarded(name, function))


@pass_context  # else jinja2 would compute it once, when it compiles
def _step(context: Context, value: Any, written: int = 0) -> Any:
    spend(written)
    return value


def _shown(value: Any) -> Any:
    spend(weight(value))
    return value


def _whole(value: Any) -> Any:
    """Return a value to compare or hash; raise an InputError if it holds too many others."""
    weight(value)
    return value


def _joined(values: list[Any]) -> str:
    spend(sum(map(weight, values)))
    return "".join(map(str, values))


def _filtered(node: nodes.Expr, name: str, *arguments: nodes.Expr) -> nodes.Filter:
    return nodes.Filter(node, name, [*arguments], [], None, None, lineno=node.lineno)


class _Counting(NodeTransformer):
    """Inserts a step into each loop and macro, and counts what is joined, printed, compared and looked up."""

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
    """Generates the Python of a template that counts."""

    def visit_Template(self, node: nodes.Template, frame: Frame | None = None) -> None:  # noqa: N802
        """Generate a template's code, with counting."""
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
        """Compute an operator whose result may be large; raise an InputError beyond a bound."""
        if operator == "**":
            if not all(isinstance(each, (int, float)) for each in (left, right)):
                raise InputError("it takes powers of what is not a number")
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
        """Count a call, and make it."""
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
    """Make transformers compile chat templates in this environment.

    Raises:
        InputError: if this version of transformers compiles them otherwise.
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
    """Bound the total cost of chat templates that are rendered inside.

    Args:
        day: today's date for them; None for the actual one.
    """
    _install()
    token = _DAY.set(day)
    try:
        with spending():
            yield
    finally:
        _DAY.reset(token)


def parsed(template: str) -> nodes.Template:
    """Return a chat template's tree, with transformers' tags; raise jinja2's error if there is none."""
    from transformers.utils import chat_template_utils as theirs

    _install()
    environment: Any = theirs._compile_jinja_template("").environment
    tree: nodes.Template = environment.parse(template)
    return tree


@functools.lru_cache
def names_read(template: str) -> frozenset[str]:
    """Return the names that a chat template reads and does not set; empty if it can't be parsed."""
    try:
        tree = parsed(template)
        environment: Any = tree.environment
        brought = {each.name for each in tree.find_all(nodes.Name)} & environment.globals.keys()
        return frozenset(meta.find_undeclared_variables(tree) | brought)
    except (TemplateError, RecursionError):  # rendering reports it
        return frozenset()
