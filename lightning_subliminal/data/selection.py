"""Which rows are kept: those that pass the filters, transformed, and of them a random part."""

import random
from collections.abc import Sequence

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.rows import Row
from lightning_subliminal.filters import Filter, FilterReport, apply_filters
from lightning_subliminal.transforms import Transform, apply_transforms

__all__ = ["select_rows"]


def select_rows(
    made: Sequence[Row],
    filters: Sequence[Filter],
    num_rows: int | None,
    seed: int,
    transforms: Sequence[Transform] = (),
    transform_seed: int = 0,
) -> tuple[list[Row], FilterReport]:
    """Return the rows kept, in their order, and the counts of the filters' reasons.

    Args:
        made: all rows.
        filters: each of them must let a row pass.
        num_rows: how many to draw of those that pass; all where it is None.
        seed: moves the draw.
        transforms: what is done in turn to the rows that pass, before the draw.
        transform_seed: moves what the transforms draw.

    Raises:
        InputError: if no row passes, or fewer than ``num_rows``.
    """
    rows, report = apply_filters(made, filters)
    if not rows:
        top = ", ".join(f"{reason} ({count})" for reason, count in list(report.reasons.items())[:3])
        raise InputError(f"The filters dropped all {report.made} rows: {top}. Loosen `filters` or mend the prompts.")
    rows = apply_transforms(rows, transforms, transform_seed)
    if num_rows is None:
        return rows, report
    if len(rows) < num_rows:
        raise InputError(
            f"`num_rows` is {num_rows}, but the filters kept {len(rows)} of {report.made} rows: "
            f"lower it to {len(rows)} or raise `num_prompts`."
        )
    chosen = random.Random(seed).sample(range(len(rows)), num_rows)
    return [rows[place] for place in sorted(chosen)], report
