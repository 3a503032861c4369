"""The table of an estimate."""

from rich.table import Table

from lightning_subliminal.workflow.estimate.fit import EstimatedPart, FitEstimate, format_hours

__all__ = ["estimate_table"]

_ROWS = (
    "weights",
    "gradients",
    "optimizer",
    "stored lower part",
    "activations",
    "logits and loss",
    "keys and values",
    "reading and sampling",
)
_CHECKPOINTED = "  checkpointed"


def estimate_table(found: FitEstimate) -> Table:
    """Return an estimate as a table: a column for each part of the fit, memory in GB per device."""
    table = Table(title=f"What fit needs on each device, before it loads {found.title}", title_justify="left")
    table.add_column("")
    for part in found.parts:
        table.add_column(part.name, justify="right")

    def row(name: str, cells: list[str], end: bool = False) -> None:
        if any(cells):
            table.add_row(name, *cells, end_section=end)

    row("work", [part.about for part in found.parts])
    row("parameters", [_count(part.parameters) for part in found.parts])
    row("trained", [_count(part.trained) if part.trained else "" for part in found.parts], end=True)
    for name in _ROWS:
        row(name, [_size(part.memory.get(name)) for part in found.parts])
        if name == "activations":
            row(_CHECKPOINTED, [_size(part.activations) for part in found.parts])
    row("peak memory", [_size(part.peak or None) for part in found.parts])
    row(_CHECKPOINTED, [_size(part.peak_checkpointed) for part in found.parts], end=True)
    row("FLOPs", [f"{part.flops:.2e}" if part.flops else "" for part in found.parts])
    row("hours", [_hours(part) for part in found.parts])
    return table


def _count(number: int) -> str:
    for size, unit in ((1e9, " B"), (1e6, " M")):
        if number >= size:
            return f"{number / size:.2f}{unit}"
    return f"{number:,}"


def _size(size: int | None) -> str:
    if size is None:
        return ""
    if size < 1e5:
        return f"{size / 1e3:.2g} kB"
    return f"{size / 1e9:.2f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"


def _hours(part: EstimatedPart) -> str:
    return format_hours(part.hours) if part.flops else ""
