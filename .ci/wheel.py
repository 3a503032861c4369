"""Build the wheel from the sdist, install it away from the repository, run README's first command there.

    python .ci/wheel.py FOLDER

Called by .ci/run with the interpreter of the test environment, whose libraries the clean environment borrows through a
path file: what is installed in editable mode there is not importable through it, which is checked.
"""

import os
import re
import shlex
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

ROOT = Path(__file__).parent.parent.resolve()
CHECK = """
import sys
from pathlib import Path
import lightning_subliminal
from lightning_subliminal.lineage.environment import code_digest
root, made = Path(sys.argv[1]), Path(lightning_subliminal.__file__).resolve()
if len(sys.argv) > 2:
    assert made.is_relative_to(sys.argv[2]), made
    assert not [path for path in sys.path if path and Path(path).resolve().is_relative_to(root)], sys.path
print(code_digest())
"""


def run(*words: object, folder: Path) -> str:
    """Run a command in a folder; show what it prints where it fails."""
    print("$", shlex.join(map(str, words)) if "-c" not in words else f"{words[0]} -c ...", flush=True)
    env = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    done = subprocess.run([*map(str, words)], cwd=folder, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{done.stdout}{done.stderr}\nexit {done.returncode}")
    return done.stdout


def check(right: bool, wrong: str) -> None:
    """Stop with a line where something is not right."""
    if not right:
        sys.exit(wrong)


def build(folder: Path) -> Path:
    """Build the sdist in the repository, as setuptools must, and the wheel from nothing but the sdist."""
    code = "import sys; from setuptools import build_meta; build_meta.build_sdist(sys.argv[1])"
    run(sys.executable, "-c", code, folder, folder=ROOT)
    [sdist] = folder.glob("*.tar.gz")
    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, sdist, folder=folder)
    [wheel] = folder.glob("*.whl")
    return wheel


def install(wheel: Path, folder: Path) -> Path:
    """Install the wheel into an environment that borrows this one's libraries; return its folder of programs."""
    venv.create(folder, with_pip=False)
    own = sysconfig.get_paths(vars={"base": str(folder), "platbase": str(folder)})
    borrowed = sysconfig.get_paths()["purelib"]
    Path(own["purelib"], "borrowed.pth").write_text(f"{borrowed}\n", encoding="utf-8")
    options = ("--quiet", "--no-deps", "--no-index", "--ignore-installed")
    run(folder / "bin" / "python", "-m", "pip", "install", *options, wheel, folder=folder)
    return folder / "bin"


def main() -> None:
    """Do all of it."""
    work = Path(sys.argv[1]).resolve()
    away = work / "away"
    away.mkdir(parents=True)
    bin = install(build(work), work / "clean")
    digests = {
        run(bin / "python", "-c", CHECK, ROOT, work, folder=away),
        run(sys.executable, "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{CHECK}", ROOT, folder=ROOT),
    }
    check(len(digests) == 1, f"the wheel's code has another digest than the repository's: {digests}")
    program = bin / "lightning-subliminal"
    listed = run(program, "configs", "list", folder=away)
    for path in (ROOT / "configs").rglob("*.yaml"):
        name = path.relative_to(ROOT / "configs").as_posix().removesuffix(".yaml")
        check(f"  {name} " in listed, f"`configs list` lacks {name}")
    run(program, "configs", "copy", "experiments/paper", "copied", folder=away)
    for plan in ("experiments/paper", "copied/experiments/paper.yaml"):
        print(run(program, "run", "--config", plan, "--dry-run", folder=away).splitlines()[0])
    first = re.search(r"&& (lightning-subliminal fit [^#]*)#", (ROOT / "README.md").read_text(encoding="utf-8"))
    check(first is not None, "README's first command is not where it was")
    words = shlex.split(first[1] if first else "")[1:]
    # Away from the repository a shipped config is found by its name.
    print(run(program, *(re.sub(r"^configs/(\w+)\.yaml$", r"\1", word) for word in words), folder=away))


main()
