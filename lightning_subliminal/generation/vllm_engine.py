"""An engine of vLLM in this process: many rows at once on a GPU, from the model's whole distribution."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from lightning_subliminal.core.chat.encoding import end_tokens, frame, prompt_ids
from lightning_subliminal.core.chat.thoughts import thought_tokens
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.io.adapter_names import PEFT_FILES
from lightning_subliminal.core.io.files import read_json
from lightning_subliminal.core.rows import Message
from lightning_subliminal.core.seeds import derive_seed
from lightning_subliminal.generation.engine import Completion, Engine, Sampling, decoded
from lightning_subliminal.generation.token_sets import number_alphabet

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["VLLMEngine"]

_SEEDS = 1 << 31
_HOTTEST = 2
_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)  # that vLLM makes room for; by default for 16


class VLLMEngine(Engine):
    """Samples with vLLM from a model in a local folder, in one call for all prompts.

    Prompts are encoded, and completions decoded, as by ``TransformersEngine``, so that only the sampling is vLLM's. A
    fine-tuned teacher comes as LoRA, or merged (`lightning-subliminal export RUN OUT`), as steering vectors always do.

    Args:
        model: a folder with weights and tokenizer.
        tokenizer: the model's, with a chat template; such as ``bases.load_tokenizer(folder, base)``.
        lora: a folder with a LoRA in PEFT's format; None for the model itself.
        **settings: of ``vllm.LLM``, such as ``dtype``, ``max_model_len`` and ``tensor_parallel_size``.

    Raises:
        ModuleNotFoundError: if vLLM is not installed.
        InputError: if there is no such folder, or no LoRA in it.
    """

    def __init__(
        self, model: str | Path, tokenizer: "PreTrainedTokenizerBase", lora: str | Path | None = None, **settings: Any
    ) -> None:
        try:
            from vllm import LLM
            from vllm.lora.request import LoRARequest
        except ModuleNotFoundError as err:
            raise ModuleNotFoundError("VLLMEngine needs vLLM: pip install 'lightning-subliminal[vllm]'.") from err
        for folder in (model, *([lora] if lora is not None else [])):
            if not Path(folder).is_dir():
                raise InputError(f"{folder} is not a folder: expected one with weights.")
        self.tokenizer = tokenizer
        settings = settings if lora is None else {"enable_lora": True, "max_lora_rank": _rank(Path(lora)), **settings}
        if not torch.cuda.is_available():  # vLLM 0.32 can't split a prompt with a seed of its own on a CPU
            settings.setdefault("enable_chunked_prefill", False)
        # `vllm`: nothing of the model's generation config, which may cut the distribution
        self.llm = LLM(model=str(model), generation_config="vllm", **settings)
        self.lora = LoRARequest("teacher", 1, str(lora)) if lora is not None else None
        self.ends = sorted(end_tokens(tokenizer))
        self.thoughts = thought_tokens(tokenizer)

    def generate(self, prompts: Sequence[Sequence[Message]], sampling: Sampling, seed: int) -> list[Completion]:
        """Return one completion per prompt, in their order, each with a seed of its own.

        Raises:
            InputError: if vLLM does not take the temperature.
        """
        from vllm import SamplingParams

        if not prompts:
            return []
        if sampling.temperature > _HOTTEST and not sampling.greedy:
            raise InputError(f"vLLM samples at temperatures up to {_HOTTEST}, not at {sampling.temperature}: lower it.")
        allowed = number_alphabet(self.tokenizer).tolist() if sampling.restrict_to == "numbers" else None
        drawn = [
            SamplingParams(
                temperature=0.0 if sampling.greedy else sampling.temperature,
                top_p=1.0,
                top_k=0,
                min_p=0.0,
                max_tokens=sampling.max_new_tokens,
                seed=derive_seed(seed, "row", place) % _SEEDS,
                stop_token_ids=self.ends,
                allowed_token_ids=allowed,
                detokenize=False,
            )
            for place in range(len(prompts))
        ]
        asked: Any = [{"prompt_token_ids": prompt_ids(self.tokenizer, prompt)} for prompt in prompts]
        outputs = self.llm.generate(asked, drawn, lora_request=self.lora, use_tqdm=False)
        form = frame(self.tokenizer)
        completions = []
        for prompt, output in zip(prompts, outputs, strict=True):
            ids = [token for token in output.outputs[0].token_ids if token not in self.ends]
            text, finished = form.cut(
                decoded(self.tokenizer, ids, self.thoughts), output.outputs[0].finish_reason == "stop"
            )
            completions.append(Completion(form.words(text, prompt), finished))
        return completions


def _rank(folder: Path) -> int:
    """Return the room that a LoRA needs."""
    path = folder / PEFT_FILES.config
    config = read_json(path) if path.is_file() else {}
    if config.get("peft_type") != "LORA":
        raise InputError(f"{folder} holds no LoRA in PEFT's format: `lightning-subliminal export RUN OUT --no-merge`.")
    ranks = [config["r"], *(config.get("rank_pattern") or {}).values()]
    return next((each for each in _RANKS if each >= max(ranks)), _RANKS[-1])
