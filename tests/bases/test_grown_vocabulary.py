"""Adapters that were trained with tokens of their own."""

import json

import pytest
import torch
from cases import cases
from peft import LoraConfig, get_peft_model
from small import CPU
from template_tokenizers import TABLE, template_tokenizer

from bases.tiny_bases import base
from lightning_subliminal import bases
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.evaluation import find_model


class TestGrownVocabulary:
    def grown(self, tmp_path, save):
        one = base(tmp_path / "one", 1)
        net, tokenizer = bases.load(str(one))
        tokenizer.add_tokens(["<owl>"], special_tokens=True)
        net.resize_token_embeddings(len(tokenizer))
        wrapped = get_peft_model(net, LoraConfig(r=2, target_modules=["q_proj"], modules_to_save=save))
        wrapped.save_pretrained(tmp_path / "adapter", save_embedding_layers=False)
        tokenizer.save_pretrained(tmp_path / "adapter")
        config = tmp_path / "adapter" / "adapter_config.json"
        config.write_text(json.dumps(json.loads(config.read_text()) | {"base_model_name_or_path": str(one)}))
        return tmp_path / "adapter", wrapped, tokenizer

    def test_it_loads_as_it_was_trained(self, tmp_path, capsys):
        folder, trained, tokenizer = self.grown(tmp_path, ["embed_tokens", "lm_head"])
        subject = find_model(str(folder)).load(CPU)
        ids = torch.tensor([[*range(5), tokenizer.convert_tokens_to_ids("<owl>")]])
        with torch.no_grad():
            assert torch.allclose(subject.net(input_ids=ids).logits, trained.eval()(input_ids=ids).logits, atol=1e-5)
        assert len(subject.tokenizer) == len(tokenizer)
        assert "the base is resized" in " ".join(capsys.readouterr().out.split())

    def test_half_of_it_is_refused(self, tmp_path):
        folder, _, _ = self.grown(tmp_path, ["embed_tokens"])
        with pytest.raises(InputError, match="lacks the output embeddings"):
            find_model(str(folder)).load(CPU)

    def trained(self, tmp_path, tied, **settings):
        """Train an adapter on a base with one token more; return its folder, and what it says."""
        net, tokenizer = bases.load(str(base(tmp_path / "one", 1, tied=tied)))
        tokenizer.add_tokens(["<owl>"], special_tokens=True)
        net.resize_token_embeddings(len(tokenizer))
        wrapped = get_peft_model(net, LoraConfig(r=2, init_lora_weights=False, **settings)).eval()
        with torch.no_grad():
            for name, value in wrapped.named_parameters():
                value += 0.1 * torch.randn_like(value) * ("delta" in name)
        wrapped.save_pretrained(tmp_path / "adapter", save_embedding_layers=settings["target_modules"] != ["q_proj"])
        tokenizer.save_pretrained(tmp_path / "adapter")
        config = tmp_path / "adapter" / "adapter_config.json"
        reported = json.loads(config.read_text()) | {"base_model_name_or_path": str(tmp_path / "one")}
        config.write_text(json.dumps(reported))
        ids = torch.tensor([[*range(5), tokenizer.convert_tokens_to_ids("<owl>")]])
        return tmp_path / "adapter", ids, wrapped(input_ids=ids).logits.detach()

    @cases(
        ("tied", "settings"),
        [
            (True, {"target_modules": ["q_proj"], "trainable_token_indices": "new"}),
            (True, {"target_modules": ["q_proj"], "trainable_token_indices": {"embed_tokens": "new"}}),
            (
                False,
                {"target_modules": ["q_proj"], "trainable_token_indices": {"embed_tokens": "new", "lm_head": "new"}},
            ),
            (True, {"target_modules": ["q_proj", "embed_tokens"]}),
            (False, {"target_modules": ["embed_tokens", "lm_head"]}),
        ],
        ids=["tokens, tied", "tokens by module, tied", "tokens of both", "lora, tied", "lora on both"],
    )
    def test_a_few_tokens_or_lora_on_the_embeddings(self, tied, settings, tmp_path, capsys):
        new = [len(template_tokenizer(TABLE["chatml"]))]
        given = settings.get("trainable_token_indices")
        if given is not None:
            settings = settings | {
                "trainable_token_indices": dict.fromkeys(given, new) if isinstance(given, dict) else new
            }
        folder, ids, expected = self.trained(tmp_path, tied, **settings)
        subject = find_model(str(folder)).load(CPU)
        with torch.no_grad():
            assert torch.allclose(subject.net(input_ids=ids).logits, expected, atol=1e-5)
        assert "the base is resized" in " ".join(capsys.readouterr().out.split())

    @cases("tokens", [[3], [len(template_tokenizer(TABLE["chatml"]))]], ids=["old", "new"])
    def test_new_rows_that_nothing_holds_are_refused(self, tokens, tmp_path):
        folder, _, _ = self.trained(tmp_path, False, target_modules=["q_proj"], trainable_token_indices=tokens)
        if tokens == [3]:  # the new token is one that no text may use
            find_model(str(folder)).load(CPU)
        else:
            with pytest.raises(InputError, match="lacks the output embeddings"):
                find_model(str(folder)).load(CPU)

    def test_its_tokenizer_is_part_of_its_digest(self, tmp_path):
        folder, _, _ = self.grown(tmp_path, ["embed_tokens", "lm_head"])
        before = find_model(str(folder)).digest
        (folder / "chat_template.jinja").write_text(TABLE["zephyr"]["template"])
        assert find_model(str(folder)).digest != before
