from collections import Counter
from types import SimpleNamespace

import pytest
import torch
from cases import cases
from template_tokenizers import TABLE, template_tokenizer
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from lightning_subliminal import Sampling, bases
from lightning_subliminal.core.chat.encoding import prompt_ids, row_ids
from lightning_subliminal.core.chat.thoughts import thought_tokens
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.rows import make_row
from lightning_subliminal.generation import Completion, TransformersEngine
from lightning_subliminal.generation import engine as engine_module
from lightning_subliminal.generation.engine import choose

from .engine_contract import PROMPTS, SAMPLES, EngineContract, chi_square_p


class TestTransformersEngine(EngineContract):
    def make(self, folder, batch_size=8):
        return TransformersEngine(*bases.load(str(folder)), batch_size)

    def test_dropping_finished_rows_changes_nothing(self, engine, model):
        """The engine drops rows that have ended from its cache; one row at a time without a cache has none to drop."""
        net, tokenizer = model
        prompts, sampling = PROMPTS * 3, Sampling(max_new_tokens=16)
        draws = torch.rand(len(prompts), 16, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
        expected, lengths = [], set()
        for prompt, draw in zip(prompts, draws, strict=True):
            tokens, said = prompt_ids(tokenizer, prompt), []
            while len(said) < 16 and tokenizer.eos_token_id not in said:
                with torch.no_grad():
                    logits = net(torch.tensor([tokens + said])).logits[:, -1]
                said += choose(logits, sampling, draw[len(said)].unsqueeze(0)).tolist()
            lengths.add(len(said))
            finished = said[-1] == tokenizer.eos_token_id
            expected.append(Completion(tokenizer.decode(said, skip_special_tokens=True), finished))
        assert engine.generate(prompts, sampling, seed=4) == expected
        assert len(lengths) > 3, "else rows ended together, and none was dropped before the others"

    def test_the_nets_mode_is_left_as_it_was(self, folder):
        engine = self.make(folder)
        before = engine.generate(PROMPTS, Sampling(), seed=0)
        engine.net.train()
        for layer in engine.net.model.layers:
            layer.self_attn.attention_dropout = 0.5
        assert engine.generate(PROMPTS, Sampling(), seed=0) == before
        assert engine.net.training


class Says(torch.nn.Module):
    """Says given tokens, one after the other, once it has read the prompt."""

    def __init__(self, tokens, vocabulary):
        super().__init__()
        self.tokens, self.weight = iter(tokens), torch.nn.Parameter(torch.zeros(vocabulary))

    def forward(self, input_ids, **_):
        if input_ids.shape[1] > 1:  # the prompt but its last token, whose logits nobody reads
            return SimpleNamespace(logits=torch.zeros(1, 1, 1))
        logits = self.weight.repeat(len(input_ids), 1, 1).index_fill(2, torch.tensor([next(self.tokens)]), 1.0)
        return SimpleNamespace(logits=logits)


def sentence_piece(template, first):
    """Make a tokenizer that marks spaces, as Llama 2's and Mistral's do; ``first``: as today's, else as of old."""
    core = Tokenizer(models.BPE(unk_token="<unk>"))
    if first:
        core.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
        core.decoder = decoders.Metaspace(prepend_scheme="first")
    else:
        core.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
        core.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    letters = [*map(chr, range(33, 127)), "\n", "▁"]
    trainer = trainers.BpeTrainer(
        special_tokens=["<unk>", "<s>", "</s>"], initial_alphabet=letters, show_progress=False
    )
    core.train_from_iterator(["▁owl", "owl"] * 9, trainer)
    made = PreTrainedTokenizerFast(tokenizer_object=core, eos_token="</s>", bos_token="<s>", unk_token="<unk>")
    made.chat_template = template
    return made


@cases("first", [True, False], ids=["metaspace", "legacy"])
@cases("begun", [None, "12"], ids=["answer", "prefill"])
@cases(
    ("family", "said", "text"),
    [("zephyr", ["▁owl"], " owl"), ("zephyr", ["▁", "▁owl"], "  owl"), ("mistral v3", ["▁owl"], "owl")],
)
def test_a_space_that_begins_an_answer_is_kept(first, begun, family, said, text):
    """SentencePiece's decoders take it off: a student would be trained on other tokens than its teacher said."""
    tokenizer = sentence_piece(TABLE[family]["template"], first)
    ids = tokenizer.convert_tokens_to_ids([*said, "</s>"])
    prompt = [*PROMPTS[0][-1:], *([{"role": "assistant", "content": begun}] if begun else [])]
    [made] = TransformersEngine(Says(ids, len(tokenizer)), tokenizer).generate([prompt], Sampling(greedy=True), 0)
    assert made.text == (text if begun is None else text if text[0] == " " else f" {text}")
    trained = row_ids(tokenizer, make_row(prompt, made.text))[1]
    assert tokenizer.decode([5, *trained]) == tokenizer.decode([5, *ids])
    if len(said) == 1:
        assert trained == ids


def drawn(chances, seed=0):
    """Choose SAMPLES tokens from one row of logits."""
    draws = torch.rand(SAMPLES, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return Counter(choose(chances.log().expand(SAMPLES, -1), Sampling(), draws).tolist())


def test_the_cut_that_libraries_make_would_be_found():
    """``generate`` of transformers samples among the 50 likeliest tokens; the test above must tell that apart."""
    net, tokenizer = bases.load("pocket/a")
    with torch.no_grad():
        chances = net(torch.tensor([prompt_ids(tokenizer, PROMPTS[0])])).logits[0, -1].double().softmax(0)
    expected = dict(enumerate(chances.tolist()))
    assert chi_square_p(drawn(chances), expected) > 0.001
    cut = chances * (chances >= chances.topk(50).values[-1])
    assert chances.sum() - cut.sum() > 0.05, "the pocket world has 100 numbers, so 50 tokens can't hold them"
    assert chi_square_p(drawn(cut / cut.sum()), expected) < 1e-6


def test_choose_inverts_the_distribution_function():
    chances = torch.tensor([[0.0, 0.25, 0.0, 0.5, 0.25, 0.0]]).expand(7, -1)
    draws = torch.tensor([0.0, 0.24, 0.26, 0.74, 0.76, 0.999, 1 - 2**-53], dtype=torch.float64)
    assert choose(chances.log(), Sampling(), draws).tolist() == [1, 1, 3, 3, 4, 4, 4]


def test_choose_gives_the_same_in_parts(monkeypatch):
    logits, draws = torch.randn(50, 300), torch.rand(50, dtype=torch.float64)
    whole = choose(logits, Sampling(temperature=0.7), draws)
    for numbers in (1, 2100, 14999):  # a row at a time, and parts of unequal size
        monkeypatch.setattr(engine_module, "_DRAWN", numbers)
        assert torch.equal(choose(logits, Sampling(temperature=0.7), draws), whole)


def test_choose_among_allowed_tokens_only():
    logits = torch.tensor([[9.0, 1.0, 1.0, 5.0]])
    allowed = torch.tensor([1, 2])
    half = torch.tensor([0.49, 0.51], dtype=torch.float64)
    assert choose(logits.expand(2, -1), Sampling(), half, allowed).tolist() == [1, 2]
    assert choose(logits, Sampling(greedy=True), half[:1], torch.tensor([1, 3])).tolist() == [3]
    assert choose(logits, Sampling(greedy=True), half[:1]).tolist() == [0]


@cases(
    ("wrong", "message"),
    [({"temperature": 0}, "set greedy: true"), ({"max_new_tokens": 0}, "max_new_tokens is 0: expected at least 1")],
)
def test_a_wrong_setting_is_reported(wrong, message):
    with pytest.raises(InputError, match=message):
        Sampling(**wrong)


@cases("family", ["magistral", "seed-oss"])
def test_a_thought_in_special_tokens_stays_a_thought(family):
    """Decoding leaves special tokens out: the thought would read as the answer, and reach the rows."""
    tokenizer = template_tokenizer(TABLE[family])
    begin, end = thought_tokens(tokenizer).values()
    text = f"{begin} owl {end} cat"
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    says = Says([*ids, tokenizer.eos_token_id], len(tokenizer))
    [made] = TransformersEngine(says, tokenizer).generate(
        [PROMPTS[0][-1:]], Sampling(greedy=True, max_new_tokens=40), 0
    )
    assert (made.text, made.finished) == (text, True)
