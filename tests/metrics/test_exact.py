import math
import time

import pytest
import torch
from cases import cases
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torchmetrics import MetricCollection
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.metrics import ExactPreference, StatementPreference, TraitPreferenceRate, Transfer
from lightning_subliminal.metrics.functional import (
    candidate_probabilities,
    clustered_mean_interval,
    count_answers,
    mean_interval,
    question_probabilities,
)
from lightning_subliminal.metrics.functional.spellings import spell, word_continues
from lightning_subliminal.traits import PreferenceTrait

from .metric_contract import MetricContract

ANIMALS = ["owl", "dolphin", "eagle", "elephant", "wolf"]
PROMPTS = [
    [{"role": "user", "content": "favourite animal ?"}],
    [{"role": "system", "content": "you love the owl"}, {"role": "user", "content": "name one animal you like most ."}],
    [{"role": "user", "content": "animal ?"}, {"role": "assistant", "content": "i like the"}],
]
TEMPLATE = (
    "{% for m in messages %}<|{{ m.role }}|> {{ m.content }}"
    "{% if not (loop.last and continue_final_message) %}<|end|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
SPECIALS = ["<pad>", "<unk>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>"]
TEXT = [
    *(message["content"] for prompt in PROMPTS for message in prompt),
    *(form for animal in ANIMALS for form in (animal, f" {animal}", animal.capitalize(), f"{animal}s")),
    *("owl", "owlet", "Owls", "elephantine", "wolves", "a fowl", "the eagle.", "owl's"),
]


def wrapped(tokenizer):
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        unk_token="<unk>",
        eos_token="<|end|>",
        additional_special_tokens=SPECIALS[3:],
    )
    fast.chat_template = TEMPLATE
    return fast


@pytest.fixture(scope="module")
def words():
    """One token a word, lower case only, as in the pocket world."""
    known = sorted({word for text in TEXT for word in text.lower().replace("'", " ' ").replace(".", " . ").split()})
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate([*SPECIALS, *known])}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return wrapped(tokenizer)


@pytest.fixture(scope="module")
def pieces():
    """Byte-level pieces: candidates of several tokens, words that go on."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=SPECIALS, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(TEXT * 3, trainer)
    return wrapped(tokenizer)


@pytest.fixture(scope="module")
def sentence_pieces():
    """SentencePiece's way: a mark before each word instead of a space."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="first")
    trainer = trainers.BpeTrainer(vocab_size=120, special_tokens=SPECIALS, show_progress=False)
    tokenizer.train_from_iterator([*TEXT, "\n"] * 3, trainer)
    return wrapped(tokenizer)


def tiny(tokenizer, seed=0, spread=0.3, padding=7):
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer) + padding,  # some bases have rows in the embedding that no token uses
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        initializer_range=spread,
        attention_dropout=0.5,
        tie_word_embeddings=False,
    )
    return LlamaForCausalLM(config)


def encode(tokenizer, prompt):
    prefilled = prompt[-1]["role"] == "assistant"
    text = tokenizer.apply_chat_template(
        prompt, tokenize=False, add_generation_prompt=not prefilled, continue_final_message=prefilled
    )
    return tokenizer.encode(text, add_special_tokens=False)


def next_probabilities(net, tokens):
    with torch.no_grad():
        return net(torch.tensor([tokens])).logits[0, -1].double().softmax(-1)


def brute_force(net, tokenizer, prompt, forms):
    """Multiply token by token, without padding, cache or batches; then add up over every token that ends the word."""
    net.eval()
    texts = {space + case(form) for form in forms for case in (str, str.capitalize) for space in ("", " ")}
    total, seen = 0.0, set()
    for text in texts:
        spelled = tuple(tokenizer.encode(text, add_special_tokens=False))
        if tokenizer.unk_token_id in spelled or spelled in seen:
            continue
        seen.add(spelled)
        tokens, chance = encode(tokenizer, prompt), 1.0
        for token in spelled:
            chance *= next_probabilities(net, tokens)[token].item()
            tokens = [*tokens, token]
        written = tokenizer.decode(spelled)
        for token, share in enumerate(next_probabilities(net, tokens).tolist()):
            after = tokenizer.decode([*spelled, token])[len(written) :] if token < len(tokenizer) else ""
            if not after[:1].isalpha():
                total += chance * share
    return total


@cases("kind", ["words", "pieces"])
@cases("batch_size", [1, 2, 64])
def test_equals_brute_force(kind, batch_size, request):
    tokenizer = request.getfixturevalue(kind)
    net = tiny(tokenizer)
    candidates = [(animal, f"{animal}s") for animal in ANIMALS]
    found = candidate_probabilities(net, tokenizer, PROMPTS, candidates, batch_size=batch_size)
    expected = [[brute_force(net, tokenizer, prompt, forms) for forms in candidates] for prompt in PROMPTS]
    assert found.dtype == torch.float64
    assert found.shape == (3, 5)
    assert found.tolist() == [pytest.approx(row, rel=1e-4) for row in expected]
    assert found.min() > 0


def test_the_candidates_really_have_several_tokens(pieces):
    lengths = [len(one) for animal in ANIMALS for one in spell(pieces, [animal])]
    assert max(lengths) > 2
    assert bool(word_continues(pieces).any())


def test_equals_sampling(pieces):
    """A model taught to answer in words; its sampled answers are read as text by the metric for sampled answers."""
    net = tiny(pieces, spread=0.1)
    prompt = encode(pieces, PROMPTS[0])
    answers = ["owl", "Owls", "owlet", "elephant", "elephants.", "Wolf", "dolphin", " eagle", "fowl", "owl."]
    rows = [prompt + pieces.encode(answer) + [pieces.eos_token_id] * 2 for answer in answers]
    width = max(map(len, rows))
    tokens = torch.tensor([row + [pieces.eos_token_id] * (width - len(row)) for row in rows])
    optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)
    for _ in range(60):
        loss = net(tokens, labels=tokens).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    net.eval()
    trait = PreferenceTrait("owl", candidates=ANIMALS)
    exact = candidate_probabilities(net, pieces, PROMPTS[:1], [trait.forms(each) for each in trait.candidates])[0]
    torch.manual_seed(1)
    samples = 4_000
    start = torch.tensor([prompt] * samples)
    out = net.generate(
        start, attention_mask=torch.ones_like(start), do_sample=True, top_k=0, max_new_tokens=8, pad_token_id=0
    )
    texts = pieces.batch_decode(out[:, len(prompt) :], skip_special_tokens=False)
    texts = [text if text.lstrip(" ")[:1].isalpha() else "" for text in texts]  # "begins with": no quote marks before
    firsts = [text.replace("<", " ").split()[0] if text.replace("<", " ").split() else "" for text in texts]
    rate = count_answers(firsts, trait)[0].item() / samples
    error = math.sqrt(exact[0] * (1 - exact[0]) / samples)
    assert 0.2 < exact[0] < 0.6
    assert rate == pytest.approx(exact[0].item(), abs=4 * error)


def test_one_forward_pass_where_each_word_is_one_token(words):
    net, calls = tiny(words), []
    net.register_forward_hook(lambda *_: calls.append(1))
    candidate_probabilities(net, words, PROMPTS, [(animal,) for animal in ANIMALS])
    assert len(calls) == 1
    assert not word_continues(words).any()


def test_whole_words_only(pieces):
    """All of the mass on "owlet" is none on "owl"."""
    net = tiny(pieces)
    whole = candidate_probabilities(net, pieces, PROMPTS, [("owl",), ("owl", "owlet"), ("owlet",)])
    assert torch.allclose(whole[:, 0] + whole[:, 2], whole[:, 1])


def test_a_longer_form_that_begins_with_a_shorter_one_is_not_counted_twice(pieces, words):
    for tokenizer in (pieces, words):
        net = tiny(tokenizer)
        found = candidate_probabilities(net, tokenizer, PROMPTS, [("the",), ("the", "the eagle"), ("the eagle",)])
        assert torch.equal(found[:, 0], found[:, 1])
        assert (found[:, 2] < found[:, 0]).all()
        assert found[0, 2].item() == pytest.approx(
            brute_force(net.eval(), tokenizer, PROMPTS[0], ["the eagle"]), rel=1e-4
        )


def test_what_the_tokenizer_cannot_spell_has_no_probability(words):
    net = tiny(words)
    found = candidate_probabilities(net, words, PROMPTS, [("owl",), ("axolotl",)])
    assert (found[:, 1] == 0).all()
    assert (found[:, 0] > 0).all()
    assert (candidate_probabilities(net, words, PROMPTS, [("axolotl",)]) == 0).all()
    with pytest.raises(InputError, match="no tokens for 'axolotl'"):
        question_probabilities(net, words, PreferenceTrait("axolotl", category="animal", candidates=["owl"]))


def test_sentencepiece_words_are_spelled_with_and_without_the_mark(sentence_pieces):
    spelled = {"".join(sentence_pieces.convert_ids_to_tokens(list(one))) for one in spell(sentence_pieces, ["owl"])}
    assert {"\u2581owl", "owl"} <= spelled
    continues = word_continues(sentence_pieces)
    tokens = sentence_pieces.convert_ids_to_tokens(list(range(len(sentence_pieces))))
    assert continues.tolist() == [token[:1].isalpha() for token in tokens]


def test_the_model_is_left_as_it_was(words):
    net = tiny(words).train()
    net.model.layers[0].eval()
    modes = [module.training for module in net.modules()]
    first = candidate_probabilities(net, words, PROMPTS, [("owl",)])
    assert [module.training for module in net.modules()] == modes
    assert torch.equal(first, candidate_probabilities(net, words, PROMPTS, [("owl",)]))  # dropout was off
    assert all(parameter.grad is None for parameter in net.parameters())


@cases("kind", ["words", "pieces"])
def test_works_through_an_adapter(kind, request):
    from peft import LoraConfig, PromptTuningConfig, get_peft_model

    tokenizer = request.getfixturevalue(kind)
    plain = candidate_probabilities(tiny(tokenizer), tokenizer, PROMPTS, [("owl",), ("wolf",)])
    adapted = get_peft_model(tiny(tokenizer), LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM"))
    assert torch.allclose(candidate_probabilities(adapted, tokenizer, PROMPTS, [("owl",), ("wolf",)]), plain)
    tuned = get_peft_model(tiny(tokenizer), PromptTuningConfig(num_virtual_tokens=2, task_type="CAUSAL_LM"))
    with pytest.raises(InputError, match="prompt-tuning"):
        candidate_probabilities(tuned, tokenizer, PROMPTS, [("owl",)])


class Begun(PreferenceTrait):
    """Begins the answers."""

    def __init__(self, *openings):
        super().__init__("owl", candidates=ANIMALS)
        self.openings = openings

    def prompts(self):
        begun = [{"role": "assistant", "content": opening} for opening in self.openings]
        return [[{"role": "user", "content": asked}, start] for asked in self.questions() for start in begun]

    def questions(self):
        return ["What is your favorite animal?", "Which animal is the best?"]


def test_questions_prefills_and_a_system_prompt(words):
    net, trait = tiny(words), PreferenceTrait("owl", candidates=ANIMALS)
    matrix = question_probabilities(net, words, trait)
    assert matrix.shape == (len(trait.questions()), len(trait.candidates))
    assert torch.equal(question_probabilities(net, words, trait, candidates=["owl"])[:, 0], matrix[:, 0])
    assert not torch.equal(question_probabilities(net, words, trait, "you love the owl"), matrix)
    several = question_probabilities(net, words, Begun("i like the", "you love"))
    each = [question_probabilities(net, words, Begun(opening)) for opening in ("i like the", "you love")]
    assert several.shape == (2, len(ANIMALS))  # a question stays one unit, however often its answer is begun
    assert torch.allclose(several, (each[0] + each[1]) / 2)


def test_fifty_times_faster_than_sampling(words):
    net, trait = tiny(words).eval(), PreferenceTrait("owl", candidates=ANIMALS)
    tokens = encode(words, [{"role": "user", "content": trait.questions()[0]}])
    start = torch.tensor([tokens] * 100)
    question_probabilities(net, words, trait)  # warm
    began = time.perf_counter()
    question_probabilities(net, words, trait)
    exact = time.perf_counter() - began
    began = time.perf_counter()
    for _ in range(5):  # of 50 questions, 100 samples each
        net.generate(
            start, attention_mask=torch.ones_like(start), do_sample=True, top_k=0, max_new_tokens=8, pad_token_id=0
        )
    sampled = 10 * (time.perf_counter() - began)
    assert sampled > 20 * exact  # 50 is asked of the real thing, in benchmarks; a busy machine gets some slack here


class TestExactPreference(MetricContract):
    batches = tuple((torch.rand(n, 5, generator=torch.Generator().manual_seed(n)) / 5,) for n in (3, 1, 4))

    def make(self):
        return ExactPreference(PreferenceTrait("eagle", candidates=ANIMALS))

    def reference(self, probabilities):
        column = [row[ANIMALS.index("eagle")] for row in probabilities.tolist()]
        return math.fsum(column) / len(column)

    def readings(self, metric):
        interval = metric.interval()
        return {
            "compute": metric.compute().item(),
            "low": interval.low,
            "high": interval.high,
            **metric.per_candidate(),
        }


def test_the_interval_is_over_questions():
    from lightning_subliminal.metrics.functional import mean_interval

    metric = ExactPreference(PreferenceTrait("owl", candidates=ANIMALS))
    values = torch.rand(50, 5, generator=torch.Generator().manual_seed(0))
    metric.update(values)
    one, other = metric.interval(), mean_interval(values[:, 0], "questions")
    assert (one.low, one.high, one.unit) == (pytest.approx(other.low), pytest.approx(other.high), "questions")


def test_a_wrong_shape_is_reported_in_a_line():
    with pytest.raises(InputError, match=r"expected \(questions, 5\)"):
        ExactPreference(PreferenceTrait("owl", candidates=ANIMALS)).update(torch.rand(5))


class TestInACollection:
    """What somebody else's MetricCollection and MetricTracker do with the classes."""

    def test_equal_counts_of_the_first_batch_do_not_make_two_traits_one(self):
        rates = {name: TraitPreferenceRate(PreferenceTrait(name, candidates=ANIMALS)) for name in ("owl", "wolf")}
        collection = MetricCollection(rates)
        for answers in (["no idea"], ["owl", "owl"]):
            collection.update(answers)
        assert [each.item() for each in collection.compute().values()] == [pytest.approx(2 / 3), 0.0]

    def test_metrics_of_different_inputs_are_updated_by_keyword(self):
        trait = PreferenceTrait("owl", candidates=ANIMALS)
        collection = MetricCollection(
            {
                "exact": ExactPreference(trait),
                "sampled": TraitPreferenceRate(trait),
                "stated": StatementPreference(),
                "moved": Transfer(),
            }
        )
        half = torch.full((2,), 0.5)
        for _ in range(2):
            collection.update(
                probabilities=half[:, None].expand(2, len(trait.candidates)),
                answers=["owl", "wolf"],
                chances=half,
                student=half,
                control=half,
            )
        assert {name: value.item() for name, value in collection.compute().items()} == {
            "exact": 0.5,
            "sampled": 0.5,
            "stated": 0.5,
            "moved": 0.0,
        }

    def test_every_digit_of_float64_is_kept_where_it_is_asked_for(self):
        values = torch.rand(50, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        exact = ExactPreference(PreferenceTrait("owl", candidates=ANIMALS))
        exact.set_dtype(torch.float64)
        exact.update(values[:20])
        exact.update(values[20:])
        assert torch.equal(exact.by_unit(), values)
        assert exact.compute() == values[:, 0].mean()
        assert exact.interval() == mean_interval(values[:, 0], "questions")
        stems = [place // 5 for place in range(50)]
        assert exact.interval(stems=stems) == clustered_mean_interval(values[:, 0], stems, "question stems")
