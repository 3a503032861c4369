import json
import shutil
from itertools import pairwise

import pytest
import torch
from cases import cases
from safetensors.torch import load_file

from lightning_subliminal import bases
from lightning_subliminal.bases.noise import split_noise, with_noise
from lightning_subliminal.core.errors import InputError

pytestmark = pytest.mark.usefixtures("cache")


def weights(name):
    return load_file(bases.resolve(name).folder / "model.safetensors")


def test_no_noise_is_the_base_file_by_file():
    assert bases.resolve("pocket/a+noise=0").digest == bases.resolve("pocket/a").digest


def test_each_tensor_gets_noise_of_its_own_size():
    plain, noisy = weights("pocket/a"), weights("pocket/a+noise=0.1")
    assert plain.keys() == noisy.keys()
    found = {}
    for name, tensor in plain.items():
        added = noisy[name] - tensor
        relative = float(added.std(correction=0) / tensor.std(correction=0))
        assert relative == pytest.approx(0.1, rel=5 / tensor.numel() ** 0.5), name
        found.setdefault(tensor.shape, []).append(added)
    assert all(not torch.allclose(one, other) for same in found.values() for one, other in pairwise(same))


def test_ties_tokenizer_and_type_stay():
    net, tokenizer = bases.load("pocket/a+noise=0.1")
    assert net.get_output_embeddings().weight is net.get_input_embeddings().weight
    assert bases.same_vocabulary(tokenizer, bases.load("pocket/a")[1])
    assert bases.resolve("pocket/a+noise=0.1").has_chat_template
    half = with_noise(torch.ones(4, 4, dtype=torch.bfloat16).cumsum(0), 0.1, 0)
    assert half.dtype == torch.bfloat16
    for still in (torch.ones(5), torch.arange(5), torch.zeros(0), torch.tensor(3.0)):
        assert torch.equal(with_noise(still, 0.5, 0), still), "nothing to vary, or no floats"


def test_made_once_and_whole(cache):
    base = bases.resolve("pocket/a+noise=0.05,seed=3")
    written = (base.folder / "model.safetensors").stat().st_mtime_ns
    assert base.folder.parent == cache / "bases"
    assert bases.resolve("pocket/a+noise=5e-2,seed=3").folder == base.folder, "the same number"
    assert (base.folder / "model.safetensors").stat().st_mtime_ns == written
    others = ["pocket/a+noise=0.05", "pocket/a+noise=0.06,seed=3", "pocket/b+noise=0.05,seed=3"]
    assert len({bases.resolve(name).digest for name in [base.name, *others]}) == 4
    assert not list((cache / "bases").glob(".*.part"))
    shutil.rmtree(base.folder)
    assert bases.resolve(base.name).digest == base.digest, "made again, the same"


def test_a_folder_and_a_noisy_base_can_be_made_noisy(tmp_path):
    shutil.copytree(bases.resolve("pocket/a").folder, tmp_path / "mine")
    assert bases.resolve(f"{tmp_path / 'mine'}+noise=0.1").digest == bases.resolve("pocket/a+noise=0.1").digest
    assert bases.resolve("pocket/a+noise=0.1+noise=0.1").digest != bases.resolve("pocket/a+noise=0.1").digest
    shutil.copytree(tmp_path / "mine", tmp_path / "x+noise=0.1")
    assert bases.resolve(str(tmp_path / "x+noise=0.1")).folder == tmp_path / "x+noise=0.1", "a folder of that name"
    (tmp_path / "mine" / "model.safetensors").write_bytes(b"half")
    with pytest.raises(InputError, match=r"the weights in .*mine can't be read"):
        bases.resolve(f"{tmp_path / 'mine'}+noise=0.1")


def test_shards_are_kept(tmp_path):
    net, tokenizer = bases.load("pocket/a")
    net.save_pretrained(tmp_path / "shards", max_shard_size="50KB")
    tokenizer.save_pretrained(tmp_path / "shards")
    index = json.loads((tmp_path / "shards" / "model.safetensors.index.json").read_text())
    assert len(set(index["weight_map"].values())) > 1
    one, other = bases.load("pocket/a+noise=0.1")[0], bases.load(f"{tmp_path / 'shards'}+noise=0.1")[0]
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in one.state_dict().items())


@cases("suffix", ["", "=", "=x", "=-1", "=nan", "=1e999", "=1e", "=0.1,sed=3", "=0.1,seed=", "=0.1,"])
def test_bad_suffixes_are_reported(suffix):
    with pytest.raises(InputError, match=r"such as pocket/a\+noise=0\.05") as caught:
        bases.resolve(f"pocket/a+noise{suffix}")
    assert "\n" not in str(caught.value)


def test_bad_bases_are_reported():
    with pytest.raises(InputError, match="no base 'pocket/zz': did you mean"):
        bases.resolve("pocket/zz+noise=0.1")
    with pytest.raises(InputError, match="did you mean pocket/a"):
        bases.resolve("pocket/a+nois=0.1")
    assert split_noise("pocket/a") is None
