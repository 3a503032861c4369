"""Row gradients by bergson, in an environment of its own: a worker of attribution.py, which starts it.

    python -m venv attrvenv && attrvenv/bin/pip install torch bergson

It needs nothing of this package: model and tokens come from a folder.
"""

import argparse
import json
import time
from pathlib import Path


def memory(name: str) -> float:
    """Return a size of this process in MB: VmRSS, or VmHWM, its peak."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(name))


def main() -> None:
    """Print seconds, peak memory and size of the gradients as JSON."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("folder", type=Path, help="with model/ and rows.json")
    options.add_argument("--dim", type=int, default=0, help="of the projection, on both sides of a module's gradient")
    given = options.parse_args()

    import torch
    from bergson import CollectorComputer, GradientProcessor, IndexConfig, InMemoryCollector
    from bergson.data import allocate_batches
    from datasets import Dataset
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(1)
    model = AutoModelForCausalLM.from_pretrained(given.folder / "model", dtype=torch.float32)
    model.requires_grad_(False)
    model.get_input_embeddings().requires_grad_(True)  # as bergson's own worker does, so that hooks see a backward pass
    rows = json.loads((given.folder / "rows.json").read_text())
    run = given.folder / "bergson"
    (given.folder / "bergson.part").mkdir(exist_ok=True)

    def collect(part: dict[str, list[list[int]]]) -> InMemoryCollector:
        config = IndexConfig(run_path=str(run), projection_dim=given.dim)
        data = Dataset.from_dict(part)
        processor = GradientProcessor(projection_dim=given.dim or None)
        collector = InMemoryCollector(model=model.base_model, data=data, cfg=config, processor=processor)
        batches = allocate_batches([len(each) for each in part["input_ids"]], config.token_batch_size)
        computer = CollectorComputer(model, data, collector=collector, batches=batches, cfg=config)
        computer.run_with_collector_hooks()
        return collector

    collect({name: values[:64] for name, values in rows.items()})
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts from here
    before, start = memory("VmRSS"), time.process_time()
    found = collect(rows)
    seconds = time.process_time() - start
    peak = memory("VmHWM")
    size = sum(each.shape[1] for each in found.gradients.values())
    print(json.dumps({"seconds": seconds, "peak": peak, "grown": peak - before, "size": size}))


if __name__ == "__main__":
    main()
