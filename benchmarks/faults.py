"""Messages and losses of a plan when a stage raises, the disk is full or a file is damaged.

    python benchmarks/faults.py            # as root: it mounts a small tmpfs for the full disk

Each fault is caused on purpose in a small plan, and the lines that a user sees are printed; then the fault is removed
and the same command run again, and what had been made must not be made a second time.
"""

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import harness
import yaml
from rich.console import Console

PLAN: dict[str, Any] = {
    "title": "A small plan",
    "common": str(harness.ROOT / "configs" / "owl_numbers.yaml"),
    "change": {"data.num_prompts": 512, "trainer.max_epochs": 1, "data.teacher.max_epochs": 10},
    "axes": {"target": {"set": "data.teacher.trait.target", "to": ["owl", "wolf", "oak"]}},
    "arms": {"same base": {}},
    "claims": [{"id": "passes", "says": "It passes.", "arm": "same base", "above": 0.1}],
}
RAISING = {"raises": {"change": {"data.filters": [{"class_path": "broken_filter.BrokenFilter"}]}}}
console = Console()


def run(folder: Path, cache: Path) -> tuple[int, list[str]]:
    """Run the plan; return the exit code and the lines that matter."""
    environment = os.environ | {
        "PYTHONPATH": str(harness.ROOT),
        "LIGHTNING_SUBLIMINAL_CACHE": str(cache),
        "COLUMNS": "400",
    }
    command = [sys.executable, "-m", "lightning_subliminal", "run", "--config", "plan.yaml", "--out", "out"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    lines = (done.stdout + done.stderr).splitlines()
    marks = ("failed", "damaged", "stopped", "stages:", "error:", "Traceback")
    return done.returncode, [line for line in lines if line.startswith(marks)]


def count(cache: Path) -> int:
    """Count the complete artefacts in a cache."""
    return len(list(cache.glob("*/*/lineage.json")))


def show(what: str, code: int, lines: list[str]) -> None:
    """Print the lines that a user sees."""
    console.print(f"{what}: exit {code}", style="bold")
    for line in lines:
        console.print(f"  {line}", markup=False, soft_wrap=True)


@contextlib.contextmanager
def small_disk(path: Path, size: str) -> Iterator[None]:
    """Mount a tmpfs."""
    path.mkdir(parents=True)
    subprocess.run(["/usr/bin/mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(path)], check=True)
    try:
        yield
    finally:
        subprocess.run(["/usr/bin/umount", "-l", str(path)], check=True)


def main() -> bool:
    """Cause each fault; return whether the results are as expected."""
    good = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "plan.yaml").write_text(yaml.safe_dump(PLAN | {"arms": PLAN["arms"] | RAISING}))
        (folder / "broken_filter.py").write_text(
            "from lightning_subliminal.filters import Filter\n\n\nclass BrokenFilter(Filter):\n"
            "    def reasons(self, row):\n        raise RuntimeError('the filter is broken')\n"
        )
        code, lines = run(folder, folder / "cache")
        show("a stage that raises", code, lines)
        good.append(code == 1 and any("the filter is broken" in line for line in lines))
        before = count(folder / "cache")
        (folder / "plan.yaml").write_text(yaml.safe_dump(PLAN))
        code, lines = run(folder, folder / "cache")
        show("without it", code, lines)
        good.append(code == 0 and " 0 run" in lines[-1] and count(folder / "cache") == before)

        students = sorted((folder / "cache" / "students").glob("*/*adapter*.safetensors"))
        for path in (folder / "cache" / "measured").glob("*/lineage.json"):
            path.unlink()  # so that students are checked
        students[0].write_bytes(students[0].read_bytes()[:-1] + b"x")
        code, lines = run(folder, folder / "cache")
        show("a damaged file", code, lines)
        good.append(code == 1 and any("was changed after it was made: delete" in line for line in lines))
        subprocess.run(["/bin/rm", "-r", str(students[0].parent)], check=True)
        code, lines = run(folder, folder / "cache")
        show("deleted, as the message suggests", code, lines)
        good.append(code == 0 and " 2 run" in lines[-1])

        if os.geteuid() != 0:
            console.print("not root: the full disk is left out", style="yellow")
            return all(good)
        with small_disk(folder / "disk", "200k"):
            code, lines = run(folder, folder / "disk" / "cache")
            show("a full disk of 200 kB", code, lines)
            made = count(folder / "disk" / "cache")
            good.append(code == 1 and any("No space left on device" in line for line in lines))
            subprocess.run(["/usr/bin/mount", "-o", "remount,size=64m", str(folder / "disk")], check=True)
            code, lines = run(folder, folder / "disk" / "cache")
            show(f"with room again ({made} artefacts had been made)", code, lines)
            good.append(code == 0 and f"{made} in the cache" in lines[-1])
    return all(good)


if __name__ == "__main__":
    raise SystemExit(0 if main() else 1)
