"""Words of the command line: an option that takes one value is refused where it has two."""

import pytest

from lightning_subliminal.cli.entry import main
from lightning_subliminal.cli.positional import check_once


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            "evaluate pocket/a --suite preference --suite pocket",
            "`--suite` takes one value, and is given preference and",
        ),
        (
            "evaluate pocket/a --suite preference --trait wolf --trait=owl",
            "`--trait` takes one value, and is given wolf",
        ),
        ("kinship pocket/a pocket/b --by weights --by logits", "`--by` takes one value"),
        ("export pocket/a out --out other", "`--out` takes one value, and is given out and other"),
        ("export pocket/a out --merge --no-merge", "`--merge` takes one value, and is given true and false"),
        ("run --config one.yaml -c two.yaml", "`--config` takes one value, and is given one.yaml and two.yaml"),
        ("theory check --config one.yaml --config two.yaml", "`--config` takes one value"),
        ("audit pocket/a --against pocket/a --against pocket/b", "`--against` takes one value"),
        ("data show rows.jsonl --max-characters 4 --max_characters 5", "`--max_characters` takes one value"),
        ("data filter a b --filters NumberList --filters.max_value 1 --filters.max_value 2", "`--filters.max_value`"),
        ("traits check owl --init.plural owls --init.plural wolves", "`--init.plural` takes one value"),
        ("cache clean --older-than 1d --older-than 2d", "takes one value, and is given 1d and 2d"),
        ("fit -c owl_numbers --trainer.max_epochs 1 --trainer.max_epochs=2", "`--trainer.max_epochs` takes one value"),
        ("fit -c owl_numbers --data.seed 1 -c owl_numbers_lora --data.seed 1", "`--data.seed` takes one value"),
        ("validate -c owl_numbers --ckpt_path a --ckpt-path b", "takes one value, and is given a and b"),
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
    told = capsys.readouterr().err
    assert stop.value.code == 2
    assert line in told
    assert len(told.splitlines()) == 1


def test_what_may_be_repeated_is_not_refused():
    for words in (
        ["filter", "--filters+=NumberList", "--filters.max_value", "9", "--filters+", "Other", "--filters.max_value=7"],
        ["--config", "one.yaml", "--config", "two.yaml"],
        ["--ask=--seed", "--seed", "1"],
        [],
    ):
        check_once(words, words)
