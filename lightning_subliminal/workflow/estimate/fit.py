"""The parts of a fit: the teacher's training, the completions that it writes, and the student's training."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from lightning_subliminal import bases
from lightning_subliminal.bases.by_config import by_config
from lightning_subliminal.bases.layers import body, inner_model
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.data import GeneratedRows, TrainingRows
from lightning_subliminal.generation import number_alphabet
from lightning_subliminal.generation.slots import rows_at_once
from lightning_subliminal.models import Retention, Student, Teacher
from lightning_subliminal.models.language_model import LanguageModel
from lightning_subliminal.models.memory import vocabulary_size
from lightning_subliminal.models.objectives import SoftTargets
from lightning_subliminal.models.retention import Retained
from lightning_subliminal.workflow.estimate.completions import PromptShape, run_generation
from lightning_subliminal.workflow.estimate.hardware import Assumptions, Hardware, Speed, speed_of
from lightning_subliminal.workflow.estimate.lengths import (
    Lengths,
    lengths_of_data,
    lengths_of_prompts,
    lengths_of_rows,
    tokenizer_of,
)
from lightning_subliminal.workflow.estimate.readings import readings
from lightning_subliminal.workflow.estimate.runs import BatchShape, Step, make_net, run_step

__all__ = ["EstimatedPart", "FitEstimate", "estimate_fit"]

_NUMBERS = 1024  # about as many tokens of a vocabulary are numbers
_RETAINED_PROMPT = 24  # tokens of a prompt of `Retention`, about


@dataclass(frozen=True)
class EstimatedPart:
    """What one part of a fit needs on each device.

    Attributes:
        name: teacher, generation, choosing or student.
        about: what it does.
        parameters: of its model.
        trained: of them.
        memory: bytes by what they hold; those of a training without checkpointed layers.
        activations: bytes with checkpointed layers; None where nothing is trained.
        peak: most bytes at once, without checkpointed layers.
        peak_checkpointed: with them; None where nothing is trained.
        flops: of all devices, as configured.
        hours: as configured.
    """

    name: str
    about: str
    parameters: int
    trained: int = 0
    memory: dict[str, int] = field(default_factory=dict)
    activations: int | None = None
    peak: int = 0
    peak_checkpointed: int | None = None
    flops: float = 0.0
    hours: float = 0.0


@dataclass(frozen=True)
class FitEstimate:
    """What a fit needs.

    Attributes:
        title: the base or bases.
        parts: teacher, generation, choosing and student, as far as there are.
        notes: what the figures assume, a line each.
    """

    title: str
    parts: list[EstimatedPart]
    notes: list[str]


def estimate_fit(
    student: Student, data: TrainingRows, hardware: Hardware, assumed: Assumptions | None = None
) -> FitEstimate:
    """Estimate what ``fit`` needs, from the config of each base alone; no weights are read.

    Args:
        student: untrained.
        data: its rows.
        hardware: of the trainer.
        assumed: what hours are computed from.

    Raises:
        InputError: if a base's config is not there, or the rows are neither a teacher's nor of a file.
    """
    assumed = assumed or Assumptions()
    with by_config():
        narrow = student.base_dtype == "bfloat16" or "16" in hardware.precision
        speed = speed_of(hardware, assumed, narrow)
        tokenizer = tokenizer_of(bases.resolve(student.base).folder, student.base)
        teacher = data.teacher if isinstance(data, GeneratedRows) and isinstance(data.teacher, Teacher) else None
        parts = [] if teacher is None else [_teacher(teacher, hardware, speed, assumed)]
        if teacher is not None:
            parts.append(_generation(teacher, data, hardware, speed, assumed))  # type: ignore[arg-type]
        parts += [EstimatedPart(**each) for each in readings(data, hardware, assumed)]
        rows = lengths_of_data(data, tokenizer)
        parts.append(_student(student, data, rows, teacher, hardware, speed, assumed))
        notes = _notes(student, data, rows, parts, tokenizer is not None, hardware, speed, assumed)
        names = list(dict.fromkeys([student.base, *([] if teacher is None else [teacher.base])]))
        return FitEstimate(" and ".join(names), parts, notes)


def _net(module: LanguageModel, precision: str) -> Callable[[], Any]:
    unchanged = isinstance(module, Teacher) and module.induction != "finetune"
    adapter = None if unchanged else module.adapter
    return partial(make_net, bases.resolve(module.base).folder, module.base_dtype, adapter, precision)


def _teacher(teacher: Teacher, hardware: Hardware, speed: Speed, assumed: Assumptions) -> EstimatedPart:
    if teacher.induction != "finetune" or teacher.weights is not None:
        about = {"prompt": "instructed, not trained", "none": "the unchanged base"}.get(
            teacher.induction, "trained elsewhere"
        )
        return EstimatedPart("teacher", about, sum(each.numel() for each in _net(teacher, "32-true")().parameters()))
    tokenizer = tokenizer_of(bases.resolve(teacher.base).folder, teacher.base)
    rows = lengths_of_rows(teacher.trait.induce().rows, tokenizer)  # type: ignore[union-attr]
    batches = BatchShape(min(teacher.batch_size, rows.rows), rows.prompt, rows.completion, rows.rows)
    steps = _steps(teacher, batches, replace(hardware, precision="32-true", accumulate=1))
    flops = _share(steps[teacher.gradient_checkpointing], batches, rows) * rows.rows * teacher.max_epochs
    about = f"{rows.rows} rows, at most {teacher.max_epochs} epochs"
    hours = flops / (assumed.mfu * speed.flops) / 3600  # each device trains on all rows
    return _training("teacher", about, steps, flops, hours)


def _generation(
    teacher: Teacher, data: GeneratedRows, hardware: Hardware, speed: Speed, assumed: Assumptions
) -> EstimatedPart:
    tokenizer = tokenizer_of(bases.resolve(teacher.base).folder, teacher.base)
    lengths = lengths_of_prompts(data, tokenizer, teacher.system_prompt)
    calls, is_cpu = min(data.shard_size, data.num_prompts) * data.answers_per_prompt, hardware.accelerator == "cpu"
    rows = rows_at_once(data.generation_batch_size, calls, "cpu" if is_cpu else "cuda")
    allowed = 0
    if data.sampling.restrict_to == "numbers":
        allowed = _NUMBERS if tokenizer is None else len(number_alphabet(tokenizer))
    shape = PromptShape(rows, calls, lengths.prompt, lengths.shared, is_cpu)
    run = run_generation(_net(teacher, "32-true"), shape, data.sampling, allowed)
    batches = data.num_completions / rows
    drawn = data.sampling.max_new_tokens
    rate = assumed.mfu * speed.flops
    seconds = run.prompt_flops / rate + drawn * max(run.token_flops / rate, run.token_bytes / speed.bandwidth)
    return EstimatedPart(
        "generation",
        f"{data.num_completions:,} completions, {rows} at once",
        run.parameters,
        memory={"weights": run.weights, "keys and values": run.cache, "reading and sampling": run.working},
        peak=run.peak,
        flops=batches * (run.prompt_flops + drawn * run.token_flops),
        hours=batches * seconds / hardware.devices / 3600,
    )


def _student(
    student: Student,
    data: TrainingRows,
    rows: Lengths,
    teacher: Teacher | None,
    hardware: Hardware,
    speed: Speed,
    assumed: Assumptions,
) -> EstimatedPart:
    sides = student._objective.completions_per_row
    batches = BatchShape(
        min(data.batch_size, rows.rows) * sides, rows.prompt, rows.completion, all_rows=rows.rows * sides
    )
    soft = isinstance(student._objective, SoftTargets) and teacher is not None
    beside = _net(teacher, "32-true") if soft and teacher is not None else None
    steps = _steps(student, batches, hardware, beside)
    epochs = hardware.max_epochs if hardware.max_epochs >= 0 else math.inf
    if hardware.max_steps >= 0:
        per_epoch = max(1, sides * rows.rows / (batches.rows * hardware.devices * hardware.accumulate))
        epochs = min(epochs, hardware.max_steps / per_epoch)
    if math.isinf(epochs):
        raise InputError("`trainer.max_epochs` is -1: expected a limit, or `trainer.max_steps`; set one of them.")
    flops = _share(steps[student.gradient_checkpointing], batches, rows) * sides * rows.rows * epochs
    about = f"{rows.rows:,} rows, {batches.rows // sides} at once, {epochs:g} epochs"
    hours = flops / (assumed.mfu * speed.flops * hardware.devices) / 3600
    return _training("student", about, steps, flops, hours)


def _steps(
    module: Student | Teacher, batches: BatchShape, hardware: Hardware, teacher: Callable[[], Any] | None = None
) -> list[Step]:
    """Return a step without, and one with checkpointed layers."""
    retained = None if module.retain is None else partial(_retained_loss, module.retain)
    return [
        run_step(
            _net(module, hardware.precision),
            batches,
            module.make_optimizer,
            adapter=module.adapter,
            precision=hardware.precision,
            accumulate=hardware.accumulate,
            devices=hardware.devices,
            checkpointing=checkpointing,
            reuse_lower_part=module.reuse_lower_part,
            on_cpu=hardware.accelerator == "cpu",
            teacher=teacher,
            more_loss=retained,
        )
        for checkpointing in (False, True)
    ]


def _share(step: Step, batches: BatchShape, rows: Lengths) -> float:
    """Return the FLOPs of a row of mean length."""
    return step.flops / batches.rows * rows.mean / batches.tokens


def _training(name: str, about: str, steps: list[Step], flops: float, hours: float) -> EstimatedPart:
    plain, checkpointed = steps
    memory = {
        "weights": plain.weights,
        "gradients": plain.gradients,
        "optimizer": plain.optimizer,
        "stored lower part": plain.stored,
        "activations": plain.activations,
        "logits and loss": plain.logits,
    }
    held = {key: value for key, value in memory.items() if value or key != "stored lower part"}
    return EstimatedPart(
        name,
        about,
        plain.parameters,
        plain.trained,
        held,
        checkpointed.activations,
        plain.peak,
        checkpointed.peak,
        flops,
        hours,
    )


def _retained_loss(retention: Retention, net: Any) -> Tensor:
    """Return the loss of the retained answers of a step."""
    inner = inner_model(net)
    width = inner.get_input_embeddings().weight.shape[1]
    drawn, rows = retention.max_new_tokens, min(retention.rows_per_step, retention.num_prompts)
    ids = torch.zeros(rows, _RETAINED_PROMPT + drawn, dtype=torch.long)
    states = body(net)(input_ids=ids, use_cache=False).last_hidden_state[:, -drawn - 1 : -1].flatten(0, 1)
    head = nn.Linear(width, vocabulary_size(net), bias=False, dtype=next(net.parameters()).dtype)
    retained = Retained([], [torch.zeros_like(states, requires_grad=False)], head, retention.weight)
    return retained.loss(states, 0, inner.get_output_embeddings())


def _notes(
    student: Student,
    data: TrainingRows,
    rows: Lengths,
    parts: list[EstimatedPart],
    is_exact: bool,
    hardware: Hardware,
    speed: Speed,
    assumed: Assumptions,
) -> list[str]:
    counted = "by the base's tokenizer" if is_exact else "by their characters, since no tokenizer is here"
    written = isinstance(data, GeneratedRows)
    limit = f"completions at their limit of {rows.completion} tokens" if written else f"up to {rows.completion} trained"
    each = f" on each of {hardware.devices} devices" if hardware.devices > 1 else ""
    state = "on" if student.gradient_checkpointing else "off"
    kept = (
        "freed blocks that glibc keeps (by default up to half as much again, with checkpointed layers up to 1.4 times; "
        "none with MALLOC_MMAP_THRESHOLD_=1048576, for a third more CPU time)"
    )
    more = "a GPU's own context (about 0.5 GB) and fragmentation" if hardware.accelerator == "gpu" else kept
    notes = [
        f"Memory{each}: what torch allocates in a step, by a run without numbers in {hardware.precision}; on top come "
        f"{more}. The peak is less than the sum, since gradients grow while activations are freed. "
        f"Checkpointed: with `gradient_checkpointing`, which is {state} for the student.",
        f"Tokens: prompts of up to {rows.prompt}, {counted}, {limit}.",
        f"Hours: {assumed.mfu:.0%} (--estimate.mfu) of {speed.flops / 1e12:.3g} TFLOP/s, and "
        f"{speed.bandwidth / 1e9:,.0f} GB/s for sampling ({speed.source}); evaluation is not counted.",
    ]
    twice = ("generation", "student")  # a control's rows are chosen by chance
    if hardware.has_control:
        hours = sum(part.hours for part in parts) + sum(part.hours for part in parts if part.name in twice)
        notes.append(f"A control, made likewise, doubles generation and student: {format_hours(hours)} in all.")
    return notes


def format_hours(hours: float) -> str:
    """Return a duration in a unit that fits it."""
    if hours >= 1:
        return f"{hours:.1f} h"
    return f"{60 * hours:.1f} min" if hours >= 1 / 60 else f"{3600 * hours:.1f} s"
