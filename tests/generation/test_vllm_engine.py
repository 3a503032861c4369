"""vLLM in this process: where it is absent, one line; where it is installed, the engine's contract."""

import importlib.util
import sys

import pytest

from generation.engine_contract import EngineContract
from lightning_subliminal import VLLMEngine, bases


def test_where_it_is_absent(monkeypatch):
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(ModuleNotFoundError, match=r"VLLMEngine needs vLLM: pip install 'lightning-subliminal\[vllm\]'"):
        VLLMEngine("folder", None)


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="the extra [vllm] is not installed")
class TestVLLMEngine(EngineContract):
    samples = 1000

    def make(self, folder, batch_size=8):
        settings = {"dtype": "float32", "enforce_eager": True, "max_model_len": 256}
        return VLLMEngine(folder, bases.load_tokenizer(folder, str(folder)), max_num_seqs=batch_size, **settings)
