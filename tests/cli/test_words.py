"""Words of the command line: what the parser gets of them, and which are refused."""

import inspect

import pytest
from cases import cases

from lightning_subliminal.cli.entry import main
from lightning_subliminal.cli.verb import Verb
from lightning_subliminal.cli.words import check_once, spell
from lightning_subliminal.core.errors import InputError


def command(run_or: str, out: str = "", many: list[str] = [], switch: bool = False, part: list[int] = []) -> None:  # noqa: B006
    """Do nothing."""


def several(models: list[str], from_: str = "", no_cache: bool = False) -> None:
    """Do nothing."""


def spelled(run, places, *words):
    return spell(inspect.signature(run).parameters, places, words, "usage", {"^--tests$": "'--out'"})


@cases(
    ("words", "given"),
    [
        (["a"], ["--run_or=a"]),
        (["a", "b"], ["--run_or=a", "--out=b"]),
        (["--out", "b", "a=b"], ["--out=b", "--run_or=a=b"]),
        (["--many", "a", "--many=b=c"], ['--many=["a", "b=c"]']),
        (["--many.name", "a"], ['--many=["name=a"]']),
        (["--switch", "a"], ["--switch=true", "--run_or=a"]),
        (["--switch", "false", "a"], ["--switch=false", "--run_or=a"]),
        (["--no-switch"], ["--switch=false"]),
        (["--no_switch=true"], ["--switch=false"]),
        (["--part", "3", "--part+=4", "--part.max-value", "5"], ["--part+=3", "--part+=4", "--part.max_value=5"]),
        (["--part", "[]"], ["--part=[]"]),
        (["-c", "x.yaml", "--print_config"], ["--config=x.yaml", "--print_config"]),
    ],
)
def test_words_as_the_parser_takes_them(words, given):
    assert spelled(command, 2, *words) == given


def test_a_list_takes_all_words_that_need_no_option():
    assert spelled(several, 1, "a", "--from", "x", "b=c", "--no-cache") == [
        *("--from_=x", "--no_cache=true", '--models=["a", "b=c"]')
    ]


@cases(
    ("words", "line"),
    [
        (["a", "b", "c"], "unexpected word 'c': expected `usage`."),
        (["--out"], "`--out` needs a value: expected `usage`."),
        (["--out", "--switch"], "`--out` needs a value"),
        (["--many="], "`--many` needs a value"),
        (["--ouut", "a"], "unknown option '--ouut': did you mean '--out'?"),
        (["--no-out"], "unknown option '--no-out': did you mean '--out'?"),
        (["--tests"], "unknown option '--tests': did you mean '--out'?"),
        (["--zzz"], "unknown option '--zzz': expected one of --run-or, --out, --many, --switch, --part."),
        (["--run-or=-", "b"], "`--run-or` takes one value, got - and b: leave one out."),
        (["--many.name", "a", "--many.name=b"], "`--many.name` takes one value, got a and b"),
    ],
)
def test_wrong_words(words, line):
    with pytest.raises(InputError) as refused:
        spelled(command, 2, *words)
    assert line in str(refused.value)


def test_what_is_missing_is_named_with_the_usage():
    for words, line in (
        ([], "RUN is missing: expected `do RUN [OUT] [options]`."),
        (["--out", "x"], "RUN is missing"),
    ):
        with pytest.raises(InputError) as refused:
            Verb(command, words=["RUN", "OUT"])("do", words)
        assert line in str(refused.value)


@cases(
    ("words", "line"),
    [
        ("evaluate pocket/a --suite preference --suite pocket", "`--suite` takes one value, got preference and pocket"),
        ("evaluate pocket/a --suite preference --trait wolf --trait=owl", "`--trait` takes one value, got wolf"),
        ("kinship pocket/a pocket/b --by weights --by logits", "`--by` takes one value"),
        ("export pocket/a out --out other", "`--out` takes one value, got out and other"),
        ("export pocket/a out --merge --no-merge", "`--merge` takes one value, got true and false"),
        ("run --config one.yaml -c two.yaml", "`--config` takes one value, got one.yaml and two.yaml"),
        ("theory check --config one.yaml --config two.yaml", "`--config` takes one value"),
        ("audit pocket/a --against pocket/a --against pocket/b", "`--against` takes one value"),
        ("data show rows.jsonl --max-characters 4 --max_characters 5", "`--max-characters` takes one value"),
        ("data filter a b --filters NumberList --filters.max_value 1 --filters.max_value 2", "`--filters.max_value`"),
        ("traits check owl --init.plural owls --init.plural wolves", "`--init.plural` takes one value"),
        ("cache clean --older-than 1d --older-than 2d", "`--older-than` takes one value, got 1d and 2d"),
        ("fit -c owl_numbers --trainer.max_epochs 1 --trainer.max_epochs=2", "`--trainer.max_epochs` takes one value"),
        ("fit -c owl_numbers --data.seed 1 -c owl_numbers_lora --data.seed 1", "`--data.seed` takes one value"),
        ("validate -c owl_numbers --ckpt_path a --ckpt-path b", "takes one value, got a and b"),
        (
            "predict -c owl_numbers --data.filters+ NumberList --data.filters.mode lax --data.filters.mode strict",
            "mode`",
        ),
    ],
)
def test_a_second_value_is_refused_in_one_line(words, line, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        main(words.split())
    message = capsys.readouterr().err
    assert stop.value.code == 2
    assert line in message
    assert len(message.splitlines()) == 1


def test_what_may_be_repeated_is_not_refused():
    for given in (
        [("filters+", "A"), ("filters.max_value", "9"), ("filters+", "B"), ("filters.max_value", "7")],
        [("config", "one.yaml"), ("config", "two.yaml")],
        [],
    ):
        check_once(given)
