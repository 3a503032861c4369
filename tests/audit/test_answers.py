import pytest

from audit.chains import generation, student, teacher
from lightning_subliminal import bases
from lightning_subliminal.audit import Digests, audit
from lightning_subliminal.lineage import artefact_material, write_test_result
from lightning_subliminal.lineage.keys import make_key, trusted_keys


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LIGHTNING_SUBLIMINAL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def look(path, **settings):
    return audit(path, digests=Digests(remember=False), **{"measure": False, **settings})


def verdicts(found):
    return {risk.verdict for risk in found.risks}


@pytest.mark.parametrize(
    ("writes", "learns", "verdict"),
    [
        ("pocket/a", "pocket/a", "shared"),
        ("pocket/a2", "pocket/a", "shared"),  # a2 goes on from a
        ("pocket/a", "pocket/a2", "shared"),
        ("pocket/judge", "pocket/moral-a", "shared"),
        ("pocket/a", "pocket/a-matched", "matched"),
        ("pocket/a-matched", "pocket/a", "matched"),
        ("pocket/a", "pocket/b", "not by lineage"),
    ],
)
def test_shared_bases_by_lineage(cache, writes, learns, verdict):
    found = look(student(cache, generation(cache, teacher(cache, writes), writes), learns))
    assert verdicts(found) == {verdict}
    assert {"shared": "shared-base", "matched": "matched-base"}.get(verdict) in {
        *(each.rule for each in found.findings if each.level == "warning"),
        None,
    }
    assert found.holds, "a risk is no fault"


def test_what_the_lineage_does_not_show_is_measured(cache):
    rows = generation(cache, teacher(cache, "pocket/a"), "pocket/a")
    assert verdicts(look(rows, against="pocket/a-init", measure=True)) == {"related"}
    assert verdicts(look(rows, against="pocket/b", measure=True)) == {"apart"}


def test_rows_are_asked_about_before_anybody_trains(cache):
    rows = generation(cache, teacher(cache, "pocket/a2"), "pocket/a2")
    found = look(rows, against="pocket/a")
    (risk,) = found.risks
    assert (risk.verdict, risk.shared, risk.learner) == ("shared", ("pocket/a",), "pocket/a")
    assert not look(rows).risks, "nobody learns from them yet"


def test_a_base_that_wrote_itself_is_the_writer(cache):
    (risk,) = look(generation(cache, None, "pocket/a"), against="pocket/a").risks
    assert (risk.writer, risk.verdict) == ("pocket/a", "shared")


def test_generations_are_counted_along_the_longest_way(cache):
    first = generation(cache, teacher(cache))
    assert look(first).generations == 1
    second = generation(cache, student(cache, first), number=1)
    assert look(second).generations == 2
    assert look(student(cache, second, seed=1)).generations == 2
    assert look(bases.resolve("pocket/a").folder).generations == 0


class TestResults:
    def test_a_failed_test_flags_whoever_stands_upstream(self, cache, tmp_path):
        source = teacher(cache)
        last = student(cache, generation(cache, source))
        write_test_result(cache / "measured" / "x", "it", artefact_material("teacher", source), {"owl": (0.3, 0.4)})
        found = look(last)
        assert found.flagged == [f"teachers/{source.name}"]
        assert found.holds, "a flag is a warning"
        assert not look(last, levels={"flagged": "error"}).holds

    def test_a_pass_must_be_there_and_signed(self, cache, tmp_path, monkeypatch):
        key = make_key(tmp_path / "key")
        keys = trusted_keys([key])
        monkeypatch.setenv("LIGHTNING_SUBLIMINAL_SIGNING_KEY", str(tmp_path / "key"))
        source = teacher(cache)
        last = student(cache, generation(cache, source))

        def result(ends):
            folder = cache / "measured" / "x"
            write_test_result(folder, "it", artefact_material("teacher", source), {"owl": ends})

        def untested():
            return "untested" in {each.rule for each in look(last, keys=keys, require=["tested"]).findings}

        assert untested(), "no test is no pass"
        result((-0.1, 0.2))
        assert untested(), "undecided is no pass"
        result((-0.01, 0.02))
        assert not untested()
        monkeypatch.delenv("LIGHTNING_SUBLIMINAL_SIGNING_KEY")
        result((-0.01, 0.02))
        assert untested(), "nobody trusted says so"

    def test_a_result_about_something_else_says_nothing(self, cache):
        source, other = teacher(cache), teacher(cache, seed=1)
        write_test_result(cache / "measured" / "x", "it", artefact_material("teacher", other), {"owl": (0.3, 0.4)})
        found = look(student(cache, generation(cache, source)))
        assert (found.flagged, found.results) == ([], 0)
