"""The same stages on Ray, where it is installed (extra `[ray]`)."""

import pytest
from toy_stages import Toy

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.plans.execution.ray_executor import RayExecutor
from lightning_subliminal.plans.execution.scheduler import StageGraph, run_stages


def test_without_ray_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(InputError, match=r"pip install 'lightning-subliminal\[ray\]'"):
        RayExecutor()


@pytest.mark.slow
def test_stages_run_as_tasks(tmp_path):
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'lightning-subliminal[ray]'")
    leaves = [
        Toy("child", tmp_path, (Toy("parent", tmp_path),)),
        Toy("broken", tmp_path, does="raises"),
        Toy("dies", tmp_path, does="dies"),
    ]
    with RayExecutor(workers=2) as executor:
        summary = run_stages(StageGraph.of(leaves), executor)
    assert summary.run == 2
    assert leaves[0].result() == {"name": "child", "needs": ["parent"]}
    assert summary.failed[leaves[1].key] == "The toy is broken: mend it."
    assert "Ray worker died" in summary.failed[leaves[2].key]
