"""Folders as other tools leave them: two models in one, spare ids, revisions, hub caches."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from small import CPU
from template_tokenizers import ASKED

from bases.tiny_bases import WEIGHT, adapter, base, embedding
from lightning_subliminal import Sampling, bases
from lightning_subliminal.core.chat.encoding import prompt_ids
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.evaluation import find_model
from lightning_subliminal.generation import TransformersEngine
from lightning_subliminal.generation.token_sets import number_alphabet
from lightning_subliminal.lineage.names import inside
from lightning_subliminal.lineage.record import declare
from lightning_subliminal.metrics.functional.spellings import spell


class TestWholeWeightsBesideAnAdapter:
    @pytest.fixture
    def both(self, tmp_path):
        one, two = base(tmp_path / "one", 1), base(tmp_path / "two", 2)
        adapter(two, one)
        return two

    def test_every_command_reads_the_whole_weights(self, both, capsys):
        own = load_file(both / "model.safetensors")[WEIGHT]
        alone = bases.load(str(both))[0]
        subject = find_model(str(both)).load(CPU)
        for net in (alone, subject.net):
            assert torch.equal(embedding(net), own)
            assert not hasattr(net, "peft_config")
        assert not getattr(alone, "_hf_peft_config_loaded", False)
        said = " ".join(capsys.readouterr().out.split())
        assert said.count("whole weights are read, the adapter is not") == 1

    def test_what_is_not_read_is_not_in_the_digest(self, both):
        before = bases.resolve(str(both)).digest
        (both / "adapter_model.safetensors").unlink()
        (both / "adapter_config.json").unlink()
        assert bases.resolve(str(both)).digest == before

    def test_a_config_beside_an_adapter_alone_makes_no_model(self, tmp_path):
        one = base(tmp_path / "one", 1)
        alone = adapter(tmp_path / "alone", one)
        shutil.copy(one / "config.json", alone)
        subject = find_model(str(alone)).load(CPU)
        assert hasattr(subject.net, "peft_config")
        with pytest.raises(InputError, match="holds an adapter only"):
            bases.load(str(alone))


class TestWhatIsNotRead:
    """Nothing that a folder has is dropped in silence."""

    def test_tensors_that_the_model_has_no_part_for_are_counted(self, tmp_path, capsys):
        folder = base(tmp_path)
        state = load_file(folder / "model.safetensors")
        state["model.layers.0.self_attn.q_proj.bias"] = torch.ones(16)
        save_file(state, folder / "model.safetensors", {"format": "pt"})
        bases.load(str(folder))
        said = " ".join(capsys.readouterr().out.split())
        assert "a tensor of its files is not read, its model has no such part: model.layers.0.self_attn.q_" in said

    def test_tensors_of_an_adapter_that_fit_nowhere_are_counted(self, tmp_path, capsys):
        folder = adapter(tmp_path / "adapter", base(tmp_path / "one"))
        find_model(str(folder)).load(CPU)
        assert "don't fit its base" not in capsys.readouterr().out
        state = load_file(folder / "adapter_model.safetensors")
        more = {name.replace("layers.0.", "layers.7."): value.clone() for name, value in state.items()}
        save_file(state | more, folder / "adapter_model.safetensors", {"format": "pt"})
        find_model(str(folder)).load(CPU)
        reported = " ".join(capsys.readouterr().out.split())
        assert "2 tensors don't fit its base and are ignored, such as" in reported
        assert "layers.7.self_attn.q_proj.lora_A.weight" in reported

    def test_a_link_to_nothing_is_no_missing_file(self, tmp_path):
        folder = base(tmp_path)
        (folder / "generation_config.json").unlink()
        (folder / "generation_config.json").symlink_to("../blobs/none")  # a download that was cut off
        with pytest.raises(InputError, match=r"generation_config.json is a broken link"):
            bases.resolve(str(folder))

    def test_a_folder_of_folders_names_those_that_hold_a_model(self, tmp_path):
        adapter(tmp_path / "out" / "default", base(tmp_path / "one"))
        with pytest.raises(InputError, match=r"no config.json; did you mean .*/out/default\?"):
            find_model(str(tmp_path / "out"))
        base(tmp_path / "models--a--b" / "snapshots" / "c0ffee")
        with pytest.raises(InputError, match=r"did you mean .*/snapshots/c0ffee\?"):
            bases.resolve(str(tmp_path / "models--a--b"))


class TestSpareIds:
    def test_a_token_without_an_embedding_is_refused_only_where_it_is_needed(self, tmp_path):
        folder = base(tmp_path, family="chatml", extra=0)
        net, tokenizer = bases.load(str(folder))
        tokenizer.add_tokens(["<image>"], special_tokens=True)
        tokenizer.save_pretrained(folder)
        net, tokenizer = bases.load(str(folder))
        assert len(TransformersEngine(net, tokenizer).generate([ASKED], Sampling(max_new_tokens=3), 0)) == 1
        restricted = Sampling(max_new_tokens=3, restrict_to="numbers")
        assert len(TransformersEngine(net, tokenizer).generate([ASKED], restricted, 0)) == 1
        with pytest.raises(InputError, match="needs the token '<image>'"):
            prompt_ids(tokenizer, [{"role": "user", "content": "Look: <image>"}])

    def test_an_answer_can_be_neither_spelled_nor_drawn_with_one(self, tmp_path):
        folder = base(tmp_path, family="chatml", extra=0)
        _, tokenizer = bases.load(str(folder))
        tokenizer.add_tokens(["<owl>", "7,"], special_tokens=False)
        tokenizer.save_pretrained(folder)
        net, tokenizer = bases.load(str(folder))
        rows = net.get_input_embeddings().weight.shape[0]
        assert spell(tokenizer, ["<owl>"]) == []
        assert spell(tokenizer, ["owl"])
        assert number_alphabet(tokenizer).max() < rows

    def test_a_padding_token_of_that_kind_is_never_embedded(self, tmp_path):
        folder = base(tmp_path)
        _, tokenizer = bases.load(str(folder))
        tokenizer.add_special_tokens({"pad_token": "[PAD]"})
        tokenizer.save_pretrained(folder)
        net, tokenizer = bases.load(str(folder))
        prompts = [ASKED, [{"role": "user", "content": "A longer one, so that the first is padded"}]]
        assert len(TransformersEngine(net, tokenizer).generate(prompts, Sampling(max_new_tokens=3), 0)) == 2

    def test_another_models_vocabulary_is_refused(self, tmp_path):
        with pytest.raises(InputError, match="use the tokenizer that belongs to this model"):
            bases.load(str(base(tmp_path, extra=-30)))


class TestRevisions:
    @pytest.fixture
    def hub(self, tmp_path, monkeypatch):
        """Make a hub cache with two revisions of tiny/seeds, its files links into the blobs."""
        repo = tmp_path / "hub" / "models--tiny--seeds"
        for seed, (ref, commit) in enumerate((("main", "a" * 40), ("step1000", "b" * 40))):
            files = base(tmp_path / ref, seed)
            snapshot = repo / "snapshots" / commit
            snapshot.mkdir(parents=True)
            (repo / "blobs").mkdir(exist_ok=True)
            (repo / "refs").mkdir(exist_ok=True)
            (repo / "refs" / ref).write_text(commit)
            for path in files.iterdir():
                blob = repo / "blobs" / f"{seed}{path.name}"
                shutil.copy(path, blob)
                (snapshot / path.name).symlink_to(f"../../blobs/{blob.name}")
        import huggingface_hub.constants as constants

        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
        monkeypatch.setattr("huggingface_hub._snapshot_download.HF_HUB_CACHE", str(tmp_path / "hub"), raising=False)
        return tmp_path

    def test_a_base_is_named_with_its_revision(self, hub):
        for name, place in (("tiny/seeds", "main"), ("tiny/seeds@step1000", "step1000"), ("tiny/seeds@main", "main")):
            own = load_file(hub / place / "model.safetensors")[WEIGHT]
            assert torch.equal(embedding(bases.load(name)[0]), own)
        assert bases.resolve("tiny/seeds").digest != bases.resolve("tiny/seeds@step1000").digest
        with pytest.raises(InputError, match="no complete copy"):
            bases.load("tiny/seeds@step2000")

    @pytest.mark.parametrize(("revision", "place"), [("step1000", "step1000"), (None, "main"), ("main", "main")])
    def test_an_adapter_stands_on_the_revision_that_it_names(self, hub, revision, place):
        folder = adapter(hub / "adapter", hub / place)
        reported = json.loads((folder / "adapter_config.json").read_text())
        reported |= {"base_model_name_or_path": "tiny/seeds", "revision": revision}
        (folder / "adapter_config.json").write_text(json.dumps(reported))
        subject = find_model(str(folder)).load(CPU)
        assert torch.equal(embedding(subject.net), load_file(hub / place / "model.safetensors")[WEIGHT])

    def test_a_snapshot_can_be_declared(self, hub):
        snapshot = hub / "hub" / "models--tiny--seeds" / "snapshots" / ("a" * 40)
        assert declare(snapshot, "base", [], "me").is_file()

    @pytest.mark.parametrize("target", ["/etc/hostname", "../../../outside", "../../blobs/nothing", "../../refs/main"])
    def test_a_link_that_leads_elsewhere_is_refused(self, hub, target):
        (hub / "hub" / "outside").write_text("secret")
        snapshot = hub / "hub" / "models--tiny--seeds" / "snapshots" / ("a" * 40)
        (snapshot / "more.json").symlink_to(target)
        with pytest.raises(InputError, match="is a link, or behind a link, to"):
            inside(snapshot, "more.json")
