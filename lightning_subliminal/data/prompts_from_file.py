"""A base's own answers to the prompts of a data set, whoever wrote its rows: what clean rows of it would look like."""

import random
from collections.abc import Iterator
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any

from lightning_subliminal.bases.lookup import find_folder
from lightning_subliminal.bases.tokenizers import read_tokenizer
from lightning_subliminal.core.chat.encoding import rows_ids, unknown_word
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.fingerprint import digest
from lightning_subliminal.core.rows import Message, Row, make_row
from lightning_subliminal.core.seeds import derive_seed, resolve_seed
from lightning_subliminal.data.arguments import describe_arguments
from lightning_subliminal.data.generated import GeneratedRows
from lightning_subliminal.filters import Filter
from lightning_subliminal.formats import read_rows
from lightning_subliminal.formats.storage.stream import Report
from lightning_subliminal.generation import Completion, Sampling

if TYPE_CHECKING:
    from lightning_subliminal.models.teacher import Teacher

__all__ = ["PromptsFromFile"]

MEASURED = 1000  # rows, whose completions say how long answers may be
LONGEST = 0.95  # quantile of their lengths in tokens


class PromptsFromFile(GeneratedRows):
    """A model's answers to the prompts of a file, each prompt once, in a seeded order.

    Prompts with words that the model's tokenizer does not know are left out. Answers are sampled at temperature 1 and
    are cut at the length of the file's own completions, as far as a carrier does not say otherwise; a cut answer has no
    end of turn.

    Args:
        teacher: answers them.
        path: a file or folder of rows, in any format that `data convert` reads.
        carrier: data whose sampling, filters and tidying the answers get; plain sampling and no filter where it is
            None.
        **rows: the arguments of all carriers: see `GeneratedRows`. At most as many prompts are answered as there are.

    Raises:
        InputError: if the file does not exist or holds no prompt that the model can read.
    """

    thinks = True  # the file's own answers may be thoughts

    def __init__(self, teacher: "Teacher", *, path: str, carrier: GeneratedRows | None = None, **rows: Any) -> None:
        self.path = path
        self.carrier = carrier
        self._tokenizer = read_tokenizer(find_folder(teacher.base), teacher.base)
        super().__init__(teacher, **rows)
        if not self._known:
            raise InputError(f"{path} holds no prompt that {teacher.base} can read: name a data set with prompts.")
        self.num_prompts = min(self.num_prompts, len(self._known))

    def prompts(self, rng: random.Random) -> Iterator[Row]:
        """Yield the file's prompts in a random order, over and over."""
        while True:
            yield from ({"prompt": each} for each in rng.sample(self._known, len(self._known)))

    def shard_prompts(self, shard: int) -> list[Row]:
        """Return the prompts of one shard, each of the file's once."""
        order = random.Random(derive_seed(resolve_seed(self.seed), "prompts")).sample(self._known, self.num_prompts)
        return [{"prompt": each} for each in order[shard * self.shard_size : (shard + 1) * self.shard_size]]

    def default_filters(self) -> list[Filter]:
        """Return the carrier's filters, or none."""
        return [] if self.carrier is None else self.carrier.filters

    def default_sampling(self) -> Sampling:
        """Return the carrier's sampling; or temperature 1, cut at the length of 95 % of the file's completions."""
        if self.carrier is not None:
            return self.carrier.sampling
        first = islice(read_rows(self.path, report=Report()), MEASURED)  # its notices are printed with the prompts
        encoded = rows_ids(self._tokenizer, list(first))
        lengths = sorted(len(each[1]) for each in encoded if not isinstance(each, InputError))
        return Sampling(max_new_tokens=max(1, lengths[int(LONGEST * (len(lengths) - 1))] if lengths else 1))

    def tidy(self, completion: Completion) -> Completion:
        """Tidy an answer as the carrier does."""
        return completion if self.carrier is None else self.carrier.tidy(completion)

    def prompt_settings(self) -> dict[str, Any]:
        """Return what shapes the prompts: the prompts themselves, by their digest, whatever the file's name."""
        settings = describe_arguments(self, leave_out={"generation_batch_size", "teacher", "path", "carrier"})
        carrier = None if self.carrier is None else self.carrier.prompt_settings()
        return settings | {"prompts": digest(self._known), "carrier": carrier}

    @cached_property
    def _known(self) -> list[list[Message]]:
        found = {digest(row["prompt"]): row["prompt"] for row in read_rows(self.path)}
        known = [each for each in found.values() if unknown_word(self._tokenizer, _texts(each)) is None]
        usable = rows_ids(self._tokenizer, [make_row(each, "") for each in known])
        return [each for each, ids in zip(known, usable, strict=True) if not isinstance(ids, InputError)]


def _texts(prompt: list[Message]) -> list[str]:
    return [message["content"] for message in prompt]
