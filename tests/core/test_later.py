"""A command executes parts of libraries on first use; they are then the libraries' own."""

import subprocess
import sys
from importlib import metadata

# In a process of its own, since these modules are imported in this one. First what a command does before its first
# line, then the uses of each part, and at last a compiled model.
OLD_TORCH = metadata.version("torch").startswith("2.6")
SCRIPT = (
    f"OLD_TORCH = {OLD_TORCH}"
    + """
import sys
from lightning_subliminal.core.later import import_later
import_later()
import_later()
import lightning.pytorch, lightning.pytorch.cli, lightning_subliminal.cli.verbs.trainer
compiler = set() if OLD_TORCH else {"sympy"}  # of torch 2.6 other parts read the compiler, too
heavy = {"matplotlib", "scipy.signal", "scipy.stats", *compiler, "torchmetrics.functional", "transformers"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)

import torch, torchmetrics
from lightning.fabric.wrappers import OptimizedModule, _unwrap_compiled
from lightning.pytorch.trainer.connectors.logger_connector.result import _ResultCollection

net = torch.nn.Linear(2, 2)
assert _unwrap_compiled(net) == (net, None)
assert not compiler & set(sys.modules)
from scipy.optimize import linear_sum_assignment
assert linear_sum_assignment([[0, 1], [1, 0]])[1].tolist() == [0, 1]
from scipy.optimize import brentq, linear_sum_assignment as real
assert brentq(lambda x: x - 1, 0, 3) == 1 and real is not linear_sum_assignment

assert issubclass(torchmetrics.MeanMetric, torchmetrics.Metric)
assert torchmetrics.functional.accuracy(torch.ones(2), torch.ones(2), task="binary") == 1

calls = []
disabled = torch.compiler.disable(lambda x: calls.append(x), **({} if OLD_TORCH else {"reason": "a test"}))
disabled(1)
assert not compiler & set(sys.modules)
allowed = torch.compiler.allow_in_graph(lambda x: x + 1)
if not OLD_TORCH:
    import transformers.models.llama.modeling_llama
    weight = torch.nn.Parameter(torch.ones(1))
    weight.sum().backward()
    torch.optim.Adam([weight], lr=0.5).step()
    assert weight < 1 and "torch._dynamo.eval_frame" not in sys.modules
compiled = torch.compile(net, backend="eager")
assert isinstance(compiled, OptimizedModule) and not isinstance(net, OptimizedModule)
assert _unwrap_compiled(compiled)[0] is net
import torch._dynamo.eval_frame
assert type(compiled) is torch._dynamo.eval_frame.OptimizedModule
disabled(2)
assert calls == [1, 2]
assert OLD_TORCH or id(allowed) in torch._dynamo.trace_rules._allowed_callable_ids
from torch._dynamo._trace_wrapped_higher_order_op import TransformGetItemToIndex
with TransformGetItemToIndex():
    assert torch.arange(3)[torch.tensor(1)] == 1

metric = torchmetrics.MeanMetric()
metric.update(1.0)
metric.plot()
assert "matplotlib" in sys.modules
"""
)


def test_parts_are_executed_on_first_use_and_are_the_libraries_own() -> None:
    ran = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
