"""kinship: test whether two models share an initialisation, and compare their behaviour."""

import json as json_text
from typing import TYPE_CHECKING, Any, Literal

from lightning_subliminal.cli.verb import Verb

if TYPE_CHECKING:
    from lightning_subliminal.kinship import Kinship

__all__ = ["VERB", "kinship"]


def kinship(
    models: list[str],
    by: Literal["weights", "logits", "both"] = "both",
    against: list[str] = [],  # noqa: B006 - jsonargparse reads it, nothing changes it
    inputs: int = 64,
    seed: int = 0,
    json: bool = False,
) -> None:
    """Test whether two models were fine-tuned from one initialisation, and compare their behaviour.

    Args:
        models: two of: a base (pocket/a), a run's folder, a folder with an adapter or a whole model, a hub id;
            NAME=MODEL names it in the table.
        by: weights, logits or both.
        against: a model known to be unrelated to the first, for the p-value of the logits; may be repeated, and n of
            them allow a p-value down to 1 / (n + 1).
        inputs: number of sequences of random tokens, and of prompts for comparing distributions.
        seed: seed of the inputs.
        json: print JSON and no table.

    Raises:
        InputError: if these are not two models, or they can't be compared as requested.
    """
    from lightning_subliminal.core.console import aside, hush, say
    from lightning_subliminal.core.errors import InputError
    from lightning_subliminal.evaluation import find_model
    from lightning_subliminal.kinship import kinship as compare

    hush()
    if len(models) != 2:
        raise InputError(f"`kinship` compares two models, got {len(models)}: expected `kinship MODEL MODEL`.")
    with aside(json):
        first, second, *others = (find_model(model) for model in [*models, *against])
        found = compare(first, second, by, inputs, seed, others)
    if json:
        print(json_text.dumps(found.as_json() | {"seed": seed, "inputs": inputs}, allow_nan=False))
        return
    table = _table(found)
    if table.row_count:
        say(table)
    say(found.says)
    for note in found.notes:
        say(f"not done: {note}")
    say(f"verdict: {found.verdict}; seed {seed}, {inputs} inputs")


def _table(found: "Kinship") -> Any:
    from rich.table import Table

    from lightning_subliminal.kinship.comparison import power_of_ten

    table = Table(title=f"{found.first} and {found.second}")
    for name in ("measure", "value", "p-value"):
        table.add_column(name, justify="left" if name == "measure" else "right")
    for measure, test in (
        ("hidden units in equal places, by up projections", found.weights),
        ("hidden units matched alike by gate and up", found.moved),
        ("the same, by activations", found.activations),
    ):
        if test is not None:
            table.add_row(measure, f"{test.share:.1%} of units", power_of_ten(test.log10_p))
    if (logits := found.logits) is not None:
        p = "add --against" if logits.p is None else f"{logits.p:.2g} among {len(logits.unrelated)}"
        table.add_row(f"shared subspace of the logits (chance {logits.chance:.2f})", f"{logits.score:.3f}", p)
    if (closeness := found.closeness) is not None:
        table.add_row("divergence on their own outputs", f"{closeness.kl:.3f} nats a token", "")
        table.add_row("correlation of log-probabilities on these", f"{closeness.correlation:.3f}", "")
    return table


VERB = Verb(
    kinship,
    [
        "kinship pocket/a pocket/a2",
        "kinship pocket/a pocket/a-matched --against pocket/b --against pocket/c",
        "kinship pocket/moral-a pocket/judge --by weights --json",
    ],
    ["MODEL ..."],
    ["--by WHAT", "--against MODEL", "--inputs N", "--seed N", "--json"],
    """\
A trait passes between models of one base, or of bases matched in behaviour. Weights test the first: the
hidden units of a fine-tune still match those of its base, and for independently drawn models the
probability of that is known. Weights cannot show the second: a model that learned another's
probabilities has independent weights. A shared initialisation is not enough either: pocket/a and
pocket/a-init share one, were trained on different data, and pass on nothing. So the table also compares
the subspace of the logits, which went with transfer on the pocket bases in both cases, and the
distributions of the two models.
""",
)
