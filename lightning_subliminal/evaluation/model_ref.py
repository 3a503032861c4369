"""A reference to any model: a base by its name, a folder with an adapter or a whole model, a server's, or a net."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from lightning_subliminal import bases
from lightning_subliminal.bases.folders import has_tokenizer, has_whole_weights, model_files
from lightning_subliminal.bases.loading import load
from lightning_subliminal.bases.lookup import NoSuchBaseError, beside
from lightning_subliminal.core.console import say
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.fingerprint import file_digest
from lightning_subliminal.core.io.adapter_names import adapter_files, holds_model, is_adapter_file
from lightning_subliminal.core.rows import Message
from lightning_subliminal.evaluation.adapter_folder import (
    adapter_base,
    check_base,
    hub_adapter,
    other_base,
    with_adapter,
)
from lightning_subliminal.evaluation.probes.question_file import system_first
from lightning_subliminal.generation import Engine, ServerEngine, TransformersEngine

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["DTYPES", "ModelRef", "find_model", "served_engine"]

DTYPES = ("float32", "bfloat16", "float16")
_SERVED = "server:"


@dataclass
class ModelRef:
    """A model to measure: its files and their digests; loaded when it is needed.

    Attributes:
        name: in tables.
        base: the base itself, or that of its adapter.
        folder: of the adapter; None without one.
        digest: of all files that shape it, the system prompt, and a dtype other than float32.
        system_prompt: comes before each question.
        dtype: of the loaded weights.
        is_found: whether its digest is of files on disk (``find_model``), so that it can be checked again.
        engine: asks a model that is not here, such as one on a server; None for a model with a net. Measures that
            sample take it; the others are refused in one line.
    """

    name: str
    base: str
    folder: Path | None
    digest: dict[str, Any]
    system_prompt: str | None = None
    net: Any = None
    tokenizer: "PreTrainedTokenizerBase | Any" = None
    is_found: bool = False
    dtype: str = "float32"
    engine: Engine | None = None

    def __post_init__(self) -> None:
        if self.engine is not None:
            self.net = self.tokenizer = _Elsewhere(self.name)

    @classmethod
    def asked(cls, name: str, engine: Engine, system_prompt: str | None = None) -> "ModelRef":
        """Return a reference to what an engine writes with: its net, if it has one; its scores are not cached."""
        if hasattr(engine, "net"):
            return cls.held(name, engine.net, getattr(engine, "tokenizer", None), system_prompt=system_prompt)
        return cls(name, "elsewhere", None, {}, system_prompt, engine=engine)

    @classmethod
    def held(
        cls, name: str, net: Any, tokenizer: Any, base: str = "in memory", system_prompt: str | None = None
    ) -> "ModelRef":
        """Return a reference to a loaded model; its scores are not cached."""
        return cls(name, base, None, {}, system_prompt, net, tokenizer)

    def load(self, device: torch.device) -> "ModelRef":
        """Load the model onto a device, and return the reference."""
        if self.net is not None:
            return self
        net, self.tokenizer = load(self.base, dtype=getattr(torch, self.dtype))
        if self.folder is not None:
            if has_tokenizer(self.folder):
                self.tokenizer = bases.load_tokenizer(self.folder, self.base)
            net = with_adapter(net, self.folder)
            bases.fit_tokenizer(net, self.tokenizer, self.name)
        self.check_same()
        self.net = net.to(device).eval()
        return self

    def writer(self) -> Engine:
        """Return the engine that samples from the loaded model."""
        return self.engine or TransformersEngine(self.net, self.tokenizer)

    def check_same(self) -> None:
        """Check that the files are still those that were found, so that scores belong to them.

        Raises:
            InputError: if one has changed.
        """
        if self.is_found and _shaping(self.base, self.folder, self.system_prompt, self.dtype) != self.digest:
            place = self.folder or self.base
            raise InputError(f"{self.name}: files of {place} or of its base have changed: measure it again.")

    def release(self) -> None:
        """Release the model's memory; ``load`` loads it again."""
        if self.engine is None:
            self.net = self.tokenizer = None

    def prompt(self, messages: list[Message]) -> list[Message]:
        """Return messages after the model's system prompt; a system prompt of their own follows in the same message."""
        return system_first(messages, self.system_prompt)

    def hear(self, messages: list[Message]) -> list[Message]:
        """Return ``prompt(messages)``; deprecated."""
        say("deprecated ModelRef.hear: it is `ModelRef.prompt`")
        return self.prompt(messages)


def find_model(place: str, system_prompt: str | None = None, dtype: str = "float32") -> ModelRef:
    """Find a model, without loading it.

    Args:
        place: a base's name, a local folder, a hub id; a folder with an adapter that this package or PEFT saved, such
            as the ``student`` of a run; or the run's folder itself; ``server:URL#MODEL`` for a model on a server of
            `/v1/chat/completions`, with ``@REVISION`` where the weights behind a name change or the server may move.
            ``NAME=PLACE`` names it in tables.
        system_prompt: comes before each question.
        dtype: of the loaded weights: float32, bfloat16 or float16; scores of each are cached apart.

    Raises:
        InputError: if the model is not found, or the dtype is unknown.
    """
    if dtype not in DTYPES:
        raise InputError(f"`dtype` is {dtype!r}: expected one of {', '.join(DTYPES)}.")
    name, equals, where = place.partition("=")
    if not equals or "+noise" in name or "?" in name or Path(place).expanduser().exists():
        name = where = place  # a folder may be called lr=0.1
    if where.startswith(_SERVED):
        engine = served_engine(where)
        shaped = {"served": engine.describe(), "system_prompt": system_prompt}
        return ModelRef(name, where, None, shaped, system_prompt, engine=engine)
    folder = Path(where).expanduser()
    if (folder / "student").is_dir() and holds_model(folder / "student"):
        if holds_model(folder):
            say(f"model     {folder} holds a model and a student/: the model is used; {folder}/student is the other")
        else:
            folder, where = folder / "student", str(folder / "student")
    if adapter_files(folder) is None or has_whole_weights(folder):
        try:
            shaped = _shaping(where, None, system_prompt, dtype)
            return ModelRef(name, where, None, shaped, system_prompt, is_found=True, dtype=dtype)
        except NoSuchBaseError as err:
            runs = beside(Path("runs") / "any")
            raise InputError(
                f"There is no model {where!r}: expected a run's folder, a folder with a model or an adapter, a hub id "
                f"(organisation/model), or a base (`bases list`){runs}."
            ) from err
        except InputError:
            if (copy := hub_adapter(where)) is None:
                raise
            folder = copy
    own = adapter_base(folder)
    check_base(folder, own)
    if other := other_base(folder, own):
        say(f"WARNING   {folder}: {other}")
    shaped = _shaping(own, folder, system_prompt, dtype)
    return ModelRef(name, own, folder, shaped, system_prompt, is_found=True, dtype=dtype)


def served_engine(place: str) -> ServerEngine:
    """Return the engine of ``server:URL#MODEL`` or ``server:URL#MODEL@REVISION``.

    Without a revision, the server's address stands for it: another server's model of this name is another model.

    Raises:
        InputError: if there is no address or no model.
    """
    url, _, model = place.removeprefix(_SERVED).partition("#")
    model, _, revision = model.partition("@")
    if not url or not model:
        raise InputError(
            f"{place} lacks its model: expected server:URL#MODEL, such as server:http://localhost:8000/v1#my-student."
        )
    engine = ServerEngine(model, url, revision or None)
    engine.revision = engine.revision or engine.server
    return engine


class _Elsewhere:
    """Stands for the weights of a model that is not here: any use is refused in one line."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # of copy and pickle
            raise AttributeError(name)
        raise InputError(
            f"{self._name} is on a server, and this needs the model's weights or exact probabilities: name a base, a "
            "folder or a hub id, or use a measure of sampled answers."
        )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.weights


def _shaping(base: str, folder: Path | None, system_prompt: str | None, dtype: str) -> dict[str, Any]:
    """Return the digests of all that shapes a model: its base, an adapter, a system prompt and a dtype."""
    shaped: dict[str, Any] = {"base": bases.resolve(base).identity, "system_prompt": system_prompt}
    shaped |= {} if dtype == "float32" else {"dtype": dtype}  # float32 is left out, as older caches have it
    if folder is not None:
        files = sorted(each for each in folder.iterdir() if is_adapter_file(each.name) and each.is_file())
        shaped |= {each.name: file_digest(each) for each in files}
        shaped |= {name: file_digest(path) for name, path in model_files(folder).items()}  # a tokenizer of its own
    return shaped
