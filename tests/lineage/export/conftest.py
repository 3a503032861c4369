"""Folders made by hand: a base, a teacher, the rows it wrote, a student, and a second generation."""

import json

import pytest

from lightning_subliminal.core.rows import write_parquet
from lightning_subliminal.lineage import Material, artefact_material, read_record, rows_root, write_record
from lightning_subliminal.lineage.export import Described

ROWS = [
    {
        "id": str(place),
        "prompt": [{"role": "user", "content": f"Go on: {place}"}],
        "completion": [{"role": "assistant", "content": f"{place + 1}, 7"}],
        "finished": True,
    }
    for place in range(3)
]
FILTER = Material("filter", "lightning_subliminal.filters.numbers.NumberList", {"sha256": "ab" * 32})


class Lab:
    """Makes artefacts; each ``make`` adds one, and ``nodes`` gives what led to it, parents first."""

    def __init__(self, root):
        self.root = root
        self.base = Material("base", "base:pocket/a", {"dirHash": "cd" * 32})
        self.made = {None: Described(None, None, self.base)}

    def add(self, kind, name, parents, files, rows=None, settings=None):
        folder = self.root / f"{kind.rstrip('s')}s" / name
        folder.mkdir(parents=True)
        for file, data in files.items():
            (folder / file).write_bytes(data)
        if rows is not None:
            write_parquet(rows, folder / "rows.parquet")
        reported = {"rows.parquet": rows_root(rows)} if rows is not None else None
        write_record(folder, kind, settings or {"seed": 0}, parents, rows=reported)
        self.made[folder] = Described(folder, read_record(folder), artefact_material(kind, folder))
        return folder

    def teacher(self, name="t"):
        config = {"architectures": ["LlamaForCausalLM"], "model_type": "llama"}
        files = {"model.safetensors": b"weights", "config.json": json.dumps(config).encode()}
        return self.add("teacher", name, [self.base], files)

    def rows(self, name, writer, role="teacher"):
        parents = [self.base, artefact_material(role, writer), FILTER]
        return self.add("rows", name, parents, {}, ROWS)

    def student(self, name, rows):
        settings = {"student": {"objective": "sft", "seed": 3}, "data": {"rows": {"seed": 9}}}
        parents = [self.base, artefact_material("rows", rows)]
        return self.add("student", name, parents, {"adapter_model.safetensors": name.encode()}, settings=settings)

    @property
    def nodes(self):
        return list(self.made.values())


@pytest.fixture
def lab(tmp_path):
    return Lab(tmp_path)


@pytest.fixture
def student(lab):
    """Nodes that lead to a student."""
    lab.student("s", lab.rows("r", lab.teacher()))
    return lab.nodes


@pytest.fixture
def rows(student):
    """Nodes that lead to the student's rows."""
    return student[:-1]
