"""The API page and the command-line page, from what the package says of itself.

docs/api.md and docs/cli.md each list what there is (``python docs/_ext/references.py`` writes the lists, and a test
compares them) and hold a comment that stands for the reference; Sphinx's ``source-read`` puts it in its place.
"""

import contextlib
import io
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
TOPICS = {  # the folder of the package that a public name comes from, and the section that it is shown in
    "traits": "Traits",
    "data": "Data sets and carriers",
    "filters": "Filters",
    "transforms": "Transforms",
    "screening": "Choosing rows",
    "models": "Models, adapters and objectives",
    "generation": "Generation",
    "evaluation": "Evaluation",
    "judges": "Judges",
    "metrics": "Metrics",
    "workflow": "Workflow",
    "callbacks": "Callbacks",
    "formats": "Reading and writing rows",
    "core": "Errors",
}
FURTHER = {  # modules whose `__all__` is documented beside the top-level names
    "lightning_subliminal.theory": "Theory",
    "lightning_subliminal.workflow": "Trials",
    "lightning_subliminal.bases": "Bases",
    "lightning_subliminal.metrics.functional": "Metrics as functions",
}


def public_names() -> dict[str, list[str]]:
    """Return the top-level names by topic, read from the package's stub."""
    found: dict[str, list[str]] = defaultdict(list)
    stub = (ROOT / "lightning_subliminal" / "__init__.pyi").read_text(encoding="utf-8")
    for folder, name in re.findall(r"^from \.(\w+)\S* import (\w+) as \2$", stub, flags=re.M):
        found[TOPICS.get(folder, folder.capitalize())].append(name)
    order = [*TOPICS.values(), *found]
    return {topic: found[topic] for topic in dict.fromkeys(order) if topic in found}


def api_reference() -> str:
    """Return the sections of the API page, as Markdown."""
    from importlib import import_module

    text, shown = [], set()
    for topic, names in public_names().items():
        text.append(f"## {topic}\n")
        for name in names:
            shown.add(name)
            text.append(_entry("lightning_subliminal", name))
    for module, topic in FURTHER.items():
        names = [name for name in import_module(module).__all__ if name not in shown]
        shown |= set(names)
        text.append(f"## {topic}: `{module}`\n")
        text += [_entry(module, name) for name in names]
    return "\n".join(text)


def _entry(module: str, name: str) -> str:
    from importlib import import_module

    thing = getattr(import_module(module), name)
    if isinstance(thing, type):
        kind, options = "autoclass", "\n   :members:\n   :show-inheritance:"
    else:
        kind, options = ("autofunction", "") if callable(thing) else ("autodata", "")
    return f"```{{eval-rst}}\n.. {kind}:: {module}.{name}{options}\n```\n"


def run_help(words: list[str]) -> str:
    """Return what the command line prints for some words."""
    from lightning_subliminal.cli.entry import main

    text = io.StringIO()
    with contextlib.redirect_stdout(text), contextlib.suppress(SystemExit):
        main(words)
    return text.getvalue().replace(str(Path.home()), "~").rstrip()


def option_rows(parser: Any) -> list[tuple[str, str, str]]:
    """Return name, meaning and default of each argument of a parser."""
    rows = []
    for action in parser._actions:
        names = action.option_strings or [action.dest]
        if action.dest in ("help", "config", "print_config") or action.help == "==SUPPRESS==":
            continue
        meaning = " ".join(str(action.help or "").split())
        meaning = re.sub(r"\s*\((?:type|default|required)[^()]*(?:\([^()]*\)[^()]*)*\)\s*$", "", meaning)
        default = "required" if action.required or not action.option_strings else f"`{action.default}`"
        rows.append((", ".join(f"`{name}`" for name in names), meaning, default))
    return rows


def lists() -> dict[str, str]:
    """Return what each page lists below its first paragraph, also in a clone, as Markdown."""
    from lightning_subliminal.cli.table import commands

    names = [f"| {topic} | {', '.join(f'`{name}`' for name in found)} |" for topic, found in public_names().items()]
    rows = [f"| `{name}` | {_cell(command.about)} |" for name, command in commands().items() if " " in name]
    return {
        "api": "\n".join(["| topic | names |", "|---|---|", *names]),
        "cli": "\n".join([f"```text\n{run_help(['--help'])}\n```\n", "| command | does |", "|---|---|", *rows]),
    }


def cli_reference() -> str:
    """Return the sections of the command-line page, as Markdown."""
    from lightning_subliminal.cli.table import MODULES, commands

    text = []
    for verb in MODULES:
        text.append(f"## {verb}\n\n```text\n{run_help([verb, '--help'])}\n```\n")
        for name, command in commands().items():
            if name.split()[0] != verb:
                continue  # of the trainer's verbs, `--help=all` lists some hundred options of Lightning's Trainer
            if rows := option_rows(command.parser(name)):
                text.append(f"\n**`{name}`: all arguments**\n\n| argument | meaning | default |\n|---|---|---|")
                text += ["| " + " | ".join(_cell(each) for each in row) + " |" for row in rows]
                text.append("")
    return "\n".join(text)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ") or "-"


REFERENCES = {"api": ("<!-- reference: api -->", api_reference), "cli": ("<!-- reference: cli -->", cli_reference)}


def _fill(app: Any, name: str, source: list[str]) -> None:
    """Put a reference where its mark is, and let links to documents outside of docs/ lead to the files themselves."""
    if name in REFERENCES:
        mark, make = REFERENCES[name]
        source[0] = source[0].replace(mark, make())
    folder = Path(app.env.doc2path(name)).parent

    def link(found: re.Match[str]) -> str:
        inside = (folder / found[1]).resolve().is_relative_to(Path(app.srcdir).resolve())
        return found[0] if inside else f"](path:{found[1]})"

    source[0] = re.sub(r"\]\(([^():#\s]+\.md)(?:#[^)\s]*)?\)", link, source[0])


def _plain_bars(app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Keep reStructuredText from reading the bars of a formula in a docstring, ``|D x|``, as a substitution."""
    for place, line in enumerate(lines):
        parts = re.split(r"(``.*?``)", line)
        lines[place] = "".join(part if part[:2] == "``" else part.replace("|", r"\|") for part in parts)


def setup(app: Any) -> dict[str, bool]:
    """Put the references where their marks are."""
    app.connect("source-read", _fill)
    app.connect("autodoc-process-docstring", _plain_bars)
    return {"parallel_read_safe": True}


if __name__ == "__main__":
    for page, listed in lists().items():
        file = ROOT / "docs" / f"{page}.md"
        head, mark, rest = file.read_text(encoding="utf-8").partition("<!-- list -->\n")
        end = rest[rest.index("<!-- end of the list -->") :]
        file.write_text(f"{head}{mark}{listed}\n{end}", encoding="utf-8")
