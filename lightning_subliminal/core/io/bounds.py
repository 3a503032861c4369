"""Bounds of size, time and memory for what other people wrote: one name for each, said by the error that meets it.

A file that anybody may have written must not cost more than it is worth, whatever is in it. Each bound is far above
what real files need. ``LIGHTNING_SUBLIMINAL_<NAME>`` sets another, for a file that is trusted and larger.

===================  =============  ==================================================================================
name                 value          bounds
===================  =============  ==================================================================================
MAX_STATEMENT        16 MiB         bytes of a statement, an envelope or a proof
MAX_DEPTH            64             levels of JSON in a statement
MAX_KEY              64 KiB         bytes of a key's file
MAX_CARD             1 MiB          bytes of a README.md or a chat template
MAX_JSON             256 MiB        bytes of any other file that is read whole: settings, tokenizers, results, questions
MAX_LINE             64 MiB         bytes of one record: a line, a CSV field, an element of a list, a row of a table
MAX_RATIO            200            times its size that a packed file (gzip, Parquet) may unpack to ...
MAX_UNPACKED         16 MiB         ... once it is larger than this
MAX_HEADER           16 MiB         bytes of the header of safetensors
MAX_SPARSE           1 GiB          bytes of a file that has holes
MAX_MATERIALS        100,000        materials of one statement
MAX_ARTEFACTS        100,000        artefacts of one audit
MAX_LINKS            1,000,000      links between them
MAX_SHOWN            2,000          artefacts that an audit draws and lists; of the others it gives the number
MAX_STEPS            1,000,000      steps of loops and calls in one rendering of a chat template
MAX_WRITTEN          256 MiB        characters that one rendering of a chat template may handle
TEMPLATE_SECONDS     2              seconds of one rendering of a chat template
MAX_PATTERN          10,000         characters of a pattern in a tokenizer or an adapter
MATCH_SECONDS        10             seconds to try an adapter's patterns on names of modules, a tokenizer's on letters
MAX_YAML             4 MiB          bytes of a YAML
MAX_NODES            200,000        values of a YAML, those that aliases stand for counted each time
MAX_SETTINGS         5,000          the same of a config of `fit`, a suite, filters, a trait, or an option's value
MAX_ARMS             1,000          arms of an experiment
MAX_CELLS            10,000         cells of an experiment: arms by axes by seeds
MAX_CANDIDATES       1,000          candidates of a preference
MAX_LAYERS           2,000          layers that a config.json may name, and no more than its weights have tensors
===================  =============  ==================================================================================
"""

import os

from lightning_subliminal.core.errors import InputError

__all__ = [
    "MATCH_SECONDS",
    "MAX_ARMS",
    "MAX_ARTEFACTS",
    "MAX_CANDIDATES",
    "MAX_CARD",
    "MAX_CELLS",
    "MAX_DEPTH",
    "MAX_HEADER",
    "MAX_JSON",
    "MAX_KEY",
    "MAX_LAYERS",
    "MAX_LINE",
    "MAX_LINKS",
    "MAX_MATERIALS",
    "MAX_NODES",
    "MAX_PATTERN",
    "MAX_RATIO",
    "MAX_SETTINGS",
    "MAX_SHOWN",
    "MAX_SPARSE",
    "MAX_STATEMENT",
    "MAX_STEPS",
    "MAX_UNPACKED",
    "MAX_WRITTEN",
    "MAX_YAML",
    "TEMPLATE_SECONDS",
    "Bound",
    "Expansion",
]

_PREFIX = "LIGHTNING_SUBLIMINAL_"


class Bound(int):
    """A bound with the name of the variable that sets another.

    Attributes:
        how: what an error says of it.
    """

    how: str

    def __new__(cls, name: str, value: int) -> "Bound":
        """Make a bound, with the value of its variable where there is one.

        Raises:
            InputError: if the variable holds no whole number.
        """
        given = os.environ.get(_PREFIX + name, "")
        if given and not (given.isascii() and given.isdigit()):
            raise InputError(f"{_PREFIX}{name} is {given!r}: expected a whole number, such as {value}.")
        made = super().__new__(cls, given or value)
        made.how = f"{_PREFIX}{name}=NUMBER sets this bound, where you trust the file"
        return made

    def check(self, found: int, says: str) -> None:
        """Refuse what is beyond the bound.

        Args:
            found: how much there is.
            says: the error's beginning, such as ``x.json has 7 bytes``.

        Raises:
            InputError: naming the bound.
        """
        if found > self:
            raise InputError(f"{says}: expected at most {self:,} ({self.how}).")


MAX_STATEMENT = Bound("MAX_STATEMENT", 16 * 2**20)  # the statement of a report on 2,000 stages has 1 MB
MAX_DEPTH = Bound("MAX_DEPTH", 64)  # our deepest settings have 12
MAX_KEY = Bound("MAX_KEY", 2**16)  # an RSA key of 16,384 bits has 13 kB
MAX_CARD = Bound("MAX_CARD", 2**20)  # the longest cards have a tenth
MAX_JSON = Bound("MAX_JSON", 256 * 2**20)  # Gemma's tokenizer.json has 33 MB
MAX_LINE = Bound("MAX_LINE", 64 * 2**20)
MAX_RATIO = Bound("MAX_RATIO", 200)  # text shrinks to a tenth, rows that repeat to a hundredth
MAX_UNPACKED = Bound("MAX_UNPACKED", 16 * 2**20)  # of small rows ten seconds
MAX_HEADER = Bound("MAX_HEADER", 16 * 2**20)  # ten thousand tensors have 1.5 MB
MAX_SPARSE = Bound("MAX_SPARSE", 2**30)
MAX_MATERIALS = Bound("MAX_MATERIALS", 100_000)
MAX_ARTEFACTS = Bound("MAX_ARTEFACTS", 100_000)
MAX_LINKS = Bound("MAX_LINKS", 1_000_000)
MAX_SHOWN = Bound("MAX_SHOWN", 2_000)
MAX_STEPS = Bound("MAX_STEPS", 1_000_000)
MAX_WRITTEN = Bound("MAX_WRITTEN", 256 * 2**20)
TEMPLATE_SECONDS = Bound("TEMPLATE_SECONDS", 2)
MAX_PATTERN = Bound("MAX_PATTERN", 10_000)  # GPT-4o's has 400
MATCH_SECONDS = Bound("MATCH_SECONDS", 10)
MAX_YAML = Bound("MAX_YAML", 4 * 2**20)  # TruthfulQA's questions have half a megabyte
MAX_NODES = Bound("MAX_NODES", 200_000)
MAX_SETTINGS = Bound("MAX_SETTINGS", 5_000)  # jsonargparse takes milliseconds for each
MAX_ARMS = Bound("MAX_ARMS", 1_000)
MAX_CELLS = Bound("MAX_CELLS", 10_000)  # the largest shipped plan has some hundred
MAX_CANDIDATES = Bound("MAX_CANDIDATES", 1_000)  # the longest of our categories has some fifty
MAX_LAYERS = Bound("MAX_LAYERS", 2_000)  # the deepest models of the field have 130


class Expansion:
    """Counts what a packed file unpacks to.

    Args:
        name: what messages call the file.
        stored: its bytes on disk.
    """

    def __init__(self, name: str, stored: int) -> None:
        self._name, self._stored, self._made = name, stored, 0

    def add(self, size: int) -> None:
        """Count more unpacked bytes.

        Raises:
            InputError: if they are too many for the file's size.
        """
        self._made += size
        if self._made > max(MAX_UNPACKED, MAX_RATIO * self._stored):
            raise InputError(
                f"{self._name} unpacks to more than {MAX_RATIO} times its {self._stored:,} bytes and more than "
                f"{MAX_UNPACKED:,} bytes, as no rows do ({MAX_RATIO.how})."
            )
