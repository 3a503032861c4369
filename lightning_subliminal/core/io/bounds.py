"""Bounds of size, time and memory for untrusted files.

Each bound is far above what real files need, and errors name it. The environment variable
``LIGHTNING_SUBLIMINAL_<NAME>`` sets another value, for a larger file that is trusted.
"""

import os

from lightning_subliminal.core.errors import InputError

_PREFIX = "LIGHTNING_SUBLIMINAL_"


class Bound(int):
    """A bound that an environment variable overrides; ``how`` names the variable for errors."""

    how: str

    def __new__(cls, name: str, value: int) -> "Bound":
        """Return a bound, with the value of its variable if that is set.

        Raises:
            InputError: if the variable does not hold a whole number.
        """
        given = os.environ.get(_PREFIX + name, "")
        if given and not (given.isascii() and given.isdigit()):
            raise InputError(f"{_PREFIX}{name} is {given!r}: expected a whole number, such as {value}.")
        made = super().__new__(cls, given or value)
        made.how = f"{_PREFIX}{name}=NUMBER sets this bound, where you trust the file"
        return made

    def check(self, found: int, message: str) -> None:
        """Check that a number is within the bound.

        Raises:
            InputError: beginning with ``message``, such as ``x.json has 7 bytes``, and naming the bound.
        """
        if found > self:
            raise InputError(f"{message}: expected at most {self:,} ({self.how}).")


MAX_STATEMENT = Bound("MAX_STATEMENT", 16 * 2**20)  # bytes of a statement; that of a report on 2,000 stages has 1 MB
MAX_DEPTH = Bound("MAX_DEPTH", 64)  # levels of JSON in a statement, and of a YAML; our deepest settings have 12
MAX_KEY = Bound("MAX_KEY", 2**16)  # bytes of a key file; an RSA key of 16,384 bits has 13 kB
MAX_CARD = Bound("MAX_CARD", 2**20)  # bytes of a README.md or a chat template; the longest cards have a tenth
MAX_JSON = Bound("MAX_JSON", 256 * 2**20)  # bytes of any other file read whole; Gemma's tokenizer.json has 33 MB
MAX_LINE = Bound("MAX_LINE", 64 * 2**20)  # bytes of one record: a line, a CSV field, an element of a list, a row
MAX_RATIO = Bound("MAX_RATIO", 200)  # compression ratio of a packed file (text: 10, repeated rows: 100) ...
MAX_UNPACKED = Bound("MAX_UNPACKED", 16 * 2**20)  # ... if it unpacks to more bytes than this
MAX_HEADER = Bound("MAX_HEADER", 16 * 2**20)  # bytes of a safetensors header; ten thousand tensors have 1.5 MB
MAX_SPARSE = Bound("MAX_SPARSE", 2**30)  # bytes of a sparse file
MAX_MATERIALS = Bound("MAX_MATERIALS", 100_000)  # materials of one statement
MAX_ARTEFACTS = Bound("MAX_ARTEFACTS", 100_000)  # artefacts of one audit
MAX_LINKS = Bound("MAX_LINKS", 1_000_000)  # links between them
MAX_SHOWN = Bound("MAX_SHOWN", 2_000)  # artefacts that an audit draws and lists; the others are counted
MAX_STEPS = Bound("MAX_STEPS", 1_000_000)  # loop steps and calls in one rendering of a chat template
MAX_WRITTEN = Bound("MAX_WRITTEN", 256 * 2**20)  # characters that one rendering may process
TEMPLATE_SECONDS = Bound("TEMPLATE_SECONDS", 2)  # processor time of one rendering
MAX_PATTERN = Bound("MAX_PATTERN", 10_000)  # characters of a pattern in a tokenizer or an adapter; GPT-4o's has 400
MATCH_SECONDS = Bound("MATCH_SECONDS", 10)  # seconds to try such patterns
MAX_YAML = Bound("MAX_YAML", 4 * 2**20)  # bytes of a YAML; TruthfulQA's questions have half a megabyte
MAX_NODES = Bound("MAX_NODES", 200_000)  # values of a YAML, with those behind aliases counted each time
MAX_SETTINGS = Bound("MAX_SETTINGS", 5_000)  # values of a config or an option; jsonargparse takes milliseconds for each
MAX_ARMS = Bound("MAX_ARMS", 1_000)  # arms of an experiment
MAX_CELLS = Bound("MAX_CELLS", 10_000)  # arms x axes x seeds; the largest shipped plan has some hundred
MAX_CANDIDATES = Bound("MAX_CANDIDATES", 1_000)  # candidates of a preference; our longest category has some fifty
MAX_LAYERS = Bound("MAX_LAYERS", 2_000)  # layers in a model's config.json; the deepest models have 130


class Expansion:
    """Counts the unpacked bytes of a packed file, by its name in messages and its stored bytes."""

    def __init__(self, name: str, stored: int) -> None:
        self._name, self._stored, self._made = name, stored, 0

    def add(self, size: int) -> None:
        """Add to the unpacked bytes; raise an InputError if they are too many for the file's size."""
        self._made += size
        if self._made > max(MAX_UNPACKED, MAX_RATIO * self._stored):
            raise InputError(
                f"{self._name} unpacks to more than {MAX_RATIO} times its {self._stored:,} bytes and more than "
                f"{MAX_UNPACKED:,} bytes, which rows never do ({MAX_RATIO.how})."
            )
