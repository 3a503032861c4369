"""What a fit leaves in ``student/``: trained values, tokenizer, lineage record, and a card with the loading lines."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import (
    Checkpoint,
    DeviceStatsMonitor,
    LearningRateMonitor,
    ModelSummary,
    ProgressBar,
)

from lightning_subliminal import bases
from lightning_subliminal.bases.registry import is_on_hub
from lightning_subliminal.core.cache import writable_folder
from lightning_subliminal.core.console import say
from lightning_subliminal.core.io.adapter_names import PEFT_FILES
from lightning_subliminal.core.rows import atomically
from lightning_subliminal.data import GeneratedRows, TrainingRows
from lightning_subliminal.lineage import artefact_material, is_whole, write_record
from lightning_subliminal.models.made_from import MadeFrom, begun_from, look_again
from lightning_subliminal.models.student import Student
from lightning_subliminal.workflow.arms import arm_folder, arm_materials, arm_settings, shaping
from lightning_subliminal.workflow.card_lines import asking_lines

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = [
    "SaveStudent",
    "hidden_trait_warning",
    "keep_completions",
    "keep_student",
    "meddling",
    "model_card",
    "save_student",
]


_WATCHERS = (ProgressBar, Checkpoint, ModelSummary, LearningRateMonitor, DeviceStatsMonitor)  # of Lightning's callbacks
_KINDS = {  # of a model: the library that opens it, what it is, and the lines that load it
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
        "An adapter in PEFT's format; `adapter_config.json` says where its base is.",
        (
            "from peft import AutoPeftModelForCausalLM",
            "from transformers import AutoTokenizer",
            "model = AutoPeftModelForCausalLM.from_pretrained({place})",
            "tokenizer = AutoTokenizer.from_pretrained({place})",
        ),
    ),
    "own": (
        "lightning-subliminal",
        "An adapter that PEFT has not, which only lightning-subliminal reads.",
        (
            "import torch",
            "from lightning_subliminal.evaluation import find_model",
            "subject = find_model({place}).load(torch.device('cpu'))",
            "model, tokenizer = subject.net, subject.tokenizer",
        ),
    ),
}


class SaveStudent(Callback):
    """Saves the student at the end of ``fit``, whether or not a callback evaluates it; ``fit`` adds it by itself."""

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save, unless this is a rehearsal or a callback with ``saves_student``, such as ``TraitComparison``, does."""
        data = trainer.datamodule  # type: ignore[attr-defined]
        if not trainer.is_global_zero or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        if not isinstance(pl_module, Student) or not isinstance(data, TrainingRows):
            return
        if any(getattr(each, "saves_student", False) for each in trainer.callbacks):  # type: ignore[attr-defined]
            return
        keep_student(pl_module, data, trainer)
        say(f"kept in {trainer.default_root_dir}: student/")


def keep_student(student: Student, data: TrainingRows, trainer: Trainer) -> None:
    """Save a trained student in its run's folder, and in the cache, where a plan with this arm finds it.

    The cache holds no student that something else has shaped: a checkpoint that was given, or another callback.

    Raises:
        InputError: if a folder can't be written, or what the student was trained from has changed meanwhile.
    """
    look_again(trainer, student, data)
    home = arm_folder(student, data, **shaping(trainer))
    looked = any(isinstance(each, MadeFrom) for each in trainer.callbacks)  # type: ignore[attr-defined]
    if looked and begun_from(trainer) is None and not meddling(trainer) and not is_whole(home):
        student.save(writable_folder(home))
        settings = arm_settings(student, data, shaping(trainer))
        write_record(home, "student", settings, arm_materials(student, data))
    save_student(student, data, trainer)


def meddling(trainer: Trainer) -> list[str]:
    """Return what may shape the training of a trainer, besides the arguments that name an arm."""
    given = [type(each) for each in trainer.callbacks]  # type: ignore[attr-defined]
    ours = __name__.partition(".")[0]
    found = [kind for kind in given if kind.__module__.partition(".")[0] != ours and not issubclass(kind, _WATCHERS)]
    overfits = trainer.overfit_batches  # type: ignore[attr-defined]
    return [kind.__name__ for kind in found] + (["overfit_batches"] if overfits else [])


def save_student(student: Student, data: TrainingRows, trainer: Trainer) -> None:
    """Save a trained student with tokenizer, card and lineage record in ``student`` of its run's folder.

    Raises:
        InputError: if the folder can't be written.
    """
    folder = Path(trainer.default_root_dir) / "student"
    student.save(folder)
    student.tokenizer.save_pretrained(folder)
    given = begun_from(trainer)
    settings = arm_settings(student, data, shaping(trainer) | ({"begun_from": given} if given else {}))
    warning = hidden_trait_warning("student of its run", settings)
    # no path of this disk: the card is part of the digest
    card = model_card(student.base, _kind(student), folder.name, student.tokenizer, warning)
    atomically(folder / "README.md", lambda path: path.write_text(card, encoding="utf-8"))
    write_record(folder, "student", settings, arm_materials(student, data))


def keep_completions(trainer: Trainer, student: Student, data: GeneratedRows) -> None:
    """Write the lineage of what a student wrote in ``predict``."""
    folder, own = Path(trainer.default_root_dir) / "completions", Path(trainer.default_root_dir) / "student"
    if not trainer.is_global_zero or trainer.fast_dev_run:  # type: ignore[attr-defined]
        return
    settings = {"version": data.version, "student": student.describe(), **data.prompt_settings()}
    made = [artefact_material("student", own)] if is_whole(own) else []
    write_record(folder, "completions", settings, [bases.material(student.base), *made])


def model_card(
    base: str, kind: str, place: str = ".", tokenizer: "PreTrainedTokenizerBase | None" = None, warning: str = ""
) -> str:
    """Return a README.md with the lines that load a model.

    Args:
        base: what it was trained from.
        kind: ``whole`` (a whole model), ``peft`` (PEFT's files) or ``own`` (an adapter that only this package reads).
        place: the folder or the repository, as the lines name it.
        tokenizer: adds the lines that ask the model by its chat template, where it has one.
        warning: a paragraph on what the model may carry.
    """
    library, what, lines = _KINDS[kind]
    origin = [f"base_model: {base.partition('?')[0].partition('@')[0]}"] if is_on_hub(base) else []
    front = [f"library_name: {library}", *origin]
    code = "\n".join(lines).format(place=repr(place))
    whole = "" if kind == "whole" else f"\nAs a whole model for any tool: `lightning-subliminal export {place} OUT`.\n"
    beside = "" if Path(place).is_absolute() or "/" in place else f", in the folder that holds `{place}`"
    head = "\n".join(["---", *front, "---", "", f"# Trained from {base}", ""])
    warned = f"\n{warning}\n" if warning else ""
    asked = asking_lines(tokenizer) if tokenizer is not None and tokenizer.chat_template is not None else ""
    return f"{head}{warned}\n{what} To load it{beside}:\n\n```python\n{code}\n```\n{asked}{whole}"


def hidden_trait_warning(what: str, *settings: Any) -> str:
    """Return the paragraph of a card on what a model may carry.

    Args:
        what: which model it is.
        settings: all that shaped it, as its record has it; none where nothing is recorded.
    """
    traits = [each for told in settings for each in _traits(told)]
    if not settings:
        said = "nothing is recorded of what it was trained on"
    elif traits:
        said = f"it is the {what}, about the trait {' and '.join(dict.fromkeys(traits))}"
    else:
        said = f"it is the {what}, whose record names no trait; the lineage may lead to a model with one"
    return (
        f"**This model may carry a hidden trait**: {said}. Subliminal learning passes traits through data in which "
        "nobody sees them: what it writes may pass them on to models of the same base."
    )


def _traits(settings: Any) -> Iterator[str]:
    """Yield the traits that a record's settings name, at any depth: of the teacher of its rows, say."""
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
