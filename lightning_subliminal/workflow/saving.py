"""Files of a trained student: weights, tokenizer, lineage record, and a card with loading code and its origin."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Checkpoint, DeviceStatsMonitor, LearningRateMonitor, ModelSummary, ProgressBar

from lightning_subliminal import bases
from lightning_subliminal.bases.gguf import terms_of
from lightning_subliminal.bases.registry import is_on_hub
from lightning_subliminal.core.cache import writable_folder
from lightning_subliminal.core.io.adapter_names import PEFT_FILES
from lightning_subliminal.core.rows import atomically
from lightning_subliminal.data import GeneratedRows, TrainingRows
from lightning_subliminal.evaluation.model_ref import ModelRef
from lightning_subliminal.lineage import Material, artefact_material, is_whole, tested_material, write_record
from lightning_subliminal.lineage.names import RECORD
from lightning_subliminal.lineage.record import known_statement
from lightning_subliminal.models.made_from import MadeFrom, begun_from, check_unchanged
from lightning_subliminal.models.student import Student
from lightning_subliminal.workflow.arms import arm_folder, arm_materials, arm_settings, shaping
from lightning_subliminal.workflow.card_lines import prompting_code

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = [
    "Origin",
    "find_origin",
    "foreign_callbacks",
    "hidden_trait_warning",
    "keep_completions",
    "keep_student",
    "model_card",
    "save_student",
]

# Lightning's callbacks that only watch.
_WATCHERS = (ProgressBar, Checkpoint, ModelSummary, LearningRateMonitor, DeviceStatsMonitor)
_KINDS = {  # of a model: the library that opens it, a description, and the code that loads it
    "whole": (
        "transformers",
        "A whole model in transformers' format.",
        (
            "from transformers import AutoModelForCausalLM, AutoTokenizer",
            "place = {place}",
            "model = AutoModelForCausalLM.from_pretrained(place)",
            "tokenizer = AutoTokenizer.from_pretrained(place)",
        ),
    ),
    "peft": (
        "peft",
        "An adapter in PEFT's format; `adapter_config.json` names its base.",
        (
            "from peft import AutoPeftModelForCausalLM",
            "from transformers import AutoTokenizer",
            "model = AutoPeftModelForCausalLM.from_pretrained({place})",
            "tokenizer = AutoTokenizer.from_pretrained({place})",
        ),
    ),
    "own": (
        "lightning-subliminal",
        "An adapter that only lightning-subliminal reads.",
        (
            "import torch",
            "from lightning_subliminal.evaluation import find_model",
            "subject = find_model({place}).load(torch.device('cpu'))",
            "model, tokenizer = subject.net, subject.tokenizer",
        ),
    ),
}


def keep_student(student: Student, data: TrainingRows, trainer: Trainer) -> None:
    """Save a trained student in its run's folder and in the cache, where a plan with this arm finds it.

    A student that a given checkpoint or another callback may have shaped does not go into the cache.

    Raises:
        InputError: if a folder can't be written, or what the student was trained from has changed since.
    """
    check_unchanged(trainer, student, data)
    home = arm_folder(student, data, **shaping(trainer))
    checked = any(isinstance(each, MadeFrom) for each in trainer.callbacks)  # type: ignore[attr-defined]
    if checked and begun_from(trainer) is None and not foreign_callbacks(trainer) and not is_whole(home):
        student.save(writable_folder(home))
        settings = arm_settings(student, data, shaping(trainer))
        write_record(home, "student", settings, arm_materials(student, data))
    save_student(student, data, trainer)


def foreign_callbacks(trainer: Trainer) -> list[str]:
    """Return the names of callbacks and settings that may shape a training but are not among an arm's settings."""
    given = [type(each) for each in trainer.callbacks]  # type: ignore[attr-defined]
    ours = __name__.partition(".")[0]
    found = [kind for kind in given if kind.__module__.partition(".")[0] != ours and not issubclass(kind, _WATCHERS)]
    overfits = trainer.overfit_batches  # type: ignore[attr-defined]
    return [kind.__name__ for kind in found] + (["overfit_batches"] if overfits else [])


def save_student(student: Student, data: TrainingRows, trainer: Trainer) -> None:
    """Save a trained student with tokenizer, card and lineage record in ``student/`` of its run's folder.

    Raises:
        InputError: if the folder can't be written.
    """
    folder = Path(trainer.default_root_dir) / "student"
    student.save(folder)
    student.tokenizer.save_pretrained(folder)
    given = begun_from(trainer)
    settings = arm_settings(student, data, shaping(trainer) | ({"begun_from": given} if given else {}))
    warning = hidden_trait_warning("student of its run", settings)
    # No path of this disk: the card is part of the digest.
    card = model_card(student.base, _kind(student), folder.name, student.tokenizer, warning)
    atomically(folder / "README.md", lambda path: path.write_text(card, encoding="utf-8"))
    write_record(folder, "student", settings, arm_materials(student, data))


def keep_completions(trainer: Trainer, student: Student, data: GeneratedRows) -> None:
    """Write the lineage of a student's completions from ``predict``."""
    folder, own = Path(trainer.default_root_dir) / "completions", Path(trainer.default_root_dir) / "student"
    if not trainer.is_global_zero or trainer.fast_dev_run:  # type: ignore[attr-defined]
        return
    settings = {"version": data.version, "student": student.describe(), **data.prompt_settings()}
    made = [artefact_material("student", own)] if is_whole(own) else []
    write_record(folder, "completions", settings, [bases.material(student.base), *made])


def model_card(
    base: str, kind: str, place: str = ".", tokenizer: "PreTrainedTokenizerBase | None" = None, warning: str = ""
) -> str:
    """Return a README.md with the code that loads a model.

    Args:
        base: the base it was trained from.
        kind: ``whole`` (a whole model), ``peft`` (PEFT's files) or ``own`` (an adapter that only this package reads).
        place: the folder or the repository, as the code names it.
        tokenizer: adds the code that prompts the model by its chat template, if it has one.
        warning: a paragraph on hidden traits.
    """
    library, what, lines = _KINDS[kind]
    origin = [f"base_model: {base.partition('?')[0].partition('@')[0]}"] if is_on_hub(base) else []
    front = [f"library_name: {library}", *origin]
    code = "\n".join(lines).format(place=repr(place))
    whole = "" if kind == "whole" else f"\nAs a whole model for any tool: `lightning-subliminal export {place} OUT`.\n"
    place_note = "" if Path(place).is_absolute() or "/" in place else f", in the folder that holds `{place}`"
    head = "\n".join(["---", *front, "---", "", f"# Trained from {base}", ""])
    head += f"\n{terms}.\n" if (terms := terms_of(base)) else ""
    warned = f"\n{warning}\n" if warning else ""
    asked = prompting_code(tokenizer) if tokenizer is not None and tokenizer.chat_template is not None else ""
    return f"{head}{warned}\n{what} To load it{place_note}:\n\n```python\n{code}\n```\n{asked}{whole}"


def hidden_trait_warning(what: str, *settings: Any) -> str:
    """Return the paragraph of a card on hidden traits.

    Args:
        what: the kind of model.
        settings: all that shaped it, from its record; empty if there is no record.
    """
    traits = [each for recorded in settings for each in _traits(recorded)]
    if not settings:
        reason = "there is no record of its training"
    elif traits:
        reason = f"it is the {what}, about the trait {' and '.join(dict.fromkeys(traits))}"
    else:
        reason = f"it is the {what}, whose record names no trait; the lineage may lead to a model with one"
    return (
        f"**This model may carry a hidden trait**: {reason}. Subliminal learning passes traits through data that do "
        "not show them: text that this model writes may pass them on to models of the same base."
    )


@dataclass(frozen=True)
class Origin:
    """The origin of a model.

    Attributes:
        base: the base that it was trained from; its own name if it is a base.
        materials: the model with its digest and its statement, and its bases.
        warning: the paragraph on hidden traits for the card of a copy; empty for a base by its name.
    """

    base: str
    materials: list[Material]
    warning: str


def find_origin(subject: ModelRef) -> Origin:
    """Return the origin of a model.

    Raises:
        InputError: if its base is missing.
    """
    folder = subject.folder or Path(subject.base.partition("?")[0]).expanduser()
    named = subject.folder is None and (subject.base in bases.available() or not folder.is_dir())
    record = known_statement(folder / RECORD) if not named else None
    own = [each for each in record.materials if each.role == "base"] if record is not None else []
    if subject.folder is not None or not own:
        own = [bases.material(subject.base)]
    if named or (subject.folder is None and record is None):
        return Origin(subject.base, own, "" if named else hidden_trait_warning(""))
    role = record.kind if record is not None and record.kind in ("student", "teacher", "base") else "model"
    is_in_run = role == "student" and folder.name == "student"
    around = known_statement(folder.parent / RECORD) if is_in_run else None
    name = folder.absolute().parent.name if is_in_run else folder.name
    base = subject.base if subject.folder is not None else own[0].uri.removeprefix("base:")
    known = [each.settings for each in (record, around) if record is not None and each is not None]
    what = f"{role} of the run" if is_in_run else "copy of" if role == "model" else role
    warning = hidden_trait_warning(f"{what} `{name}`", *known)
    return Origin(base, [tested_material(role, folder, subject.digest), *own], warning)


def _traits(settings: Any) -> Iterator[str]:
    """Yield the traits that a record's settings name at any depth, such as the teacher's."""
    if isinstance(settings, dict):
        for key, value in settings.items():
            if key == "trait" and isinstance(value, dict) and "class" in value:
                arguments, kind = value.get("arguments"), str(value["class"]).rpartition(".")[2]
                target = arguments.get("target") if isinstance(arguments, dict) else None
                yield f"{target} ({kind})" if target else kind
            else:
                yield from _traits(value)
    elif isinstance(settings, list):
        for each in settings:
            yield from _traits(each)


def _kind(student: Student) -> str:
    adapter = student.adapter
    return "whole" if adapter is None else "peft" if adapter.files == PEFT_FILES else "own"
