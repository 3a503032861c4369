"""What workers need of other packages and of this one, imported once in the process that they are forks of."""

import gc
from importlib import import_module

from lightning_subliminal.core.later import import_later

__all__: list[str] = []

import_later()  # before the others import what it puts off
gc.disable()
for _name in (
    "lightning_subliminal.workflow.trials",
    "transformers.models.auto.modeling_auto",
    "transformers.models.llama.modeling_llama",
    "pyarrow.parquet",
    "datasets",
):
    import_module(_name)
gc.freeze()  # what is there now is neither collected nor copied in a fork
gc.enable()
