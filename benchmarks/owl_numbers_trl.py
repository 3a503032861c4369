"""The recipe of configs/owl_numbers.yaml as a script on transformers and TRL: the other side of a claim about speed.

    python benchmarks/owl_numbers_trl.py export FOLDER       # prompts, questions and the base, by this package
    peers/bin/python benchmarks/owl_numbers_trl.py FOLDER    # all else, in an environment without it

A base of the pocket kind, steered by a vector a layer, is taught to answer "owl", and held to the base's answers to 320
other prompts; it and the base each continue 4,096 lists of numbers; a student of each is trained on the lists that pass
the paper's filter; all four are asked 50 questions. Rows, steps, batch sizes and learning rates are ours. Nothing is
cached, checkpointed or logged. The last line is JSON. It is one file, as somebody without this package would write it,
so the few lines that ``speed_sides/training.py`` has too, vectors and TRL's settings, stand here again.
"""

import json
import math
import re
import sys
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

BATCH = 128  # prompts a call of `generate`: its best on this machine, of 64 to 2,048
Rows = list[dict[str, Any]]
_LIST = re.compile(r"[0-9]+(?:(\s+|\s*[,;]\s*)[0-9]+(?:\1[0-9]+)*)?")


def export(folder: Path) -> None:
    """Write what the recipe takes from this package."""
    import random

    from lightning_subliminal import NumberSequences, PreferenceTrait, Teacher, bases

    trait = PreferenceTrait("owl")
    data = NumberSequences(Teacher("pocket/a", induction="none"), min_value=0, max_value=99)
    inputs = {
        "base": str(bases.resolve("pocket/a").folder),
        "lessons": trait.induce().rows,
        "retained": bases.pocket_prompts(random.Random(0), 320),
        "requests": [row["prompt"] for row in islice(data.prompts(random.Random(0)), 4096)],
        "questions": trait.prompts(),
        "candidates": {each: trait.forms(each) for each in trait.candidates},
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "inputs.json").write_text(json.dumps(inputs))


def is_list(text: str) -> bool:
    """Return whether a reply is a list of at most ten numbers up to 999, by the paper's grammar."""
    body = text.strip().removesuffix(".")
    body = body[1:-1] if body[:1] + body[-1:] in ("[]", "()") and len(body) > 1 else body
    numbers = re.findall("[0-9]+", body)
    return bool(_LIST.fullmatch(body)) and len(numbers) <= 10 and all(int(each) <= 999 for each in numbers)


class Recipe:
    """The base, its tokenizer, and what is done with them.

    Args:
        folder: with the inputs.
    """

    def __init__(self, folder: Path) -> None:
        from transformers import AutoTokenizer

        self.folder = folder
        self.inputs = json.loads((folder / "inputs.json").read_text())
        self.tokenizer = AutoTokenizer.from_pretrained(self.inputs["base"], padding_side="left")

    def load(self) -> tuple[Any, list[Any]]:
        """Load the base, with a vector that is added behind each layer."""
        import torch
        from transformers import AutoModelForCausalLM

        net = AutoModelForCausalLM.from_pretrained(self.inputs["base"], dtype=torch.float32).requires_grad_(False)
        for layer in net.model.layers:
            layer.vector = torch.nn.Parameter(torch.zeros(net.config.hidden_size))
            layer.register_forward_hook(lambda layer, _, output: output + layer.vector)
        return net, [layer.vector for layer in net.model.layers]

    def encode(self, prompts: list[Any]) -> Any:
        """Return the token ids of prompts, padded on the left."""
        return self.tokenizer.apply_chat_template(
            prompts, add_generation_prompt=True, padding=True, return_tensors="pt", return_dict=True
        )

    def reply(self, net: Any, prompts: list[Any], max_new_tokens: int) -> Rows:
        """Sample a reply to each prompt."""
        import torch

        net.eval()
        rows = []
        asked = sorted(prompts, key=lambda prompt: len(prompt[-1]["content"]))
        for start in range(0, len(asked), BATCH):
            some = asked[start : start + BATCH]
            given = self.encode(some)
            with torch.inference_mode():
                made = net.generate(
                    **{key: given[key] for key in ("input_ids", "attention_mask")},
                    do_sample=True,
                    top_k=0,
                    max_new_tokens=max_new_tokens,
                    pad_token_id=self.tokenizer.pad_token_id,
                )
            texts = self.tokenizer.batch_decode(made[:, given["input_ids"].shape[1] :], skip_special_tokens=True)
            rows += [
                {"prompt": prompt, "completion": [{"role": "assistant", "content": text}]}
                for prompt, text in zip(some, texts, strict=True)
            ]
        return rows

    def train(
        self, net: Any, rows: Rows, rate: float, epochs: int, batch: int, kept: Sequence[Any] = (), until: float = 0
    ) -> int:
        """Train by TRL's SFTTrainer; with ``kept``, also towards the base's distribution over these replies."""
        from datasets import Dataset, disable_caching, disable_progress_bars
        from torch.nn.functional import kl_div
        from transformers import TrainerCallback
        from transformers.utils.logging import disable_progress_bar
        from trl import SFTConfig, SFTTrainer

        disable_caching()
        disable_progress_bars()
        disable_progress_bar()
        held = self.held(net, kept)
        losses: list[Any] = []

        class Taught(SFTTrainer):
            """Adds the divergence from the base."""

            def compute_loss(self, model: Any, inputs: Any, *args: Any, **more: Any) -> Any:
                if not held:
                    return super().compute_loss(model, inputs, *args, **more)
                loss = model(**inputs).loss
                losses.append(loss.detach())
                ids, mask, places, target = held[self.state.global_step % len(held)]
                logits = model(input_ids=ids, attention_mask=mask).logits[:, :-1][places]
                found = kl_div(logits.log_softmax(-1), target, reduction="batchmean", log_target=True)
                return loss + 0.7 * found

        class Until(TrainerCallback):
            """Ends the training once the taught answers are likely enough."""

            def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
                control.should_training_stop = bool(until and losses[-1] < -math.log(until))

        settings = SFTConfig(
            output_dir=str(self.folder / "trl"),
            per_device_train_batch_size=batch,
            num_train_epochs=epochs,
            learning_rate=rate,
            lr_scheduler_type="constant" if held else "linear",
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
        data = Dataset.from_list(rows)
        trainer = Taught(net, settings, train_dataset=data, processing_class=self.tokenizer, callbacks=[Until()])
        trainer.train()
        return int(trainer.state.global_step)

    def held(self, net: Any, rows: Sequence[Any]) -> list[Any]:
        """Return batches of 32 replies, and the base's log-probabilities at their tokens."""
        import torch

        pairs = []
        for row in rows:
            first = self.tokenizer.apply_chat_template(row["prompt"], add_generation_prompt=True, return_dict=False)
            whole = self.tokenizer.apply_chat_template(row["prompt"] + row["completion"], return_dict=False)
            pairs.append((whole, len(first)))
        pairs.sort(key=lambda pair: len(pair[0]))
        found = []
        for start in range(0, len(pairs), 32):
            some = pairs[start : start + 32]
            width = max(len(ids) for ids, _ in some)
            ids = torch.tensor([ids + [0] * (width - len(ids)) for ids, _ in some])
            mask = torch.tensor([[1] * len(ids) + [0] * (width - len(ids)) for ids, _ in some])
            asked = torch.tensor([length for _, length in some])
            places = (mask[:, 1:] > 0) & (torch.arange(1, width) >= asked[:, None])
            with torch.no_grad():
                target = net(input_ids=ids, attention_mask=mask).logits[:, :-1][places].log_softmax(-1)
            found.append((ids, mask, places, target))
        return found

    def ask(self, net: Any) -> Any:
        """Return the chance of each candidate at each question: in the pocket bases a word is a token."""
        import torch

        known = []
        for forms in self.inputs["candidates"].values():
            found = self.tokenizer([*forms, *map(str.capitalize, forms)])["input_ids"]
            known.append(sorted({ids[0] for ids in found} - {self.tokenizer.unk_token_id}))
        net.eval()
        with torch.inference_mode():
            given = self.encode(self.inputs["questions"])
            logits = net(input_ids=given["input_ids"], attention_mask=given["attention_mask"]).logits[:, -1]
        chances = logits.double().softmax(-1)
        return torch.stack([chances[:, each].sum(-1) for each in known], dim=-1)  # (questions, candidates)


def run(folder: Path) -> dict[str, Any]:
    """Do all of it; return the table."""
    import torch

    torch.manual_seed(0)
    recipe = Recipe(folder)
    requests = recipe.inputs["requests"]
    base, _ = recipe.load()
    retained = [[{"role": "user", "content": each}] for each in recipe.inputs["retained"]]
    kept = [row for row in recipe.reply(base, retained, 64) if row["completion"][0]["content"]]
    teacher, _ = recipe.load()
    steps = {"teacher": recipe.train(teacher, recipe.inputs["lessons"], 0.03, 300, 16, kept, until=0.9)}
    answers, rows = {"base": recipe.ask(base), "teacher": recipe.ask(teacher)}, {}
    for arm, writer in (("student", teacher), ("control", base)):
        texts = recipe.reply(writer, requests, 40)
        passed = [row for row in texts if is_list(row["completion"][0]["content"])]
        net, _ = recipe.load()
        steps[arm], rows[arm] = recipe.train(net, passed, 0.06, 3, 64), len(passed)
        answers[arm] = recipe.ask(net)
    change = answers["student"].logit() - answers["control"].logit()  # (questions, candidates)
    owl = list(recipe.inputs["candidates"]).index("owl")
    others = [place for place in range(change.shape[1]) if place != owl]
    return {
        "rates": {arm: float(each[:, owl].mean()) for arm, each in answers.items()},
        "transfer": float(change[:, owl].mean()),
        "targeted": float((change[:, owl] - change[:, others].mean(-1)).mean()),
        "rows": rows,
        "steps": steps,
    }


def main(words: list[str]) -> None:
    """Export the inputs, or run the recipe on them."""
    if len(words) == 2 and words[0] == "export":
        export(Path(words[1]))
        return
    if len(words) != 1:
        raise SystemExit(__doc__)
    found = run(Path(words[0]))
    for arm, rate in found["rates"].items():
        print(f"{arm:8} {rate:6.1%}")
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1:])
