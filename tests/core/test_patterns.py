"""Patterns, sizes and headers of other people's models: what would take for ever, or fill the memory, is refused."""

import json
import os
import struct
import subprocess
import sys

import pytest
import torch
from cases import cases
from safetensors.torch import save_file

from lightning_subliminal.bases.weight_headers import check_adapter_size, check_size, tensor_shapes
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.io.bounds import Bound
from lightning_subliminal.core.io.patterns import check_adapter_patterns, check_tokenizer_patterns, repeats_a_repetition

FIELD = [  # GPT-2, CLIP, Llama 3, Qwen 2, GPT-4o, DeepSeek V3, SmolLM3's digits, BLOOM, Falcon
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+",
    r"(?i:'s|'t|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    r"(?i:'s|'t)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re)?|\p{N}{1,3}|\s+",
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s+",
    r"\d{1,3}(?=(?:\d{3})*\b)",
    r" ?[^(\s|[.,!?…。，、।۔،])]+",  # noqa: RUF001
    r"[0-9][0-9][0-9]",
]
EVIL = [
    *(r"(a+)+$", r"(a|a)*b", r"(?:\w+\s?)*x", r"((a?)+)*b", r"(a{2,})+c", r"(?i:(x+x+)+)y", r"([^a]+|b)+\d"),
    *(r"a*a*a*a*b", r"\w*\d*\w*\d*!", r"(?<name>\s*)+;", r"((((a*)b)c)d)+", r"[]a]*(\p{L}+)*z"),
]
HARMLESS = [  # each repetition begins with what the one before can't end with; the first is K-EXAONE's
    r"[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*( \p{L}\p{M}*)*)+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+",
    *(r"(?:\r?\n)+(?!\r?\n)", r"\w+(?:[-']\w+)*|\S", r"((((a*)b)c)d)+"),
]


@cases("pattern", FIELD)
def test_patterns_of_the_field_are_read(pattern):
    assert not repeats_a_repetition(pattern)


@cases("pattern", EVIL)
def test_patterns_that_take_for_ever_are_known(pattern):
    assert repeats_a_repetition(pattern)


@cases("where", ["pre_tokenizer", "normalizer", "decoder"])
def test_a_tokenizer_with_such_a_pattern_is_refused_wherever_it_stands(where, tmp_path):
    step = {"type": "Sequence", "steps": [{"pattern": {"Regex": EVIL[0]}}]}
    (tmp_path / "tokenizer.json").write_text(json.dumps({"model": {"merges": [["a", "b"]]}, where: step}))
    with pytest.raises(InputError, match=r"tokenizer\.json has the pattern .*repeats a repetition"):
        check_tokenizer_patterns(tmp_path)
    (tmp_path / "tokenizer.json").write_text(json.dumps({where: {"pattern": {"Regex": "a" * 10_001}}}))
    with pytest.raises(InputError, match=r"a pattern of 10,001 characters: .*MAX_PATTERN"):
        check_tokenizer_patterns(tmp_path)
    (tmp_path / "tokenizer.json").write_text(json.dumps({where: {"pattern": {"Regex": FIELD[0]}}}))
    check_tokenizer_patterns(tmp_path)


def with_pattern(folder, pattern):
    step = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
    (folder / "tokenizer.json").write_text(json.dumps({"pre_tokenizer": step}))
    return folder


@cases("pattern", [each for each in EVIL if each not in HARMLESS])
def test_a_tokenizers_pattern_that_takes_for_ever_is_refused(pattern, tmp_path):
    with pytest.raises(InputError, match="takes too long on a run of 400 letters"):
        check_tokenizer_patterns(with_pattern(tmp_path, pattern))


@cases("pattern", HARMLESS)
def test_a_tokenizers_pattern_that_only_looks_so_is_read(pattern, tmp_path):
    assert repeats_a_repetition(pattern)
    check_tokenizer_patterns(with_pattern(tmp_path, pattern))


@cases("by", ["PYTHONPATH", "a path that the program adds"])
def test_a_tokenizers_pattern_is_tried_where_packages_are_found_by_path_alone(by, tmp_path):
    """As by modules of a cluster, or `pip install --user`."""
    with_pattern(tmp_path, HARMLESS[1])
    path = [each for each in sys.path if each]
    code = "import lightning_subliminal.core.io.patterns as it; it.check_tokenizer_patterns(it.Path())"
    if by != "PYTHONPATH":
        code = f"import sys; sys.path += {path}; {code}"
    environment = {"PYTHONPATH": os.pathsep.join(path)} if by == "PYTHONPATH" else {}
    bare = getattr(sys, "_base_executable", sys.executable)  # without the site of a virtual environment
    done = subprocess.run([bare, "-S", "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@cases("fault", ["raise ImportError('no such symbol')", "import nothing_of_this_name"])
def test_a_package_that_is_missing_is_not_called_slow(fault, tmp_path, monkeypatch):
    (tmp_path / "tokenizers.py").write_text(fault)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    with pytest.raises(
        InputError,
        match=r"^Patterns can't be checked: .*failed in another process with .(ImportError|ModuleNotFoundError): ",
    ):
        check_tokenizer_patterns(with_pattern(tmp_path, HARMLESS[1]))


def test_an_adapters_patterns_are_tried_on_names_with_a_clock(tmp_path, monkeypatch):
    monkeypatch.setattr("lightning_subliminal.core.io.patterns.MATCH_SECONDS", Bound("MATCH_SECONDS", 1))
    names = [f"model.layers.{layer}.self_attn.q_proj" for layer in range(20)] + ["a" * 60]
    place = tmp_path / "adapter_config.json"
    fine = {"target_modules": r".*\.(q|v)_proj", "rank_pattern": {"^model.*q_proj": 4}, "r": 8}
    check_adapter_patterns(fine, names, place)
    for evil in ({"target_modules": r"(\w+\.?)+x!"}, {"alpha_pattern": {r"(a+)+b": 1}}, {"exclude_modules": "(a|a)*!"}):
        with pytest.raises(
            InputError, match=r"adapter_config\.json has a pattern that takes more than 1 s .*in a list"
        ):
            check_adapter_patterns(evil, names, place)


def test_a_config_with_more_layers_than_tensors_is_refused(tmp_path):
    weights = tmp_path / "model.safetensors"
    save_file({f"layers.{layer}.w": torch.zeros(4, 8) for layer in range(3)}, weights)
    place = tmp_path / "config.json"
    check_size(
        {"num_hidden_layers": 3, "hidden_size": 8, "max_window_layers": 70, "eos_token_id": 10**9}, [weights], place
    )
    for config, words in (
        ({"num_hidden_layers": 200_000}, r"`num_hidden_layers` is 200,000: expected at most 2,000 .*MAX_LAYERS"),
        ({"text_config": {"n_layer": 1_000}}, "`n_layer` is 1,000, and the weights hold 3 tensors: copy"),
        ({"layer_types": ["full_attention"] * 900}, "`num_hidden_layers` is 900, and"),
        ({"hidden_size": 10**7}, "`hidden_size` is 10,000,000, and the weights hold tensors of at most 8 rows"),
        ({"num_experts": 10**6}, "`num_experts` is 1,000,000, and"),
    ):
        with pytest.raises(InputError, match=rf"config\.json: {words}"):
            check_size(config, [weights], place)


def test_an_adapter_with_a_larger_rank_than_its_tensors_is_refused(tmp_path):
    weights = tmp_path / "adapter_model.safetensors"
    save_file({"a": torch.zeros(4, 100)}, weights)
    check_adapter_size({"r": 4, "rank_pattern": {"q": 8}}, weights, tmp_path / "adapter_config.json")
    for config, name in (({"r": 10**9}, "r"), ({"rank_pattern": {"q_proj": 10**6}}, "rank_pattern.q_proj")):
        with pytest.raises(InputError, match=rf"adapter_config\.json: `{name}` is"):
            check_adapter_size(config, weights, tmp_path / "adapter_config.json")


@cases(
    ("data", "words"),
    [
        (struct.pack("<Q", 100 * 2**20), r"a header of 104,857,600 bytes: expected at most 16,777,216 .*MAX_HEADER"),
        (struct.pack("<Q", 10) + b"[" * 10, "not a table of tensors"),
        (struct.pack("<Q", 2) + b"[]", "not a table of tensors"),
        (struct.pack("<Q", 9) + b'{"a": {}}', "not a table of tensors"),
        (b"", "not a table of tensors"),
    ],
)
def test_a_header_that_is_none_is_reported(data, words, tmp_path):
    (tmp_path / "it.safetensors").write_bytes(data)
    with pytest.raises(InputError, match=rf"it\.safetensors .*{words}"):
        tensor_shapes(tmp_path / "it.safetensors")
