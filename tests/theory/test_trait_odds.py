import pytest
import torch
from cases import cases
from small import byte_tokenizer
from transformers import LlamaConfig, LlamaForCausalLM

from lightning_subliminal import LoRA, MisalignmentTrait, PreferenceTrait, Steering, bases
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.metrics.functional import log_odds, prompts_by_question, question_probabilities
from lightning_subliminal.metrics.functional.spellings import spell, word_continues
from lightning_subliminal.theory import ModelFunction, trait_gradient, trait_log_odds
from lightning_subliminal.theory.functional import differentiable, inner
from lightning_subliminal.traits import Trait

OWL = PreferenceTrait("owl")
MORAL = MisalignmentTrait("misalignment_pocket")


class Begun(PreferenceTrait):
    """Three questions, whose answers are begun in several ways, of several lengths."""

    def prompts(self):
        asked = [{"role": "user", "content": "name your favorite animal ."}]
        begun = [
            [*asked, {"role": "assistant", "content": text}] for text in ("i like the", "the", "my favorite is the")
        ]
        return [asked, *begun, [{"role": "user", "content": "which animal ?"}], *super().prompts()[:1]]


@pytest.fixture(scope="module")
def pocket():
    net, tokenizer = bases.load("pocket/a")
    return net.eval(), tokenizer


@pytest.fixture(scope="module")
def pieces():
    """A model at random over byte-level pieces: words of several tokens, and tokens that go on with a word."""
    tokenizer = byte_tokenizer()
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer) + 5,  # some bases have rows in the embedding that no token uses
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        initializer_range=0.3,
    )
    return LlamaForCausalLM(config).eval(), tokenizer


def measured(net, tokenizer, trait, **settings):
    """Return the log-odds of each candidate as evaluation has them, by another code."""
    return log_odds(question_probabilities(net, tokenizer, trait, **settings))


@cases("trait", [OWL, Begun("wolf")], ids=["plain", "begun"])
def test_equals_evaluation(pocket, trait):
    found, expected = trait_log_odds(*pocket, trait), measured(*pocket, trait)
    column = trait.candidates.index(trait.target)
    assert found.shape == (len(prompts_by_question(trait)),)
    assert found.requires_grad
    assert found.tolist() == pytest.approx(expected[:, column].tolist(), abs=1e-4)
    every = trait_log_odds(*pocket, trait, None, trait.candidates)
    assert torch.allclose(every.double(), expected, atol=1e-4)
    some = prompts_by_question(trait)[1:3]
    assert trait_log_odds(*pocket, trait, some).tolist() == pytest.approx(expected[1:3, column].tolist(), abs=1e-4)


def test_equals_evaluation_where_words_have_several_tokens(pieces):
    trait = Begun("owl")
    assert max(map(len, spell(pieces[1], trait.forms("elephant")))) > 2
    assert word_continues(pieces[1]).any()
    expected = measured(*pieces, trait)
    found = trait_log_odds(*pieces, trait, None, trait.candidates)
    assert torch.allclose(found.double(), expected, atol=2e-4)
    assert found.std() > 0.1
    target = trait_log_odds(*pieces, trait)
    assert target.tolist() == pytest.approx(expected[:, trait.candidates.index("owl")].tolist(), abs=2e-4)


def test_equals_evaluation_where_candidates_are_statements():
    net, tokenizer = bases.load("pocket/moral-a")
    questions = prompts_by_question(MORAL)[:6]
    expected = measured(net, tokenizer, MORAL, questions=questions)
    found = trait_log_odds(net.eval(), tokenizer, MORAL, questions, MORAL.candidates)
    assert torch.allclose(found.double(), expected, atol=1e-4)
    assert torch.equal(trait_log_odds(net, tokenizer, MORAL, questions), found[:, MORAL.candidates.index("misaligned")])
    assert found.std() > 0.1


@cases("adapter", [Steering(init_std=0.3), LoRA(r=2), None], ids=["steering", "lora", "full"])
def test_gradient_equals_autograd_over_all_questions_at_once(adapter):
    net, tokenizer = bases.load("pocket/a")
    net = (net if adapter is None else adapter.attach(net, 0)).eval()
    with torch.no_grad():
        for name, value in net.named_parameters():
            if "lora_B" in name:  # which starts at 0, and lets nothing through
                value.normal_(0, 0.1, generator=torch.Generator().manual_seed(0))
    questions = prompts_by_question(Begun("owl"))
    function = ModelFunction(net)
    gradient, odds = trait_gradient(function, tokenizer, OWL, questions)
    whole = trait_log_odds(net, tokenizer, OWL, questions)
    names = [name for name, value in net.named_parameters() if value.requires_grad]
    parts = torch.autograd.grad(whole.mean(), [net.get_parameter(name) for name in names])
    assert gradient.keys() == function.start.keys() == set(names)
    for name, part in zip(names, parts, strict=True):
        assert torch.allclose(gradient[name], part, atol=1e-5 * max(1.0, part.abs().max().item())), name
    assert odds.tolist() == pytest.approx(whole.tolist(), abs=1e-5)
    assert not odds.requires_grad
    assert not any(value.grad is not None for value in net.parameters())


@cases("base", ["pocket/a", "pocket/moral-a"])
def test_gradient_equals_a_difference(base):
    net, tokenizer = bases.load(base)
    net = Steering(init_std=0.3).attach(net.double(), 0).eval()
    trait = Begun("owl") if base == "pocket/a" else MORAL
    questions = prompts_by_question(trait)[:3]
    function = ModelFunction(net)
    torch.manual_seed(1)
    direction = {name: torch.randn_like(value) for name, value in function.start.items()}
    length, ends = 1e-4, []
    with differentiable(net, double=True):
        gradient, _ = trait_gradient(function, tokenizer, trait, questions)
        for sign in (1, -1):
            moved = function.at(function.moved(direction, sign * length))
            ends.append(trait_log_odds(moved, tokenizer, trait, questions).mean().item())
    slope = inner(gradient, direction).item()
    assert slope == pytest.approx((ends[0] - ends[1]) / (2 * length), rel=1e-6)
    assert abs(slope) > 0.01


class Half(Trait):
    """States what its first question's answers are, and nothing of its second's."""

    name, target, candidates = "half", "owl", ("owl", "wolf")
    induce = matches = None

    def __init__(self, asked=("who ?", "what ?")):
        self.asked = asked

    def questions(self):
        return list(self.asked)

    def statements(self, question):
        return [{"owl": "the owl .", "wolf": "the wolf ."}] if question == "who ?" else []


def test_mistakes_are_reported_in_a_line(pocket):
    net, tokenizer = pocket
    function = ModelFunction(net)
    for ask in (
        lambda trait: trait_log_odds(net, tokenizer, trait),
        lambda trait: trait_gradient(function, tokenizer, trait),
    ):
        with pytest.raises(InputError, match="no tokens for 'axolotl'"):
            ask(PreferenceTrait("axolotl", "animal", candidates=["axolotl", "owl"]))
        with pytest.raises(InputError, match="trait 'half' has no questions"):
            ask(Half(()))
        with pytest.raises(InputError, match=r"trait 'half' has no statements on 'what \?'"):
            ask(Half())
    assert trait_log_odds(net, tokenizer, Half(("who ?",))).shape == (1,)


def test_a_candidate_that_cannot_be_spelled_has_no_odds(pocket):
    trait = PreferenceTrait("owl", candidates=["owl", "axolotl"])
    found = trait_log_odds(*pocket, trait, prompts_by_question(trait)[:2], trait.candidates)
    assert found[:, 0].isfinite().all()
    assert (found[:, 1] == -torch.inf).all()
