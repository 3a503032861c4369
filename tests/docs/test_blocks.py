"""The runner of the pages finds what is wrong with one."""

from pathlib import Path

import pytest
from cases import cases

from docs.blocks import blocks, parse, run_page, same

PAGE = """\
# A page

```python
# file: mine.py
VALUE = 3
```

```python
import mine

print(mine.VALUE)
```

```text
3
```

Words between.

```text
not an output
```
"""


def test_an_output_belongs_to_the_block_above_it() -> None:
    assert [(block.language, block.output) for block in blocks(PAGE)] == [
        ("python", None),
        ("python", "3\n"),
        ("text", None),
    ]


def test_a_page_runs_in_one_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert [printed for _, printed in run_page(PAGE)] == ["3\n"]


def test_outputs_are_compared_but_for_dots() -> None:
    assert same("a ... d\n", "a b\nc d")
    assert not same("a ... d", "a b c")
    assert not same("a", "a b")


@cases(
    "words",
    [
        ["fit", "--config", "owl_numbers", "--model.bse", "pocket/b"],
        ["fit", "--config", "owl_number"],
        ["audit", "x", "--no-such-option"],
        ["evalute", "x"],
    ],
)
def test_a_command_that_the_parser_refuses_is_found(words: list[str]) -> None:
    with pytest.raises(AssertionError, match="line 3"):
        parse(words, blocks("\n\n```bash\nx\n```\n")[0])


def test_a_command_that_fails_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    page = "```bash\nlightning-subliminal kinship ./none pocket/a\n```\n\n```text\n...\n```\n"
    with pytest.raises(AssertionError, match="exit code 2"):
        list(run_page(page))
