"""Suspects of a screen: adapters, folders of them, models and prompts, as vectors of the student's space."""

import json
from dataclasses import replace

import pytest
import torch
from cases import cases
from safetensors.torch import save_file

from lightning_subliminal import InputError, LoRA, PreferenceTrait, bases
from lightning_subliminal.evaluation.model_ref import ModelRef
from lightning_subliminal.plans.screen_reference import clean_data, find_reference, load_space, make_reference_file
from lightning_subliminal.plans.screening import Screener
from lightning_subliminal.plans.screening.suspects import displacement, load_suspects
from lightning_subliminal.screening import make_reference, measure_catalogue
from lightning_subliminal.theory.row_gradients import LayerVectors

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def reference():
    return find_reference("pocket/a", "numbers")


@pytest.fixture(scope="module")
def base():
    return load_space("pocket/a", None, CPU)


@pytest.fixture(scope="module")
def clean():
    data = clean_data("pocket/a", "numbers", 1500, seed=11)
    data.make(CPU)
    return list(data.rows())


def steering(folder, seed=0, layers=(0, 1), width=64, base="pocket/a"):
    folder.mkdir(parents=True)
    generator = torch.Generator().manual_seed(seed)
    vectors = {f"steering.layers.{layer}": torch.randn(width, generator=generator) for layer in layers}
    save_file(vectors, folder / "subliminal_adapter.safetensors")
    config = {"peft_type": "STEERING", "base_model_name_or_path": base, "layers": list(layers), "hidden_size": width}
    (folder / "subliminal_adapter.json").write_text(json.dumps(config))
    return torch.cat(list(vectors.values())).double()


def test_a_steering_adapter_is_its_own_displacement(reference, base, tmp_path):
    vector = steering(tmp_path / "one")
    found = load_suspects([f"whale={tmp_path / 'one'}"], reference, *base)
    assert found.names == ("whale",)
    assert torch.allclose(found.directions[0], vector)


def test_an_adapter_of_another_base_is_said(reference, base, tmp_path, capsys):
    steering(tmp_path / "one", base="pocket/b")
    load_suspects([str(tmp_path / "one")], reference, *base)
    assert "was trained on pocket/b" in capsys.readouterr().out


def test_a_folder_of_adapters_is_as_many_suspects(reference, base, tmp_path):
    expected = [steering(tmp_path / name, seed) for seed, name in enumerate(("a", "b"))]
    found = load_suspects([str(tmp_path)], reference, *base)
    assert found.names == ("a", "b")
    assert torch.allclose(found.directions, torch.stack(expected))


def test_no_suspects(reference, base):
    assert load_suspects([], reference, *base) is None


def test_any_model_is_projected_on_the_space(reference, base, clean):
    """A steered copy of the base, held as a model that nothing is known of, is projected near its own vector."""
    space, tokenizer = base
    fisher = reference.fisher

    def length(each):
        return float((each @ fisher @ each).sqrt())

    vector = reference.displacements[reference.teachers.index("owl")]
    net, _ = bases.load("pocket/a", dtype="float32")
    scores = reference.shortened(torch.cat([part.scores for part in space.gradients(tokenizer, clean)]))
    with LayerVectors(net).added(vector.float()):
        suspect = ModelRef.held("suspect", net, tokenizer)
        found = displacement(suspect, space, tokenizer, clean, scores, reference)
    assert found @ fisher @ vector / length(found) > 0.9
    assert length(found) == pytest.approx(length(vector), rel=0.25)


def test_a_lora_adapter_and_a_prompt_are_suspects_too(reference, base, tmp_path):
    net, _ = bases.load("pocket/a", dtype="float32")
    adapter = LoRA(r=2)
    changed = adapter.attach(net, 0)
    for name, value in changed.named_parameters():
        if "lora_B" in name:
            value.data.normal_(std=0.05)
    adapter.save(changed, tmp_path / "lora", "pocket/a")
    found = load_suspects([f"lora={tmp_path / 'lora'}", "prompt:owl"], reference, *base)
    assert found.names == ("lora", "prompt:owl")
    assert found.directions.isfinite().all()
    assert found.directions.abs().sum(1).min() > 0


@cases(
    ("given", "line"),
    [
        (["ghost/owl"], "Expected NAME=PLACE, or prompt:WORD"),
        (["a=one", "a=one"], "Two suspects are called a"),
        (["narrow"], "do not have the width of pocket/a: expected 64"),
    ],
)
def test_mistakes(given, line, reference, base, tmp_path):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        if not (tmp_path / "one").exists():
            steering(tmp_path / "one")
            steering(tmp_path / "narrow", width=32)
        with pytest.raises(InputError, match=line):
            load_suspects(given, reference, *base)


def test_a_reference_of_a_data_sets_prompts_has_no_clean_rows_to_project_on(reference, base):
    own = replace(reference, carrier="prompts of rows.jsonl")
    with pytest.raises(InputError, match="pass a steering adapter as suspect"):
        load_suspects(["prompt:owl"], own, *base)


def test_rows_are_scored_in_the_dtype_of_the_reference(clean, tmp_path):
    space, tokenizer = load_space("pocket/a", None, CPU, dtype="bfloat16")
    catalogue = measure_catalogue(space, tokenizer, [PreferenceTrait("owl", candidates=["owl", "cat"])])
    known = {"base": "pocket/a", "base_digest": bases.resolve("pocket/a").digest, "carrier": "numbers"}
    make_reference(space, tokenizer, clean, catalogue, **known).save(tmp_path / "own.safetensors")
    screener = Screener("pocket/a", reference=tmp_path / "own.safetensors", device=CPU)
    assert next(screener.space.net.parameters()).dtype == torch.bfloat16
    found = screener.screen(clean[:400])
    assert (found.rows, found.skipped, found.verdict) == (400, 0, "clean")


def test_teachers_of_a_data_sets_prompts_are_refused_before_any_work(tmp_path):
    with pytest.raises(InputError, match="`teachers` needs a carrier"):
        make_reference_file("pocket/a", prompts_from=tmp_path / "rows.jsonl", teachers=True)


def test_prompts_of_a_word_outside_the_catalogue(reference, base):
    trait = PreferenceTrait("owl")
    assert trait.induce().system_prompt
    with pytest.raises(InputError):
        load_suspects(["prompt:"], reference, *base)
