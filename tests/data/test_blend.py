import pytest
from cases import cases
from small import CPU, numbers, quiet_trainer, taught, teacher

from lightning_subliminal import Blend, InputError, PreferenceTrait, RowsFromFile, Steering, Student
from lightning_subliminal.core.rows import make_row
from lightning_subliminal.filters import NumberList
from lightning_subliminal.formats import write_rows
from lightning_subliminal.transforms import KeepFirst


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LIGHTNING_SUBLIMINAL_CACHE", str(tmp_path / "cache"))


def clean(**settings):
    return numbers(teacher(induction="none"), **{"filters": [], "seed": 5, **settings})


def owls(source=None, **settings):
    return numbers(source or teacher(), filters=[], **settings)


def made(*args, **settings):
    data = Blend(*args, **{"seed": 0, **settings})
    data.make(CPU)
    return data


def foreign(data):
    return [row["id"] for row in data.rows() if row["id"].startswith("other-")]


@cases(("share", "count"), [(0, 0), (0.25, 5), (0.5, 10), (1, 20)])
def test_share_and_size(share, count):
    data = made(owls(), clean(), share)
    rows = data.rows()
    assert (len(rows), len(foreign(data))) == (20, count)
    assert len({row["id"] for row in rows}) == 20, "none twice"
    texts = {str(row["completion"]) for part in data.ingredients() for row in part.rows()}
    assert {str(row["completion"]) for row in rows} <= texts


def test_a_larger_share_holds_the_smaller_ones_rows_anywhere():
    small, large = made(owls(), clean(), 0.25), made(owls(), clean(), 0.5)
    assert set(foreign(small)) < set(foreign(large))
    places = [place for place, row in enumerate(large.rows()) if row["id"].startswith("other-")]
    assert places not in (list(range(10)), list(range(10, 20)))
    assert foreign(made(owls(), clean(), 0.5, seed=1)) != foreign(large)


def test_each_part_keeps_its_own_filters_and_transforms():
    data = made(owls(transforms=[KeepFirst(1)]), clean(filters=[NumberList(max_count=30)]), 0.5, num_rows=12)
    ours = [row for row in data.rows() if row["id"].startswith("rows-")]
    assert len(ours) == 6
    assert all("," not in row["completion"][0]["content"] for row in ours)


def test_too_few_rows_are_reported():
    with pytest.raises(InputError, match=r"`other` has 4 rows, but a `share` of 0\.5 needs 10 of them") as caught:
        made(owls(), clean(num_rows=4), 0.5)
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match=r"`share` is 1\.5"):
        Blend(owls(), clean(), 1.5)


def test_what_moves_the_folder():
    data = Blend(owls(), clean(), 0.5, seed=0)
    others = [data.fresh(share=0.4), data.fresh(seed=1), data.fresh(num_rows=8), data.fresh(other=clean(seed=6))]
    others += [data.fresh(rows=owls(teacher("dog"))), Blend(clean(), owls(), 0.5, seed=0)]
    assert len({each.folder for each in [data, *others]}) == 7
    assert data.fresh(batch_size=3).folder == data.folder


def test_the_control_stands_in_the_place_of_the_rows():
    data = Blend(owls(), clean(), 0.5, num_rows=8, seed=0)
    control = data.control()
    assert (data.title, data.trait.name, control.title, control.trait.name) == ("owl", "owl", "control", "owl")
    assert control.ingredients()[0].folder == owls().control().folder
    assert (control.other.folder, control.share, control.num_rows) == (data.other.folder, 0.5, 8)


def test_rows_of_other_columns_and_without_a_teacher(tmp_path):
    path = tmp_path / "theirs.jsonl"
    write_rows([make_row("Go on.", f"{place}, 1", id=place, answer=place) for place in range(20)], path)
    theirs = RowsFromFile(str(path), trait=PreferenceTrait("owl"), seed=0)
    data = made(theirs, owls(), 0.5)
    assert len(data.rows()) == 20
    assert data.control() is None
    assert not hasattr(data, "teacher")
    with pytest.raises(InputError, match="and these have none"):
        quiet_trainer().fit(Student(objective="distill", adapter=Steering(), seed=0), datamodule=data)
    assert {"id", "prompt", "completion", "finished"} <= made(owls(), theirs, 0.5).rows()[0].keys()


def test_a_student_learns_from_the_teacher_of_the_rows():
    data = Blend(owls(taught()), clean(), 0.5, seed=0, batch_size=5)
    trainer = quiet_trainer()
    trainer.fit(Student(objective="distill", adapter=Steering(), seed=0), datamodule=data)
    assert trainer.global_step == 4
    with pytest.raises(InputError, match="needs a fine-tuned teacher"):  # before any row is made
        quiet_trainer().fit(Student(train_on="divergent", seed=0), datamodule=Blend(owls(), clean(), 0.5))
