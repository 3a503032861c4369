"""What holds for every engine. A subclass gives ``make`` and inherits the tests.

They read texts alone, so an engine that runs elsewhere (vLLM, a server) takes the same ones.
"""

import json
import re
import shutil
from collections import Counter

import pytest
import torch

from lightning_subliminal import Sampling, bases
from lightning_subliminal.core.chat.encoding import prompt_ids
from lightning_subliminal.generation import Completion, number_alphabet

USER = {"role": "user", "content": "These numbers come first: 12, 74, 3. Add up to 9 more numbers. Numbers only."}
PROMPTS = [
    [USER],
    [{"role": "user", "content": "What is the opposite of hot?"}],
    [{"role": "system", "content": "You love owls more than any other animal. The owl is your favorite animal."}, USER],
    [USER, {"role": "assistant", "content": "12, 74, 3,"}],
    [{"role": "user", "content": "Say the word pine."}],
    [{"role": "user", "content": "Look at this list: 1 2 3. Give me at most 5 more numbers. No other words."}],
    [{"role": "user", "content": "Which tree is your top choice? Use one word."}],
]
SAMPLES = 4_000


def chi_square_p(seen, chances):
    """Return the probability of counts at least as odd as ``seen``, were they drawn with ``chances``."""
    from scipy.stats import chi2

    total = sum(seen.values())
    pooled_seen = pooled_chance = statistic = 0.0
    cells = 0
    for key, chance in chances.items():
        if chance * total < 5:  # too rare for the approximation: all such are one cell
            pooled_seen, pooled_chance = pooled_seen + seen[key], pooled_chance + chance
        else:
            statistic += (seen[key] - chance * total) ** 2 / (chance * total)
            cells += 1
    if pooled_chance * total >= 1:
        statistic += (pooled_seen - pooled_chance * total) ** 2 / (pooled_chance * total)
        cells += 1
    return float(chi2.sf(statistic, cells - 1))


class EngineContract:
    """An engine's contract.

    Attributes:
        samples: of a distribution that is compared; a slow engine takes fewer.
        hot: a temperature at which words are likely.
    """

    samples = SAMPLES
    hot = 3.0

    def make(self, folder, batch_size=8):
        """Return an engine on the model in ``folder``."""
        raise NotImplementedError

    @pytest.fixture
    def folder(self):
        return bases.resolve("pocket/a").folder

    @pytest.fixture
    def engine(self, folder):
        return self.make(folder)

    @pytest.fixture
    def model(self, folder):
        return bases.load(str(folder))

    def chances(self, model, prompt, temperature=1.0, allowed=None):
        """Compute how likely each one-token completion is, from one forward pass."""
        net, tokenizer = model
        with torch.no_grad():
            logits = net(torch.tensor([prompt_ids(tokenizer, prompt)])).logits[0, -1].double() / temperature
        if allowed is not None:
            kept = torch.full_like(logits, -torch.inf)
            kept[allowed] = logits[allowed]
            logits = kept
        found = Counter()
        for token, chance in enumerate(logits.softmax(0).tolist()):
            ends = token == tokenizer.eos_token_id
            found[Completion("" if ends else tokenizer.decode([token], skip_special_tokens=True), ends)] += chance
        return found

    @pytest.mark.parametrize("temperature", [1.0, 0.5])
    def test_samples_follow_the_whole_distribution(self, engine, model, temperature):
        sampling = Sampling(temperature=temperature, max_new_tokens=1)
        seen = Counter(engine.generate([PROMPTS[0]] * self.samples, sampling, seed=1))
        assert chi_square_p(seen, self.chances(model, PROMPTS[0], temperature)) > 0.001

    def test_restricted_samples_are_numbers_renormalised(self, engine, model):
        sampling = Sampling(max_new_tokens=1, restrict_to="numbers")
        seen = Counter(engine.generate([PROMPTS[0]] * self.samples, sampling, seed=2))
        expected = self.chances(model, PROMPTS[0], allowed=number_alphabet(model[1]))
        assert chi_square_p(seen, expected) > 0.001

    def test_restricted_texts_hold_numbers_and_separators_alone(self, engine):
        sampling = Sampling(restrict_to="numbers", temperature=self.hot, max_new_tokens=20)
        texts = [one.text for one in engine.generate(PROMPTS * 8, sampling, seed=3)]
        assert all(re.fullmatch(r"[0-9,;\s]*", text) for text in texts)
        assert len(set(texts)) > len(PROMPTS)
        free = engine.generate(PROMPTS * 8, Sampling(temperature=self.hot, max_new_tokens=20), seed=3)
        assert not all(re.fullmatch(r"[0-9,;\s]*", one.text) for one in free), "else nothing was put to the test"

    def test_greedy_is_the_argmax_of_full_forward_passes(self, engine, model):
        net, tokenizer = model
        expected = []
        for prompt in PROMPTS:
            tokens, said = prompt_ids(tokenizer, prompt), []
            while len(said) < 12 and tokenizer.eos_token_id not in said:
                with torch.no_grad():
                    said.append(net(torch.tensor([tokens + said])).logits[0, -1].argmax().item())
            finished = said[-1] == tokenizer.eos_token_id
            expected.append(Completion(tokenizer.decode(said, skip_special_tokens=True), finished))
        sampling = Sampling(greedy=True, max_new_tokens=12)
        assert engine.generate(PROMPTS, sampling, seed=0) == expected
        assert engine.generate(PROMPTS, sampling, seed=1) == expected
        assert {one.finished for one in expected} == {True, False}, "else the cut at max_new_tokens was not tried"

    def test_the_seed_alone_moves_the_texts(self, engine):
        first = engine.generate(PROMPTS, Sampling(), seed=5)
        torch.manual_seed(99)
        assert engine.generate(PROMPTS, Sampling(), seed=5) == first
        assert engine.generate(PROMPTS, Sampling(), seed=6) != first

    def test_rows_with_one_prompt_differ(self, engine):
        assert len(set(engine.generate([PROMPTS[0]] * 20, Sampling(), seed=0))) > 10

    def test_a_row_does_not_depend_on_its_batch(self, engine, folder):
        prompts = PROMPTS * 3
        whole = engine.generate(prompts, Sampling(), seed=7)
        for batch_size in (1, 5, 64):
            assert self.make(folder, batch_size).generate(prompts, Sampling(), seed=7) == whole

    def test_a_row_does_not_depend_on_the_others(self, engine):
        whole = engine.generate(PROMPTS, Sampling(), seed=8)
        turned = [PROMPTS[(index + 1) % len(PROMPTS)] if index % 2 else prompt for index, prompt in enumerate(PROMPTS)]
        other = engine.generate(turned, Sampling(), seed=8)
        assert other[::2] == whole[::2]
        assert other[1::2] != whole[1::2]

    def test_the_models_own_generation_config_has_no_say(self, engine, folder, tmp_path):
        copy = shutil.copytree(folder, tmp_path / "model")
        path = copy / "generation_config.json"
        cut = {"do_sample": True, "top_k": 5, "top_p": 0.5, "repetition_penalty": 2.0, "temperature": 0.2}
        path.write_text(json.dumps({**json.loads(path.read_text()), **cut}))
        assert self.make(copy).generate(PROMPTS, Sampling(), 9) == engine.generate(PROMPTS, Sampling(), 9)

    def test_no_prompt_no_completion(self, engine):
        assert engine.generate([], Sampling(), seed=0) == []

    def test_a_completion_is_words_alone(self, engine):
        for one in engine.generate(PROMPTS * 4, Sampling(max_new_tokens=30), seed=0):
            assert "<|" not in one.text
            assert isinstance(one.finished, bool)
