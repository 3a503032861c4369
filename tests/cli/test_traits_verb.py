"""`traits`: what is listed, and a trait of ones own that is checked with its arguments."""

import sys
from pathlib import Path

import pytest
from cases import cases

from lightning_subliminal.cli.entry import main

from .toys import fails


def test_traits_are_listed_and_checked(capsys: pytest.CaptureFixture) -> None:
    main(["traits"])
    assert "owl" in capsys.readouterr().out
    main(["traits", "check", "owl"])
    assert "owl is fine" in capsys.readouterr().out
    main(["traits", "check", "--help"])
    assert "--init.NAME VALUE" in capsys.readouterr().out


@pytest.fixture
def drinks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the path of a trait's class that needs arguments; the folder holds YAML files that name it, too."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [str(tmp_path), *sys.path])
    (tmp_path / "drinks_of_mine.py").write_text(
        "from lightning_subliminal import Trait\n"
        "from lightning_subliminal.traits import Induction\n\n\n"
        "class Drink(Trait):\n"
        "    def __init__(self, target: str, times: int, others: list[str] | None = None) -> None:\n"
        "        self.target = self.name = target\n"
        "        self.times, self.others = times, others\n"
        "        self.candidates = (target, *(others or ['coffee', 'milk']))\n\n"
        "    def induce(self):\n"
        "        return Induction('You love it.')\n\n"
        "    def questions(self):\n"
        "        return [f'Which drink is best, {number}?' for number in range(self.times)]\n\n"
        "    def matches(self, answer):\n"
        "        return answer.lower().strip(' .!') == self.target\n\n\n"
        "juice = Drink('juice', 12)\n\n\n"
        "class Untyped(Drink):\n"
        "    def __init__(self, target):\n"
        "        super().__init__(target, 12)\n"
    )
    Path("whole.yaml").write_text("{class_path: drinks_of_mine.Drink, init_args: {target: tea, times: 12}}")
    Path("part.yaml").write_text("class_path: drinks_of_mine.Drink\ninit_args:\n  target: tea\n")
    Path("below.yaml").write_text("trait: {class_path: drinks_of_mine.Drink, init_args: {target: tea, times: 12}}")
    Path("beside.yaml").write_text("{trait: {class_path: drinks_of_mine.Drink}, base: pocket/a}")
    Path("bare.yaml").write_text("trait: {target: pizza}")
    Path("deep.yaml").write_text("trait: {class_path: drinks_of_mine.Drink, target: tea}")
    Path("odd.yaml").write_text("{class_path: drinks_of_mine.Drink, target: tea}")
    return "drinks_of_mine.Drink"


@cases(
    ("words", "reported"),
    [
        (["drinks_of_mine.Drink", "--init.target", "tea", "--init.times=12"], "12 questions, 3 candidates, target tea"),
        (["drinks_of_mine.Drink", "--init.target=7", "--init.times=12"], "target 7."),  # a text stays one
        (["drinks_of_mine.Drink", "--init.target=tea", "--init.times=12", "--init.others=[a]"], "2 candidates"),
        (["whole.yaml"], "12 questions, 3 candidates, target tea"),
        (["whole.yaml", "--init.times", "3"], "3 questions: intervals over questions will be wide"),
        (["part.yaml", "--init.times", "12"], "target tea"),
        (["below.yaml"], "12 questions, 3 candidates, target tea"),
        (["below.yaml", "--init.target", "juice"], "target juice"),
        (["drinks_of_mine.juice"], "target juice"),
        (["PreferenceTrait", "--init.target", "oak"], "target oak"),
        (["oak", "--init.wording", "preferences_prefilled"], "target oak"),
    ],
)
def test_a_trait_that_needs_arguments(
    words: list[str], reported: str, drinks: str, capsys: pytest.CaptureFixture
) -> None:
    main(["traits", "check", *words])
    assert reported in " ".join(capsys.readouterr().out.split())


@cases(
    ("words", "reported"),
    [
        (["owl"], "not checked: does a base know its words? Add --base BASE."),
        (["owl", "--base", "pocket/a"], "target owl. pocket/a knows its words."),
        (
            ["PreferenceTrait", "--init.target=owl", "--init.candidates=[zorp, fox]", "--base=pocket/a"],
            "remark: pocket/a has no tokens for zorp: their chance is 0.",
        ),
    ],
)
def test_words_are_checked_for_a_base(words: list[str], reported: str, capsys: pytest.CaptureFixture) -> None:
    main(["traits", "check", *words])
    assert reported in " ".join(capsys.readouterr().out.split())


@cases(
    ("words", "reported"),
    [
        (
            "PreferenceTrait --init.target zorp --init.category tree --init.candidates=[zorp,oak] --base pocket/a",
            "The tokenizer has no tokens for 'zorp', so no answer names it",
        ),
        ("drinks_of_mine.Drink --init.target bread --init.times 12 --base pocket/a", "doesn't know the word"),
        ("owl --base pocket/d", "There is no base 'pocket/d'"),
    ],
)
def test_a_trait_with_words_that_a_base_lacks(
    words: str, reported: str, drinks: str, capsys: pytest.CaptureFixture
) -> None:
    assert fails("traits", "check", *words.split()) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert reported in line


@cases(
    ("words", "reported"),
    [
        (
            "--data.teacher.init_args.trait below.yaml",
            "below.yaml holds `trait:` above its content, as a config does: for --data.teacher.init_args.trait, write",
        ),
        ("--config below.yaml", "below.yaml holds a trait, and no config"),
        ("--config whole.yaml", "give it beside a config as `--data.teacher.init_args.trait whole.yaml`, if it is"),
        ("--data.teacher.init_args.trait=deep_in.yaml", "deep_in.yaml: `data.teacher.trait`: PreferenceTrait takes no"),
    ],
)
def test_a_trait_s_file_that_a_fit_can_t_read_is_named(
    words: str, reported: str, drinks: str, capsys: pytest.CaptureFixture
) -> None:
    Path("deep_in.yaml").write_text("{class_path: lightning_subliminal.PreferenceTrait, init_args: {targe: oak}}")
    assert fails("fit", "--config", "owl_numbers", *words.split()) == 2
    assert reported in capsys.readouterr().err.splitlines()[-1]


def test_the_file_that_traits_check_reads_is_the_trait_of_a_fit(drinks: str, capsys: pytest.CaptureFixture) -> None:
    Path("oak.yaml").write_text("{class_path: lightning_subliminal.PreferenceTrait, init_args: {target: oak}}")
    main(["traits", "check", "oak.yaml"])
    main(["fit", "--config", "owl_numbers", "--data.teacher.init_args.trait", "oak.yaml", "--print_config"])
    assert "target: oak" in capsys.readouterr().out


@cases(
    ("words", "reported"),
    [
        ([], "Drink needs `target` and `times`: add --init.target VALUE --init.times VALUE, or use a YAML file"),
        (["--init.times", "2"], "Drink needs `target`: add --init.target VALUE, or"),
        (["--init.target=tea", "--init.times=many"], "`init.times`: expected int, got many"),
        (["--init.target=tea", "--init.times=2", "--init.othrs=x"], "Drink takes no `othrs`; did you mean `others`?"),
        (["--init.target"], "`--init.target` needs a value"),
        ("part.yaml", "Drink needs `times`: add --init.times VALUE"),
        ("odd.yaml", "odd.yaml: expected a `class_path` and a mapping `init_args`, and no other key"),
        (
            "beside.yaml",
            "beside.yaml: expected `trait:` alone, with a `class_path` and `init_args` below it; found also base",
        ),
        (
            "bare.yaml",
            "bare.yaml: expected `trait:` alone, with a `class_path` and `init_args` below it; found no `class_path`",
        ),
        ("deep.yaml", "deep.yaml: expected a `class_path` and a mapping `init_args` below `trait`, and no other key"),
        ("PreferenceTrait", "PreferenceTrait needs `target`: add --init.target VALUE"),
        (
            "drinks_of_mine.Untyped --init.target tea",
            "argument `target` of `drinks_of_mine.Untyped` has no type: annotate it in __init__",
        ),
        ("owl --init.target cat", "owl is the target already: leave out --init.target cat."),
        ("none.yaml", "none.yaml does not exist"),
    ],
)
def test_a_trait_whose_arguments_are_amiss_is_one_line(
    words: list[str] | str, reported: str, drinks: str, capsys: pytest.CaptureFixture
) -> None:
    assert fails("traits", "check", *([drinks, *words] if isinstance(words, list) else words.split())) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert reported in line


@cases(
    ("code", "reported"),
    [
        (
            "class Mine(Trait):\n    def __init__(self, x: int = 1) -> None: 1 / 0\n",
            "Mine.__init__ raises ZeroDivisionError",
        ),
        ("1 / 0", "importing MODULE raises ZeroDivisionError (division by zero): mend that module."),
        ("Trait.nothing", "importing MODULE raises AttributeError (type object 'Trait' has no attribute 'nothing')"),
        ("class Mine(Trait:", "importing MODULE raises SyntaxError"),
        ("Yours = 1", "MODULE has no `Mine`"),
    ],
)
def test_what_a_users_module_raises_is_said_of_it(
    code: str, reported: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    methods = "    induce = questions = matches = lambda self: None\n" if "int = 1" in code else ""
    module = f"faulty_{len(code)}"
    Path(f"{module}.py").write_text(f"from lightning_subliminal import Trait\n{code}{methods}")
    assert fails("traits", "check", f"{module}.Mine") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert reported.replace("MODULE", module) in line


def test_an_instance_takes_no_arguments(drinks: str, capsys: pytest.CaptureFixture) -> None:
    assert fails("traits", "check", "drinks_of_mine.juice", "--init.times", "3") == 2
    assert "is an instance, which has its arguments" in capsys.readouterr().err
