"""The examples as notebooks: one source, `examples/*.py`; the notebooks are built and never committed.

    python docs/_ext/examples.py FOLDER     # full settings, for a reader who wants to run them

When the site is built, ``setup`` writes them with quick settings (``--small``) to docs/tutorials/examples.
"""

import re
import sys
from pathlib import Path
from typing import Any

import jupytext

ROOT = Path(__file__).parent.parent.parent
HEADING = re.compile(r"# \d+\. ")


def split(source: str) -> list[tuple[str, str]]:
    """Split an example into ("markdown" or "code", text) cells.

    The module's docstring is the first cell. A comment at the left margin that begins with a number and a dot, such as
    ``# 1. The trait``, becomes a text cell; the code below it, up to the next one, a code cell.
    """
    docstring, _, body = source.partition('"""\n\n')
    title, _, rest = docstring.removeprefix('"""').partition("\n\n")
    name, _, about = title.partition(":")
    about = about.strip()[:1].upper() + about.strip()[1:]
    cells = [("markdown", f"# {name.rstrip('.')}\n\n{about}\n\n{_commands(rest)}".strip())]
    code: list[str] = []
    lines = iter([*body.splitlines(), "# 0. end"])
    pending: str | None = None
    for line in lines:
        if not HEADING.match(line):
            code.append(line)
            continue
        if "\n".join(code).strip():
            cells.append(("code", "\n".join(code).strip("\n")))
        code, comment = [], [line]
        for pending in lines:
            if not pending.startswith("#"):
                code = [pending]
                break
            if HEADING.match(pending):  # a heading directly below another one
                cells.append(("markdown", _text(comment)))
                comment = [pending]
            else:
                comment.append(pending)
        if comment != ["# 0. end"]:
            cells.append(("markdown", _text(comment)))
    return cells


def _text(comment: list[str]) -> str:
    """Return the Markdown of a numbered comment: its number and first sentence become a heading where it is short."""
    words = "\n".join(line[2:] if line.startswith("# ") else line[1:] for line in comment)
    title, dot, rest = words.partition(". ")[2].partition(".")
    if dot and len(title) < 70 and "\n" not in title:
        return f"## {title}\n{rest}".strip()
    return words.partition(". ")[2]


def _commands(text: str) -> str:
    """Return a docstring's text with its indented commands as a code block."""
    return re.sub(r"((?:^    .*\n?)+)", lambda found: f"```bash\n{_dedent(found[1])}\n```\n", text, flags=re.M)


def _dedent(text: str) -> str:
    return "\n".join(line[4:] for line in text.rstrip("\n").split("\n"))


def notebook(path: Path, quick: bool) -> Any:
    """Return an example as a notebook (of nbformat).

    Args:
        path: the example.
        quick: whether it runs with ``--small``.
    """
    words = [path.name, "--small"] if quick else [path.name]
    # A script shows what it prints, and not the value of its last expression.
    shell = "IPython.core.interactiveshell"
    quiet = f"from {shell} import InteractiveShell\n\nInteractiveShell.ast_node_interactivity = 'none'"
    parts = [f'# %% tags=["remove-cell"]\nimport sys\n\n{quiet}\nsys.argv = {words!r}']
    for kind, text in split(path.read_text(encoding="utf-8")):
        if kind == "code":
            parts.append(f"# %%\n{text}")
        else:
            parts.append("# %% [markdown]\n" + "\n".join(f"# {line}".rstrip() for line in text.split("\n")))
    if quick:
        note = "*This page ran with quick settings (`--small`): too little data to show the effect.*"
        parts.insert(2, f"# %% [markdown]\n# {note}")
    made = jupytext.reads("\n\n".join(parts) + "\n", fmt="py:percent")
    made.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return made


def write(folder: Path, quick: bool) -> list[Path]:
    """Write all examples as notebooks to a folder; a file that is already as it should be is not touched."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for path in sorted((ROOT / "examples").glob("[0-9]*.py")):
        target = folder / f"{path.stem}.ipynb"
        text = jupytext.writes(notebook(path, quick), fmt="ipynb")
        if not target.exists() or _without_ids(target.read_text(encoding="utf-8")) != _without_ids(text):
            target.write_text(text, encoding="utf-8")
        written.append(target)
    return written


def _without_ids(text: str) -> str:
    return re.sub(r'"id": "[^"]*"', "", text)


def setup(app: Any) -> dict[str, bool]:
    """Write the notebooks before Sphinx looks for its sources."""
    write(Path(app.srcdir) / "tutorials" / "examples", quick=True)
    return {"parallel_read_safe": True}


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    for made in write(Path(sys.argv[1]), quick=False):
        print(made)
