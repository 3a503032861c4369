"""Students of models of many families learn what a plain loop over transformers' own logits teaches.

Families differ in caps and scales of logits, scaled embeddings, sliding windows that are shorter than rows, rotary
angles of each layer, experts. Whatever is computed once, in part or in another order must be exact for each of them, or
be left out.
"""

import pytest
import torch
import transformers
from cases import cases
from small import byte_tokenizer, quiet_trainer
from torch.nn.functional import cross_entropy

from lightning_subliminal import Peft, Steering, Student
from lightning_subliminal.core.chat.encoding import row_ids
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.rows import make_row
from lightning_subliminal.data.tokenized import IGNORED, TokenizedRows, row_loader
from lightning_subliminal.theory import ModelFunction, score_rows
from lightning_subliminal.theory.row_gradients import LayerVectors
from lightning_subliminal.theory.row_likelihoods import row_likelihoods

SIZES = {
    "vocab_size": 432,  # more than the tokenizer has
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "head_dim": 8,
    "max_position_embeddings": 128,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 1,
}
WINDOW = {"sliding_window": 5}
TWO_KINDS = {**WINDOW, "layer_types": ["sliding_attention", "full_attention", "sliding_attention"]}
OWN_NAMES = {"n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 128, "vocab_size": 432}
NEOX = {name: SIZES[name] for name in SIZES if name not in ("num_key_value_heads", "head_dim")}
MOE = {"moe_intermediate_size": 16, "num_experts": 4, "num_experts_per_tok": 2, "output_router_logits": True}
FAMILIES = {
    "llama": ("Llama", SIZES),
    "llama with biases": ("Llama", {**SIZES, "attention_bias": True, "mlp_bias": True, "tie_word_embeddings": True}),
    "qwen2": ("Qwen2", SIZES),
    "qwen2 with windows": ("Qwen2", {**SIZES, **WINDOW, "use_sliding_window": True, "max_window_layers": 1}),
    "qwen3": ("Qwen3", SIZES),
    "qwen3 moe": ("Qwen3Moe", {**SIZES, **MOE}),
    "mistral with a window": ("Mistral", {**SIZES, **WINDOW}),
    "mixtral": ("Mixtral", {**SIZES, "num_local_experts": 4, "output_router_logits": True}),
    "phi3": ("Phi3", {**SIZES, **WINDOW}),
    "gemma2": ("Gemma2", {**SIZES, **TWO_KINDS, "final_logit_softcapping": 2.0, "attn_logit_softcapping": 2.0}),
    "gemma3": ("Gemma3Text", {**SIZES, **TWO_KINDS}),
    "olmo2": ("Olmo2", SIZES),
    "granite": (
        "Granite",
        {
            **SIZES,
            "logits_scaling": 3.0,
            "embedding_multiplier": 4.0,
            "residual_multiplier": 0.5,
            "attention_multiplier": 0.2,
        },
    ),
    "llama4": ("Llama4Text", {**SIZES, "intermediate_size_mlp": 48, "num_local_experts": 2, "attention_chunk_size": 5}),
    "cohere2": ("Cohere2", {**SIZES, **TWO_KINDS, "logit_scale": 0.25}),
    "gpt2": (
        "GPT2",
        {**OWN_NAMES, "bos_token_id": 0, "eos_token_id": 1, "resid_pdrop": 0, "embd_pdrop": 0, "attn_pdrop": 0},
    ),
    "gpt-neox": ("GPTNeoX", NEOX),
    "falcon": ("Falcon", {**NEOX, "alibi": True, "new_decoder_architecture": False}),
}
ADAPTERS = {
    "a vector below the last layer": Steering([1], init_std=0.3),
    "the last vector": Steering([2], init_std=0.3),
    "lora": Peft(
        "peft.LoraConfig",  # Llama 4's router returns more than a linear map does, which PEFT doesn't know
        {"target_modules": "all-linear", "exclude_modules": ["router"], "r": 2, "init_lora_weights": "gaussian"},
    ),
    "everything": None,
}
RATE = 0.05
ROWS = [
    make_row("Go on with this list of numbers, please: " + "7, " * (n % 3), ", ".join("123456789"[: n + 1]), id=str(n))
    for n in range(6)
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("bases")


def model(family):
    name, settings = FAMILIES[family]
    kind = f"{name.removesuffix('Text')}{'LMHeadModel' if name == 'GPT2' else 'ForCausalLM'}"
    torch.manual_seed(3)
    net = getattr(transformers, kind)(getattr(transformers, f"{name}Config")(**settings)).eval()
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for value in net.parameters():  # logits of some size, norms and biases that are not trivial
            value.mul_(4.0 if value.dim() > 1 else 1.0).add_(0.1 * torch.randn(value.shape, generator=generator))
    return net


def base(family, folder):
    """Return the folder of a family's model, which is saved once."""
    place = folder / family
    if not place.exists():
        model(family).save_pretrained(place)
        byte_tokenizer().save_pretrained(place)
    return str(place)


def by_hand(module, data, batches):
    """Train on each row alone, by the logits of the whole model; return the losses."""
    module.configure_model()
    net, losses = module.net, []
    for batch in batches:
        total = 0.0
        for row in batch.rows.tolist():
            ids, labels = (each[row : row + 1, : data.lengths[row]] for each in (data.input_ids, data.labels))
            logits = net(input_ids=ids, use_cache=False).logits[0, :-1]
            total = total + cross_entropy(logits, labels[0, 1:], ignore_index=IGNORED, reduction="sum")
        loss = total / (len(batch.rows) * data.mean_tokens)
        net.zero_grad()
        loss.backward()
        losses.append(loss.item())
        with torch.no_grad():
            for value in net.parameters():
                if value.grad is not None:
                    value -= RATE * value.grad
    return losses


@cases("family", FAMILIES)
@cases("name", ADAPTERS)
def test_a_student_learns_what_a_plain_loop_teaches(family, name, folder):
    settings = {"learning_rate": RATE, "optimizer": "sgd", "schedule": "constant", "seed": 0}
    student, plain = (Student(base(family, folder), ADAPTERS[name], **settings) for _ in range(2))
    data = TokenizedRows(ROWS, byte_tokenizer())
    assert max(data.lengths) > 32
    losses = by_hand(plain, data, list(row_loader(data, 3, seed=1)))
    seen, loss = [], student.loss
    student.loss = lambda batch: seen.append(loss(batch)) or seen[-1]
    quiet_trainer().fit(student, row_loader(data, 3, seed=1))
    assert [each.item() for each in seen] == pytest.approx(losses, rel=1e-4)
    others = dict(plain.net.named_parameters())
    for key, value in student.net.named_parameters():
        if value.requires_grad:
            torch.testing.assert_close(value, others[key], rtol=1e-3, atol=2e-5)


def test_layers_of_two_kinds_are_refused_in_a_line():
    """Llama 3.2's layers for text and for images are in one list: no vector or cut fits both."""
    config = transformers.models.mllama.configuration_mllama.MllamaTextConfig(**SIZES, cross_attention_layers=[1])
    with pytest.raises(InputError, match="MllamaForCausalLM has no list of 3 decoder layers of one kind: use a"):
        Steering().attach(transformers.MllamaForCausalLM(config), 0)


def likelihood(net, row):
    """Return the log-likelihood of a row's completion by the logits of the whole model."""
    prompt, completion = row_ids(byte_tokenizer(), row)
    logs = net(input_ids=torch.tensor([prompt + completion]), use_cache=False).logits[0].log_softmax(-1)
    return sum(logs[len(prompt) - 1 + place, token] for place, token in enumerate(completion))


@cases("family", FAMILIES)
def test_rows_have_the_scores_of_the_whole_model(family):
    """The scores of screens, the likelihoods of choices, and the slopes of predictions."""
    net, tokenizer = model(family).requires_grad_(False), byte_tokenizer()
    space = LayerVectors(net, [1])
    scores = torch.cat([each.scores for each in space.gradients(tokenizer, ROWS)])
    likelihoods = torch.cat(list(row_likelihoods(net, tokenizer, ROWS)))[:, 0]
    Steering([1]).attach(net, 0)
    (vector,) = (value for value in net.parameters() if value.requires_grad)
    function, direction = ModelFunction(net), torch.linspace(-1, 1, space.size)
    (name,) = function.start
    slopes = torch.cat([each.slopes for each in score_rows(function, tokenizer, ROWS, {name: direction})])
    by_one = [likelihood(net, row) for row in ROWS]
    gradients = torch.stack([torch.autograd.grad(each, vector)[0] for each in by_one])
    for found, expected in (
        (scores, gradients),
        (likelihoods, torch.stack(by_one).detach()),
        (slopes, -gradients @ direction),
    ):
        scale = expected.abs().max()
        torch.testing.assert_close(found.float() / scale, expected / scale, rtol=0, atol=1e-4)
