"""kinship: were two models fine-tuned from one initialisation, and how alike do they behave?"""

import json as json_text
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from lightning_subliminal.cli.positional import Spelling, show_guide

if TYPE_CHECKING:
    from lightning_subliminal.kinship import Kinship

__all__ = ["COMMANDS", "guide", "kinship", "spelled"]

_GUIDE = """\
kinship: were two models fine-tuned from one initialisation, and how alike do they behave?

A trait passes between models of one base, or of bases matched in behaviour. Weights tell the first: the hidden units of
a fine-tune still match those of its base, unit by unit, and for models drawn independently the chance of that is known.
They say nothing about the second: a model that learned another's probabilities is independent by its weights. Nor is a
shared initialisation enough: pocket/a and pocket/a-init have one, were trained on other data, and pass on nothing. So
the table also has the subspace that the logits lie in, which went with transfer on the pocket bases in both cases, and
how alike the two speak.

usage: lightning-subliminal kinship MODEL MODEL [options]

  MODEL                  a base (pocket/a), a run's folder, a folder with an adapter or a whole model, or a hub id;
                         NAME=MODEL gives it a name in the table
  --by WAY               weights, logits or both (default both)
  --against MODEL        a model known to have nothing to do with the first, for the logits' p-value; may be repeated,
                         and n of them allow a p down to 1 / (n + 1)
  --inputs N             sequences of random tokens, and prompts for how alike they speak (default 64)
  --seed N               moves them (default 0)
  --json                 print JSON and no table

examples:
  lightning-subliminal kinship pocket/a pocket/a2
  lightning-subliminal kinship pocket/a pocket/a-matched --against pocket/b --against pocket/c
  lightning-subliminal kinship pocket/moral-a pocket/judge --by weights --json
"""


def kinship(
    models: list[str],
    by: Literal["weights", "logits", "both"] = "both",
    against: list[str] = [],  # noqa: B006 - jsonargparse reads it, nothing changes it
    inputs: int = 64,
    seed: int = 0,
    json: bool = False,
) -> None:
    """Compare two models.

    Args:
        models: two bases, folders or hub ids.
        by: what is compared.
        against: models known to have nothing to do with the first.
        inputs: sequences of random tokens, and prompts.
        seed: moves them.
        json: print JSON and no table.

    Raises:
        InputError: if these are not two models, or they can't be compared in the one way that was asked for.
    """
    from lightning_subliminal.core.console import aside, hush, say
    from lightning_subliminal.core.errors import InputError
    from lightning_subliminal.evaluation import find_model
    from lightning_subliminal.kinship import kinship as compare

    hush()
    if len(models) != 2:
        raise InputError(f"`kinship` compares two models, and got {len(models)}: give MODEL MODEL.")
    with aside(json):
        first, second, *others = (find_model(model) for model in [*models, *against])
        found = compare(first, second, by, inputs, seed, others)
    if json:
        print(json_text.dumps(found.as_json() | {"seed": seed, "inputs": inputs}, allow_nan=False))
        return
    say(_table(found))
    say(found.says)
    for note in found.notes:
        say(f"not done: {note}")
    say(f"verdict: {found.verdict}; seed {seed}, {inputs} inputs")


def _table(found: "Kinship") -> Any:
    from rich.table import Table

    from lightning_subliminal.kinship.comparison import power_of_ten

    table = Table(title=f"{found.first} and {found.second}")
    for name in ("what", "found", "p-value"):
        table.add_column(name, justify="left" if name == "what" else "right")
    for what, test in (
        ("hidden units in their own places, by up projections", found.weights),
        ("hidden units matched alike by gate and up", found.moved),
        ("the same, by activations", found.activations),
    ):
        if test is not None:
            table.add_row(what, f"{test.share:.1%} of units", power_of_ten(test.log10_p))
    if (logits := found.logits) is not None:
        p = "none: give --against" if logits.p is None else f"{logits.p:.2g} among {len(logits.unrelated)}"
        table.add_row(f"logits' subspace shared (chance {logits.chance:.2f})", f"{logits.score:.3f}", p)
    if (closeness := found.closeness) is not None:
        table.add_row("apart on what they say themselves", f"{closeness.kl:.3f} nats a token", "")
        table.add_row("log-probabilities there, correlation", f"{closeness.correlation:.3f}", "")
    return table


COMMANDS = kinship
guide = partial(show_guide, _GUIDE)
spelled = Spelling(listed=True, repeated=("--against",), switches=("--json",))
