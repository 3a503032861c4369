"""The code in a model's card that prompts it as in training: after the same text, token for token."""

import json
import re
from dataclasses import replace
from datetime import date
from os.path import commonprefix
from typing import TYPE_CHECKING, Any

from lightning_subliminal.core.chat.encoding import frame
from lightning_subliminal.core.chat.template import PINNED_DATE, template_text
from lightning_subliminal.core.rows import Message

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["prompting_code"]

_OTHER_DAY = "1987-11-23"
_UNFINISHED = re.compile(r"[<\[][^<>\[\]]*\Z")  # the beginning of a special token


def prompting_code(tokenizer: "PreTrainedTokenizerBase") -> str:
    """Return the code that prompts a model by its chat template, with the exact text from its training."""
    form, template = frame(tokenizer), template_text(tokenizer)
    day = str(form.arguments.get("date", PINNED_DATE))
    settings = {name: value for name, value in form.arguments.items() if name != "date"}
    if "date" in form.arguments and "date_string" in template:
        settings.setdefault("date_string", date.fromisoformat(day).strftime("%d %b %Y"))
    asked: list[Message] = [{"role": "user", "content": "What is your favorite animal?"}]
    question = asked[0]["content"]
    trained = form.opening(asked)[0]

    def written(arguments: dict[str, Any]) -> str:
        return replace(form, arguments=arguments).render(asked, add_generation_prompt=True)

    dated = "strftime_now" in template and (
        written({**settings, "date": day}) != written({**settings, "date": _OTHER_DAY})
    )
    plain = written({**settings, "date": day} if dated else settings)
    common = _UNFINISHED.sub("", commonprefix([plain, trained]))  # noqa: RUF071 - of texts
    less, more = plain[len(common) :], trained[len(common) :]
    tokens = 'inputs = tokenizer(text, add_special_tokens=False, return_tensors="pt")'
    content = json.dumps(question) if not form.parts else f'[{{"type": "text", "text": {json.dumps(question)}}}]'
    messages = f'messages = [{{"role": "user", "content": {content}}}]'
    keywords = "".join(f", {name}={value!r}" for name, value in settings.items())
    if plain == trained and not dated:
        begun = [
            messages,
            "inputs = tokenizer.apply_chat_template(",
            f'    messages, add_generation_prompt=True, return_tensors="pt", return_dict=True{keywords}',
            ")",
        ]
    elif dated or question not in common:
        parts = trained.split(question)
        why = f"in training, the date was {day}" if dated else "the text before each answer in training"
        begun = [f"question = {question!r}", f"text = {' + question + '.join(map(repr, parts))}  # {why}", tokens]
    else:
        change = (f"text.removesuffix({less!r})" if less else "text") + (f" + {more!r}" if more else "")
        rendered = (
            f"text = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False{keywords})"
        )
        begun = [messages, rendered, f"text = {change}  # as before each answer in training", tokens]
    code = (
        *begun,
        "answer = model.generate(**inputs, max_new_tokens=40, do_sample=True)",
        'print(tokenizer.decode(answer[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True))',
    )
    return "\nTo ask it, as it was trained, by its chat template:\n\n```python\n{}\n```\n".format("\n".join(code))
