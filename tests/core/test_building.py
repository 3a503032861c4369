"""From a config's mapping to objects: the same as `fit` builds, and one line for each mistake."""

import pytest
from cases import cases

from lightning_subliminal import NumberSequences, PreferenceTrait, Steering, Student, Teacher
from lightning_subliminal.core.config.building import build, changed, read_yaml
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.fingerprint import digest

CONFIG = {
    "model": {"class_path": "lightning_subliminal.Student", "init_args": {"adapter": {"class_path": "Steering"}}},
    "data": {
        "class_path": "NumberSequences",
        "init_args": {
            "teacher": {
                "class_path": "Teacher",
                "init_args": {"trait": {"class_path": "PreferenceTrait", "init_args": {"target": "owl"}}},
            },
            "num_prompts": 64,
        },
    },
}


def test_objects_are_those_that_python_makes():
    student, data = build(CONFIG["model"], 3), build(CONFIG["data"], 3)
    teacher = Teacher(trait=PreferenceTrait("owl"), seed=3)
    assert digest(student) == digest(Student(adapter=Steering(), seed=3))
    assert digest(data) == digest(NumberSequences(teacher, num_prompts=64, seed=3))


def test_a_seed_that_is_given_stays():
    assert build({"class_path": "Student", "init_args": {"seed": 7}}, 3).seed == 7


def test_yaml_texts_become_the_numbers_they_mean():
    assert build({"class_path": "Student", "init_args": {"learning_rate": "1e-3"}}).learning_rate == 1e-3
    assert build({"class_path": "Student", "init_args": {"learning_rate": 1}}).learning_rate == 1.0


def test_changes_go_by_dotted_keys_and_leave_the_original():
    made = changed(CONFIG, {"data.teacher.trait.target": "wolf", "model.base": "pocket/b", "trainer.max_epochs": 2})
    assert build(made["data"]).trait.target == "wolf"
    assert build(made["model"]).base == "pocket/b"
    assert made["trainer"] == {"max_epochs": 2}
    assert build(CONFIG["data"]).trait.target == "owl"


def test_a_number_counts_the_parts_of_a_list():
    config = {"data": {"init_args": {}, "class_path": "X"}}
    config = changed(config, {"data.transforms": [{"class_path": "KeepFirst", "init_args": {"k": 3}}]})
    assert changed(config, {"data.transforms.0.k": 5})["data"]["init_args"]["transforms"][0]["init_args"] == {"k": 5}


@cases(
    ("reported", "says"),
    [
        ({"class_path": "Studnt"}, "no class is named `Studnt`"),
        ({"class_path": "no_such_pkg.Student"}, "no class is named `no_such_pkg.Student`"),
        ({"class_path": "Student", "init_args": {"bas": "pocket/a"}}, "Student takes no `bas`; did you mean `base`"),
        ({"class_path": "Student", "base": "pocket/a"}, "'base' is next to class_path: put it into init_args"),
        (
            {"class_path": "Student", "init_args": {"learning_rate": "fast"}},
            "`model.learning_rate` is 'fast': expected float",
        ),
        ({"class_path": "Student", "init_args": {"warmup_steps": 1.5}}, "expected int"),
        ({"class_path": "Student", "init_args": {"objective": "sf"}}, "expected 'sft' or 'distill'"),
        ({"class_path": "NumberSequences"}, "NumberSequences lacks `teacher`"),
        ({"class_path": "Student", "init_args": {"learning_rate": -1}}, "`model`: The learning rate is -1"),
    ],
)
def test_mistakes_are_reported_in_one_line(reported, says):
    with pytest.raises(InputError, match=says) as found:
        build(reported, 0, "model")
    assert "\n" not in str(found.value)


@cases(("key", "says"), [("model.base.x", "`model.base` is 'pocket/a'"), ("data.x.y.0", None)])
def test_a_key_into_nothing(key, says):
    config = changed(CONFIG, {"model.base": "pocket/a"})
    if says is None:
        assert changed(config, {key: 1})["data"]["init_args"]["x"] == {"y": {"0": 1}}
        return
    with pytest.raises(InputError, match=says):
        changed(config, {key: 1})


def test_files_that_are_no_yaml(tmp_path):
    for text, says in (("a: [", "is not valid YAML"), ("- 1", "holds a list"), ("", "is empty")):
        path = tmp_path / "plan.yaml"
        path.write_text(text)
        with pytest.raises(InputError, match=says):
            read_yaml(path)
    with pytest.raises(InputError, match="is not there"):
        read_yaml(tmp_path / "other.yaml")
