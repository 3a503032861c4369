"""screen reference: what a base's own rows look like in a student's space."""

from pathlib import Path
from typing import Any, Literal

__all__ = ["reference"]


def reference(
    base: str,
    carrier: str | None = None,
    prompts: int = 24_000,
    prompts_from: Path | None = None,
    layers: list[int] = [],  # noqa: B006 - jsonargparse reads it, nothing changes it
    space: str = "steering",
    dtype: Literal["float32", "bfloat16"] = "float32",
    teachers: bool = False,
    out: Path | None = None,
) -> None:
    """Make a reference: what a base's own rows look like in a student's space.

    Args:
        base: the model that students would start from.
        carrier: numbers, code or math; or a config of `fit`, whose data section has prompts, sampling and filters.
            By default numbers; with --prompts-from plain sampling and no filter.
        prompts: number of prompts that the base answers; at least 20,000 rows should pass the filters.
        prompts_from: a data set to be screened: the base answers its prompts instead of the carrier's.
        layers: those that students train; by default all layers of a pocket base, one of a larger base.
        space: what students train: steering, one vector a layer; or lora4/512, the factors of LoRA of rank 4 in all
            layers, projected at random on 512 numbers.
        dtype: type of the base's weights, here and in screens by this reference: bfloat16 halves time and memory of a
            large base on a processor or GPU that has it.
        teachers: also train a teacher of each preference of the catalogue: with them, a trait is named from fewer rows;
            ten minutes on a pocket base.
        out: a file to write it to, besides the cache.
    """
    from lightning_subliminal.core.console import hush, say
    from lightning_subliminal.plans.screen_reference import make_reference_file

    hush()
    path = make_reference_file(
        *(base, carrier, prompts, layers or None, out, _device(), teachers),
        prompts_from=prompts_from,
        space=space,
        dtype=dtype,
    )
    say(f"reference {out or path}")


def _device() -> Any:
    import torch

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
