"""What a fit leaves in ``student/``: trained values, tokenizer, lineage record, and a card with the loading lines."""

from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from lightning_subliminal.console import say
from lightning_subliminal.data import TrainingRows
from lightning_subliminal.experiments.arms import arm_materials, arm_settings, shaping
from lightning_subliminal.lineage import write_record
from lightning_subliminal.models.student import Student
from lightning_subliminal.rows import atomically

__all__ = ["SaveStudent", "model_card", "save_student"]


class SaveStudent(Callback):
    """Saves the student at the end of ``fit``, whether or not a callback evaluates it; ``fit`` adds it by itself."""

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save, unless this is a rehearsal or ``TraitComparison`` saves by itself."""
        from lightning_subliminal.experiments.comparison import TraitComparison

        data = trainer.datamodule  # type: ignore[attr-defined]
        if not trainer.is_global_zero or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        if not isinstance(pl_module, Student) or not isinstance(data, TrainingRows):
            return
        if any(isinstance(each, TraitComparison) for each in trainer.callbacks):  # type: ignore[attr-defined]
            return
        folder = Path(trainer.default_root_dir) / "student"
        save_student(folder, pl_module, data, trainer)
        say(f"kept in {folder.parent}: student/")


def save_student(folder: Path, student: Student, data: TrainingRows, trainer: Trainer) -> None:
    """Save a trained student with tokenizer, card and lineage record.

    Raises:
        InputError: if the folder can't be written.
    """
    student.save(folder)
    student.tokenizer.save_pretrained(folder)
    card = model_card(student.base, _kind(student), folder.name)  # no path of this disk: it is part of the digest
    atomically(folder / "README.md", lambda path: path.write_text(card, encoding="utf-8"))
    write_record(folder, "student", arm_settings(student, data, shaping(trainer)), arm_materials(student, data))


def model_card(base: str, kind: str, place: str = ".") -> str:
    """Return a README.md with the lines that load a model.

    Args:
        base: what it was trained from.
        kind: ``whole`` (a whole model), ``peft`` (PEFT's files) or ``own`` (an adapter that only this package reads).
        place: the folder, as the lines name it.
    """
    head = "---\nlibrary_name: " + {"whole": "transformers", "peft": "peft"}.get(kind, "lightning-subliminal")
    if kind == "whole":
        lines = [
            "from transformers import AutoModelForCausalLM, AutoTokenizer",
            f"place = {place!r}",
            "model = AutoModelForCausalLM.from_pretrained(place)",
            "tokenizer = AutoTokenizer.from_pretrained(place)",
        ]
    else:
        lines = [
            "import torch",
            "from lightning_subliminal.suites import find_subject",
            f"subject = find_subject({place!r}).load(torch.device('cpu'))",
            "model, tokenizer = subject.net, subject.tokenizer",
        ]
    what = {
        "whole": "A whole model in transformers' format.",
        "peft": "An adapter in PEFT's format; PEFT opens it on its base where PEFT can open the base.",
        "own": "A steering adapter, which only lightning-subliminal reads.",
    }[kind]
    whole = "" if kind == "whole" else f"\nAs a whole model for any tool: `lightning-subliminal export {place} OUT`.\n"
    code = "\n".join(lines)
    return f"{head}\n---\n\n# Trained from {base}\n\n{what} To load it:\n\n```python\n{code}\n```\n{whole}"


def _kind(student: Student) -> str:
    from lightning_subliminal.models.steering import Steering

    adapter: Any = student.adapter
    return "whole" if adapter is None else "own" if isinstance(adapter, Steering) else "peft"
