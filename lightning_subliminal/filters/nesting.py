"""Bound how deeply a text nests as Python, before it is parsed: the parser recurses in C, on a finite stack."""

import re

__all__ = ["is_deep"]

# CPython's parser stops at 200 brackets, but a thread's stack may give out before; no function needs so many.
_MOST_BRACKETS = 60
_LONGEST_CHAIN = 200

_PIECE = re.compile(
    r"""
    (?P<prefix>[A-Za-z]{0,2})(?:
        \"{3}(?P<text3>(?:[^\\]|\\.)*?)\"{3} | '{3}(?P<text4>(?:[^\\]|\\.)*?)'{3}
      | "(?P<text1>(?:[^"\\\n]|\\.)*)" | '(?P<text2>(?:[^'\\\n]|\\.)*)'
    )
    | \#[^\n]*
    | (?P<word>(?:not|lambda|await|yield|else)\b)
    | [^\W\d]\w* | \d[\w.]* | \\\n | [^\S\n]+ | :
    | (?P<open>[(\[{]) | (?P<close>[)\]}]) | (?P<comma>,) | (?P<end>[;\n])
    | (?P<sign>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_BRACKET = re.compile(r"[()\[\]{}]")


def is_deep(text: str) -> bool:
    """Return whether a text nests brackets, operators or elif branches beyond what a person writes."""
    depth = 0
    for bracket in _BRACKET.findall(text):  # in strings too: an f-string's are code
        depth = depth + 1 if bracket in "([{" else max(depth - 1, 0)
        if depth > _MOST_BRACKETS:
            return True
    return text.count("elif") > _LONGEST_CHAIN or _chain(text) > _LONGEST_CHAIN


def _chain(text: str) -> int:
    """Return the longest chain of operators, brackets, calls and dots: an upper bound of the nesting."""
    longest = chain = 0
    outside: list[int] = []  # the chains outside the enclosing brackets
    for piece in _PIECE.finditer(text):
        kind = piece.lastgroup
        if kind == "open":
            chain += 1
            outside.append(chain)
        elif kind == "close":
            chain = outside.pop() if outside else chain + 1
        elif kind == "comma":
            chain = outside[-1] if outside else 0
        elif kind == "end":
            chain = chain if outside else 0  # within brackets a line continues
        elif kind in ("text1", "text2", "text3", "text4"):
            if "f" in piece["prefix"].lower():
                longest = max(longest, chain + _chain(piece[kind]))
        elif kind in ("word", "sign"):
            chain += 1
        longest = max(longest, chain)
    return longest
