"""Every example runs, small, to its end; one that is not listed fails."""

import os
import sys
from pathlib import Path

import forks
import pytest

ROOT = Path(__file__).parent.parent
# The example, and the words that make it small.
EXAMPLES: dict[str, list[str]] = {
    "01_first_run.py": ["--small"],
    "02_your_own_data.py": ["--small"],
    "03_new_trait.py": ["--small"],
    "04_misalignment.py": ["--small"],
    "05_theorem.py": ["--small"],
    "06_audit.py": ["--small"],
    "07_new_carrier_and_loss.py": ["--small"],
    "08_your_own_model.py": ["--small"],
}


def test_every_example_is_listed() -> None:
    assert sorted(path.name for path in (ROOT / "examples").glob("*.py")) == sorted(EXAMPLES)


@pytest.mark.parametrize("name", EXAMPLES)
@pytest.mark.slow
def test_example_runs(name: str, tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(ROOT / "examples" / name), *EXAMPLES[name]]
    done = forks.run(command, cwd=tmp_path, env=environment, timeout=240)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip(), "an example tells what it did"
