"""Draw rows at the terminal: roles in colour, and hidden characters made visible."""

import random
import re
import unicodedata
from collections.abc import Iterable

from rich.panel import Panel
from rich.text import Text

from lightning_subliminal.core.rows import Row
from lightning_subliminal.formats.layouts.schema import input_is_read
from lightning_subliminal.formats.storage.records import Found

__all__ = ["draw", "panel", "visible"]

_STYLES = {"system": "magenta", "user": "cyan", "assistant": "green", "tool": "yellow"}
_HIDDEN = "bold reverse"
# Space where it is easily overlooked: at the ends of a text or line, or more than one; then all non-plain characters.
_PIECES = re.compile(r"(?m)^[ ]+|[ ]+$|[ ]{2,}|\A\n+|\n+\Z|[^ -~\n]")


def draw(rows: Iterable[tuple[Found, Row]], count: int, seed: int | None) -> list[tuple[Found, Row]]:
    """Return the first rows, or with a seed some drawn at random, each equally likely, in their order."""
    kept: list[tuple[int, tuple[Found, Row]]] = []
    rng = random.Random(seed)
    for place, item in enumerate(rows):
        if len(kept) < count:
            kept.append((place, item))
            if seed is None and len(kept) == count:
                break
        elif (chosen := rng.randrange(place + 1)) < count:
            kept[chosen] = (place, item)
    return [item for _, item in sorted(kept, key=lambda each: each[0])]


def panel(found: Found, row: Row, most: int) -> Panel:
    """Draw one row.

    Args:
        found: its place.
        row: the row.
        most: characters that are shown of a message.
    """
    text = Text()
    messages = [*row["prompt"], *row["completion"]]
    for place, message in enumerate(messages):
        role = message["role"]
        prefill = role == "assistant" and place < len(row["prompt"]) and place == len(row["prompt"]) - 1
        text.append(f"{role}{' (prefill)' if prefill else ''}\n", style=f"bold {_STYLES[role]}")
        content = message["content"]
        text.append_text(visible(content[:most], _STYLES[role]) if content else Text("(empty)", style="dim"))
        if len(content) > most:
            text.append(f" … {len(content):,} characters", style="dim")
        text.append("\n" if place < len(messages) - 1 else "")
    more = {key: value for key, value in row.items() if key not in ("prompt", "completion")}
    if any(input_is_read(more.get("input"), each["content"]) for each in row["prompt"]):
        del more["input"]  # Alpaca's, which the prompt shows
    meta = ", ".join(f"{key}={value!r}" for key, value in more.items())
    if meta:
        text.append_text(Text("\n").append_text(visible(meta[:most], "dim")))
    return Panel(text, title=visible(str(found)), title_align="left", border_style="dim")


def visible(text: str, style: str = "") -> Text:
    r"""Return a text in which space at its ends, control, invisible and reordering characters are visible.

    Example:
        >>> visible(" owl\u200b").plain
        '·owl<U+200B>'
    """
    made = Text()
    at = 0
    for piece in _PIECES.finditer(text):
        shown = _shown(piece[0])
        if shown is None:
            continue
        made.append(text[at : piece.start()], style=style)
        made.append(shown, style="dim" if piece[0].strip(" ") == "" else _HIDDEN)
        at = piece.end()
    made.append(text[at:], style=style)
    return made


def _shown(piece: str) -> str | None:
    """Return what is shown for a piece; None where it is visible itself."""
    if piece[0] == " ":
        return "·" * len(piece)
    if piece[0] == "\n":
        return "↵\n" * len(piece)
    code = ord(piece)
    if code < 0x20:
        return {"\t": "⇥\t", "\r": "␍"}.get(piece, chr(0x2400 + code))
    selector = 0xFE00 <= code <= 0xFE0F or 0xE0100 <= code <= 0xE01EF  # variation selectors can hide a text
    plain = unicodedata.category(piece)[0] not in "CZ" and not selector
    return None if plain else "␡" if code == 0x7F else f"<U+{code:04X}>"
