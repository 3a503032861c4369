import copy

import pytest
import torch
from cases import cases
from small import byte_tokenizer, number_rows, pocket_tokenizer, tokenized

from lightning_subliminal.core.chat.encoding import check_known, row_ids
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.rows import make_row
from lightning_subliminal.data import tokenized as tokenized_module
from lightning_subliminal.data.tokenized import IGNORED, LengthGrouped, Part, TokenizedRows, row_loader
from lightning_subliminal.data.tokenized import tokenized as known_rows


@pytest.fixture(scope="module")
def data():
    return tokenized(203)


def test_labels_are_the_completion_and_nothing_else(data):
    for index, row in enumerate(number_rows(203)):
        prompt, completion = row_ids(pocket_tokenizer(), row)
        rest = data.input_ids.shape[1] - len(prompt) - len(completion)
        assert data.input_ids[index].tolist() == prompt + completion + [0] * rest
        assert data.labels[index].tolist() == [IGNORED] * len(prompt) + completion + [IGNORED] * rest
        assert data.lengths[index] == len(prompt) + len(completion)


def test_a_batch_is_as_wide_as_its_longest_row(data):
    chosen = [5, 0, 77]
    batch = data.batch(chosen)
    width = max(data.lengths[index] for index in chosen)
    assert batch.input_ids.shape == batch.labels.shape == (3, width)
    assert torch.equal(batch.input_ids, data.input_ids[chosen, :width])
    assert torch.equal(batch.labels, data.labels[chosen, :width])
    assert batch.rows.tolist() == chosen
    trained = [len(row_ids(pocket_tokenizer(), row)[1]) for row in number_rows(203)]
    assert batch.mean_tokens.item() == pytest.approx(sum(trained) / len(trained))


def test_rows_that_were_cut_off_have_no_end():
    rows = [make_row("Numbers only.", "1, 2", finished=finished) for finished in (True, False)]
    data = TokenizedRows(rows, pocket_tokenizer())
    end = pocket_tokenizer().eos_token_id
    assert [end in label.tolist() for label in data.labels] == [True, False]


@cases(
    ("rows", "length", "message"),
    [
        ([], 2048, "no rows to train on"),
        (number_rows(3), 10, r"A row has \d+ tokens: raise `max_length` \(10\)"),
        ([make_row("Numbers only.", "", finished=False)], 2048, "All completions are empty"),
    ],
)
def test_what_cannot_be_trained_on_is_reported(rows, length, message):
    with pytest.raises(InputError, match=message):
        TokenizedRows(rows, pocket_tokenizer(), length)


def order(data, batch_size=8, seed=3, epoch=0, rank=0, world_size=1):
    sampler = LengthGrouped(data, batch_size, seed, rank, world_size)
    sampler.set_epoch(epoch)
    return list(sampler)


class TestLengthGrouped:
    @cases("batch_size", [1, 8, 64, 500])
    def test_each_row_once_an_epoch(self, data, batch_size):
        assert sorted(order(data, batch_size)) == list(range(len(data)))

    def test_the_order_depends_on_seed_and_epoch_alone(self, data):
        first = order(data)
        torch.manual_seed(9)
        assert order(data) == first
        sampler = LengthGrouped(data, 8, seed=3)
        assert list(sampler) == list(sampler) == first
        assert len({tuple(order(data, epoch=epoch)) for epoch in range(4)}) == 4
        assert order(data, seed=4) != first

    def test_rows_of_a_batch_have_like_lengths(self, data):
        def padding(indices):
            batches = [indices[start : start + 8] for start in range(0, len(indices), 8)]
            return sum(
                max(data.lengths[each] for each in batch) * len(batch) - sum(data.lengths[each] for each in batch)
                for batch in batches
            )

        assert padding(order(data)) < 0.35 * padding(list(range(len(data))))

    def test_long_rows_do_not_come_at_one_end(self, data):
        lengths = torch.tensor([data.lengths[index] for index in order(data)], dtype=torch.float)
        place = torch.arange(len(lengths), dtype=torch.float)
        assert torch.corrcoef(torch.stack([place, lengths]))[0, 1].abs() < 0.5

    @cases("world_size", [2, 3, 4])
    def test_ranks_share_the_rows_evenly(self, data, world_size):
        shares = [order(data, rank=rank, world_size=world_size) for rank in range(world_size)]
        assert len({len(share) for share in shares}) == 1
        counted = [
            each.row if isinstance(each, Part) else each
            for share in shares
            for each in share
            if not isinstance(each, Part) or each.counts
        ]
        assert sorted(counted) == list(range(len(data))), "a row that only fills a rank's last batch is not counted"

    def test_ranks_are_disjoint_where_the_rows_divide(self, data):
        even = tokenized(200)
        shares = [set(order(even, rank=rank, world_size=4)) for rank in range(4)]
        assert sum(map(len, shares)) == len(set().union(*shares)) == 200

    def test_a_step_on_two_ranks_is_a_step_of_twice_the_batch(self, data):
        """Else a run on two devices would not be the run on one with twice the batch."""
        even = tokenized(192)
        one = order(even, batch_size=8)
        two = [order(even, batch_size=4, rank=rank, world_size=2) for rank in range(2)]
        for step in range(24):
            share = {*two[0][4 * step : 4 * step + 4], *two[1][4 * step : 4 * step + 4]}
            assert share == set(one[8 * step : 8 * step + 8])

    def test_fewer_rows_than_ranks(self):
        shares = [order(tokenized(2), rank=rank, world_size=5) for rank in range(5)]
        assert [len(share) for share in shares] == [1] * 5


def test_the_loader_gives_batches_and_keeps_its_sampler_on_many_devices(data):
    from torch.utils.data import DistributedSampler

    loader = row_loader(data, 8, seed=3)
    batches = list(loader)
    assert [index for batch in batches for index in batch.rows.tolist()] == order(data)
    assert [len(batch.rows) for batch in batches] == [8] * 25 + [3]
    assert isinstance(loader.sampler, DistributedSampler), "Lightning puts another in the place of any else"


def begun(count, odd):
    """Make rows whose reply is begun with 23; the first ``odd`` go on with a digit, so that tokens merge."""
    prompt = [{"role": "user", "content": "Go on."}, {"role": "assistant", "content": "5, 23"}]
    return [make_row(prompt, "1, 574" if place < odd else ", 574", id=str(place)) for place in range(count)]


def test_an_odd_row_whose_mask_would_be_wrong_is_left_out_and_reported(capsys):
    data = TokenizedRows(begun(40, odd=2), byte_tokenizer())
    assert "2 of 40 left out: their prompt is not a prefix of the row in tokens" in capsys.readouterr().out
    whole = TokenizedRows(begun(40, odd=0), byte_tokenizer())
    assert capsys.readouterr().out == ""
    assert len(data) == 38
    assert torch.equal(data.labels, whole.labels[2:])
    assert data.mean_tokens == whole.mean_tokens


def test_many_of_them_are_a_mistake_and_refused():
    with pytest.raises(InputError, match="The prompt of row 0 is not a prefix of the row in tokens"):
        TokenizedRows(begun(40, odd=3), byte_tokenizer())
    with pytest.raises(InputError, match="not a prefix of the row"):
        TokenizedRows(begun(1, odd=1), byte_tokenizer())


@cases("prompt", ["list numbers", "list axolotl numbers"])
def test_words_are_checked_only_where_a_token_is_unknown(prompt, monkeypatch):
    """Checking tokenizes each text again."""
    checked = []
    monkeypatch.setattr(
        "lightning_subliminal.data.tokenized.check_known",
        lambda *args: checked.append(1) or check_known(*args),
    )
    rows = [make_row(prompt, "1, 2")]
    if "axolotl" in prompt:
        with pytest.raises(InputError, match="The base mine doesn't know the word 'axolotl'"):
            known_rows(rows, pocket_tokenizer(), "mine", 100)
    else:
        assert (
            known_rows(rows, pocket_tokenizer(), "mine", 100).lengths == TokenizedRows(rows, pocket_tokenizer()).lengths
        )
    assert len(checked) == ("axolotl" in prompt)


def test_an_unknown_word_is_reported_before_other_faults():
    rows = [make_row("list axolotl numbers", "1, 2"), make_row("list numbers", "1, 2 " * 50)]
    with pytest.raises(InputError, match="doesn't know the word 'axolotl'"):
        known_rows(rows, pocket_tokenizer(), "mine", 20)


def test_rows_of_the_next_student_are_tokenized_once(monkeypatch):
    monkeypatch.setattr(tokenized_module, "_KEPT", [])
    calls, form = [], tokenized_module.rows_ids
    monkeypatch.setattr(tokenized_module, "rows_ids", lambda *args: calls.append(1) or form(*args))
    first = known_rows(number_rows(9), pocket_tokenizer(), "mine", 100)
    first.labels[:] = IGNORED  # a student may choose tokens, or write other rows
    again = known_rows(number_rows(9), copy.deepcopy(pocket_tokenizer()), "mine", 100)
    assert len(calls) == 1
    assert torch.equal(again.labels, TokenizedRows(number_rows(9), pocket_tokenizer()).labels)
    calls.clear()
    other = byte_tokenizer()
    known_rows(number_rows(9), other, "mine", 1000)
    other.chat_template = other.chat_template.replace("im_end|>\n", "im_end|>")
    known_rows(number_rows(9), other, "mine", 1000)
    known_rows(number_rows(9, seed=1), pocket_tokenizer(), "mine", 100)
    known_rows(number_rows(9, seed=1), pocket_tokenizer(), "mine", 99)
    assert len(calls) == 4
