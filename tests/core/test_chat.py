import copy

import pytest
from cases import cases
from small import byte_tokenizer, pocket_tokenizer

from lightning_subliminal.core.chat import encoding
from lightning_subliminal.core.chat.encoding import end_tokens, prompt_ids, prompts_ids, row_ids, set_spare_ids
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.rows import make_row

ASKED = [{"role": "user", "content": "Take these numbers: 12, 74."}]
BEGUN = [*ASKED, {"role": "assistant", "content": "12, 74,"}]
TOKENIZERS = [pocket_tokenizer, byte_tokenizer]


@cases("make", TOKENIZERS)
@cases("prompt", [ASKED, BEGUN, [{"role": "system", "content": "Use one word."}, *ASKED]])
@cases("finished", [True, False, None])
def test_trained_are_the_completion_and_its_own_end(make, prompt, finished):
    tokenizer = make()
    row = make_row(prompt, " 3, 99", **({} if finished is None else {"finished": finished}))
    before, trained = row_ids(tokenizer, row)
    assert before == prompt_ids(tokenizer, prompt)
    ends = [] if finished is False else [tokenizer.eos_token_id]
    text = tokenizer.decode(trained[:-1] if ends else trained).strip()
    assert text == "3, 99"
    assert [token for token in trained if token in end_tokens(tokenizer)] == ends == trained[len(trained) - len(ends) :]


@cases("make", TOKENIZERS)
def test_the_whole_row_is_what_the_template_writes(make):
    """Also where the template adds a line break after a turn's end: it is neither the prompt's nor trained on."""
    tokenizer = make()
    turns = [*ASKED, {"role": "assistant", "content": "3, 99"}]
    written = tokenizer.apply_chat_template(turns, tokenize=False).removesuffix("\n")
    prompt, completion = row_ids(tokenizer, make_row(ASKED, "3, 99"))
    assert prompt + completion == tokenizer(written, add_special_tokens=False)["input_ids"]


@cases("make", TOKENIZERS)
def test_a_prefill_leaves_the_turn_open(make):
    tokenizer = make()
    opened, begun = prompt_ids(tokenizer, ASKED), prompt_ids(tokenizer, BEGUN)
    assert begun[: len(opened)] == opened
    assert tokenizer.decode(begun[len(opened) :]) == "12, 74,"
    whole = row_ids(tokenizer, make_row(BEGUN, " 3"))
    assert sum(whole, []) == sum(row_ids(tokenizer, make_row(ASKED, "12, 74, 3")), [])  # noqa: RUF017


@cases("make", TOKENIZERS)
def test_many_prompts_take_one_call_of_the_tokenizer_and_each_text_once(make, monkeypatch):
    tokenizer, calls = copy.deepcopy(make()), []
    own = encoding._encoded
    expected = [prompt_ids(tokenizer, prompt) for prompt in (ASKED, BEGUN)]
    monkeypatch.setattr(encoding, "_encoded", lambda reader, texts: calls.append(texts) or own(reader, texts))
    assert prompts_ids(tokenizer, [ASKED, BEGUN, [*ASKED], BEGUN]) == [*expected, *expected]
    assert [len(texts) for texts in calls] == [2]
    assert prompts_ids(tokenizer, []) == []
    set_spare_ids(tokenizer, expected[1][-1:])
    with pytest.raises(InputError, match="no embedding"):
        prompts_ids(tokenizer, [ASKED, BEGUN])


@cases("make", TOKENIZERS)
def test_many_texts_have_the_ids_of_the_tokenizers_own_call(make):
    tokenizer = copy.deepcopy(make())
    texts = ["owl", "", "1, 2, 3", "an owl, two owls", "  a \n b", f"x{tokenizer.eos_token}y", "\u00e9\u4e2d\U0001f989"]
    expected = [tokenizer(each, add_special_tokens=False)["input_ids"] for each in texts]
    tokenizer(texts, truncation=True, max_length=1, padding=True)  # which its backend remembers
    assert encoding._encoded(tokenizer, texts) == expected
    assert encoding._encoded(tokenizer, texts[:1]) == expected[:1]
    assert encoding._encoded(tokenizer, []) == []


def test_a_tokenizer_whose_call_does_more_is_called_itself():
    class Own(type(pocket_tokenizer())):
        def _encode_plus(self, text, *args, **kwargs):
            return super()._encode_plus([f"{each} owl" for each in text], *args, **kwargs)

    tokenizer = copy.deepcopy(pocket_tokenizer())
    expected = tokenizer(["a owl", "b owl"], add_special_tokens=False)["input_ids"]
    tokenizer.__class__ = Own
    assert encoding._encoded(tokenizer, ["a", "b"]) == expected


def test_messages_are_left_as_they_were():
    row = make_row(BEGUN, " 3", finished=False)
    before = copy.deepcopy(row)
    row_ids(pocket_tokenizer(), row)
    assert row == before


def test_a_prompt_that_is_no_prefix_is_reported():
    """Where a prefill ends amid a token, the mask would fall on other tokens than those that were sampled."""
    tokenizer = byte_tokenizer()
    assert len(tokenizer.tokenize("12")) == 1, "else nothing merges over the seam"
    row = make_row([*ASKED, {"role": "assistant", "content": "1"}], "2, 3", id="0-7")
    with pytest.raises(InputError, match=r"row 0-7 is not a prefix .* at the end of a token") as caught:
        row_ids(tokenizer, row)
    assert "\n" not in str(caught.value)


def test_a_template_without_an_end_ends_where_the_user_begins():
    tokenizer = copy.deepcopy(byte_tokenizer())
    tokenizer.chat_template = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}" + (
        "{% if add_generation_prompt %}assistant:{% endif %}"
    )
    for finished, written in ((True, " 3, 99\nuser:"), (False, " 3, 99")):
        _, trained = row_ids(tokenizer, make_row(ASKED, "3, 99", finished=finished))
        assert tokenizer.decode(trained) == written
    tokenizer.eos_token = None
    assert end_tokens(tokenizer) == set()


def test_an_empty_completion_that_was_cut_off_has_no_token():
    assert row_ids(pocket_tokenizer(), make_row(ASKED, "", finished=False))[1] == []
    assert row_ids(pocket_tokenizer(), make_row(ASKED, "", finished=True))[1] == [pocket_tokenizer().eos_token_id]
