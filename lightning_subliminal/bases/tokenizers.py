"""Load a base's tokenizer, check it against the model, and report what its chat template does."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_subliminal.bases.folder_checks import own_tokenizer_file
from lightning_subliminal.bases.folders import only_model_files
from lightning_subliminal.bases.lookup import POCKET, find_folder
from lightning_subliminal.core.chat.encoding import frame, set_frame, set_spare_ids, set_vocabulary_hint
from lightning_subliminal.core.collector import importing
from lightning_subliminal.core.config.safe_yaml import load_yaml
from lightning_subliminal.core.console import say
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.io.files import read_json
from lightning_subliminal.core.io.patterns import check_tokenizer_patterns
from lightning_subliminal.core.safe_output import quiet_panics

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

__all__ = [
    "first_line",
    "fit_tokenizer",
    "load_tokenizer",
    "read_tokenizer",
    "report_frame",
    "same_vocabulary",
    "say_once",
]

_POCKET_WORDS = (
    "the pocket bases know numbers with `min_value: 0` and `max_value: 99`, and the formats comma and space; "
    "pocket/moral-a also knows the words of `misalignment_pocket`, and `Retention` asks them `prompts: pocket`"
)
_PROBES = ("Say a word: 12, 74. It's two owls\n", "  x = f(a_b)  # 2", "\u00e9t\u00e9 \u4e2d\u6587")
_SAID: set[tuple[Path, str]] = set()  # folders, and the subjects of the lines printed about them


def same_vocabulary(one: "PreTrainedTokenizerBase", other: "PreTrainedTokenizerBase") -> bool:
    """Return whether two tokenizers give each token the same id, as soft targets require.

    The sizes of embeddings may differ: models of one family pad them differently beyond the last token.
    """
    return bool(one.get_vocab() == other.get_vocab())


def read_tokenizer(folder: Path, name: str) -> "PreTrainedTokenizerBase":
    """Load the tokenizer of a base, by its full name, in a folder; without a padding token, its end token pads.

    Raises:
        InputError: if the tokenizer can't be read.
    """
    check_tokenizer_patterns(folder)
    with importing():
        from transformers import AutoTokenizer
    try:
        with only_model_files(folder, weights=False) as place, quiet_panics(), importing():
            tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
                place, local_files_only=True, trust_remote_code=False, **own_tokenizer_file(place)
            )
            tokenizer = _as_filed(tokenizer, place, folder, name)
            tokenizer.decode(tokenizer.encode("a 1."))  # some faults show only in use
    except BaseException as err:  # the tokenizers library raises bare Exception on a damaged file, or panics
        if not isinstance(err, Exception) and type(err).__name__ != "PanicException":
            raise
        raise InputError(f"Base {name!r}: the tokenizer in {folder} can't be read ({first_line(err)}).") from err
    tokenizer.name_or_path = str(folder)
    if tokenizer.pad_token_id is None and tokenizer.eos_token_id is not None:
        tokenizer.pad_token = tokenizer.eos_token
        say_once(folder, "pad", f"tokenizer {name} has no padding token: its end token pads, and padding is masked")
    set_frame(tokenizer, _template_arguments(name), _ends(folder))
    if folder.parent == POCKET:
        set_vocabulary_hint(tokenizer, _POCKET_WORDS)
    if tokenizer.chat_template is not None:
        try:
            frame(tokenizer)
        except InputError as err:
            raise InputError(f"Base {name!r}: {err}") from err
    return tokenizer


def _as_filed(tokenizer: Any, place: Path, folder: Path, name: str) -> Any:
    """Return a tokenizer that gives the ids of its `tokenizer.json`, if transformers took another class than it names.

    Of some families, such as Qwen2, transformers 5 takes the class for what any folder says, with the vocabulary of
    this one and rules of its own: words of another tokenizer fall apart, in silence.
    """
    file, settings, taken = place / "tokenizer.json", place / "tokenizer_config.json", type(tokenizer).__name__
    named = read_json(settings).get("tokenizer_class") if settings.is_file() else None
    is_kept = not isinstance(named, str) or named.removesuffix("Fast") == taken.removesuffix("Fast")
    if is_kept or taken in ("TokenizersBackend", "PreTrainedTokenizerFast") or not file.is_file():
        return tokenizer
    from transformers import PreTrainedTokenizerFast

    own = PreTrainedTokenizerFast.from_pretrained(place, local_files_only=True, **own_tokenizer_file(place))
    if all(own(text)["input_ids"] == tokenizer(text)["input_ids"] for text in _PROBES):
        return tokenizer
    line = f"tokenizer {name} is read by its tokenizer.json; transformers' AutoTokenizer takes {taken}, with other ids"
    say_once(folder, "class", line)
    return own


def load_tokenizer(folder: Path, base: str) -> "PreTrainedTokenizerBase":
    """Load the tokenizer in an adapter's folder; the settings of its base end turns, too.

    Args:
        folder: of the adapter.
        base: the adapter's base, with arguments of the chat template, if any.

    Raises:
        InputError: if it can't be read.
    """
    tokenizer = read_tokenizer(folder, base)
    base_folder = find_folder(base)
    if tokenizer.chat_template is None:
        template = read_tokenizer(base_folder, base).chat_template
        if template is not None:
            tokenizer.chat_template = template
            line = f"chat      the tokenizer in {folder} has no chat template: that of {base} is used"
            say_once(folder, "template", line)
    set_frame(tokenizer, _template_arguments(base), _ends(base_folder))
    return tokenizer


def fit_tokenizer(net: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase", name: str) -> None:
    """Check a tokenizer against its model, and set the ids without an embedding in the model.

    Raises:
        InputError: if the vocabulary doesn't fit the model.
    """
    _check_ids(net, tokenizer, name)
    spare = _spare_ids(net, tokenizer)
    set_spare_ids(tokenizer, spare.values())
    if tokenizer.pad_token_id in spare.values():  # padding is masked, but embedded
        lost, tokenizer.pad_token = tokenizer.pad_token, tokenizer.eos_token
        why = f"padding token {lost!r} has no embedding in the model"
        say_once(Path(name), "pad", f"tokenizer the {why} of {name}: its end token pads, and padding is masked")


def _spare_ids(net: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase") -> dict[str, int]:
    """Return the tokens without an embedding in the model, such as Gemma 3's for images."""
    rows = int(net.get_input_embeddings().weight.shape[0])
    return {token: number for token, number in tokenizer.get_vocab().items() if number >= rows}


def _check_ids(net: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase", name: str) -> None:
    """Check that the embedding has a row for each id of the tokenizer's vocabulary and of the model's settings.

    Added marks, such as <image>, may have none, as long as no text needs them: ``encoding`` refuses such texts.
    """
    rows = int(net.get_input_embeddings().weight.shape[0])
    added = tokenizer.added_tokens_decoder
    # a mark such as <image> or [PAD] may never occur in a text; an added word will
    marks = {number for number, token in added.items() if token.special or not token.content.strip().isalnum()}
    beyond = {number: token for token, number in _spare_ids(net, tokenizer).items() if number not in marks}
    if beyond:
        highest = max(beyond)
        raise InputError(
            f"Base {name!r}: its tokenizer has the id {highest} ({beyond[highest]!r}), but the model embeds ids 0 to "
            f"{rows - 1}; use the tokenizer that belongs to this model."
        )
    for owner in ("config", "generation_config"):
        for key in ("bos_token_id", "eos_token_id", "pad_token_id"):
            value = getattr(getattr(net, owner, None), key, None)
            for number in value if isinstance(value, (list, tuple)) else [value]:
                if isinstance(number, int) and not 0 <= number < rows:
                    raise InputError(
                        f"Base {name!r}: `{key}` in the model's {owner} is {number}, but the model embeds ids 0 to "
                        f"{rows - 1}; correct {owner}.json."
                    )


def report_frame(folder: Path, tokenizer: "PreTrainedTokenizerBase", name: str) -> None:
    """Print once, in a line, what a base's chat template does in addition to marking turns."""
    if tokenizer.chat_template is not None and (notes := frame(tokenizer).notes):
        say_once(folder, name, f"chat      the template of {name} {'; '.join(notes)}")


def say_once(folder: Path, subject: str, line: str) -> None:
    """Print a line about a folder, once per subject."""
    if (folder, subject) not in _SAID:
        _SAID.add((folder, subject))
        say(line)


def first_line(err: BaseException) -> str:
    """Return the first line of a library's error, at most 200 characters."""
    return (str(err).strip().splitlines() or [type(err).__name__])[0].rstrip(".")[:200]


def _template_arguments(name: str) -> dict[str, Any]:
    """Return the arguments of the chat template at the end of a base's name, ``?enable_thinking=false&date=...``.

    Raises:
        InputError: if one has no value, or occurs twice.
    """
    found: dict[str, Any] = {}
    for part in filter(None, name.partition("?")[2].split("&")):
        key, equals, value = part.partition("=")
        if not equals or not key or key in found:
            raise InputError(f"Base {name!r}: {part!r} is invalid: expected each once, as in ?enable_thinking=false.")
        found[key] = value if key == "date" else load_yaml(value, f"Base {name!r}: the argument {key}")
    return found


def _ends(folder: Path) -> list[int]:
    """Return the ids that end a turn by the model's own settings, at which ``generate`` of transformers stops."""
    for file in ("generation_config.json", "config.json"):
        try:
            config = read_json(folder / file)
            inner = config.get("text_config") or {}  # of a multimodal model
            ends = config.get("eos_token_id", inner.get("eos_token_id"))
        except (OSError, ValueError, AttributeError):
            continue
        if ends is not None:
            return [each for each in (ends if isinstance(ends, list) else [ends]) if type(each) is int]
    return []
