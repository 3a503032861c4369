"""The roles of a conversation, as they are spelled in the wild."""

from typing import Any

__all__ = ["plain_role"]

# How roles are spelled in the wild, and the four that a row has.
_ROLES = {
    **dict.fromkeys(("system", "developer"), "system"),
    **dict.fromkeys(("user", "human", "prompter"), "user"),
    **dict.fromkeys(("assistant", "gpt", "model", "bot", "chatgpt", "bing", "bard"), "assistant"),
    **dict.fromkeys(("tool", "function", "observation", "function_response"), "tool"),
}


def plain_role(said: Any) -> str | None:
    """Return the role of a row that a spelling means, in capitals or not; None where it means none."""
    return _ROLES.get(said.strip().lower()) if isinstance(said, str) else None
