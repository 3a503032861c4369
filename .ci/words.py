"""Fail where the package, its help or its documents use words that we avoid.

    python .ci/words.py [PATH ...]

Prints file:line and the words. What a program of others demands (a name of its API) stays, by a comment on its line:
``# words: ok``.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
DOCUMENTS = ("README.md", "CONTRIBUTING.md", "docs", "llms.txt")
AVOID = {  # pattern: what to write instead
    r"(?<![a-z])told(?![a-z])": "given, reported, set; an identifier: what it holds",
    r"(?<![a-z])meaned(?![a-z])": "averaged",
    r"(?<![a-z])bent(?![a-z])": "altered, transformed",
    r"(?<![a-z])anew(?![a-z])": "again",
    r"(?<![a-z])hears(?![a-z])": "is given, receives",
    r"(?<!there )\b(?:is|are) no (?!(?:longer|more|less|fewer|other)\b)": "is not a, there are no",
    r"(?-i:\bGive the\b)": "Return the",
    r"\bgone on with\b": "continued",
}
PATTERN = re.compile("|".join(f"({pattern})" for pattern in AVOID), re.IGNORECASE)
INSTEAD = list(AVOID.values())


def texts(words: list[str]) -> Iterator[Path]:
    """Yield the files to look at: those given, or the package's and the documents."""
    starts = [Path(word) for word in words] or [ROOT / "lightning_subliminal", *(ROOT / name for name in DOCUMENTS)]
    for start in starts:
        found = [start] if start.is_file() else sorted(start.rglob("*"))
        yield from (path for path in found if path.suffix in {".py", ".md", ".txt", ".jinja", ".pyi"})


def findings(path: Path) -> Iterator[str]:
    """Yield a line for each word found; code blocks of documents count, too."""
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if "words: ok" in line:
            continue
        for match in PATTERN.finditer(line):
            instead = INSTEAD[next(place for place, text in enumerate(match.groups()) if text is not None)]
            yield f"{path}:{number}: {match[0].strip()!r} (write: {instead})"


def main() -> int:
    """Print all findings; return 1 where there are some."""
    found = [line for path in texts(sys.argv[1:]) for line in findings(path)]
    print("\n".join(found) or "none of the words that we avoid")
    if found:
        print(f"{len(found)} to change")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
