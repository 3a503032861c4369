import pytest
import torch
from cases import cases
from transformers import AutoModelForCausalLM

from lightning_subliminal.bases.layers import decoder_layers, inner_model
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.models.adapters.peft import IA3, LoRA, Peft, merge_peft
from lightning_subliminal.models.adapters.steering import Steering
from lightning_subliminal.theory.alignment import alignment
from models.adapter_contract import LAYERS, AdapterContract, disturb, logits, make


class TestLoRA(AdapterContract):
    # r x (in + out): q 16+16, k and v 16+8, o 16+16, gate and up 16+24, down 24+16
    trained = LAYERS * 2 * (32 + 24 + 24 + 32 + 40 + 40 + 40)

    def make(self):
        return LoRA(r=2, alpha=4)


class TestLoRAOnQwen2(TestLoRA):
    family = "qwen2"


class TestIA3(AdapterContract):
    trained = LAYERS * (8 + 8 + 24)
    random_start = False

    def make(self):
        return IA3()


class TestPeftVera(AdapterContract):
    trained = LAYERS * ((16 + 2) + (16 + 2))
    random_start = False  # its projections are drawn by a key of their own

    def make(self):
        return Peft("peft.VeraConfig", {"r": 2, "target_modules": ["q_proj", "o_proj"], "projection_prng_key": 3})


class TestPeftFromLayerOneUp(AdapterContract):
    trained = 2 * 4 * 32
    first = 1

    def make(self):
        return Peft("peft.LoraConfig", {"r": 4, "target_modules": ["q_proj"], "layers_to_transform": [1, 2]})


def test_peft_reads_what_we_save(tmp_path):
    from peft import PeftModel

    net = LoRA(r=2).attach(make(), 0)
    disturb(net)
    LoRA(r=2).save(net, tmp_path, "some/base")
    torch.testing.assert_close(logits(PeftModel.from_pretrained(make(), tmp_path).eval()), logits(net.eval()))


def test_soft_prompts_depend_on_no_layer_and_cannot_be_merged():
    adapter = Peft("peft.PromptTuningConfig", {"num_virtual_tokens": 2})
    net = adapter.attach(make(), 0)
    assert adapter.first_trained_layer(net) is None
    with pytest.raises(InputError, match="keep base and adapter apart"):
        adapter.merge(net)


@cases("family", ["llama", "gpt2"])
@cases("target", ["input", "output", "both", "both, tied"])
def test_lora_on_one_of_two_embeddings_that_share_a_weight_is_merged_into_it_alone(family, target, tmp_path):
    names = ["wte", "lm_head"] if family == "gpt2" else ["embed_tokens", "lm_head"]
    chosen = {"input": names[:1], "output": names[1:], "both": names, "both, tied": names[:1]}[target]
    adapter = Peft("peft.LoraConfig", {"r": 2, "target_modules": chosen, "ensure_weight_tying": target == "both, tied"})
    net = adapter.attach(make(family), 0)
    disturb(net)
    expected = logits(net.eval())
    merge_peft(net).save_pretrained(tmp_path)
    torch.testing.assert_close(logits(AutoModelForCausalLM.from_pretrained(tmp_path).eval()), expected)


def test_lora_is_on_all_linear_layers_where_names_are_not_llamas(capsys):
    net = LoRA(r=2).attach(make("gpt2"), 0)
    names = (name for name, each in net.named_parameters() if each.requires_grad)
    trained = {name.split(".lora_")[0].rpartition(".")[2] for name in names}
    assert trained == {"c_attn", "c_proj", "c_fc"}
    assert "LoRA on all linear layers of GPT2LMHeadModel: c_attn, c_proj, c_fc" in capsys.readouterr().out
    disturb(net)
    expected = logits(net.eval())
    torch.testing.assert_close(logits(merge_peft(net)), expected)
    LoRA(r=2).attach(make(), 0)
    assert not capsys.readouterr().out  # Llama's seven


def test_what_pefts_merge_changes_or_refuses_is_refused_in_a_line(monkeypatch):
    replicated = Peft("peft.LoraConfig", {"target_modules": ["q_proj"], "layer_replication": [[0, 2], [1, 3]]})
    biased = Peft("peft.LoraConfig", {"target_modules": ["q_proj"], "lora_bias": True})
    for adapter, reason in ((replicated, "its layers share weights"), (biased, "the base layer has no bias")):
        with pytest.raises(InputError, match=f"{reason}.*keep base and adapter apart"):
            adapter.merge(adapter.attach(make(), 0))
    net = LoRA(r=2).attach(make(), 0)
    disturb(net)
    monkeypatch.setattr(type(net.base_model), "merge_and_unload", lambda self, **_: self.unload())
    with pytest.raises(InputError, match="can't be merged into LlamaForCausalLM exactly"):
        LoRA(r=2).merge(net)


@cases(
    ("attach", "message"),
    [
        (lambda: LoRA(target_modules=["q_proj", "v_prj"]).attach(make(), 0), r"no v_prj; its layers have .*v_proj"),
        (lambda: IA3().attach(make("gpt2"), 0), r"no down_proj.*its layers have c_attn, c_fc, c_proj"),
        (lambda: LoRA(r=0).attach(make(), 0), "rank of at least 1"),
        (lambda: IA3(["q_proj"], ["down_proj"]).attach(make(), 0), "expected names from `target_modules`"),
        (lambda: Peft("peft.NoConfig").attach(make(), 0), "There is no class 'peft.NoConfig'"),
        (lambda: Peft("nonsense").attach(make(), 0), "There is no class 'nonsense'"),
        (lambda: Peft("peft.PeftModel").attach(make(), 0), "is not a PEFT config"),
        (lambda: Peft("peft.LoraConfig", {"rank": 3}).attach(make(), 0), "refuses the options"),
        (
            lambda: Peft("peft.LoraConfig", {"target_modules": "nothing"}).attach(make(), 0),
            "PEFT can't apply LoraConfig to LlamaForCausalLM",
        ),
        (lambda: Steering([3]).attach(make(), 0), r"the model's 3 layers are 0 to 2"),
        (lambda: Steering([-1]).attach(make(), 0), r"the model's 3 layers are 0 to 2"),
        (lambda: Steering([]), "at least one"),
        (lambda: Steering([1, 1]), "distinct indices"),
        (lambda: Steering(init_std=-1.0), "expected 0 or more"),
    ],
)
def test_mistakes_are_reported_in_one_line(attach, message):
    with pytest.raises(InputError, match=message) as caught:
        attach()
    assert "\n" not in str(caught.value)


def test_decoder_layers_are_found_inside_a_wrapper():
    net = make()
    wrapped = LoRA(r=1).attach(net, 0)
    assert inner_model(wrapped) is net
    assert decoder_layers(wrapped) is net.model.layers


@cases(
    "adapter", [LoRA(r=2, target_modules=["q_proj"]), Peft("peft.LoraConfig", {"r": 2, "target_modules": ["q_proj"]})]
)
def test_a_displacement_of_lora_is_that_of_the_weights_whatever_the_factors(adapter):
    one, other = make(), make()
    one, other = adapter.attach(one, 0), adapter.attach(other, 0)
    disturb(one)
    turn = torch.tensor([[2.0, 1.0], [0.5, 3.0]])
    with torch.no_grad():  # B A is (B T^-1) (T A)
        for mine, theirs in zip(one.modules(), other.modules(), strict=True):
            if hasattr(mine, "lora_A") and "default" in mine.lora_A:
                theirs.lora_A["default"].weight.copy_(turn @ mine.lora_A["default"].weight)
                theirs.lora_B["default"].weight.copy_(mine.lora_B["default"].weight @ turn.inverse())
    ways = [adapter.displacement(net, adapter.start(net)) for net in (one, other)]
    assert alignment(*ways).cosine.item() == pytest.approx(1.0, abs=1e-5)
    merged, base = adapter.merge(one).state_dict(), make().state_dict()
    for name, way in ways[0].items():
        assert torch.allclose(way.left @ way.right, merged[name] - base[name], atol=1e-6)
