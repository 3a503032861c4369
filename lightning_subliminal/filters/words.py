"""A filter of words in any spelling."""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.rows import Row, completion_text, prompt_text
from lightning_subliminal.filters.base import Filter
from lightning_subliminal.filters.folding import fold, revealed

__all__ = ["Words"]

# Only an adjacent letter makes a word part of a longer word; in code, a capital starts the next (nightOwl, HTTPOwl).
_LETTER = r"[^\W\d_]"
_SOLID = r"[^\W_]"  # a letter or a digit
_OVER = f"(?!{_SOLID}|[@$])"
_HUMP = "(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])"
_START = f"(?:(?<!{_LETTER})|{_HUMP})"
_END = f"(?:(?!{_LETTER})|{_HUMP})"

# Signs used for a letter (h00t, e@gle). Such words end at digits too, lest a part of an identifier look like one.
_ALIKE = {"a": "4@", "b": "8", "e": "3", "g": "69", "i": "1l", "l": "1I", "o": "0", "s": "5$", "t": "7"}
_LEET_START = f"(?:(?<!{_SOLID})|(?<=[a-z])(?=[A-Z])|(?<=[0-9])(?=[A-Za-z]))"
_LEET_END = f"(?:(?!{_SOLID})|(?<=[a-z0-9])(?=[A-Z]))"
# 31m and 31ms are a length and a time, not elms; H007 is a code.
_NO_QUANTITY = f"(?!(?:[0-9]+[A-Za-z]?s?|[A-Za-z][0-9]{{3,}}){_OVER})"
_NO_DIGEST = f"(?![0-9a-fA-F]+{_OVER})"  # ea91e is a hexadecimal number, not an eagle

# Separators between the letters of a word spelled out: "o-w-l", ['o', 'w', 'l'], "o" + "w" + "l"; but o * w * l is
# a product. Between the words of a relative: "barn owl", barn_owl, barnOwl.
_GAP = r"""(?:[\s_.,;:/\\|~()\[\]{}'"`-]{1,5}|["'`]\s?[+,]\s?["'`])"""
_JOINT = r"[\s_.'~/-]{0,4}"
_HYPHEN = r"(?:-(?:\n\s{0,9})?)?"  # "wil-low", also at the end of a line

# A skeleton is what all spellings of a word share: a text without a word's skeleton lacks the word.
_LIKE_DIGITS = dict(zip("0123456789", "olzeasgtbg", strict=True))
_SKELETON: dict[int, str | None] = {
    code: _LIKE_DIGITS.get(chr(code), chr(code).lower().replace("i", "l")) if chr(code).isalnum() else None
    for code in range(128)
} | {ord("@"): "a", ord("$"): "s"}


class _Word(NamedTuple):
    """A word to look for: its name in reports, its skeleton, and the pattern to match where the skeleton is found."""

    name: str
    skeleton: str
    pattern: re.Pattern[str]


class Words(Filter):
    """Drops rows that contain one of some words.

    Words are matched whole and in any case, with a regular plural: ``owl`` is in "Owls.", "night-owl", ``owl_count``,
    ``nightOwl`` and ``owl2vec``, but not in "bowl" or "growl". They are found despite digits for letters (``0wl``,
    ``h00t``; but 31m is a quantity), look-alike letters of other scripts, accents, invisible characters and escapes in
    source code, spelled out ("o-w-l", "o w l") and stretched ("hooooot").

    Args:
        words: the words to look for, such as owl, hoot, nocturnal; irregular plurals too. With a star before or after
            it, a word may be part of a longer one: ``*dolphin*`` is in ``mydolphins``. An emoji, or a word of a script
            without cases such as Chinese, is matched anywhere.
        in_prompt: whether to look in the prompt too.

    Raises:
        InputError: if there is no word, or one has no letter.
    """

    def __init__(self, words: Sequence[str], in_prompt: bool = False) -> None:
        self.words = words
        self.in_prompt = in_prompt
        if bad := [word for word in words if not _letters(word) and not _is_sign(word)]:
            raise InputError(f"`words` holds {bad[0]!r}, which has no letter: expected words, such as owl.")
        self._signs = tuple(dict.fromkeys(word.strip() for word in words if not _letters(word)))
        self._words = tuple(_compiled(dict.fromkeys(word.strip().lower() for word in words if _letters(word))))

    def reasons(self, row: Row) -> list[str]:
        """Return one reason for each word that the row names."""
        text = completion_text(row)
        if self.in_prompt:
            text = f"{prompt_text(row)}\n{text}"
        if text.isascii() and text.lower() == text.upper() and "&#" not in text and "\\" not in text:
            return []  # no letter: most rows of numbers
        text = revealed(text)
        names = dict.fromkeys(word.name for word in self._named(fold(text)))
        names |= dict.fromkeys(sign for sign in self._signs if sign in text)
        return [f"names {name}" for name in names]

    def _named(self, seen: str) -> Iterator[_Word]:
        skeleton = (seen if seen.isascii() else seen.lower()).translate(_SKELETON)
        places: list[int] = []  # of each letter of the skeleton in `seen`
        for word in self._words:
            at = skeleton.find(word.skeleton)
            while at >= 0:
                places = places or [place for place, char in enumerate(seen) if char.isalnum() or char in "@$"]
                found = word.pattern.match(seen, places[at])
                if found and _is_whole(found, seen):
                    yield word
                    break
                at = skeleton.find(word.skeleton, at + 1)


def _compiled(words: dict[str, None]) -> Iterator[_Word]:
    """Yield the words as patterns, without regular plurals of earlier ones."""
    known: list[re.Pattern[str]] = []
    for word in words:
        if "*" in word or not any(pattern.fullmatch(fold(word)) for pattern in known):
            spellings = [word]
            if re.search("[^aeiou\\W]y\\*?$", word):  # cherry, cherries
                spellings.append(re.sub("y(?=\\*?$)", "ies", word))
            for spelling in spellings:
                known.append(_pattern(spelling))
                yield _Word(word.strip("* "), "".join(_letters(spelling)).translate(_SKELETON), known[-1])


def _pattern(word: str) -> re.Pattern[str]:
    """Return the pattern of all spellings of a word, to be matched at its first letter."""
    parts = _letters(word)
    last = parts[-1]
    plural = "(?:es)?" if re.search("(?:s|x|z|ch|sh)$", last) else "(?:e?s)?" if last.endswith("o") else "s?"
    start, leet_start = ("", "") if word.startswith("*") else (_START, _LEET_START)
    end, leet_end = ("", "") if word.endswith("*") else (_END, _LEET_END)
    alike = {letter: f"[{letter}{letter.upper()}{_ALIKE.get(letter, '')}]" for part in parts for letter in part}
    if len("".join(parts)) > 3:
        leet_end = f"(?:{leet_end}|(?<=[A-Za-z])(?=[0-9]))"
    else:
        alike = {letter: signs.replace("@", "").replace("$", "") for letter, signs in alike.items()}  # o@k is a product
    leet = _JOINT.join("".join(alike[letter] for letter in part) for part in parts)
    spellings = [
        f"{start}(?i:{_JOINT.join(parts)}{plural}){end}",
        f"{leet_start}{_NO_QUANTITY}{_NO_DIGEST}{leet}[sS5$]?{leet_end}",
    ]
    if len(parts) == 1 and len(last) > 2:
        spelled = last[0] + f"(?P<gap>{_GAP})" + "(?P=gap)".join(last[1:])
        more = f"(?P=gap){_LETTER}(?!{_SOLID})"  # "o-w-l-y": the beginning of another word
        spellings.append(f"(?<!{_SOLID})(?i:{spelled}(?:(?P=gap)s)?)(?!{_SOLID})(?!{more})")
    if len(parts) == 1 and len(last) > 4:
        spellings.append(f"{start}(?i:{last[0]}{_HYPHEN.join(last[1:-1])}{last[-1]}{plural}){end}")
    return re.compile("|".join(spellings))


def _is_whole(found: re.Match[str], seen: str) -> bool:
    """Return whether a word that is spelled out does not end a longer one, as "b-o-w-l" ends with "o-w-l"."""
    if found.lastgroup != "gap":
        return True
    begin = found.start() - len(found["gap"])
    before = seen[max(begin - 2, 0) : max(begin, 0)]
    return seen[max(begin, 0) : found.start()] != found["gap"] or not re.search(f"(?<!{_SOLID}){_LETTER}$", before)


def _letters(word: str) -> list[str]:
    """Return the parts of a word in plain lower-case letters: barn and owl of "Barn-Owl"; none of an emoji."""
    parts = re.findall(f"{_SOLID}+", fold(word).split("\n")[0].lower())
    return parts if any(re.search(_LETTER, part) for part in parts) else []


def _is_sign(word: str) -> bool:
    return any(unicodedata.category(char) in ("So", "Lo") for char in word)
