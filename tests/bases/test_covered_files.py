"""A digest covers each file that is read, and is remembered only where nobody else may write it."""

import json
import os
import shutil

import pytest
import torch
from cases import cases
from safetensors.torch import load_file

from bases.tiny_bases import WEIGHT, adapter, base, embedding
from lightning_subliminal import bases
from lightning_subliminal.audit import audit
from lightning_subliminal.bases import folders
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.fingerprint import file_digest
from lightning_subliminal.lineage.signatures.sign import SIGNING_KEY


class TestWhatTheDigestDoesNotCover:
    """A loader of models has rules by which it reads further files; none may be read that has no digest."""

    @pytest.fixture
    def model(self, tmp_path):
        return base(tmp_path / "model", 1)

    @pytest.fixture
    def elsewhere(self, tmp_path):
        return base(tmp_path / "elsewhere", 2)

    @cases("place", ["sub/w.safetensors", ".hid/w.safetensors", "test-results/w.safetensors"])
    @cases("by", ["index", "config"])
    def test_weights_below_are_refused(self, tmp_path, place, by):
        model, elsewhere = base(tmp_path / "model", 1), base(tmp_path / "elsewhere", 2)
        self.other_weights(model, elsewhere, place)
        self.name_them(model, place, by)
        with pytest.raises(InputError, match=r"which (is|are) not in its folder, so its digest would not cover it"):
            bases.resolve(str(model))

    @cases("by", ["index", "config"])
    @cases("absolute", [False, True])
    def test_weights_outside_are_refused(self, tmp_path, by, absolute):
        model, elsewhere = base(tmp_path / "model", 1), base(tmp_path / "elsewhere", 2)
        self.name_them(model, f"{elsewhere if absolute else '../elsewhere'}/model.safetensors", by)
        with pytest.raises(InputError, match="would not cover it"):
            bases.resolve(str(model))

    def test_a_hidden_shard_beside_is_refused(self, model, elsewhere):
        self.other_weights(model, elsewhere, ".w.safetensors")
        self.name_them(model, ".w.safetensors", "index")
        with pytest.raises(InputError, match="would not cover it"):
            bases.resolve(str(model))

    def test_a_tokenizer_outside_is_refused(self, model, elsewhere):
        reported = json.loads((model / "tokenizer_config.json").read_text())
        named = str(elsewhere / "tokenizer.json")
        (model / "tokenizer_config.json").write_text(json.dumps(reported | {"vocab_file": named}))
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
            reported = json.loads((model / "config.json").read_text())
            (model / "config.json").write_text(json.dumps(reported | {"transformers_weights": place}))
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
