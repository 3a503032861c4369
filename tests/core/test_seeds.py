from cases import cases

from lightning_subliminal.core.seeds import derive_seed, resolve_seed


def test_a_given_seed_beats_the_global_one(monkeypatch):
    monkeypatch.delenv("PL_GLOBAL_SEED", raising=False)
    assert (resolve_seed(None), resolve_seed(0), resolve_seed(7)) == (0, 0, 7)
    from lightning.pytorch import seed_everything

    monkeypatch.setenv("PL_GLOBAL_SEED", "1")  # put back at the end
    seed_everything(5, verbose=False)
    assert (resolve_seed(None), resolve_seed(0)) == (5, 0)


def test_each_purpose_has_a_stream_of_its_own():
    seeds = {derive_seed(seed, "shard", shard) for seed in range(20) for shard in range(200)}
    assert len(seeds) == 4000
    assert len({derive_seed(1), derive_seed(1, "a"), derive_seed(1, "b"), derive_seed(1, "a", 0), derive_seed(10)}) == 5
    assert derive_seed(1, "shard", 12) != derive_seed(11, "shard", 2)


@cases(("seed", "purpose"), [(0, ("prompts", 0)), (3, ("order",))])
def test_they_are_the_same_on_every_machine(seed, purpose):
    import hashlib

    name = ":".join(map(str, (seed, *purpose)))
    assert derive_seed(seed, *purpose) == int(hashlib.sha256(name.encode()).hexdigest()[:12], 16) < 2**48
