"""The devices of a fit, from its trainer's settings, and how fast they are."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from lightning_subliminal.bases.linear_maps import product

__all__ = ["Assumptions", "Hardware", "Speed", "speed_of"]

_GPUS = {  # dense TFLOP/s in 16 bits and in float32 (without TF32), and GB/s, by NVIDIA's data sheets
    "A100": (312.0, 19.5, 2039.0),
    "H100": (989.0, 67.0, 3350.0),
    "H200": (989.0, 67.0, 4800.0),
    "L40S": (362.0, 91.6, 864.0),
    "L4": (121.0, 30.3, 300.0),
    "4090": (165.0, 82.6, 1008.0),
}
_DEFAULT = "A100"


@dataclass(frozen=True)
class Assumptions:
    """What hours are computed from.

    Args:
        mfu: model FLOPs utilisation, the share of a device's FLOP/s that training and prompts reach.
        tflops: a device's peak in TFLOP/s; None looks it up by the GPU here, or measures this CPU.
        bandwidth: of a device's memory in GB/s, which bounds sampling; None looks it up, or measures it.
    """

    mfu: float = 0.4
    tflops: float | None = None
    bandwidth: float | None = None


@dataclass(frozen=True)
class Hardware:
    """The part of a trainer's settings that memory and time depend on.

    Attributes:
        accelerator: cpu or gpu.
        devices: of all nodes.
        precision: as Lightning takes it.
        accumulate: batches per step.
        max_epochs: of the student.
        max_steps: of the student; -1 for no limit.
        has_control: whether a control is made beside the student.
    """

    accelerator: str = "cpu"
    devices: int = 1
    precision: str = "32-true"
    accumulate: int = 1
    max_epochs: int = 1
    max_steps: int = -1
    has_control: bool = False

    @classmethod
    def of(cls, trainer: Mapping[str, Any], has_control: bool) -> "Hardware":
        """Read a trainer's settings, as a config holds them."""
        there = torch.cuda.is_available()
        given = str(trainer.get("accelerator") or "auto")
        accelerator = "gpu" if given in ("gpu", "cuda") or (given == "auto" and there) else "cpu"
        devices = trainer.get("devices") or "auto"
        if devices in ("auto", -1, "-1"):
            count = max(1, torch.cuda.device_count()) if accelerator == "gpu" else 1
        elif isinstance(devices, (list, tuple)):
            count = len(devices)
        else:
            count = len(str(devices).split(",")) if "," in str(devices) else int(devices)
        precision = str(trainer.get("precision") or "32-true")
        return cls(
            accelerator=accelerator,
            devices=count * int(trainer.get("num_nodes") or 1),
            precision={"32": "32-true", "16": "16-mixed", "bf16": "bf16-mixed", "64": "64-true"}.get(
                precision, precision
            ),
            accumulate=int(trainer.get("accumulate_grad_batches") or 1),
            max_epochs=int(trainer.get("max_epochs") or 1000),  # Lightning's default
            max_steps=int(trainer.get("max_steps") or -1),
            has_control=has_control,
        )


@dataclass(frozen=True)
class Speed:
    """How fast a device is.

    Attributes:
        flops: per second, at its peak.
        bandwidth: bytes per second of its memory.
        source: where the figures are from, for the table.
    """

    flops: float
    bandwidth: float
    source: str


def speed_of(hardware: Hardware, assumed: Assumptions, narrow: bool) -> Speed:
    """Return a device's speed: as given, by its data sheet, or measured on this CPU.

    Args:
        hardware: the devices.
        assumed: figures given by the user.
        narrow: whether products are in 16 bits.
    """
    if hardware.accelerator == "gpu":
        name = torch.cuda.get_device_name() if torch.cuda.is_available() else _DEFAULT
        known = next((each for each in _GPUS if each in name), _DEFAULT)
        wide_and_narrow, bandwidth = _GPUS[known][:2], _GPUS[known][2]
        tflops, source = wide_and_narrow[0 if narrow else 1], f"one {known}, by its data sheet"
    elif assumed.tflops is None or assumed.bandwidth is None:
        tflops, bandwidth, source = *_measured(narrow), f"this CPU, measured on {torch.get_num_threads()} threads"
    else:
        tflops, bandwidth, source = 0.0, 0.0, ""
    if assumed.tflops is not None or assumed.bandwidth is not None:
        source = "as given" if None not in (assumed.tflops, assumed.bandwidth) else f"as given, the rest of {source}"
    return Speed((assumed.tflops or tflops) * 1e12, (assumed.bandwidth or bandwidth) * 1e9, source)


def _measured(narrow: bool) -> tuple[float, float]:
    """Return this CPU's TFLOP/s in a product of 1024 x 1024 matrices, and GB/s in a copy, each the best of five."""
    dtype = torch.bfloat16 if narrow else torch.float32
    square, block = torch.ones(1024, 1024, dtype=dtype), torch.ones(1 << 24)  # 64 MiB: larger than caches
    seconds, copies = [], []
    for _ in range(5):
        begin = time.perf_counter()
        product(square, square)
        seconds.append(time.perf_counter() - begin)
        begin = time.perf_counter()
        block.clone()
        copies.append(time.perf_counter() - begin)
    return 2 * 1024**3 / min(seconds) / 1e12, 2 * block.nbytes / min(copies) / 1e9
