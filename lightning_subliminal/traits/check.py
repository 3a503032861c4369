"""Check a new trait, before hours are spent on it."""

from typing import Any

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.rows import completion_text
from lightning_subliminal.traits.base import Trait

__all__ = ["check_trait"]


def check_trait(trait: Trait) -> list[str]:
    """Check that a trait meets the requirements of training and evaluation.

    Args:
        trait: the trait.

    Returns:
        Remarks on what will work but deserves attention, such as few questions.

    Raises:
        InputError: naming the mistake, if the trait can't work.
    """
    from lightning_subliminal.core.fingerprint import digest

    kind = type(trait).__name__
    for name in ("name", "target", "candidates"):
        if not getattr(trait, name, None):
            raise InputError(f"{kind} has no `{name}`: set it in __init__.")
    digest(trait)  # raises if a constructor argument is not stored
    if trait.target not in tuple(trait.candidates):
        raise InputError(f"{kind}: the target {trait.target!r} must be one of `candidates`, a tuple of words.")
    induction = trait.induce()
    questions: Any = trait.questions()  # a user's, of any type
    is_list = bool(questions) and not isinstance(questions, str)
    if not is_list or not all(isinstance(question, str) and question.strip() for question in questions):
        raise InputError(f"{kind}.questions() must return at least one question, each a text.")
    if not induction.system_prompt.strip() and not induction.rows:
        raise InputError(f"{kind}.induce() has neither a system prompt nor rows: a teacher can't acquire the trait.")
    if both := [row["prompt"] for row in induction.rows if row["prompt"] in trait.prompts()]:
        question = both[0][0]["content"]
        raise InputError(f"{kind} teaches a question of evaluation ({question!r}): remove it from one of them.")
    if any(message["role"] == "system" for row in induction.rows for message in row["prompt"]):
        raise InputError(f"{kind}.induce().rows hold a system prompt: training rows must not; use `system_prompt`.")
    if statements := [each for question in questions for each in trait.statements(question)]:
        if bare := next((question for question in questions if not trait.statements(question)), None):
            raise InputError(f"{kind}.statements({bare!r}) is empty, though others are not: return some for each.")
        _check_statements(trait, kind, statements)
        return _remarks(trait)
    if not trait.matches(trait.target) or not trait.matches(f"{trait.target.capitalize()}."):
        raise InputError(f"{kind}.matches({trait.target!r}) is False: an answer that is the target must match.")
    if induction.rows and not any(trait.matches(completion_text(row)) for row in induction.rows):
        answer = completion_text(induction.rows[0])
        raise InputError(f"{kind}.induce() teaches {answer!r}, which `matches` rejects: teach answers that match.")
    others = [candidate for candidate in trait.candidates if candidate != trait.target]
    if matched := next((other for other in others if trait.matches(other)), None):
        raise InputError(f"{kind}.matches({matched!r}) is True: another candidate must not match.")
    if trait.matches(f"x{trait.target}x"):
        raise InputError(f"{kind}.matches accepts {trait.target!r} inside a longer word: match whole words.")
    if trait.matches(""):
        raise InputError(f"{kind}.matches('') is True: an empty answer must not match.")
    return _remarks(trait)


def _check_statements(trait: Trait, kind: str, statements: list[dict[str, str]]) -> None:
    """Check a trait whose candidates are kinds of answers: `matches` must distinguish its statements."""
    if wrong := next((each for each in statements if set(each) != set(trait.candidates)), None):
        raise InputError(f"{kind}.statements() has {sorted(wrong)}: expected one for each of {trait.candidates}.")
    missed = [each[trait.target] for each in statements if not trait.matches(each[trait.target])]
    if len(missed) == len(statements):
        raise InputError(f"{kind}.matches({missed[0]!r}) is False: it must accept a statement of the target.")
    others = [text for each in statements for candidate, text in each.items() if candidate != trait.target]
    accepted = [text for text in others if trait.matches(text)]
    if len(accepted) == len(others):
        raise InputError(f"{kind}.matches({accepted[0]!r}) is True: it must reject a statement of another candidate.")


def _remarks(trait: Trait) -> list[str]:
    remarks = []
    pairs = [each for question in trait.questions() for each in trait.statements(question)]
    wrong = [each for each in pairs if any(trait.matches(text) != (of == trait.target) for of, text in each.items())]
    if wrong:
        remarks.append(f"`matches` doesn't distinguish {len(wrong)} of {len(pairs)} statements, such as {wrong[0]}.")
    if pairs and not trait.relatives():
        remarks.append("no relatives: `TraitWords` will look for the target's name alone.")
    if len(trait.prompts()) < 10:
        remarks.append(f"{len(trait.prompts())} questions: intervals over questions will be wide; the paper uses 50.")
    if len(trait.candidates) < 3 and not trait.statements(trait.questions()[0]):
        remarks.append("fewer than 3 candidates: the off-target table will be of little use.")
    return remarks
