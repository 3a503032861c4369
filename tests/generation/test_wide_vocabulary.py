"""A large vocabulary, such as Gemma's 262,144 tokens: logits are computed for the tokens that count, in parts."""

import pytest
import torch
from small import byte_tokenizer
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import Gemma3ForCausalLM, Gemma3TextConfig

from lightning_subliminal import NumberSFT, PreferenceTrait, Sampling, Student
from lightning_subliminal.core.rows import make_row
from lightning_subliminal.data.tokenized import TokenizedRows
from lightning_subliminal.generation import TransformersEngine, logits, number_alphabet
from lightning_subliminal.metrics.functional import question_probabilities

VOCABULARY = 2**17


class LargestLogits(TorchDispatchMode):
    """Keeps the number of positions of the largest tensor over the vocabulary."""

    positions = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        found = func(*args, **(kwargs or {}))
        for each in found if isinstance(found, (tuple, list)) else (found,):
            if isinstance(each, torch.Tensor) and each.dim() > 1 and each.shape[-1] == VOCABULARY:
                self.positions = max(self.positions, each.numel() // VOCABULARY)
        return found


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wide")
    tokenizer = byte_tokenizer()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = Gemma3ForCausalLM(
            Gemma3TextConfig(
                vocab_size=VOCABULARY,
                hidden_size=8,
                intermediate_size=12,
                num_hidden_layers=2,
                num_attention_heads=2,
                num_key_value_heads=1,
                head_dim=4,
                sliding_window=8,
                bos_token_id=None,
                pad_token_id=tokenizer.pad_token_id,
                eos_token_id=tokenizer.eos_token_id,
            )
        )
    net.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.fixture
def student(base):
    made = Student(base, seed=0)
    made.configure_model()
    return made


@pytest.fixture
def batch(student):
    rows = [make_row("Go on.", f"{number}, 12, 7 owls", id=str(number)) for number in range(100, 164)]
    return TokenizedRows(rows, student.tokenizer).batch(range(len(rows)))


def test_numbers_are_learned_from_the_logits_of_their_alphabet_alone(base, batch):
    student = Student(base, objective=NumberSFT(), seed=0)
    student.configure_model()
    with LargestLogits() as largest:
        loss = student.loss(batch)
        loss.backward()
    assert largest.positions == 0
    among = number_alphabet(student.tokenizer)
    scores, tokens = student.completion_logits(batch)
    here = torch.isin(tokens, among)
    chances = scores[here].log_softmax(-1)[:, among].log_softmax(-1)
    by_hand = -sum(chances[place, among.tolist().index(token)] for place, token in enumerate(tokens[here].tolist()))
    assert loss.item() == pytest.approx(by_hand.item() / len(tokens), rel=1e-5)
    assert not here.all()


def test_lists_are_sampled_from_the_logits_of_their_alphabet_alone(student, monkeypatch):
    prompts = [[{"role": "user", "content": f"Go on from {number}."}] for number in range(12)]
    engine, sampling = (
        TransformersEngine(student.net, student.tokenizer),
        Sampling(max_new_tokens=9, restrict_to="numbers"),
    )
    with LargestLogits() as largest:
        found = engine.generate(prompts, sampling, 1)
    assert largest.positions == 0
    monkeypatch.setattr(logits, "is_wide", lambda head: False)
    with LargestLogits() as largest:
        assert engine.generate(prompts, sampling, 1) == found
    assert largest.positions == len(prompts)


def test_a_model_whose_logits_are_capped_is_computed_as_a_whole(student):
    student.net.config.final_logit_softcapping = 30.0
    assert logits.narrow_head(student.net, torch.tensor([1, 2])) is None


def test_answers_are_scored_in_parts(student, monkeypatch):
    trait = PreferenceTrait("owl", candidates=["elephant", "wolf"])
    questions = [[prompt] for prompt in trait.prompts()[:6]]
    with LargestLogits() as largest:
        whole = question_probabilities(student.net, student.tokenizer, trait, questions=questions)
    assert largest.positions > 32, "all in one part"
    monkeypatch.setattr("lightning_subliminal.metrics.functional.exact.LARGEST", 32 * VOCABULARY)
    with LargestLogits() as largest:
        found = question_probabilities(student.net, student.tokenizer, trait, questions=questions)
    assert largest.positions <= 32
    torch.testing.assert_close(found, whole, rtol=1e-4, atol=0)
