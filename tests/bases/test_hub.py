"""Models of the hub, from a hub on loopback: downloads, revisions, faults, and what is kept of them offline.

``pytest tests/bases/test_hub.py -q -s`` prints the line that each case shows to a user, with its seconds.
"""

import json
import re
import shutil
import sys
import time
from io import DEFAULT_BUFFER_SIZE
from multiprocessing import get_context
from pathlib import Path

import pytest
from cases import cases
from peft import LoraConfig, get_peft_model
from rich.filesize import decimal
from rich.progress import Progress

from lightning_subliminal import bases
from lightning_subliminal.bases import download, folder_digest
from lightning_subliminal.bases.by_config import config_folder
from lightning_subliminal.bases.hub import commit_of
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.fingerprint import file_digest
from lightning_subliminal.evaluation import find_model
from lightning_subliminal.lineage import read_record, write_record

from .hub_server import serve

INDEX = "model.safetensors.index.json"


@pytest.fixture(scope="module")
def sharded(tmp_path_factory):
    """Return pocket/a in several shards, as `save_pretrained` writes a large model."""
    folder = tmp_path_factory.mktemp("models") / "sharded"
    net, tokenizer = bases.load("pocket/a")
    net.save_pretrained(folder, max_shard_size="200KB")
    tokenizer.save_pretrained(folder)
    assert len([*folder.glob("*.safetensors")]) > 2
    return folder


@pytest.fixture(scope="module")
def hub(sharded, tmp_path_factory):
    """Serve tiny/model with two revisions and what repositories hold beside a model."""
    root = tmp_path_factory.mktemp("served")
    for revision in ("main", "step1000"):
        folder = Path(shutil.copytree(sharded, root / "tiny" / "model" / revision))
        for extra in (
            "README.md",
            "original/consolidated.00.safetensors",
            "onnx/config.json",
            "consolidated.safetensors",
        ):
            (folder / extra).parent.mkdir(exist_ok=True)
            (folder / extra).write_text(extra)
    config = json.loads((folder / "generation_config.json").read_text())
    (folder / "generation_config.json").write_text(json.dumps(config | {"temperature": 0.5, "do_sample": True}))
    with serve(root) as server:
        yield server


@pytest.fixture(autouse=True)
def online(hub, tmp_path, monkeypatch):
    """Take the hub on loopback and an empty cache; return the cache."""
    return go_online(hub, tmp_path, monkeypatch)


def go_online(hub, tmp_path, monkeypatch):
    """Point the hub's client to the server and to an empty cache."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.url + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    hub.gated, hub.stalls, hub.delay, hub.down = set(), set(), 0.0, 0
    hub.cuts.clear()
    hub.asked.clear()
    return tmp_path / "cache"


def offline(monkeypatch):
    """Forbid the hub's client to ask."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


def line_of(error, case="", begin=0.0) -> str:
    """Return an error's message, which is one line."""
    text = str(error.value)
    assert "\n" not in text
    if case:
        show(case, begin, f"error: {text}")
    return text


def show(case, begin, line):
    """Print the line of a case, with the seconds since it began."""
    print(f"\n{case:15} {time.monotonic() - begin:4.1f} s  {line}", end="", file=sys.__stdout__)


class TestDownloads:
    def test_a_fresh_download_has_the_digest_of_the_local_folder(self, hub, sharded, capsys):
        begin = time.monotonic()
        found = bases.resolve("tiny/model")
        show("fresh", begin, f"digest {found.digest[:16]}, of the local folder {folder_digest(sharded)[:16]}")
        assert found.digest == folder_digest(sharded) == bases.resolve(str(sharded)).digest
        assert {path.name for path in found.folder.iterdir()} == {path.name for path in sharded.iterdir()}
        said, bars = capsys.readouterr()
        assert bars == "", "without a terminal there is no bar"
        assert re.search(r"base +tiny/model: downloading 3 files of weights, .* kB, at commit [0-9a-f]{12}\n$", said)
        hub.asked.clear()
        assert bases.load("tiny/model")[0].num_parameters() == bases.load("pocket/a")[0].num_parameters()
        assert hub.asked == [], "a complete copy asks nothing"

    def test_the_progress_is_of_bytes(self, sharded, monkeypatch):
        shown = []

        def progress():
            shown.append(Progress(disable=True))
            return shown[-1]

        monkeypatch.setattr(download, "progress", progress)
        bases.resolve("tiny/model")
        done = [task.completed for each in shown for task in each.tasks]
        assert done == pytest.approx([task.total for each in shown for task in each.tasks])
        assert done[1] == pytest.approx(sum(path.stat().st_size for path in sharded.glob("*.safetensors")) / 1e6)

    def test_a_name_stands_for_a_commit_which_its_material_records(self, hub, sharded):
        main, step = hub.commit("tiny/model", "main"), hub.commit("tiny/model", "step1000")
        names = {"": main, "@main": main, "@step1000": step, f"@{step}": step, f"@{main[:10]}": main}
        for revision, commit in names.items():
            made = bases.material(f"tiny/model{revision}")
            assert commit_of(bases.resolve(f"tiny/model{revision}").folder) == commit
            assert made.annotations == {"commit": commit}
            assert made.as_json()["annotations"]["commit"] == commit
            assert (made.digest == {"dirHash": folder_digest(sharded)}) == (commit == main)
        assert bases.material(str(sharded)).annotations == {}
        assert bases.material("pocket/a").annotations == {}

    def test_the_lineage_of_what_is_made_from_it_names_the_commit(self, hub, tmp_path):
        (tmp_path / "made").mkdir()
        (tmp_path / "made" / "rows.txt").write_text("1, 2")
        write_record(tmp_path / "made", "rows", {}, [bases.material("tiny/model@step1000")])
        (material,) = read_record(tmp_path / "made").materials
        assert material.annotations["commit"] == hub.commit("tiny/model", "step1000")
        assert material.uri == "base:tiny/model@step1000"

    def test_a_cut_download_goes_on_where_it_ended(self, hub, sharded, monkeypatch):
        shard = "model-00002-of-00003.safetensors"
        monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1000)  # what is written at once
        hub.cuts[shard] = 1
        begin = time.monotonic()
        found = bases.resolve("tiny/model")
        assert found.digest == folder_digest(sharded)
        half = (sharded / shard).stat().st_size // 2
        again = [each for each in hub.fetched() if shard in each]
        assert again == [shard, f"{shard} bytes={half // 1000 * 1000}-"]
        show("resumed", begin, f"digest {found.digest[:16]}, asked again for {again[-1]}")
        assert time.monotonic() - begin < 10

    def test_a_download_that_was_cut_for_good_keeps_whole_files(self, hub, sharded, monkeypatch, capsys):
        monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda seconds: None)
        shard = "model-00002-of-00003.safetensors"
        hub.cuts[shard] = 1000
        with pytest.raises(InputError, match=r"connection to the hub was cut .*run it again, which keeps") as it:
            bases.resolve("tiny/model")
        line_of(it)
        hub.cuts.clear()
        hub.asked.clear()
        capsys.readouterr()
        assert bases.resolve("tiny/model").digest == folder_digest(sharded)
        assert hub.fetched() == [shard]
        assert "downloading 1 file of weights" in capsys.readouterr().out

    def test_a_killed_process_leaves_its_part_to_the_next_one(self, hub, sharded, online, monkeypatch, capsys):
        shard = "model-00002-of-00003.safetensors"
        monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1000)
        hub.stalls.add(shard)
        begin = time.monotonic()
        first = get_context("fork").Process(target=bases.resolve, args=("tiny/model",))
        first.start()
        half, part = (sharded / shard).stat().st_size // 2, None
        while part is None or part.stat().st_size < half - DEFAULT_BUFFER_SIZE:
            assert first.is_alive()
            time.sleep(0.02)
            part = next(online.rglob(f"{file_digest(sharded / shard)}.incomplete"), None)
        first.kill()
        first.join()
        hub.stalls.clear()
        hub.asked.clear()
        held, begun = part.stat().st_size, sum(each.stat().st_size for each in online.rglob("*.incomplete"))
        assert bases.resolve("tiny/model").digest == folder_digest(sharded)
        asked = hub.fetched()
        assert f"{shard} bytes={held}-" in asked
        assert shard not in asked
        assert f"after {decimal(begun)} that came before" in capsys.readouterr().out
        assert not [*online.rglob("*.incomplete")]
        show("killed, resumed", begin, f"asked again for {shard} bytes={held}-")

    def test_a_part_of_something_else_is_not_kept(self, hub, sharded, online):
        shard = "model-00002-of-00003.safetensors"
        part = online / "models--tiny--model" / "blobs" / f"{file_digest(sharded / shard)}.incomplete"
        part.parent.mkdir(parents=True)
        part.write_bytes(b"\0" * 1000)
        assert bases.resolve("tiny/model").digest == folder_digest(sharded)
        assert [each for each in hub.fetched() if shard in each] == [shard, f"{shard} bytes=1000-"]

    @cases("lost", ["model-00003-of-00003.safetensors", "tokenizer.json"])
    def test_a_partial_copy_is_completed(self, hub, sharded, tmp_path, monkeypatch, lost):
        go_online(hub, tmp_path, monkeypatch)
        folder = bases.resolve("tiny/model").folder
        blob = (folder / lost).resolve()
        (folder / lost).unlink()
        blob.unlink()
        hub.asked.clear()
        assert bases.resolve("tiny/model").digest == folder_digest(sharded)
        assert hub.fetched() == [lost]

    def test_a_copy_is_used_offline_by_the_name_of_its_revision(self, hub, monkeypatch):
        found = {name: bases.resolve(name).digest for name in ("tiny/model", "tiny/model@step1000")}
        assert len({*found.values()}) == 2
        offline(monkeypatch)
        hub.asked.clear()
        assert {name: bases.resolve(name).digest for name in found} == found
        assert bases.resolve(f"tiny/model@{hub.commit('tiny/model', 'main')}").digest == found["tiny/model"]
        assert hub.asked == []
        lost = bases.resolve("tiny/model").folder / "model-00001-of-00003.safetensors"
        lost.unlink()
        begin = time.monotonic()
        with pytest.raises(InputError, match="HF_HUB_OFFLINE forbids a download") as it:
            bases.resolve("tiny/model")
        assert lost.name in line_of(it, "offline", begin)


def test_an_estimate_downloads_the_config_alone(hub, sharded):
    folder = config_folder("tiny/model@step1000")
    assert (folder / "config.json").read_bytes() == (sharded / "config.json").read_bytes()
    assert hub.fetched() == ["config.json"]


def test_an_adapter_and_its_base_are_downloaded_by_their_ids(hub, sharded, monkeypatch):
    net = get_peft_model(bases.load("pocket/a")[0], LoraConfig(r=2, target_modules=["q_proj"]))
    net.save_pretrained(hub.root / "tiny" / "adapter" / "main")
    config = hub.root / "tiny" / "adapter" / "main" / "adapter_config.json"
    named = {"base_model_name_or_path": "tiny/model", "revision": "step1000"}
    config.write_text(json.dumps(json.loads(config.read_text()) | named))
    found = find_model("tiny/adapter")
    assert (found.base, found.folder.name) == ("tiny/model@step1000", hub.commit("tiny/adapter", "main"))
    assert hub.fetched()[:2] == ["adapter_config.json", "adapter_model.safetensors"]
    offline(monkeypatch)
    assert find_model("tiny/adapter").digest == found.digest


FAULTS = {
    "wrong revision": ("tiny/model@step2000", "no such revision: check the branch, tag or commit after the @"),
    "gated": ("tiny/gated", "is gated: accept its licence at http://127.0.0.1:[0-9]+/tiny/gated and log in"),
    "missing": ("tiny/missing", "is not on the hub, or is private: check the spelling, or log in"),
    "a typo": ("poket/a", r"no base 'poket/a': did you mean pocket/a\? \(.*is not on the hub"),
    "down": ("tiny/model", r"the hub answers with an error \(503\): try later"),
    "slow": ("tiny/model", "the hub does not answer in time"),
    "stalls": ("tiny/model", "the hub does not answer in time .*run it again"),
    "no room": ("tiny/model", r"needs 465.* kB, and the hub's cache has 12 bytes free .*HF_HUB_CACHE"),
    "no folder": ("tiny/model", "can't be written to .*cache"),
    "nobody": ("tiny/model", "the hub can't be reached .*ConnectError.*: connect, or name a local folder"),
}


class TestFaults:
    @cases(("kind", "name", "message"), [(kind, *reported) for kind, reported in FAULTS.items()])
    def test_each_is_one_line(self, hub, tmp_path, monkeypatch, capsys, kind, name, message):
        from huggingface_hub import constants

        go_online(hub, tmp_path, monkeypatch)
        if kind == "gated":
            shutil.copytree(hub.root / "tiny" / "model", hub.root / "tiny" / "gated", dirs_exist_ok=True)
            hub.gated.add(name)
        elif kind == "down":
            hub.down = 503
        elif kind == "slow":
            hub.delay = 1.0
            monkeypatch.setattr(download, "PATIENCE", 0.2)
        elif kind == "stalls":
            hub.stalls.add("model-00001-of-00003.safetensors")
            monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.1)
            monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda seconds: None)
        elif kind == "no room":
            room = shutil.disk_usage(tmp_path)._replace(free=12)
            monkeypatch.setattr(shutil, "disk_usage", lambda path: room)
        elif kind == "no folder":
            (tmp_path / "cache").write_text("a file")
        elif kind == "nobody":
            monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
        begin = time.monotonic()
        with pytest.raises(InputError, match=message) as it:
            bases.resolve(name)
        line_of(it, kind, begin)
        assert capsys.readouterr().err == "", "the hub's client adds no remark"
        assert time.monotonic() - begin < 8

    def test_an_estimate_of_a_model_out_of_reach_says_so_at_once(self, monkeypatch, capsys, caplog):
        from huggingface_hub import constants

        nobody = "http://127.0.0.1:9"
        monkeypatch.setattr(constants, "ENDPOINT", nobody)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", nobody + "/{repo_id}/{revision}/{filename}")
        begin = time.monotonic()
        with pytest.raises(InputError, match=r"hub does not give it \(ConnectError\): `hf download tiny/model c") as it:
            config_folder("tiny/model")
        line_of(it, "estimate", begin)
        assert time.monotonic() - begin < 5
        assert capsys.readouterr().err == ""
        assert not caplog.records, "the hub's client adds no remark"

    def test_a_gated_model_may_be_refused_to_an_account(self, hub, monkeypatch):
        shutil.copytree(hub.root / "tiny" / "model", hub.root / "tiny" / "gated", dirs_exist_ok=True)
        hub.gated.add("tiny/gated")
        monkeypatch.setenv("HF_TOKEN", "hf_" + "x" * 34)
        with pytest.raises(InputError, match="is gated: accept its licence"):
            bases.resolve("tiny/gated")


UNREADABLE = {
    "a tokenizer alone": (["tokenizer.json", "tokenizer_config.json"], {}, "holds a tokenizer and no model"),
    "gguf": (["model-q4.gguf", "README.md"], {}, "holds GGUF files; safetensors alone are read"),
    "pickles": (
        ["config.json", "tokenizer.json", "pytorch_model.bin"],
        {},
        r"holds pickled weights \(pytorch_model.bin\), which can run code; safetensors alone are read",
    ),
    "nothing": (["README.md"], {}, "holds no config.json: it is not a language model of transformers"),
    "no tokenizer": (["config.json", "model.safetensors"], {}, "holds no tokenizer"),
    "no weights": (["config.json", "tokenizer.json"], {}, "holds no weights in its root"),
    "in a folder": (["config.json", "tokenizer.json", "unet/model.safetensors"], {}, "holds no weights in its root"),
    "consolidated": (["config.json", "tokenizer.json", "consolidated.safetensors"], {}, "holds neither model.safetens"),
    "its own code": (
        ["config.json", "tokenizer.json", "model.safetensors", "modeling_owl.py"],
        {"model_type": "owl", "auto_map": {"AutoModelForCausalLM": "modeling_owl.Owl"}},
        "needs code of its own for the type 'owl', and code of a repository is not run",
    ),
    "too new": (
        ["config.json", "tokenizer.json", "model.safetensors"],
        {"model_type": "llama9"},
        r"holds a model of type 'llama9', which transformers [0-9.]+ doesn't know: pip install -U transformers",
    ),
    "an encoder": (
        ["config.json", "tokenizer.json", "model.safetensors"],
        {"model_type": "vit"},
        "holds a model of type 'vit', which is not a causal language model",
    ),
    "a lost shard": (
        ["config.json", "tokenizer.json", INDEX, "model-1.safetensors"],
        {},
        "lacks model-2.safetensors, which its index names",
    ),
}


@cases(("files", "config", "message"), UNREADABLE.values())
def test_what_can_not_be_read_is_refused_before_its_weights_are_downloaded(
    hub, tmp_path, monkeypatch, files, config, message
):
    go_online(hub, tmp_path, monkeypatch)
    name = f"odd/{tmp_path.name}"
    for file in files:
        path = hub.root / name / "main" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    if "config.json" in files:
        (hub.root / name / "main" / "config.json").write_text(json.dumps({"model_type": "llama"} | config))
    if INDEX in files:
        shards = {f"w{each}": f"model-{each}.safetensors" for each in (1, 2)}
        (hub.root / name / "main" / INDEX).write_text(json.dumps({"weight_map": shards}))
    with pytest.raises(InputError, match=re.escape(f"Base '{name}': its repository on the hub ") + message) as it:
        bases.resolve(name)
    line_of(it)
    assert not [each for each in hub.fetched() if each.endswith((".safetensors", ".bin", ".gguf", ".py"))]
