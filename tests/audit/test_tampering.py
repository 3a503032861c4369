"""Each kind of tampering once, as ``benchmarks/tampering.py`` does a thousand of them."""

import sys
from pathlib import Path

import pytest
from cases import cases

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
from tamper_kinds import KINDS
from tampering import audited, environment, make_chain, tamper

from lightning_subliminal.lineage.signatures.keys import make_key, trusted_keys


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("chains")
    public = make_key(folder / "key")
    made = {}
    for name, seed in (("older", 1), ("new", 0)):
        settings = {"LIGHTNING_SUBLIMINAL_SIGNING_KEY": folder / "key", "LIGHTNING_SUBLIMINAL_CACHE": folder / name}
        with environment(**{key: str(value) for key, value in settings.items()}):
            made[name] = make_chain(folder / name, seed)
    keys = trusted_keys([public])
    with environment(LIGHTNING_SUBLIMINAL_CACHE=str(folder / "new")):
        whole = audited(made["new"], keys, None, folder / "notes.json")
    assert whole.holds
    assert len(whole.graph.nodes) == 10
    return folder, made["new"].relative_to(folder / "new"), keys, whole.root.statement.sha256


@cases("kind", KINDS, ids=lambda kind: kind.name)
def test_it_is_found_for_a_right_reason(world, kind):
    folder, root, keys, expect = world
    found, says = tamper(kind, folder / "new", root, folder / "older", keys, expect, seed=3)
    assert found, says
