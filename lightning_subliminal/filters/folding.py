"""Fold texts to what a reader sees: look-alike letters become plain ones, and invisible characters are removed.

Letters that Unicode itself derives from a Latin one (full width, mathematical, circled, small capital, accented) are
found by its decompositions and names. Letters of other scripts are in the table here: those nearest in shape, not all.
"""

import re
import unicodedata

__all__ = ["fold", "revealed"]

# As code points, since the letters themselves look alike. Cyrillic, Greek, Armenian, Coptic, Cherokee, Lisu and some
# more; under "" invisible letters.
_LOOK_ALIKES = {
    "": "\u115f\u1160\u3164\u2800",
    "a": "\u0430\u03b1\u0251\u237a",
    "b": "\u044c\u0432\u03b2\u0185",
    "c": "\u0441\u03f2\u2ca5",
    "d": "\u0501\u056a",
    "e": "\u0435\u0454\u04bd\u03b5\u044d\u212e\u2c89",
    "f": "\u0493\u03dd",
    "g": "\u0581\u0261",
    "h": "\u04bb\u0570\u043d",
    "i": "\u0456\u03b9\u0269\uab75",
    "j": "\u0458\u03f3",
    "k": "\u043a\u03ba\u0138\u049b\u2c95",
    "l": "\u04cf\u056c\u05df\u05d5\u2d4f\u0627",
    "m": "\u043c\u2c99",
    "n": "\u043f\u03b7\u0578\u057c\u2c8f",
    "o": "\u043e\u03bf\u0585\u03c3\u04e9\u03b8\u0473\u2c9f\u05e1\u0647\u3007\u10ff\u25cb\u25cf\u25ef\u2b55"
    "\U0001042c\u12d0",
    "p": "\u0440\u03c1\u048f\u2ca3\u2374",
    "q": "\u051b\u0566\u0563",
    "r": "\u0433\u1d26\u0580\u2c85",
    "s": "\u0455\u03c2",
    "t": "\u0442\u03c4\u2ca7",
    "u": "\u03c5\u057d\u0438\u0446\u03bc",
    "v": "\u03bd\u0475",
    "w": "\u026f\ua7b7\u051d\u03c9\u0561\u0448\u0449\u0461\u2cb1\u20a9\u2375",
    "x": "\u0445\u03c7",
    "y": "\u0443\u03b3\u04af\u04b1",
    "z": "\u2c8d",
    "A": "\u0410\u0391\u13aa\ua4ee\u2c80",
    "B": "\u0412\u0392\u13f4\ua4d0\u2c82",
    "C": "\u0421\u03f9\u13df\ua4da\u2ca4",
    "D": "\u13a0\ua4d3\u0500",
    "E": "\u0415\u0395\u0404\u03a3\u13ac\ua4f0\u2c88",
    "F": "\u0492\u03dc\ua4dd",
    "G": "\u050c\u13c0\ua4d6",
    "H": "\u041d\u0397\u04ba\u13bb\ua4e7\u2c8e",
    "I": "\u0406\u0399\u13c6\u04c0\ua4f2\u01c0",
    "J": "\u0408\u13ab\ua4d9",
    "K": "\u041a\u039a\u13e6\ua4d7\u2c94",
    "L": "\u053c\u13de\ua4e1\u2cd0",
    "M": "\u041c\u039c\u03fa\u13b7\ua4df\u2c98",
    "N": "\u039d\u0418\ua4e0\u2c9a",
    "O": "\u13be\U00010404\u041e\u039f\u0398\u03a9\u0555\u0472\u04e8\ua4f3\u2c9e",
    "P": "\u0420\u03a1\u13e2\ua4d1\u2ca2",
    "Q": "\u051a",
    "R": "\u042f\u13a1\u13d2\ua4e3",
    "S": "\u0405\u054f\u13da\ua4e2",
    "T": "\u0422\u03a4\u13a2\ua4d4\u2ca6",
    "U": "\u054d\ua4f4\u0426",
    "V": "\u0474\u13d9\ua4e6",
    "W": "\ua7b6\u13d4\u0428\u0429\u051c\u0460\u13b3\ua4ea",
    "X": "\u0425\u03a7\ua4eb",
    "Y": "\u0423\u03a5\u04ae\u04b0\ua4ec",
    "Z": "\u0396\u13c3\ua4dc",
}
_LETTER_OF = {ord(alike): letter for letter, alikes in _LOOK_ALIKES.items() for alike in alikes}
_NAMED = re.compile("(?:.* )?(?:LATIN|REGIONAL INDICATOR) .*(?<= )(?P<letter>[A-Z])(?: WITH .*)?")
_REMEMBERED = 1 << 16  # letters; all that a real text holds, and 10 MB at most

_STRETCHED = re.compile(r"([A-Za-z])\1{2,}")
_INNER = re.compile(r"(?<=[A-Za-z0-9])[!|](?=[A-Za-z0-9])")  # dolph!n, wo|f
_TAG = re.compile("[\U000e0020-\U000e007e]")
_ESCAPE = re.compile(
    r"\\u(?P<high>[dD][89abAB][0-9a-fA-F]{2})\\u(?P<low>[dD][c-fC-F][0-9a-fA-F]{2})"
    r"|\\(?:x(?P<x>[0-9a-fA-F]{2})|u(?P<u>[0-9a-fA-F]{4})|U(?P<U>[0-9a-fA-F]{8}))"
    r"|\\(?P<octal>[0-3][0-7]{2})|%(?P<percent>[0-9a-fA-F]{2})"
    r"|&\#(?:[xX](?P<hex>[0-9a-fA-F]{1,6})|(?P<dec>[0-9]{1,7}));"
    r"|\\(?P<joined>\n)|\\[abfnrtv0]"
)


def fold(text: str) -> str:
    """Return a text in plain letters, with its case; other readings of it follow, each on a line of its own.

    The result has ASCII, and letters of other scripts that have two cases and resemble no Latin one. Digits of all
    scripts become ASCII digits, dashes "-", spaces " ", other signs and letters without case "~"; accents, soft hyphens
    and other invisible characters are removed. Other readings are without stretched letters (hooooot), with "vv" for w,
    or with "!" and "|" within a word as letters.
    """
    # Letter by letter: unicodedata.normalize on a whole text takes quadratic time where accents pile up.
    seen = text.translate(_FOLDS)
    if _STRETCHED.search(seen):
        seen = "\n".join((seen, _STRETCHED.sub(r"\1", seen), _STRETCHED.sub(r"\1\1", seen)))
    if "vv" in seen.lower():
        seen = f"{seen}\n{re.sub('[vV]{2}', 'w', seen)}"
    if _INNER.search(seen):
        seen = f"{seen}\n{_INNER.sub('1', seen)}"
    return seen


def revealed(text: str) -> str:
    r"""Return a text, and on further lines its escapes (``\\x6f``, ``&#111;``) and invisible tag letters decoded."""
    if "\\" in text or "%" in text or "&#" in text:
        read = _ESCAPE.sub(_unescaped, text)
        text = text if read == text else f"{text}\n{read}"
    if not text.isascii() and (tags := _TAG.findall(text)):
        text = f"{text}\n{''.join(chr(ord(tag) - 0xE0000) for tag in tags)}"
    return text


def _unescaped(match: re.Match[str]) -> str:
    found = match.groupdict()
    if found["high"]:  # JSON writes an emoji as two halves
        return chr(0x10000 + (int(found["high"], 16) - 0xD800) * 0x400 + int(found["low"], 16) - 0xDC00)
    if found["joined"]:
        return ""
    digits = found["x"] or found["u"] or found["U"] or found["hex"] or found["percent"]
    other = int(found["octal"], 8) if found["octal"] else int(found["dec"] or "32")  # \n and its like part words
    code = int(digits, 16) if digits else other
    return chr(code) if code <= 0x10FFFF else "~"


class _Folds(dict[int, str]):
    """The folded form of each character, computed on first use."""

    def __missing__(self, code: int) -> str:
        letter = _LETTER_OF.get(code)
        if letter is None:
            letter = "".join(map(_plain, unicodedata.normalize("NFKD", chr(code))))
            letter = letter if letter.strip("~") else letter[:1]  # one Arabic ligature stands for 18 letters
        if len(self) < _REMEMBERED:
            self[code] = letter
        return letter


def _plain(char: str) -> str:
    """Fold one character without a further decomposition."""
    code = ord(char)
    if char.isspace():
        return char if char.isascii() else " "
    if char.isascii():
        return char if char.isprintable() else ""
    if code in _LETTER_OF:
        return _LETTER_OF[code]
    kind = unicodedata.category(char)
    if kind in ("Cf", "Cc") or kind[0] == "M" or 0xE0000 <= code < 0xE1000:
        return ""
    if kind in ("Lu", "Ll", "Lt", "Lo", "Lm", "So"):
        name = _NAMED.fullmatch(unicodedata.name(char, "")) if kind != "Lo" else None
        if name is not None:
            upper = "SMALL" not in name.group()
            return name["letter"] if upper else name["letter"].lower()
        return char if kind in ("Lu", "Ll", "Lt") else "~"
    if kind == "Nd":
        return str(unicodedata.digit(char))
    return {"Pd": "-", "Pc": "_", "Pi": "'", "Pf": "'"}.get(kind, "~")


_FOLDS = _Folds({code: _plain(chr(code)) for code in range(128)})
