"""What a base's files and name say of its chat frame: ends, arguments, the identity that caches go by."""

import json

import pytest
import torch
from cases import cases
from template_tokenizers import ASKED, TABLE, template_tokenizer
from transformers import LlamaConfig, LlamaForCausalLM

from lightning_subliminal import NumberSequences, PreferenceTrait, Sampling, Student, Teacher, bases
from lightning_subliminal.core.chat.encoding import end_tokens, frame, prompt_ids
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.evaluation import ExactTrait, find_model
from lightning_subliminal.generation import TransformersEngine


def saved(folder, family):
    """Save a tiny model with a template of the table."""
    tokenizer = template_tokenizer(TABLE[family])
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    net = LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), **sizes))
    net.generation_config.eos_token_id = tokenizer.convert_tokens_to_ids(TABLE[family].get("ends", [])) or None
    net.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


@cases("file", ["generation_config.json", "config.json"])
def test_a_turn_ends_where_the_models_own_settings_say(tmp_path, file):
    name = saved(tmp_path, "zephyr")
    (tmp_path / "generation_config.json").unlink()
    reported = json.loads((tmp_path / "config.json").read_text()) | {"eos_token_id": [0, 7]}
    (tmp_path / file).write_text(json.dumps(reported))
    assert {0, 7} <= end_tokens(bases.load(name)[1])


@cases("ends", [[7, 0], 7])
def test_it_ends_so_too_where_the_settings_are_of_the_text_part_of_a_model(tmp_path, ends):
    saved(tmp_path, "zephyr")
    (tmp_path / "generation_config.json").unlink()
    reported = json.loads((tmp_path / "config.json").read_text())
    del reported["eos_token_id"]
    (tmp_path / "config.json").write_text(json.dumps(reported | {"text_config": {"eos_token_id": ends}}))
    assert bases.tokenizers._ends(tmp_path) == (ends if isinstance(ends, list) else [ends])


def test_a_default_template_among_additional_ones_shapes_the_model(tmp_path):
    name = saved(tmp_path, "zephyr")
    place = tmp_path / "additional_chat_templates" / "default.jinja"
    place.parent.mkdir()
    (tmp_path / "chat_template.jinja").rename(place)
    before = bases.resolve(name)
    assert before.has_chat_template
    assert "chat_template" not in json.loads((tmp_path / "tokenizer_config.json").read_text())
    place.write_text(place.read_text().replace("<|", "<!"))
    assert bases.resolve(name).digest != before.digest
    _, tokenizer = bases.load(name)
    assert tokenizer.decode(prompt_ids(tokenizer, ASKED)).startswith("<!user")


def test_sampling_ends_at_each_of_them(tmp_path):
    name = saved(tmp_path, "gemma2")
    net, tokenizer = bases.load(name)
    [end] = tokenizer.convert_tokens_to_ids(["<end_of_turn>"])
    word = tokenizer.convert_tokens_to_ids("w")

    def speak(_, args, kwargs, output):  # one letter, then the end
        said = end if kwargs["input_ids"][0, -1] == word else word
        output.logits = torch.nn.functional.one_hot(torch.full((1, 1), said), len(tokenizer)).float()

    net.register_forward_hook(speak, with_kwargs=True)
    [said] = TransformersEngine(net, tokenizer).generate([ASKED], Sampling(greedy=True, max_new_tokens=9), 0)
    assert (said.text, said.finished) == ("w", True)


def test_plain_templates_leave_the_identity_to_the_files(tmp_path):
    for name in ("pocket/a", saved(tmp_path, "chatml")):
        assert bases.resolve(name).identity == bases.resolve(name).digest


def test_arguments_of_the_template_stand_behind_the_name(tmp_path):
    name = saved(tmp_path, "llama3.2")
    same, other = bases.resolve(name), bases.resolve(f"{name}?date=2026-11-29")
    assert (same.folder, same.digest) == (other.folder, other.digest), "the files are the same"
    assert len({same.digest, same.identity, other.identity}) == 3, "what is read is not"
    _, tokenizer = bases.load(f"{name}?date=2026-11-29")
    assert "29 Nov 2026" in tokenizer.decode(prompt_ids(tokenizer, ASKED))
    assert Student(name).describe() != Student(f"{name}?date=2026-11-29").describe()
    assert find_model(name).digest != find_model(f"{name}?date=2026-11-29").digest


@cases(
    ("behind", "fault"),
    [
        ("?enable_thinkin=false", "does not use the argument 'enable_thinkin'"),
        ("?date=soon", "expected a day"),
        ("?date", "expected each once"),
        ("?date=2026-01-01&date=2026-01-02", "expected each once"),
    ],
)
def test_wrong_arguments_are_refused_in_a_line(tmp_path, behind, fault):
    name = saved(tmp_path, "llama3.2")
    with pytest.raises(InputError, match=fault) as caught:
        bases.load(name + behind)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_a_template_does_is_said_once(tmp_path, capsys):
    name = saved(tmp_path, "gemma2")
    for _ in range(2):
        bases.load(name)
    shown = " ".join(capsys.readouterr().out.split())
    assert shown.count("refuses a system message") == 1
    assert "'<end_of_turn>'" in shown


def test_a_persona_is_heard_where_the_template_has_no_system_role(tmp_path):
    name = saved(tmp_path, "gemma2")
    measure = ExactTrait(PreferenceTrait("owl"))
    plain, reported = (
        measure.measure(find_model(name, persona).load(torch.device("cpu")), 0).rate
        for persona in (None, "You love owls.")
    )
    assert plain != reported
    assert frame(bases.load(name)[1]).folds_system


@cases("induction", ["prompt", "none"])
def test_it_is_said_before_any_work_that_a_persona_has_no_place_of_its_own(tmp_path, capsys, monkeypatch, induction):
    monkeypatch.setenv("LIGHTNING_SUBLIMINAL_CACHE", str(tmp_path / "cache"))
    heard = []
    generate = TransformersEngine.generate

    def listens(self, *given):
        heard.append(" ".join(capsys.readouterr().out.split()))
        return generate(self, *given)

    monkeypatch.setattr(TransformersEngine, "generate", listens)
    teacher = Teacher(saved(tmp_path, "gemma2"), PreferenceTrait("owl"), induction=induction)
    NumberSequences(teacher, num_prompts=4, filters=[], seed=0).make()
    assert "refuses a system message; a system message is written at the beginning of the user's first" in heard[0]
