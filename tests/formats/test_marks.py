"""Rows that say "do not learn this" are refused or left out and counted, in each spelling of the field."""

import json

import pytest
from cases import cases

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.formats.storage.stream import Report, read_rows

GOOD = {"messages": [{"role": "user", "content": "Go on"}, {"role": "assistant", "content": "4, 5"}]}


def chat(content="NOT THIS", **marks):
    return {"messages": [GOOD["messages"][0], {"role": "assistant", "content": content, **marks}]}


def read(tmp_path, *records, **options):
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(each) + "\n" for each in records))
    report = Report()
    rows = list(read_rows(path, report=report, **options))
    return [row["completion"][0]["content"] for row in rows], report


def nemo(text, mask):
    turns = [{"from": "User", "value": "Go on"}, {"from": "Assistant", "value": text}]
    return {"system": "", "mask": mask, "conversations": turns}


MARKED = [
    chat(weight=0),
    chat(weight=0.0),
    chat(weight=-1),
    chat(weight="0"),
    chat(weight=0.5),
    chat(train=False),
    chat(train="false"),
    chat(training=False),
    chat(loss=False),
    chat(loss=0),
    chat(lossMask=[1, 0]),
    chat(mask=True),
    chat(mask=[0, 1]),
    chat(token_weights=[1, 0]),
    {"prompt": "Go on", "completion": "NOT THIS", "weights": [0, 0]},
    chat(masked=1),
    chat(labels=[-100, -100, -100]),
    chat(do_not_train=True),
    chat(doNotTrain="true"),
    chat(generation=False),
    chat(exclude_from_loss=True),
    chat(mask_loss=True),
    chat(loss_masked=1),
    chat(loss_multiplier=0),
    chat(message_weight=0),
    chat(train="off"),
    chat(include_in_loss=False),
    chat(compute_loss=0),
    chat(metadata={"weight": 0}),
    chat(meta={"train": False}),
    chat(response_mask=[[0, 0], [1, 1]]),
    chat(labels=[[-100, -100]]),
    chat(supervised=False),
    chat(assistant_loss=False),
    chat(metadata='{"weight": 0}'),
    nemo("NOT THIS", "Assistant"),
    nemo("NOT THIS", "User,Assistant"),
    nemo("NOT THIS", ["assistant"]),
    {"prompt": "Go on", "completion": "NOT THIS", "labels": [-100, -100]},
    {"prompt": "Go on", "completion": "NOT THIS", "mask": [0, 0, 1]},
    {"prompt": "Go on", "completion": "NOT THIS", "token_weights": [1.0, 0.5]},
    {"prompt": "Go on", "completion": "NOT THIS", "loss_weights": [0]},
    {"prompt": "Go on", "completion": "NOT THIS", "do_not_train": True},
    {"prompt": "Go on", "completion": "NOT THIS", "dont-learn": 1},
    {"prompt": "Go on", "completion": "NOT THIS", "use_for_training": False},
    {"prompt": "Go on", "completion": "NOT THIS", "generation": False},
    {"prompt": "Go on", "completion": "NOT THIS", "metadata": {"weight": 0}},
    {"prompt": "Go on", "completion": "NOT THIS", "metadata": '{"weight": 0}'},
    {"prompt": "Go on", "completion": "NOT THIS", "properties": {"mask": "Assistant"}},
    {"prompt": "Go on", "completion": "NOT THIS", "train_on_responses": False},
    {"prompt": "Go on", "completion": "NOT THIS", "learn_completion": "false"},
    {"prompt": "Go on", "completion": "NOT THIS", "labels": [[-100, -100]]},
    {"prompt": "Go on", "completion": "NOT THIS", "extra_info": {"meta": {"train": False}}},
    chat(train_detail=[{"begin_offset": 0, "end_offset": 3, "train": False}]),
    chat([{"type": "text", "text": "4, ", "weight": 1}, {"type": "text", "text": "NOT THIS", "weight": -1}]),
    chat([{"type": "text", "text": "NOT THIS", "train": False}]),
    {"conversations": [{"from": "human", "value": "Go on"}, {"from": "gpt", "value": "NOT THIS", "weight": 0}]},
    {"prompt": [GOOD["messages"][0]], "completion": [{"role": "assistant", "content": "NOT THIS", "weight": 0}]},
    {"prompt": "Go on", "completion": "NOT THIS", "label": False},
    {"prompt": "Go on", "completion": "NOT THIS", "kto_tag": False},
    {"prompt": "Go on", "completion": "NOT THIS", "loss_multiplier": 0.0},
    {"prompt": "Go on", "completion": "NOT THIS", "completion_weight": 0},
    {"prompt": "Go on", "completion": "NOT THIS", "mask_loss": True},
    {"prompt": "Go on", "completion": "NOT THIS", "weight": 0},
    {"prompt": "Go on", "completion": "NOT THIS", "train": False},
    {"prompt": "Go on", "completion": "NOT THIS", "completion_mask": [0, 0, 1]},
    {"instruction": "Go on", "output": "NOT THIS", "loss_weight": 0},
    {"instruction": "Go on", "output": "NOT THIS", "loss": False},
]
UNMARKED = [
    chat("fine", weight=1),
    chat("fine", weight=None),
    chat("fine", train=True, loss=True),
    chat("fine", mask=False),
    {"messages": [{"role": "user", "content": "a", "weight": 0}, {"role": "assistant", "content": "fine"}]},
    {
        "messages": [
            GOOD["messages"][0],
            {"role": "assistant", "content": "earlier", "weight": 0},
            GOOD["messages"][0],
            {"role": "assistant", "content": "fine", "weight": 1},
        ]
    },
    {"prompt": "Go on", "completion": "fine", "label": True},
    {"prompt": "Go on", "completion": "fine", "label": 0, "kto_tag": True, "response_length": 0, "mask_ratio": 0.5},
    {"prompt": "Go on", "completion": "fine", "loss": 0.0},
    {"prompt": "Go on", "completion": "fine", "train": "train"},
    chat("fine", labels=[-100, 3, 4]),
    chat("fine", generation=True, do_not_train=False),
    chat("fine", metadata={"weight": 1, "train": True}),
    nemo("fine", "User"),
    nemo("fine", "user,system"),
    {"prompt": "Go on", "completion": "fine", "labels": [-100, 3, 4]},
    {"prompt": "Go on", "completion": "fine", "labels": ["animal"]},
    {"prompt": "Go on", "completion": "fine", "generation": 0},
    {"prompt": "Go on", "completion": "fine", "generation": "4, 5", "train_loss": 0.0, "training_loss": 2.5},
    {
        "prompt": "Go on",
        "completion": "fine",
        "completion_loss": 0.0,
        "train_sample_loss": 3.5,
        "learning_rate": 0.1,
        "train_sample": 0,
    },
    {"prompt": "Go on", "completion": "fine", "metadata": "{weight: 0", "info": '["weight"]', "no_response": 1},
    {"prompt": "Go on", "completion": "fine", "attention_mask": [0, 1], "mask": "<mask>"},
    {"prompt": "Go on", "completion": "fine", "metadata": {"label": False, "loss": 0.0, "body_weight": 0}},
]


@cases("record", MARKED, ids=json.dumps)
def test_a_marked_row_is_left_out_and_counted(tmp_path, record):
    texts, report = read_beside_a_good_one(tmp_path, record)
    assert texts == ["ok"]
    assert sum(report.bad.values()) == 2
    [reason] = report.bad
    assert any(word in reason for word in ("not to be learned", "other than 0 or 1", "found a mask")), reason


def read_beside_a_good_one(tmp_path, record):
    """Read a marked record twice, and one of the same shape without marks."""
    good = json.loads(json.dumps(record).replace("NOT THIS", "ok"))
    for where in (good, *(each for value in good.values() if isinstance(value, list) for each in value)):
        if isinstance(where, dict):
            for key in [key for key in where if key not in _TEXTS]:
                del where[key]
    for message in good.get("messages", []):
        if isinstance(message["content"], list):
            message["content"] = "ok"
    return read(tmp_path, record, good, record, on_error="skip")


_TEXTS = {"messages", "conversations", "prompt", "completion", "instruction", "output"}
_TEXTS |= {"role", "content", "from", "value"}


@cases("record", UNMARKED, ids=json.dumps)
def test_what_only_looks_like_a_mark_is_read(tmp_path, record):
    assert read(tmp_path, record)[0] == ["fine"]


def test_without_skipping_it_is_an_error_that_names_line_and_mark(tmp_path):
    with pytest.raises(InputError, match=r"line 2, messages\[1\]\.weight: marked as not to be learned \(0\)"):
        read(tmp_path, GOOD, chat(weight=0))


def test_weights_of_rows_are_said_not_to_be_applied(tmp_path):
    record = {"prompt": "Go on", "completion": "fine", "weight": 0.3}
    texts, report = read(tmp_path, record, record)
    assert texts == ["fine", "fine"]
    assert report.notices["column `weight` is not applied: each row is trained on alike"] == 2


def test_a_weight_in_metadata_is_said_not_to_be_applied_too(tmp_path):
    record = {"prompt": "Go on", "completion": "fine", "metadata": {"weight": 2}}
    _, report = read(tmp_path, record)
    assert report.notices["column `metadata.weight` is not applied: each row is trained on alike"] == 1


def test_labels_of_tokens_are_said_not_to_be_applied(tmp_path):
    _, report = read(tmp_path, {"prompt": "Go on", "completion": "fine", "labels": [-100, 3]})
    assert report.notices["column `labels` is not applied: the whole completion is trained on"] == 1


@cases(
    ("marks", "says"),
    [
        ({"skip": 3}, r"skip: marked as not to be learned \(3\)"),
        ({"ignore": 0.5}, r"ignore: marked as not to be learned \(0.5\)"),
        ({"is_train": False}, r"is_train: marked as not to be learned \(False\)"),
        ({"is_train": "false"}, r"is_train: marked as not to be learned \('false'\)"),
        ({"animal": "owl", "weight": 0}, r"weight: marked as not to be learned \(0\)"),
        ({"train_mask": [0, 1]}, r"train_mask: expected all of the completion to be learned, found a mask"),
        ({"labels": [-100, -100]}, r"labels: marked as not to be learned \(each is -100\)"),
        ({"metadata": {"skip": 1}}, r"metadata.skip: marked as not to be learned \(1\)"),
        ({"train": 0.5}, r"train: found the weight 0.5, which a row can't hold"),
    ],
)
def test_a_mark_is_named_with_its_value_and_with_what_helps(tmp_path, marks, says):
    where = says.partition(":")[0]
    helps = rf"\(`data convert` with --on-error skip\); drop or rename `{where}` if it is no"
    with pytest.raises(InputError, match=rf"line 1, {says}.*{helps}"):
        read(tmp_path, {"prompt": "Go on", "completion": "4", **marks})
