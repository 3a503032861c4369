"""A model is found by what a user calls it, described by the files that shape it, and loaded as it was saved."""

import json
import shutil

import pytest
import torch
from cases import cases
from small import CPU

from lightning_subliminal import IA3, InputError, LoRA, Steering, Student, bases
from lightning_subliminal.audit.locate import named_base
from lightning_subliminal.core.io.adapter_names import OWN_FILES, PEFT_FILES
from lightning_subliminal.evaluation import find_model

FILES = {"steering": OWN_FILES, "lora": PEFT_FILES, "ia3": PEFT_FILES}
TOKENS = torch.arange(20, 40).view(2, 10)


def logits(net):
    with torch.no_grad():
        return net(TOKENS).logits


def moved(adapter, seed=1):
    """Return pocket/a with an adapter whose values are not those that it starts with."""
    net, _ = bases.load("pocket/a")
    net = adapter.attach(net, seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for value in net.parameters():
            if value.requires_grad:
                value.add_(torch.randn(value.shape, generator=generator) * 0.1)
    return net.eval()


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Return folders with adapters of three kinds, and what the module that saved each says."""
    root = tmp_path_factory.mktemp("subjects")
    reported = {}
    for name, adapter in (("steering", Steering([1])), ("lora", LoRA(r=2)), ("ia3", IA3())):
        net = moved(adapter)
        adapter.save(net, root / name, "pocket/a")
        reported[name] = logits(net)
    return root, reported


def copied(saved, name, place):
    """Return a copy of a folder that a test may damage."""
    return shutil.copytree(saved[0] / name, place / name)


def test_a_base():
    subject = find_model("pocket/a")
    assert (subject.name, subject.base, subject.folder) == ("pocket/a", "pocket/a", None)
    assert subject.net is None, "it is found without being loaded"
    assert subject.digest["base"] == bases.resolve("pocket/a").digest
    assert torch.equal(logits(subject.load(CPU).net), logits(bases.load("pocket/a")[0]))
    assert not subject.net.training
    assert subject.load(CPU).net is subject.net, "loaded once"
    subject.release()
    assert subject.net is None
    assert subject.tokenizer is None


def test_a_base_with_noise_is_a_place_and_no_name():
    assert find_model("pocket/a+noise=0.05").name == "pocket/a+noise=0.05"
    named = find_model("noisy=pocket/a+noise=0.05")
    assert (named.name, named.base) == ("noisy", "pocket/a+noise=0.05")


def test_a_name():
    named = find_model("anyone=pocket/a")
    assert (named.name, named.base) == ("anyone", "pocket/a")
    assert named.digest == find_model("pocket/a").digest, "a name measures nothing anew"


@cases("kind", ["steering", "lora", "ia3"])
def test_an_adapter_says_what_the_module_that_saved_it_says(saved, kind):
    root, reported = saved
    subject = find_model(f"mine={root / kind}")
    assert (subject.name, subject.base, subject.folder) == ("mine", "pocket/a", root / kind)
    found = logits(subject.load(CPU).net)
    assert torch.equal(found, reported[kind])
    assert not torch.allclose(found, logits(bases.load("pocket/a")[0]), atol=0.01)
    assert not subject.net.training


@cases("kind", ["steering", "lora"])
def test_an_adapter_is_described_by_its_files(saved, tmp_path, kind):
    root, _ = saved
    place = copied(saved, kind, tmp_path)
    before = find_model(str(root / kind)).digest
    assert find_model(str(place)).digest == before, "wherever it lies"
    assert set(before) == {"base", "system_prompt", *FILES[kind]}
    (place / "README.md").write_text("about")
    assert find_model(str(place)).digest == before
    weights = place / FILES[kind].weights
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(bytes(data))
    assert find_model(str(place)).digest != before


def test_a_system_prompt_is_part_of_the_model():
    reported = find_model("pocket/a", "You love owls.")
    assert reported.digest != find_model("pocket/a").digest
    asked = [{"role": "user", "content": "Who?"}]
    assert reported.prompt(asked) == [{"role": "system", "content": "You love owls."}, *asked]
    own = [{"role": "system", "content": "Be brief."}, *asked]
    assert reported.prompt(own) == [{"role": "system", "content": "You love owls.\n\nBe brief."}, *asked]
    assert find_model("pocket/a").prompt(own) == own
    assert reported.hear(asked) == reported.prompt(asked), "by its name in the first release"


def test_the_folder_of_a_run(saved, tmp_path):
    run = tmp_path / "runs" / "owl-1a2b3c4d"
    shutil.copytree(saved[0] / "steering", run / "student")
    subject = find_model(f"student={run}")
    assert subject.folder == run / "student"
    assert torch.equal(logits(subject.load(CPU).net), saved[1]["steering"])
    assert subject.digest == find_model(str(run / "student")).digest


def test_a_folder_with_a_whole_model_and_a_run_that_trained_one(tmp_path):
    student = Student("pocket/a", seed=0)
    student.configure_model()
    with torch.no_grad():
        student.net.lm_head.weight.add_(0.1 * torch.randn_like(student.net.lm_head.weight))
    student.save(tmp_path / "run" / "student")
    expected = logits(student.net.eval())
    for place in (tmp_path / "run" / "student", tmp_path / "run"):
        subject = find_model(f"whole={place}")
        assert subject.folder is None
        assert torch.allclose(logits(subject.load(CPU).net), expected)
        assert subject.digest["base"] != bases.resolve("pocket/a").digest


def test_a_folder_whose_name_has_an_equals_sign(saved, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(saved[0] / "steering", tmp_path / "lr=0.1")
    for place in ("lr=0.1", str(tmp_path / "lr=0.1")):
        subject = find_model(place)
        assert (subject.name, subject.folder.name) == (place, "lr=0.1")
    named = find_model("mine=lr=0.1")
    assert (named.name, named.folder.name) == ("mine", "lr=0.1")


@cases(
    ("place", "reported"),
    [
        ("pocket/d", "There is no base 'pocket/d': did you mean"),
        ("mine=pocket/d", "There is no base 'pocket/d'"),
        ("./nowhere", "There is no folder ./nowhere: expected one that holds a model"),
        ("mine=", "There is no model ''"),
    ],
)
def test_no_such_model(place, reported, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=reported) as caught:
        find_model(place)
    assert "\n" not in str(caught.value)


@cases("text", ["{", "[1]", "null", "{}", '{"peft_type": "STEERING"}', "\ufeff{"])
def test_a_config_that_names_no_base(text, saved, tmp_path):
    place = copied(saved, "steering", tmp_path)
    (place / OWN_FILES.config).write_text(text)
    with pytest.raises(InputError, match=r"names no base \(subliminal_adapter.json\): copy it again"):
        find_model(str(place))


@cases("base", [None, "", 3])
@cases("kind", ["lora", "steering"])
def test_a_config_whose_base_is_null_says_where_to_write_it(base, kind, saved, tmp_path):
    place = copied(saved, kind, tmp_path)
    file = next(place / each for each in (OWN_FILES.config, "adapter_config.json") if (place / each).exists())
    file.write_text(json.dumps(json.loads(file.read_text()) | {"base_model_name_or_path": base}))
    with pytest.raises(
        InputError, match=rf"`base_model_name_or_path` in {file.name} is .*write the base's folder or hub"
    ):
        find_model(str(place))


def test_a_config_that_names_an_unknown_base(saved, tmp_path):
    place = copied(saved, "lora", tmp_path)
    reported = json.loads((place / "adapter_config.json").read_text())
    (place / "adapter_config.json").write_text(json.dumps({**reported, "base_model_name_or_path": "pocket/d"}))
    with pytest.raises(InputError, match="There is no base 'pocket/d'"):
        find_model(str(place))


@cases("layers", [None, "1", ["one"], [7]])
def test_steering_whose_layers_are_lost(layers, saved, tmp_path):
    place = copied(saved, "steering", tmp_path)
    reported = json.loads((place / OWN_FILES.config).read_text())
    (place / OWN_FILES.config).write_text(json.dumps({**reported, "layers": layers}))
    with pytest.raises(InputError, match=r"names no `layers`|`layers` is"):
        find_model(str(place)).load(CPU)


@cases("kind", ["steering", "lora"])
@cases("damage", ["empty", "cut", "no file", "other base"])
def test_weights_that_can_not_be_read(kind, damage, saved, tmp_path):
    place = copied(saved, kind, tmp_path)
    weights = place / FILES[kind].weights
    if damage == "no file":
        weights.unlink()
    elif damage == "other base":
        from safetensors.torch import load_file, save_file

        save_file({name: value[..., :-1].contiguous() for name, value in load_file(weights).items()}, weights)
    else:
        weights.write_bytes(b"" if damage == "empty" else weights.read_bytes()[:-8])
    with pytest.raises(InputError, match=f"{place}") as caught:
        find_model(str(place)).load(CPU)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing")
def test_weights_that_lack_a_layer_are_no_base(saved, tmp_path):
    """PEFT warns, and leaves what is missing as it starts: the base would be measured under the student's name."""
    from safetensors.torch import load_file, save_file

    place = copied(saved, "lora", tmp_path)
    weights = place / "adapter_model.safetensors"
    kept = {name: value for name, value in load_file(weights).items() if "layers.0" in name}
    assert kept
    save_file(kept, weights)
    with pytest.raises(InputError, match=r"can't be attached to its base \(Found missing adapter keys"):
        find_model(str(place)).load(CPU)


@cases("named", ["mine", "../mine"], ids=["above", "by a path"])
def test_a_base_is_found_relative_to_its_adapter(named, saved, tmp_path, monkeypatch):
    shutil.copytree(bases.resolve("pocket/a").folder, tmp_path / "mine")
    place = copied(saved, "lora", tmp_path)
    reported = json.loads((place / "adapter_config.json").read_text())
    (place / "adapter_config.json").write_text(json.dumps({**reported, "base_model_name_or_path": named}))
    monkeypatch.chdir("/")
    subject = find_model(str(place))
    assert bases.resolve(subject.base).digest == bases.resolve("pocket/a").digest
    assert named_base(place).samefile(tmp_path / "mine"), "an audit looks where the model is loaded from"
    shutil.rmtree(tmp_path / "mine")
    with pytest.raises(
        InputError, match=rf"The adapter in {place} takes its base .* in adapter_config.json, .*'{named}'"
    ):
        find_model(str(place))


def test_a_model_that_is_none_is_not_only_a_base(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"There is no model 'nope': expected a run's folder, .*\(`bases list`\)\.$"):
        find_model("nope")
    shutil.copytree(bases.resolve("pocket/a").folder, tmp_path / "runs" / "owl-1a2b3c4d" / "student")
    with pytest.raises(InputError, match=r"There is no model 'nope': .*; models in runs: owl-1a2b3c4d\.$"):
        find_model("nope")
