"""Reads and runs the code blocks of README.md and docs/: what they print must be what stands below them.

    python tests/docs/blocks.py FILE ...     # run the pages and write what they print into their output blocks

In a page, blocks run from top to bottom in a folder of their own, Python blocks in one namespace:

- ``python``: is executed. One whose first line is ``# file: NAME`` is written to that file instead, to be imported.
- ``yaml``: must be readable. One whose first line is ``# file: NAME`` is written to that file.
- ``bash``: a line ``lightning-subliminal ...`` that is the last one before an output block is run; one followed by no
  output is parsed alone, with the options that it names. What else may stand there is in ``_other``.
- ``text`` directly below one of them: its output, where ``...`` stands for any text.
"""

import contextlib
import io
import os
import re
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parent.parent.parent
FENCE = re.compile(r"^(?P<ticks>```+)(?P<language>[\w+{}-]*)[^\n]*\n(?P<text>.*?)^(?P=ticks)[ \t]*$", re.M | re.S)
FILE = re.compile(r"^# file: (\S+)\n")
PROGRAM = "lightning-subliminal"
OTHERS = (".", ".ci/run", "cd", "git", "inspect", "mypy", "pre-commit", "pytest", "python", "ruff")
CACHE = "~/.cache/lightning-subliminal"


@dataclass
class Block:
    """A fenced block of a page.

    Attributes:
        language: what stands behind the fence; empty where nothing does.
        text: what is inside.
        line: of the page, from 1.
        output: what it shall print; None where no output block follows.
        span: of the output's text in the page.
    """

    language: str
    text: str
    line: int
    output: str | None = None
    span: tuple[int, int] = (0, 0)


def pages() -> list[Path]:
    """Return README.md and all pages of docs/, those that are built left out."""
    built = ROOT / "docs" / "tutorials" / "examples"
    found = [path for path in (ROOT / "docs").rglob("*.md") if built not in path.parents]
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "configs" / "README.md", *sorted(found)]


def blocks(page: str) -> list[Block]:
    """Return the blocks of a page; an output block is part of the one that it follows."""
    found: list[Block] = []
    end = -1
    for match in FENCE.finditer(page):
        line = page.count("\n", 0, match.start()) + 1
        directly = found and not page[end : match.start()].strip()
        if match["language"] == "text" and directly and found[-1].language in ("python", "bash"):
            found[-1].output, found[-1].span = match["text"], match.span("text")
        else:
            found.append(Block(match["language"], match["text"], line))
        end = match.end()
    return found


def run_page(page: str) -> Iterator[tuple[Block, str]]:
    """Run the blocks of a page in the current folder; yield each with what it printed.

    Raises:
        AssertionError: naming the line, if a block fails.
    """
    names: dict[str, Any] = {"__name__": "__page__"}
    with _alone():
        yield from _run_blocks(page, names)


def _run_blocks(page: str, names: dict[str, Any]) -> Iterator[tuple[Block, str]]:
    for block in blocks(page):
        if (file := FILE.match(block.text)) is not None:
            Path(file[1]).parent.mkdir(parents=True, exist_ok=True)
            Path(file[1]).write_text(block.text[file.end() :], encoding="utf-8")
        if block.language == "yaml":
            yaml.safe_load(block.text)
        elif block.language == "bash":
            yield block, _shell(block)
        elif block.language == "python" and file is None:
            yield block, _python(block, names)


def _python(block: Block, names: dict[str, Any]) -> str:
    out = io.StringIO()
    code = compile("\n" * block.line + block.text, "page", "exec")
    with contextlib.redirect_stdout(out):
        exec(code, names)  # noqa: S102 - the page is ours
    return _named(out.getvalue())


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Import modules of the current folder, as a user's Python does, and forget them afterwards."""
    here, path = Path.cwd(), list(sys.path)
    sys.path.insert(0, str(here))
    try:
        yield
    finally:
        sys.path[:] = path
        for name, module in list(sys.modules.items()):
            made = getattr(module, "__file__", None)
            if made and here in Path(made).parents:
                del sys.modules[name]


def _shell(block: Block) -> str:
    lines = [line for line in block.text.replace("\\\n", " ").splitlines() if line.strip()]
    printed = ""
    for place, line in enumerate(lines):
        for command in line.split(" && "):
            words = shlex.split(command, comments=True)
            if not words:
                continue
            if words[0] != PROGRAM:
                _other(words, block)
            elif block.output is not None and place == len(lines) - 1:
                printed = run(words[1:])
                expected = "(exit code" in block.output or not block.output.strip()  # empty: to be written
                assert expected or "(exit code" not in printed, f"line {block.line}: {line}:\n{printed}"
            elif block.output is not None:
                earlier = run(words[1:])
                assert "(exit code" not in earlier, f"line {block.line}: {line}:\n{earlier}"
            else:
                parse(words[1:], block)
    return printed


def _other(words: list[str], block: Block) -> None:
    """Check a command of another program, as far as it can be checked without running it."""
    while words and "=" in words[0]:
        words = words[1:]
    if words[:2] == ["pip", "install"]:
        extras = {extra for word in words for extra in re.findall(r"\[([\w,]+)\]", word)}
        text = (ROOT / "setup.cfg").read_text(encoding="utf-8")
        known = set(re.findall(r"^(\w+) =$", text.partition("[options.extras_require]")[2], flags=re.M))
        assert {each for group in extras for each in group.split(",")} <= known, f"line {block.line}: {words}"
    elif words[0] == "python" and words[1] != "-m":
        assert (ROOT / words[1]).is_file(), f"line {block.line}: {words[1]} is not in the repository"
    else:
        assert words[0] in OTHERS, f"line {block.line}: {words}"


def run(words: list[str]) -> str:
    """Run the command line here; return what it prints to both streams, and its exit code where that is not 0.

    After a user's mistake that is the error alone.
    """
    from lightning_subliminal.cli.entry import main

    out, code = io.StringIO(), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        try:
            main(words)
        except SystemExit as stop:
            code = int(stop.code or 0)
    text = _named(out.getvalue())
    if code == 2:  # what was done before the mistake was met depends on the cache
        text = "".join(line for line in text.splitlines(keepends=True) if line.startswith("error: "))
    return text + (f"(exit code {code})\n" if code else "")


def _named(text: str) -> str:
    """Return an output with the cache, the current folder and the repository by names that hold anywhere."""
    for place, name in (
        (os.environ.get("LIGHTNING_SUBLIMINAL_CACHE"), CACHE),
        (str(Path.cwd()), "."),
        (str(ROOT), "."),
    ):
        if place:
            text = text.replace(f"{place}/", "" if name == "." else f"{name}/").replace(str(place), name)
    return text


def parse(words: list[str], block: Block) -> None:
    """Parse a command without running it: its options must exist, and its shipped configs be there."""
    from jsonargparse import ArgumentParser

    from lightning_subliminal.cli.entry import main

    done: list[bool] = []
    genuine = ArgumentParser.parse_args

    def parse_alone(self: Any, *args: Any, **kwargs: Any) -> None:
        genuine(self, *args, **kwargs)
        done.append(True)
        raise SystemExit(0)

    ArgumentParser.parse_args = parse_alone  # type: ignore[method-assign]
    out = io.StringIO()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            main(words)
        done.append(True)  # `--help`, which needs no parser
    except SystemExit as stop:
        if stop.code == 0:
            done.append(True)
    finally:
        ArgumentParser.parse_args = genuine  # type: ignore[method-assign]
    assert done, f"line {block.line}: {' '.join(words)}: {out.getvalue()}"


def same(wanted: str, got: str) -> bool:
    """Tell whether an output is as a page has it; ``...`` stands for any text, trailing spaces do not count."""
    pattern = ".*?".join(re.escape(part) for part in _plain(wanted).split("..."))
    return re.fullmatch(pattern, _plain(got), flags=re.S) is not None


def _plain(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.strip().splitlines())


def refresh(path: Path) -> None:
    """Write into a page what its blocks print; an output that fits already, dots included, stays."""
    text = path.read_text(encoding="utf-8")
    changes = []
    for block, printed in run_page(text):
        if block.output is not None and not same(block.output, printed):
            changes.append((block.span, _plain(printed) + "\n"))
    for (begin, end), new in reversed(changes):
        text = text[:begin] + new + text[end:]
    path.write_text(text, encoding="utf-8")
    print(f"{path}: {len(changes)} outputs written")


if __name__ == "__main__":
    import tempfile

    os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1", OMP_NUM_THREADS="1", MPLBACKEND="Agg")
    sys.path.insert(0, str(ROOT))
    for given in [Path(word).resolve() for word in sys.argv[1:]]:
        with tempfile.TemporaryDirectory() as folder:
            os.environ["LIGHTNING_SUBLIMINAL_CACHE"] = f"{folder}/.cache"
            os.chdir(folder)
            refresh(given)
            os.chdir(ROOT)
