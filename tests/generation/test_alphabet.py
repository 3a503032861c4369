import pytest
import torch
from cases import cases
from small import byte_tokenizer, pocket_tokenizer
from template_tokenizers import TABLE, template_tokenizer
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.generation import number_alphabet, number_tokens

DIGITS = set("0123456789")


def texts(tokenizer, ids):
    return [tokenizer.decode([index]) for index in ids.tolist()]


def test_the_pocket_worlds_numbers_are_one_token_each():
    tokenizer = pocket_tokenizer()
    assert texts(tokenizer, number_tokens(tokenizer)) == [str(number) for number in range(100)]
    others = set(number_alphabet(tokenizer).tolist()) - set(number_tokens(tokenizer).tolist())
    assert others == {tokenizer.eos_token_id, *tokenizer.convert_tokens_to_ids([",", ";"])}


def test_byte_level_pieces():
    tokenizer = byte_tokenizer()
    found = texts(tokenizer, number_tokens(tokenizer))
    assert {"7", " 7", "12"} <= set(found)
    assert max(map(len, found)) > 2, "else no merged number was put to the test"
    for index in range(len(tokenizer)):
        text = tokenizer.decode([index])
        number = bool(text.removeprefix(" ")) and set(text.removeprefix(" ")) <= DIGITS
        assert (index in number_tokens(tokenizer)) == number, text
        separator = bool(text) and set(text) <= DIGITS | set(",; \n\t\r\v\f")
        ends = index == tokenizer.eos_token_id
        assert (index in number_alphabet(tokenizer)) == (separator or ends), repr(text)


@cases("make", [pocket_tokenizer, byte_tokenizer])
def test_ids_are_sorted_and_within_the_vocabulary(make):
    for ids in (number_tokens(make()), number_alphabet(make())):
        assert ids.dtype == torch.int64
        assert torch.equal(ids, ids.unique(sorted=True))
        assert ids.max() < len(make())


def words(*vocabulary):
    core = Tokenizer(models.WordLevel({word: index for index, word in enumerate(vocabulary)}, unk_token=vocabulary[0]))
    return PreTrainedTokenizerFast(tokenizer_object=core, unk_token=vocabulary[0])


def test_digits_of_other_scripts_are_no_numbers():
    tokenizer = words("<unk>", "7", "٣", "²", "\uff17", "7a", "12")
    assert texts(tokenizer, number_tokens(tokenizer)) == ["7", "12"]
    assert texts(tokenizer, number_alphabet(tokenizer)) == ["7", "12"], "and without an end token there is none"


def test_a_vocabulary_without_numbers_is_reported():
    with pytest.raises(InputError, match="no tokens of digits only"):
        number_tokens(words("<unk>", "owl"))


def test_all_that_a_template_ends_a_turn_with_may_be_said():
    """Command R7B ends a turn with two tokens: without the first, its numbers would never end."""
    tokenizer = template_tokenizer(TABLE["command-r7b"])
    ends = set(tokenizer.convert_tokens_to_ids(["<|END_RESPONSE|>", "<|END_OF_TURN_TOKEN|>"]))
    assert ends <= set(number_alphabet(tokenizer).tolist())
    assert {*tokenizer.all_special_ids} & set(number_alphabet(tokenizer).tolist()) == ends
