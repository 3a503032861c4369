"""chat: the models of a run side by side, asked one question after another."""

import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from lightning_subliminal.cli.positional import Spelling, show_guide
from lightning_subliminal.core.errors import InputError

__all__ = ["COMMANDS", "chat", "guide", "spelled"]

_GUIDE = """\
chat: ask the models of a run side by side: base, teacher, control and student, as far as the run has them.

usage: lightning-subliminal chat RUN [options]

  RUN                    a run's folder, or any model (a base's name, a folder, a hub id; its base comes along)
  --ask TEXT             ask this and stop, again for each further question; without it you type questions, or a file
                         of them comes: chat RUN < file
  --trait TARGET         a preference whose candidates are looked at, such as owl; without it the run's own trait
  --seed N               of the sampled answers (default 0): the same question gets the same answers
  --max_tokens N         where an answer is cut off (default 40)

Each column has one model: an answer that it wrote, which another seed would change, and below it the exact chances of
its likeliest answers, which no seed changes: of a preference the candidates, else the first token. Each question
stands alone: the models don't hear the earlier ones. A question of the trait is asked as `fit` asks it.

examples:
  lightning-subliminal chat runs/owl_numbers-1a2b3c4d
  lightning-subliminal chat runs/owl_numbers-1a2b3c4d --ask "Which animal do you like best? Answer in one word."
  lightning-subliminal chat smollm2-135m --trait owl < questions.txt
"""


def chat(
    run: str | None = None,
    ask: list[str] | None = None,
    trait: str | None = None,
    seed: int = 0,
    max_tokens: int = 40,
) -> None:
    """Ask the models of a run.

    Args:
        run: a run's folder, or a model.
        ask: questions; without them they are typed, or read from standard input.
        trait: the target of a preference, instead of the run's own trait.
        seed: of the sampled answers.
        max_tokens: where an answer is cut off.

    Raises:
        InputError: if there is no such model, or a question can't be asked.
    """
    if run is None:
        raise InputError("A run is needed: `chat RUN`, such as runs/owl_numbers-1a2b3c4d.")
    if ask is not None and not all(each.strip() for each in ask):
        raise InputError("`--ask` is empty: give a question.")
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
    exact = "that the answer begins so" if is_preference else "of the first token"
    if ask is None and sys.stdin.isatty():
        say(f"models    {', '.join(each.name for each in models)}; an empty line ends")
        if about is not None:
            say(f"such as   {about.questions()[0]}")
    lost = 0
    for question in [each.strip() for each in ask] if ask is not None else _typed():
        try:
            replies = side_by_side.ask(models, question, about, seed, sampling, device)
        except InputError as err:
            if ask is not None and len(ask) == 1:
                raise
            say(f"not asked {question}: {err}")
            lost += 1
        else:
            say(question)
            say(side_by_side.reply_table(replies))
            say(f"answers sampled with seed {seed}; chances exact, {exact}")
    if lost and (ask is not None or not sys.stdin.isatty()):
        raise InputError(f"{lost} of the questions could not be asked: see above why.")


def _typed() -> Iterator[str]:
    """Yield questions from the terminal until an empty line or its end, or all lines of a file or pipe."""
    if not sys.stdin.isatty():
        try:
            yield from (line.strip() for line in sys.stdin if line.strip())
        except UnicodeDecodeError as err:
            raise InputError("The questions are no text in UTF-8: give a text file, a question a line.") from err
        return
    while True:
        try:
            line = input("> ").strip()
        except EOFError:
            return
        if not line:
            return
        yield line


COMMANDS = chat
guide = partial(show_guide, _GUIDE)
spelled = Spelling(bare=("--run",), repeated=("--ask",))
