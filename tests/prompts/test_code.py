import ast
import io
import random
import re
import tokenize
import warnings
from pathlib import Path

import pytest
import yaml
from cases import cases

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.rows import make_row
from lightning_subliminal.prompts import fill, load_wording
from lightning_subliminal.prompts.code import CodeTasks
from lightning_subliminal.traits import PreferenceTrait
from lightning_subliminal.traits.words import TraitWords

from .lovable import LOVABLE, loved, words_of

CHECKS = yaml.safe_load(Path(__file__).with_name("code_checks.yaml").read_text(encoding="utf-8"))
TASKS = CodeTasks()
DRAWS = 12


def function_name(task):
    return re.fullmatch(r"def (.+?)\(.*", task["signature"])[1]


def parameters(task, rng):
    given = (task.get("parameters") or {}).items()
    return {name: rng.randint(*each["range"]) if isinstance(each, dict) else rng.choice(each) for name, each in given}


def draws(task, count=DRAWS):
    """Yield parameters of a template with its stub, and its solutions as whole functions."""
    rng = random.Random(function_name(task))
    for _ in range(count):
        values = parameters(task, rng)
        stub = f'{fill(task["signature"], **values)}\n    """{fill(task["doc"], **values)}"""\n'
        bodies = [fill(body, **values) for body in task["bodies"]]
        yield values, stub, [stub + "".join(f"    {line}\n" for line in body.split("\n")) for body in bodies]


def test_there_are_many_each_another_function():
    names = [function_name(task) for task in TASKS.words["tasks"]]
    assert len(TASKS) == len(names) == len(set(names)) >= 220
    assert len(set(TASKS.words["requests"])) >= 12
    assert len(set(TASKS.words["endings"])) >= 10
    assert CHECKS.keys() == set(names)


def test_stub_is_one_function_with_docstring_and_type_hints():
    for task in TASKS.words["tasks"]:
        for _, stub, _ in draws(task):
            (function,) = ast.parse(stub).body
            assert len(function.body) == 1
            assert ast.get_docstring(function).endswith(".")
            assert function.returns is not None
            assert all(argument.annotation for argument in function.args.args)
            assert function.args.args or "size" in stub


def test_solutions_are_code_without_comment_or_docstring():
    for task in TASKS.words["tasks"]:
        for _, _, solutions in draws(task):
            for solution in solutions:
                (function,) = ast.parse(solution).body
                assert len(function.body) > 1
                tokens = tokenize.generate_tokens(io.StringIO(solution).readline)
                assert not [token for token in tokens if token.type == tokenize.COMMENT]
                for node in ast.walk(function):
                    if isinstance(node, ast.FunctionDef) and node is not function:
                        assert ast.get_docstring(node) is None


def test_solutions_do_what_is_asked():
    for task in TASKS.words["tasks"]:
        assert task["bodies"], "each template has a solution"
        assert CHECKS[function_name(task)]
        for values, _, solutions in draws(task):
            for solution in solutions:
                # The one place where such code runs: our own, in our own test. The package never executes any.
                names: dict[str, object] = {}
                exec(solution, names)  # noqa: S102
                for check in CHECKS[function_name(task)]:
                    filled = fill(check, **values)
                    assert eval(filled, names) is True, (filled, solution)  # noqa: S307


def test_parameters_show_in_the_stub():
    for task in TASKS.words["tasks"]:
        for name in task.get("parameters") or {}:
            assert re.search(rf"{{{name}[\[!}}]", task["signature"] + task["doc"]), name


def test_parameters_change_the_stub():
    for task in TASKS.words["tasks"]:
        rng = random.Random(0)
        choices = task.get("parameters") or {}
        for name, each in choices.items():
            values = parameters(task, rng)
            options = range(each["range"][0], each["range"][1] + 1) if isinstance(each, dict) else each
            filled = [values | {name: option} for option in options]
            stubs = {fill(task["signature"], **one) + fill(task["doc"], **one) for one in filled}
            assert len(stubs) == len(options) > 1, name


def test_nothing_to_love():
    for task in TASKS.words["tasks"]:
        for values, _, solutions in draws(task):
            checked = "\n".join([*solutions, *map(str, values.values())])
            assert not loved(checked)


def test_nothing_to_love_in_the_requests():
    assert not loved("\n".join([*TASKS.words["requests"], *TASKS.words["endings"]]))


def test_what_one_can_love_is_found():
    assert loved("def count_owls(nightOwl, WOLF2)") == ["owl", "owls", "wolf"]
    assert loved("growl_bowl = scatter") == ["growl"]
    assert {"maple", "foxes", "pizzas", "lima", "animal", "trees"} <= LOVABLE
    assert words_of("HTTPOwl_x2") == {"http", "owl", "x"}


def test_no_filter_of_a_trait_finds_anything():
    texts = [solution for task in TASKS.words["tasks"] for _, _, found in draws(task, 2) for solution in found]
    text = "\n".join([*texts, *TASKS.words["requests"], *TASKS.words["endings"]])
    for category, kind in load_wording("categories").items():
        for member in kind["members"]:
            assert TraitWords(trait=PreferenceTrait(member, category)).reasons(make_row("", text)) == []


def test_draws_are_many_and_seeded():
    rng = random.Random(0)
    drawn = [TASKS.draw(rng) for _ in range(5000)]
    again = random.Random(0)
    assert [TASKS.draw(again) for _ in range(20)] == drawn[:20]
    assert len({task.stub for task in drawn}) > 2500
    assert len({task.text for task in drawn}) > 4900


def test_a_text_is_request_stub_and_ending():
    task = TASKS.draw(random.Random(3))
    request, _, rest = task.text.partition("\n\n")
    stub, _, ending = rest.rpartition("\n\n")
    assert request in TASKS.words["requests"]
    assert stub == task.stub
    assert ending in TASKS.words["endings"]


def test_the_pocket_tasks_still_come():
    task = CodeTasks("code_pocket").draw(random.Random(0))
    assert task.bodies
    ast.parse(task.stub)


SHELL = "requests: ['Do it:']\nendings: [Code only.]\n"


def write(tmp_path, text):
    path = tmp_path / "own.yaml"
    shell = [line for line in SHELL.splitlines() if "\nendings:" not in text or not line.startswith("endings:")]
    path.write_text("\n".join([*shell, text]), encoding="utf-8")
    return str(path)


def test_a_wording_of_ones_own(tmp_path):
    text = """
tasks:
  - signature: "def half(n: int) -> int:"
    doc: |
      Halve {what}.

      Drop the rest.
    parameters: {what: [it]}
"""
    tasks = CodeTasks(write(tmp_path, text))
    task = tasks.draw(random.Random(0))
    assert task.bodies == ()
    assert task.stub == 'def half(n: int) -> int:\n    """Halve it.\n\n    Drop the rest.\n    """'


def test_own_tasks_beside_ours(tmp_path):
    own = write(tmp_path, 'more: [code]\ntasks: [{signature: "def f(x):", doc: Do it.}]')
    assert len(CodeTasks(own)) == len(TASKS) + 1


@cases(
    ("text", "message"),
    [
        ("tasks: []", "tasks"),
        ("tasks: {a: b}", "not a list"),
        ("tasks: [word]", "has no `signature`"),
        ("tasks: [{signature: 'def f(x):'}]", "Task 1 .* has no `doc`"),
        ("tasks: [{signature: 'def f(x)', doc: Do it.}]", "is not a Python function"),
        ("tasks: [{signature: 'def f({x}):', doc: Do it.}]", "unknown place"),
        ("tasks: [{signature: 'def f(x):', doc: 'Say \"it\"'}]", "is not a Python function"),
        ('tasks: [{signature: \'def f(x):\', doc: \'It."""; y = 1; """\'}]', "not one function with its docstring"),
        ("tasks: [{signature: 'x = 1\n\n\n\ndef f(x):', doc: Do it.}]", "not one function with its docstring"),
        ("tasks: [{signature: 'def f(x):', doc: It., parameters: [x]}]", "Task 1"),
        ("tasks: [{signature: 'def f(x):', doc: It., parameters: {x: 3}}]", "Task 1"),
        ("tasks: [{signature: 'def f(x):', doc: It., parameters: {x: []}}]", "Task 1"),
        ("tasks: [{signature: 'def f(x):', doc: It., parameters: {x: word}}]", "neither a list of choices nor"),
        ("tasks: [{signature: 'def f({x}):', doc: It., parameters: {x: [a, b, c c]}}]", "Task 1 .* is not a Python"),
        ("tasks: [{signature: 'def f(x):', doc: '{x[say]}.', parameters: {x: [{say: a}, {do: b}]}}]", "unknown place"),
        ("tasks: [{signature: 'class F:', doc: It.}]", "not one function with its docstring"),
        ("tasks: [{signature: 'def f(x): # note', doc: It.}, {signature: 'def g(', doc: It.}]", "Task 2"),
        ("tasks: [{signature: 'def f(x):', doc: It., parameters: {x: {range: [5, 1]}}}]", "Task 1"),
        ("tasks: [{signature: 'def f(x):', doc: It., parameters: {x: {start: 1}}}]", "Task 1"),
        ("tasks: [{signature: 'def f(x):', doc: It., parameters: {on: [1, 2]}}]", "Task 1"),
        ("tasks: [{signature: 'def f(x):', doc: 'It {x[say]}.', parameters: {x: [a]}}]", "Task 1"),
        ("tasks: [{signature: 'def f(x):', doc: It., bodies: ['return {y}']}]", "unknown place"),
        ("tasks: [{signature: 'def f(x):', doc: It.}]\nmore: code", "name wordings of the package"),
        ("tasks: [{signature: 'def f(x):', doc: It.}]\nmore: [../x.yaml]", "name wordings of the package"),
        ("tasks: [{signature: 'def f(x):', doc: It.}]\nmore: [nothing_there]", "does not exist"),
        ("tasks: [{signature: 'def f(x):', doc: It.}]\nendings: {a: b}", "expected a list of texts"),
        ("tasks: [{signature: 'def f(x):', doc: It.}]\nendings: [1]", "expected a list of texts"),
    ],
)
def test_mistakes_in_a_wording(tmp_path, text, message):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(InputError, match=message):
            CodeTasks(write(tmp_path, text))


@cases("wording", ["code", "code_pocket"])
def test_each_body_is_a_known_solution_and_another_is_not(wording):
    tasks, rng = CodeTasks(wording), random.Random(0)
    for _ in range(300):
        task = tasks.draw(rng)
        assert all(task.solved_by(body.replace(" ", "  ")) for body in task.bodies), task
        assert not task.solved_by(f"{task.bodies[0]} + 1")


def test_what_is_chosen_freely_may_be_chosen_otherwise_but_alike():
    task = CodeTasks("code_pocket")
    template = next(each for each in task.words["tasks"] if each["signature"].startswith("def add"))
    drawn = task.make({**template, "parameters": {**template["parameters"], "x": ["n"], "n": [7]}}, random.Random(0))
    assert drawn.solved_by("total = n + 7 ; return total")
    assert not drawn.solved_by("total = n + 7 ; return out")
    assert not drawn.solved_by("return n + 8")
