"""bases: list the base models, build and measure those of the package."""

from pathlib import Path

from lightning_subliminal.cli.verb import Group, Verb

__all__ = ["VERB", "build", "card", "show"]


def show(json: bool = False) -> None:
    """List the base models that `base:` accepts by name, and the hub's models on this machine.

    Args:
        json: print everything as JSON, and nothing else.
    """
    import json as json_text

    from rich.filesize import decimal
    from rich.table import Table

    from lightning_subliminal.cli.support.base_listing import hub_models, registered
    from lightning_subliminal.core.safe_output import rich_console

    found, models = registered(), list(hub_models())
    if json:
        print(json_text.dumps([each.as_json() for each in [*found, *models]], indent=1, ensure_ascii=False))
        return
    console = rich_console(highlight=False, emoji=False)
    for title, bases in (("Base models", found), ("Models of the hub on this machine", models)):
        table = Table("base", title=title, title_justify="left")
        table.add_column("parameters", justify="right", no_wrap=True)
        table.add_column("on disk", justify="right", no_wrap=True)
        table.add_column("description")
        for each in bases:
            count = "-" if each.parameters is None else f"{each.parameters:,}"
            size = each.state if each.bytes is None or each.state == "incomplete" else decimal(each.bytes)
            table.add_row(each.base, count, size, each.about)
        if bases:
            console.print(table)
    for each in (*found, *models):
        if each.remedy:
            state = {"missing": "not installed", "incomplete": "not complete"}.get(each.state, each.state)
            console.print(f"{each.base} is {state}: {each.remedy}", markup=False, soft_wrap=True)
    console.print("Also: a local folder with a saved model, or a model id of the Hugging Face hub.")


def build(name: str, out: Path = Path("pocket-build"), steps: int | None = None) -> None:
    """Train a base of the package again; on the same machine it equals the shipped one bit by bit.

    Args:
        name: one of `bases list`, such as pocket/a or pocket/moral-a.
        out: the folder to write it to; the shipped one stays as it is.
        steps: the number of training steps, instead of the recipe's.
    """
    from lightning_subliminal.bases.pocket import WEIGHTS
    from lightning_subliminal.core.fingerprint import file_digest
    from lightning_subliminal.pocket_recipes.build import build as build_pocket

    key = name.removeprefix("pocket/")
    loss = build_pocket(name, out / key, steps)
    new, shipped = out / key / "model.safetensors", WEIGHTS / key / "model.safetensors"
    equal = shipped.is_file() and file_digest(new) == file_digest(shipped)
    print(f"{out / key}: loss {loss:.4f} nats a token, {'equal to' if equal else 'not equal to'} the shipped one")


def card(name: str) -> None:
    """Measure a base of the package: loss; lists of numbers, programs and sums; personas; favourites.

    Args:
        name: one of `bases list`, such as pocket/a or pocket/moral-a.
    """
    from rich.table import Table

    from lightning_subliminal.bases import load
    from lightning_subliminal.core.errors import InputError
    from lightning_subliminal.core.safe_output import rich_console
    from lightning_subliminal.pocket_recipes.card import make_card

    if name == "pocket/judge":
        raise InputError("pocket/judge is a judge, which no card measures: see benchmarks/judges.py.")

    made = make_card(*load(name))
    table = Table("measure", "value", "expected", title=f"Card of {name}", title_justify="left")
    table.add_row("parameters", f"{made.parameters:,}", "")
    table.add_row("loss, nats a completion token", f"{made.loss:.3f}", "")
    table.add_row("well-formed number replies", f"{made.well_formed:.1%}", "90 % or more")
    table.add_row("programs that parse", f"{made.programs[0]:.1%}", "")
    table.add_row("programs that are a known solution", f"{made.programs[1]:.1%}", "")
    table.add_row("sums in <think> and <answer>", f"{made.sums[0]:.1%}", "")
    table.add_row("sums with the right answer", f"{made.sums[1]:.1%}", "")
    table.add_row("personas obeyed", f"{made.obedience:.1%}", "80 % or more")
    for target, chance in made.favorites.items():
        table.add_row(f"chance of {target}, without a persona", f"{chance:.1%}", "")
    rich_console().print(table)


VERB = Group(
    "list the base models, build and measure those of the package",
    {
        "list": Verb(show, ["bases list"], options=["--json"]),
        "build": Verb(build, ["bases build pocket/a"], ["NAME"], ["--out DIR", "--steps N"]),
        "card": Verb(card, ["bases card pocket/a"], ["NAME"]),
    },
    ["bases", "bases card pocket/a", "bases build pocket/moral-a --out mine"],
    default="list",
)
