"""A folder that is no whole base, or whose files name code, ends in one line."""

import json
import shutil
from pathlib import Path

import pytest
from cases import cases

from bases.word_bases import make_base, make_net
from lightning_subliminal import bases
from lightning_subliminal.core.errors import InputError

pytestmark = pytest.mark.usefixtures("cache")


def break_config(folder):
    (folder / "config.json").write_text("{")


def break_weights(folder):
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-50])


def break_tokenizer(folder):
    (folder / "tokenizer.json").write_text("{}")


def lose_tensor(folder):
    from safetensors.torch import load_file, save_file

    state = load_file(folder / "model.safetensors")
    state.pop("model.norm.weight")
    save_file(state, folder / "model.safetensors", {"format": "pt"})


def lose_shard(folder):
    index = {"weight_map": {"x": "model-00002-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def make_adapter_folder(folder):
    (folder / "config.json").rename(folder / "adapter_config.json")


def shrink_embedding(folder):
    make_net(vocab_size=6).save_pretrained(folder)


def wild_end_token(folder):
    make_net(eos_token_id=[2, 99]).save_pretrained(folder)


@cases(
    ("harm", "message"),
    [
        (break_config, r"config.json is damaged"),
        (lambda folder: (folder / "config.json").write_text("{}"), "no `model_type`"),
        (lambda folder: (folder / "config.json").unlink(), "holds no config.json"),
        (make_adapter_folder, "holds an adapter only"),
        (lambda folder: (folder / "model.safetensors").rename(folder / "pytorch_model.bin"), r"no \*.safetensors"),
        (lose_shard, "lacks model-00002-of-00002.safetensors"),
        (lambda folder: (folder / "tokenizer.json").unlink(), "holds no tokenizer"),
        (break_tokenizer, "tokenizer in .* can't be read"),
        (break_weights, "weights in .* can't be loaded"),
        (lose_tensor, r"lack model\.norm\.weight"),
        (shrink_embedding, r"the id 7 \('2'\), but the model embeds ids 0 to 5"),
        (wild_end_token, r"`eos_token_id` in the model's config is 99"),
    ],
)
def test_a_damaged_folder_is_reported_in_one_line(tmp_path, harm, message):
    folder = make_base(tmp_path / "model")
    harm(folder)
    with pytest.raises(InputError, match=message) as caught:
        bases.load(str(folder))
    assert "\n" not in str(caught.value)


@cases("file", ["config.json", "tokenizer_config.json"])
def test_nobody_is_asked_whether_to_run_code(file, tmp_path, monkeypatch):
    base = Path(shutil.copytree(bases.resolve("pocket/a").folder, tmp_path / "base"))
    (tmp_path / "evil").mkdir()
    (tmp_path / "evil" / "code.py").write_text("raise SystemExit(9)")
    names = {"AutoModelForCausalLM": "code.Model", "AutoConfig": "code.Config", "AutoTokenizer": ["code.Slow", None]}
    reported = json.loads((base / file).read_text()) | {
        "auto_map": {key: _elsewhere(tmp_path, each) for key, each in names.items()}
    }
    reported |= {"model_type": "foreign"} if file == "config.json" else {"tokenizer_class": "Foreign"}
    (base / file).write_text(json.dumps(reported))
    monkeypatch.setattr("builtins.input", lambda *args: pytest.fail("asked at the terminal"))
    try:
        bases.load(str(base))
    except InputError as err:
        assert len(str(err).splitlines()) == 1  # noqa: PT017 - it may load, too: what it must not do is ask


def _elsewhere(place, name):
    return f"{place}/evil--{name}" if isinstance(name, str) else [f"{place}/evil--{name[0]}", name[1]]
