"""Rows with all that a format may trip over: marks of ours and of others, line ends of all kinds, quotes, nothing."""

import random
import sys

from lightning_subliminal.core.rows import Row

# The `csv` of Python 3.10 neither writes nor reads a NUL: `test_writing` says what a user reads then.
NUL = "\x00" if sys.version_info >= (3, 11) else "\x01"
FRAGMENTS = (
    *("=== user ===", "=== assistant ===", "\\=== user ===", "\\\\=== system ===", "=== row ===", "\\=== row ==="),
    *("=== tool ===\n", "\n=== row ===\n", "<|im_end|>", "<|user|>", "### Instruction:", "[INST]", "</s>"),
    *("\n", "\n\n", "\r\n", "\r", "\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", NUL, "\x1b[31m", "\x7f"),
    *(
        "",
        " ",
        "\t",
        "\u00a0",
        "\u200b",
        "\u202e",
        "\ufeff",
        "\ufffe",
        "\U000e0001",
        "\ufe0f",
        "🦉",
        "e\u0301",
        "ü",
        "二",
    ),
    *(
        '"',
        "'",
        "''",
        '""',
        ",",
        ";",
        "\\",
        "\\n",
        "\\u0041",
        "\\ud800",
        "{",
        "}",
        "[",
        "]",
        "null",
        "NaN",
        "#",
        "`",
        "|",
    ),
    *("a", "owl", "1, 2, 3", "-- x -->", "{{ x }}", "{% x %}", "=", "===", "--- \n"),
)
SCHEMAS = ("trl", "trl-plain", "openai", "sharegpt", "alpaca", "text", "columns:question,response")
WITH_TURNS = ("trl", "openai", "sharegpt", "text")


def text(rng: random.Random) -> str:
    return "".join(rng.choice(FRAGMENTS) for _ in range(rng.randrange(12)))


def message(role: str, rng: random.Random) -> dict[str, str]:
    return {"role": role, "content": text(rng)}


def nasty_rows(count: int, seed: int = 0) -> list[Row]:
    """Return rows of one user message and a completion, which every schema can hold."""
    rng = random.Random(seed)
    return [{"prompt": [message("user", rng)], "completion": [message("assistant", rng)]} for _ in range(count)]


def nasty_talks(count: int, seed: int = 0, alternate: bool = False) -> list[Row]:
    """Return rows with a system prompt, or not, and turns: of user and assistant only, or of tools as well."""
    rng = random.Random(seed)
    rows = []
    for _ in range(count):
        prompt = [message("system", rng)] if rng.random() < 0.5 else []
        if prompt and alternate:
            prompt[0]["content"] += "."  # Alpaca holds no empty one
        for _ in range(rng.randrange(3)):
            prompt += [message("user", rng), message("assistant", rng)]
            if not alternate and rng.random() < 0.3:
                prompt.append(message("tool", rng))
        rows.append({"prompt": [*prompt, message("user", rng)], "completion": [message("assistant", rng)]})
    return rows


def content(rows: list[Row]) -> list[Row]:
    """Return prompts and completions alone."""
    return [{"prompt": row["prompt"], "completion": row["completion"]} for row in rows]
