import shutil
from pathlib import Path

import pytest
import torch

from lightning_subliminal import bases
from lightning_subliminal.core.errors import InputError

pytestmark = pytest.mark.usefixtures("cache")


class TestWhoSigns:
    """With a signing key, a statement names the base that was loaded, or there is none."""

    @pytest.fixture
    def base(self, tmp_path, monkeypatch):
        monkeypatch.setenv("LIGHTNING_SUBLIMINAL_SIGNING_KEY", str(tmp_path / "key"))
        return Path(shutil.copytree(bases.resolve("pocket/a").folder, tmp_path / "base"))

    def swap(self, base):
        """Put another model in a base's place, or take it back; no file is touched."""
        away, other = base.with_name("away"), base.with_name("other")
        if away.exists():
            base.rename(other)
            away.rename(base)
        else:
            if not other.exists():
                shutil.copytree(bases.resolve("pocket/b").folder, other)
            base.rename(away)
            other.rename(base)

    def test_what_was_loaded_is_named(self, base):
        bases.load(str(base))
        assert bases.material(str(base)).digest == {"dirHash": bases.resolve(str(base)).digest}

    def test_another_while_it_was_loaded_is_reported(self, base):
        bases.material(str(base))
        self.swap(base)
        bases.load(str(base))
        self.swap(base)
        with pytest.raises(InputError, match="is not what was loaded"):
            bases.material(str(base))
        bases.load(str(base))
        bases.material(str(base))

    def test_a_tokenizer_that_was_another_one_is_reported_too(self, base, monkeypatch):
        path = base / "tokenizer.json"
        path.write_text(path.read_text() + " ")
        bases.load(str(base))
        path.write_text(path.read_text()[:-1])
        with pytest.raises(InputError, match=r"tokenizer\.json is not what was loaded"):
            bases.material(str(base))

    @pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="links to open files are Linux's")
    def test_names_that_change_while_it_is_loaded_change_nothing(self, base, monkeypatch):
        from transformers import AutoModelForCausalLM

        before = bases.load(str(base))[0].state_dict()
        read = AutoModelForCausalLM.from_pretrained

        def swapped(*args, **settings):
            self.swap(base)
            try:
                return read(*args, **settings)
            finally:
                self.swap(base)

        monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", swapped)
        after = bases.load(str(base))[0].state_dict()
        assert all(torch.equal(before[name], after[name]) for name in before)

    def test_a_file_that_is_written_while_it_is_loaded_is_reported(self, base, monkeypatch):
        from transformers import AutoModelForCausalLM

        read = AutoModelForCausalLM.from_pretrained

        def written(*args, **settings):
            found = read(*args, **settings)
            path = base / "model.safetensors"
            with path.open("r+b") as stream:
                stream.seek(-1, 2)
                stream.write(b"x")
            return found

        monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", written)
        with pytest.raises(InputError, match="were changed while they were loaded"):
            bases.load(str(base))
