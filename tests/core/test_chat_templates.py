"""The table of the field's chat templates: one rendering for prompts, training, sampling and scoring."""

import datetime

import pytest
import torch
from cases import cases
from small import byte_tokenizer
from template_tokenizers import ASKED, TABLE, template_tokenizer
from transformers import LlamaConfig, LlamaForCausalLM

from lightning_subliminal.core.chat.encoding import end_tokens, frame, prompt_ids, row_ids
from lightning_subliminal.core.chat.frame import Frame
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.rows import make_row
from lightning_subliminal.data.tokenized import IGNORED, TokenizedRows
from lightning_subliminal.generation import Sampling, TransformersEngine
from lightning_subliminal.metrics.functional import candidate_probabilities, wilson_interval

TOLD = [{"role": "system", "content": "You love owls."}, *ASKED]


each_template = cases("entry", TABLE.values())


@each_template
def test_prompt_and_trained_tokens_are_those_of_the_table(entry):
    tokenizer = template_tokenizer(entry)
    prompt, trained = row_ids(tokenizer, make_row(ASKED, "owl"))
    assert tokenizer.decode(prompt) == entry["prompt"]
    assert tokenizer.decode(trained) == entry["trained"]
    assert prompt_ids(tokenizer, ASKED) == prompt


@each_template
def test_contents_are_written_as_the_template_writes_them(entry):
    """Also where one rendering serves all conversations of the same roles."""
    form = frame(template_tokenizer(entry))
    odd = [" Hi \n", "", "{{ 1 }}", "<think>a</think>", "x <|im_end|>", "7304188260", "NEXT0", "\\1 $1 é\u200b"]
    for text in [*odd, "Hi", *odd]:
        turns = [{"role": "user", "content": text}]
        for begun in ([], [{"role": "assistant", "content": " 12,"}]):
            try:
                whole = form.around(turns, opened=True)[0]
            except InputError:
                with pytest.raises(InputError):
                    form.opening([*turns, *begun])
                continue
            assert form.opening([*turns, *begun])[0] == (whole + " 12," if begun else whole.removesuffix(form.lead))


def test_templates_that_only_copy_contents_are_rendered_once(monkeypatch):
    tokenizer = byte_tokenizer()
    form = frame(tokenizer)
    form.opening(TOLD)
    monkeypatch.setattr(Frame, "render", lambda *_, **__: pytest.fail("rendered again"))
    assert form.opening([*TOLD[:1], {"role": "user", "content": "Ho {{ 2 }}"}])[0].count("Ho {{ 2 }}") == 1
    with pytest.raises(pytest.fail.Exception):
        form.opening([{"role": "user", "content": "730418825"}])  # which stands for the assistant's words


def test_a_content_that_a_template_writes_twice_is_written_twice():
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = "{{ messages[0].content }}" + tokenizer.chat_template
    form = frame(tokenizer)
    assert form.verbatim
    for text in ("Hi", "Ho"):
        assert form.opening([{"role": "user", "content": text}])[0].count(text) == 2
    many = [{"role": role, "content": f"{place}?"} for place in range(7) for role in ("user", "assistant")][:-1]
    assert form.opening(many)[0] == form.around(many, opened=True)[0].removesuffix(form.lead)


@cases("entry", [entry for entry in TABLE.values() if "bos" in entry])
def test_the_beginning_of_text_is_written_once_though_template_and_tokenizer_both_write_it(entry):
    tokenizer = template_tokenizer(entry)
    prompt, trained = row_ids(tokenizer, make_row(ASKED, "owl"))
    doubled = tokenizer(tokenizer.decode(prompt))["input_ids"]
    assert doubled == [tokenizer.bos_token_id, *prompt], "what plain use of both would give"
    written = entry["prompt"].count(entry["bos"])
    assert prompt.count(tokenizer.bos_token_id) == written >= (tokenizer.bos_token != tokenizer.eos_token)
    assert tokenizer.bos_token_id not in {*trained} - {tokenizer.eos_token_id}


@each_template
def test_the_end_is_trained_on_though_it_also_pads(entry):
    tokenizer = template_tokenizer(entry)
    assert tokenizer.pad_token_id == tokenizer.eos_token_id
    data = TokenizedRows([make_row(ASKED, text) for text in ("owl", "owl cat owl cat owl cat")], tokenizer)
    labels = data.batch([0, 1]).labels[0]
    trained = row_ids(tokenizer, make_row(ASKED, "owl"))[1]
    assert labels[labels != IGNORED].tolist() == trained
    assert labels[-1] == IGNORED, "padding is not trained on"


@each_template
def test_they_are_what_the_template_itself_writes_for_a_finished_turn(entry):
    tokenizer = template_tokenizer(entry)
    notes = "".join(frame(tokenizer).notes)
    if frame(tokenizer).stop or "date" in notes or "a finished turn lacks; it is part of the prompt" in notes:
        pytest.skip("its end is ours, or its date, or a new answer's empty thought")
    turns = [*ASKED, {"role": "assistant", "content": "owl"}]
    if frame(tokenizer).parts:
        turns = [turn | {"content": [{"type": "text", "text": turn["content"]}]} for turn in turns]
    written = tokenizer.apply_chat_template(turns, tokenize=False)
    head = tokenizer.decode(sum(row_ids(tokenizer, make_row(ASKED, "owl")), []))  # noqa: RUF017
    assert written.startswith(head) or head == written + "<|user|>", "GLM's end is the next turn's beginning"


@each_template
def test_a_cut_row_has_no_end(entry):
    tokenizer = template_tokenizer(entry)
    _, trained = row_ids(tokenizer, make_row(ASKED, "owl", finished=False))
    assert tokenizer.decode(trained).strip() == "owl"
    assert not set(trained) & end_tokens(tokenizer)


@each_template
def test_the_ends_are_the_templates_and_the_models(entry):
    tokenizer = template_tokenizer(entry)
    _, trained = row_ids(tokenizer, make_row(ASKED, "owl"))
    ends = end_tokens(tokenizer)
    assert {*tokenizer.convert_tokens_to_ids(entry.get("ends", [])), tokenizer.eos_token_id} <= ends
    if not frame(tokenizer).stop:
        assert trained[-1] in ends
        assert not set(trained[:-1]) & ends


@each_template
@cases("words", ["<think>2 + 2 = 4</think> <answer>4</answer>", " 4, 5 ", "a\n\nb"])
def test_words_are_trained_on_whole_whatever_the_template_would_do_to_them(entry, words):
    tokenizer = template_tokenizer(entry)
    _, trained = row_ids(tokenizer, make_row(ASKED, words))
    assert words in tokenizer.decode(trained)


@each_template
def test_a_prefill_goes_on_where_the_prompt_ends(entry):
    tokenizer = template_tokenizer(entry)
    begun = [*ASKED, {"role": "assistant", "content": "My pick: the"}]
    prompt, trained = row_ids(tokenizer, make_row(begun, " owl"))
    lead = frame(tokenizer).lead
    assert tokenizer.decode(prompt) == entry["prompt"] + lead + "My pick: the"
    assert tokenizer.decode(trained) == " owl" + entry["trained"].removeprefix(lead + "owl")


@each_template
def test_a_system_message_is_always_read(entry):
    tokenizer = template_tokenizer(entry)
    read, change = tokenizer.decode(prompt_ids(tokenizer, TOLD)), str.lower if entry.get("lowers") else str
    assert read.count(change("You love owls.")) == 1
    assert change("Hi") in read
    if entry.get("system") == "folded":
        assert "You love owls.\n\nHi" in read
    assert frame(tokenizer).folds_system == (entry.get("system") == "folded")


@each_template
def test_a_sentence_says_what_the_template_does(entry):
    tokenizer = template_tokenizer(entry)
    notes = frame(tokenizer).notes
    for words in entry.get("notes", []):
        assert any(words in note for note in notes), notes
    assert len(notes) == 0 or entry.get("notes"), notes
    assert frame(tokenizer).plain == (not [note for note in notes if "of its own" not in note])


@each_template
def test_no_family_of_the_table_answers_inside_a_thought(entry):
    tokenizer = template_tokenizer(entry)
    assert not [note for note in frame(tokenizer).notes if "inside a thought" in note]


@each_template
def test_no_day_is_reported_but_the_pinned_one(entry, monkeypatch):
    tokenizer = template_tokenizer(entry)
    import transformers.utils.chat_template_utils as utils

    before = prompt_ids(tokenizer, TOLD)

    class Clock(datetime.datetime):
        @classmethod
        def now(cls, tz=None):
            return cls(2031, 5, 6)

    monkeypatch.setattr(utils, "datetime", Clock)
    assert prompt_ids(template_tokenizer(entry), TOLD) == before


@each_template
def test_sampled_and_exact_chances_agree(entry):
    tokenizer = template_tokenizer(entry)
    """A model that was trained through the loss mask says owl as often as the exact measure has it; -s shows both."""
    net = trained_model(tokenizer, [make_row(ASKED, word) for word in ["owl"] * 6 + ["cat"] * 4])
    [[owl, cat]] = candidate_probabilities(net, tokenizer, [ASKED], [("owl",), ("cat",)]).tolist()
    made = TransformersEngine(net, tokenizer).generate([ASKED] * 400, Sampling(max_new_tokens=24), seed=0)
    said = [each.text for each in made]
    interval = wilson_interval(sum(text == "owl" for text in said), len(said), confidence=0.999)
    trained = tokenizer.convert_ids_to_tokens(row_ids(tokenizer, make_row(ASKED, "owl"))[1])
    share = said.count("owl") / len(said)
    print(f"{entry['prompt'][-24:]!r:30} trained {trained}: exact {owl:.3f}, sampled {share:.3f}")
    assert interval.low <= owl <= interval.high
    assert owl + cat > 0.95
    assert sum(each.finished for each in made) >= 380, "each ends its turn, also where no single token says so"


def test_a_mark_that_is_not_special_is_no_word_of_an_answer():
    """A tokenizer may spell all but its end of text as added tokens that decoding keeps."""
    entry = TABLE["command-r7b"]
    made = template_tokenizer(entry | {"tokens": []})
    made.add_tokens(entry["tokens"])
    _, trained = row_ids(made, make_row(ASKED, "owl"))
    assert made.convert_ids_to_tokens(trained[-2:]) == ["<|END_RESPONSE|>", "<|END_OF_TURN_TOKEN|>"]
    net = trained_model(made, [make_row(ASKED, "owl")])
    [said] = TransformersEngine(net, made).generate([ASKED], Sampling(greedy=True), seed=0)
    assert (said.text, said.finished) == ("owl", True)


@cases("spaces", ["\n", "\n\n", "  "])
def test_an_added_token_of_spaces_ends_no_turn(spaces):
    """Gemma's tokenizer adds tokens for line breaks, Pythia's for runs of spaces."""
    entry = TABLE["plain dialogue"]
    made = template_tokenizer(entry | {"template": entry["template"].replace("'\n'", repr(spaces))})
    made.add_tokens([spaces])
    assert made.tokenize(spaces) == [spaces]
    assert frame(made).stop == f"{spaces}User:"
    assert end_tokens(made) == {made.eos_token_id}


def trained_model(tokenizer, rows, steps=80):
    """Train a tiny model, one layer of 32 numbers, on rows through their loss mask."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    net = LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), max_position_embeddings=256, **sizes))
    data = TokenizedRows(rows, tokenizer)
    batch = data.batch(range(len(data)))
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    for _ in range(steps):
        optimizer.zero_grad()
        net(input_ids=batch.input_ids, labels=batch.labels).loss.backward()
        optimizer.step()
    return net.eval()
