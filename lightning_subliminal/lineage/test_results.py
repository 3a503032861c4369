"""What an evaluation says of a model, as a statement about that model: does it behave as its control does?

A measurement alone decides nothing. Against a control it is an equivalence test: passed where the 95 % interval of the
difference lies within the margin, failed where it lies outside, warned where it does neither, or where there is no
control. Two models that answer nothing that was asked for are alike, too: where a guard has a doubt, no test passes.
So a policy can be monotonic: deny unless somebody trusted has PASSED it.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from lightning_subliminal.lineage.material import Material
from lightning_subliminal.lineage.names import RESULTS
from lightning_subliminal.lineage.record import write_statement
from lightning_subliminal.lineage.statement import result_statement

__all__ = ["MARGIN", "verdicts", "write_test_result"]

MARGIN = 0.05  # of a rate: smaller differences would take more questions than a suite has to be told from none

Ends = tuple[float, float] | None


def verdicts(differences: Mapping[str, Ends], margin: float = MARGIN) -> tuple[list[str], list[str], list[str]]:
    """Sort tests by what the interval of their difference to the control says.

    Args:
        differences: lower and upper end by the test's name; None, or an end that is nan, where there is none.
        margin: the largest difference that is called none.

    Returns:
        Names of tests that passed, that warned, that failed.

    Example:
        >>> verdicts({"owl": (0.3, 0.4), "truth": (-0.01, 0.02), "code": (0.0, 0.1), "numbers": None})
        (['truth'], ['code', 'numbers'], ['owl'])
    """
    passed: list[str] = []
    warned: list[str] = []
    failed: list[str] = []
    for name, ends in differences.items():
        if ends is None or not all(map(math.isfinite, ends)):
            warned.append(name)
        elif ends[0] > margin or ends[1] < -margin:
            failed.append(name)
        elif -margin <= ends[0] and ends[1] <= margin:
            passed.append(name)
        else:
            warned.append(name)
    return passed, warned, failed


def write_test_result(
    folder: Path,
    name: str,
    subject: Material,
    differences: Mapping[str, Ends],
    configuration: Sequence[Material] = (),
    margin: float = MARGIN,
    doubts: Mapping[str, Sequence[str]] | None = None,
) -> None:
    """Write what was tested, into ``folder/test-results``, as in-toto's test-result v0.1.

    Args:
        folder: the evaluation's.
        name: of the file, such as the model's.
        subject: the model.
        differences: as for ``verdicts``.
        configuration: what it was tested with, its control among them.
        margin: as for ``verdicts``.
        doubts: what makes a test's figures hard to read, such as two models that give no answer at all. Such a test
            can't pass: it warns, and the statement says why.

    Raises:
        InputError: if it can't be written.
    """
    if not subject.digest:  # a model that only has a name can't be told from another
        return
    passed, warned, failed = verdicts(differences, margin)
    doubted = {test: list(told) for test, told in (doubts or {}).items() if told and test in differences}
    warned += [test for test in passed if test in doubted]
    passed = [test for test in passed if test not in doubted]
    told = Material("margin", "urn:x-lightning-subliminal:margin", {}, annotations={"rate": margin, "confidence": 0.95})
    why = (
        [Material("guard", "urn:x-lightning-subliminal:guard", {}, annotations={"reasons": doubted})] if doubted else []
    )
    asked = [each.as_json() for each in (*configuration, told, *why)]
    statement = result_statement([subject.as_json()], passed, warned, failed, asked)
    write_statement(folder / RESULTS / f"{_file_name(name)}.json", statement)


def _file_name(name: str) -> str:
    """Return a name as a file may have it; one that had to be changed gets 8 digits of its own, so that no two meet."""
    safe = "".join(each if each.isalnum() or each in "-_." else "-" for each in name).lstrip(".")[:100]
    if safe and safe == name and not safe.endswith(".dsse"):
        return safe
    return f"{safe.strip('-') or 'model'}-{hashlib.sha256(name.encode(errors='surrogatepass')).hexdigest()[:8]}"
