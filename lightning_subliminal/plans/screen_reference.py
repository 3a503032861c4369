"""References for screens: shipped ones, those in the cache, and how one is made for a base and a carrier."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from lightning_subliminal import bases
from lightning_subliminal.bases.lookup import find_folder
from lightning_subliminal.bases.tokenizers import read_tokenizer
from lightning_subliminal.core.cache import cache_root, writable_folder
from lightning_subliminal.core.chat.encoding import frame
from lightning_subliminal.core.console import say
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.fingerprint import digest
from lightning_subliminal.core.io.files import read_json
from lightning_subliminal.data import GeneratedRows
from lightning_subliminal.lineage import artefact_material, write_record
from lightning_subliminal.models.adapters import Steering
from lightning_subliminal.models.adapters.files import read_adapter
from lightning_subliminal.models.student import Student
from lightning_subliminal.plans.clean_rows import (
    CARRIERS,
    NUM_PROMPTS,
    SEED,
    clean_data,
    config_data,
    config_of,
    own_answers,
)
from lightning_subliminal.plans.from_config import read_setting
from lightning_subliminal.screening.catalogue import measure_catalogue
from lightning_subliminal.screening.detectors import RunningSums
from lightning_subliminal.screening.reference import FEWEST, Reference, make_reference
from lightning_subliminal.theory.newton import NEWTON_RIDGE
from lightning_subliminal.theory.row_gradients import ScoreSpace
from lightning_subliminal.theory.score_spaces import score_space
from lightning_subliminal.traits.preference import PreferenceTrait

__all__ = ["CARRIERS", "clean_data", "find_reference", "load_space", "make_reference_file", "own_answers"]

TEACHER_UNTIL, TEACHER_SEED = 0.75, 10_007  # of known teachers: others than the teachers of shipped configs
TEACHER_PROMPTS, TEACHER_ROWS_SEED = 2048, 3_000_003
CLEAR = 5.0  # q over the space's size: (5 - 1) / 5 is the squared cosine of a measured mean with the true one
MOST = 1024  # numbers of a space, whose covariance 20,000 rows tell well
FILE = "reference.safetensors"
PROMPTS_OF = "prompts of "  # how the carrier of a reference begins that has a data set's prompts
_SHIPPED = Path(__file__).parents[1] / "screening" / "references"


def default_layers(base: str, space: str = "steering") -> list[int] | None:
    """Return the layers of a student's space: those that the shipped config for the base steers, else the middle one.

    Returns:
        None, for all layers, if they have at most 1,024 numbers together, as those of a pocket base, and for any other
        space than ``steering``.
    """
    if space != "steering":
        return None
    config = read_json(bases.resolve(base).folder / "config.json")
    depth, width = (int(config.get(name) or 0) for name in ("num_hidden_layers", "hidden_size"))
    if depth * width <= MOST:
        return None
    model = read_setting(config_of(base, "numbers"), SEED, base).model
    known = model.adapter.layers if isinstance(model, Student) and isinstance(model.adapter, Steering) else None
    return known or [depth // 2]


def _wording(base: str) -> str:
    """Return the wording of questions that the shipped config for a base has."""
    trait = config_data(base, "numbers")[1].trait
    return trait.wording if isinstance(trait, PreferenceTrait) else "preferences"


def load_space(
    base: str, layers: list[int] | None, device: torch.device, space: str = "steering", dtype: str = "float32"
) -> tuple[ScoreSpace, object]:
    """Load a base as a student's space at its layers, named as ``score_space`` reads it, and its tokenizer."""
    net, tokenizer = bases.load(base, dtype=dtype)
    net.requires_grad_(False)
    return score_space(net.to(device), layers, space), tokenizer


def make_reference_file(
    base: str,
    carrier: str | None = None,
    num_prompts: int = NUM_PROMPTS,
    layers: list[int] | None = None,
    out: Path | None = None,
    device: torch.device | None = None,
    teachers: bool = False,
    prompts_from: Path | None = None,
    space: str = "steering",
    dtype: str = "float32",
    check: Callable[[GeneratedRows], None] | None = None,
) -> Path:
    """Make a reference, or find it in the cache; return its file.

    Args:
        base: whose own rows they are.
        carrier: as ``clean_data`` takes it; numbers where it is None and there are no prompts of your own.
        num_prompts: how many prompts the base answers.
        layers: of the student's space; ``default_layers`` where it is None.
        out: a file to write besides the cache.
        device: where to compute; the CPU where it is None.
        teachers: train a teacher of each preference of the catalogue, too, to look for its displacement. Sets are
            named by half as many rows then; on a pocket base it takes ten minutes.
        prompts_from: a data set, whose prompts the base answers instead of the carrier's: see ``own_answers``.
        space: what the student trains, as ``score_space`` reads it.
        dtype: of the base's weights, float32 or bfloat16; teachers write and are trained in float32.
        check: called with the clean rows before they are made, to refuse them.

    Raises:
        InputError: as ``clean_data`` and ``make_reference``.
    """
    device = device or torch.device("cpu")
    if out is not None:
        if out.is_dir():
            raise InputError(f"{out} is a folder: name a file for the reference.")
        writable_folder(out.parent, keep=False)  # before hours of work
    layers = default_layers(base, space) if layers is None else layers
    if teachers and prompts_from is not None:
        raise InputError("`teachers` needs a carrier, whose config says how they are trained: leave out prompts_from.")
    data: GeneratedRows
    if prompts_from is not None:
        data = own_answers(base, prompts_from, carrier, num_prompts, dtype=dtype)
        name = f"{PROMPTS_OF}{prompts_from.name}"
    else:
        name = carrier or "numbers"
        data = clean_data(base, name, num_prompts)
        if dtype != "float32":
            data = data.fresh(teacher=data.teacher.fresh(base_dtype=dtype))  # type: ignore[attr-defined]
    settings = _settings(data, layers, teachers, space)
    folder = cache_root() / "references" / digest(settings)[:16]
    if not (folder / "lineage.json").is_file():
        if check is not None:
            check(data)
        frame(read_tokenizer(find_folder(base), base))  # refuses a base without a chat template before any work
        loaded, tokenizer = load_space(base, layers, device, space, dtype)  # refuses a wrong space before any work
        if data.num_prompts < (least := max(FEWEST, loaded.size)):
            more = "raise `prompts`" if prompts_from is None else f"add rows with other prompts to {prompts_from}"
            raise InputError(
                f"Prompts that {base} would answer: {data.num_prompts:,}; a reference has at least {least:,} rows, "
                f"better 20,000: {more}."
            )
        whose = PROMPTS_OF + name.removeprefix(PROMPTS_OF)
        say(f"reference {base} answers {data.num_prompts:,} {whose}, once: kept in {folder}")
        data.make(device)
        catalogue = measure_catalogue(loaded, tokenizer, wording=_wording(base))
        if catalogue.left_out:
            say(f"catalogue {len(catalogue.left_out)} answers that {base} cannot spell are left out")
        digest_now = bases.resolve(base).digest
        reference = make_reference(
            loaded, tokenizer, data.rows(), catalogue, base=base, base_digest=digest_now, carrier=name
        )
        if teachers:
            reference = add_teachers(reference, loaded, tokenizer, device)
        folder.mkdir(parents=True, exist_ok=True)
        reference.save(folder / FILE)
        materials = [bases.material(base), artefact_material("rows", data.folder)]
        write_record(folder, "reference", settings, materials)
        say(f"reference {reference.rows:,} clean rows of {base}, kept in {folder}")
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_bytes((folder / FILE).read_bytes())
    return folder / FILE


def find_reference(
    base: str, carrier: str, layers: list[int] | None = None, check: Callable[[GeneratedRows], None] | None = None
) -> Reference:
    """Return the reference of a base and a carrier: the shipped one, else that of the cache, which is made first.

    Arguments are those of ``make_reference_file``.

    Raises:
        InputError: if the reference was made for other weights than the base has now.
    """
    shipped = _SHIPPED / f"{base.replace('/', '-')}-{carrier}.safetensors"
    found = Reference.load(
        shipped
        if layers is None and shipped.is_file()
        else make_reference_file(base, carrier, layers=layers, check=check)
    )
    check_base(found, base)
    return found


def check_base(reference: Reference, base: str) -> None:
    """Refuse a reference of other weights.

    Raises:
        InputError: naming both digests.
    """
    now = bases.resolve(base).digest
    if reference.base_digest != now:
        raise InputError(
            f"The reference is of {reference.base} with digest {reference.base_digest[:12]}, {base} has {now[:12]}: "
            f"make one with `screen reference --base {base}`."
        )


def add_teachers(reference: Reference, space: ScoreSpace, tokenizer: object, device: torch.device) -> Reference:
    """Return a reference with the displacement of a teacher for each preference of its catalogue.

    The teachers are those of the carrier's config, with another target and another seed each, and trained less. A
    displacement is the Newton step of rows that the teacher writes, F^-1 (mean score), so it is good for a teacher with
    any adapter, and for rows that the first-order effect of its vectors does not describe; of a teacher of which the
    filters leave too few rows for a cosine of 0.9, it is those vectors; in another space than that of steering such a
    teacher is left out.
    """
    data, teacher = config_data(reference.base, reference.carrier)
    words = [each for each in reference.catalogue.answers if each.category != "word"]
    found: dict[str, Tensor] = {}
    for each in words:
        trait = PreferenceTrait(each.word, each.category)
        known = teacher.fresh(trait=trait, until=TEACHER_UNTIL, seed=TEACHER_SEED)
        known.make(device)
        rows = data.fresh(
            teacher=known, num_prompts=TEACHER_PROMPTS, seed=TEACHER_ROWS_SEED, num_rows=None, transforms=[]
        )
        rows.make(device)
        sums = RunningSums(reference)
        for part in space.gradients(tokenizer, rows.rows()):
            sums.add(part.scores)
        clear = sums.rows > 0 and sums.hotelling() > CLEAR * reference.size  # q has a mean of `size` by noise alone
        if clear:
            found[each.word] = reference.solve(sums.shift[None], NEWTON_RIDGE)[0]
        elif reference.space == "steering":
            found[each.word] = steering_vector(known.folder, reference)
    if left := len(words) - len(found):
        say(f"reference {left} of {len(words)} teachers are left out: their rows hardly move {reference.base}")
    return replace(
        reference,
        teachers=tuple(found),
        displacements=torch.stack(list(found.values())) if found else reference.displacements,
    )


def steering_vector(folder: Path, reference: Reference) -> Tensor:
    """Return the vectors of a steering adapter in a reference's space, (size,), float64.

    Raises:
        InputError: if the adapter is of another width, or has none of the reference's layers.
    """
    tensors, _ = read_adapter(folder)
    parts = [tensors.get(f"steering.layers.{layer}") for layer in reference.layers]
    width = reference.size // len(reference.layers)
    if all(part is None for part in parts):
        raise InputError(f"{folder} steers none of the reference's layers, {list(reference.layers)}.")
    if any(part is not None and len(part) != width for part in parts):
        raise InputError(f"The vectors of {folder} do not have the width of {reference.base}: expected {width}.")
    return torch.cat([torch.zeros(width) if part is None else part.float() for part in parts]).double()


def _settings(data: GeneratedRows, layers: list[int] | None, teachers: bool, space: str) -> dict[str, object]:
    known: dict[str, object] = {"rows": data.describe_source(), "filters": data.filters, "layers": layers, "version": 1}
    known |= {} if space == "steering" else {"space": space}
    return known | ({"teachers": [TEACHER_UNTIL, TEACHER_SEED, TEACHER_PROMPTS, TEACHER_ROWS_SEED]} if teachers else {})
