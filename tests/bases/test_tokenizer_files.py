"""A base's digest covers each file that a tokenizer of transformers opens, and nothing else is opened."""

import ast
import json
import shutil
from pathlib import Path

import pytest
import torch
import transformers
from cases import cases
from transformers import AutoTokenizer, Qwen2Config, Qwen2ForCausalLM

from lightning_subliminal import bases
from lightning_subliminal.bases.folder_checks import read_elsewhere
from lightning_subliminal.bases.folders import is_model_file, model_files
from lightning_subliminal.core.errors import InputError


def copied(tmp_path):
    """Return a copy of a base that a test may change."""
    return Path(shutil.copytree(bases.resolve("pocket/a").folder, tmp_path / "base"))


@pytest.fixture
def folder(tmp_path):
    return copied(tmp_path)


def settle(folder, file="tokenizer_config.json", **settings):
    path = folder / file
    path.write_text(json.dumps((json.loads(path.read_text()) if path.exists() else {}) | settings))


def names_in(path):
    """Yield what a module of transformers names in ``VOCAB_FILES_NAMES``: some can't be imported everywhere."""
    reported = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Assign)]
    values = {target.id: each.value for each in reported for target in each.targets if isinstance(target, ast.Name)}
    for name in ("VOCAB_FILES_NAMES", "vocab_files_names"):
        if isinstance(values.get(name), ast.Dict):
            for each in values[name].values:
                yield (values[each.id] if isinstance(each, ast.Name) else each).value


def test_the_names_are_those_of_each_tokenizer_of_transformers():
    place = Path(transformers.__file__).parent
    modules = [*place.glob("models/*/tokenization_*.py"), *place.glob("tokenization_*.py")]
    names = {name for module in modules for name in names_in(module)}
    assert {"bpe.codes", "dict.txt", "vocab-src.json", "tokenizer.model"} <= names
    assert {name for name in names if not is_model_file(name)} == set()


def slow_tokenizer(folder):
    """Let a tokenizer of two words, whose merges lie in `bpe.codes`, take the place of a base's own."""
    for name in ("tokenizer.json", "special_tokens_map.json", "tokenizer_config.json"):
        (folder / name).unlink(missing_ok=True)
    (folder / "vocab.json").write_text("{}")  # what made such a folder look like one with a tokenizer
    (folder / "vocab.txt").write_text("ow@@ 1\nowl</w> 1\nl 1\nowl 1\n")
    (folder / "bpe.codes").write_text("o w 3\now l</w> 2\n")
    settle(folder, tokenizer_class="PhobertTokenizer")
    settle(folder, "config.json", tokenizer_class="PhobertTokenizer")


def test_merges_of_a_slow_tokenizer_shape_it_and_the_digest(folder):
    slow_tokenizer(folder)
    _, tokenizer = bases.load(str(folder))
    before = tokenizer.tokenize("owl"), bases.folder_digest(folder)
    assert before[0] == ["owl"]
    (folder / "bpe.codes").write_text("o w 3\n")
    _, tokenizer = bases.load(str(folder))
    assert tokenizer.tokenize("owl") != before[0]
    assert bases.folder_digest(folder) != before[1]


@cases("name", ["dict.txt", "vocab-src.json", "word_shape.json", "prophetnet.tokenizer"])
def test_each_further_vocabulary_moves_the_digest(tmp_path, name):
    folder = copied(tmp_path)
    before = bases.folder_digest(folder)
    (folder / name).write_text("a 1\n")
    assert name in model_files(folder)
    assert bases.folder_digest(folder) != before


@cases(
    ("file", "settings", "says"),
    [
        ("tokenizer_config.json", {"fast_tokenizer_files": ["my-tokenizer.1.0.0.json"]}, "`fast_tokenizer_files`"),
        ("tokenizer_config.json", {"fast_tokenizer_files": ["../other/tokenizer.1.0.0.json"]}, "other/tokenizer"),
        ("tokenizer_config.json", {"vocab": "my-tokenizer.1.0.0.json"}, "`vocab` 'my-tokenizer"),
        ("tokenizer_config.json", {"mecab_kwargs": {"mecab_dic": "../other/tokenizer.1.0.0.json"}}, "`mecab_dic`"),
        ("special_tokens_map.json", {"vocab_file": "../other/vocab.txt"}, "`vocab_file`"),
        ("special_tokens_map.json", {"source_spm": "source.spm"}, "`source_spm`"),
    ],
)
def test_files_that_settings_name_elsewhere_are_refused(tmp_path, file, settings, says):
    folder = copied(tmp_path)
    for place in (folder / "my-tokenizer.1.0.0.json", folder.parent / "other" / "tokenizer.1.0.0.json"):
        place.parent.mkdir(exist_ok=True)
        shutil.copy(folder / "tokenizer.json", place)
    settle(folder, file, **settings)
    (said,) = read_elsewhere(folder)
    assert said.startswith(f"{file} names the ")
    assert says in said
    with pytest.raises(InputError, match="digest would not cover it; remove the field") as caught:
        bases.resolve(str(folder))
    assert str(caught.value).count("digest") == 1


def test_what_is_opened_from_where_one_stands_is_refused(folder, monkeypatch, tmp_path):
    settle(folder, vocab_file="words/vocab.txt")
    assert read_elsewhere(folder) == []  # a path of another machine
    (tmp_path / "words").mkdir()
    (tmp_path / "words" / "vocab.txt").write_text("a")
    monkeypatch.chdir(tmp_path)
    assert "'words/vocab.txt'" in read_elsewhere(folder)[0]


def test_what_saved_tokenizers_name_is_fine(folder):
    name = str(folder / "special_tokens_map.json")
    settle(folder, special_tokens_map_file=name, name_or_path=str(folder), vocab_file="vocab.json", long="x" * 9999)
    settle(folder, "special_tokens_map.json", pad_token="<pad>", odd_token="\0")
    assert read_elsewhere(folder) == []


@cases("kind", ["TokenizersBackend", "PreTrainedTokenizerFast", "Qwen2Tokenizer", "GPT2Tokenizer"])
def test_a_path_that_old_versions_wrote_is_not_read_beside_a_file_of_its_own(tmp_path, kind):
    folder = copied(tmp_path)
    settle(folder, tokenizer_class=kind)
    _, before = bases.load(str(folder))
    other = tmp_path / "other" / "tokenizer.json"
    other.parent.mkdir()
    shutil.copy(bases.resolve("pocket/judge").folder / "tokenizer.json", other)
    settle(folder, tokenizer_file=str(other))
    assert read_elsewhere(folder) == []
    _, after = bases.load(str(folder))
    assert after.get_vocab() == before.get_vocab()
    assert after("owl 1 , 2")["input_ids"] == before("owl 1 , 2")["input_ids"]


@cases("settings", [{"inner": {}}, {"fast_tokenizer_files": ["tokenizer.json"]}, {}])
def test_such_a_path_is_refused_where_it_may_be_read(tmp_path, settings):
    folder = copied(tmp_path)
    other = tmp_path / "tokenizer.json"
    shutil.copy(folder / "tokenizer.json", other)
    named = {"tokenizer_file": str(other)}
    settle(folder, **({"inner": named} if "inner" in settings else named | settings))
    if not settings:
        (folder / "tokenizer.json").rename(folder / "tokenizer.model")
    assert "`tokenizer_file`" in read_elsewhere(folder)[0]


@cases("named", ["TokenizersBackend", "PreTrainedTokenizerFast", "LlamaTokenizerFast"])
def test_a_tokenizer_that_gets_the_class_of_its_models_family_has_the_ids_of_its_file(tmp_path, capsys, named):
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    _, pocket = bases.load("pocket/a")
    net = Qwen2ForCausalLM(Qwen2Config(vocab_size=len(pocket), num_key_value_heads=2, **sizes))
    for each in (net, pocket):
        each.save_pretrained(tmp_path)
    settle(tmp_path, tokenizer_class=named)
    text = "Say the word pine. 12, 74 us"
    assert AutoTokenizer.from_pretrained(tmp_path)(text)["input_ids"] != pocket(text)["input_ids"], "no trap any more"
    _, tokenizer = bases.load(str(tmp_path))
    assert tokenizer(text)["input_ids"] == pocket(text)["input_ids"]
    assert tokenizer.apply_chat_template([{"role": "user", "content": "a"}], tokenize=False)
    assert tokenizer.padding_side == pocket.padding_side
    assert "is read by its tokenizer.json; transformers' AutoTokenizer takes Qwen2Tokenizer" in capsys.readouterr().out
