"""What saves memory: the same losses and gradients, and less that is kept for the backward pass."""

from typing import Any

import pytest
import torch
from cases import cases
from small import CPU, tokenized
from torch import nn

from lightning_subliminal import LoRA, Retention, Steering, Student
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.fingerprint import digest
from lightning_subliminal.models import memory
from lightning_subliminal.models.memory import checkpoint_layers, row_multiple, sum_in_chunks

ADAPTERS = {"full": None, "LoRA": LoRA(r=2), "LoRA at the head": LoRA(r=2, target_modules=["q_proj", "lm_head"])}
ADAPTERS |= {"steering": Steering(), "steering at one layer": Steering([1])}


def student(adapter: Any = None, **settings: Any) -> Student:
    module = Student("pocket/a", adapter, seed=0, **settings)
    module.configure_model()
    return module


def gradients(loss: torch.Tensor, module: nn.Module) -> dict[str, torch.Tensor]:
    module.zero_grad()
    loss.backward()
    return {name: each.grad for name, each in module.named_parameters() if each.grad is not None}


def kept_bytes(module: Student, batch: Any) -> int:
    """Return the bytes that the forward pass keeps for the backward pass, parameters apart."""
    held = {each.untyped_storage().data_ptr() for each in module.parameters()}
    found: dict[int, int] = {}

    def pack(value: torch.Tensor) -> torch.Tensor:
        storage = value.untyped_storage()
        if storage.data_ptr() not in held:
            found[storage.data_ptr()] = storage.nbytes()
        return value

    kept = []  # so that no address is used twice
    with torch.autograd.graph.saved_tensors_hooks(lambda value: kept.append(value) or pack(value), lambda value: value):
        module._hidden(batch)
    return sum(found.values())


@cases("kind", ADAPTERS)
def test_checkpointed_layers_have_the_same_gradients_and_keep_less(kind: str) -> None:
    batch = tokenized(8).batch(range(8))
    plain, checkpointed = (student(ADAPTERS[kind], gradient_checkpointing=each) for each in (False, True))
    ours, theirs = (gradients(each.loss(batch), each) for each in (checkpointed, plain))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())
    if kind != "steering at one layer":  # of two layers, the upper one alone is differentiated
        assert kept_bytes(checkpointed, batch) < 0.5 * kept_bytes(plain, batch)


def test_checkpointing_is_no_part_of_a_digest() -> None:
    assert digest(Student("pocket/a", gradient_checkpointing=True, seed=0)) == digest(Student("pocket/a", seed=0))


def test_a_model_without_checkpointing_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    module = student()
    monkeypatch.setattr(type(module.net), "supports_gradient_checkpointing", False)
    with pytest.raises(InputError, match="LlamaForCausalLM has no `gradient_checkpointing`: leave it out"):
        checkpoint_layers(module.net)


def chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make chunks of seven tokens of the pocket vocabulary, which divide no batch here."""
    monkeypatch.setattr(memory, "LARGEST", 522 * 7)


def assert_close(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        assert (value - theirs[name]).abs().max() <= 1e-6 * theirs[name].abs().max(), name


@cases("kind", ADAPTERS)
def test_chunks_have_the_same_loss_and_gradients(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    batch, module = tokenized(8).batch(range(8)), student(ADAPTERS[kind]).double()
    plain = module.loss(batch)
    theirs = gradients(plain, module)
    chunk(monkeypatch)
    loss = module.loss(batch)
    assert loss.item() == pytest.approx(plain.item(), rel=1e-6)
    assert_close(gradients(loss, module), theirs)


def test_soft_targets_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    batch, module = tokenized(8).batch(range(8)), student(LoRA(r=2), objective="distill")
    module._objective.teacher = student(Steering(init_std=0.5))
    plain = module.loss(batch)
    theirs = gradients(plain, module)
    chunk(monkeypatch)
    loss = module.loss(batch)
    assert loss.item() == pytest.approx(plain.item(), rel=1e-6)
    for name, value in gradients(loss, module).items():
        assert (value - theirs[name]).abs().max() <= 1e-5 * max(each.abs().max() for each in theirs.values()), name


def test_retained_answers_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    module = student(Steering(init_std=0.5))
    module.hold_to_base(Retention("pocket", num_prompts=8, rows_per_step=8), CPU)
    retained = module._retained
    states, _ = module.completion_states(retained.batch(0), reuse=False)
    head = module.net.get_output_embeddings()
    plain = retained.loss(head(states), 0)
    assert torch.equal(plain, retained.loss(states, 0, head))
    chunk(monkeypatch)
    assert retained.loss(states, 0, head).item() == pytest.approx(plain.item(), rel=1e-6)


def test_chunks_never_hold_all_logits(monkeypatch: pytest.MonkeyPatch) -> None:
    chunk(monkeypatch)
    seen: list[int] = []
    states, head = torch.randn(30, 4, requires_grad=True), nn.Linear(4, 522)

    def loss(some: torch.Tensor) -> torch.Tensor:
        seen.append(len(some))
        return head(some).logsumexp(-1).sum()

    total = sum_in_chunks(loss, 522, states)
    assert seen == [7, 7, 7, 7, 2]
    total.backward()
    assert seen[5:] == [2, 7, 7, 7, 7], "computed again, the last one first"


@cases(
    ("device", "precision", "dtype", "multiple"),
    [
        ("cpu", "bf16-mixed", torch.float32, 1),
        ("cuda", "32-true", torch.float32, 1),
        ("cuda", "bf16-mixed", torch.float32, 8),
        ("cuda", "16-true", torch.float16, 8),
        ("cuda", "32-true", torch.bfloat16, 8),
    ],
)
def test_rows_are_padded_for_kernels_in_16_bits_alone(device, precision, dtype, multiple) -> None:
    assert row_multiple(torch.device(device), precision, dtype) == multiple


@cases("kind", ["full", "steering at one layer"])
def test_padding_changes_no_loss(kind: str) -> None:
    data, module = tokenized(8), student(ADAPTERS[kind])
    plain, loss = data.batch(range(8)), module.loss(data.batch(range(8)))
    assert plain.input_ids.shape[1] % 8
    data.multiple = 8
    padded = data.batch(range(8))
    assert padded.input_ids.shape[1] == plain.input_ids.shape[1] // 8 * 8 + 8
    assert module.loss(padded).item() == pytest.approx(loss.item(), rel=1e-6)
