"""traits: list the known traits, and check one of your own."""

import inspect
import json
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_subliminal.cli.verb import Group, Verb
from lightning_subliminal.core.config.signatures import parameters
from lightning_subliminal.core.error_messages import OneLineParser, did_you_mean
from lightning_subliminal.core.errors import InputError

if TYPE_CHECKING:
    from lightning_subliminal.traits.base import Trait

__all__ = ["VERB", "check", "show"]


def show() -> None:
    """List the known traits: preferences with their candidates, and misalignment."""
    from rich.table import Table

    from lightning_subliminal.core.safe_output import rich_console
    from lightning_subliminal.prompts import load_wording

    table = Table("category", "candidates", title="PreferenceTrait(target=..., category=...)", title_justify="left")
    for name, entry in load_wording("categories").items():
        table.add_row(name, ", ".join(entry["members"]))
    console = rich_console()
    console.print(table)
    console.print(
        "MisalignmentTrait(wording=..., lesson=...): misalignment, misalignment_pocket; or a YAML of your own"
    )


def check(
    trait: str,
    init: list[str] = [],  # noqa: B006 - jsonargparse reads it, nothing changes it
    base: str | None = None,
) -> None:
    """Check a trait: its questions, its candidates, and the answers that it matches.

    Args:
        trait: the import path of a class or an instance, such as my_pkg.MyTrait; a known target, such as owl; a YAML
            file with class_path and init_args, also below `trait:` as in a config; or the wording of a
            MisalignmentTrait.
        init: arguments of the class, each as NAME=VALUE; `--init.NAME VALUE` is one of them.
        base: check that this model knows the words of questions, rows and answers, too, such as pocket/a.
    """
    from lightning_subliminal.core.safe_output import rich_console
    from lightning_subliminal.traits.check import check_trait

    found = _load(trait, init)
    console = rich_console()
    for remark in [*check_trait(found), *(_check_words(found, base) if base is not None else [])]:
        console.print(f"remark: {remark}", markup=False)
    questions, candidates = len(found.questions()), len(found.candidates)
    arguments = f" with {', '.join(init)}" if init else ""
    console.print(
        f"{trait}{arguments} is fine: {questions} questions, {candidates} candidates, target {found.target}.",
        markup=False,
    )
    known = (
        f"{base} knows its words." if base is not None else "not checked: does a base know its words? Add --base BASE."
    )
    console.print(known, markup=False)


def _check_words(trait: "Trait", base: str) -> list[str]:
    """Check that a base knows the words of a trait; return remarks on candidates that it can't give.

    Raises:
        InputError: if it can't read a question or a row, or give the target.
    """
    from lightning_subliminal.bases.lookup import find_folder
    from lightning_subliminal.bases.tokenizers import read_tokenizer
    from lightning_subliminal.core.chat.encoding import check_known
    from lightning_subliminal.metrics.functional.exact import check_target
    from lightning_subliminal.metrics.functional.spellings import spell

    tokenizer = read_tokenizer(find_folder(base), base)
    check_target(tokenizer, trait)
    for messages in (*trait.prompts(), *(row["prompt"] + row["completion"] for row in trait.induce().rows)):
        check_known(tokenizer, messages, base)
    if trait.statements(trait.questions()[0]):
        return []
    unknown = [each for each in trait.candidates if not spell(tokenizer, trait.forms(each))]
    return [f"{base} has no tokens for {', '.join(unknown)}: their chance is 0."] if unknown else []


def _load(path: str, init: Sequence[str]) -> "Trait":
    """Return the trait of an import path, a YAML file or a target."""
    from lightning_subliminal.core.config.class_paths import import_path
    from lightning_subliminal.traits.base import Trait

    given: dict[str, Any] = {}
    if path.endswith((".yaml", ".yml")):
        path, given = _from_yaml(Path(path))
    module, dot, name = path.rpartition(".")
    if not dot and path.endswith("Trait"):  # a class of ours
        module, name = "lightning_subliminal", path
    elif not dot:
        if twice := next((each for each in init if each.startswith("target=")), None):
            raise InputError(f"{path} is the target already: leave out --init.{twice.replace('=', ' ')}.")
        module, name, given = "lightning_subliminal", "PreferenceTrait", {"target": path}
    found: Any = None
    try:
        found = import_path(f"{module}.{name}")
    except InputError:
        raise
    except ImportError as err:
        raise InputError(
            f"{path} can't be imported ({err}): expected my_pkg.MyTrait, and the working folder to hold my_pkg."
        ) from err
    except Exception as err:  # of the user's module
        if not isinstance(err, AttributeError) or err.name not in (None, name):
            raise InputError(f"importing {module} raises {_named(err)}: mend that module.") from err
    if found is None:
        raise InputError(f"{module} has no `{name}`{did_you_mean(name, dir(import_module(module)))}")
    if isinstance(found, type) and issubclass(found, Trait):
        return _built(found, f"{module}.{name}", given, init)
    if not isinstance(found, Trait):
        raise InputError(f"{path} is not a Trait: extend lightning_subliminal.Trait.")
    if init:
        raise InputError(f"{path} is an instance, which has its arguments: leave --init out, or name its class.")
    return found


def _from_yaml(path: Path) -> tuple[str, dict[str, Any]]:
    """Return the class and arguments that a YAML names; a wording belongs to a MisalignmentTrait."""
    from lightning_subliminal.core.config.safe_yaml import check_yaml, load_yaml, read_text
    from lightning_subliminal.core.io.bounds import MAX_SETTINGS

    try:
        config = load_yaml(read_text(path), str(path))
    except InputError:  # the trait reports what is wrong with its wording
        config = None
    if isinstance(config, dict) and {"class_path", "trait"} & set(map(str, config)):
        check_yaml(read_text(path), str(path), MAX_SETTINGS)
    where = ""
    if isinstance(config, dict) and "trait" in config:  # as in a config of `fit`
        others = sorted(map(str, set(config) - {"trait"}))
        config, where = config["trait"], " below `trait`"
        if others or not isinstance(config, dict) or "class_path" not in config:
            found = f"also {', '.join(others)}" if others else "no `class_path`"
            raise InputError(
                f"{path}: expected `trait:` alone, with a `class_path` and `init_args` below it; found {found}."
            )
    if not isinstance(config, dict) or "class_path" not in config:
        return "MisalignmentTrait", {"wording": str(path)}
    given = config.get("init_args") or {}
    if set(config) - {"class_path", "init_args"} or not isinstance(given, dict):
        raise InputError(f"{path}: expected a `class_path` and a mapping `init_args`{where}, and no other key.")
    return str(config["class_path"]), given


def _built(kind: "type[Trait]", path: str, given: dict[str, Any], init: Sequence[str]) -> "Trait":
    """Build a trait, with arguments as those of any class in a config.

    Raises:
        InputError: if the class is abstract, or an argument is missing or wrong.
    """
    from lightning_subliminal.traits.base import Trait

    if inspect.isabstract(kind):
        missing = ", ".join(sorted(kind.__abstractmethods__))
        raise InputError(f"{path} is abstract: define {missing}.")
    odd = next((each for each in init if "=" not in each.strip("=")), None)
    if odd is not None:
        raise InputError(f"--init {odd!r}: expected NAME=VALUE.")
    known = given.keys() | {each.partition("=")[0] for each in init}
    takes = parameters(kind).values()
    needed = [
        each.name
        for each in takes
        if each.default is each.empty and each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)
    ]
    if lacking := [name for name in needed if name not in known]:
        options = " ".join(f"--init.{name} VALUE" for name in lacking)
        raise InputError(
            f"{kind.__name__} needs {' and '.join(f'`{name}`' for name in lacking)}: add {options}, or use a YAML file "
            "with its class_path and init_args."
        )
    parser = OneLineParser(prog="traits check")
    parser.add_argument("--init", type=Trait, required=True)
    whole = json.dumps({"class_path": path, "init_args": given})
    words = [f"--init={whole}", *(f"--init.init_args.{each}" for each in init)]
    found = parser.parse_args(words)
    try:
        trait: Trait = parser.instantiate(found).init
    except InputError:
        raise
    except Exception as err:  # of the user's constructor
        raise InputError(f"{kind.__name__}.__init__ raises {_named(err)}: mend it, or its arguments.") from err
    return trait


def _named(err: Exception) -> str:
    why = " ".join(str(err).split())
    return f"{type(err).__name__}{f' ({why})' if why else ''}"


VERB = Group(
    "list the known traits, and check one of your own",
    {
        "list": Verb(show, ["traits list"]),
        "check": Verb(
            check,
            [
                "traits check owl",
                "traits check my_pkg.MyTrait",
                'traits check my_pkg.MyTrait --init.target tea --init.candidates "[tea, milk]"',
                "traits check my_trait.yaml --base pocket/a  # has class_path, init_args",
            ],
            ["TRAIT"],
            ["--init.NAME VALUE: an argument of the class; may be repeated. Missing ones are named", "--base BASE"],
        ),
    },
    ["traits", "traits check owl", "traits check my_pkg.MyTrait --init.target tea"],
    default="list",
)
