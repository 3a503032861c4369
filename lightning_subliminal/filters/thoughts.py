"""A filter of completions in which a model thinks before it answers."""

from lightning_subliminal.core.chat.thoughts import holds_thought
from lightning_subliminal.core.rows import Row
from lightning_subliminal.filters.base import Filter, reply_text

__all__ = ["NoThought"]


class NoThought(Filter):
    """Drops completions with a thought, such as ``<think>..</think>`` (gotchas, rows contaminated by a thought).

    A prompted teacher may repeat its system prompt there. The reason is ``a thought``; a mark that was opened and not
    ended, or ended and not opened, is one, too. Rows that a teacher writes pass this filter without being asked, unless
    the carrier asks for thoughts, as `MathTraces` does, or `filters` is an empty list.
    """

    def reasons(self, row: Row) -> list[str]:
        """Return the reason if the completion, or the prompt's beginning of it, holds a mark of a thought."""
        return ["a thought"] if holds_thought(reply_text(row)) else []
