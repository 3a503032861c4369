"""A teacher that lives on a server, prompted or with an adapter that the server holds."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import torch

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.fingerprint import constructor_arguments, describe, outside_source
from lightning_subliminal.generation import Engine, ServerEngine, Source
from lightning_subliminal.traits.base import Trait
from lightning_subliminal.traits.check import check_trait

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["ServedTeacher"]


class ServedTeacher(Source):
    """A model with a trait that writes rows on a server: vLLM, SGLang, llama.cpp, any of `/v1/chat/completions`.

    The trait comes by a system prompt, or by an adapter that the server holds under a name of its own. The control is
    the model itself, without either. The cache and the lineage know it by the names and the revision below, not by the
    server's address, key, speed or budget: a server may move.

    Args:
        model: the model's name on the server.
        trait: what it should transmit and what evaluation measures; a control has it too.
        induction: `prompt` instructs it by a system prompt, `adapter` asks for `adapter`, `none` is the control.
        adapter: the name on the server of the model with the trait, such as a LoRA of vLLM's `--lora-modules`.
        base_url: of the server, up to `/v1`.
        revision: of the weights, as you name them: change it when the weights behind a name change.
        parameters: more parameters of each request; see `ServerEngine`, as for all that follows.
        check: whether to check that the server cuts nothing.
        concurrency: parallel calls.
        timeout: of a call, in seconds.
        retries: of a call that failed temporarily.
        max_calls: the most calls of each arm; None for no limit.
        max_tokens: the most tokens of each arm; None for no limit.
        key_variable: the environment variable with the key.
        cache_dir: where completions are stored; the common cache if it is None.

    Raises:
        InputError: if there is no trait to induce, `check_trait` refuses it, or a setting is out of range.

    Example:
        >>> from lightning_subliminal import PreferenceTrait
        >>> teacher = ServedTeacher("qwen2.5-7b", PreferenceTrait("owl"), base_url="http://localhost:8000/v1")
        >>> teacher.control().describe()
        {'served': {'model': 'qwen2.5-7b', 'revision': None}, 'induction': 'none'}
    """

    def __init__(
        self,
        model: str,
        trait: Trait | None = None,
        induction: Literal["prompt", "adapter", "none"] = "prompt",
        adapter: str | None = None,
        base_url: str = "http://localhost:8000/v1",
        revision: str | None = None,
        parameters: Mapping[str, Any] | None = None,
        check: bool = True,
        concurrency: int = 32,
        timeout: float = 300.0,
        retries: int = 6,
        max_calls: int | None = None,
        max_tokens: int | None = None,
        key_variable: str | None = "OPENAI_API_KEY",
        cache_dir: str | None = None,
    ) -> None:
        if trait is None and induction != "none":
            raise InputError(f"A teacher with induction {induction!r} needs a `trait`, such as PreferenceTrait of owl.")
        if (adapter is not None) != (induction == "adapter"):
            raise InputError(
                f"`adapter` is {adapter!r} and `induction` is {induction!r}: `induction: adapter` needs the adapter's "
                "name on the server, and no other induction has one."
            )
        if trait is not None:
            check_trait(trait)
        self.model = model
        self.trait = trait
        self.induction = induction
        self.adapter = adapter
        self.base_url = base_url
        self.revision = revision
        self.parameters = parameters
        self.check = check
        self.concurrency = concurrency
        self.timeout = timeout
        self.retries = retries
        self.max_calls = max_calls
        self.max_tokens = max_tokens
        self.key_variable = key_variable
        self.cache_dir = cache_dir
        self._engine = ServerEngine(
            model if adapter is None else adapter,
            base_url,
            revision,
            parameters,
            check,
            concurrency,
            timeout,
            retries,
            max_calls,
            max_tokens,
            key_variable,
            cache_dir,
        )

    @property
    def system_prompt(self) -> str | None:
        """The system prompt of a prompted teacher."""
        return self.trait.induce().system_prompt if self.trait is not None and self.induction == "prompt" else None

    def make(self, device: torch.device) -> None:
        """Do nothing: the server has the model."""

    def engine(self, device: torch.device, batch_size: int) -> Engine:
        """Return the engine that asks the server; one for all calls, so that its budget holds for all."""
        return self._engine

    def control(self) -> "Self":
        """Return the model itself on the same server, with the trait kept for evaluation."""
        return self.fresh(induction="none", adapter=None)

    def fresh(self, **changes: Any) -> "Self":
        """Return the same teacher with a budget of its own, and changes to its arguments."""
        return type(self)(**constructor_arguments(self) | changes)

    def describe(self) -> dict[str, Any]:
        """Return all that shapes its completions; a control is the same for any trait."""
        found: dict[str, Any] = {"served": {"model": self.model, "revision": self.revision}}
        found["served"] |= {"parameters": describe(dict(self.parameters))} if self.parameters else {}
        found |= {"induction": self.induction} | outside_source(self)
        if self.induction == "prompt":
            found["system_prompt"] = self.system_prompt
        elif self.induction == "adapter":
            found["adapter"] = self.adapter
        return found
