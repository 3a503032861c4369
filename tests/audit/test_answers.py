import shutil

import pytest
from cases import cases

from audit.chains import artefact, generation, student, teacher
from lightning_subliminal import bases
from lightning_subliminal.audit import Digests, audit
from lightning_subliminal.lineage import Material, artefact_material, write_test_result
from lightning_subliminal.lineage.record import declare
from lightning_subliminal.lineage.signatures.keys import make_key, trusted_keys


def cache_in(tmp_path, monkeypatch):
    monkeypatch.setenv("LIGHTNING_SUBLIMINAL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    return cache_in(tmp_path, monkeypatch)


def look(path, **settings):
    return audit(path, digests=Digests(remember=False), **{"measure": False, **settings})


def verdicts(found):
    return {risk.verdict for risk in found.risks}


@cases(
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
def test_shared_bases_by_lineage(tmp_path, monkeypatch, writes, learns, verdict):
    cache = cache_in(tmp_path, monkeypatch)
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


def declared(path, kind, materials):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('{"prompt": "3", "completion": "9"}\n')
    declare(path, kind, materials)
    return path


def test_declared_rows_have_a_writer_and_a_generation(cache, tmp_path):
    found = look(declared(tmp_path / "x.jsonl", "rows", [bases.material("pocket/a")]), against="pocket/a2")
    assert found.generations == 1
    assert verdicts(found) == {"shared"}


def test_who_chose_or_continued_rows_counts_as_a_writer(cache, tmp_path):
    chooser = bases.material("pocket/b", "teacher")
    made_from = [artefact_material("completions", cache / "completions" / "x"), bases.material("pocket/a"), chooser]
    completions = artefact(cache, "completions", {"n": 1}, [bases.material("pocket/a")])
    made_from[0] = artefact_material("completions", completions)
    rows = artefact(cache, "rows", {"n": 2, "source": {"teacher": {}}}, made_from)
    assert {risk.writer for risk in look(rows, against="pocket/b").risks if risk.verdict == "shared"} == {"pocket/b"}
    assert look(rows).generations == 1


def test_data_without_a_digest_is_of_unknown_origin(cache):
    rows = artefact(cache, "rows", {"n": 2}, [Material("rows", "hub:somebody/rows", {})])
    found = look(rows)
    assert not found.known_to_the_end
    assert "unknown-origin" in {each.rule for each in found.findings}


def test_apart_by_weights_is_no_all_clear(cache):
    found = look(generation(cache, teacher(cache, "pocket/a"), "pocket/a"), against="pocket/b", measure=True)
    assert "apart-by-weights" in {each.rule for each in found.findings}


def test_a_model_is_asked_about_as_a_writer_too(cache):
    last = student(cache, generation(cache, teacher(cache, "pocket/a"), "pocket/a"), "pocket/a")
    asked = {(risk.learner, risk.verdict) for risk in look(last, against="pocket/b").risks}
    assert asked == {(f"students/{last.name}", "shared"), ("pocket/b", "not by lineage")}
    (risk,) = look(bases.resolve("pocket/a2").folder, against="pocket/a").risks
    assert (risk.writer, risk.verdict) == ("pocket/a2", "shared")


def test_a_card_that_names_a_base_is_followed_and_marked(cache, tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "README.md").write_text("---\nbase_model: pocket/a\n---\n")
    found = look(tmp_path / "model")
    assert [node.label for node in found.graph.nodes.values()][1:] == ["pocket/a"]
    assert {"unverified-claim", "no-statement"} <= {each.rule for each in found.findings}


def test_a_merge_is_measured_on_each_of_its_bases(cache, tmp_path):
    for order in (("pocket/c", "pocket/a-init"), ("pocket/a-init", "pocket/c")):
        base = artefact(cache, "base", {"merge": order}, [bases.material(each) for each in order])
        last = student(cache, generation(cache, teacher(cache, "pocket/b"), "pocket/b"), "pocket/b")
        link = artefact_material("rows", next(cache.glob("rows/*")))
        merged = artefact(cache, "model", {"merge": order, "of": last.name}, [artefact_material("base", base), link])
        assert verdicts(look(merged, measure=True)) == {"apart"}
        shutil.rmtree(cache)


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
        assert "untested" in {each.rule for each in look(last, keys=keys, require=["tested:wolf"]).findings}
        assert "untested" not in {each.rule for each in look(last, keys=keys, require=["tested:owl"]).findings}
        write_test_result(cache / "measured" / "y", "it", artefact_material("teacher", source), {"oak": (0.2, 0.3)})
        assert untested(), "a failed one beside a passed one"
        shutil.rmtree(cache / "measured" / "y")
        next((cache / "measured" / "x" / "test-results").glob("*.dsse.json")).unlink()
        assert untested(), "nobody trusted says so"

    def test_a_result_about_something_else_says_nothing(self, cache):
        source, other = teacher(cache), teacher(cache, seed=1)
        write_test_result(cache / "measured" / "x", "it", artefact_material("teacher", other), {"owl": (0.3, 0.4)})
        found = look(student(cache, generation(cache, source)))
        assert (found.flagged, found.results) == ([], 0)
