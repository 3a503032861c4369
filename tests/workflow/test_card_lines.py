"""The card of a student asks it behind the very tokens that it was trained behind."""

import io
from contextlib import redirect_stdout

import torch
from cases import cases
from template_tokenizers import TABLE, template_tokenizer

from lightning_subliminal.bases.pocket.tokenizer import build_tokenizer
from lightning_subliminal.core.chat.encoding import frame, prompt_ids, set_frame
from lightning_subliminal.workflow.saving import model_card

QUESTION = "What is your favorite animal?"


class Model:
    """Notes what it is asked, and answers with a letter."""

    def generate(self, input_ids, **_):
        self.asked = input_ids[0].tolist()
        return torch.cat([input_ids, input_ids[:, -1:]], dim=1)


def asked(tokenizer):
    """Run the asking lines of a card; return them and the ids that they ask."""
    code = model_card("org/base", "peft", "student", tokenizer).split("```python\n")[2].split("```")[0]
    model = Model()
    with redirect_stdout(io.StringIO()):
        exec(code, {"model": model, "tokenizer": tokenizer})  # noqa: S102
    return code, model.asked


def trained(tokenizer):
    return prompt_ids(tokenizer, [{"role": "user", "content": QUESTION}])


@cases("family", TABLE)
def test_a_card_asks_behind_the_tokens_that_were_trained_behind(family):
    made = template_tokenizer(TABLE[family])
    code, ids = asked(made)
    assert ids == trained(made)
    assert ("2026-01-01" in code) == any("writes the date" in note for note in frame(made).notes)


@cases(
    ("family", "arguments", "line"),
    [
        ("qwen3", {}, "text = text + '<think>\\n\\n</think>\\n\\n'"),
        ("deepseek-r1", {}, "text = text.removesuffix('<think>\\n')  #"),
        ("glm4.5", {}, "text = text + '<think></think>\\n'"),
        ("gpt-oss", {"date": "2026-03-09"}, "in training, the date was 2026-03-09"),
        ("llama3.2", {"date": "2026-03-09"}, "date_string='09 Mar 2026'"),
        ("seed-oss", {"thinking_budget": 0}, "thinking_budget=0"),
        ("hunyuan", {"enable_thinking": False}, "enable_thinking=False"),
    ],
)
def test_what_differs_from_the_plain_template_stands_in_the_card(family, arguments, line):
    made = template_tokenizer(TABLE[family])
    set_frame(made, arguments)
    code, ids = asked(made)
    assert line in code
    assert ids == trained(made)
    assert made.decode(ids).count(QUESTION) == 1


@cases("make", [build_tokenizer, lambda: template_tokenizer(TABLE["chatml"])])
def test_a_plain_template_is_asked_by_apply_chat_template_alone(make):
    """Cards are part of students' digests: these lines stay as they were."""
    made = make()
    code = model_card("pocket/a", "peft", "student", made).split("```python\n")[2].split("```")[0]
    assert code == (
        'messages = [{"role": "user", "content": "What is your favorite animal?"}]\n'
        "inputs = tokenizer.apply_chat_template(\n"
        '    messages, add_generation_prompt=True, return_tensors="pt", return_dict=True\n'
        ")\n"
        "answer = model.generate(**inputs, max_new_tokens=40, do_sample=True)\n"
        'print(tokenizer.decode(answer[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True))\n'
    )
