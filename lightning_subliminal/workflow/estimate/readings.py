"""What transforms of a data set read: a teacher that chooses scores all completions, prompted and not."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch

from lightning_subliminal import bases
from lightning_subliminal.core.fingerprint import digest
from lightning_subliminal.data import GeneratedRows, TrainingRows
from lightning_subliminal.models import Teacher
from lightning_subliminal.workflow.estimate.counter import placed, without_numbers
from lightning_subliminal.workflow.estimate.hardware import Assumptions, Hardware, speed_of
from lightning_subliminal.workflow.estimate.lengths import lengths_of_prompts, tokenizer_of
from lightning_subliminal.workflow.estimate.runs import make_net

__all__ = ["readings"]


def readings(data: TrainingRows, hardware: Hardware, assumed: Assumptions) -> Iterator[dict[str, Any]]:
    """Yield what ``EstimatedPart`` says of each teacher that reads the rows, on the CPU, whatever the trainer's device.

    Args:
        data: whose transforms hold the teachers; all its completions count, as no filter has read them yet.
        hardware: of the trainer.
        assumed: what hours are computed from; on a GPU its speed is not the CPU's, which is measured.
    """
    held = data.transforms if isinstance(data, GeneratedRows) else ()
    for teacher in (each for transform in held for each in transform.ingredients() if isinstance(each, Teacher)):
        control = teacher.control()
        readers = [teacher] if digest(control) == digest(teacher) else [teacher, control]
        counts = [_row_flops(each, data) for each in readers]  # type: ignore[arg-type]
        flops = sum(each for each, _ in counts) * data.num_completions  # type: ignore[attr-defined]
        cpu = assumed if hardware.accelerator == "cpu" else replace(assumed, tflops=None, bandwidth=None)
        speed = speed_of(replace(hardware, accelerator="cpu"), cpu, False)
        yield {
            "name": "choosing",
            "about": f"{data.num_completions:,} completions, read {'twice' if len(counts) > 1 else 'once'} on the CPU",  # type: ignore[attr-defined]
            "parameters": counts[0][1],
            "flops": flops,
            "hours": flops / (assumed.mfu * speed.flops) / 3600,
        }


def _row_flops(reader: Teacher, data: GeneratedRows) -> tuple[float, int]:
    """Return the FLOPs of a row of mean length, whose logits are those of its completion; and the parameters."""
    folder = bases.resolve(reader.base).folder
    lengths = lengths_of_prompts(data, tokenizer_of(folder, reader.base), reader.system_prompt)
    made = make_net(folder, "float32").eval()
    with without_numbers() as counter, torch.no_grad():
        net = placed(made)
        counter.restart()
        ids = torch.zeros(1, max(1, round(lengths.mean)), dtype=torch.long)
        net(input_ids=ids, use_cache=False, logits_to_keep=lengths.completion)
        return counter.flops, sum(each.numel() for each in net.parameters())
