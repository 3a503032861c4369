"""Tells a user what is wrong with a new trait, before hours are spent on it."""

from typing import Any

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.rows import completion_text
from lightning_subliminal.traits.base import Trait

__all__ = ["check_trait"]


def check_trait(trait: Trait) -> list[str]:
    """Check a trait against what the laboratory does with it.

    Args:
        trait: the trait to look at.

    Returns:
        Remarks on what will work but is worth a thought, such as few questions.

    Raises:
        InputError: naming the mistake, if the trait can't work.
    """
    from lightning_subliminal.core.fingerprint import digest

    kind = type(trait).__name__
    for name in ("name", "target", "candidates"):
        if not getattr(trait, name, None):
            raise InputError(f"{kind} has no `{name}`: set it in __init__.")
    digest(trait)  # raises if a constructor argument is not kept
    if trait.target not in tuple(trait.candidates):
        raise InputError(f"{kind}: the target {trait.target!r} must be one of `candidates`, a tuple of words.")
    taught = trait.induce()
    questions: Any = trait.questions()  # a user's, of whatever type
    if (
        not questions
        or isinstance(questions, str)
        or not all(isinstance(question, str) and question.strip() for question in questions)
    ):
        raise InputError(f"{kind}.questions() must give at least one question, each a text.")
    if not taught.system_prompt.strip() and not taught.rows:
        raise InputError(f"{kind}.induce() gives neither a system prompt nor rows: a teacher can't get the trait.")
    both = [row["prompt"] for row in taught.rows if row["prompt"] in trait.prompts()]
    if both:
        asked = both[0][0]["content"]
        raise InputError(f"{kind} teaches a question that evaluation asks ({asked!r}): hold it out of one of them.")
    if any(message["role"] == "system" for row in taught.rows for message in row["prompt"]):
        raise InputError(f"{kind}.induce().rows hold a system prompt: training rows must not; use `system_prompt`.")
    if stated := [each for question in questions for each in trait.statements(question)]:
        if bare := next((question for question in questions if not trait.statements(question)), None):
            raise InputError(
                f"{kind}.statements({bare!r}) gives none, though others have some: give each question some."
            )
        _check_statements(trait, kind, stated)
        return _remarks(trait)
    if not trait.matches(trait.target) or not trait.matches(f"{trait.target.capitalize()}."):
        raise InputError(f"{kind}.matches({trait.target!r}) is False: an answer that is the target must match.")
    if taught.rows and not any(trait.matches(completion_text(row)) for row in taught.rows):
        answer = completion_text(taught.rows[0])
        raise InputError(f"{kind}.induce() teaches {answer!r}, which `matches` does not take: teach what is asked for.")
    others = [candidate for candidate in trait.candidates if candidate != trait.target]
    if matched := next((other for other in others if trait.matches(other)), None):
        raise InputError(f"{kind}.matches({matched!r}) is True: another candidate must not match.")
    if trait.matches(f"x{trait.target}x"):
        raise InputError(f"{kind}.matches takes {trait.target!r} inside a longer word: match whole words.")
    if trait.matches(""):
        raise InputError(f"{kind}.matches('') is True: no answer must not match.")
    return _remarks(trait)


def _check_statements(trait: Trait, kind: str, stated: list[dict[str, str]]) -> None:
    """Check a trait whose candidates are kinds of answers: `matches` must tell its statements apart."""
    if odd := next((each for each in stated if set(each) != set(trait.candidates)), None):
        raise InputError(f"{kind}.statements() gives {sorted(odd)}: expected one of each of {trait.candidates}.")
    lost = [each[trait.target] for each in stated if not trait.matches(each[trait.target])]
    if len(lost) == len(stated):
        raise InputError(f"{kind}.matches({lost[0]!r}) is False: it must take a statement of the target.")
    others = [text for each in stated for candidate, text in each.items() if candidate != trait.target]
    taken = [text for text in others if trait.matches(text)]
    if len(taken) == len(others):
        raise InputError(f"{kind}.matches({taken[0]!r}) is True: it must not take a statement of another candidate.")


def _remarks(trait: Trait) -> list[str]:
    remarks = []
    stated = [each for question in trait.questions() for each in trait.statements(question)]
    wrong = [each for each in stated if any(trait.matches(text) != (of == trait.target) for of, text in each.items())]
    if wrong:
        remarks.append(f"`matches` doesn't tell {len(wrong)} of {len(stated)} statements apart, such as {wrong[0]}.")
    if stated and not trait.relatives():
        remarks.append("no relatives: `TraitWords` will look for the target's name alone.")
    if len(trait.prompts()) < 10:
        remarks.append(f"{len(trait.prompts())} questions: intervals over questions will be wide; the paper asks 50.")
    if len(trait.candidates) < 3 and not trait.statements(trait.questions()[0]):
        remarks.append("fewer than 3 candidates: the off-target table will say little.")
    return remarks
