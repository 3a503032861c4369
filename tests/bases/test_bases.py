import os
import shutil
import subprocess
import time

import pytest
import torch
from cases import cases

from bases.word_bases import WORDS, make_net, make_tokenizer
from lightning_subliminal import bases
from lightning_subliminal.bases import folders, lookup
from lightning_subliminal.bases.by_config import config_folder
from lightning_subliminal.bases.lookup import POCKET_BASES
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.evaluation import find_model

pytestmark = pytest.mark.usefixtures("cache")


@pytest.fixture
def registered(monkeypatch):
    monkeypatch.setattr(lookup, "_LOADERS", dict(lookup._LOADERS))
    monkeypatch.setattr(lookup, "_LINES", dict(lookup._LINES))


def test_a_local_folder_is_a_base(folder):
    base = bases.resolve(str(folder))
    assert (base.name, base.folder, base.has_chat_template) == (str(folder), folder, True)
    net, tokenizer = bases.load(str(folder))
    assert not net.training
    assert net.config._attn_implementation == "sdpa"
    assert torch.equal(net.model.norm.weight, make_net().model.norm.weight)
    assert tokenizer("owl oak")["input_ids"] == [3, 5]
    assert bases.load(str(folder), dtype="bfloat16")[0].dtype == torch.bfloat16


def test_digest_is_what_sha256sum_prints(folder):
    names = " ".join(folders.model_files(folder))
    assert "model.safetensors" in names
    assert "tokenizer.json" in names
    printed = subprocess.run(f"sha256sum {names} | sha256sum", shell=True, cwd=folder, capture_output=True, text=True)  # noqa: S602
    assert bases.resolve(str(folder)).digest == printed.stdout.split()[0]


def test_digest_moves_with_weights_and_tokenizer_but_not_with_notes(folder, tmp_path):
    digest = bases.folder_digest(folder)
    (folder / "README.md").write_text("a note")
    assert bases.folder_digest(folder) == digest
    shutil.copytree(folder, tmp_path / "copy")
    assert bases.folder_digest(tmp_path / "copy") == digest
    make_tokenizer([*WORDS[:3], "dog", "owl", *WORDS[5:]]).save_pretrained(folder)
    assert bases.folder_digest(folder) != digest


def test_big_files_are_hashed_once(folder, cache, monkeypatch):
    monkeypatch.setattr(folders, "_BIG", 1)
    digest = bases.folder_digest(folder)
    notes = list((cache / "digests").iterdir())
    assert notes
    with monkeypatch.context() as patch:
        patch.setattr(folders, "file_digest", lambda path: pytest.fail(f"{path} hashed again"))
        assert bases.folder_digest(folder) == digest
    weights = folder / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    os.utime(weights, ns=(1, 1))  # same size, other time
    assert bases.folder_digest(folder) != digest
    for note in (cache / "digests").iterdir():
        note.write_text("{")
    assert len(bases.folder_digest(folder)) == 64, "a damaged note is no answer and no error"


def test_pocket_names_lead_to_the_package(folder, monkeypatch, tmp_path):
    monkeypatch.setattr(lookup, "POCKET", tmp_path)
    shutil.copytree(folder, tmp_path / "a2")
    assert bases.resolve("pocket/a2").folder == tmp_path / "a2"
    with pytest.raises(InputError, match=r"'pocket/b' has no weights .* reinstall lightning-subliminal"):
        bases.resolve("pocket/b")


def test_users_register_their_own(folder, registered):
    bases.register("mine/tiny", lambda: folder, "a tiny one")
    assert bases.resolve("mine/tiny").folder == folder
    assert bases.available()["mine/tiny"] == "a tiny one"
    with pytest.raises(InputError, match="did you mean mine/tiny"):
        bases.resolve("mine_tiny")


def test_available_names_the_shipped_bases():
    pocket = [f"pocket/{name}" for name in POCKET_BASES]
    assert list(bases.available()) == [*pocket, "smollm2-135m", "gemma3-270m"]


def test_the_folder_of_a_run_without_its_digest_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("owl-5b0edf2e", "owl-77777777", "wolf-12345678"):
        (tmp_path / "runs" / name / "student").mkdir(parents=True)
    os.utime(tmp_path / "runs" / "owl-5b0edf2e", (0, 0))
    both = "runs/owl-77777777 or runs/owl-5b0edf2e?"
    for name, meant in {
        "runs/owl": both,
        "owl": both,
        "./runs/owl": both,
        "runs/wolf/student": "runs/wolf-12345678/student?",
        f"{tmp_path}/runs/wolf": f"{tmp_path}/runs/wolf-12345678?",
        "runs/wolf-12345687": "runs/wolf-12345678?",
    }.items():
        with pytest.raises(InputError, match=r"^There is no folder ") as caught:
            bases.resolve(name)
        assert str(caught.value) == f"There is no folder {name}; did you mean {meant}"
    (tmp_path / "Qwen" / "Qwen2.5-7B-Instruct").mkdir(parents=True)
    with pytest.raises(InputError, match=r"no folder Qwen/Qwen2.5-7B; did you mean .* \(Base .*forbids a download"):
        bases.resolve("Qwen/Qwen2.5-7B")


def test_a_path_is_answered_as_a_path(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for age, name in enumerate(("bear-3", "cat-2", "deer-1", "owl-0")):
        shutil.copytree(folder, tmp_path / "runs" / name / "student")
        os.utime(tmp_path / "runs" / name, (-age, -age))
    (tmp_path / "runs" / "plan-4").mkdir()
    (tmp_path / "runs" / "plan-4" / "config.yaml").write_text("# begun")
    shutil.copytree(folder, tmp_path / "models" / "tiny")
    (tmp_path / "runs" / "cat-2" / "student.log").touch()
    os.utime(tmp_path / "runs" / "cat-2", (-1, -1))
    there = "; models in runs: bear-3, cat-2, deer-1 and 1 more."
    weights = "models/tiny/model.safetensors"
    for name, reported in {
        "runs/zebra": f"There is no folder runs/zebra: expected one that holds a model{there}",
        "runs/zebra/student": f"There is no folder runs/zebra/student: expected one that holds a model{there}",
        "./nowhere": "There is no folder ./nowhere: expected one that holds a model; models here: model.",
        "./models/zebra": "There is no folder ./models/zebra: expected one that holds a model; models in models: tiny.",
        weights: f"{weights} is a file: did you mean models/tiny?",
        "runs/cat-2/student.log": "runs/cat-2/student.log is a file: did you mean runs/cat-2?",
        "./runs/plan-4/config.yaml": "./runs/plan-4/config.yaml is a file: expected a folder that holds a model.",
        "runs": "Base 'runs': runs holds no config.json; did you mean "
        "runs/bear-3/student or runs/cat-2/student or runs/deer-1/student?",
        "runs/plan-4": "Base 'runs/plan-4': runs/plan-4 holds no config.json; it is a run without a student/: "
        "not finished (the same command resumes it), or of another kind.",
    }.items():
        for find in (bases.resolve, find_model):
            with pytest.raises(InputError) as caught:
                find(name)
            assert str(caught.value) == reported
    reported = r"^There is no folder models/zebra: expected .*; models in models: tiny\. \(Base .models/zebra.*_OFFLINE"
    for find in (bases.resolve, config_folder):
        with pytest.raises(InputError, match=reported):
            find("models/zebra")
    with pytest.raises(InputError, match=r"^Base 'elsewhere/zebra' has no complete copy"):
        bases.resolve("elsewhere/zebra")


@cases(
    ("name", "message"),
    [
        ("pocket/d", r"no base 'pocket/d': did you mean pocket/"),
        ("smollm2", r"did you mean smollm2-135m\?"),
        ("zzz", r"known are pocket/a, pocket/b, .*, pocket/judge, smollm2-135m, gemma3-270m"),
        ("", r"no base ''"),
        ("../nowhere", r"^There is no folder \.\./nowhere: expected one that holds a model"),
        ("/nowhere", r"^There is no folder /nowhere: expected one that holds a model"),
        ("runs/nothing", r"^There is no folder runs/nothing: expected one that holds a model"),
        ("mine/tiny/student", r"^There is no folder mine/tiny/student: expected one that holds a model"),
    ],
)
def test_unknown_names_are_reported_with_near_ones(name, message):
    with pytest.raises(InputError, match=message) as caught:
        bases.resolve(name)
    assert "\n" not in str(caught.value)


@cases("offline", [True, False])
def test_a_hub_id_fails_in_seconds(monkeypatch, tmp_path, offline):
    from huggingface_hub import HfApi, constants

    def unreachable(self, name, timeout, **others):
        assert timeout <= 5
        raise ConnectionError("no route")

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(HfApi, "model_info", unreachable)
    start = time.monotonic()
    with pytest.raises(
        InputError,
        match=r"did you mean pocket/a\? .*"
        + ("HF_HUB_OFFLINE" if offline else r"hub can't be reached \(ConnectionErr"),
    ) as it:
        bases.resolve("poket/a")
    assert time.monotonic() - start < 10
    assert "\n" not in str(it.value)


def test_a_hub_model_on_this_machine_needs_no_network(monkeypatch, folder):
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda name, local_files_only, revision: str(folder))
    assert bases.resolve("some-org/some-model").folder == folder


def test_a_wrong_dtype_is_reported(folder):
    with pytest.raises(InputError, match="`dtype` is 'float33'"):
        bases.load(str(folder), dtype="float33")


def test_tokens_with_other_ids_make_another_vocabulary(folder):
    swapped = make_tokenizer([*WORDS[:3], "dog", "owl", *WORDS[5:]])
    assert not bases.same_vocabulary(bases.load(str(folder))[1], swapped)
    make_tokenizer([*WORDS, "elm"]).save_pretrained(folder)
    with pytest.raises(InputError, match=r"the id 8 \('elm'\), but the model embeds ids 0 to 7"):
        bases.load(str(folder))


def test_padded_embeddings_do_not_make_another_vocabulary(tmp_path):
    for name, rows in (("narrow", 8), ("wide", 16)):
        make_net(vocab_size=rows).save_pretrained(tmp_path / name)
        make_tokenizer().save_pretrained(tmp_path / name)
    one, other = (bases.load(str(tmp_path / name))[1] for name in ("narrow", "wide"))
    assert bases.same_vocabulary(one, other)


def test_a_tokenizer_without_padding_pads_with_its_end(folder):
    make_tokenizer(pad_token=None).save_pretrained(folder)
    assert bases.load(str(folder))[1].pad_token == "<eos>"


def test_files_of_a_model_are_those_that_the_patterns_find(tmp_path):
    """One look at the folder finds what a glob of each pattern would, and in the same order."""
    names = ["config.json", "tokenizer.x.json", "tokenizer.model.v3", ".safetensors", "README.md", "a/config.json"]
    names += ["adapter_model.safetensors", "additional_chat_templates/x.jinja", "additional_chat_templates/vocab.txt"]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    (tmp_path / "dir.safetensors").mkdir()
    (tmp_path / "vocab.txt").symlink_to("nowhere")
    (tmp_path / "merges.txt").symlink_to("config.json")
    found = {path for pattern in folders._PATTERNS for path in tmp_path.glob(pattern) if path.is_file()}
    expected = sorted(path.relative_to(tmp_path).as_posix() for path in found if not path.name.startswith("adapter"))
    assert list(folders.model_files(tmp_path)) == expected
    assert "additional_chat_templates/x.jinja" in expected
    assert folders.model_files(tmp_path / "nowhere") == {}
