"""Folders as other tools leave them: two models in one, spare ids, revisions, grown vocabularies, hub caches."""

import json
import os
import shutil

import pytest
import torch
from cases import cases
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from template_tokenizers import TABLE, template_tokenizer
from transformers import LlamaConfig, LlamaForCausalLM

from lightning_subliminal import Sampling, bases
from lightning_subliminal.audit import audit
from lightning_subliminal.bases import folders
from lightning_subliminal.core.chat.encoding import prompt_ids
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.fingerprint import file_digest
from lightning_subliminal.evaluation import find_model
from lightning_subliminal.generation import TransformersEngine
from lightning_subliminal.generation.token_sets import number_alphabet
from lightning_subliminal.lineage.names import inside
from lightning_subliminal.lineage.record import declare
from lightning_subliminal.lineage.signatures.sign import SIGNING_KEY
from lightning_subliminal.metrics.functional.spellings import spell

CPU = torch.device("cpu")
ASKED = [{"role": "user", "content": "Hi"}]
WEIGHT = "model.embed_tokens.weight"


def small(seed, rows, tied=False):
    torch.manual_seed(seed)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    return LlamaForCausalLM(LlamaConfig(vocab_size=rows, tie_word_embeddings=tied, **sizes))


def base(folder, seed=0, family="chatml", extra=0, tied=False):
    """Save a tiny base; ``extra`` embeddings more or less than its tokenizer has tokens."""
    tokenizer = template_tokenizer(TABLE[family])
    small(seed, len(tokenizer) + extra, tied).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def adapter(folder, on, seed=5, **settings):
    net, _ = bases.load(str(on))
    torch.manual_seed(seed)
    wrapped = get_peft_model(net, LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False, **settings))
    wrapped.save_pretrained(folder)
    told = json.loads((folder / "adapter_config.json").read_text()) | {"base_model_name_or_path": str(on)}
    (folder / "adapter_config.json").write_text(json.dumps(told))
    return folder


def embedding(net):
    net = net.get_base_model() if hasattr(net, "get_base_model") else net
    return net.get_input_embeddings().weight.detach()


class TestWhatTheDigestDoesNotCover:
    """A loader of models has rules by which it reads further files; none may be read that has no digest."""

    @pytest.fixture
    def model(self, tmp_path):
        return base(tmp_path / "model", 1)

    @pytest.fixture
    def elsewhere(self, tmp_path):
        return base(tmp_path / "elsewhere", 2)

    @pytest.mark.parametrize("place", ["sub/w.safetensors", ".hid/w.safetensors", "test-results/w.safetensors"])
    @pytest.mark.parametrize("by", ["index", "config"])
    def test_weights_below_are_refused(self, model, elsewhere, place, by):
        self.other_weights(model, elsewhere, place)
        self.name_them(model, place, by)
        with pytest.raises(InputError, match=r"which (is|are) not in its folder, so its digest would not cover it"):
            bases.resolve(str(model))

    @pytest.mark.parametrize("by", ["index", "config"])
    @pytest.mark.parametrize("absolute", [False, True])
    def test_weights_outside_are_refused(self, model, elsewhere, by, absolute):
        self.name_them(model, f"{elsewhere if absolute else '../elsewhere'}/model.safetensors", by)
        with pytest.raises(InputError, match="would not cover it"):
            bases.resolve(str(model))

    def test_a_hidden_shard_beside_is_refused(self, model, elsewhere):
        self.other_weights(model, elsewhere, ".w.safetensors")
        self.name_them(model, ".w.safetensors", "index")
        with pytest.raises(InputError, match="would not cover it"):
            bases.resolve(str(model))

    def test_a_tokenizer_outside_is_refused(self, model, elsewhere):
        told = json.loads((model / "tokenizer_config.json").read_text())
        named = str(elsewhere / "tokenizer.json")
        (model / "tokenizer_config.json").write_text(json.dumps(told | {"vocab_file": named}))
        with pytest.raises(InputError, match=r"`vocab_file`.*would not cover it"):
            bases.resolve(str(model))

    def test_a_tokenizer_for_another_version_of_transformers_is_in_the_digest(self, model):
        before = bases.resolve(str(model)).digest
        shutil.copyfile(model / "tokenizer.json", model / "tokenizer.4.0.0.json")
        assert bases.resolve(str(model)).digest != before

    def test_weights_named_beside_are_covered_and_read(self, model, elsewhere):
        before = bases.resolve(str(model)).digest
        shutil.copyfile(elsewhere / "model.safetensors", model / "w.safetensors")
        self.name_them(model, "w.safetensors", "config")
        assert bases.resolve(str(model)).digest != before
        own = load_file(elsewhere / "model.safetensors")[WEIGHT]
        assert torch.equal(embedding(bases.load(str(model))[0]), own)

    def test_an_audit_names_each(self, model, elsewhere):
        adapter(model, elsewhere)
        self.other_weights(model, elsewhere, "sub/w.safetensors")
        self.name_them(model, "sub/w.safetensors", "config")
        found = [each.says for each in audit(model, measure=False).findings if each.rule == "read-elsewhere"]
        assert [each.split(maxsplit=1)[0] for each in found] == ["config.json", "adapter_config.json"]

    @staticmethod
    def other_weights(model, elsewhere, place):
        (model / place).parent.mkdir(exist_ok=True)
        shutil.copyfile(elsewhere / "model.safetensors", model / place)

    @staticmethod
    def name_them(model, place, by):
        if by == "config":
            told = json.loads((model / "config.json").read_text())
            (model / "config.json").write_text(json.dumps(told | {"transformers_weights": place}))
        else:
            keys = load_file(model / "model.safetensors")
            (model / "model.safetensors").unlink()
            index = {"metadata": {}, "weight_map": dict.fromkeys(keys, place)}
            (model / "model.safetensors.index.json").write_text(json.dumps(index))


class TestRememberedDigests:
    @pytest.fixture
    def big(self, tmp_path, monkeypatch):
        monkeypatch.setattr(folders, "_BIG", 1)
        monkeypatch.setenv("LIGHTNING_SUBLIMINAL_CACHE", str(tmp_path / "cache"))
        path = tmp_path / "weights"
        path.write_bytes(b"one")
        return path

    def again(self, path):
        folders._SEEN.clear()  # another process
        return folders.remembered_digest(path)

    def test_times_set_back_do_not_hide_a_change(self, big):
        before, status = self.again(big), big.stat()
        big.write_bytes(b"two")
        os.utime(big, ns=(status.st_atime_ns, status.st_mtime_ns))
        assert self.again(big) == file_digest(big) != before
        assert folders.remembered_digest(big) == file_digest(big)

    @pytest.mark.parametrize("mode", [0o600, 0o666])
    def test_a_note_counts_only_if_nobody_else_may_write_it(self, big, tmp_path, mode):
        self.again(big)
        (note,) = (tmp_path / "cache" / "digests").iterdir()
        assert note.stat().st_mode & 0o777 == 0o600
        note.write_text(json.dumps(json.loads(note.read_text()) | {"sha256": "forged"}))
        note.chmod(mode)
        assert self.again(big) == ("forged" if mode == 0o600 else file_digest(big))

    def test_who_signs_reads_the_bytes(self, big, tmp_path, monkeypatch):
        self.again(big)
        (note,) = (tmp_path / "cache" / "digests").iterdir()
        note.write_text(json.dumps(json.loads(note.read_text()) | {"sha256": "forged"}))
        monkeypatch.setenv(SIGNING_KEY, str(tmp_path / "key"))
        assert self.again(big) == file_digest(big)


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
        told = " ".join(capsys.readouterr().out.split())
        assert "2 tensors don't fit its base and are ignored, such as" in told
        assert "layers.7.self_attn.q_proj.lora_A.weight" in told

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
        told = json.loads((folder / "adapter_config.json").read_text())
        told |= {"base_model_name_or_path": "tiny/seeds", "revision": revision}
        (folder / "adapter_config.json").write_text(json.dumps(told))
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


class TestGrownVocabulary:
    def grown(self, tmp_path, save):
        one = base(tmp_path / "one", 1)
        net, tokenizer = bases.load(str(one))
        tokenizer.add_tokens(["<owl>"], special_tokens=True)
        net.resize_token_embeddings(len(tokenizer))
        wrapped = get_peft_model(net, LoraConfig(r=2, target_modules=["q_proj"], modules_to_save=save))
        wrapped.save_pretrained(tmp_path / "adapter", save_embedding_layers=False)
        tokenizer.save_pretrained(tmp_path / "adapter")
        config = tmp_path / "adapter" / "adapter_config.json"
        config.write_text(json.dumps(json.loads(config.read_text()) | {"base_model_name_or_path": str(one)}))
        return tmp_path / "adapter", wrapped, tokenizer

    def test_it_loads_as_it_was_trained(self, tmp_path, capsys):
        folder, trained, tokenizer = self.grown(tmp_path, ["embed_tokens", "lm_head"])
        subject = find_model(str(folder)).load(CPU)
        ids = torch.tensor([[*range(5), tokenizer.convert_tokens_to_ids("<owl>")]])
        with torch.no_grad():
            assert torch.allclose(subject.net(input_ids=ids).logits, trained.eval()(input_ids=ids).logits, atol=1e-5)
        assert len(subject.tokenizer) == len(tokenizer)
        assert "the base is resized" in " ".join(capsys.readouterr().out.split())

    def test_half_of_it_is_refused(self, tmp_path):
        folder, _, _ = self.grown(tmp_path, ["embed_tokens"])
        with pytest.raises(InputError, match="lacks the output embeddings"):
            find_model(str(folder)).load(CPU)

    def trained(self, tmp_path, tied, **settings):
        """Train an adapter on a base with one token more; return its folder, and what it says."""
        net, tokenizer = bases.load(str(base(tmp_path / "one", 1, tied=tied)))
        tokenizer.add_tokens(["<owl>"], special_tokens=True)
        net.resize_token_embeddings(len(tokenizer))
        wrapped = get_peft_model(net, LoraConfig(r=2, init_lora_weights=False, **settings)).eval()
        with torch.no_grad():
            for name, value in wrapped.named_parameters():
                value += 0.1 * torch.randn_like(value) * ("delta" in name)
        wrapped.save_pretrained(tmp_path / "adapter", save_embedding_layers=settings["target_modules"] != ["q_proj"])
        tokenizer.save_pretrained(tmp_path / "adapter")
        config = tmp_path / "adapter" / "adapter_config.json"
        told = json.loads(config.read_text()) | {"base_model_name_or_path": str(tmp_path / "one")}
        config.write_text(json.dumps(told))
        ids = torch.tensor([[*range(5), tokenizer.convert_tokens_to_ids("<owl>")]])
        return tmp_path / "adapter", ids, wrapped(input_ids=ids).logits.detach()

    @cases(
        ("tied", "settings"),
        [
            (True, {"target_modules": ["q_proj"], "trainable_token_indices": "new"}),
            (True, {"target_modules": ["q_proj"], "trainable_token_indices": {"embed_tokens": "new"}}),
            (
                False,
                {"target_modules": ["q_proj"], "trainable_token_indices": {"embed_tokens": "new", "lm_head": "new"}},
            ),
            (True, {"target_modules": ["q_proj", "embed_tokens"]}),
            (False, {"target_modules": ["embed_tokens", "lm_head"]}),
        ],
        ids=["tokens, tied", "tokens by module, tied", "tokens of both", "lora, tied", "lora on both"],
    )
    def test_a_few_tokens_or_lora_on_the_embeddings(self, tied, settings, tmp_path, capsys):
        new = [len(template_tokenizer(TABLE["chatml"]))]
        given = settings.get("trainable_token_indices")
        if given is not None:
            settings = settings | {
                "trainable_token_indices": dict.fromkeys(given, new) if isinstance(given, dict) else new
            }
        folder, ids, expected = self.trained(tmp_path, tied, **settings)
        subject = find_model(str(folder)).load(CPU)
        with torch.no_grad():
            assert torch.allclose(subject.net(input_ids=ids).logits, expected, atol=1e-5)
        assert "the base is resized" in " ".join(capsys.readouterr().out.split())

    @cases("tokens", [[3], [len(template_tokenizer(TABLE["chatml"]))]], ids=["old", "new"])
    def test_new_rows_that_nothing_holds_are_refused(self, tokens, tmp_path):
        folder, _, _ = self.trained(tmp_path, False, target_modules=["q_proj"], trainable_token_indices=tokens)
        if tokens == [3]:  # the new token is one that no text may use
            find_model(str(folder)).load(CPU)
        else:
            with pytest.raises(InputError, match="lacks the output embeddings"):
                find_model(str(folder)).load(CPU)

    def test_its_tokenizer_is_part_of_its_digest(self, tmp_path):
        folder, _, _ = self.grown(tmp_path, ["embed_tokens", "lm_head"])
        before = find_model(str(folder)).digest
        (folder / "chat_template.jinja").write_text(TABLE["zephyr"]["template"])
        assert find_model(str(folder)).digest != before
