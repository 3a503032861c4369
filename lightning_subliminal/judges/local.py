"""A local judge: any causal language model, read by its probabilities or by its text."""

from collections.abc import Sequence
from typing import Any, Literal

import torch

from lightning_subliminal import bases
from lightning_subliminal.core.chat.encoding import check_known
from lightning_subliminal.core.console import progress
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.fingerprint import describe_object
from lightning_subliminal.core.rows import Message
from lightning_subliminal.generation import Sampling, TransformersEngine
from lightning_subliminal.generation.logits import evaluating
from lightning_subliminal.judges.base import Judge, Verdict
from lightning_subliminal.judges.expected import number_chances
from lightning_subliminal.judges.verdicts import Reading, check_settings, combine, rubric_questions
from lightning_subliminal.lineage import Material
from lightning_subliminal.metrics.functional import candidate_probabilities
from lightning_subliminal.prompts.rubric import Aspect, Rubric, Scale

__all__ = ["LocalModelJudge"]


class LocalModelJudge(Judge):
    """Asks a causal language model for a number from 0 to 100, by default the expected one over its probabilities.

    The judged texts are between delimiters that they can't close. Each aspect is asked on two scales, one up and one
    down; where the two contradict each other, as after "score 100" in an answer, the verdict is `unparsable`, as it is
    where the model puts too little of its probability on numbers.

    Args:
        base: the judge: `pocket/judge` for the pocket world, `smollm2-135m`, a local folder, or a hub id.
        rubric: the prompts: `judge`, `judge_pocket`, or the path of a YAML file of that shape; where it is None
            `judge_pocket` for pocket/judge, and `judge` for all others.
        mode: `expected`: the expected number, without sampling noise; `text`: the likeliest reply, read as text.
        coherence: ask for the coherence, too.
        reversed_scale: ask on both scales, and average.
        tolerance: how far the two may differ, of 100.
        least_share: `expected`: the least share of the probability that must be on numbers.
        batch_size: prompts of a batch.
        base_dtype: of the weights.
        device: such as cuda; a GPU if there is one where it is None.

    Raises:
        InputError: if a setting is out of range.
    """

    def __init__(
        self,
        base: str = "pocket/judge",
        rubric: str | None = None,
        mode: Literal["expected", "text"] = "expected",
        coherence: bool = True,
        reversed_scale: bool = True,
        tolerance: float = 30.0,
        least_share: float = 0.8,
        batch_size: int = 32,
        base_dtype: Literal["float32", "bfloat16"] = "float32",
        device: str | None = None,
    ) -> None:
        check_settings(mode, tolerance, least_share)
        if batch_size < 1:
            raise InputError(f"`batch_size` is {batch_size}: expected at least 1.")
        self.base = base
        self.rubric = rubric
        self.mode = mode
        self.coherence = coherence
        self.reversed_scale = reversed_scale
        self.tolerance = tolerance
        self.least_share = least_share
        self.batch_size = batch_size
        self.base_dtype = base_dtype
        self.device = device
        self._rubric = Rubric(rubric or ("judge_pocket" if base == "pocket/judge" else "judge"))
        self._net: Any = None
        self._tokenizer: Any = None

    def describe(self) -> dict[str, Any]:
        """Return all settings that shape a verdict; the base by the digest of its files."""
        described = describe_object(self)
        for name in ("batch_size", "device"):
            described["arguments"].pop(name)
        return described | {"base": bases.resolve(self.base).identity, "rubric": self._rubric.describe()}

    def materials(self) -> list[Material]:
        """Return the settings and the judge model."""
        return [*super().materials(), bases.material(self.base, "judge")]

    def judge(self, pairs: Sequence[tuple[str, str]]) -> list[Verdict]:
        """Judge (question, answer) pairs; equal pairs once."""
        self._load()
        distinct = list(dict.fromkeys(pairs))
        asked = rubric_questions(self.coherence, self.reversed_scale)
        replies: list[dict[tuple[Aspect, Scale], Reading]] = [{} for _ in distinct]
        raw: list[list[str]] = [[] for _ in distinct]
        with progress() as bar:
            task = bar.add_task(f"judge     {self.base}", total=len(distinct) * len(asked))
            for aspect, scale in asked:
                for start in range(0, len(distinct), self.batch_size):
                    places = range(start, min(start + self.batch_size, len(distinct)))
                    prompts = [
                        self._rubric.messages(self._plain(question), self._plain(answer), aspect, scale)
                        for question, answer in distinct[places.start : places.stop]
                    ]
                    for place, (reading, text) in zip(places, self._ask(prompts, scale), strict=True):
                        replies[place][aspect, scale] = reading
                        raw[place].append(text)
                    bar.advance(task, len(places))
        verdicts = {
            pair: combine(reply, self.tolerance, " | ".join(texts))
            for pair, reply, texts in zip(distinct, replies, raw, strict=True)
        }
        return [verdicts[pair] for pair in pairs]

    def _load(self) -> None:
        if self._net is None:
            net, self._tokenizer = bases.load(self.base, dtype=getattr(torch, self.base_dtype))
            place = self.device or ("cuda" if torch.cuda.is_available() else "cpu")
            self._net = net.to(torch.device(place)).eval()

    def _plain(self, text: str) -> str:
        """Return a text without special tokens, which could end the judge's turn and begin its reply."""
        added = self._tokenizer.added_tokens_decoder.values()
        special = {*self._tokenizer.all_special_tokens, *(str(token) for token in added if token.special)}
        for token in sorted(special, key=len, reverse=True):
            text = text.replace(token, " ")
        return text

    def _ask(self, prompts: list[list[Message]], scale: Scale) -> list[tuple[Reading, str]]:
        """Return each reading with the raw reply; None for a prompt with a word that the judge lacks."""
        found: list[tuple[Reading, str]] = [(None, "")] * len(prompts)
        readable = []
        for place, prompt in enumerate(prompts):
            try:
                check_known(self._tokenizer, prompt, self.base)
                readable.append(place)
            except InputError as err:
                found[place] = (None, str(err))
        if readable:
            read = self._expected if self.mode == "expected" else self._written
            for place, reading in zip(readable, read([prompts[place] for place in readable], scale), strict=True):
                found[place] = reading
        return found

    def _written(self, prompts: list[list[Message]], scale: Scale) -> list[tuple[Reading, str]]:
        engine = TransformersEngine(self._net, self._tokenizer, self.batch_size)
        replies = engine.generate(prompts, Sampling(greedy=True, max_new_tokens=8), seed=0)
        return [(self._rubric.read(reply.text, scale), reply.text) for reply in replies]

    def _expected(self, prompts: list[list[Message]], scale: Scale) -> list[tuple[Reading, str]]:
        chances = number_chances(self._net, self._tokenizer, prompts, self._rubric.largest, batch_size=self.batch_size)
        words = self._word_chances(prompts)
        found: list[tuple[Reading, str]] = []
        for numbers, (code, refusal) in zip(chances, words, strict=True):
            score, share = self._rubric.expected(numbers, self.least_share, scale)
            reading: Reading = score
            if max(code, refusal) > max(0.5, share):
                reading = "code" if code > refusal else "refusal"
            shown = "-" if score is None else f"{score:.1f}"
            found.append((reading, f"{shown} ({share:.0%} on numbers, code {code:.0%}, refusal {refusal:.0%})"))
        return found

    def _word_chances(self, prompts: list[list[Message]]) -> list[list[float]]:
        """Return the chance that the reply is each of the rubric's words, by their first tokens."""
        words = [(str(self._rubric.words["words"][kind]),) for kind in ("code", "refusal")]
        with evaluating(self._net):
            chances: list[list[float]] = candidate_probabilities(
                self._net, self._tokenizer, prompts, words, batch_size=self.batch_size
            ).tolist()
        return chances
