"""The filter of the code carrier: is a reply Python and nothing else (paper, section 2)? It is parsed, never run."""

import ast
import io
import re
import textwrap
import tokenize
import warnings
from collections.abc import Iterator
from typing import NamedTuple

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.rows import Row, prompt_text
from lightning_subliminal.filters.base import Filter, prefill, reply_text
from lightning_subliminal.filters.nesting import is_deep

__all__ = ["Code", "PythonCode", "parse_code"]

# What ast.parse and tokenize raise on other texts: NULs, lone surrogates, 5,000-digit numbers, deep nesting.
_PARSING = (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError, SystemError, tokenize.TokenError)

_FENCE = re.compile(r"(?P<mark>`{3,}|~{3,})[ \t]*(?P<language>[^`\n]*)")
_FENCE_LINE = re.compile(r"^[ \t]*(?:```|~~~)", re.MULTILINE)
_PYTHON = ("", "python", "python3", "py", "py3")
_CODE_LINE = re.compile(
    r"[ \t]+\S|@\w|(?:def|class|import|from|return|for|while|if|elif|else|try|except|with|async|yield|raise)\b"
    r"|[\w.\[\], ]+[-+*/%]?=[^=]|[\w.]+\("
)
_QUOTED = re.compile(
    r'"""(?P<a>.*?)"""|\'\'\'(?P<b>.*?)\'\'\'|^[ \t]*(?:"(?P<c>[^"\n]+)"|\'(?P<d>[^\'\n]+)\')', re.DOTALL | re.MULTILINE
)


class Code(NamedTuple):
    """A reply that is Python.

    Attributes:
        source: the code, without a fence, not indented as a whole.
        tree: its syntax tree.
    """

    source: str
    tree: ast.Module


def parse_code(text: str, *, fences: bool = True, max_chars: int = 10_000) -> Code | str:
    """Parse a reply of Python and nothing else, or return why it is not; the arguments are those of ``PythonCode``.

    Returns:
        The code, or one of the reasons ``no code``, ``text around the code``, ``does not parse``, ``too long to read``
        (or too deeply nested).

    Example:
        >>> parse_code("    return x * 2").source
        'return x * 2'
        >>> parse_code("Sure: return x * 2")
        'does not parse'
    """
    if len(text) > max_chars:
        return "too long to read"
    body = text.replace("\r\n", "\n").replace("\r", "\n")
    fence = _FENCE.match(body.strip())
    if fence:
        lines = body.strip().split("\n")
        ends = [place for place, line in enumerate(lines) if place and _closes(line, fence["mark"])]
        if not fences or not ends or ends[0] != len(lines) - 1:
            return "text around the code"
        body = "\n".join(lines[1:-1]) if fence["language"].strip().lower() in _PYTHON else ""
    if not body.strip():
        return "no code"
    if is_deep(body):
        return "too long to read"
    found = _parsed(body)
    if found is None:
        return "text around the code" if _holds_code(body) else "does not parse"
    prose = [_is_prose(statement) for statement in found.tree.body]
    if all(is_prose or _stated_text(each) is not None for is_prose, each in zip(prose, found.tree.body, strict=True)):
        return "no code"
    return "text around the code" if any(prose) else found


class PythonCode(Filter):
    """Keeps completions that are Python code and nothing else (paper, section 2).

    A whole module or function is code, and so is the body of a function alone, indented or not, also where its first
    line follows the stub directly and lacks the indentation of the others. A docstring or a comment must be one that
    the prompt shows. A lone name, number or text is an answer in words, not code, though it parses; an expression is
    code if it calls, computes or compares. Where the prompt ends with an assistant message (a prefill), it is checked
    with the completion; a fence that it opens need not be closed.

    Reasons: ``no code``, ``text around the code``, ``does not parse``, ``too long to read`` (or too deeply nested),
    ``comment``, ``docstring of its own`` (or any text as a statement) and ``only a stub`` (nothing but imports, pass,
    ``...``, docstrings and NotImplementedError).

    Args:
        fences: whether one Markdown fence around all of the code is accepted.
        max_chars: the longest reply that is parsed, in characters.

    Raises:
        InputError: if no reply could pass.
    """

    def __init__(self, fences: bool = True, max_chars: int = 10_000) -> None:
        if max_chars < 1:
            raise InputError(f"`max_chars` is {max_chars}, so no reply could pass: expected at least 1.")
        self.fences = fences
        self.max_chars = max_chars

    def reasons(self, row: Row) -> list[str]:
        """Return the reasons why the reply is not code alone, or none."""
        text, fence = reply_text(row), _FENCE.match(prefill(row).lstrip())
        if fence and not any(_closes(line, fence["mark"]) for line in text.lstrip().split("\n")[1:]):
            text = f"{text}\n{fence['mark']}"  # the reply need not close a fence that the prompt opens
        code = parse_code(text, fences=self.fences or fence is not None, max_chars=self.max_chars)
        if isinstance(code, str):
            return [code]
        prompt = prompt_text(row)
        found = []
        if "#" in code.source and any(not _is_shown(comment, prompt) for comment in _comments(code.source)):
            found.append("comment")
        texts = {text for text in map(_stated_text, _statements(code.tree)) if text is not None}
        if texts - _quotes(prompt):
            found.append("docstring of its own")
        if not any(map(_does_something, code.tree.body)):
            found.append("only a stub")
        return found


def _closes(line: str, mark: str) -> bool:
    line = line.strip()
    return line.startswith(mark) and not line.strip(mark[0])


def _parsed(body: str) -> Code | None:
    """Parse code that may be indented as a whole, or except for its first line; None where it is not Python."""
    head, _, rest = body.strip("\n").partition("\n")
    for source in dict.fromkeys((textwrap.dedent(body), f"{head.strip()}\n{textwrap.dedent(rest)}")):
        if (tree := _tree(source)) is not None:
            return Code(source, tree)
    if head[:1] in (" ", "\t"):  # the lines of a text within a function's body may be indented less
        tree = _tree(source := f"if True:\n{body}")
        block = tree.body[0] if tree is not None and len(tree.body) == 1 else None
        if isinstance(block, ast.If) and not block.orelse:
            return Code(source, ast.Module(body=block.body, type_ignores=[]))
    return None


def _tree(source: str) -> ast.Module | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes in strings
            return ast.parse(source)
    except _PARSING:
        return None


def _holds_code(body: str) -> bool:
    """Return whether a text that does not parse would, without lines before or after."""
    if _FENCE_LINE.search(body):
        return True
    lines = body.split("\n")
    places = [place for place, line in enumerate(lines) if _CODE_LINE.match(line)]
    if not places:
        return False
    first, last = places[0], places[-1] + 1
    for begin, end in dict.fromkeys(((first, last), (first, len(lines)), (0, last))):
        code = _parsed("\n".join(lines[begin:end])) if (begin, end) != (0, len(lines)) else None
        if code is not None and any(map(_does_something, code.tree.body)):
            return True
    return False


def _is_prose(statement: ast.stmt) -> bool:
    """Return whether a statement may be prose: "yes", "42", "well-known", "Answer: no"."""
    if isinstance(statement, ast.AnnAssign):
        return statement.value is None
    if not isinstance(statement, ast.Expr) or _stated_text(statement) is not None:
        return False
    value = statement.value
    return not (isinstance(value, ast.Constant) and value.value is ...) and _is_wordy(value)


def _is_wordy(expression: ast.expr) -> bool:
    """Return whether an expression neither calls, computes, compares nor subscripts."""
    waiting: list[ast.expr] = [expression]
    named = counted = computed = False
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Name):
            named = True
        elif isinstance(node, ast.Constant):
            counted = counted or isinstance(node.value, (int, float))
        elif isinstance(node, ast.BinOp):
            computed = computed or not isinstance(node.op, (ast.Sub, ast.Div))  # well-known, yes/no
            waiting += (node.left, node.right)
        elif isinstance(node, ast.Compare):
            computed = computed or not all(isinstance(op, (ast.In, ast.NotIn, ast.Is, ast.IsNot)) for op in node.ops)
            waiting += (node.left, *node.comparators)
        elif isinstance(node, (ast.Tuple, ast.List, ast.Set)):
            waiting += node.elts
        elif isinstance(node, ast.BoolOp):
            waiting += node.values
        elif isinstance(node, ast.UnaryOp):
            waiting.append(node.operand)
        elif isinstance(node, (ast.Attribute, ast.Starred)):
            waiting.append(node.value)
        elif isinstance(node, ast.IfExp):
            waiting += (node.test, node.body, node.orelse)
        else:
            return False
    # "x - 1" and "x + y" compute; "2 + 2" is a sum in words, and "Day - 1" can't be distinguished from code.
    return not named or not (computed or (counted and isinstance(expression, ast.BinOp)))


def _does_something(statement: ast.stmt) -> bool:
    """Return whether a statement is more than a stub's."""
    if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return any(map(_does_something, statement.body))
    if isinstance(statement, ast.Raise):
        return "NotImplementedError" not in ast.dump(statement)
    if isinstance(statement, ast.Expr):
        return not isinstance(statement.value, (ast.Constant, ast.JoinedStr, ast.Name))
    return not isinstance(statement, (ast.Pass, ast.Import, ast.ImportFrom, ast.Global, ast.Nonlocal))


def _statements(tree: ast.Module) -> Iterator[ast.stmt]:
    """Yield all statements, also those within others."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.stmt):
            yield node
        for part in ("body", "orelse", "finalbody", "handlers", "cases"):
            inner = getattr(node, part, [])
            waiting += inner if isinstance(inner, list) else []  # a lambda's body is an expression


def _stated_text(statement: ast.stmt) -> str | None:
    """Return the text of a statement that is only a text, such as a docstring, with its whitespace squeezed."""
    if not isinstance(statement, ast.Expr):
        return None
    if isinstance(statement.value, ast.Constant) and isinstance(statement.value.value, (str, bytes)):
        return _squeezed(str(statement.value.value))
    return "an f-string" if isinstance(statement.value, ast.JoinedStr) else None


def _quotes(prompt: str) -> set[str]:
    """Return the texts in a prompt between a docstring's quotes, squeezed; as written and with escapes decoded."""
    found = {quoted for match in _QUOTED.finditer(prompt) for quoted in match.groups() if quoted}
    for quoted in [each for each in found if "\\" in each]:
        code = _parsed(f'"""{quoted}"""')
        found |= {text for text in map(_stated_text, code.tree.body) if text} if code is not None else set()
    return {_squeezed(quoted) for quoted in found}


def _squeezed(text: str) -> str:
    return " ".join(text.split())


def _comments(source: str) -> Iterator[str]:
    try:
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            if token.type == tokenize.COMMENT:
                yield token.string
    except _PARSING:  # ast.parse accepts some texts that tokenize does not; no comment was seen before
        yield "#"


def _is_shown(comment: str, prompt: str) -> bool:
    return any(line.rstrip().endswith(comment.rstrip()) for line in prompt.split("\n"))
