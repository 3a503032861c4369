"""The example workflow for GitHub: it is valid, and its command is one of ours."""

import re
import shlex
from pathlib import Path

import pytest
import yaml
from docs.blocks import Block, parse

FOLDER = Path(__file__).parents[3] / "examples" / "github"


@pytest.fixture(scope="module")
def action():
    return yaml.safe_load((FOLDER / "action.yml").read_text())


@pytest.fixture(scope="module")
def workflow():
    return yaml.safe_load((FOLDER / "screen.yml").read_text())


def test_the_command_has_the_options_that_it_names(action):
    (step,) = action["runs"]["steps"]
    (line,) = [each for each in step["run"].splitlines() if each.startswith("lightning-subliminal")]
    words = shlex.split(line.partition(" && ")[0])[1:]
    values = {"$ROWS": "rows.jsonl", "$BASE": "pocket/a", "$CARRIER": "numbers", "$ALPHA": "0.01"}
    parse([values.get(word, word) for word in words], Block("bash", line, 1))
    assert set(values) == {f"${name}" for name in step["env"]}


def test_no_input_is_text_of_a_script(action, workflow):
    steps = [*action["runs"]["steps"], *workflow["jobs"]["screen"]["steps"]]
    assert not [each["run"] for each in steps if "${{" in each.get("run", "")]


def test_the_workflow_hands_the_action_what_it_takes(action, workflow):
    (job,) = workflow["jobs"].values()
    (given,) = [each["with"] for each in job["steps"] if each.get("uses", "").startswith("./")]
    assert set(given) <= set(action["inputs"])
    assert {name for name, each in action["inputs"].items() if each.get("required")} <= set(given)
    assert job["permissions"]["security-events"] == "write"
    written = re.findall(r"screens/screen\.\w+", (FOLDER / "action.yml").read_text())
    assert set(written) == {"screens/screen.sarif", "screens/screen.html"}
    assert "screens/screen.sarif" in str(job["steps"][-1])
