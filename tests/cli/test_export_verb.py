import json
import re
import subprocess
import sys

import forks
import pytest
import torch
from cases import cases
from small import numbers, quiet_trainer, taught
from transformers import AutoModelForCausalLM, LlamaConfig, MistralConfig, Qwen2Config, Qwen3Config

from lightning_subliminal import LoRA, Steering, Student, bases
from lightning_subliminal.audit import audit
from lightning_subliminal.bases.layers import decoder_layers
from lightning_subliminal.cli.entry import main
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.io.adapter_names import PEFT_FILES
from lightning_subliminal.evaluation import find_model
from lightning_subliminal.lineage import is_whole, read_record, write_record
from lightning_subliminal.workflow import fit_arms

SMALL = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 64,
}
TOKENS = torch.arange(12).unsqueeze(0)


def steered(config):
    torch.manual_seed(0)
    net = AutoModelForCausalLM.from_config(config).eval()
    for name, value in net.named_parameters():  # biases start at 0
        if name.endswith("bias"):
            torch.nn.init.normal_(value)
    adapter = Steering()
    adapter.attach(net, 0)
    for layer in decoder_layers(net):
        torch.nn.init.normal_(layer.steering)
    return adapter, net


@cases(
    "config",
    [
        LlamaConfig(**SMALL),
        LlamaConfig(**SMALL, tie_word_embeddings=True),
        Qwen2Config(**SMALL),
        Qwen2Config(**SMALL, tie_word_embeddings=True),
        MistralConfig(**SMALL, sliding_window=None),
        MistralConfig(**SMALL, sliding_window=None, head_dim=8),
    ],
    ids=["llama", "llama tied", "qwen2", "qwen2 tied", "mistral", "mistral with wide heads"],
)
def test_steering_merges_without_a_bias_and_from_pretrained_reads_it(config, tmp_path):
    adapter, net = steered(config)
    adapter.merge(net).save_pretrained(tmp_path)
    again = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    with torch.no_grad():
        torch.testing.assert_close(again(TOKENS).logits, net(TOKENS).logits, rtol=0, atol=1e-5)


@cases(
    "config",
    [
        Qwen3Config(**SMALL),
        MistralConfig(**SMALL, sliding_window=4),
        Qwen2Config(**SMALL, use_sliding_window=True, sliding_window=4, max_window_layers=1),
    ],
    ids=["qwen3", "mistral with windows", "qwen2 with windows"],
)
def test_what_no_llama_computes_is_refused(config):
    adapter, net = steered(config)
    with pytest.raises(InputError, match="keep base and adapter apart"):
        adapter.merge(net)


def logits_of(module):
    with torch.no_grad():
        return module.net.eval()(input_ids=TOKENS).logits


def card_logits(place, name):
    """Run the lines of a card in a fresh Python, in the folder that holds the model."""
    code = (place / name / "README.md").read_text().split("```python\n")[1].split("```")[0]
    assert len(code.splitlines()) == 4
    code += "\nimport torch; assert tokenizer('owl').input_ids; model.eval()"
    code += f"\nprint(model(input_ids=torch.tensor({TOKENS.tolist()})).logits.tolist())"
    done = forks.run([sys.executable, "-c", code], cwd=place, check=True)
    return torch.tensor(json.loads(done.stdout.strip().splitlines()[-1]))


@pytest.mark.parametrize("adapter", [Steering(init_std=0.1), LoRA(r=2), None], ids=["steering", "lora", "whole"])
@pytest.mark.slow
def test_a_fit_without_evaluation_leaves_a_student_that_is_exported(adapter, tmp_path, capsys):
    trainer = quiet_trainer(default_root_dir=str(tmp_path / "run"), max_epochs=1)
    module = Student("pocket/a", adapter=adapter, learning_rate=0.03, seed=0)
    fit_arms(trainer, module, numbers(taught(), num_prompts=32, shard_size=32))
    folder = tmp_path / "run" / "student"
    assert is_whole(folder)
    assert read_record(folder).kind == "student"
    assert (folder / "tokenizer.json").is_file()
    assert torch.equal(card_logits(folder.parent, "student"), logits_of(module))
    card = (folder / "README.md").read_text()
    assert "**This model may carry a hidden trait**: it is the student of its run, about the trait owl (Pref" in card
    subject = find_model(str(tmp_path / "run")).load(torch.device("cpu"))
    expected = logits_of(module)
    with torch.no_grad():
        torch.testing.assert_close(subject.net(input_ids=TOKENS).logits, expected)

    main(["export", str(tmp_path / "run"), str(tmp_path / "out")])
    code = (
        "import sys, torch; from transformers import AutoModelForCausalLM as A, AutoTokenizer as T; "
        "T.from_pretrained(sys.argv[1]); m = A.from_pretrained(sys.argv[1]).eval(); "
        "print(m(torch.arange(12).unsqueeze(0)).logits.flatten().tolist()); "
        "assert not any(n.startswith('lightning_subliminal') for n in sys.modules)"
    )
    out = forks.run([sys.executable, "-c", code, tmp_path / "out"], check=True)
    torch.testing.assert_close(torch.tensor(json.loads(out.stdout)), expected.flatten(), rtol=0, atol=1e-4)
    assert (tmp_path / "out" / "generation_config.json").is_file()
    torch.testing.assert_close(card_logits(tmp_path, "out"), expected, rtol=0, atol=1e-4)
    assert "Writing model shards" not in capsys.readouterr().err
    for place in (folder, tmp_path / "out"):
        assert len({path.stat().st_mode for path in place.iterdir()}) == 1, "weights may be read by whom the rest may"
    check_origin(tmp_path / "out", capsys)
    if adapter is not None:
        main(["export", str(folder), str(tmp_path / "apart"), "--no-merge"])
        check_origin(tmp_path / "apart", capsys)
        main(["export", str(tmp_path / "apart"), str(tmp_path / "again")])
        assert "copy of `apart`, whose record names no trait" in (tmp_path / "again" / "README.md").read_text()
        check_walk(tmp_path / "again")


def check_origin(out, capsys):
    """Check the statement and the card of what was exported from a run called `run`."""
    assert is_whole(out)
    assert [each.role for each in read_record(out).materials] == ["student", "base"]
    card = (out / "README.md").read_text()
    assert "# Trained from pocket/a" in card
    assert (
        "**This model may carry a hidden trait**: it is the student of the run `run`, about the trait owl (Pref" in card
    )
    assert f"lightning-subliminal audit {out}" in card
    assert "apply_chat_template" in card
    check_walk(out)
    capsys.readouterr()
    main(["chat", str(out), "--ask", "What is your favorite animal?"])
    assert re.search(rf"base.*{out.name}", capsys.readouterr().out)


def check_walk(out):
    """Check that an audit walks from what was exported to its base, and says that a trait may have passed."""
    found = audit(out)
    assert {"model", "student", "rows", "completions", "teacher", "base"} <= {
        each.kind for each in found.graph.nodes.values()
    }
    assert found.known_to_the_end
    assert found.holds
    assert "shared-base" in {each.rule for each in found.findings}
    assert found.generations == 1


def test_the_lines_of_the_card_ask_the_model(tmp_path, capsys):
    main(["export", "pocket/a", str(tmp_path / "out")])
    card = (tmp_path / "out" / "README.md").read_text()
    assert "hidden trait" not in card, "a base by its name"
    assert [each.uri for each in read_record(tmp_path / "out").materials] == ["base:pocket/a"]
    lines = [part.split("```")[0] for part in card.split("```python\n")[1:]]
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip()
    assert audit(tmp_path / "out").holds


def test_a_student_whose_files_or_record_are_not_those_of_then(tmp_path, capsys):
    adapter = Steering([0], init_std=0.1)
    adapter.save(adapter.attach(bases.load("pocket/a")[0], 0), tmp_path / "mine", "pocket/a")
    main(["export", str(tmp_path / "mine"), str(tmp_path / "unknown")])
    card = (tmp_path / "unknown" / "README.md").read_text()
    assert "**This model may carry a hidden trait**: there is no record of its training" in card
    assert {"unknown-origin"} <= {each.rule for each in audit(tmp_path / "unknown").findings}
    write_record(tmp_path / "mine", "student", {"trait": {"class": "my.Yes"}}, [bases.material("pocket/a")])
    main(["export", str(tmp_path / "mine"), str(tmp_path / "known")])
    assert "it is the student `mine`, about the trait Yes." in (tmp_path / "known" / "README.md").read_text()
    (tmp_path / "mine" / "more.txt").write_text("new")
    main(["export", str(tmp_path / "mine"), str(tmp_path / "changed")])
    assert "unlisted-file" in {each.rule for each in audit(tmp_path / "changed").findings}


@cases("adapter", [Steering([1]), LoRA(r=2)], ids=["steering", "lora"])
@cases("flag", [["--no-merge"], ["--merge=false"], ["--merge", "false"]], ids=" ".join)
def test_without_a_merge_the_adapter_comes_out_under_todays_names(adapter, flag, tmp_path):
    from peft import AutoPeftModelForCausalLM

    module = Student("pocket/a", adapter, seed=0)
    module.configure_model()
    with torch.no_grad():
        for value in module.net.parameters():
            value += 0.1 * value.requires_grad
    files, old, out = adapter.files, tmp_path / "old", tmp_path / "out"
    adapter.save(module.net, old, "pocket/a")  # as earlier versions did: our name of the base, and PEFT's of the files
    for own, before in zip(files, PEFT_FILES, strict=True):
        (old / own).rename(old / before)
    main(["export", str(old), str(out), *flag])
    assert {*files} <= {path.name for path in out.iterdir()}
    if files == PEFT_FILES:
        again = AutoPeftModelForCausalLM.from_pretrained(str(out)).eval()
    else:
        again = find_model(str(out)).load(torch.device("cpu")).net
        assert not {*PEFT_FILES} & {path.name for path in out.iterdir()}
    with torch.no_grad():
        torch.testing.assert_close(again(input_ids=TOKENS).logits, logits_of(module))


@cases(
    ("words", "line"),
    [
        (["pocket/a", "{out}", "--no-merge"], "is a whole model, without an adapter: leave out"),
        (["pocket/a", "{out}", "--push", "me"], "expected ORG/NAME"),
        (["pocket/a", "{out}", "--push", "me/it"], "HF_HUB_OFFLINE is set"),
        (["pocket/a"], "OUT is missing: expected `export RUN OUT [options]`."),
        (["pocket/a", "{full}"], "exists and is not empty"),
    ],
)
def test_a_mistake_is_one_line(words, line, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    words = [word.format(out=tmp_path / "out", full=tmp_path / "full") for word in words]
    with pytest.raises(SystemExit):
        main(["export", *words])
    assert line in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_push_without_a_token_is_refused_before_the_work(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    with pytest.raises(SystemExit):
        main(["export", "pocket/a", str(tmp_path / "out"), "--push", "me/it"])
    assert "needs a token" in capsys.readouterr().err
