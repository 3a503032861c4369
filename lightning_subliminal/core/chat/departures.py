"""Notes on what a chat template does in addition to marking turns, for the user and for the digest of a base."""

import json
from collections.abc import Sequence
from dataclasses import replace

from lightning_subliminal.core.chat.template import (
    ASKED,
    PINNED_DATE,
    SYSTEM,
    WORDS,
    Template,
    closed_thought,
    cut_marks,
    open_thought,
    template_text,
)
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.rows import Message

__all__ = ["content_notes", "opening_notes", "thought_note"]

_ASKED: Message = {"role": "user", "content": ASKED}


def opening_notes(before: str, opened: str) -> list[str]:
    """Describe how the beginning of a new answer (``opened``) differs from that of a finished turn (``before``)."""
    thought = closed_thought(before, opened)[1]
    if thought:
        return [f"puts {thought!r} before a new answer, which a finished turn lacks; it is part of the prompt"]
    if before.startswith(opened):
        extra = before[len(opened) :]
        if extra.strip():
            return [f"puts {extra!r} before the assistant's words; it is part of the prompt"]
        spaced = not extra and before != before.rstrip(" \t")
        return ["ends a prompt with a space; it is read as the beginning of the words"] if spaced else []
    if not opened.startswith(before):
        return ["begins a new answer unlike a finished turn; the finished turn's beginning is the prompt"]
    rest = opened[len(before) :]
    if rest.strip():
        return [f"opens {rest!r} for a new answer, which a finished turn lacks; it is left out of the prompt"]
    return []


def thought_note(template: Template, folds: bool) -> str:
    """Describe a thought that the template leaves open before the words, and what would end it; else return "".

    ``folds``: the template has no place for a system message.
    """
    system: Message = {"role": "system", "content": SYSTEM}

    def opened(template: Template, system: Sequence[Message] = ()) -> str:
        try:
            return open_thought(template.around([*system, _ASKED], opened=True)[0].rpartition(ASKED)[2])
        except InputError:
            return ""

    cases: list[list[Message]] = [[]] if folds else [[], [system]]
    mark = next(filter(None, (opened(template, case) for case in cases)), "")
    if not mark:
        return ""
    remedies = [
        f"?{name}=false"
        for name in sorted(template.switches() - {*template.arguments})
        if not any(opened(replace(template, arguments={**template.arguments, name: False}), case) for case in cases)
    ]
    knows_switch = not folds and "/no_think" in template_text(template.tokenizer)
    if knows_switch and not opened(template, [{**system, "content": "/no_think"}]):
        remedies.append("`/no_think` as the system message")
    ended = f"; {' or '.join(remedies)} ends it before them" if remedies else ""
    return f"opens {mark!r} before the assistant's words and does not end it: they are inside a thought{ended}"


def content_notes(template: Template) -> list[str]:
    """Describe what the template would do to the assistant's words, and which date it writes."""
    notes = ["takes a message as a list of parts; each is passed as one part of text"] if template.parts else []
    text = template_text(template.tokenizer)
    cuts = [f"<think>{SYSTEM}</think> {WORDS}", *(f"{SYSTEM}{mark}{WORDS}{end}" for mark, end in cut_marks(text))]
    if not all(template.keeps(cut, part) for cut in cuts for part in (SYSTEM, WORDS)):
        notes.append("takes a thought out of the assistant's words; rows are read and trained on whole")
    if not template.keeps(f"Aa{WORDS}aA", f"Aa{WORDS}aA"):
        notes.append("changes the assistant's words, such as their case; rows are read and trained on as they are")
    if "strftime_now" in text or ("date" in template.arguments and "date_string" in text):
        notes.append(f"writes the date; it is {template.arguments.get('date', PINNED_DATE)} on every day")
    for name, value in template.arguments.items():
        without = replace(template, arguments={key: each for key, each in template.arguments.items() if key != name})
        if without.around([_ASKED], opened=True) == template.around([_ASKED], opened=True):
            notes.append(f"writes the same with {name}={json.dumps(value, default=str)}: a finished turn decides")
    return notes
