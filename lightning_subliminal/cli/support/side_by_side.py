"""Answers of a run's models to one question: a sampled answer of each, with exact probabilities."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.table import Table

from lightning_subliminal.audit.locate import Places
from lightning_subliminal.core.chat.encoding import known_question, unknown_word
from lightning_subliminal.core.config.safe_yaml import read_yaml
from lightning_subliminal.core.console import say
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.kinds import current_path
from lightning_subliminal.core.rows import Message
from lightning_subliminal.evaluation import ModelRef, Questions, find_model
from lightning_subliminal.evaluation.suites.asked_trait import config_trait, foreign_class
from lightning_subliminal.generation import Sampling, ServerEngine
from lightning_subliminal.generation.logits import call_net, prompt_tokens
from lightning_subliminal.judges.sampling import joined
from lightning_subliminal.lineage import Material
from lightning_subliminal.lineage.names import RECORD
from lightning_subliminal.lineage.record import known_statement
from lightning_subliminal.metrics.functional import question_text
from lightning_subliminal.traits import PreferenceTrait, Trait

__all__ = ["Reply", "ask", "reply_table", "run_models", "run_trait"]

_ORDER = ("base", "teacher", "control", "student")
_TOP = 5
_PLAIN = "What is your favorite animal?"


@dataclass(frozen=True)
class Reply:
    """Answer of one model.

    Attributes:
        model: name of the model.
        text: the sampled answer, or the reason why there is none.
        top: the likeliest answers with their exact probabilities in descending order; empty without an answer.
    """

    model: str
    text: str
    top: list[tuple[str, float]]


def run_models(place: str) -> list[ModelRef]:
    """Return the models that a run compared, as far as they are found: base, teacher, control and student.

    Args:
        place: a run's folder, or any other model that ``find_model`` takes, whose base is added.

    Raises:
        InputError: if there is no such model.
    """
    folder = Path(place).expanduser()
    student = find_model(place)
    is_run = student.folder == folder / "student" or student.base == str(folder / "student")
    student.name = "student" if is_run else student.name
    records = [known_statement(each / RECORD) for each in (folder, student.folder or Path(student.base))]
    parents = {each.role: each for record in records[::-1] if record is not None for each in record.materials}
    found = {"student": student}
    if student.folder is not None:
        found["base"] = find_model(f"base={student.base}")
    elif "base" in parents:
        name = parents["base"].uri.removeprefix("base:")
        try:
            found["base"] = find_model(f"base={name}")
        except InputError:  # a whole model works without it
            say(f"base      {name} was not found: left out")
    for role in ("teacher", "control"):
        if role in parents and is_run:
            where = _place_of(parents[role], folder)
            if where is None:
                say(f"{role:9} {parents[role].uri} was not found: left out")
            else:
                found[role] = find_model(f"{role}={where}")
    prompted = _arguments(folder, "data", "teacher")
    if is_run and "teacher" not in found and prompted.get("induction") == "prompt":
        trait = run_trait(folder)
        persona = trait.induce().system_prompt if trait is not None else None
        found["teacher"] = find_model(f"teacher={prompted['base']}", persona)
    return [found[role] for role in _ORDER if role in found]


def run_trait(folder: Path) -> Trait | None:
    """Return the trait of a run by its config or lineage record; None if neither names a class of this package."""
    from jsonargparse import ArgumentParser

    from lightning_subliminal.core.config.class_paths import guard_parser

    given = config_trait(folder)
    record = known_statement(folder / RECORD)
    described = record.settings.get("trait") if record is not None and isinstance(record.settings, dict) else None
    if not given and isinstance(described, dict) and "class" in described:  # of a run started from Python
        given = {"class_path": current_path(str(described["class"])), "init_args": described.get("arguments", {})}
    if not given:
        return None
    if foreign := foreign_class(given):
        say(f"trait     of {folder} is {foreign}, a class outside this package, which is not imported: left out")
        return None
    guard_parser()
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(Trait, "trait")
    try:
        trait: Trait = parser.instantiate_classes(parser.parse_object({"trait": given})).trait
    except Exception as err:  # of jsonargparse, or of the class
        say(f"trait     of {folder} can't be built ({' '.join(str(err).split())[:200]}): left out")
        return None
    return trait


def ask(
    models: Sequence[ModelRef], question: str, trait: Trait | None, seed: int, sampling: Sampling, device: torch.device
) -> list[Reply]:
    """Ask each model one question.

    Args:
        models: the models.
        question: the user's question; a question of the trait is asked as the trait asks it, with its begun answer.
        trait: a preference whose candidates' probabilities are computed; without one those of the first token.
        seed: seed of the sampled answers.
        sampling: settings of sampling.
        device: device of the models.

    Raises:
        InputError: if no model can read the question.
    """
    prompts = [each for each in (trait.prompts() if trait is not None else []) if question_text(each) == question]
    prompts = prompts or [[{"role": "user", "content": question}]]
    replies = []
    for model in models:
        model.load(device)
        prompt = model.prompt(prompts[0])
        try:
            _check_known(model, prompt, question, trait)
            drawn = model.writer().generate([prompt], sampling, seed)[0]
            begun = prompt[-1]["content"] if prompt[-1]["role"] == "assistant" else ""
            text = joined(None if model.engine else model.tokenizer, begun, drawn.text) + (
                "" if drawn.finished else " ..."
            )
            replies.append(Reply(model.name, text.strip(), _top(model, prompts, trait)))
        except InputError as err:
            if len(models) == 1:
                raise
            replies.append(Reply(model.name, f"({err})", []))
    if not any(each.top for each in replies) and all(model.engine is None for model in models):
        raise InputError(replies[0].text[1:-1])
    return replies


def _check_known(model: ModelRef, prompt: Sequence[Message], question: str, trait: Trait | None) -> None:
    """Refuse a question with a word that a model can't read, and suggest another question."""
    if model.engine is not None:
        return
    word = unknown_word(model.tokenizer, [part["content"] for part in prompt])
    if word is None:
        return
    others = [question_text(each) for each in trait.prompts()] if trait is not None else []
    first, near, instead = known_question(model.tokenizer, question, [*others, _PLAIN])
    known = f"; it knows {near!r}" if near else ""
    example = f": ask, for example, {instead!r}." if instead else ": ask in words of its tokenizer."
    raise InputError(f"The base {model.base} doesn't know the word {first or word!r}{known}{example}")


def reply_table(replies: Sequence[Reply]) -> Table:
    """Return replies side by side as a table, a column for each model."""
    table = Table(show_lines=True)
    for reply in replies:
        table.add_column(reply.model, overflow="fold")
    table.add_row(*(reply.text for reply in replies))
    table.add_row(*("\n".join(f"{chance:6.1%} {each}" for each, chance in reply.top) for reply in replies))
    return table


def _top(model: ModelRef, prompts: list[list[Message]], trait: Trait | None) -> list[tuple[str, float]]:
    """Return the likeliest answers: candidates of a preference and the remainder, else first tokens."""
    if isinstance(trait, PreferenceTrait):
        scores = Questions().of(trait, questions=[prompts]).measure(model, 0)
        ranked = sorted(((name, chance) for name, (chance,) in scores.chances.items()), key=lambda each: -each[1])
        shown = ranked[:_TOP] + [each for each in ranked[_TOP:] if each[0] == trait.target]
        return [*shown, ("none of these", scores.no_candidate)]
    if isinstance(model.engine, ServerEngine):
        return [(repr(token), chance) for token, chance in model.engine.first_tokens(model.prompt(prompts[0]), _TOP)]
    tokens = prompt_tokens(model.tokenizer, model.prompt(prompts[0]))
    ids = torch.tensor([tokens], device=next(model.net.parameters()).device)
    with torch.inference_mode():
        logits = call_net(model.net, input_ids=ids, use_cache=False).logits[0, -1].double()
    best = logits.softmax(-1).topk(_TOP)
    written = [repr(model.tokenizer.decode([token])) for token in best.indices.tolist()]
    return list(zip(written, best.values.tolist(), strict=True))


def _place_of(material: Material, folder: Path) -> Path | None:
    """Return the folder of a model that a run's record names, if it still holds that model."""
    for path in Places(folder).hinted(material):
        record = known_statement(path / RECORD)
        if record is not None and record.sha256 == material.statement:
            return path
    return None


def _arguments(folder: Path, *names: str) -> dict[str, Any]:
    """Return the arguments of one object of a run's config; empty if there is none."""
    try:
        value: Any = read_yaml(folder / "config.yaml")
    except InputError:
        return {}
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
        value = value.get("init_args") if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}
