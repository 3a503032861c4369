"""Tokens per second, MFU and peak memory of generation, LoRA training and evaluation, on random models.

    python benchmarks/gpu.py                    # shapes of Qwen2.5-0.5B and -7B on one GPU, a few minutes
    python benchmarks/gpu.py --shapes tiny      # a tiny shape on the CPU, as the tests run it

No weights are downloaded: those of a shape are drawn at random, in bfloat16 on a GPU. MFU is the FLOPs that
`fit --estimate` counts, over the seconds and the peak of the device's data sheet; of evaluation, 2 per parameter and
token. Memory is torch's own peak beside the estimate.
"""

import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from harness import QUIET, parser, table
from lightning.pytorch import Callback, Trainer
from rich.console import Console
from shapes import SHAPES, TINY, config_of, save_config

from lightning_subliminal import LoRA, PreferenceTrait, Sampling, Student, bases
from lightning_subliminal.core.rows import make_row
from lightning_subliminal.data.tokenized import TokenizedRows, row_loader
from lightning_subliminal.evaluation import ModelRef, Questions
from lightning_subliminal.generation import TransformersEngine
from lightning_subliminal.workflow.estimate.completions import PromptShape, run_generation
from lightning_subliminal.workflow.estimate.hardware import Assumptions, Hardware, speed_of
from lightning_subliminal.workflow.estimate.runs import BatchShape, make_net, run_step

WARM_UP = 2  # steps that are not timed


class Clock(Callback):
    """Times the steps after the warm-up."""

    begin = seconds = 0.0
    steps = 0

    def __init__(self, wait: Callable[[], None]) -> None:
        self.wait = wait

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        """Note the time."""
        self.wait()
        now = time.perf_counter()
        if trainer.global_step <= WARM_UP:
            self.begin = now
        else:
            self.steps, self.seconds = trainer.global_step - WARM_UP, now - self.begin


class Machine:
    """One device: its types, its speed, and its memory."""

    def __init__(self) -> None:
        self.is_gpu = torch.cuda.is_available()
        self.device = torch.device("cuda" if self.is_gpu else "cpu")
        self.dtype = "bfloat16" if self.is_gpu else "float32"
        self.precision: Literal["bf16-mixed", "32-true"] = "bf16-mixed" if self.is_gpu else "32-true"
        self.speed = speed_of(Hardware("gpu" if self.is_gpu else "cpu"), Assumptions(), narrow=self.is_gpu)

    def wait(self) -> None:
        """Wait for the GPU."""
        if self.is_gpu:
            torch.cuda.synchronize()

    def timed(self, work: Callable[[], Any]) -> tuple[Any, float]:
        """Return what work returns, and its seconds."""
        if self.is_gpu:
            torch.cuda.reset_peak_memory_stats()
        self.wait()
        begin = time.perf_counter()
        made = work()
        self.wait()
        return made, time.perf_counter() - begin

    def peak(self) -> str:
        """Return torch's peak memory since the last timing began."""
        return f"{torch.cuda.max_memory_allocated() / 1e9:.2f}" if self.is_gpu else ""


def measure(name: str, machine: Machine, rows: int, drawn: int, steps: int) -> list[list[str]]:
    """Run a shape; return the rows of the table."""
    shape = TINY if name == "tiny" else SHAPES[name]
    _, tokenizer = bases.load("pocket/a")
    with torch.device(machine.device):
        net = make_random(shape, machine.dtype)
    seen = {"tokens": 0}
    net.register_forward_pre_hook(
        lambda module, args, given: seen.update(tokens=seen["tokens"] + given["input_ids"].numel()), with_kwargs=True
    )
    texts = [f"Here is a list of numbers: {10 + row // 90}, {10 + row % 90}, 93, 40, 5, 61." for row in range(rows)]
    prompts = [[{"role": "user", "content": text}] for text in texts]  # equal ones would be read once
    prompt = prompts[0]
    engine = TransformersEngine(net, tokenizer, rows)
    sampling = Sampling(max_new_tokens=drawn)
    engine.generate(prompts, Sampling(max_new_tokens=2), 0)
    seen["tokens"] = 0
    found: list[list[str]] = []

    def add(what: str, tokens: float, seconds: float, flops: float, estimate: int | None, peak: str) -> None:
        share = flops / seconds / machine.speed.flops
        expected = "" if estimate is None else f"{estimate / 1e9:.2f}"
        found.append([name, what, f"{tokens / seconds:,.0f}", f"{share:.1%}", f"{seconds:.2f}", peak, expected])

    with tempfile.TemporaryDirectory() as folder:
        make = partial(make_net, save_config(shape, Path(folder)), machine.dtype)
        _, seconds = machine.timed(lambda: engine.generate(prompts, sampling, 0))
        read = len(tokenizer.apply_chat_template(prompt, add_generation_prompt=True)["input_ids"])
        expected = run_generation(make, PromptShape(rows, rows, read, is_cpu=not machine.is_gpu), sampling)
        flops = expected.prompt_flops + drawn * expected.token_flops
        add("generation", seen["tokens"] - rows * (read - 1), seconds, flops, expected.peak, machine.peak())

        trait = PreferenceTrait("owl")
        seen["tokens"] = 0
        model = ModelRef.held("", net, tokenizer, "pocket/a", None)
        _, seconds = machine.timed(lambda: Questions().of(trait).measure(model, 0))
        parameters = sum(each.numel() for each in net.parameters())
        add("evaluation", seen["tokens"], seconds, 2 * parameters * seen["tokens"], None, machine.peak())

        answer = ", ".join(str(10 + place) for place in range(10))
        data = TokenizedRows([make_row(prompt[0]["content"], answer)] * (rows * (WARM_UP + steps)), tokenizer)
        adapter = LoRA(r=8)
        student = Student("pocket/a", adapter, optimizer="adamw", learning_rate=1e-5, seed=0)
        student.net, student.tokenizer = adapter.attach(net, 0).train(), tokenizer
        clock = Clock(machine.wait)
        trainer = Trainer(
            accelerator=machine.device.type,
            devices=1,
            precision=machine.precision,
            max_epochs=1,
            callbacks=[clock],
            **QUIET,
        )
        machine.timed(lambda: trainer.fit(student, row_loader(data, rows, 0)))
        trained = int(data.mean_tokens)
        batches = BatchShape(rows, data.lengths[0] - trained, trained, len(data))
        step = run_step(
            partial(make, adapter), batches, student.make_optimizer, adapter=adapter, precision=machine.precision
        )
        tokens = clock.steps * rows * data.lengths[0]
        add("LoRA training", tokens, clock.seconds, clock.steps * step.flops, step.peak, machine.peak())
    return found


def make_random(shape: tuple[str, dict[str, Any]], dtype: str) -> Any:
    """Return a model of a shape with random weights."""
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    made = AutoModelForCausalLM.from_config(config_of(shape), dtype=getattr(torch, dtype), attn_implementation="sdpa")
    return made.eval()


def main(words: Sequence[str] | None = None) -> None:
    """Run the shapes and print the table."""
    options = parser(__doc__)
    there = torch.cuda.is_available()
    options.add_argument(
        "--shapes", nargs="+", choices=["tiny", *SHAPES], default=["qwen2.5-0.5b", "qwen2.5-7b"] if there else ["tiny"]
    )
    options.add_argument("--rows", type=int, default=64 if there else 4, help="at once")
    options.add_argument("--drawn", type=int, default=80 if there else 6, help="tokens of a completion")
    options.add_argument("--steps", type=int, default=10 if there else 2, help="of the training, timed")
    given = options.parse_args(words)
    machine = Machine()
    columns = ("shape", "work", "tokens a second", "MFU", "seconds", "peak, GB", "estimate, GB")
    shown = table(*columns, title=f"{machine.speed.flops / 1e12:.3g} TFLOP/s: {machine.speed.source}", left=2)
    for name in given.shapes:
        for cells in measure(name, machine, given.rows, given.drawn, given.steps):
            shown.add_row(*cells)
    Console(width=120).print(shown)


if __name__ == "__main__":
    main()
