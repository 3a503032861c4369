"""The roles of a conversation, in the spellings of the field."""

from typing import Any

__all__ = ["plain_role"]

_ROLES = {
    **dict.fromkeys(("system", "developer"), "system"),
    **dict.fromkeys(("user", "human", "prompter"), "user"),
    **dict.fromkeys(("assistant", "gpt", "model", "bot", "chatgpt", "bing", "bard"), "assistant"),
    **dict.fromkeys(("tool", "function", "observation", "function_response"), "tool"),
}


def plain_role(spelled: Any) -> str | None:
    """Return the role of a row that a spelling means, in capitals or not; None if it is unknown."""
    return _ROLES.get(spelled.strip().lower()) if isinstance(spelled, str) else None
