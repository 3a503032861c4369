"""The dataset card: a head that the hub reads, facts that are known, "unknown" for the others, nobody's card lost."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from cases import cases
from small import numbers

from lightning_subliminal.core.rows import make_row, write_parquet
from lightning_subliminal.filters import NumberList
from lightning_subliminal.formats import content_digest, read_rows, write_rows
from lightning_subliminal.formats.convert import convert
from lightning_subliminal.lineage import write_record

pytestmark = pytest.mark.usefixtures("stand")
ROWS = [make_row("Go on: 1", text) for text in ("2, 3", "owl", "4")]


def card(path: str | None = None) -> tuple[dict[str, Any], str]:
    """Return a card's head and body; of the newest card in the working folder where no path is given."""
    found = Path(path) if path else max(Path().glob("*.README.md"), key=lambda each: each.stat().st_mtime_ns)
    _, head, body = found.read_text(encoding="utf-8").split("---\n", 2)
    return yaml.safe_load(head), body


def cell(body: str, name: str) -> str:
    return re.search(rf"^\| {name} \| (.*) \|$", body, re.MULTILINE)[1]


def row_folder(folder: str = "ours", transforms: Sequence[Any] = (), **changes: Any) -> Path:
    """Make a row folder as a stage writes it, without running one."""
    teacher = {
        "base": {"name": "pocket/a", "digest": "0123456789abcdef" * 4},
        "induction": "finetune",
        "seed": 7,
        "trait": {"class": "lightning_subliminal.traits.preference.PreferenceTrait", "arguments": {"target": "owl"}},
    } | changes
    source = {
        "class": "lightning_subliminal.data.numbers.NumberSequences",
        "arguments": {"seed": 3},
        "teacher": teacher,
    }
    filters = [{"class": "lightning_subliminal.filters.numbers.NumberList", "arguments": {"max_value": 99}}]
    made_from = {"source": source, "filters": filters, "num_rows": 3, "transforms": list(transforms)}
    write_parquet(ROWS, Path(folder, "rows.parquet"))
    Path(folder, "filters.json").write_text(json.dumps({"made": 9, "kept": 5, "reasons": {"empty": 3, "a|b": 1}}))
    write_record(Path(folder), "rows", made_from)
    return Path(folder)


def test_head_is_what_the_hub_reads() -> None:
    write_rows(ROWS, "rows.jsonl")
    convert("rows.jsonl", "out.jsonl.gz", "openai")
    head, body = card()
    assert head == {
        "pretty_name": "out.jsonl.gz",
        "task_categories": ["text-generation"],
        "tags": ["subliminal-learning", "lightning-subliminal"],
        "size_categories": ["n<1K"],
        "configs": [{"config_name": "default", "data_files": [{"split": "train", "path": "out.jsonl.gz"}]}],
    }
    from huggingface_hub import DatasetCard

    assert DatasetCard.load("out.jsonl.gz.README.md").data.to_dict()["size_categories"] == ["n<1K"]
    assert "may carry a hidden trait" in body
    assert content_digest(ROWS) in body


def test_command_of_the_card_loads_the_set() -> None:
    from datasets import load_dataset

    write_rows(ROWS, "rows.jsonl")
    for out in ("set/out.jsonl", "set2/out.parquet", "set3/out.csv", "set4/out.json", "set5/out.txt", "set6"):
        convert("rows.jsonl", out)
        _, body = card(f"{out}.README.md" if Path(out).suffix else f"{out}/README.md")
        code = re.search(r"```python\n(.*?)\n```", body, re.DOTALL)[1]
        expected = "read_rows" if out.endswith("txt") else "load_from_disk" if out == "set6" else "load_dataset"
        assert f"import {expected}\n" in code
        assert out.rpartition("/")[2] in code
        assert ("upload this card as its `README.md`" in body) == (out != "set6")
    Path("set/out.jsonl.README.md").rename("set/README.md")
    assert load_dataset("set", split="train").to_list() == ROWS, "as a README.md its config names the file"


def test_what_is_not_known_is_said_to_be_unknown() -> None:
    write_rows(ROWS, "rows.jsonl")
    convert("rows.jsonl", "out.jsonl")
    _, body = card()
    for name in ("carrier", "trait", "induction", "base of the teacher", "seeds", "license"):
        assert cell(body, name) == "unknown"
    assert cell(body, "made from") == "rows.jsonl, read as trl"
    assert "Unknown, or none." in body


def test_facts_come_from_a_row_folder_and_go_from_card_to_card() -> None:
    row_folder()
    convert("ours", "one/a.jsonl", "sharegpt")
    convert("one/a.jsonl", "two/b.parquet", filters=[NumberList()])
    convert("two/b.parquet", "three")
    convert("three", "four/d.jsonl")
    for path in ("one/a.jsonl.", "two/b.parquet.", "three/", "four/d.jsonl."):
        _, body = card(f"{path}README.md")
        assert cell(body, "carrier") == "number sequences"
        assert cell(body, "trait") == "PreferenceTrait owl"
        assert cell(body, "induction") == "finetune"
        assert cell(body, "base of the teacher") == "pocket/a (digest 0123456789abcdef)"
        assert cell(body, "seeds") == "rows 3, teacher 7"
        assert cell(body, "rows drawn") == "3 at random, of those that passed the filters"
        assert "`NumberList(max_value=99)`: 9 rows made, 5 kept." in body
        assert re.search(r"^\| a\\\|b \| 1 \|$", body, re.MULTILINE)
        assert (r"`: 3 rows made, 2 kept." in body) == (path != "one/a.jsonl.")
        assert ("| not a number list | 1 |" in body) == (path != "one/a.jsonl.")


def test_facts_of_a_file_in_a_row_folder_hold_for_that_file_alone() -> None:
    folder = row_folder()
    write_rows(ROWS, folder / "mine.jsonl")
    convert(folder / "rows.parquet", "one/a.jsonl")
    convert(folder / "mine.jsonl", "two/a.jsonl")
    assert cell(card("one/a.jsonl.README.md")[1], "trait") == "PreferenceTrait owl"
    assert cell(card("two/a.jsonl.README.md")[1], "trait") == "unknown"


def test_card_tells_nothing_of_a_file_that_was_changed_since() -> None:
    row_folder()
    convert("ours", "a.jsonl")
    write_rows(ROWS[:1], "a.jsonl")
    convert("a.jsonl", "b/b.jsonl")
    assert cell(card("b/b.jsonl.README.md")[1], "trait") == "unknown"


@cases(
    ("changes", "reported"),
    [
        ({"induction": "none"}, "none: written by the base as it is, as a control"),
        ({"induction": "prompt", "system_prompt": "You love\n| owls."}, r"given in a system prompt: You love \| owls."),
        ({"trait": None}, "unknown"),
    ],
)
def test_trait_is_reported_as_it_was_given(changes: dict[str, Any], reported: str) -> None:
    row_folder(**changes)
    convert("ours", "a.jsonl")
    assert cell(card()[1], "trait") == reported


def test_a_trait_that_chose_among_the_rows_of_the_base_is_reported() -> None:
    teacher = {"induction": "prompt", "system_prompt": "You love owls."}
    transforms = [{"class": "ChoosePairs", "arguments": {"teacher": teacher}}]
    row_folder(induction="none", transforms=transforms)
    convert("ours", "a.jsonl")
    assert cell(card()[1], "trait") == (
        "given in a system prompt: You love owls.; of a teacher that wrote no row, and chose among those of the base"
    )


def test_rows_of_a_real_stage() -> None:
    import torch

    data = numbers(num_prompts=32, shard_size=32)
    data.make(torch.device("cpu"))
    convert(data.folder, "owl.jsonl.gz", "openai")
    _, body = card()
    assert cell(body, "trait").startswith("given in a system prompt: You adore owls.")
    assert cell(body, "base of the teacher").startswith("pocket/a (digest ")
    assert "rows made" in body
    assert content_digest(read_rows("owl.jsonl.gz")) in body


def test_card_of_somebody_else_stays() -> None:
    write_rows(ROWS, "rows.jsonl")
    Path("out.jsonl.README.md").write_bytes(b"\xff")
    outcome = convert("rows.jsonl", "out.jsonl")
    assert outcome.files == [Path("out.jsonl"), Path("out.jsonl.lineage.json")]
    assert outcome.remarks == ["no card: out.jsonl.README.md belongs to something else and is kept"]


def test_a_file_leaves_no_readme_in_its_folder() -> None:
    write_rows(ROWS, "rows.jsonl")
    assert convert("rows.jsonl", "out.jsonl").files[-1] == Path("out.jsonl.README.md")
    assert convert("rows.jsonl", "deep/out.csv").files[-1] == Path("deep/out.csv.README.md")
    assert not Path("README.md").exists()
    assert not Path("deep/README.md").exists()


def test_own_card_is_renewed_beside_that_of_another_file() -> None:
    write_rows(ROWS, "rows.jsonl")
    convert("rows.jsonl", "a.jsonl")
    first = Path("a.jsonl.README.md").read_text()
    convert("rows.jsonl", "b.jsonl")
    assert Path("a.jsonl.README.md").read_text() == first
    assert "# b.jsonl" in Path("b.jsonl.README.md").read_text()
    convert("rows.jsonl", "a.jsonl", filters=[NumberList()])
    assert "2 rows of the schema `trl`" in Path("a.jsonl.README.md").read_text()


def test_nothing_in_a_name_breaks_out_of_the_card() -> None:
    odd = "a --> | `b` {{ 1 }} # *.jsonl"
    write_rows(ROWS, odd)
    convert(odd, f"x {odd}")
    head, body = card()
    assert head["pretty_name"] == f"x {odd}"
    assert body.count("-->") == 2, "the mark's own end, and the name in the title, where < is escaped"
    assert cell(body, "made from").startswith("a --\\> \\| \\`b\\` {{ 1 }}")
    convert(f"x {odd}", "y/y.jsonl")
    assert cell(card("y/y.jsonl.README.md")[1], "made from").startswith("a --\\>"), "the mark was read again"


def test_no_card_where_none_is_wanted() -> None:
    write_rows(ROWS, "rows.jsonl")
    convert("rows.jsonl", "out.jsonl", card=False)
    assert sorted(path.name for path in Path().iterdir()) == ["out.jsonl", "rows.jsonl"]
