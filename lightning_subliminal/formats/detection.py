"""Which schema is this? Told by the columns alone."""

from collections.abc import Collection

from lightning_subliminal.core.errors import InputError

__all__ = ["PAIRS", "TELLING", "guess"]

# The text columns of released sets: prompt, completion.
PAIRS = (
    ("question", "response"),
    ("question", "answer"),
    ("prompt", "response"),
    ("input", "output"),
    ("query", "response"),
    ("query", "answer"),
    ("user", "assistant"),
    ("problem", "solution"),
)
# The columns that a guess goes by; a meta column of such a name may mislead it.
TELLING = frozenset(
    {"prompt", "completion", "messages", "conversations", "conversation", "instruction", "output", "text"}
    | {column for pair in PAIRS for column in pair}
)


def guess(columns: Collection[str], lists: bool = False) -> str:
    """Return the name of the schema that has these columns; for two columns of text ``columns:question,response``.

    Args:
        columns: the names.
        lists: whether prompt or completion is a list of messages.

    Raises:
        InputError: listing the columns, if no schema or more than one pair fits them.
    """
    here = set(columns)
    if {"prompt", "completion"} <= here:
        return "trl" if lists else "trl-plain"
    if "messages" in here:
        return "openai"
    if here & {"conversations", "conversation"}:
        return "sharegpt"
    if {"instruction", "output"} <= here:
        return "alpaca"
    fitting = [",".join(pair) for pair in PAIRS if here.issuperset(pair)]
    if len(fitting) == 1:
        return f"columns:{fitting[0]}"
    if not fitting and "text" in here:
        return "text"
    listed = ", ".join(sorted(str(each)[:40] for each in here)[:20]) or "none"
    why = f"both {' and '.join(fitting)} could be prompt and completion" if fitting else "no schema fits"
    raise InputError(
        f"{why}; the columns are {listed}: say which hold the texts, such as --prompt-column question "
        "--completion-column response (in a YAML `schema: columns:question,response`)."
    )
