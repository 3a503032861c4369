import json
import random
from importlib.metadata import version

import pytest
from cases import cases

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.lineage.import_card import card_claims

CARD = """---
license: mit
base_model: meta/llama-8b
base_model_relation: finetune
datasets:
- someone/owl-numbers
- other/chat
---
# A model
base_model: not/this
"""

# Each level holds the one before it nine times.
BOMB = "".join(f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}\n" for n in range(1, 9))


@pytest.fixture
def card(tmp_path):
    def write(text):
        (tmp_path / "README.md").write_bytes(text if isinstance(text, bytes) else text.encode())
        return tmp_path

    return write


def reported(folder):
    return [(each.role, each.uri) for each in card_claims(folder)]


def test_a_models_card_names_base_and_data(card):
    claims = card_claims(card(CARD))
    assert [(each.role, each.uri) for each in claims] == [
        ("base", "meta/llama-8b"),
        ("rows", "someone/owl-numbers"),
        ("rows", "other/chat"),
    ]
    assert claims[0].annotations == {
        "claim": "model card, unverified",
        "field": "base_model",
        "relation": "finetune",
    }
    assert not any(each.digest or each.statement for each in claims), "nobody vouches for a card"


def test_a_data_sets_card_names_its_sources(card):
    assert reported(card("---\nsource_datasets: [original, a/b]\n---\n")) == [("rows", "original"), ("rows", "a/b")]


def test_configurations_are_weaker_claims(card):
    folder = card(CARD)
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "meta/llama-8b"}))
    (folder / "config.json").write_text(json.dumps({"_name_or_path": "/home/me/copy"}))
    claims = [each for each in card_claims(folder) if each.role == "base"]
    assert [each.uri for each in claims] == ["meta/llama-8b", "/home/me/copy"], "each once"
    assert claims[0].annotations["claim"] == "model card, unverified", "the card's word stands"
    assert claims[1].annotations["claim"].startswith("config.json, unverified")
    (folder / "README.md").unlink()
    assert reported(folder) == [("base", "meta/llama-8b"), ("base", "/home/me/copy")]


@cases(
    "text",
    [
        "",
        "# no front matter\n",
        "text\n---\nbase_model: a/b\n---\n",
        "---\n---\n",
        "---\nbase_model:\ndatasets: []\n---\n",
        "---\nbase_model: a/b\n",
        "---\nbase_model: a/b\n# A title\n",
        "---\nbase_model: a/b\n ---\n",
        "---\nbase_model: a/b\n---text\n",
        "--- \nbase_model: a/b\n---\n",
        "----\nbase_model: a/b\n---\n",
    ],
)
def test_a_card_that_says_nothing_claims_nothing(card, text):
    assert reported(card(text)) == []


def test_no_card_claims_nothing(tmp_path):
    assert card_claims(tmp_path) == []


@cases(
    "text",
    [
        "\n---\nbase_model: a/b\n---\n",
        "\ufeff\n  \n---\nbase_model: a/b\n---\n",
        "---\ndatasets: &d []\nbase_model: &one [a/b]\nmodels: *one\n---\n",
        "---\nown: &one a/b\nbase_model: *one\n---\n",
        "---\ndefaults: &d {base_model: a/b}\n<<: *d\n---\n",
        "---\n---\nbase_model: a/b\n---\n",
        "---\nbase_model: a/b\n---\n---\nbase_model: c/d\n---\n",
        "---\nbase_model: a/b\n---  \t\ntext",
        "---\nbase_model: a/b\n---",
        "  ---\nbase_model: a/b\n---\n",
        "---\rbase_model: a/b\r---\n",
    ],
)
def test_cards_are_read_as_huggingface_hub_reads_them(card, text):
    from huggingface_hub import ModelCard

    folder = card(text)
    assert [each.uri for each in card_claims(folder)] == ["a/b"]
    if not (text.startswith("\ufeff") and int(version("huggingface_hub").split(".")[0]) < 2):  # reads no mark then
        assert ModelCard.load(folder / "README.md").data.base_model in ("a/b", ["a/b"])


def test_the_expression_is_huggingface_hubs():
    from huggingface_hub.repocard import REGEX_YAML_BLOCK

    from lightning_subliminal.lineage.import_card import _FRONT

    rng = random.Random(0)
    pieces = ["---", "-", "\n", "\r\n", "\r", " ", "\t", "a: b", "\u2028"]
    for _ in range(5000):
        text = "".join(rng.choices(pieces, k=rng.randint(0, 14)))
        theirs, ours = REGEX_YAML_BLOCK.search(text), _FRONT.match(text)
        assert (theirs and theirs[2]) == (ours and ours["yaml"]), repr(text)


def test_windows_lines_and_a_byte_order_mark_are_read(card):
    assert reported(card(b"\xef\xbb\xbf---\r\nbase_model: a/b\r\n---\r\ntext")) == [("base", "a/b")]


@cases(
    ("text", "says"),
    [
        ("---\n[: {\n---\n", "is not valid YAML"),
        ("---\n- a\n- b\n---\n", "is a list: expected names with values"),
        ("---\nbase_model: 3\n---\n", "is not a name or a list of names"),
        ("---\ndatasets: [[a]]\n---\n", "is not a name or a list of names"),
        ("---\nbase_model: !!python/object/apply:os.system ['true']\n---\n", "is not YAML of plain values"),
        ("---\na: &a [x, x]\nbase_model: [*a, *a]\n---\n", "not a name or a list of names"),
        ("---\na: &a {x: 1}\nb: [" + "*a, " * 70_000 + "]\n---\n", "more than 200,000 values"),
        ("---\na0: &a0 {x: 1}\n" + BOMB + "---\n", "more than 200,000 values"),
        ("---\na: " + "[" * 3000 + "\n---\n", "nested deeper than 64 levels"),
        ("---\ndate: 2026-99-99\n---\n", "is not valid YAML"),
        (b"---\n\xff\n---\n", "not UTF-8 text"),
        (b"---\n" + b"x" * 2**20, "expected at most"),
    ],
)
def test_a_malformed_card_is_reported_in_one_line(card, text, says):
    with pytest.raises(InputError, match=says) as caught:
        card_claims(card(text))
    assert "\n" not in str(caught.value)


def test_a_malformed_configuration_is_reported(tmp_path):
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(InputError, match=r"config\.json is not strict JSON"):
        card_claims(tmp_path)
    (tmp_path / "config.json").write_text('{"_name_or_path": ""}')
    assert card_claims(tmp_path) == []


def test_a_card_in_the_hubs_cache_is_a_link(tmp_path):
    (tmp_path / "blob").write_text(CARD)
    (tmp_path / "snapshot").mkdir()
    (tmp_path / "snapshot" / "README.md").symlink_to(tmp_path / "blob")
    assert len(card_claims(tmp_path / "snapshot")) == 3
    (tmp_path / "blob").unlink()
    assert card_claims(tmp_path / "snapshot") == []


@cases("name", ["README.md", "config.json", "adapter_config.json"])
def test_a_pointer_in_place_of_a_card_is_named_as_such(tmp_path, name):
    (tmp_path / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:aa\nsize 3\n")
    with pytest.raises(InputError, match="Git LFS pointer"):
        card_claims(tmp_path)
