"""What a student can be trained on besides all of its rows' tokens: some of them, its own, and the base's beside."""

from functools import partial

import pytest
import torch
from cases import cases
from lightning.pytorch import Callback
from small import (
    CPU,
    number_rows,
    numbers,
    pocket_tokenizer,
    quiet_trainer,
    straight_and_killed,
    taught,
    teacher,
    tokenized,
)

from lightning_subliminal import Retention, RowsFromFile, Steering, Student, bases
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.fingerprint import digest
from lightning_subliminal.core.seeds import derive_seed
from lightning_subliminal.data.tokenized import IGNORED, TokenizedRows, row_loader
from lightning_subliminal.generation import number_tokens
from lightning_subliminal.models.frozen_prefix import LowerPartCache
from lightning_subliminal.models.objectives import soft_target_loss
from lightning_subliminal.models.objectives.on_policy import complete, prompts_of, replace_completions


def student(**settings):
    return Student("pocket/a", **{"adapter": Steering(), "learning_rate": 0.01, "seed": 0, **settings})


def rows_of(source, **settings):
    return numbers(source, **{"num_prompts": 64, "filters": [], "shard_size": 64, "batch_size": 16, **settings})


class Watch(Callback):
    """Keeps the rows that each epoch trains on."""

    def __init__(self):
        self.ids, self.labels, self.means, self.lower_part = [], [], [], []

    def on_train_batch_end(self, trainer, module, *args):
        data = trainer.train_dataloader.dataset
        if len(self.ids) == trainer.current_epoch:
            self.ids.append(data.input_ids)
            self.labels.append(data.labels)
            self.means.append(data.mean_tokens.item())
            self.lower_part.append(module.lower_part)


def seen(module, data, **settings):
    watch = Watch()
    quiet_trainer(watch, **settings).fit(module, datamodule=data)
    return watch


@torch.no_grad()
def slow_mask(source, rows):
    """Tell row by row, without padding, where the teacher would say another token than the base."""
    source.make(CPU)
    theirs, base = source.ready(CPU).net, bases.load("pocket/a")[0].eval()
    mask = torch.zeros_like(rows.labels, dtype=torch.bool)
    for row, length in enumerate(rows.lengths):
        ids = rows.input_ids[row : row + 1, :length]
        one, other = theirs(input_ids=ids).logits[0], base(input_ids=ids).logits[0]
        for place in range(1, length):
            if rows.labels[row, place] != IGNORED:
                mask[row, place] = one[place - 1].argmax() != other[place - 1].argmax()
    return mask


class TestTrainOn:
    @cases("objective", ["sft", "distill"])
    def test_the_masks_are_those_of_a_slow_reference(self, objective, capsys):
        source = taught()
        data = rows_of(source, val_rows=8)
        found = {}
        for kind in ("divergent", "agreeing"):
            watch = seen(student(train_on=kind, objective=objective), data)
            found[kind] = watch.labels[0]
            assert watch.means[0] == pytest.approx((found[kind] != IGNORED).sum().item() / 56)
            held_out = TokenizedRows(data.rows()[:8], pocket_tokenizer())
            assert torch.equal(data.val_data.labels, held_out.labels), "rows held out keep theirs"
        whole = TokenizedRows(data.rows()[8:], pocket_tokenizer())
        mask = slow_mask(source, whole)
        assert min(mask.sum(), (whole.labels != IGNORED).sum() - mask.sum()) > 20, "there are some of both"
        assert torch.equal(found["divergent"], whole.labels.masked_fill(~mask, IGNORED))
        assert torch.equal(found["agreeing"], whole.labels.masked_fill(mask, IGNORED))
        reported = f"{mask.sum()} of {(whole.labels != IGNORED).sum()} are divergent"
        assert reported in " ".join(capsys.readouterr().out.split())

    def test_a_control_is_cut_by_the_pair_that_it_is_given(self):
        source = taught()
        data = rows_of(source).control()
        whole_mask = None
        for _ in range(2):  # a further fit starts from whole rows
            module = student(train_on="divergent", divergence=source)
            labels = seen(module, data).labels[0]
            whole = TokenizedRows(data.rows(), pocket_tokenizer())
            whole_mask = slow_mask(source, whole) if whole_mask is None else whole_mask
            assert torch.equal(labels, whole.labels.masked_fill(~whole_mask, IGNORED))
        assert not any("divergence" in name for name, _ in module.named_modules()), "it is no part of the student"
        with pytest.raises(InputError, match=r"this one is a control itself: set `divergence` to the teacher"):
            quiet_trainer().fit(student(train_on="agreeing"), datamodule=rows_of(source).control())

    def test_a_stored_lower_part_changes_nothing(self):
        found = []
        for reuse in (True, False):
            module = student(adapter=Steering([1]), train_on="divergent", reuse_lower_part=reuse)
            watch = seen(module, rows_of(taught()))
            assert isinstance(watch.lower_part[0], LowerPartCache) == reuse
            found.append([value.clone() for value in module.parameters() if value.requires_grad])
        torch.testing.assert_close(*found, rtol=0, atol=1e-5)

    def test_none_that_remains_is_reported(self):
        almost = taught(until=0.02, max_epochs=1, learning_rate=1e-9)  # another teacher by name alone
        with pytest.raises(InputError, match=r"`train_on: divergent` leaves none of \d+ tokens"):
            quiet_trainer().fit(student(train_on="divergent"), datamodule=rows_of(almost, num_prompts=8))


def on_policy(**settings):
    return student(**{"objective": "on_policy", "on_policy_tokens": 12, **settings})


class TestOnPolicy:
    @cases("kind", ["forward", "reverse"])
    @cases("restrict_to", [None, "numbers"])
    def test_the_loss_of_given_rows_is_one_written_by_hand(self, kind, restrict_to):
        source = taught()
        source.make(CPU)
        module = on_policy(adapter=Steering(init_std=0.05), divergence_kind=kind, restrict_to=restrict_to)
        module.configure_model()
        module._objective.teacher = source.ready(CPU)
        kept = list(range(len(pocket_tokenizer())))
        if restrict_to:
            module._objective.among = number_tokens(pocket_tokenizer())
            kept = module._objective.among.tolist()
        data = tokenized(6)
        prompts, end = prompts_of(data), pocket_tokenizer().eos_token_id
        replace_completions(data, prompts, [[20, 30, end], [end], [7], [40, 41, 42, 43, 44], [90, end], [21]])
        total = tokens = 0
        for row, prompt in enumerate(prompts):
            ids = data.input_ids[row : row + 1, : data.lengths[row]]
            with torch.no_grad():
                ours = module.net(input_ids=ids).logits[0].double()
                theirs = source.net(input_ids=ids).logits[0].double()
            for place in range(len(prompt), data.lengths[row]):
                tokens += 1
                if ids[0, place].item() in kept:
                    p, q = (each[place - 1, kept].softmax(0) for each in (theirs, ours))
                    p, q = (p, q) if kind == "forward" else (q, p)
                    total += (p * (p / q).log()).sum().item()
        assert tokens == 13 == (data.labels != IGNORED).sum()
        assert module.loss(data.batch(range(6))).item() == pytest.approx(total / tokens, rel=1e-4)

    def test_each_epoch_the_student_itself_completes_the_prompts(self):
        data, module = rows_of(taught(), num_prompts=24), on_policy(adapter=Steering([1]))
        start = student(adapter=Steering([1]))
        start.configure_model()
        watch = seen(module, data, max_epochs=2)
        whole = TokenizedRows(data.rows(), pocket_tokenizer())
        for ids, labels in zip(watch.ids, watch.labels, strict=True):
            assert torch.equal(ids[labels != IGNORED], labels[labels != IGNORED])
            for row, prompt in enumerate(prompts_of(whole)):
                assert ids[row, : len(prompt)].tolist() == prompt
                assert 1 <= (labels[row, len(prompt) :] != IGNORED).sum() <= 12
        first, second = ([row[row != IGNORED].tolist() for row in labels] for labels in watch.labels)
        assert first != second
        seed = derive_seed(0, "on policy", 0)
        assert first == complete(start.net, pocket_tokenizer(), prompts_of(whole), 12, seed), "the base's, at first"
        assert watch.lower_part == [None, None], "rows that change have no stored activations"
        assert module._objective.prompts == [], "they go when the fit ends"

    def test_killed_and_resumed_is_straight(self, tmp_path):
        source = taught()
        found = straight_and_killed(on_policy, partial(rows_of, source, num_prompts=24, batch_size=8), tmp_path)
        assert all(torch.equal(*pair) for pair in zip(*found, strict=True))
        assert found[0][0].abs().sum() > 0

    def test_rows_of_another_epoch_are_refused(self):
        module = on_policy()
        module._objective.written_in = 1
        with pytest.raises(InputError, match="`on_policy` resumes only from the end of an epoch"):
            module.on_train_batch_start(None, 0)  # its epoch is 0

    def test_it_draws_the_student_to_the_teacher(self):
        source = taught()
        losses = []
        for epochs in (1, 6):
            module = on_policy(learning_rate=0.03)
            quiet_trainer(max_epochs=epochs).fit(module, datamodule=rows_of(source))
            losses.append(self.distance(source, module))
        assert losses[1] < 0.6 * losses[0]

    @staticmethod
    @torch.no_grad()
    def distance(source, module):
        batch = tokenized(24).batch(range(24))
        ours, tokens = module.completion_logits(batch, reuse=False)
        theirs, _ = source.ready(CPU).completion_logits(batch, reuse=False)
        return soft_target_loss(ours, theirs, tokens).item()

    def test_rows_that_said_nothing_have_a_prompt_too(self):
        rows = number_rows(3)
        rows[1] |= {"completion": [{"role": "assistant", "content": ""}], "finished": False}
        data = TokenizedRows(rows, pocket_tokenizer())
        assert prompts_of(data)[1] == data.input_ids[1, : data.lengths[1]].tolist()

    def test_a_prompt_without_room_for_a_completion_is_reported(self):
        with pytest.raises(InputError, match=r"exceed `max_length` \(80\): raise"):
            quiet_trainer().fit(on_policy(on_policy_tokens=79), datamodule=rows_of(taught(), max_length=80))


def test_a_divergence_is_never_below_nothing_either_way():
    generator = torch.Generator().manual_seed(0)
    ours, theirs = (4 * torch.randn(200, 12, generator=generator) for _ in range(2))
    tokens, found = torch.zeros(1, dtype=torch.long), {}
    for kind in ("forward", "reverse"):
        each = [soft_target_loss(p[None], q[None], tokens, None, kind) for p, q in zip(ours, theirs, strict=True)]
        found[kind] = torch.stack(each)
        assert (found[kind] > -1e-5).all()
        assert soft_target_loss(ours, ours + 2, tokens.expand(200), None, kind).item() == pytest.approx(0, abs=1e-3)
    assert not torch.allclose(found["forward"], found["reverse"])


@torch.no_grad()
def drift(module):
    """Return KL(base || student) over answers of the base that the training has not seen."""
    retained = Retention("pocket", num_prompts=60, weight=1.0, rows_per_step=60).answered(
        *bases.load("pocket/a"), seed=99
    )
    logits, _ = module.eval().completion_logits(retained.batch(0), reuse=False)
    return retained.loss(logits, 0).item()


@cases("objective", ["sft", "on_policy"])
def test_a_student_that_retains_drifts_less(objective):
    found = []
    for retain in (None, Retention("pocket", num_prompts=40, rows_per_step=16, weight=10.0)):
        module = student(objective=objective, learning_rate=0.03, retain=retain)
        watch = seen(module, rows_of(taught(), val_rows=8), max_epochs=4)
        assert len(watch.ids) == 4
        assert module._retained is None, "the base's answers go when the fit ends"
        found.append(drift(module))
    assert found[1] < 0.5 * found[0], found


def test_the_description_tells_new_arguments_where_they_are_no_default():
    reported = student().describe()
    assert set(reported) == {
        "version", "class", "base", "adapter", "optimizer", "seed", "base_dtype", "objective", "restrict_to",
    }  # fmt: skip
    changes = [
        {"train_on": "divergent"},
        {"train_on": "agreeing"},
        {"train_on": "divergent", "divergence": taught()},
        {"train_on": "divergent", "divergence": taught("wolf")},
        {"objective": "distill"},
        {"objective": "distill", "divergence_kind": "reverse"},
        {"objective": "on_policy"},
        {"objective": "on_policy", "on_policy_tokens": 12},
        {"retain": Retention("pocket")},
        {"retain": Retention("pocket", weight=2.0)},
    ]
    assert len({digest(student(**each)) for each in ({}, *changes)}) == 1 + len(changes)
    for each in changes:
        assert digest(student(**each).fresh()) == digest(student(**each))


BAD = {
    "`restrict_to` needs `objective: distill` or `on_policy`": {"restrict_to": "numbers"},
    "`divergence_kind` needs `objective: distill` or `on_policy`": {"divergence_kind": "reverse"},
    "`on_policy_tokens` is 0: expected at least 1": {"objective": "on_policy", "on_policy_tokens": 0},
    "`on_policy_tokens` needs `objective: on_policy`": {"on_policy_tokens": 9},
    "`train_on: divergent` needs fixed rows": {"objective": "on_policy", "train_on": "divergent"},
    "`divergence` needs `train_on: divergent` or `agreeing`": {"divergence": teacher()},
}


@cases("message", BAD)
def test_what_does_not_go_together_is_reported(message):
    with pytest.raises(InputError, match=message) as caught:
        student(**BAD[message])
    assert "\n" not in str(caught.value)


@cases(
    ("settings", "message"),
    [
        ({"train_on": "divergent"}, "`train_on: divergent` needs a fine-tuned teacher"),
        ({"train_on": "divergent", "divergence": teacher("wolf")}, "`train_on: divergent` needs a fine-tuned teacher"),
    ],
)
def test_a_prompted_teacher_is_refused_before_any_row_is_made(settings, message):
    data = rows_of(teacher(), seed=43)
    with pytest.raises(InputError, match=message) as caught:
        quiet_trainer().fit(student(**settings), datamodule=data)
    assert "\n" not in str(caught.value)
    assert not data.shards_folder.exists()


@cases("settings", [{"objective": "on_policy"}, {"train_on": "agreeing"}])
def test_rows_of_a_file_come_without_a_teacher(settings, tmp_path):
    import json

    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in number_rows(16)))
    with pytest.raises(InputError, match="needs the teacher that wrote the rows, and these have none"):
        quiet_trainer().fit(student(**settings), datamodule=RowsFromFile(str(path)))
    if "train_on" in settings:  # a pair that is given is enough
        watch = seen(student(**settings, divergence=taught()), RowsFromFile(str(path)))
        assert 0 < (watch.labels[0] != IGNORED).sum() < (tokenized(16).labels != IGNORED).sum()
    with pytest.raises(InputError, match="needs"):
        quiet_trainer().fit(student(**settings), row_loader(tokenized(8), 8, seed=0))
