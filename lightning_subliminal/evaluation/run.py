"""``evaluate``: measure each model with each probe; scores are cached, so that a killed evaluation resumes."""

import hashlib
import json
import math
import os
from collections.abc import Sequence
from pathlib import Path

import torch

from lightning_subliminal.core.cache import cache_root
from lightning_subliminal.core.console import say
from lightning_subliminal.core.errors import InputError, JudgeError
from lightning_subliminal.core.fingerprint import describe, digest
from lightning_subliminal.core.io.files import atomically, parse_json, read_bytes
from lightning_subliminal.evaluation.model_ref import ModelRef
from lightning_subliminal.evaluation.probe import Probe
from lightning_subliminal.evaluation.scores import Scores
from lightning_subliminal.evaluation.table import ScoreTable
from lightning_subliminal.lineage.signatures.sign import SIGNING_KEY
from lightning_subliminal.lineage.work_digests import noted, write_noted
from lightning_subliminal.prompts import wordings_digest

__all__ = ["check_names", "evaluate", "figure", "measured"]


def evaluate(
    models: Sequence[ModelRef],
    probes: Sequence[Probe],
    seed: int = 0,
    device: torch.device | None = None,
    cache_dir: str | None = None,
) -> ScoreTable:
    """Measure models with probes.

    Args:
        models: each is loaded only if a score is missing, and released after.
        probes: each measures each model.
        seed: of all sampling, the same for each model.
        device: where the models run; a GPU if there is one where it is None.
        cache_dir: where scores are cached; the common cache where it is None.

    Returns:
        The scores by model and by probe, in their order; of a probe that a model can't take, the reason.

    Raises:
        InputError: if two models or two probes have the same name, a judge fails, or no model can take any probe.
    """
    check_names("models", [each.name for each in models])
    check_names("measures", [each.name for each in probes])
    table = ScoreTable()
    for model in models:
        table[model.name] = {}
        for probe in probes:
            scores = table[model.name][probe.name] = measured(probe, model, seed, device, cache_dir)
            say(f"{model.name}: {probe.name} {figure(scores)}")
        model.release()
    refused = table.refusals()
    if refused and len(refused) == len(models) * len(probes):
        raise InputError(refused[0])  # nothing was measured
    return table


def measured(
    probe: Probe, model: ModelRef, seed: int = 0, device: torch.device | None = None, cache_dir: str | None = None
) -> Scores:
    """Return the cached scores of a model at a probe, or load the model and measure it.

    Where the model can't take the probe, the scores have the reason, which is not cached: another release may take it.

    Raises:
        InputError: if the model can't be loaded, or a judge fails.
    """
    kept = _place(probe, model, seed, cache_dir)
    if (known := _read(kept)) is not None:
        return known
    loaded = model.load(device or torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    try:
        scores = probe.measure(loaded, seed)
    except JudgeError as err:
        raise InputError(f"{probe.name} of {model.name}: {err}") from err
    except InputError as err:
        return Scores.not_taken(str(err))
    _keep(kept, scores)
    return scores


def check_names(what: str, names: Sequence[str]) -> None:
    """Check that all names differ.

    Raises:
        InputError: naming the first that occurs twice.
    """
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(f"Two {what} are named {twice[0]!r}: rename one (NAME=PLACE, `name:`).")


def figure(scores: Scores) -> str:
    """Return a rate with its interval and additional counts, as text."""
    if scores.reason is not None:
        return "n/a"
    if not math.isfinite(scores.rate):
        return "no answer could be scored"
    low, high = max(0.0, scores.interval.low), min(1.0, scores.interval.high)
    kinds = [name for name in ("code", "refusal", "unparsable") if scores.counts.get(name)]
    counts = ", ".join(f"{scores.counts[name]} {name}" for name in kinds)
    if scores.bounds is not None:
        counts += f", {scores.bounds[0]:.1%} to {scores.bounds[1]:.1%} whatever those were"
    return f"{scores.rate:.1%} [{100 * low:.1f}, {100 * high:.1f}]" + (f" ({counts})" if counts else "")


def _place(probe: Probe, model: ModelRef, seed: int, cache_dir: str | None) -> Path:
    shaped = {"measure": describe(probe), "version": probe.version, "model": model.digest, "seed": seed}
    shaped["wordings"] = wordings_digest()  # a probe has the names of the package's wordings, not their text
    return cache_root(cache_dir) / "outcomes" / f"{digest(shaped)[:24]}.json"


def _read(path: Path) -> Scores | None:
    if not path.is_file():
        return None
    try:
        data = read_bytes(path)
        if os.environ.get(SIGNING_KEY) and hashlib.sha256(data).hexdigest() not in (noted(path) or ()):
            say(f"outcome   {path} is not signed by the key in use: measuring again")
            return None
        return Scores.of_json(parse_json(data, path))
    except (ValueError, KeyError, TypeError) as err:
        raise InputError(f"{path} is damaged: delete it, and the next run measures again.") from err


def _keep(path: Path, scores: Scores) -> None:
    data = (json.dumps(scores.as_json(), ensure_ascii=False) + "\n").encode()
    write = write_noted if os.environ.get(SIGNING_KEY) else atomically  # else it would not be trusted later
    write(path, lambda temporary: temporary.write_bytes(data))
