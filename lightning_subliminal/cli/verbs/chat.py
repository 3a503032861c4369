"""chat: ask the models of a run the same questions and show their answers side by side."""

import sys
from collections.abc import Iterator
from pathlib import Path

from lightning_subliminal.cli.verb import Verb
from lightning_subliminal.core.errors import InputError

__all__ = ["VERB", "chat"]


def chat(
    run: str,
    ask: list[str] | None = None,
    trait: str | None = None,
    seed: int = 0,
    max_tokens: int = 40,
) -> None:
    """Ask base, teacher, control and student of a run, as far as it has them, the same questions.

    Args:
        run: a run's folder, or any model (a base's name, a folder, a hub id; its base is added), also one on a server:
            server:URL#MODEL
        ask: ask this and stop; may be repeated. Without it, questions are typed, or read from a file: chat RUN < file
        trait: the target of a preference, such as owl, whose candidates are shown; without it the run's own trait
        seed: seed of the sampled answers: the same question gets the same answers
        max_tokens: length limit of an answer

    Raises:
        InputError: if there is no such model, or a question can't be asked.
    """
    if ask is not None and not all(each.strip() for each in ask):
        raise InputError("`--ask` is empty: expected a question.")
    import torch

    from lightning_subliminal.cli.support import side_by_side
    from lightning_subliminal.core.console import hush, say
    from lightning_subliminal.generation import Sampling
    from lightning_subliminal.traits import PreferenceTrait

    hush()
    sampling = Sampling(max_new_tokens=max_tokens)
    about = PreferenceTrait(trait) if trait is not None else side_by_side.run_trait(Path(run).expanduser())
    models = side_by_side.run_models(run)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    is_preference = isinstance(about, PreferenceTrait)
    chances = f"exact chances of {'answers that begin with the word' if is_preference else 'the first token'}"
    if models[0].engine is not None:
        chances = "chances from 20 sampled answers" if is_preference else "the server's chances of the first token"
    if ask is None and sys.stdin.isatty():
        say(f"models    {', '.join(each.name for each in models)}; an empty line quits")
        if about is not None:
            say(f"example   {about.questions()[0]}")
    failed = 0
    for question in [each.strip() for each in ask] if ask is not None else _typed():
        try:
            replies = side_by_side.ask(models, question, about, seed, sampling, device)
        except InputError as err:
            if ask is not None and len(ask) == 1:
                raise
            say(f"not asked {question}: {err}")
            failed += 1
        else:
            say(question)
            say(side_by_side.reply_table(replies))
            say(f"answers sampled with seed {seed}; {chances}")
    if failed and (ask is not None or not sys.stdin.isatty()):
        raise InputError(f"{failed} of the questions could not be asked: see the reasons above.")


def _typed() -> Iterator[str]:
    """Yield questions from the terminal until an empty line, or all lines of a file or pipe."""
    if not sys.stdin.isatty():
        try:
            yield from (line.strip() for line in sys.stdin if line.strip())
        except UnicodeDecodeError as err:
            raise InputError("The questions are not UTF-8 text: expected a text file with a question a line.") from err
        return
    while True:
        try:
            line = input("> ").strip()
        except EOFError:
            return
        if not line:
            return
        yield line


VERB = Verb(
    chat,
    [
        "chat runs/owl_numbers-1a2b3c4d",
        'chat runs/owl_numbers-1a2b3c4d --ask "Which animal do you like best?"',
        "chat smollm2-135m --trait owl < questions.txt",
    ],
    ["RUN"],
    ["--ask TEXT", "--trait TARGET", "--seed N", "--max-tokens N"],
    """\
Each column is one model: a sampled answer, which depends on the seed, and below it the exact
probabilities of its likeliest answers, which do not: the candidates of a preference, else the first
token. The models do not see the earlier questions. A question of the trait is asked as `fit` asks it.
""",
)
