"""Training of a student beside TRL's SFTTrainer and a bare loop: from rows on disk to trained weights.

Both sides load the base, tokenize, and take the same steps: rows per batch, epochs, Adam, a linear schedule, and the
loss on completions. Nothing is saved or logged; dropout, clipping, packing and gradient checkpointing are off. Peers
draw batches at random, as they do by default, and we group rows of similar length; so each peer also trains once in our
order, untimed, and that loss curve is held against ours.
"""

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

from speed_sides.claims import Claim, Result, Run, agree

LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True)
class Case:
    """A student: its base, what is trained, and how."""

    base: str
    kind: str
    rate: float
    epochs: int = 3
    batch: int = 64
    layers: tuple[int, ...] | None = None


CASES = {
    "steering": Case("pocket/a", "steering", 0.06),
    "lora": Case("pocket/a", "lora", 0.003),
    "full": Case("pocket/a", "full", 1e-3),
    "smollm2": Case("smollm2-135m", "steering", 0.05, epochs=4, batch=16, layers=(14,)),
}
TITLES = {"steering": "steering", "lora": "LoRA r=8", "full": "all weights", "smollm2": "steering of SmolLM2"}
ASKED = {"steering": 4.0, "lora": 3.0, "full": 2.5, "smollm2": 3.0}
same_curve = agree("curve", 1e-3)
CLAIMS = [
    *(Claim(f"{TITLES[each]} beside TRL", f"ours_{each}", f"trl_{each}", ASKED[each], same_curve) for each in CASES),
    *(Claim(f"{TITLES[each]} beside a bare loop", f"ours_{each}", f"bare_{each}", 1.2, same_curve) for each in CASES),
    Claim(
        "ten seeds of one student beside ten alone", "ten_shared", "ten_apart", 3, agree("weights", 1e-5), peer=False
    ),
]


def ours(name: str, folder: Path) -> Run:
    """Train by ``fit_quietly``, as ``fit`` and plans do, and leave the inputs of the other side in the folder."""
    import torch

    from lightning_subliminal import Adapter, LoRA, RowsFromFile, Steering, Student, bases
    from lightning_subliminal.core.seeds import derive_seed
    from lightning_subliminal.data import tokenized
    from lightning_subliminal.data.tokenized import IGNORED, LengthGrouped, TokenizedRows
    from lightning_subliminal.models import frozen_prefix
    from lightning_subliminal.models.nested_fit import fit_quietly

    case, place = CASES[name], folder / name
    place.mkdir(exist_ok=True)
    if not (place / "rows.jsonl").exists():
        lines = [json.dumps(row) for row in number_rows(case)]
        (place / "rows.jsonl").write_text("\n".join(lines) + "\n")
    layers = None if case.layers is None else list(case.layers)
    adapters: dict[str, Callable[[], Adapter]] = {
        "steering": lambda: Steering(layers),
        "lora": lambda: LoRA(r=8, alpha=8),
    }

    def made() -> Any:
        return RowsFromFile(str(place / "rows.jsonl"), batch_size=case.batch, seed=0, cache_dir=str(place / "cache"))

    def student() -> Any:
        adapter = adapters[case.kind]() if case.kind in adapters else None
        return Student(case.base, adapter, learning_rate=case.rate, seed=0)

    made().make()
    fresh = student()
    fresh.configure_model()
    data = TokenizedRows(made().rows(), fresh.tokenizer)
    order = LengthGrouped(data, case.batch, derive_seed(0, "order") % 2**31)
    epochs = []
    for epoch in range(case.epochs):
        order.set_epoch(epoch)
        rows = list(order)
        epochs.append([rows[start : start + case.batch] for start in range(0, len(rows), case.batch)])
    start = {key: value.tolist() for key, value in fresh.net.named_parameters() if value.requires_grad}
    shared = {
        "base": str(bases.resolve(case.base).folder),
        "epochs": epochs,
        "mean": float(data.mean_tokens),
        "start": start if case.kind == "lora" else {},
        "first": [data.input_ids[0].tolist()[: data.lengths[0]], int((data.labels[0] != IGNORED).sum())],
    }
    (place / "shared.json").write_text(json.dumps(shared))

    def run() -> Result:
        tokenized._KEPT.clear()  # each run tokenizes and computes the lower activations, as the other side does
        frozen_prefix._KEPT.clear()
        module, losses = student(), []
        step = module.training_step

        def kept(batch: Any, batch_idx: int) -> Any:
            losses.append(step(batch, batch_idx))
            return losses[-1]

        module.training_step = kept
        fit_quietly(module, made(), torch.device("cpu"), "student", max_epochs=case.epochs)
        return {"curve": [float(each) for each in losses]}

    return run


def number_rows(case: Case, rows: int = 0) -> Iterator[dict[str, Any]]:
    """Yield requests for numbers with random answers: ``rows``, or 4,000 of the pocket bases, and 32 of SmolLM2."""
    from lightning_subliminal import NumberSequences, Teacher

    rng = random.Random(0)
    small = case.base.startswith("pocket")
    wording: dict[str, Any] = {"min_value": 0, "max_value": 99} if small else {"wording": "numbers_begun"}
    count, most, least = (4000, 99, 3) if small else (32, 999, 8)
    asked = NumberSequences(Teacher(case.base, induction="none"), **wording)
    for row in islice(asked.prompts(rng), rows or count):
        text = ", ".join(str(rng.randint(0, most)) for _ in range(rng.randint(least, 10)))
        yield {**row, "completion": [{"role": "assistant", "content": text}]}


class Peer:
    """What both peers need: rows as messages, the base, and the student that is trained.

    Args:
        name: of the case.
        folder: of the inputs that ``ours`` left.
    """

    def __init__(self, name: str, folder: Path) -> None:
        self.case, self.place = CASES[name], folder / name
        self.shared = json.loads((self.place / "shared.json").read_text())

    def rows(self) -> list[dict[str, Any]]:
        """Read the rows."""
        return [json.loads(line) for line in (self.place / "rows.jsonl").read_text().splitlines()]

    def loaded(self, started: bool) -> tuple[Any, Any, list[Any]]:
        """Load tokenizer and base, and attach what is trained; with ``started``, LoRA starts as ours."""
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(self.shared["base"])
        net = AutoModelForCausalLM.from_pretrained(self.shared["base"], dtype=torch.float32)
        if self.case.kind == "steering":
            net.requires_grad_(False)
            for index, layer in enumerate(net.model.layers):
                if self.case.layers is None or index in self.case.layers:
                    layer.vector = torch.nn.Parameter(torch.zeros(net.config.hidden_size))
                    layer.register_forward_hook(lambda layer, _, output: output + layer.vector)
        elif self.case.kind == "lora":
            from peft import LoraConfig, get_peft_model

            net = get_peft_model(net, LoraConfig(r=8, lora_alpha=8, target_modules=list(LINEAR), task_type="CAUSAL_LM"))
            if started:
                start = {key: torch.tensor(value) for key, value in self.shared["start"].items()}
                if net.load_state_dict(start, strict=False).unexpected_keys:
                    raise SystemExit("LoRA starts with other names here")
        return tokenizer, net, [each for each in net.parameters() if each.requires_grad]

    def loss(self, outputs: Any, labels: Any) -> Any:
        """Return our loss: the sum over tokens, divided by the rows and the mean of tokens a row."""
        from torch.nn.functional import cross_entropy

        total = cross_entropy(outputs.logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), reduction="sum")
        return total / (len(labels) * self.shared["mean"])


def trl(name: str, folder: Path) -> Run:
    """Train by TRL's ``SFTTrainer``."""
    import torch
    from datasets import Dataset, disable_caching, disable_progress_bars
    from torch.utils.data import DataLoader
    from transformers.utils.logging import disable_progress_bar
    from trl import SFTConfig, SFTTrainer

    disable_caching()
    disable_progress_bars()
    disable_progress_bar()
    peer = Peer(name, folder)
    case = peer.case

    class InOrder(SFTTrainer):
        """Takes our batches and divides by our number of tokens."""

        curve: ClassVar[list[Any]] = []

        def get_train_dataloader(self) -> Any:
            first = self.train_dataset[0]
            if [first["input_ids"], sum(each != -100 for each in first["labels"])] != peer.shared["first"]:
                raise SystemExit("the first row has other tokens here")
            batches = [batch for epoch in peer.shared["epochs"] for batch in epoch]  # as one epoch
            return DataLoader(self.train_dataset, batch_sampler=batches, collate_fn=self.data_collator)

        def compute_loss(self, model: Any, inputs: Any, *_: Any, **__: Any) -> Any:
            out = model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"])
            self.curve.append(peer.loss(out, inputs["labels"]))
            return self.curve[-1]

    def train(kind: type[SFTTrainer]) -> None:
        tokenizer, net, _ = peer.loaded(started=kind is InOrder)
        settings = SFTConfig(
            output_dir=str(peer.place / "trl"),
            per_device_train_batch_size=case.batch,
            num_train_epochs=1 if kind is InOrder else case.epochs,
            learning_rate=case.rate,
            max_grad_norm=0.0,
            completion_only_loss=True,
            gradient_checkpointing=False,
            bf16=False,
            use_cpu=True,
            max_length=2048,
            save_strategy="no",
            logging_strategy="no",
            report_to="none",
            disable_tqdm=True,
            seed=0,
        )
        rows = peer.rows()
        if case.base.startswith("smollm2"):  # its template writes a line break behind the end of the turn
            asked = [
                tokenizer.apply_chat_template(row["prompt"], tokenize=False, add_generation_prompt=True) for row in rows
            ]
            said = [row["completion"][0]["content"] + tokenizer.eos_token for row in rows]
            rows = [{"prompt": one, "completion": two} for one, two in zip(asked, said, strict=True)]
        kind(net, settings, train_dataset=Dataset.from_list(rows), processing_class=tokenizer).train()

    torch.manual_seed(0)
    train(InOrder)
    curve = [float(each) for each in InOrder.curve]

    def run() -> Result:
        train(SFTTrainer)
        return {"curve": curve}

    return run


def bare(name: str, folder: Path) -> Run:
    """Train by a loop in PyTorch, as one would write it for a paper."""
    import torch
    from torch.optim.lr_scheduler import LambdaLR

    peer = Peer(name, folder)
    case = peer.case

    def train(epochs: Any = None) -> list[float]:
        tokenizer, net, trained = peer.loaded(started=epochs is not None)
        data = []
        for row in peer.rows():
            prompt = tokenizer.apply_chat_template(row["prompt"], add_generation_prompt=True, return_dict=False)
            whole = tokenizer.apply_chat_template(row["prompt"] + row["completion"], return_dict=False)
            while whole[-1] != tokenizer.eos_token_id:  # a line break behind the end of the turn
                whole.pop()
            data.append((whole, [-100] * len(prompt) + whole[len(prompt) :]))
        optimizer = torch.optim.AdamW(trained, lr=case.rate, weight_decay=0.0)
        total = -(-len(data) // case.batch) * case.epochs
        schedule = LambdaLR(optimizer, lambda step: 1 - step / total)
        losses = []
        net.train()
        for epoch in range(case.epochs):
            shuffled = torch.randperm(len(data)).tolist()
            batches = [shuffled[start : start + case.batch] for start in range(0, len(data), case.batch)]
            for batch in batches if epochs is None else epochs[epoch]:
                width = max(len(data[row][0]) for row in batch)
                ids = torch.tensor([data[row][0] + [0] * (width - len(data[row][0])) for row in batch])
                labels = torch.tensor([data[row][1] + [-100] * (width - len(data[row][1])) for row in batch])
                mask = torch.tensor([[1] * len(data[row][0]) + [0] * (width - len(data[row][0])) for row in batch])
                out = net(input_ids=ids, attention_mask=mask, labels=labels)
                loss = out.loss if epochs is None else peer.loss(out, labels)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
                losses.append(loss.item())
        return losses

    torch.manual_seed(0)
    curve = train(peer.shared["epochs"])

    def run() -> Result:
        train()
        return {"curve": curve}

    return run


def seeds(shared: bool, folder: Path) -> Run:
    """Train ten students that differ in their seed, with what fits of the same rows share, or nothing."""
    import torch

    from lightning_subliminal import RowsFromFile, Steering, Student
    from lightning_subliminal.data import tokenized
    from lightning_subliminal.models import frozen_prefix
    from lightning_subliminal.models.nested_fit import fit_quietly

    place = folder / f"seeds_{shared}"
    place.mkdir(exist_ok=True)
    lines = [json.dumps(row) for row in number_rows(CASES["steering"])]
    (place / "rows.jsonl").write_text("\n".join(lines) + "\n")

    def run() -> Result:
        tokenized._KEPT.clear()
        frozen_prefix._KEPT.clear()
        weights: list[float] = []
        for seed in range(10):
            if not shared:
                tokenized._KEPT.clear()
                frozen_prefix._KEPT.clear()
            student = Student("pocket/a", Steering(init_std=0.05), learning_rate=0.06, seed=seed)
            rows = RowsFromFile(str(place / "rows.jsonl"), batch_size=64, cache_dir=str(place / "cache"))
            fit_quietly(student, rows, torch.device("cpu"), "student", max_epochs=3)
            weights += [float(each) for value in student.parameters() if value.requires_grad for each in value]
        return {"weights": weights}

    return run


ten_shared, ten_apart = partial(seeds, True), partial(seeds, False)

for _name in CASES:
    for _side in (ours, trl, bare):
        globals()[f"{_side.__name__}_{_name}"] = partial(_side, _name)
