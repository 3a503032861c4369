"""Detect a schema by its columns."""

from collections.abc import Collection

from lightning_subliminal.core.errors import InputError

__all__ = ["PAIRS", "SCHEMA_COLUMNS", "SIDES", "guess"]

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
# The two answers of preference data: the better one, the other.
SIDES = (
    ("chosen", "rejected"),
    ("preferred_output", "non_preferred_output"),  # OpenAI
    ("chosen_response", "rejected_response"),  # Argilla
)
# The columns that a guess depends on; a meta column of the same name may mislead it.
SCHEMA_COLUMNS = frozenset(
    {"prompt", "completion", "chosen", "messages", "conversations", "conversation", "instruction", "output", "text"}
    | {column for pair in PAIRS for column in pair}
    | {chosen for chosen, _ in SIDES}
)


def guess(columns: Collection[str], lists: bool = False) -> str:
    """Return the name of the schema that has these columns; for two columns of text ``columns:question,response``.

    Args:
        columns: the names.
        lists: whether prompt or completion is a list of messages.

    Raises:
        InputError: listing the columns, if no schema or more than one pair fits them.
    """
    names = set(columns)
    if {"prompt", "completion"} <= names:
        return "trl" if lists else "trl-plain"
    # before `messages`, which repeat the chosen side in UltraFeedback
    if any(names.issuperset(sides) for sides in SIDES):
        return "trl-preference"
    if "messages" in names:
        return "openai"
    if names & {"conversations", "conversation"}:
        return "sharegpt"
    if {"instruction", "output"} <= names:
        return "alpaca"
    fitting = [",".join(pair) for pair in PAIRS if names.issuperset(pair)]
    if len(fitting) == 1:
        return f"columns:{fitting[0]}"
    if not fitting and "text" in names:
        return "text"
    listed = ", ".join(sorted(str(each)[:40] for each in names)[:20]) or "none"
    why = f"both {' and '.join(fitting)} could be prompt and completion" if fitting else "no schema fits"
    raise InputError(
        f"{why}; the columns are {listed}: name those that hold the texts: `data convert FILE OUT --prompt-column "
        "question --completion-column response` writes a copy that all commands read (the other `data` commands take "
        "both options, too; a YAML takes `schema: columns:question,response`)."
    )
