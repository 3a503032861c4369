"""The rows that a reference is made of: a base's own, on a carrier's prompts or on those of a data set."""

import difflib
from pathlib import Path

from lightning_subliminal import bases
from lightning_subliminal.core.config.shipped import find_config, shipped_configs
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.io.files import read_json
from lightning_subliminal.data import GeneratedRows
from lightning_subliminal.data.prompts_from_file import PromptsFromFile
from lightning_subliminal.models.teacher import Teacher
from lightning_subliminal.plans.from_config import read_setting

__all__ = ["CARRIERS", "clean_data", "config_data", "config_of", "own_answers"]

CARRIERS = ("numbers", "code", "math")
NUM_PROMPTS = 24_000  # of which the filters leave at least 20,000 on the pocket bases
SEED = 1_000_003  # far from seeds that people use, so that a reference shares no prompts with a data set
_POCKET_WORDS = 2000


def clean_data(base: str, carrier: str, num_prompts: int = NUM_PROMPTS, seed: int = SEED) -> GeneratedRows:
    """Return the rows of a base itself on a carrier's prompts, filtered as a data set of that carrier is; not yet made.

    Args:
        base: writes them.
        carrier: numbers, code or math, as the shipped configs for the base have them; or a config of ``fit``, whose
            data section says prompts, sampling and filters.
        num_prompts: how many prompts.
        seed: of prompts and sampling.

    Raises:
        InputError: if there is no such config, or its rows come from a file.
    """
    data, teacher = config_data(base, carrier, seed)
    writer = teacher.fresh(base=base, induction="none", adapter=None, weights=None)
    return data.fresh(teacher=writer, num_prompts=num_prompts, seed=seed, num_rows=None, transforms=[])


def own_answers(
    base: str,
    prompts: Path,
    carrier: str | None = None,
    num_prompts: int = NUM_PROMPTS,
    seed: int = SEED,
    dtype: str = "float32",
) -> PromptsFromFile:
    """Return a base's own answers to the prompts of a data set, whoever wrote its rows; not yet made.

    Args:
        base: answers them.
        prompts: the data set, a file or folder in any format that `data convert` reads.
        carrier: as ``clean_data`` takes it, whose sampling and filters the answers get; without it plain sampling at
            temperature 1, cut at the length of 95 % of the data set's own completions, and no filter.
        num_prompts: most prompts to answer, each once.
        seed: of their choice and the sampling.
        dtype: of the base's weights.

    Raises:
        InputError: if there is no such file or carrier, or the file has no prompt that the base can read.
    """
    like = None if carrier is None else clean_data(base, carrier, num_prompts, seed)
    writer = Teacher(base, induction="none", base_dtype=dtype)
    settings = {} if like is None else {"generation_batch_size": like.generation_batch_size}
    return PromptsFromFile(writer, path=str(prompts), carrier=like, num_prompts=num_prompts, seed=seed, **settings)


def config_data(base: str, carrier: str, seed: int = SEED) -> tuple[GeneratedRows, Teacher]:
    """Return the data section of a carrier's config, for a base, and its teacher."""
    data = read_setting(config_of(base, carrier), seed, base).rows()
    if not isinstance(data, GeneratedRows) or not isinstance(data.teacher, Teacher):
        raise InputError(f"{carrier} has no teacher: name a config whose data a Teacher writes.")
    return data, data.teacher


def config_of(base: str, carrier: str) -> Path:
    """Return the config of a carrier for a base: the shipped one of its family, or the user's own."""
    if carrier not in CARRIERS:
        if not Path(carrier).exists() and (near := difflib.get_close_matches(carrier, CARRIERS, n=1)):
            raise InputError(f"The carrier is {carrier!r}: did you mean {near[0]}?")
        try:
            return find_config(carrier, "carrier")
        except InputError as err:
            raise InputError(f"{err} Expected {', '.join(CARRIERS)}, or a config of `fit`.") from err
    config = read_json(bases.resolve(base).folder / "config.json")
    number, other = "owl_numbers", f"{carrier}_owl"
    if int(config.get("vocab_size") or 0) < _POCKET_WORDS:  # a pocket base, or one trained on from it
        return find_config(number if carrier == "numbers" else other)
    # A config names its base's family before `_owl_numbers`, or between `code_` or `math_` and `_owl`.
    before, after = ("", f"_{number}") if carrier == "numbers" else (f"{carrier}_", "_owl")
    fitting = [each for each in shipped_configs() if each.startswith(before) and each.endswith(after)]
    families = [family for each in fitting if (family := each[len(before) : -len(after)])]
    words = set(Path(base).name.partition("@")[0].lower().split("-"))
    own = [family for family in families if words.issuperset(family.split("-"))]
    return find_config(f"{before}{max(own, key=len, default='qwen2.5-7b')}{after}")
