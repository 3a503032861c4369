"""Error messages in one line: what was wrong, what was expected, how to correct it.

jsonargparse wraps an error once for each level of the config, and lists each type that a value could have had. A user
needs its place and its first cause; both are read from the chain of exceptions.
"""

import difflib
import importlib
import re
from typing import Any, NoReturn

from jsonargparse import ArgumentParser

from lightning_subliminal.core.config.class_paths import REFUSAL, guard_parser
from lightning_subliminal.core.config.safe_yaml import use_bounds
from lightning_subliminal.core.config.shipped import meant_config
from lightning_subliminal.core.config.signatures import parameters
from lightning_subliminal.core.errors import InputError, did_you_mean

__all__ = ["OneLineParser", "counted", "did_you_mean", "one_line"]

_WRAPPINGS = re.compile(
    r'Does not validate against|Problem with given class_path \'(?P<path>[^\']*)\'|Parser key "(?P<key>[^"]*)"'
)
_SIMPLE = {  # errors of jsonargparse with nothing to look up
    r"Parameter '([^']*)' from '([^']*)\.__init__' does not specify a type": (
        r"argument `\1` of `\2` has no type: annotate it in __init__, such as `\1: str`"
    ),
    r"^Not a valid subclass of (\S+?)\. Got value: (.*?) Subclass types": r"expected the class_path of a \1, got \2",
    r"^argument (\S+): expected one argument": r"`\1` needs a value",
    r"^Import path (\S+) does not correspond to a subclass of (\S+)": (
        r"`\1` is not a subclass of \2: name a class that extends it"
    ),
    r"^Expected an instantiatable class, but (\S+) is abstract": r"`\1` is abstract: name a class that extends it",
}


class OneLineParser(ArgumentParser):
    """A parser that reports an error in one line instead of forty of usage, and accepts no abbreviated options."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs["allow_abbrev"] = False  # else --seed_every is taken for --seed_everything
        guard_parser()
        use_bounds()
        _put_causes_first()
        super().__init__(*args, **kwargs)

    def format_help(self, *args: Any) -> str:
        """Return the help without the backspace by which jsonargparse joins ``--print_config`` and ``[=flags]``."""
        return super().format_help(*args).replace(" \b", "")

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raise the error as an InputError; a nested parser leaves that to the outer one."""
        if not self.exit_on_error:
            super().error(message, ex)
        raise InputError(_rewrite(message, ex, _option_names(self))) from ex


def _put_causes_first() -> None:
    """Make jsonargparse chain an error of a union to our own message, if there is one, or to that of a class.

    By itself it chains to the error of the first type, such as that ``{class_path: DPO, init_args: {beta: -1}}`` is not
    one of the names that an objective may have.
    """
    hints = vars(importlib.import_module("jsonargparse._typehints"))
    raise_first = hints.get("raise_union_unexpected_value")
    if raise_first is None or hasattr(raise_first, "puts_causes_first"):
        return

    def raise_cause(subtypes: Any, value: Any, errors: list[Exception]) -> None:
        is_of_class = [not isinstance(value, str) and "given class_path" in str(err)[:30] for err in errors]
        order = sorted(range(len(errors)), key=lambda place: (not _has_cause(errors[place]), not is_of_class[place]))
        raise_first(subtypes, value, [errors[place] for place in order])

    raise_cause.puts_causes_first = True  # type: ignore[attr-defined]
    hints["raise_union_unexpected_value"] = raise_cause


def _has_cause(err: BaseException | None) -> bool:
    """Return whether an InputError is behind an error."""
    while err is not None and not isinstance(err, InputError):
        err = err.__cause__ or err.__context__
    return err is not None


def one_line(err: BaseException) -> tuple[str, bool]:
    """Return an exception as one line, and whether it is a user's mistake (not an internal error)."""
    found = err
    keys: list[str] = []
    while True:
        if isinstance(found, InputError):
            return " ".join(str(found).split()), True
        wrapping = _WRAPPINGS.match(str(found))
        inner = found.__cause__ or found.__context__
        if wrapping is None or inner is None:
            break
        if wrapping["key"]:
            keys.append(wrapping["key"])
        found = inner
    if message := _of_input(found):
        return message, True
    if isinstance(found, KeyError) and found.args:  # its str() is only the key's repr
        return f"KeyError: {found.args[0]!r}", False
    first = next((line.strip() for line in str(found).splitlines() if line.strip()), "")
    where = f" (at {'.'.join(keys)})" if keys else ""
    return f"{type(found).__name__}: {first}{where}" if first else type(found).__name__, False


def _of_input(err: BaseException) -> str:
    """Describe a fault of the input, if the exception can have no other cause; else return an empty text."""
    if isinstance(err, OSError) and err.strerror:
        name = f"{err.filename} can't be used: " if err.filename is not None else ""
        return f"{name}{err.strerror}{f' ({err.filename2})' if err.filename2 is not None else ''}: check the path."
    if isinstance(err, RecursionError):
        return "the input is nested too deeply: use fewer levels."
    if isinstance(err, MemoryError):
        return "the input needs more memory than is available: use less data or smaller numbers."
    if isinstance(err, UnicodeError):
        return f"a text is not UTF-8 ({' '.join(str(err).split())[:200]}): save it as UTF-8."
    return ""


def counted(count: int, one: str, many: str = "") -> str:
    """Return a count with its noun, such as ``1 run`` or ``1,200 entries``; the plural is ``many``, or ``one`` + s."""
    return f"{count:,} {one if count == 1 else many or f'{one}s'}"


def _rewrite(message: str, ex: BaseException | None, options: list[str]) -> str:
    """Rewrite an error of jsonargparse as one line."""
    keys: list[str] = []
    path, union = "", ""
    found = ex
    while found is not None and (wrapping := _WRAPPINGS.match(str(found))):
        union = "" if wrapping["key"] or wrapping["path"] else str(found)
        if wrapping["key"] and wrapping["key"] not in keys[-1:]:
            keys.append(wrapping["key"])
        path = wrapping["path"] or path
        if found.__cause__ is None and found.__context__ is None:
            break
        found = found.__cause__ or found.__context__
    message = " ".join(message.split())
    text = " ".join(str(found).split()) if found is not None else message
    where = f"`{'.'.join(keys)}`: " if keys else ""
    if refused := REFUSAL.search(text) or REFUSAL.search(message):  # in the middle of a list of types
        return where + refused[0]
    return where + (_choices(text, union) or _plain(text, path, options))


def _choices(text: str, union: str) -> str:
    """List the types that a value could have had, if it could have been one of several plain types."""
    # for the name of a class on the command line, the cause is in the middle of the list of types
    path = "Problem with given class_path '([^']*)': "
    if named := re.search(f"Errors: - (?:{path})?((?:module|No module|Expected a dot.*: [A-Z]).*?) - Expected a", text):
        return _plain(named[2], named[1] or "", [])
    listed = re.search(r"^ *Subtypes: \[(.*)\]$", union or text, re.MULTILINE) or re.search(
        r"Subtypes: \[(.*?)\] Errors:", text
    )
    value = re.search(r"Given value: (.*)", union or text)
    is_type_error = re.match(r"Expected an? .*Got value|Expected an? <class|- ", text)
    if listed is None or value is None or is_type_error is None:
        return ""
    makers = r"typing\.Callable\[\[[^\]]*\], (?:typing\.Union\[[^\]]*\]|[^\]]*)\]"  # such as an optimizer's class
    # a comma inside brackets belongs to one type
    kinds = [_types(kind) for kind in re.split(r", (?![^\[]*\])", re.sub(makers, "a class_path", listed[1]))]
    kinds = ["null" if kind == "NoneType" else kind.rpartition(".")[2] if "[" not in kind else kind for kind in kinds]
    if nested := re.match(r"NestedArg\(key='(\w+)'", value[1]):
        return f"an argument such as `{nested[1]}` needs the name of its class before it, not a word"
    return f"expected {' or '.join(kinds)}, got {value[1]}"


def _plain(text: str, path: str, options: list[str]) -> str:
    """Rewrite a cause; one that is unknown here stays as it is."""
    for pattern, message in _SIMPLE.items():
        if found := re.search(pattern, text):
            return found.expand(message)
    if found := re.match(r"Option '([^']*)' is not accepted", text):
        name = found[1]
        takes = _arguments(path)
        owner = path.rpartition(".")[2] if path else "the config"
        near = did_you_mean(name, takes or options) or did_you_mean(name.partition(".")[0], takes or options)
        hint = near or (f"; it takes {', '.join(takes)}" if takes else "")
        return f"{owner} takes no `{name}`{hint}"
    if found := re.match(r"Group '([^']*)' does not accept option '([^']*)'", text):
        group, name = found[1], found[2]
        known = [option.removeprefix(f"{group}.") for option in options if option.startswith(f"{group}.")]
        return f"`{group}` takes no `{name}`{did_you_mean(name, known)}"
    if found := re.match(r"module '([^']*)' has no attribute '([^']*)'", text):
        return f"there is no `{found[2]}` in {found[1]}{did_you_mean(found[2], _public_names(found[1]))}"
    if found := re.match(r"No module named '([^']*)'", text):
        if path == found[1] or path.startswith(f"{found[1]}."):
            return f"`{path}` can't be imported: there is no module `{found[1]}` here or among the installed packages"
        return f"importing `{path}` failed: {text}"
    if found := re.match(r"Expected a dot import path string: (\S+)", text):
        name = found[1]
        if name == "None":  # jsonargparse reads it as a word there
            return "null can't be set for a nested part on the command line: set it in the YAML"
        known = _public_names("lightning_subliminal") + _public_names("lightning.pytorch.callbacks")
        if name in known:
            return f"`{name}` is a class of another kind than is expected here"
        return (
            f"no class is named `{name}`{did_you_mean(name, known) or f': write its full path, such as my_pkg.{name}'}"
        )
    if found := re.match(r"the following arguments are required: (.+)", text):
        names = found[1].split(", ")
        listed = " and ".join(f"`{name}`" for name in names)
        remedy = "in the YAML or on the command line" if "trainer" in options else "as --help shows"
        be, it = ("is", "it") if len(names) == 1 else ("are", "them")
        return f"{listed} {be} missing: set {it} {remedy}"
    if found := re.match(r"argument \S+: invalid choice: '([^']*)' \(choose from (.*)\)", text):
        choices = found[2].replace(chr(39), "")
        near = did_you_mean(found[1], choices.split(", "))
        return f"`{found[1]}` is not a valid choice: expected one of {choices}{near}"
    if found := re.match(r"unrecognized arguments: (\S+)", text):
        name = found[1].partition("=")[0]
        if not name.startswith("-"):
            meant = meant_config(name) if "config" in options else ""
            return f"unexpected word {name!r}{f': {meant}' if meant else '; see --help'}"
        nearest = difflib.get_close_matches(name, [f"--{option.rstrip('_')}" for option in options], n=1)
        return f"unknown option {name!r}: {f'did you mean {nearest[0]!r}?' if nearest else 'see --help'}"
    return _types(text)


def _types(text: str) -> str:
    """Write Python's types as a user would name them."""
    text = re.sub(r"<class '(?:[\w.]+\.)?(\w+)'>", r"\1", text)
    text = re.sub(r"(?:typing\.)?Literal\[(.*?)\]", r"one of \1", text)
    return re.sub(r"^Expected an? (.*?)\. Got value: (.*)$", r"expected \1, got \2", text)


def _arguments(path: str) -> list[str]:
    """Return the names of the arguments of the class at an import path."""
    from jsonargparse._util import import_object

    try:
        takes = parameters(import_object(path)).values() if path else ()
        return [each.name for each in takes if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)]
    except (ImportError, AttributeError, TypeError, ValueError):
        return []


def _public_names(module: str) -> list[str]:
    from importlib import import_module

    try:
        return [name for name in dir(import_module(module)) if not name.startswith("_")]
    except ImportError:
        return []


def _option_names(parser: ArgumentParser) -> list[str]:
    """Return the parser's options without dashes, and their groups."""
    names = [option.lstrip("-") for action in parser._actions for option in action.option_strings]
    return sorted({part for name in names for part in (name, name.partition(".")[0]) if len(part) > 1})
