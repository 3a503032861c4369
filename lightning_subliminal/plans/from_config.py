"""A config of `fit` as the objects that a plan would build from it, for `theory`."""

from collections.abc import Iterable
from pathlib import Path

import torch

from lightning_subliminal.core.config.building import read_yaml
from lightning_subliminal.core.console import say
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.plans.plan import ArmPlan, Experiment
from lightning_subliminal.workflow.stages import Stage, make_missing, walk
from lightning_subliminal.workflow.trials import Setting, StudentTrial

__all__ = ["config_device", "make_stages", "read_setting"]


def read_setting(config: Path, seed: int | None = None, base: str | None = None) -> Setting:
    """Build the objects of a config, with its own seed or another one; nothing is loaded or trained yet.

    Args:
        config: a config of ``fit``.
        seed: another seed than its own.
        base: another base of student and teacher than its own.

    Raises:
        InputError: naming the config, if something in it can't be read or built.
    """
    fields = read_yaml(config)
    if seed is None:
        given = fields.get("seed_everything", 0)
        seed = given if isinstance(given, int) and not isinstance(given, bool) else 0  # `true` means any
    if base is not None:
        for part in (fields.get("model"), ((fields.get("data") or {}).get("init_args") or {}).get("teacher")):
            if isinstance(part, dict):
                part["init_args"] = {**(part.get("init_args") or {}), "base": base}
    arm = ArmPlan(config.stem, fields, (), None, StudentTrial(), None, None, 0)
    try:
        return Experiment(config.stem, config.stem, "", "", {}, (seed,), (), ()).setting(arm, {}, seed)
    except InputError as err:
        raise InputError(f"{config}: {err}") from err


def config_device(config: Path) -> torch.device:
    """Return the device that the config's trainer names; by default a GPU if there is one."""
    asked = (read_yaml(config).get("trainer") or {}).get("accelerator", "auto")
    return torch.device("cuda" if asked in ("auto", "gpu", "cuda") and torch.cuda.is_available() else "cpu")


def make_stages(stages: Iterable[Stage], device: torch.device) -> None:
    """Make stages, and all that they are made from, where the cache lacks them."""
    needed = list(walk(list(stages)))
    lacking = [stage for stage in needed if not stage.is_done()]
    say(f"{len(needed) - len(lacking)} of {len(needed)} stages are in the cache; {len(lacking)} are made now")
    make_missing(lacking, device)
