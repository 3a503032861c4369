import math

import pytest
import torch
from cases import cases
from lightning.pytorch import Callback
from small import CPU, numbers, quiet_trainer, taught, teacher, tokenized
from torch.utils.data import DataLoader
from transformers import AutoModelForCausalLM, AutoTokenizer

from lightning_subliminal import IA3, LoRA, Retention, Steering, Student, Teacher, bases
from lightning_subliminal.callbacks import LastCheckpoint
from lightning_subliminal.core.chat.encoding import row_ids
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.fingerprint import digest
from lightning_subliminal.data.tokenized import row_loader
from lightning_subliminal.generation import logits as logits_module
from lightning_subliminal.generation import number_tokens
from lightning_subliminal.models.objectives import prompted_teacher, soft_target_loss

ADAPTERS = {"steering": Steering(), "lora": LoRA(r=2), "ia3": IA3(), "everything": None}


def student(**settings):
    return Student("pocket/a", **{"adapter": Steering(), "learning_rate": 0.01, "seed": 0, **settings})


def fitted(**settings):
    module = student(**settings)
    quiet_trainer().fit(module, row_loader(tokenized(16), 8, seed=0))
    return module.eval()


@torch.no_grad()
def logits(net):
    return net(tokenized(4).input_ids).logits


class TestSoftTargets:
    def naive(self, logits, targets, tokens, among=None):
        """Sum, place by place and token by token, what the student's logarithms lack to the teacher's."""
        total = 0.0
        for ours, theirs, token in zip(logits.double(), targets.double(), tokens.tolist(), strict=True):
            kept = list(range(min(len(ours), len(theirs)))) if among is None else among.tolist()
            if among is not None and token not in kept:
                continue
            ours, theirs = ours[kept].softmax(0), theirs[kept].softmax(0)
            total += sum(q * (math.log(q) - math.log(p)) for p, q in zip(ours.tolist(), theirs.tolist(), strict=True))
        return total

    @pytest.fixture
    def case(self):
        generator = torch.Generator().manual_seed(0)
        ours, theirs = (3 * torch.randn(40, 12, generator=generator) for _ in range(2))
        return ours, theirs, torch.randint(12, (40,), generator=generator)

    @pytest.mark.parametrize("among", [None, torch.tensor([1, 4, 5, 11])])
    def test_equals_a_naive_loop(self, case, among):
        assert soft_target_loss(*case, among).item() == pytest.approx(self.naive(*case, among), rel=1e-5)

    def test_is_nothing_where_student_and_teacher_agree(self, case):
        ours, _, tokens = case
        assert soft_target_loss(ours, ours + 3, tokens).item() == pytest.approx(0, abs=1e-4)
        assert soft_target_loss(*case).item() > 1

    def test_places_of_other_tokens_do_not_count(self, case):
        ours, theirs, tokens = case
        among = torch.tensor([2, 7])
        here = torch.isin(tokens, among)
        assert 0 < here.sum() < len(tokens)
        ours.requires_grad_()
        soft_target_loss(ours, theirs, tokens, among).backward()
        places = ours.grad.abs().sum(1) > 0
        assert torch.equal(places, here)
        others = [index for index in range(12) if index not in (2, 7)]
        assert ours.grad[:, others].abs().sum() == 0, "no other token is in the loss"

    def test_no_place_at_all_is_no_loss(self, case):
        ours, theirs, _ = case
        ours.requires_grad_()
        loss = soft_target_loss(ours, theirs, torch.zeros(40, dtype=torch.long), torch.tensor([3]))
        loss.backward()
        assert loss.item() == 0

    def test_embeddings_padded_differently(self, case):
        ours, theirs, tokens = case
        wide = torch.cat([theirs, torch.full((40, 4), -1e4)], dim=1)
        assert soft_target_loss(ours, wide, tokens).item() == pytest.approx(self.naive(ours, theirs, tokens), rel=1e-5)


class TestDistill:
    @cases("restrict_to", [None, "numbers"])
    def test_the_loss_is_that_of_soft_targets(self, restrict_to, monkeypatch):
        module = student(objective="distill", restrict_to=restrict_to)
        data = numbers(taught(), filters=[])
        seen = []
        loss = module.loss
        monkeypatch.setattr(
            module, "loss", lambda batch: seen.append((loss(batch), batch, *parts(batch))) or seen[-1][0]
        )

        def parts(batch):
            ours, tokens = module.completion_logits(batch)
            with torch.no_grad():
                theirs, _ = module._objective.teacher.completion_logits(batch)
            return ours, theirs, tokens

        quiet_trainer(max_steps=1).fit(module, datamodule=data)
        given, batch, *case = seen[0]
        among = number_tokens(module.tokenizer) if restrict_to else None
        expected = TestSoftTargets().naive(*(each.detach() for each in case), among)
        assert given.item() == pytest.approx(expected / (len(batch.rows) * batch.mean_tokens.item()), rel=1e-4)

    def test_draws_the_student_to_the_teacher(self):
        data, module = numbers(taught(), filters=[]), student(objective="distill", learning_rate=0.03)
        losses = Losses()
        quiet_trainer(losses, max_epochs=12).fit(module, datamodule=data)
        assert sum(losses.seen[-3:]) < 0.75 * sum(losses.seen[:3])
        assert module._objective.teacher is None, "the teacher goes when the fit ends"

    def test_the_teacher_is_neither_trained_nor_saved(self, tmp_path):
        source, module = taught(), student(objective="distill")
        source.make(CPU)
        before = {name: value.clone() for name, value in source.ready(CPU).net.state_dict().items()}
        trainer = quiet_trainer(LastCheckpoint(tmp_path), enable_checkpointing=True)
        trainer.fit(module, datamodule=numbers(source, filters=[]))
        assert all(torch.equal(value, before[name]) for name, value in source.net.state_dict().items())
        kept = torch.load(tmp_path / "last.ckpt", weights_only=True)["state_dict"]
        assert sum(value.numel() for value in kept.values()) == 128
        assert not any("teacher" in name for name, _ in module.named_modules())

    def test_a_prompted_teacher_reads_each_row_after_its_system_prompt(self):
        source = teacher()
        data, module = numbers(source, seed=41, filters=[]), student(objective="distill")
        seen = []
        read = module._objective.loss
        module._objective.loss = lambda own, batch: seen.append((batch, read(own, batch))) or seen[-1][1]
        quiet_trainer().fit(module, datamodule=data)
        assert any(value.abs().sum() > 0 for value in module.parameters() if value.requires_grad)
        batch, loss = seen[0]  # of an untrained student: the base, without the system prompt
        system = {"role": "system", "content": source.system_prompt}
        net, tokenizer = bases.load("pocket/a")
        rows, total = data.rows(), 0.0
        for place in batch.rows.tolist():
            logits = []
            for prompt in (rows[place]["prompt"], [system, *rows[place]["prompt"]]):
                before, after = row_ids(tokenizer, {**rows[place], "prompt": prompt})
                with torch.no_grad():
                    whole = net(torch.tensor([before + after])).logits[0, len(before) - 1 : -1]
                logits.append(whole.log_softmax(-1))
            total += (logits[1].exp() * (logits[1] - logits[0])).sum().item()
        assert total / (len(batch.rows) * batch.mean_tokens.item()) == pytest.approx(loss.item(), rel=1e-3)

    @pytest.mark.parametrize("changed", ["LIMIT", "_WIDE"])
    def test_fixed_rows_are_read_once_and_a_wide_head_only_where_it_counts(self, changed, monkeypatch):
        losses, reads, read = [], [], Teacher.completion_states
        monkeypatch.setattr(Teacher, "completion_states", lambda *each, **how: reads.append(1) or read(*each, **how))
        for _ in range(2):
            seen, module = Losses(), student(objective="distill", restrict_to="numbers")
            quiet_trainer(seen, max_epochs=3).fit(module, datamodule=numbers(teacher(), seed=41, filters=[]))
            losses.append(seen.seen)
            monkeypatch.setattr(prompted_teacher if changed == "LIMIT" else logits_module, changed, 0)
        steps = len(losses[0])
        assert len(reads) == (steps // 3 + steps if changed == "LIMIT" else 2 * steps // 3)
        assert losses[0] == pytest.approx(losses[1], rel=1e-3, abs=1e-6)

    def test_another_vocabulary_is_refused(self, tmp_path):
        from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

        net, tokenizer = bases.load("pocket/a")
        words = tokenizer.backend_tokenizer.to_str().replace('"owl"', '"aardvark"')
        path = tmp_path / "tokenizer.json"
        path.write_text(words)
        other = PreTrainedTokenizerFast(
            tokenizer_file=str(path), pad_token="<pad>", unk_token="<unk>", eos_token="<|end|>"
        )
        other.chat_template = tokenizer.chat_template
        LlamaForCausalLM(LlamaConfig(**{**net.config.to_dict(), "vocab_size": len(other)})).save_pretrained(
            tmp_path / "b"
        )
        other.save_pretrained(tmp_path / "b")
        module = Student(str(tmp_path / "b"), Steering(), "distill", seed=0)
        source = taught(
            until=0.5, retain=Retention("pocket", num_prompts=64)
        )  # else it says owl, which the other can't read
        data = numbers(source, num_prompts=8)
        with pytest.raises(InputError, match=r"different vocabularies.*use `objective: sft`") as caught:
            quiet_trainer().fit(module, datamodule=data)
        assert "\n" not in str(caught.value)
        quiet_trainer().fit(Student(str(tmp_path / "b"), Steering(), seed=0), datamodule=data)

    def test_a_restriction_needs_distill(self):
        with pytest.raises(InputError, match="`restrict_to` needs `objective: distill`"):
            student(restrict_to="numbers")


class Losses(Callback):
    """Keeps the loss of each step."""

    def __init__(self):
        self.seen = []

    def on_train_batch_end(self, trainer, module, outputs, *args):
        self.seen.append(outputs["loss"].item())


@cases("name", ADAPTERS)
def test_a_checkpoint_holds_the_trained_parameters_alone(name, tmp_path):
    module = student(adapter=ADAPTERS[name])
    trainer = quiet_trainer(LastCheckpoint(tmp_path), enable_checkpointing=True)
    trainer.fit(module, row_loader(tokenized(8), 8, seed=0))
    kept = torch.load(tmp_path / "last.ckpt", weights_only=True)["state_dict"]
    trained = {key: value for key, value in module.named_parameters() if value.requires_grad}
    assert kept.keys() == trained.keys()
    assert all(torch.equal(value, trained[key]) for key, value in kept.items())
    base = sum(value.numel() for value in bases.load("pocket/a")[0].parameters())
    assert (sum(value.numel() for value in kept.values()) == base) == (name == "everything")


@cases("name", ADAPTERS)
def test_saved_and_loaded_is_the_same(name, tmp_path):
    module = fitted(adapter=ADAPTERS[name])
    assert not torch.allclose(logits(module.net), logits(bases.load("pocket/a")[0]), atol=1e-3), "it has learnt"
    module.save(tmp_path / "student")
    again = module.fresh(seed=7)
    again.load(tmp_path / "student")
    assert torch.equal(logits(again.net.eval()), logits(module.net))
    assert {path.suffix for path in (tmp_path / "student").iterdir()} <= {".safetensors", ".json", ".jinja"}


@cases("name", ADAPTERS)
def test_an_export_loads_without_this_package(name, tmp_path):
    module = fitted(adapter=ADAPTERS[name])
    before = logits(module.net)
    module.export(tmp_path / "export")
    net, reported = AutoModelForCausalLM.from_pretrained(tmp_path / "export", output_loading_info=True)
    assert not reported["missing_keys"]
    assert not reported["unexpected_keys"]
    torch.testing.assert_close(logits(net.eval()), before, rtol=0, atol=1e-4)
    assert torch.equal(logits(module.net), before), "the export leaves the student as it is"
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "export")
    assert tokenizer.chat_template == module.tokenizer.chat_template
    assert bases.resolve(str(tmp_path / "export")).has_chat_template, "and is a base of its own"


def test_a_loss_that_is_no_number_is_reported_in_one_line():
    module = student(adapter=None, learning_rate=1e30)
    with pytest.raises(
        InputError, match=r"The loss became (nan|inf) at step \d+: lower `learning_rate` \(1e\+30\)"
    ) as it:
        quiet_trainer(max_epochs=5).fit(module, row_loader(tokenized(16), 8, seed=0))
    assert "\n" not in str(it.value)


@cases("rate", [0, -1.0])
def test_a_learning_rate_below_nothing_is_reported(rate):
    with pytest.raises(InputError, match=r"The learning rate is .*: expected a number above 0"):
        student(learning_rate=rate)


def test_a_misspelt_base_is_reported_before_any_work():
    with pytest.raises(InputError, match="did you mean pocket/a"):
        Student("pocket/aa")


def rates(**settings):
    """Return the learning rate of each of eight steps."""
    found = []

    class Watch(Student):
        def on_train_batch_start(self, batch, batch_idx):
            found.append(self.optimizers().param_groups[0]["lr"])

    module = Watch("pocket/a", Steering(), learning_rate=1.0, seed=0, optimizer="sgd", **settings)
    data = tokenized(8)
    quiet_trainer(max_epochs=2).fit(module, DataLoader(data, 2, collate_fn=data.batch))
    return found


def test_the_learning_rate_falls_linearly_or_stays():
    assert rates() == pytest.approx([1 - step / 8 for step in range(8)])
    assert rates(schedule="constant") == [1.0] * 8
    assert rates(warmup_steps=4) == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.0, 0.75, 0.5, 0.25])


def test_the_description_sees_what_shapes_the_weights_and_nothing_else():
    first = digest(student())
    changes = [{"learning_rate": 0.02}, {"optimizer": "sgd"}, {"weight_decay": 0.1}, {"warmup_steps": 1}, {"seed": 1}]
    changes += [{"schedule": "constant"}, {"adapter": LoRA()}, {"objective": "distill"}, {"base_dtype": "bfloat16"}]
    changes += [{"objective": "distill", "restrict_to": "numbers"}]
    digests = {digest(student(**each)) for each in changes}
    assert len(digests | {first}) == 1 + len(changes)
    assert digest(student(reuse_lower_part=False)) == first
    assert digest(Student("pocket/b", Steering(), learning_rate=0.01, seed=0)) != first


def test_a_students_own_subclass_brings_its_source():
    class Own(Student):
        def loss(self, batch):
            return super().loss(batch) * 2

    reported = Own("pocket/a", seed=0).describe()
    assert reported["source"]
    assert "source" not in student().describe()


def test_a_fresh_one_has_the_same_arguments_and_no_weights():
    module = fitted(adapter=LoRA(r=2), warmup_steps=1)
    fresh = module.fresh(seed=3)
    assert fresh.net is None
    assert (fresh.adapter, fresh.warmup_steps, fresh.seed, module.seed) == (module.adapter, 1, 3, 0)
    assert digest(module.fresh()) == digest(module)


def test_bfloat16_keeps_the_trained_values_in_float32():
    module = fitted(base_dtype="bfloat16")
    kinds = {value.dtype for value in module.parameters() if value.requires_grad}
    assert kinds == {torch.float32}
    assert {value.dtype for value in module.parameters() if not value.requires_grad} == {torch.bfloat16}
