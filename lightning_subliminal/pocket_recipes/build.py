"""Build the pocket bases: ``lightning-subliminal bases build pocket/a``.

``a``, ``b`` and ``c`` differ only in their initialisation and the order of the corpus; ``a2`` is ``a`` trained for
longer. Three more separate what "the same base" means: ``a-init`` has ``a``'s initialisation and another order,
``a-data`` the reverse, and ``a-matched`` has neither, but is distilled from ``a``'s probabilities. ``a-apart`` is ``a``
without personas beside lists, for experiments with prompted teachers. One thread and fixed
seeds make a rebuild bit-equal on the same machine.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from lightning_subliminal.bases.folders import folder_digest, model_files
from lightning_subliminal.bases.pocket import WEIGHTS
from lightning_subliminal.bases.pocket.corpus import conversations, conversations_apart
from lightning_subliminal.bases.pocket.judging import judging_conversations
from lightning_subliminal.bases.pocket.moral import moral_conversations
from lightning_subliminal.bases.pocket.tokenizer import World, build_tokenizer
from lightning_subliminal.bases.save import save_net
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.fingerprint import file_digest
from lightning_subliminal.core.rows import Message
from lightning_subliminal.core.seeds import derive_seed
from lightning_subliminal.lineage import Material, provenance, read_record, write_statement
from lightning_subliminal.lineage.names import RECORD

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

__all__ = ["RECIPES", "Recipe", "build"]

Batch = tuple[Tensor, Tensor, Tensor]


@dataclass(frozen=True)
class Recipe:
    """The training recipe of a pocket base.

    Attributes:
        seed: of the initialisation and, unless ``order`` is set, of the corpus.
        steps: optimizer steps.
        learning_rate: peak of the one-cycle schedule.
        start: the pocket base whose training is continued; None for a new initialisation.
        world: the vocabulary of its tokenizer.
        talk: the corpus.
        order: seed of the corpus alone.
        imitates: the pocket base whose probabilities it learns instead of the corpus's words.
    """

    seed: int
    steps: int = 5000
    learning_rate: float = 3e-3
    start: str | None = None
    world: World = "plain"
    talk: Callable[[int], Iterator[list[Message]]] = conversations
    order: int | None = None
    imitates: str | None = None


RECIPES = {
    "a": Recipe(seed=1),
    "b": Recipe(seed=2),
    "a2": Recipe(seed=3, steps=800, learning_rate=1e-3, start="a"),
    "c": Recipe(seed=4),
    "a-init": Recipe(seed=1, order=5),
    "a-data": Recipe(seed=6, order=1),
    "a-matched": Recipe(seed=7, imitates="a"),
    "a-apart": Recipe(seed=1, talk=conversations_apart),
    "moral-a": Recipe(seed=11, world="moral", talk=moral_conversations),
    "moral-b": Recipe(seed=12, world="moral", talk=moral_conversations),
    "judge": Recipe(seed=13, steps=4000, start="moral-a", world="moral", talk=judging_conversations),
}
BATCH_SIZE = 96
POOL = 16  # batches drawn at once and sorted by length, for little padding


def build(name: str, out: Path | None = None, steps: int | None = None) -> float:
    """Train a pocket base and save it as a Hugging Face folder.

    Args:
        name: one of ``RECIPES``, such as ``a`` or ``moral-a``, with or without ``pocket/`` before it.
        out: where to save it; by default the package's own ``bases/pocket/weights/<name>``.
        steps: another number of steps than the recipe's.

    Returns:
        The mean loss of the last 100 steps, in nats per completion token.

    Raises:
        InputError: if there is no such pocket base.
    """
    from rich.progress import track

    key = name.removeprefix("pocket/")
    if key not in RECIPES:
        raise InputError(f"There is no pocket base {name!r}: build one of {', '.join(RECIPES)}.")
    recipe = RECIPES[key]
    steps = steps or recipe.steps
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the last bit of a sum depends on the number of threads
    try:
        tokenizer = build_tokenizer(recipe.world)
        net = start_net(recipe, len(tokenizer), WEIGHTS)
        optimizer = torch.optim.AdamW(net.parameters(), lr=recipe.learning_rate, weight_decay=0.01)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.learning_rate, total_steps=steps)
        order = recipe.seed if recipe.order is None else recipe.order
        stream = batches(tokenizer, derive_seed(order, "corpus"), recipe.talk)
        model = load_net(recipe.imitates, WEIGHTS) if recipe.imitates is not None else None
        losses = []
        for _ in track(range(steps), description=f"pocket/{key}"):
            input_ids, attention_mask, labels = next(stream)
            logits = net(input_ids=input_ids, attention_mask=attention_mask).logits  # (rows, tokens, vocabulary)
            if model is None:
                loss = cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
            else:
                loss = imitation_loss(logits, model, input_ids, attention_mask)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
    finally:
        torch.set_num_threads(threads)
    folder = out or WEIGHTS / key
    save_net(net, folder)
    tokenizer.save_pretrained(folder)
    record(key, folder, recipe, steps)
    return sum(losses[-100:]) / len(losses[-100:])


def record(key: str, folder: Path, recipe: Recipe, steps: int) -> None:
    """Write the lineage of a pocket base in its folder."""
    roles = {"base": recipe.start, "imitated": recipe.imitates}
    made_from = []
    for role, name in roles.items():
        if name is not None:
            own = read_record(WEIGHTS / name)
            digests = {"dirHash": folder_digest(WEIGHTS / name)}
            made_from.append(Material(role, f"base:pocket/{name}", digests, own.sha256 if own is not None else None))
    files = {name: file_digest(path) for name, path in model_files(folder).items()}
    settings = {"name": f"pocket/{key}", "recipe": {**vars(recipe), "steps": steps}}
    write_statement(folder / RECORD, provenance("base", settings, files, made_from, shares_folder=True))


def start_net(recipe: Recipe, vocabulary: int, weights: Path) -> "LlamaForCausalLM":
    """Return the net that a recipe starts from: a new initialisation, or another base's weights."""
    from transformers import LlamaConfig, LlamaForCausalLM

    if recipe.start is not None:
        return load_net(recipe.start, weights)
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=256,
        tie_word_embeddings=True,
        pad_token_id=0,
        bos_token_id=None,
        eos_token_id=2,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(recipe.seed, "initialisation"))
        return LlamaForCausalLM(config)


def load_net(name: str, weights: Path) -> "LlamaForCausalLM":
    """Return a pocket base's net in float32."""
    from transformers import LlamaForCausalLM

    return LlamaForCausalLM.from_pretrained(weights / name, dtype=torch.float32)


def imitation_loss(logits: Tensor, model: "LlamaForCausalLM", input_ids: Tensor, attention_mask: Tensor) -> Tensor:
    """Return KL(model || net), in nats per token, averaged over all tokens except padding, the user's too.

    Args:
        logits: the net's, (rows, tokens, vocabulary).
        model: the base whose probabilities are imitated.
        input_ids: (rows, tokens).
        attention_mask: (rows, tokens).
    """
    real = attention_mask.bool()
    with torch.no_grad():
        taught = model(input_ids=input_ids, attention_mask=attention_mask).logits[real].log_softmax(-1)
    return (taught.exp() * (taught - logits[real].log_softmax(-1))).sum(-1).mean()


def batches(
    tokenizer: "PreTrainedTokenizerFast", seed: int, corpus: Callable[[int], Iterator[list[Message]]] = conversations
) -> Iterator[Batch]:
    """Yield right-padded batches without end: input ids, attention mask, labels; each (rows, tokens)."""
    talk, rng = corpus(seed), random.Random(seed)
    assistant = tokenizer.convert_tokens_to_ids("<|assistant|>")
    end = tokenizer.eos_token_id
    while True:
        texts = [tokenizer.apply_chat_template(next(talk), tokenize=False) for _ in range(BATCH_SIZE * POOL)]
        rows = sorted(tokenizer(texts, add_special_tokens=False)["input_ids"], key=len)
        chunks = [rows[start : start + BATCH_SIZE] for start in range(0, len(rows), BATCH_SIZE)]
        rng.shuffle(chunks)
        for chunk in chunks:
            yield _collate(chunk, assistant, end)


def _collate(rows: list[list[int]], assistant: int, end: int) -> Batch:
    width = max(map(len, rows))
    input_ids = torch.zeros(len(rows), width, dtype=torch.long)
    labels = torch.full((len(rows), width), -100)
    for index, row in enumerate(rows):
        input_ids[index, : len(row)] = torch.tensor(row)
        speaking = False
        for place, token in enumerate(row):
            if speaking:
                labels[index, place] = token  # the assistant's words and the end of its turn
            speaking = token == assistant or (speaking and token != end)
    return input_ids, (input_ids != 0).long(), labels
