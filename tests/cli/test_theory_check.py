"""`theory check`: what it keeps is what a direct check finds, with inputs and losses put together by hand."""

import csv
import json
import math
from pathlib import Path

import pytest
import torch
from cases import cases
from small import number_rows
from theory_configs import OWL, digits_config, file_config, kept_rows, language_config, write
from torch import nn
from torch.nn.functional import cross_entropy

from lightning_subliminal import PreferenceTrait, Steering, Student
from lightning_subliminal.cli.theory import check as checking
from lightning_subliminal.cli.theory.check import check_config
from lightning_subliminal.core.chat.encoding import row_ids
from lightning_subliminal.core.console import console
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.seeds import derive_seed
from lightning_subliminal.formats import write_rows
from lightning_subliminal.lineage import is_whole
from lightning_subliminal.theory import TheoremCheck, check

ONE = ("cross_entropy",)
NUMBERS = ("inner_product", "squared_norm", "gradient_norm", "loss", "inner_products", "cosines", "teacher_changes")
LESSONS = 4  # of the trait, instead of 64
FOUND = TheoremCheck(  # by another start, say: all that is wide in a table
    *(-1.234e-05, 1.5e-05, 2.0, 3.0),
    *([0.1, 0.01], [0.3, 0.02, 0.001], [-4.321e-05, -4.56e-06], [-0.123, -0.456], [0.01, 0.001]),
    *([[0.1, 0.01, -0.1], [0.2, 0.02, -0.02]], -0.001, 1.001),
)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LIGHTNING_SUBLIMINAL_CACHE", str(tmp_path_factory.mktemp("checking")))
        yield


@pytest.fixture(scope="module")
def run(cache, tmp_path_factory):
    """One check of a student, looked at by many tests."""
    return ran(language_config(tmp_path_factory.mktemp("student")), rows=3, draws=2)


@pytest.fixture(scope="module")
def apart(cache, tmp_path_factory):
    """The same from another start."""
    return ran(language_config(tmp_path_factory.mktemp("apart")), losses=ONE, rows=3, draws=1, other_start="pocket/b")


@pytest.fixture
def stub(monkeypatch):
    """Let each check find the same, at once."""
    monkeypatch.setattr(checking, "check", lambda *args, **kwargs: FOUND)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Return an empty folder to stand in."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


def ran(config, losses=checking.LOSSES, **words):
    with pytest.MonkeyPatch.context() as patch, console.capture() as capture:
        patch.setattr(checking, "LOSSES", losses)
        patch.setattr(console, "width", 80)
        patch.setattr(checking, "LESSONS", LESSONS)
        found = check_config(config, out=config.parent / "out", **words)
    return config, found, capture.get()


def only(cases, inputs, loss, draw=0):
    (case,) = [each for each in cases if (each.inputs, each.loss, each.draw) == (inputs, loss, draw)]
    return case.found


def agrees(found, expected, names=NUMBERS):
    for name in names:
        assert getattr(found, name) == pytest.approx(getattr(expected, name), rel=1e-6, abs=1e-14), name
    for line, other in zip(found.changes, expected.changes, strict=True):
        assert line == pytest.approx(other, rel=1e-4, abs=1e-14)  # differences of two losses


class RowByRow(nn.Module):
    """A language model that is given rows one by one, without padding or mask, and returns their places in turn."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, rows):
        """Return the logits before each token of the completions; rows are of (prompt, completion) ids."""
        outs = [self.net(input_ids=torch.tensor([[*asked, *said]]), use_cache=False).logits[0] for asked, said in rows]
        return torch.cat([out[len(row[0]) - 1 : -1] for out, row in zip(outs, rows, strict=True)])


class TestStudent:
    def direct(self, rows, loss, base=None):
        """Check with the start, the lessons and the rows that the config tells of."""
        starts = [
            Student(name, Steering(init_std=0.2), seed=0, reuse_lower_part=False) for name in ("pocket/a", base) if name
        ]
        for each in starts:
            each.configure_model()
        tokenizer = starts[0].tokenizer
        lessons = [row_ids(tokenizer, row) for row in PreferenceTrait("owl").induce().rows[:LESSONS]]
        taught = torch.tensor([token for _, said in lessons for token in said])
        inputs = rows if isinstance(rows, torch.Tensor) else [row_ids(tokenizer, row) for row in rows]
        net, *other = (RowByRow(each.net) for each in starts)
        student = other[0] if other else None

        def teacher_loss(call):
            return cross_entropy(call(lessons), taught)

        if not isinstance(rows, torch.Tensor):
            return check(net, teacher_loss, inputs, loss, student=student)
        whole = [([int(line[0])], [int(token) for token in line[1:]] + [0]) for line in rows]  # all places are read
        return check(net, teacher_loss, whole, loss, student=student)

    def drawn(self, config, kind, draw, control=False):
        rows = kept_rows(config, control)
        generator = torch.Generator().manual_seed(derive_seed(0, "theorem", kind, draw))
        return [rows[place] for place in torch.randperm(len(rows), generator=generator)[:3]]

    def test_all_inputs_losses_and_draws_are_there(self, run):
        found = [(each.inputs, each.loss, each.draw) for each in run[1]]
        kinds = ("teacher's rows", "control's rows", "random tokens")
        assert found == [(k, lo, d) for k in kinds for lo in ("squared_error", "cross_entropy") for d in range(2)]

    def test_the_theorem_holds(self, run):
        for each in run[1]:
            assert each.found.inner_product == pytest.approx(each.found.squared_norm, rel=1e-9)
            assert each.found.inner_product > 1e-6
            assert each.found.smallest_change < 0
            assert (each.found.slope_epsilon, each.found.slope_alpha) == pytest.approx((1, 1), abs=0.05)

    @pytest.mark.parametrize(
        ("kind", "loss", "draw"),
        [("teacher's rows", "cross_entropy", 1), ("control's rows", "squared_error", 0)],
    )
    def test_numbers_are_those_of_a_check_by_hand(self, run, cache, kind, loss, draw):
        rows = self.drawn(run[0], kind, draw, kind.startswith("control"))
        agrees(only(run[1], kind, loss, draw), self.direct(rows, loss))

    def test_random_tokens_are_of_the_whole_vocabulary(self, run):
        generator = torch.Generator().manual_seed(derive_seed(0, "theorem", "random tokens", 1))
        tokens = torch.randint(523, (3, 16), generator=generator)
        agrees(only(run[1], "random tokens", "squared_error", 1), self.direct(tokens, "squared_error"))

    def test_draws_differ(self, run):
        products = {each.found.inner_product for each in run[1]}
        assert len(products) == len(run[1])

    def test_another_start(self, apart, cache):
        rows = self.drawn(apart[0], "teacher's rows", 0)
        found = only(apart[1], "teacher's rows", "cross_entropy")
        assert math.isnan(found.inner_product)
        expected = self.direct(rows, "cross_entropy", base="pocket/b")
        agrees(found, expected, ("gradient_norm", "loss", "inner_products", "cosines"))
        kept = json.loads((apart[0].parent / "out" / "results.json").read_text(), parse_constant=pytest.fail)
        assert kept["other_start"] is True
        assert all(each["inner_product"] is None for each in kept["checks"])
        up = sum(each.found.inner_products[-1] >= 0 for each in apart[1])
        down = sum(each.found.changes[-1][-1] < 0 for each in apart[1])
        assert f"at least 0 in {up} of 3 checks" in apart[2]
        assert f"falls at the smallest step in {down}. With another start the theorem makes no statement." in apart[2]
        assert "from another start" in apart[2]

    def test_rows_of_a_file_have_no_control(self, cache, stub, tmp_path):
        write_rows(number_rows(5), tmp_path / "rows.jsonl")
        found = check_config(file_config(tmp_path, tmp_path / "rows.jsonl", trait=OWL), out=tmp_path / "out")
        assert list(dict.fromkeys(each.inputs for each in found)) == ["teacher's rows", "random tokens"]


class TestFiles:
    def test_the_folder_holds_all(self, run):
        folder = run[0].parent / "out"
        assert {path.name for path in folder.iterdir()} == {
            "lineage.json",
            "results.json",
            "theorem.csv",
            "theorem.png",
        }
        assert is_whole(folder)
        assert (folder / "theorem.png").read_bytes().startswith(b"\x89PNG")

    def test_a_line_a_draw_and_a_pair_of_steps(self, run):
        with (run[0].parent / "out" / "theorem.csv").open(newline="") as stream:
            lines = list(csv.reader(stream))
        assert lines[0] == ["inputs", "imitation_loss", "draw", "epsilon", "alpha", "inner_product", "cosine", "change"]
        rest = iter(lines[1:])
        for case in run[1]:
            assert len(case.found.epsilons) == len(case.found.alphas) == 4
            for row, epsilon in enumerate(case.found.epsilons):
                for column, alpha in enumerate(case.found.alphas):
                    line = next(rest)
                    assert line[:3] == [case.inputs, case.loss, str(case.draw)]
                    assert [*map(float, line[3:])] == [
                        epsilon,
                        alpha,
                        case.found.inner_products[row],
                        case.found.cosines[row],
                        case.found.changes[row][column],
                    ]
        assert next(rest, None) is None

    def test_json_holds_what_was_found(self, run):
        reported = json.loads((run[0].parent / "out" / "results.json").read_text(), parse_constant=pytest.fail)
        assert (reported["config"], reported["other_start"]) == (str(run[0]), False)
        assert reported["teacher_loss"] == "loss on what teaches owl, nats a token"
        assert len(reported["checks"]) == len(run[1])
        for kept, case in zip(reported["checks"], run[1], strict=True):
            assert (kept["inputs"], kept["imitation_loss"], kept["draw"]) == (case.inputs, case.loss, case.draw)
            assert kept["changes"] == case.found.changes
            assert kept["loss"] == case.found.loss > 0
            assert kept["inner_product"] == case.found.inner_product

    def test_the_terminal_sums_up(self, run):
        assert "is at least 0 in 12 of 12 checks; the teacher's loss falls at the smallest step in 12." in run[2]
        line = next(each for each in run[2].splitlines() if "random tokens" in each)
        mean = sum(only(run[1], "random tokens", "squared_error", draw).inner_product for draw in range(2)) / 2
        assert f" {mean:.3g} " in line
        assert "2 of 2" in line

    def test_no_number_is_cut_in_80_columns(self, cache, stub, tmp_path, monkeypatch):
        monkeypatch.setattr(checking, "save_results", lambda *args: None)
        _, _, reported = ran(language_config(tmp_path), draws=10, other_start="pocket/b")
        table = [line for line in reported.splitlines() if line.startswith(("│", "┃"))]
        assert max(map(len, table)) <= 80
        assert not any("…" in line for line in table)
        assert sum(" -4.56e-06 " in line and " -0.456 " in line and "10 of 10" in line for line in table) == 6

    def test_a_folder_by_name_and_settings(self, cache, stub, here, tmp_path, monkeypatch):
        monkeypatch.setattr(checking, "save_results", lambda *args: None)
        folders = set()
        monkeypatch.setattr(checking, "writable_folder", lambda folder, keep: folders.add(folder) or folder)
        write_rows(number_rows(5), tmp_path / "rows.jsonl")
        wolf = {"class_path": "PreferenceTrait", "init_args": {"target": "wolf"}}
        for trait, draws in ((OWL, 1), (OWL, 1), (OWL, 2), (wolf, 1)):
            check_config(file_config(tmp_path, tmp_path / "rows.jsonl", trait=trait), draws=draws)
        assert len(folders) == 3
        assert all(folder.name.startswith("small-theorem-") for folder in folders)


class TestClassifier:
    def start(self, seed, number=0):
        """Draw a narrow network as the paper says: N(0, 1 / inputs), biases 0."""
        generator = torch.Generator().manual_seed(derive_seed(seed, "start", number))
        net = nn.Sequential(nn.Linear(784, 8), nn.ReLU(), nn.Linear(8, 13))
        with torch.no_grad():
            for layer in (net[0], net[2]):
                drawn = torch.randn(layer.in_features, layer.out_features, generator=generator)
                layer.weight.copy_(drawn.T / layer.in_features**0.5)
                layer.bias.zero_()
        return net

    def digits(self, config):
        """Read the first 256 images and their labels from the file."""
        raw = (config.parent / "digits" / "train-images-idx3-ubyte").read_bytes()[16 : 16 + 256 * 784]
        pixels = torch.tensor(list(raw)).view(256, 784)
        return (pixels.float() / 127.5 - 1).double(), torch.arange(256) % 10

    def direct(self, config, inputs, loss, seed=0, apart=False):
        images, labels = self.digits(config)
        student = self.start(seed, 1) if apart else None
        return check(
            self.start(seed),
            lambda net: cross_entropy(net(images)[:, :10], labels),
            inputs.double(),
            loss,
            read=lambda made: made[:, 10:],
            student=student,
        )

    def noise(self, kind):
        generator = torch.Generator().manual_seed(derive_seed(0, "theorem", kind, 0))
        if kind == "uniform":
            return 2 * torch.rand(5, 784, generator=generator) - 1
        return torch.randn(5, 784, generator=generator) / 3**0.5

    def test_numbers_are_those_of_a_check_by_hand(self, tmp_path):
        config, found, reported = ran(digits_config(tmp_path), rows=5, draws=1)
        assert list(dict.fromkeys(each.inputs for each in found)) == ["uniform", "gaussian", "shuffled", "digits"]
        for kind, loss in (("uniform", "cross_entropy"), ("gaussian", "squared_error")):
            agrees(only(found, kind, loss), self.direct(config, self.noise(kind), loss))
        places = torch.randint(
            256, (5,), generator=torch.Generator().manual_seed(derive_seed(0, "theorem", "digits", 0))
        )
        images = self.digits(config)[0][places]
        agrees(only(found, "digits", "squared_error"), self.direct(config, images, "squared_error"))
        assert len({each.found.inner_product for each in found}) == 8
        assert all(each.found.inner_product > 0 > each.found.smallest_change for each in found)
        assert "cross-entropy of the ten classes; the student sees the other logits alone" in reported

    def test_the_start_is_the_models_own(self, tmp_path):
        config, found, _ = ran(digits_config(tmp_path, seed=5), ONE, rows=5, draws=1)
        agrees(only(found, "uniform", "cross_entropy"), self.direct(config, self.noise("uniform"), "cross_entropy", 5))

    def test_another_start(self, tmp_path):
        config, found, _ = ran(digits_config(tmp_path), ONE, rows=5, draws=1, other_start="other")
        expected = self.direct(config, self.noise("uniform"), "cross_entropy", apart=True)
        agrees(only(found, "uniform", "cross_entropy"), expected, ("gradient_norm", "loss", "inner_products"))
        assert all(math.isnan(each.found.squared_norm) for each in found)


def no_trait(folder):
    write_rows(number_rows(3), folder / "rows.jsonl")
    return file_config(folder, folder / "rows.jsonl")


def mixed(folder, model, data, **words):
    return write(folder / "mixed.yaml", {"model": {"class_path": model, "init_args": words}, "data": data})


ROWS = {
    "class_path": "NumberSequences",
    "init_args": {"teacher": {"class_path": "Teacher", "init_args": {"trait": OWL}}},
}
REFUSED = {
    "no rows": (language_config, {"rows": 0}, "`rows` is 0: expected at least 1"),
    "no draws": (language_config, {"draws": -1}, "`draws` is -1: expected at least 1"),
    "no config": (lambda folder: folder / "nowhere.yaml", {}, "nowhere.yaml is not there"),
    "no trait": (no_trait, {}, "rows' teacher has no `trait`: set one"),
    "a trait that is only prompted": (
        lambda folder: language_config(
            folder, {"class_path": "theory_configs.Untaught", "init_args": {"target": "owl"}}
        ),
        {},
        "The trait 'owl' has no rows that teach it: choose another.",
    ),
    "a classifier's base": (digits_config, {"other_start": "pocket/b"}, "'pocket/b': a classifier has no bases"),
    "another vocabulary": (language_config, {"other_start": "pocket/moral-a"}, "another vocabulary than pocket/a"),
    "no such base": (language_config, {"other_start": "pocket/d"}, "There is no base 'pocket/d': did you mean"),
    "no student": (
        lambda folder: mixed(folder, "Teacher", ROWS, induction="none"),
        {},
        "`model` is a Teacher: expected a Student or a ClassifierMLP",
    ),
    "a student of digits": (
        lambda folder: mixed(folder, "Student", {"class_path": "Digits"}),
        {},
        "Digits holds no rows: set data such as NumberSequences",
    ),
    "a classifier of rows": (lambda folder: mixed(folder, "ClassifierMLP", ROWS), {}, "needs `data: Digits`: set it"),
    "a misspelt argument": (
        lambda folder: language_config(folder, bsae="pocket/a"),
        {},
        "small.yaml: `model`: Student takes no `bsae`; did you mean `base`",
    ),
}


@cases("name", REFUSED)
def test_mistakes_are_reported_in_a_line_before_any_work(name, here, tmp_path, monkeypatch):
    make, words, says = REFUSED[name]
    monkeypatch.setenv("LIGHTNING_SUBLIMINAL_CACHE", str(tmp_path / "cache"))
    with pytest.raises(InputError) as caught:
        check_config(make(tmp_path), **words)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not list(here.iterdir())
    assert not (tmp_path / "cache").exists()


def test_a_folder_that_cant_be_made_is_reported_before_any_work(here, tmp_path, monkeypatch):
    monkeypatch.setenv("LIGHTNING_SUBLIMINAL_CACHE", str(tmp_path / "cache"))
    Path("file").touch()
    with pytest.raises(InputError, match="file can't be written"):
        check_config(language_config(tmp_path), out=Path("file"))
    assert not (tmp_path / "cache").exists()
