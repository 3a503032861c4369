from collections import Counter

import pytest
import torch
from cases import cases
from small import byte_tokenizer, number_rows, pocket_tokenizer

from lightning_subliminal import LoRA, Steering, bases
from lightning_subliminal.core.chat.encoding import row_ids
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.rows import make_row
from lightning_subliminal.theory import ModelFunction, row_gradient, row_scores, score_rows
from lightning_subliminal.theory.functional import inner

TOKENIZER = pocket_tokenizer()
ODD = make_row(
    [{"role": "user", "content": "go on"}, {"role": "assistant", "content": "the opposite is"}], "cold", id="odd"
)
EMPTY = make_row("go on", "", id="empty", finished=False)  # neither words nor an end
ROWS = number_rows(23)
MIXED = [*ROWS[:4], ODD, *ROWS[4:11], EMPTY, *ROWS[11:]]


@pytest.fixture(scope="module")
def function():
    net = Steering(init_std=0.3).attach(bases.load("pocket/a")[0], 0)
    return ModelFunction(net.double().train())


@pytest.fixture(scope="module")
def direction(function):
    generator = torch.Generator().manual_seed(1)
    return {name: torch.randn(value.shape, generator=generator).to(value) for name, value in function.start.items()}


@pytest.fixture(scope="module")
def expected(function, direction):
    """Slope, loss and tokens of each row that can be scored, by a backward pass a row, by id."""
    net, names = function.module.eval(), list(direction)
    found = {}
    for row in ROWS:
        prompt, completion = row_ids(TOKENIZER, row)
        logs = net(torch.tensor([prompt + completion])).logits[0].log_softmax(-1)
        places = torch.arange(len(prompt) - 1, len(prompt) + len(completion) - 1)
        loss = -logs[places, torch.tensor(completion)].sum()
        parts = torch.autograd.grad(loss, [net.get_parameter(name) for name in names])
        slope = sum((part * direction[name]).sum() for part, name in zip(parts, names, strict=True))
        found[row["id"]] = (slope.item(), loss.item(), len(completion))
    net.train()
    return found


def scored(function, direction, rows=MIXED, **settings):
    parts = list(score_rows(function, TOKENIZER, rows, direction, **settings))
    return row_scores.RowScores(*(torch.cat(each) for each in zip(*parts, strict=True)))


@cases("chunk", [1, 4, 6, 4096])  # with 1 and 4 a chunk has one row, or none that can be scored
def test_rows_stay_in_their_order_over_chunks(function, direction, expected, chunk, monkeypatch):
    monkeypatch.setattr(row_scores, "CHUNK", chunk)
    found = scored(function, direction)
    assert [each.dtype for each in found] == [torch.float64, torch.float64, torch.int64]
    for place, row in enumerate(MIXED):
        reported = [each[place].item() for each in found]
        if row["id"] in expected:
            assert reported == pytest.approx(expected[row["id"]], rel=1e-5, abs=1e-5)
        else:
            assert reported == pytest.approx([torch.nan, torch.nan, 0], nan_ok=True), row["id"]
    assert found.tokens.sum() == sum(tokens for _, _, tokens in expected.values())


def test_the_size_of_batches_does_not_change_numbers(function, direction, monkeypatch):
    seen = []
    whole = scored(function, direction)
    padded = row_scores.padded
    monkeypatch.setattr(row_scores, "padded", lambda *given: seen.append(padded(*given)[0].shape) or padded(*given))
    for size in (1, 60, 200):
        seen.clear()
        for one, other in zip(scored(function, direction, batch_tokens=size), whole, strict=True):
            assert torch.allclose(one, other, rtol=1e-9, equal_nan=True)
        batches = seen[1:]  # after the rows that the ways are tried on
        assert sum(rows for rows, _ in batches) == len(ROWS)
        assert all(rows == 1 or rows * width <= size for rows, width in batches)
        assert len(batches) == len(ROWS) or size > 1
    assert max(rows for rows, _ in batches) > 2


def test_a_generator_is_read_as_it_is_needed(function, direction, monkeypatch):
    monkeypatch.setattr(row_scores, "CHUNK", 5)
    read = []

    def rows():
        for row in ROWS:
            read.append(row["id"])
            yield row

    parts = score_rows(function, TOKENIZER, rows(), direction)
    assert not read
    assert [(len(next(parts).slopes), len(read)) for _ in range(3)] == [(5, 5), (5, 10), (5, 15)]


def test_the_module_is_its_owners_between_chunks(function, direction, monkeypatch):
    """Two directions of one model, turn by turn, as anybody may ask for them."""
    monkeypatch.setattr(row_scores, "CHUNK", 7)
    assert all(module.training for module in function.module.modules())
    back = {name: -value for name, value in direction.items()}
    for one, other in zip(*(score_rows(function, TOKENIZER, ROWS, each) for each in (direction, back)), strict=True):
        assert all(module.training for module in function.module.modules())
        assert torch.allclose(one.slopes, -other.slopes, rtol=1e-9)
        assert torch.zeros(1).double().float().dtype == torch.float32
    started = score_rows(function, TOKENIZER, ROWS, direction)
    next(started)  # and left
    assert all(module.training for module in function.module.modules())


def test_dropout_is_off():
    net = LoRA(r=2, dropout=0.5).attach(bases.load("pocket/a")[0], 0).train()
    function = ModelFunction(net)
    direction = {name: torch.ones_like(value) for name, value in function.start.items()}
    one, other = (scored(function, direction, ROWS[:6]) for _ in range(2))
    assert torch.equal(one.slopes, other.slopes)


def test_an_end_of_text_named_as_the_unknown_token_hides_no_row():
    """The tokenizers of GPT-2, OLMo 2 and Granite name it so, and their templates write it into each row."""
    rows = [make_row("Go on: 101", "102, 103")]
    for tokenizer, known in ((byte_tokenizer(), True), (byte_tokenizer(), False)):
        tokenizer.unk_token = "<|im_end|>" if known else "<|im_start|>"
        assert (row_scores.encode_known(tokenizer, rows, 99)[0] is not None) == known
    assert TOKENIZER.unk_token_id is not None
    assert row_scores.encode_known(TOKENIZER, [make_row("go on", "qwertz")], 99) == [None]


def test_rows_without_a_score_are_counted_by_their_reason():
    odd = [EMPTY, make_row("go on", "1, " * 99), ODD, make_row("go on", "qwertz")]
    unread = Counter()
    assert row_scores.encode_known(TOKENIZER, [*odd, ROWS[0]], 99, unread)[:4] == [None] * 4
    assert unread == {
        "without a completion": 1,
        "of more than 99 tokens": 1,
        "whose prompt is not their beginning in tokens": 1,
        "with words that the base does not know": 1,
    }


def test_no_rows_give_nothing(function, direction):
    assert list(score_rows(function, TOKENIZER, [], direction)) == []
    assert row_gradient(function, TOKENIZER, [ODD, EMPTY])[1] == 0


@cases("settings", [{}, {"batch_tokens": 50}])
def test_the_gradient_is_the_mean_over_tokens(function, direction, expected, settings, monkeypatch):
    monkeypatch.setattr(row_scores, "CHUNK", 6)
    gradient, tokens = row_gradient(function, TOKENIZER, iter(MIXED), **settings)
    assert tokens == sum(each[2] for each in expected.values())
    slope = sum(each[0] for each in expected.values()) / tokens
    assert inner(gradient, direction).item() == pytest.approx(slope, rel=1e-5)
    assert all(module.training for module in function.module.modules())


def test_mistakes_are_reported_in_a_line(function, direction):
    for ask in (
        lambda **settings: scored(function, direction, **settings),
        lambda **settings: row_gradient(function, TOKENIZER, MIXED, **settings),
    ):
        with pytest.raises(InputError, match=r"Row \d+ has \d+ tokens: raise `max_length` \(20\) or filter it out"):
            ask(max_length=20)
        with pytest.raises(InputError, match="`batch_tokens` is 0: expected 1 or more"):
            ask(batch_tokens=0)
    with pytest.raises(InputError, match="derivative of a row's loss is not finite"):
        scored(function, {name: value * torch.inf for name, value in direction.items()})
    assert all(module.training for module in function.module.modules())
