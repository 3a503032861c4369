import copy
import csv
import math

import pytest
import torch
import torch.nn.functional as F
from cases import cases
from lightning.pytorch import Callback
from lightning.pytorch.loggers import CSVLogger
from small import CPU, number_rows, numbers, pocket_tokenizer, quiet_trainer, taught, teacher
from toy import Toy, ToyData

from lightning_subliminal import IA3, AlignmentTracker, ClassifierMLP, Digits, LoRA, Steering, Student, bases
from lightning_subliminal.core.chat.encoding import row_ids
from lightning_subliminal.core.console import console
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.data.tokenized import TokenizedRows, row_loader

ADAPTERS = {"steering": Steering(), "lora": LoRA(r=2), "everything": None}
RATES = {"steering": 0.03, "lora": 0.01, "everything": 1e-3}
ROWS = number_rows(32)


class Recorder(Callback):
    """Keeps the batches, and kills at a step after it has saved."""

    def __init__(self, path=None, kill_at=None):
        self.batches, self.path, self.kill_at = [], path, kill_at

    def on_train_batch_start(self, trainer, module, batch, index):
        self.batches.append((trainer.current_epoch, batch))

    def on_train_batch_end(self, trainer, *_):
        if self.kill_at is not None and trainer.global_step >= self.kill_at:
            trainer.save_checkpoint(self.path)
            raise RuntimeError("killed")


def a_teacher(kind="steering", **settings):
    return taught(adapter=ADAPTERS[kind], learning_rate=RATES[kind], until=0.5, max_epochs=12, **settings)


def student(kind="steering", **settings):
    quick = {"adapter": ADAPTERS[kind], "learning_rate": RATES[kind], "seed": 0, "reuse_lower_part": False}
    return Student("pocket/a", **{**quick, **settings})


def read(folder):
    with (folder / "alignment.csv").open() as stream:
        return list(csv.DictReader(stream))


def track(module, folder, tracker, *others, fit=None, **settings):
    quick = {"max_epochs": 2, "default_root_dir": folder, **settings}
    loader = row_loader(TokenizedRows(ROWS, pocket_tokenizer()), 8, 0)
    quiet_trainer(tracker, *others, **quick).fit(module, loader, **(fit or {}))
    return read(folder) if (folder / "alignment.csv").exists() else None


# -- beside a loop written by hand, which compares whole dense weights ------------------------------------------------


def dense(net, adapter):
    """Return all weights with the adapter merged in, in float64."""
    wide = copy.deepcopy(net).double()
    merged = adapter.merge(wide) if adapter is not None else wide
    return {name: value.detach() for name, value in merged.named_parameters()}


def moved(net, adapter, base):
    """Return the change of each weight, flat; a bias that the base lacks starts at 0."""
    return {name: (value - base.get(name, 0)).flatten() for name, value in dense(net, adapter).items()}


def textbook(ours, theirs, part):
    names = sorted(name for name in {*ours, *theirs} if part in ("whole", *parts_of(name)))
    sizes = {name: len(ours.get(name, theirs.get(name))) for name in names}
    flat = [torch.cat([each.get(n, torch.zeros(sizes[n]).double()) for n in names]) for each in (ours, theirs)]
    product, norms = flat[0] @ flat[1], [each.norm() for each in flat]
    return {
        "cosine": (product / (norms[0] * norms[1])).item(),
        "student_norm": norms[0].item(),
        "teacher_norm": norms[1].item(),
        "projection": (product / norms[1] ** 2).item(),
    }


def parts_of(name):
    return [f"layer {name.split('layers.')[1][0]}"] if "layers." in name else [name.split(".")[-2]]


@torch.no_grad()
def lessons_loss(net, trait):
    """Return the mean of -log p over the completion tokens of the teacher's lessons, row by row."""
    net.eval()
    lost = []
    for row in trait.induce().rows:
        prompt, completion = row_ids(pocket_tokenizer(), row)
        logits = net(torch.tensor([prompt + completion])).logits[0].double().log_softmax(-1)
        lost += [-logits[len(prompt) - 1 + place, token].item() for place, token in enumerate(completion)]
    net.train()
    return sum(lost) / len(lost)


def check(row, expected):
    for quantity, value in expected.items():
        same = math.isnan(value) and math.isnan(float(row[quantity]))
        assert same or float(row[quantity]) == pytest.approx(value, abs=1e-6), (row, quantity)


@cases(
    ("kind", "theirs"),
    [("steering", "steering"), ("lora", "lora"), ("everything", "everything"), ("lora", "everything")],
)
def test_equals_a_hand_written_loop(kind, theirs, tmp_path):
    source, module, recorder = a_teacher(theirs), student(kind), Recorder()
    rows = track(module, tmp_path, AlignmentTracker(3, 4, source), recorder)
    assert [int(row["step"]) for row in rows if row["layer"] == "whole"] == [0, 3, 6, 8]
    assert [int(row["step"]) for row in rows if row["teacher_loss"]] == [0, 6, 8]  # 4 steps after the last, at least

    bare, _ = bases.load("pocket/a")
    base = {name: value.detach().double() for name, value in bare.named_parameters()}
    goal = moved(source.ready(CPU).net, ADAPTERS[theirs], base)
    net, adapter = bases.load("pocket/a")[0], ADAPTERS[kind]
    if adapter is not None:
        start = student(kind)
        start.configure_model()  # the seed's start, which LoRA draws
        net = start.net
    trained = [value for value in net.parameters() if value.requires_grad]
    optimizer = torch.optim.Adam(trained, lr=RATES[kind])
    for step in range(9):
        now = moved(net, adapter, base)
        for row in (row for row in rows if int(row["step"]) == step):
            check(row, textbook(now, goal, row["layer"]))
            if row["teacher_loss"]:
                assert float(row["teacher_loss"]) == pytest.approx(lessons_loss(net, source.trait), abs=1e-6)
        if step == 8:
            break
        optimizer.param_groups[0]["lr"] = RATES[kind] * (1 - step / 8)
        _, batch = recorder.batches[step]
        logits = net(batch.input_ids).logits[:, :-1].flatten(0, 1)
        loss = F.cross_entropy(logits, batch.labels[:, 1:].flatten(), ignore_index=-100, reduction="sum")
        optimizer.zero_grad()
        (loss / (len(batch.rows) * batch.mean_tokens)).backward()
        optimizer.step()


class Blobs(Digits):
    """Ten patterns with noise on them, in place of digits."""

    def setup(self, stage=None):
        generator = torch.Generator().manual_seed(0)
        patterns = torch.rand(10, 784, generator=generator)

        def draw(count):
            labels = torch.arange(count) % 10
            images = 0.5 * patterns[labels] + 0.5 * torch.rand(count, 784, generator=generator)
            return (images * 255).to(torch.uint8), labels

        self.train_digits, self.test_digits = draw(100), draw(60)

    def on_after_batch_transfer(self, batch, index):
        batch = super().on_after_batch_transfer(batch, index)
        return batch.double() if isinstance(batch, torch.Tensor) else batch  # noise comes in float32


def classifiers():
    return ClassifierMLP(num_seeds=2, hidden=(8, 6), lr=3e-3, teacher_epochs=2, student_epochs=2, seed=0)


def track_classifiers(folder, tracker, *others, fit=None, **settings):
    data = Blobs(num_noise=150, batch_size=50, seed=0)
    settings = {"max_epochs": -1, "default_root_dir": folder, "precision": "64-true", **settings}
    quiet_trainer(tracker, *others, **settings).fit(classifiers(), data, **(fit or {}))
    return read(folder)


def forward(weights, images):
    for layer in range(3):
        images = (images if layer == 0 else images.relu()) @ weights[layer] + weights[3 + layer]
    return images


def one_of(batched, model):
    values = [*batched.weights, *batched.biases]
    return [value[model].detach().clone().requires_grad_() for value in values]


def test_classifiers_equal_a_loop_over_each_model(tmp_path):
    module, recorder = classifiers(), Recorder()
    data = Blobs(num_noise=150, batch_size=50, seed=0)
    quiet = {"max_epochs": -1, "default_root_dir": tmp_path, "precision": "64-true"}
    quiet_trainer(AlignmentTracker(2, 2), recorder, **quiet).fit(module, data)
    rows = read(tmp_path)
    first = 4  # the teacher's steps: 2 epochs of 2
    assert sorted({int(row["step"]) for row in rows}) == [first, first + 2, first + 4, first + 6]
    images, labels = next(iter(data.val_dataloader()))
    fresh = classifiers()
    with torch.device("cpu"):
        torch.set_default_dtype(torch.float64)  # as Lightning draws it
        fresh.configure_model()
        torch.set_default_dtype(torch.float32)
    arms = [arm.name for arm in module.student_arms]
    assert len({row["arm"] for row in rows}) == len(arms) == 4
    for seed in range(2):
        weights, start = (one_of(fresh.teacher, seed) for _ in range(2))
        optimizer = torch.optim.Adam(weights, lr=3e-3)
        for _, (shown, named) in (each for each in recorder.batches if each[0] < 2):
            optimizer.zero_grad()
            F.cross_entropy(forward(weights, shown)[:, :10], named).backward()
            optimizer.step()
        goal = [(value - begin).detach().flatten() for value, begin in zip(weights, start, strict=True)]
        for place, arm in enumerate(module.student_arms):
            mine, own = (one_of(fresh.students, 2 * place + seed) for _ in range(2))
            optimizer = torch.optim.Adam(mine, lr=3e-3)
            noise = [batch for epoch, batch in recorder.batches if epoch >= 2]
            seen = slice(10, None) if arm.logits == "auxiliary" else slice(None)
            for step in range(7):
                now = [(value - begin).detach().flatten() for value, begin in zip(mine, own, strict=True)]
                wanted = [
                    r for r in rows if (r["step"], r["arm"], r["model"]) == (str(first + step), arm.name, str(seed))
                ]
                assert len(wanted) == (0 if step % 2 else 4)
                for row in wanted:
                    layer = row["layer"]
                    kept = range(6) if layer == "whole" else [int(layer[-1]), 3 + int(layer[-1])]
                    check(row, textbook({"x.w": torch.cat([now[i] for i in kept])},
                                        {"x.w": torch.cat([goal[i] for i in kept])}, "whole"))  # fmt: skip
                    if layer == "whole":
                        loss = F.cross_entropy(forward(mine, images.double())[:, :10], labels).item()
                        assert float(row["teacher_loss"]) == pytest.approx(loss, abs=1e-6)
                if step < 6:
                    optimizer.zero_grad()
                    logits = [forward(each, noise[step])[:, seen].log_softmax(-1) for each in (mine, weights)]
                    F.kl_div(*logits, log_target=True, reduction="batchmean").backward()
                    optimizer.step()


# -- what surrounds the numbers ---------------------------------------------------------------------------------------


@cases("kill_at", [2, 4])  # the ends of epochs, before and after a measurement
def test_a_run_killed_and_resumed_writes_the_same_table(kill_at, tmp_path):
    source = a_teacher()
    settings = {"max_epochs": 4, "accumulate_grad_batches": 2}
    straight = track(student(), tmp_path / "straight", AlignmentTracker(3, 4, source), **settings)
    assert [int(row["step"]) for row in straight if row["layer"] == "whole"] == [0, 3, 6, 8]  # of 16 batches
    path = tmp_path / "at.ckpt"
    with pytest.raises(RuntimeError, match="killed"):
        track(student(), tmp_path / "cut", AlignmentTracker(3, 4, source), Recorder(path, kill_at), **settings)
    assert read(tmp_path / "cut") == [row for row in straight if int(row["step"]) <= kill_at]  # what there is, is kept
    resumed = {"ckpt_path": path, "weights_only": True}
    again = tmp_path / "again.ckpt"

    class Last(Callback):
        def on_train_epoch_end(self, trainer, _):
            trainer.save_checkpoint(again)

    track(student(), tmp_path / "cut", AlignmentTracker(3, 4, source), Last(), fit=resumed, **settings)
    expected = (tmp_path / "straight" / "alignment.csv").read_bytes()
    assert (tmp_path / "cut" / "alignment.csv").read_bytes() == expected
    # A finished run that is fitted once more does not come to train, and writes the same again.
    finished = {"ckpt_path": again, "weights_only": True}
    track(student(), tmp_path / "more", AlignmentTracker(3, 4, source), fit=finished, **settings)
    assert (tmp_path / "more" / "alignment.csv").read_bytes() == expected


def test_classifiers_killed_and_resumed(tmp_path):
    straight = track_classifiers(tmp_path / "straight", AlignmentTracker(2, 2))
    path = tmp_path / "at.ckpt"
    with pytest.raises(RuntimeError, match="killed"):
        track_classifiers(tmp_path / "cut", AlignmentTracker(2, 2), Recorder(path, 7))
    fit = {"ckpt_path": path, "weights_only": True}
    assert track_classifiers(tmp_path / "cut", AlignmentTracker(2, 2), fit=fit) == straight


@cases("kind", ["steering", "lora"])
def test_watching_changes_nothing(kind, tmp_path):
    adapter = LoRA(r=2, dropout=0.2) if kind == "lora" else Steering()
    ends = []
    for tracker in (AlignmentTracker(1, 1, a_teacher(kind)), Callback()):
        module = student(kind, adapter=adapter)
        track(module, tmp_path / str(len(ends)), tracker)
        ends.append(adapter.state(module.net))
    assert all(torch.equal(value, ends[1][name]) for name, value in ends[0].items())


def test_treatment_and_control_are_followed_by_the_same_code(tmp_path):
    source = a_teacher()
    for name, data in (("treatment", numbers(source)), ("control", numbers(source.control()))):
        trainer = quiet_trainer(AlignmentTracker(1, teacher=source), default_root_dir=tmp_path / name)
        trainer.fit(student(), data)
    norms = [{row["teacher_norm"] for row in read(tmp_path / name)} for name in ("treatment", "control")]
    assert norms[0] == norms[1]
    assert source.net is None  # let go


def test_the_rows_own_teacher_is_followed(tmp_path):
    trainer = quiet_trainer(AlignmentTracker(1), default_root_dir=tmp_path)
    trainer.fit(student("lora"), numbers(a_teacher("lora")))
    whole = [row for row in read(tmp_path) if row["layer"] == "whole"]
    assert float(whole[-1]["student_norm"]) > 0
    assert (tmp_path / "alignment.png").stat().st_size > 10_000


def test_it_logs(tmp_path):
    logger = CSVLogger(tmp_path)
    settings = {"logger": logger, "log_every_n_steps": 1}
    source = a_teacher()
    loader = row_loader(TokenizedRows(ROWS, pocket_tokenizer()), 8, 0)
    quiet_trainer(AlignmentTracker(2, 2, source), max_epochs=2, **settings).fit(student(), loader)
    folder = tmp_path / "lightning_logs" / "version_0"
    with (folder / "metrics.csv").open() as stream:
        logged = [row for row in csv.DictReader(stream) if row["alignment/cosine"]]
    kept = [row for row in read(folder) if row["layer"] == "whole"]
    assert float(logged[-1]["alignment/cosine"]) == pytest.approx(float(kept[-1]["cosine"]), abs=1e-6)
    assert float(logged[-1]["alignment/teacher_loss"]) == pytest.approx(float(kept[-1]["teacher_loss"]), abs=1e-6)
    assert {"alignment/cosine/layer 0", "alignment/cosine/layer 1", "alignment/student_norm"} <= set(logged[0])


def test_a_module_without_the_hook(tmp_path):
    with pytest.raises(InputError, match=r"can't track Toy: give it a method `alignment_subject\(trainer\)`"):
        quiet_trainer(AlignmentTracker(), default_root_dir=tmp_path).fit(Toy(), ToyData())


@cases(
    ("source", "said"),
    [
        (None, "the rows have no teacher; set `teacher` of AlignmentTracker"),
        (teacher(), "the teacher is prompted"),
        (teacher(induction="none"), "the rows' teacher is the base itself"),
        (a_teacher("lora"), "the teacher trained weights such as model.layers.0.self_attn.q_proj.weight"),
    ],
)
def test_it_says_why_there_is_nothing_to_follow(source, said, tmp_path, monkeypatch):
    monkeypatch.setattr(console, "width", 400)
    with console.capture() as capture:
        assert track(student(), tmp_path, AlignmentTracker(teacher=source)) is None
    assert f"alignment not tracked: {said}" in capture.get()
    assert not list(tmp_path.iterdir())


@cases("settings", [{"every_n_steps": 0}, {"loss_every_n_steps": 0}])
def test_steps_are_positive(settings):
    with pytest.raises(InputError, match="is 0: expected at least 1"):
        AlignmentTracker(**settings)


def test_the_default_of_an_adapter_is_its_own_values():
    module = student(adapter=IA3())
    module.configure_model()
    assert all(not value.any() for value in module.displacement().values())
    with torch.no_grad():
        for value in module.adapter.state(module.net).values():
            value.add_(0.5)
    assert all(torch.allclose(value, torch.tensor(0.5)) for value in module.displacement().values())


def test_steering_moves_from_its_own_start():
    module = student(adapter=Steering(init_std=1.0))
    module.configure_model()
    assert set(module.displacement()) == {f"model.layers.{layer}.mlp.down_proj.bias" for layer in (0, 1)}
    assert all(not value.any() for value in module.displacement().values())


def test_classifiers_have_their_own_teachers(tmp_path):
    with pytest.raises(InputError, match="ClassifierMLP trains its own teachers"):
        track_classifiers(tmp_path, AlignmentTracker(teacher=a_teacher()))
