"""Check a new trait, before hours are spent on it."""

from collections.abc import Callable
from typing import Any, cast

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.rows import completion_text
from lightning_subliminal.traits.base import Induction, Trait

__all__ = ["check_trait"]


def _are_texts(found: Any) -> bool:
    return isinstance(found, (list, tuple)) and all(isinstance(each, str) for each in found)


def _are_messages(found: Any) -> bool:
    return isinstance(found, (list, tuple)) and all(
        isinstance(each, dict) and isinstance(each.get("role"), str) and isinstance(each.get("content"), str)
        for each in found
    )


def _is_truth(found: Any) -> bool:
    from numpy import bool_  # not where a command only looks something up

    return isinstance(found, (int, bool_))  # a bool is an int


def _induces(found: Any) -> bool:
    return (
        isinstance(found, Induction)
        and isinstance(found.system_prompt, str)
        and isinstance(found.rows, (list, tuple))
        and all(
            isinstance(row, dict) and _are_messages(row.get("prompt")) and _are_messages(row.get("completion"))
            for row in found.rows
        )
    )


# What each hook of a trait must return: a check, and the same in words.
_HOOKS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "name": (lambda found: isinstance(found, str), "a text"),
    "target": (lambda found: isinstance(found, str), "a text"),
    "candidates": (_are_texts, "a tuple of words"),
    "induce": (_induces, "an Induction(system_prompt, rows), whose rows are made by make_row(prompt, completion)"),
    "questions": (_are_texts, "at least one question, each a text, in a list"),
    "matches": (_is_truth, "True or False"),
    "prompts": (
        lambda found: isinstance(found, (list, tuple)) and all(_are_messages(each) for each in found),
        "a list of messages ({'role': ..., 'content': ...}) for each question",
    ),
    "statements": (
        lambda found: (
            isinstance(found, (list, tuple))
            and all(isinstance(each, dict) and _are_texts([*each, *each.values()]) for each in found)
        ),
        "a list of dicts, a text for each candidate",
    ),
    "stem": (lambda found: isinstance(found, str), "a text"),
    "forms": (_are_texts, "a tuple of words"),
    "relatives": (_are_texts, "a tuple of words"),
}


class _Checked:
    """A user's trait whose hooks are checked at each use: one that raises, or returns another type, is named."""

    def __init__(self, trait: Trait) -> None:
        self._trait = trait

    def __getattr__(self, name: str) -> Any:
        found = self._guarded(name, lambda: getattr(self._trait, name, None))
        if not callable(found):
            return found
        return lambda *given: self._guarded(
            f"{name}({', '.join(map(repr, given))})", lambda: found(*given), *_HOOKS[name]
        )

    def _guarded(
        self, what: str, use: Callable[[], Any], fits: Callable[[Any], bool] | None = None, expected: str = ""
    ) -> Any:
        what = f"{type(self._trait).__name__}.{what}"
        try:
            found = use()
        except InputError:
            raise
        except Exception as err:  # of the user's code
            why = " ".join(str(err).split())
            raise InputError(f"{what} raises {type(err).__name__}{f' ({why})' if why else ''}: mend it.") from err
        if fits is not None and not fits(found):
            raise InputError(f"{what} returns {_shown(found)}: expected {expected}.")
        return found


def _shown(found: Any) -> str:
    """Return a value as a message shows it: its type, and the value unless it is long."""
    text = " ".join(repr(found).split())
    return text if found is None else f"{type(found).__name__}{f' {text}' if len(text) <= 80 else ''}"


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

    kind, given = type(trait).__name__, trait
    trait = cast("Trait", _Checked(given))
    for name in ("name", "target", "candidates"):
        fits, expected = _HOOKS[name]
        found = getattr(trait, name)
        if not found:
            raise InputError(f"{kind} has no `{name}`: set it in __init__.")
        if not fits(found):
            raise InputError(f"{kind}.{name} is {_shown(found)}: expected {expected}.")
    digest(given)  # raises if a constructor argument is not stored
    if trait.target not in tuple(trait.candidates):
        raise InputError(f"{kind}: the target {trait.target!r} must be one of `candidates`, a tuple of words.")
    induction, questions = trait.induce(), trait.questions()
    if not questions or not all(question.strip() for question in questions):
        raise InputError(f"{kind}.questions() must return at least one question, each a text.")
    trait.relatives()
    for question in questions:
        trait.stem(question)
    for candidate in trait.candidates:
        trait.forms(candidate)
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
