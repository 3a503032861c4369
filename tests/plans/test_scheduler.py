"""Scheduling: order, sharing, what is there already, and failures that stop their descendants only."""

from cases import cases
from toy_stages import InProcess, Toy, made

from lightning_subliminal.plans.execution.scheduler import StageGraph, Timings, run_stages


def family(root, does=""):
    """Return leaves that share a parent: a teacher, two students, an evaluation each; and one that stands alone."""
    teacher = Toy("teacher", root)
    first, second = Toy("first", root, (teacher,), does), Toy("second", root, (teacher,))
    return [Toy("eval1", root, (first,)), Toy("eval2", root, (second,)), Toy("alone", root)]


def run(leaves, slots=2):
    graph, executor = StageGraph.of(leaves), InProcess(slots)
    return graph, run_stages(graph, executor), executor


def test_each_stage_is_made_once_after_its_parents(tmp_path):
    graph, summary, executor = run(family(tmp_path))
    order = made(tmp_path)
    assert sorted(order) == ["alone", "eval1", "eval2", "first", "second", "teacher"]
    assert order.index("teacher") < order.index("first") < order.index("eval1")
    assert (len(graph.stages), graph.shared, summary.run, summary.failed) == (6, 1, 6, {})
    assert executor.most <= 2


def test_equal_stages_of_different_objects_are_one(tmp_path):
    graph, summary, _ = run([*family(tmp_path), *family(tmp_path)])
    assert (len(graph.stages), summary.run) == (6, 6)
    assert graph.shared == 4, "teacher again, and three leaves again: what stands below them was not asked for twice"


def test_nothing_runs_again(tmp_path):
    run(family(tmp_path))
    graph, summary, _ = run(family(tmp_path))
    assert (summary.run, len(graph.needed), len(made(tmp_path))) == (0, 0, 6)


def test_what_a_done_leaf_stands_on_need_not_be_there(tmp_path):
    leaves = family(tmp_path)
    run(leaves)
    teacher = leaves[0].needs[0].needs[0]
    (teacher.folder / "measured.json").write_text("changed")
    graph, summary, _ = run(family(tmp_path))
    assert not graph.damaged
    assert summary.run == 0


@cases(("does", "says"), [("raises", "The toy is broken: mend it."), ("surprise", "RuntimeError: first line")])
def test_a_failure_stops_its_descendants_only(tmp_path, does, says):
    leaves = family(tmp_path, does)
    _graph, summary, _ = run(leaves)
    first = leaves[0].needs[0].key
    assert summary.failed == {first: says}
    assert summary.skipped == {leaves[0].key: first}
    assert leaves[1].is_done()
    assert leaves[2].is_done()
    assert not leaves[0].is_done()
    again = StageGraph.of(family(tmp_path))
    assert {stage.name for stage in again.needed.values()} == {"first", "eval1"}, "all else is there"


def test_a_damaged_artefact_is_reported_and_nothing_else_is_lost(tmp_path):
    leaves = family(tmp_path)
    run(leaves)
    (leaves[1].folder / "measured.json").write_text("{}")
    (leaves[0].folder / "lineage.json").unlink()
    _graph, summary, _ = run(family(tmp_path))
    assert list(summary.failed) == [leaves[1].key]
    assert "was changed after it was made: delete" in summary.failed[leaves[1].key]
    assert summary.run == 1, "the one without a record is a killed run's, and is made"


def test_a_damaged_parent_stops_what_needs_it(tmp_path):
    leaves = family(tmp_path)
    run(leaves[:1])
    (leaves[0].needs[0].folder / "measured.json").write_text("{}")
    (leaves[0].folder / "lineage.json").unlink()
    _, summary, _ = run(family(tmp_path))
    assert summary.skipped == {leaves[0].key: leaves[0].needs[0].key}
    assert leaves[1].is_done()


def test_a_full_disk_stops_all_that_has_not_begun(tmp_path):
    leaves = [Toy("full", tmp_path, does="disk"), *(Toy(f"later{place}", tmp_path) for place in range(5))]
    _, summary, _ = run(leaves, slots=1)
    assert summary.stopped == "the disk is full: make room, and run the same command again"
    assert len(made(tmp_path)) < 6


def test_the_longest_way_goes_first(tmp_path):
    chain = Toy("c3", tmp_path, (Toy("c2", tmp_path, (Toy("c1", tmp_path),)),))
    run([Toy("short", tmp_path), chain], slots=1)
    assert made(tmp_path)[0] == "c1"


def test_timings_are_medians_of_the_last_runs(tmp_path):
    timings = Timings(tmp_path / "timings.json")
    toy = Toy("toy", tmp_path)
    before = timings.estimate(toy)
    for seconds in (1.0, 2.0, 9.0):
        timings.add(toy, seconds)
    timings.save()
    assert Timings(tmp_path / "timings.json").estimate(toy) == 2.0 != before
    (tmp_path / "timings.json").write_text("no JSON")
    assert Timings(tmp_path / "timings.json").estimate(toy) == before


def test_the_longest_way_goes_first_where_stages_take_no_time_that_is_noted(tmp_path):
    timings = Timings(tmp_path / "timings.json")
    toy = Toy("toy", tmp_path)
    timings.add(toy, 0.0002)
    assert timings.seconds[toy.kind] == [0.0]
    assert timings.estimate(toy) > 0
