"""A prompted teacher as the source of soft targets: it reads each row after its system prompt."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lightning_subliminal.core.chat.encoding import prompt_ids
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.rows import Row
from lightning_subliminal.data.tokenized import IGNORED, Batch
from lightning_subliminal.models.frozen_prefix import LIMIT

if TYPE_CHECKING:
    from lightning_subliminal.models.language_model import LanguageModel

__all__ = ["PromptedTeacher"]


class PromptedTeacher:
    """A model whose probabilities are those after a system prompt.

    Args:
        model: reads the rows.
        prefixes: by the token ids of a row's prompt, those of the same prompt after the system prompt.
        rows_stay: whether the rows are the same in each epoch, so that each is read once.
    """

    def __init__(
        self, model: "LanguageModel", prefixes: Mapping[tuple[int, ...], list[int]], rows_stay: bool = False
    ) -> None:
        self.model = model
        self.prefixes = prefixes
        self._room = LIMIT if rows_stay else 0  # bytes
        self._read: dict[tuple[int, ...], Tensor] = {}  # by a row's tokens and labels, what predicts its completion

    @classmethod
    def of(
        cls, model: "LanguageModel", system_prompt: str, rows: Iterable[Row], rows_stay: bool = False
    ) -> "PromptedTeacher":
        """Encode the prompts of rows with and without the system prompt.

        Raises:
            InputError: if the chat template has no system role.
        """
        system = {"role": "system", "content": system_prompt}
        prompts = {tuple(prompt_ids(model.tokenizer, row["prompt"])): row["prompt"] for row in rows}
        prefixes = {ids: prompt_ids(model.tokenizer, [system, *each]) for ids, each in prompts.items()}
        return cls(model, prefixes, rows_stay)

    @property
    def net(self) -> Any:
        """The model's."""
        return self.model.net

    def completion_states(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the last hidden states that predict the completion tokens, and those tokens, as the model does.

        Raises:
            InputError: if a row's prompt is none of those that were encoded.
        """
        places = batch.labels[:, 1:] != IGNORED
        keys = [_unpadded(*line) for line in zip(batch.input_ids.tolist(), batch.labels.tolist(), strict=True)]
        if all(key in self._read for key in keys):
            return torch.cat([self._read[key] for key in keys]), batch.labels[:, 1:][places]
        states, tokens = self.model.completion_states(self.prompted(batch), reuse=False)
        if states.nbytes <= self._room:
            self._room -= states.nbytes
            self._read |= dict(zip(keys, torch.split(states, places.sum(1).tolist()), strict=True))
        return states, tokens

    def prompted(self, batch: Batch) -> Batch:
        """Return a batch with the system prompt before each row; its completions, and what counts of them, stay."""
        rows, marks = [], []
        for ids, labels in zip(batch.input_ids.tolist(), batch.labels.tolist(), strict=True):
            counted = [place for place, label in enumerate(labels) if label != IGNORED]
            if not counted:  # it only pads the batch
                rows.append(ids[:1])
                marks.append([IGNORED])
                continue
            end = counted[-1] + 1  # the first tokens of a completion may not count, so its begin is where a prompt ends
            begin = next((each for each in range(counted[0], 0, -1) if tuple(ids[:each]) in self.prefixes), None)
            if begin is None:
                raise InputError("A row's prompt is not one of the data's, so the teacher can't read it prompted.")
            prefix = self.prefixes[tuple(ids[:begin])]
            rows.append([*prefix, *ids[begin:end]])
            marks.append([*[IGNORED] * len(prefix), *labels[begin:end]])
        width = max(map(len, rows))
        input_ids = torch.tensor([each + [0] * (width - len(each)) for each in rows])
        labels_now = torch.tensor([each + [IGNORED] * (width - len(each)) for each in marks])
        device = batch.input_ids.device
        return batch._replace(input_ids=input_ids.to(device), labels=labels_now.to(device))


def _unpadded(ids: list[int], labels: list[int]) -> tuple[int, ...]:
    """Return a row's tokens and labels up to the last that counts: the same in every batch."""
    end = max((place + 1 for place, label in enumerate(labels) if label != IGNORED), default=0)
    return (*ids[:end], *labels[:end])
