import json

import pytest
import torch
from small import CPU, number_rows, numbers, quiet_trainer, taught

from lightning_subliminal import Blend, Graduate, InputError, PreferenceTrait, RowsFromFile, Steering, Student, Teacher
from lightning_subliminal.formats import write_rows
from lightning_subliminal.generation import Sampling
from lightning_subliminal.workflow import train_arm
from lightning_subliminal.workflow.arms import arm_folder


@pytest.fixture(scope="module", autouse=True)
def _own_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LIGHTNING_SUBLIMINAL_CACHE", str(tmp_path_factory.mktemp("graduates")))
        yield


def student(seed=0, **settings):
    return Student("pocket/a", **{"adapter": Steering(), "learning_rate": 0.03, "seed": seed, **settings})


def first(**settings):
    return Graduate(student(), numbers(taught(), filters=[]), max_epochs=2, **settings)


def chain(depth, source):
    for generation in range(depth):
        source = Graduate(student(generation), numbers(source, seed=generation), max_epochs=1)
    return source


def test_it_is_trained_once_as_an_arm_is(capsys):
    graduate = first()
    graduate.make(CPU)
    assert "kept in" in capsys.readouterr().out
    graduate.make(CPU)
    assert "reused" in capsys.readouterr().out
    arm = train_arm(student(), numbers(taught(), filters=[]), CPU, "student", max_epochs=2)
    assert "reused" in capsys.readouterr().out
    model = graduate.ready(CPU)
    assert not model.training
    assert all(torch.equal(one, other) for one, other in zip(model.parameters(), arm.parameters(), strict=True))
    assert any(bool(layer.steering.any()) for layer in model.net.model.layers)
    assert graduate.student.net is None, "the one given stays untrained"


def test_it_writes_rows_and_gives_soft_targets():
    graduate = first()
    data = numbers(graduate, filters=[], batch_size=10)
    assert (data.title, graduate.base, graduate.system_prompt) == ("owl", "pocket/a", None)
    data.make(CPU)
    assert graduate._trained is None, "let go after the writing"
    base = Teacher("pocket/a", PreferenceTrait("owl"), induction="none", seed=0)
    prompts = [row["prompt"] for row in number_rows(3)]
    said = [
        source.engine(CPU, 2).generate(prompts, Sampling(max_new_tokens=8, greedy=True), 0)
        for source in (graduate, graduate, base)
    ]
    assert said[0] == said[1] != said[2]
    trainer = quiet_trainer()
    trainer.fit(student(1, objective="distill"), datamodule=data)
    assert trainer.global_step == 2


def test_it_must_be_made():
    with pytest.raises(InputError, match="call `make` first"):
        Graduate(student(9), numbers(taught()), 1).ready(CPU)
    with pytest.raises(InputError, match="`max_epochs` is 0"):
        Graduate(student(), numbers(taught()), 0)


def test_the_control_is_a_chain_of_controls(tmp_path):
    graduate = chain(3, taught())
    control = graduate.control()
    assert (graduate.induction, control.induction) == ("finetune", "none")
    assert numbers(control).title == "control"
    assert control.trait == graduate.trait
    source = control
    while isinstance(source, Graduate):
        source = source.rows.teacher
    assert source.induction == "none"
    assert Graduate(student(), Blend(numbers(taught()), numbers(), 0.5).control(), 1).induction == "none"
    write_rows(number_rows(4), tmp_path / "rows.jsonl")
    path = str(tmp_path / "rows.jsonl")
    reported = Graduate(student(), RowsFromFile(path, control_path=path), 1)
    assert (reported.induction, reported.control().induction) == ("finetune", "none")
    with pytest.raises(InputError, match="have no control"):
        Graduate(student(), RowsFromFile(path), 1).control()


def test_all_that_shapes_it_moves_the_description_and_long_chains_stay_short():
    graduate = first()
    rows = graduate.rows
    others = [
        Graduate(student(1), rows, 2),
        Graduate(student(), rows, 3),
        Graduate(student(), rows.fresh(batch_size=3), 2),
        Graduate(student(), rows.fresh(val_rows=3), 2),
        Graduate(student(), rows.fresh(seed=1), 2),
        Graduate(student(), rows.fresh(teacher=taught("dog")), 2),
        graduate.control(),
    ]
    reported = [json.dumps(each.describe(), sort_keys=True) for each in [graduate, *others]]
    assert len(set(reported)) == len({each.folder for each in [graduate, *others]}) == 8
    assert graduate.folder == arm_folder(student(), rows, max_epochs=2)
    assert graduate.describe()["data"]["rows"].startswith(rows.folder.name), "whose record goes on from there"
    lengths = [len(json.dumps(chain(depth, taught()).describe())) for depth in (1, 5)]
    assert lengths[0] == lengths[1]
    assert chain(5, taught()).describe() != chain(5, taught("dog")).describe(), "what began it still shapes it"
