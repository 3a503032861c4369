"""An adapter's folder is read in one way by every command, and other tools don't misread ours."""

import json
import shlex
import shutil
import sys
import time

import forks
import pytest
import torch
from cases import cases
from small import CPU, numbers, quiet_trainer, taught
from transformers import AutoModelForCausalLM, AutoTokenizer

from lightning_subliminal import IA3, LoRA, Steering, Student, bases
from lightning_subliminal.audit import audit
from lightning_subliminal.bases.folders import model_files
from lightning_subliminal.cli.entry import main
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.io.adapter_names import OWN_FILES, PEFT_FILES
from lightning_subliminal.evaluation import find_model
from lightning_subliminal.kinship import kinship
from lightning_subliminal.lineage import write_record
from lightning_subliminal.lineage.import_card import card_claims
from lightning_subliminal.models.adapters.base import Adapter
from lightning_subliminal.workflow import fit_arms

TOKENS = torch.arange(20, 40).view(2, 10)


@torch.no_grad()
def logits(net):
    return net(input_ids=TOKENS).logits


def student(adapter, base="pocket/a"):
    """Return a student whose adapter is moved away from its start."""
    module = Student(base, adapter, seed=0)
    module.configure_model()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for value in module.net.parameters():
            if value.requires_grad:
                value.add_(torch.randn(value.shape, generator=generator) * 0.1)
    module.net.eval()
    return module


def as_before(folder):
    """Rename the files to what earlier versions called them."""
    for own, old in zip(OWN_FILES, PEFT_FILES, strict=True):
        (folder / own).rename(folder / old)
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run's folder with a steering student, as ``fit`` leaves it."""
    folder = tmp_path_factory.mktemp("run")
    trainer = quiet_trainer(default_root_dir=str(folder), max_epochs=1)
    module = Student("pocket/a", Steering(init_std=0.1), learning_rate=0.03, seed=0)
    fit_arms(trainer, module, numbers(taught(), num_prompts=32, shard_size=32))
    return folder, logits(module.net.eval())


class TestOwnNames:
    def test_every_command_opens_a_new_student(self, run):
        folder, expected = run
        names = {path.name for path in (folder / "student").iterdir()}
        assert {*OWN_FILES} <= names
        assert not {*PEFT_FILES} & names
        for place in (folder, folder / "student"):
            assert torch.allclose(logits(find_model(str(place)).load(CPU).net), expected)
        again = Student("pocket/a", Steering(), seed=3)
        again.load(folder / "student")
        assert torch.allclose(logits(again.net.eval()), expected)
        assert kinship(find_model(str(folder)), find_model("pocket/a"), by="weights").as_json()
        assert {each.rule for each in audit(folder / "student").findings if each.level == "error"} <= {"missing-parent"}
        assert [each.uri for each in card_claims(folder / "student")] == ["pocket/a"]

    def test_a_folder_of_an_earlier_version_is_read(self, run, tmp_path):
        old = as_before(shutil.copytree(run[0] / "student", tmp_path / "old"))
        assert torch.allclose(logits(find_model(str(old)).load(CPU).net), run[1])
        again = Student("pocket/a", Steering(), seed=3)
        again.load(old)
        assert torch.allclose(logits(again.net.eval()), run[1])
        again.save(old)
        assert not {*PEFT_FILES} & {path.name for path in old.iterdir()}, "a folder holds one adapter"

    @pytest.mark.parametrize(
        ("code", "said"),
        [
            ("from peft import AutoPeftModelForCausalLM as A; A.from_pretrained(sys.argv[1])", "adapter_config.json"),
            ("from transformers import AutoModelForCausalLM as A; A.from_pretrained(sys.argv[1])", "config.json"),
        ],
        ids=["peft", "transformers"],
    )
    def test_other_tools_find_no_adapter_at_once(self, code, said, run):
        begun = time.monotonic()
        done = forks.run([sys.executable, "-c", f"import sys; {code}", run[0] / "student"])
        assert done.returncode
        last = done.stderr.strip().splitlines()[-1]
        assert said in done.stderr
        assert "STEERING" not in done.stderr
        assert "pocket/a" not in done.stderr, last
        assert time.monotonic() - begun < 60

    def test_beside_whole_weights_it_is_neither_read_nor_digested(self, tmp_path):
        whole = shutil.copytree(bases.resolve("pocket/a").folder, tmp_path / "both")
        before = bases.resolve(str(whole)).digest
        student(Steering()).adapter.save(student(Steering()).net, whole, "pocket/b")
        assert bases.resolve(str(whole)).digest == before
        assert not set(model_files(whole)) & set(OWN_FILES)
        assert torch.equal(logits(find_model(str(whole)).load(CPU).net), logits(bases.load("pocket/a")[0]))

    def test_a_class_of_ones_own_is_neither_peft_s_nor_steering(self, tmp_path):
        class Mine(Steering):
            def config(self, net, base):
                return {**super().config(net, base), "peft_type": "MINE"}

        assert Adapter.files == OWN_FILES
        student(Mine()).save(tmp_path)
        with pytest.raises(InputError, match="'MINE', of a class of your own: load it with that class"):
            find_model(str(tmp_path)).load(CPU)


class TestTheBaseThatPeftOpens:
    @cases("adapter", [LoRA(r=2), IA3()], ids=["lora", "ia3"])
    @cases("base", ["pocket/a", "pocket/a+noise=0.01", "{folder}"])
    def test_peft_alone_says_the_same(self, adapter, base, tmp_path):
        from peft import AutoPeftModelForCausalLM

        base = base.format(folder=shutil.copytree(bases.resolve("pocket/a").folder, tmp_path / "base"))
        module = student(adapter, base)
        module.save(tmp_path / "student")
        alone = AutoPeftModelForCausalLM.from_pretrained(str(tmp_path / "student"))
        assert torch.allclose(logits(alone), logits(module.net))
        subject = find_model(str(tmp_path / "student"))
        assert torch.allclose(logits(subject.load(CPU).net), logits(module.net))
        assert subject.digest["base"] == bases.resolve(base).identity
        if base == "pocket/a":
            assert subject.base == base, "our own name of it"

    @cases(
        ("base", "place", "revision"),
        [("org/model@step-10", "org/model", "step-10"), ("org/model", "org/model", None)],
    )
    def test_a_revision_of_a_hub_s_model_is_a_field(self, base, place, revision, tmp_path):
        module = student(LoRA(r=2))
        module.adapter.save(module.net, tmp_path, base)
        reported = json.loads((tmp_path / PEFT_FILES.config).read_text())
        assert (reported["base_model_name_or_path"], reported["revision"]) == (place, revision)

    def test_a_package_that_lies_elsewhere_has_the_same_bases(self, tmp_path):
        module = student(LoRA(r=2))
        module.adapter.save(module.net, tmp_path, "/other/site-packages/lightning_subliminal/pocket/weights/b")
        assert find_model(str(tmp_path)).base == "pocket/b"

    def test_a_lost_folder_is_found_by_the_record(self, tmp_path, capsys):
        module, place = student(LoRA(r=2)), tmp_path / "student"
        other = str(shutil.copytree(bases.resolve("pocket/b").folder, tmp_path / "other"))
        for named, expected, line in (
            (str(shutil.copytree(bases.resolve("pocket/a").folder, tmp_path / "same")), "pocket/a", ""),
            (str(tmp_path / "gone"), "pocket/a", f"no longer at {tmp_path / 'gone'}; pocket/a has the same files"),
            (other, other, ""),  # the record is about another
        ):
            module.adapter.save(module.net, place, named)
            write_record(place, "student", {}, [bases.material("pocket/a")])
            capsys.readouterr()
            assert find_model(str(place)).base == expected
            assert line in " ".join(capsys.readouterr().out.split())

    def test_arguments_of_the_template_are_those_of_the_record(self, tmp_path):
        base = shutil.copytree(bases.resolve("pocket/a").folder, tmp_path / "base")
        tokenizer = AutoTokenizer.from_pretrained(base)
        tokenizer.chat_template = "{% if loud %}{% endif %}" + tokenizer.chat_template
        tokenizer.save_pretrained(base)
        name, module = f"{base}?loud=true", student(LoRA(r=2), f"{base}?loud=true")
        module.save(tmp_path / "student")
        write_record(tmp_path / "student", "student", {}, [bases.material(name)])
        assert json.loads((tmp_path / "student" / PEFT_FILES.config).read_text())["base_model_name_or_path"] == str(
            base
        )
        assert find_model(str(tmp_path / "student")).base == name


class TestOneReading:
    @cases("base", ["pocket/a", "{folder}"])
    def test_a_revision_of_a_local_base_is_spoken_of(self, base, tmp_path, capsys):
        base = base.format(folder=shutil.copytree(bases.resolve("pocket/a").folder, tmp_path / "base"))
        module = student(LoRA(r=2))
        module.adapter.save(module.net, tmp_path / "student", base)
        path = tmp_path / "student" / PEFT_FILES.config
        path.write_text(json.dumps(json.loads(path.read_text()) | {"revision": "step1000"}))
        assert find_model(str(tmp_path / "student")).base == base
        said = " ".join(capsys.readouterr().out.split())
        assert f"its `revision` 'step1000' is ignored, since its base {base} is local" in said

    def test_a_pickle_is_named_and_the_line_converts_it(self, tmp_path):
        from safetensors.torch import load_file

        module = student(LoRA(r=2))
        module.save(tmp_path)
        weights = tmp_path / PEFT_FILES.weights
        torch.save(load_file(weights), tmp_path / "adapter_model.bin")
        weights.unlink()
        with pytest.raises(
            InputError, match=r"is a pickle \(adapter_model\.bin\).*is not read: convert it once"
        ) as err:
            find_model(str(tmp_path)).load(CPU)
        assert "\n" not in str(err.value)
        forks.run([sys.executable, *shlex.split(str(err.value).split("`")[1])[1:]], check=True)
        assert torch.allclose(logits(find_model(str(tmp_path)).load(CPU).net), logits(module.net))

    @cases("adapter", [Steering(), LoRA(r=2)], ids=["steering", "lora"])
    def test_a_pointer_is_named(self, adapter, tmp_path):
        student(adapter).save(tmp_path)
        text = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n"
        (tmp_path / adapter.files.weights).write_text(text)
        with pytest.raises(InputError, match="is a Git LFS pointer"):
            find_model(str(tmp_path)).load(CPU)
        with pytest.raises(InputError, match="is a Git LFS pointer"):
            student(adapter).load(tmp_path)

    def test_two_adapters_in_one_folder(self, tmp_path, capsys):
        steered = student(Steering())
        student(LoRA(r=2)).save(tmp_path / "peft")
        steered.save(tmp_path)
        for name in PEFT_FILES:
            shutil.copy(tmp_path / "peft" / name, tmp_path)
        assert torch.allclose(logits(find_model(str(tmp_path)).load(CPU).net), logits(steered.net))
        assert "holds two: subliminal_adapter.json is read" in " ".join(capsys.readouterr().out.split())

    def test_lines_of_loading_leave_json_whole(self, tmp_path, capsys):
        module = student(LoRA(r=2))
        module.save(tmp_path)
        path = tmp_path / PEFT_FILES.config
        path.write_text(json.dumps(json.loads(path.read_text()) | {"revision": "step1000"}))
        main(["kinship", str(tmp_path), "pocket/a", "--by", "weights", "--json"])
        reported = capsys.readouterr()
        assert json.loads(reported.out)
        assert "its `revision` 'step1000' is ignored" in " ".join(reported.err.split())

    @cases("kind", ["whole", "adapter"])
    def test_a_model_and_a_student_in_one_folder(self, kind, tmp_path, capsys):
        if kind == "whole":
            shutil.copytree(bases.resolve("pocket/b").folder, tmp_path, dirs_exist_ok=True)
        else:
            student(LoRA(r=2), "pocket/b").save(tmp_path)
        student(LoRA(r=2)).save(tmp_path / "student")
        assert find_model(str(tmp_path)).folder == (None if kind == "whole" else tmp_path)
        assert find_model(str(tmp_path / "student")).folder == tmp_path / "student"
        assert "holds a model and a student/: the model is used" in " ".join(capsys.readouterr().out.split())

    def test_an_adapter_s_tokenizer_without_a_template_has_the_base_s(self, tmp_path, capsys):
        student(LoRA(r=2)).save(tmp_path)
        tokenizer = AutoTokenizer.from_pretrained(bases.resolve("pocket/a").folder)
        template, tokenizer.chat_template = tokenizer.chat_template, None
        tokenizer.save_pretrained(tmp_path)
        subject = find_model(str(tmp_path)).load(CPU)
        assert subject.tokenizer.chat_template == template
        said = " ".join(capsys.readouterr().out.split())
        assert "has no chat template: that of pocket/a is used" in said

    @cases("place", ["hub", "command"])
    def test_an_adapter_by_its_hub_id(self, place, tmp_path, monkeypatch):
        import huggingface_hub.constants as constants

        snapshot = tmp_path / "hub" / "models--tiny--adapter" / "snapshots" / ("a" * 40)
        module = student(LoRA(r=2))
        module.save(snapshot)
        refs = snapshot.parent.parent / "refs"
        refs.mkdir()
        (refs / "main").write_text("a" * 40)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
        monkeypatch.setattr("huggingface_hub._snapshot_download.HF_HUB_CACHE", str(tmp_path / "hub"), raising=False)
        if place == "hub":
            assert torch.allclose(logits(find_model("tiny/adapter").load(CPU).net), logits(module.net))
        else:
            with pytest.raises(InputError, match="holds an adapter only; name the base that it was trained on"):
                bases.resolve("tiny/adapter")


def test_padding_with_the_end_token_is_spoken_of(tmp_path, capsys):
    folder = shutil.copytree(bases.resolve("pocket/a").folder, tmp_path / "bare")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.pad_token = None
    tokenizer.save_pretrained(folder)
    bases.load(str(folder))
    bases.load(str(folder))
    said = " ".join(capsys.readouterr().out.split())
    assert said.count("has no padding token: its end token pads") == 1
    folder = shutil.copytree(bases.resolve("pocket/a").folder, tmp_path / "spare")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_special_tokens({"pad_token": "[PAD]"})
    tokenizer.save_pretrained(folder)
    bases.load(str(folder))
    bases.load(str(folder))
    said = " ".join(capsys.readouterr().out.split())
    assert said.count("padding token '[PAD]' has no embedding in the model") == 1
    assert AutoModelForCausalLM.from_pretrained(folder)
