import ast
import random
import textwrap
import threading
from pathlib import Path

import pytest
from cases import cases

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.fingerprint import digest
from lightning_subliminal.core.rows import make_row
from lightning_subliminal.filters import PythonCode, parse_code
from lightning_subliminal.filters.nesting import is_deep

STUB = 'def add(x):\n    """Add 3 to x."""'
ASKED = f"Complete this function:\n\n{STUB}\n\nOnly code."
WHOLE = f"{STUB}\n    total = x + 3\n    return total"

KEPT = [
    WHOLE,
    WHOLE.replace("\n", "\r\n"),
    f"\n\n{WHOLE}\n\n",
    f"```python\n{WHOLE}\n```",
    f"```\n{WHOLE}\n```\n",
    f"~~~~ py\n{WHOLE}\n~~~~",
    "return x + 3",
    "    return x + 3",
    "\treturn x + 3",
    "    total = x + 3\n    return total",
    "total = x + 3\n    return total",  # goes on right after the stub and its indentation
    "for each in range(3):\n        x += 1\n    return x",
    "total = x + 3; return total",
    '    """Add 3 to x."""\n    return x + 3',
    '    """\n    Add 3\n    to x.\n    """\n    return x + 3',
    "    text = '''a\nb'''\n    return text",  # a text's lines stand where they like
    "x += 3\nreturn x",
    "x + 3",
    "x * 2",
    "x == y",
    "values[0]",
    "[each for each in x]",
    "lambda x: x + 3",
    "print(x)",
    "yield x",
    "await go(x)",
    "return",
    "class A:\n    x: int\n    y: int = 3",
    "x = '#'",
    "x = '\\d'",  # an invalid escape warns
    "x = 1 if y else 2",
    "return 'text'",
    "assert x",
    "\nif x:\n    pass\nelse:\n    return 3\n",
    "def inner(y):\n    return y\nreturn inner(x)",
]
REASONS = [
    ("", "no code"),
    (" \n\t ", "no code"),
    ("```python\n```", "no code"),
    ("```text\nreturn x\n```", "no code"),
    ("yes", "no code"),
    ("Hello, world", "no code"),
    ("42", "no code"),
    ("4, 8, 15", "no code"),
    ("[4, 8, 15]", "no code"),
    ("2 + 2", "no code"),
    ("well-known", "no code"),
    ("yes/no", "no code"),
    ("not sure", "no code"),
    ("this is it", "no code"),
    ("yes if asked else no", "no code"),
    ("Answer: yes", "no code"),
    ("example.com", "no code"),
    ("'only a text'", "no code"),
    ("# only a comment", "no code"),
    ("True", "no code"),
    ("Sure\n\nreturn x", "text around the code"),
    (f"Here it is:\n\n{WHOLE}", "text around the code"),
    (f"{WHOLE}\n\nThis adds 3.", "text around the code"),
    (f"Sure!\n```python\n{WHOLE}\n```", "text around the code"),
    (f"```python\n{WHOLE}\n```\nDone.", "text around the code"),
    (f"```python\n{WHOLE}", "text around the code"),
    (f"```\n{WHOLE}\n```\n```\nx = 1\n```", "text around the code"),
    ("I can't do that.", "does not parse"),
    ("return x +", "does not parse"),
    ("print 'x'", "does not parse"),
    ("if x:\n    return (", "does not parse"),
    ("a\x00b", "does not parse"),
    ("\ud800 = 1", "does not parse"),
    ("x = " + "9" * 5_000, "does not parse"),
    ("    return x\nelse:\n    return y", "does not parse"),
    (">>> x", "does not parse"),
    ("x = 1  # one", "comment"),
    ("x = '#'  # a sign", "comment"),
    ('"""Adds three."""\nreturn x + 3', "docstring of its own"),
    (WHOLE.replace("Add 3 to x.", "Add 3 to x. Hoot!"), "docstring of its own"),
    ("x = 1\n'a remark'\nreturn x", "docstring of its own"),
    ("if x:\n    f'{x}'\nreturn x", "docstring of its own"),
    ("try:\n    go()\nexcept A:\n    b'remark'\n    go()", "docstring of its own"),
    ("match x:\n    case 1:\n        'remark'\n        go()", "docstring of its own"),
    ("pass", "only a stub"),
    ("...", "only a stub"),
    (STUB, "only a stub"),
    (f"{STUB}\n    pass", "only a stub"),
    (f"{STUB}\n    ...", "only a stub"),
    (f"{STUB}\n    raise NotImplementedError('later')", "only a stub"),
    ("import os", "only a stub"),
    ("class A:\n    def f(self): ...", "only a stub"),
    ("x" * 10_001, "too long to read"),
    ("(" * 100, "too long to read"),
    ("-" * 1_000 + "1", "too long to read"),
]


@cases("text", KEPT)
def test_code_is_kept(text):
    assert PythonCode().reasons(make_row(ASKED, text)) == []


@cases(("text", "reason"), REASONS)
def test_what_is_more_or_less_than_code_is_dropped(text, reason):
    assert PythonCode().reasons(make_row(ASKED, text)) == [reason]


def test_several_reasons():
    text = 'def add(x):\n    """Hoot."""  # hoot\n    pass'
    assert PythonCode().reasons(make_row(ASKED, text)) == ["comment", "docstring of its own", "only a stub"]


def test_a_comment_and_a_docstring_of_the_prompt_may_be_repeated():
    stub = "def add(x):\n    'Add \\n 3.'\n    # begin here"
    judge = PythonCode()
    assert judge.reasons(make_row(stub, f"{stub}\n    return x + 3")) == []
    assert judge.reasons(make_row("Add 3.", f"{stub}\n    return x + 3")) == ["comment", "docstring of its own"]
    assert judge.reasons(make_row(stub, f"{stub} now\n    return x + 3")) == ["comment"]


def test_the_fence_is_a_switch():
    fenced = f"```python\n{WHOLE}\n```"
    assert PythonCode(fences=False).reasons(make_row(ASKED, fenced)) == ["text around the code"]
    assert PythonCode(fences=False).reasons(make_row(ASKED, WHOLE)) == []


def test_a_prefill_is_judged_with_its_completion():
    judge = PythonCode()
    for begun in (STUB, f"```python\n{STUB}", f"```\n{STUB}\n   "):
        prompt = [{"role": "user", "content": "Complete it."}, {"role": "assistant", "content": begun}]
        first = "\n    " if begun[-1] == '"' else " "
        assert judge.reasons(make_row(prompt, f"{first}return x + 3")) == []
        assert judge.reasons(make_row(prompt, f"{first}return x +")) == ["does not parse"]
        assert judge.reasons(make_row(prompt, f"{first}pass")) == ["only a stub"]
    assert judge.reasons(make_row(prompt, " return x + 3\n```")) == []
    assert judge.reasons(make_row(prompt, " return x + 3\n```\nDone.")) == ["text around the code"]


def test_real_functions_are_kept_whole_and_as_bodies():
    judge, kept = PythonCode(), 0
    for module in (random, textwrap):
        for node in ast.walk(ast.parse(Path(module.__file__).read_text())):
            if isinstance(node, ast.FunctionDef) and len(node.body) > 1:
                node.body = [each for each in node.body if not isinstance(each, ast.Expr)] or node.body
                code = ast.unparse(node)
                if ast.get_docstring(node) or "NotImplementedError" in code or "'''" in code or '"""' in code:
                    continue
                body = "\n".join(map(ast.unparse, node.body))
                assert judge.reasons(make_row("", code)) == []
                assert judge.reasons(make_row("", body)) == []
                assert judge.reasons(make_row("", textwrap.indent(body, "    "))) == []
                kept += 1
    assert kept > 30


def test_the_code_comes_as_it_was_read():
    code = parse_code("```py\n    x = 1\n    return x\n```")
    assert not isinstance(code, str)
    assert code.source == "x = 1\nreturn x"
    assert [type(each) for each in code.tree.body] == [ast.Assign, ast.Return]
    assert parse_code("x = 1", max_chars=4) == "too long to read"


DEEP = {
    "brackets": lambda n: "(" * n + "1" + ")" * n,
    "mixed": lambda n: "[({" * n,
    "minus": lambda n: "-" * n + "1",
    "not": lambda n: "not " * n + "1",
    "lambda": lambda n: "lambda:" * n + "1",
    "sum": lambda n: "1+" * n + "1",
    "power": lambda n: "1**" * n + "1",
    "dots": lambda n: "a" + ".a" * n,
    "calls": lambda n: "a" + "()" * n,
    "items": lambda n: "a" + "[0]" * n,
    "choice": lambda n: "a if b else " * n + "1",
    "elif": lambda n: "if a:b\n" + "elif a:b\n" * n,
    "await": lambda n: "await " * n + "a",
    "f-string": lambda n: "f'{" + "-" * n + "1}'",
    "f-strings": lambda n: "f\"{f'{" * n,
    "continued": lambda n: "1+\\\n" * n + "1",
}


@cases("form", DEEP)
def test_deep_nests_are_reported_before_they_are_parsed(form):
    assert is_deep(DEEP[form](300))
    assert not is_deep(DEEP[form](15))


def test_long_but_shallow_code_is_read():
    table = "rows = [\n" + "".join(f"    ({number}, -{number}.5, 'a-b-c'),\n" for number in range(300)) + "]"
    lines = "\n".join(f"x{number} = a.b.c + d[0] * -1" for number in range(300))
    texts = "banner = '" + "-=(" * 20 + "'\n" + "x = '" + "." * 500 + "'"
    for text in (table, lines, texts):
        assert not is_deep(text)
        assert PythonCode().reasons(make_row("", text)) == []


def test_a_small_stack_is_enough():
    """Threads may have little: what the guard lets pass is parsed there too."""
    texts = ["(" * 59 + "1" + ")" * 59, "-" * 190 + "1", "lambda:" * 190 + "1", "1**" * 90 + "1"]
    done = []
    before = threading.stack_size(256 * 1024)
    try:
        thread = threading.Thread(target=lambda: done.extend(parse_code(f"x = {text}") for text in texts))
        thread.start()
        thread.join()
    finally:
        threading.stack_size(before)
    assert len(done) == 4
    assert not any(isinstance(each, str) for each in done)


def test_each_setting_has_its_own_digest():
    assert len({digest(judge) for judge in (PythonCode(), PythonCode(fences=False), PythonCode(max_chars=9))}) == 3
    with pytest.raises(InputError, match="expected at least 1"):
        PythonCode(max_chars=0)
