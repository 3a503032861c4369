import pytest
import torch
from cases import cases
from lightning.pytorch import Callback
from small import quiet_trainer, tokenized
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM

from lightning_subliminal import LoRA, Peft, Steering, Student
from lightning_subliminal.data.tokenized import row_loader
from lightning_subliminal.models.last_layer import LastLayer

from .test_lower_part import FAMILIES, MASK, SIZES, TOKENS, make

EXACT = {
    "llama": FAMILIES["llama"],
    "qwen2": FAMILIES["qwen2"],
    "mistral": lambda: MistralForCausalLM(MistralConfig(**SIZES, sliding_window=None)),
}
PLACES = torch.tensor([[0, 0, 1, 1, 0, 1], [0, 1, 1, 0, 0, 0]]).bool()  # with a gap, and of different widths
ADAPTERS = {"steering": Steering(init_std=0.5), "lora": LoRA(r=2), "everything": None}


def built(family, adapter):
    torch.manual_seed(3)
    net = EXACT[family]().eval()
    return net if adapter is None else adapter.attach(net, 1)


@cases("family", EXACT)
@cases("name", ADAPTERS)
def test_states_and_gradients_are_those_of_the_whole(family, name):
    net = built(family, ADAPTERS[name])
    trained = [value for value in net.parameters() if value.requires_grad]
    head = net.get_output_embeddings()
    found = []
    for narrow in (True, False):
        if narrow:
            last = LastLayer.of(net, TOKENS)
            states = last.states(last.below(TOKENS), PLACES)
        else:
            inner = net.get_base_model() if name == "lora" else net
            states = inner.model(TOKENS, attention_mask=MASK).last_hidden_state[PLACES]
        net.zero_grad()
        (head(states) ** 2).sum().backward()
        found.append([states.detach(), *(value.grad.clone() for value in trained)])
    for ours, whole in zip(*found, strict=True):
        torch.testing.assert_close(ours, whole, rtol=1e-4, atol=1e-4)


def test_rows_and_places_may_be_missing():
    net = built("llama", None)
    last = LastLayer.of(net, TOKENS)
    hidden = last.below(TOKENS)
    nothing = torch.zeros_like(PLACES)
    assert last.states(hidden, nothing).shape == (0, SIZES["hidden_size"])
    one = nothing.clone()
    one[1, 3] = True
    torch.testing.assert_close(last.states(hidden, one), net.model(TOKENS, attention_mask=MASK).last_hidden_state[one])


def test_its_mlp_sees_only_the_places():
    net = built("llama", None)
    last, seen = LastLayer.of(net, TOKENS), []
    hidden = last.below(TOKENS)
    net.model.layers[-1].mlp.register_forward_pre_hook(lambda _, args: seen.append(args[0].shape[0]))
    last.states(hidden, PLACES)
    assert seen == [int(PLACES.sum())]


UNLIKE = {
    "a sliding window": lambda: make("qwen2-sliding"),
    "another family": lambda: make("gemma3"),
    "no decoder of this kind": lambda: GPT2LMHeadModel(GPT2Config(vocab_size=40, n_embd=16, n_layer=2, n_head=4)),
    "dropout in attention": lambda: LlamaForCausalLM(LlamaConfig(**SIZES, attention_dropout=0.1)),
    "dropout in the adapter": lambda: LoRA(r=2, dropout=0.5).attach(make("llama"), 0),
    "tokens before the text": lambda: Peft("peft.PromptTuningConfig", {"num_virtual_tokens": 2}).attach(
        make("llama"), 0
    ),
}


@cases("name", UNLIKE)
def test_what_it_can_not_compute_is_left_to_the_model(name):
    assert LastLayer.of(UNLIKE[name](), TOKENS) is None


@cases("part", ["layers.3", "layers.3.mlp", "norm"])
def test_a_hook_of_the_user_still_sees_the_whole_layer(part):
    net = make("llama")
    net.model.get_submodule(part).register_forward_hook(lambda *_: None)
    assert LastLayer.of(net, TOKENS) is None


def test_a_layer_that_computes_something_else_is_noticed():
    net = make("llama")
    mlp = net.model.layers[-1].mlp
    forward = mlp.forward
    net.model.layers[-1].post_attention_layernorm = nn.Identity()
    net.model.layers[-1].forward = lambda hidden, **_: forward(hidden)
    assert LastLayer.of(net, TOKENS) is None


@cases("adapter", [Steering(), Steering([1]), LoRA(r=2), None], ids=["steering", "last vector", "lora", "everything"])
@cases("reuse", [True, False])
def test_students_learn_the_same_without_it(adapter, reuse, monkeypatch):
    found, used = [], []
    states = LastLayer.states
    monkeypatch.setattr(LastLayer, "states", lambda self, *args: used.append(1) or states(self, *args))
    for narrow in (True, False):
        if not narrow:
            monkeypatch.setattr(LastLayer, "of", lambda *_: None)
        module = Student("pocket/a", adapter, learning_rate=1e-3, seed=0, reuse_lower_part=reuse, optimizer="sgd")
        quiet_trainer(max_epochs=2).fit(module, row_loader(tokenized(24), 8, seed=1))
        assert module._last_layer == [], "it is freed"
        found.append({name: value.detach() for name, value in module.named_parameters() if value.requires_grad})
    last_vector = adapter is not None and getattr(adapter, "layers", None) == [1]
    assert bool(used) == (not (last_vector and reuse)), "stored states may be those above the last layer"
    for name, value in found[0].items():
        torch.testing.assert_close(value, found[1][name], rtol=0, atol=1e-6)


def test_a_fit_after_a_failed_one_starts_anew():
    module = Student("pocket/a", Steering([1]), seed=0)
    data, fails = tokenized(16), [True]
    loss = module.token_loss
    module.token_loss = lambda batch: 1 / 0 if fails.pop() else loss(batch)
    with pytest.raises(ZeroDivisionError):
        quiet_trainer().fit(module, row_loader(data, 8, seed=1))
    fails += [False] * 9
    trainer = quiet_trainer()
    trainer.fit(module, row_loader(data, 8, seed=1))
    fresh = Student("pocket/a", Steering([1]), seed=0)
    alone = quiet_trainer()
    alone.fit(fresh, row_loader(data, 8, seed=1))
    assert float(trainer.callback_metrics["train/loss"]) == float(alone.callback_metrics["train/loss"])


class Reader(Callback):
    def on_train_batch_end(self, trainer, *_):
        self.last = trainer.callback_metrics["train/loss"]


@cases("callbacks", [[], [Reader()]], ids=["nobody", "a callback"])
def test_a_loss_is_logged_after_each_step_only_for_who_reads_it(callbacks, monkeypatch):
    logged = []
    log = Student.log
    monkeypatch.setattr(Student, "log", lambda self, *args, **how: logged.append(args) or log(self, *args, **how))
    trainer = quiet_trainer(*callbacks, max_epochs=2)
    trainer.fit(Student("pocket/a", Steering(), seed=0), row_loader(tokenized(24), 8, seed=1))
    assert len(logged) == (6 if callbacks else 2)
    assert float(trainer.callback_metrics["train/loss"]) == float(logged[-1][1])
