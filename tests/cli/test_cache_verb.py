"""`lightning-subliminal cache`: what is kept, whom it belongs to, and that nothing goes which is needed or held."""

import fcntl
import json
import os
import time
from pathlib import Path

import pytest
import yaml
from cases import cases

from lightning_subliminal.cli.entry import main
from lightning_subliminal.cli.support.cache_entries import delete, entries
from lightning_subliminal.core.cache import known_runs, note_run
from lightning_subliminal.lineage import Material, artefact_material, write_record

ROOT = Path(__file__).parents[2]
TOY = "model: {class_path: toy.Toy}\ndata: {class_path: toy.ToyData}\ntrainer: {max_epochs: 1}\n"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """Return the cache of a test, and stand beside it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LIGHTNING_SUBLIMINAL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path / "cache"


def made(kind, name, parents=(), size=10, age=0.0, whole=True):
    """Write an artefact as a stage does."""
    folder = Path("cache").absolute() / kind / name
    folder.mkdir(parents=True)
    (folder / "file.bin").write_bytes(bytes(size))
    if whole:
        write_record(folder, kind.rstrip("s"), {"name": name}, [artefact_material("parent", each) for each in parents])
    for each in folder.iterdir():
        os.utime(each, (time.time() - age, time.time() - age))
    return folder


def a_run(name, parents=(), root="runs", config=TOY, finished=True):
    folder = Path(root) / name
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(("# finished\n" if finished else "") + config)
    if parents:
        (folder / "student").mkdir()
        (folder / "student" / "model.bin").write_bytes(b"1")
        materials = [artefact_material("rows", each) for each in parents]
        write_record(folder / "student", "student", {}, materials)
    return folder


def chain(tag="0"):
    """Make teacher, completions and rows, each from the one before."""
    teacher = made("teachers", tag * 16)
    completions = made("completions", tag * 16, [teacher])
    return made("rows", tag * 16, [completions])


def listed(capsys, *words):
    main(["cache", "ls", "--json", *words])
    return {
        f"{each['kind']}/{Path(each['path']).name}": each for each in json.loads(capsys.readouterr().out)["entries"]
    }


def cleaned(capsys, *words):
    main(["cache", "clean", "--json", *words])
    reported = json.loads(capsys.readouterr().out)
    return {f"{each['kind']}/{Path(each['path']).name}" for each in reported["entries"]}, reported["kept"]


def test_each_entry_says_whom_it_belongs_to(capsys):
    a_run("owl-1", [chain("a")])
    a_run("owl-2", [Path("cache/rows/aaaaaaaaaaaaaaaa")])
    chain("b")
    made("teachers", "c" * 16, whole=False)
    Path("cache/outcomes").mkdir()
    Path("cache/outcomes/1.json").write_text("{}")
    found = listed(capsys)
    for kind in ("teachers", "completions", "rows"):
        assert found[f"{kind}/{'a' * 16}"]["runs"] == ["owl-1", "owl-2"]
        assert found[f"{kind}/{'b' * 16}"]["runs"] == []
    assert not found[f"teachers/{'c' * 16}"]["finished"]
    assert found["outcomes/1.json"]["bytes"] == 2
    assert list(listed(capsys, "--kind", "rows")) == [f"rows/{'a' * 16}", f"rows/{'b' * 16}"]
    main(["cache", "ls"])
    text = capsys.readouterr().out
    assert "no run (unfinished)" in text
    assert "owl-1, owl-2" in text
    assert "no run needs 2 of them" in text
    assert "2 runs are known" in text


def test_clean_shows_and_deletes_only_when_reported(capsys):
    a_run("owl-1", [chain("a")])
    chain("b")
    gone = {f"{kind}/{'b' * 16}" for kind in ("teachers", "completions", "rows")}
    assert cleaned(capsys) == (gone, {"that runs need": 3})
    main(["cache", "clean"])
    text = capsys.readouterr().out
    assert f"Would be deleted from {Path('cache').absolute()}" in text
    assert "would be deleted, nothing was; --yes deletes them" in text
    assert len(listed(capsys)) == 6
    assert cleaned(capsys, "--yes")[0] == gone
    assert {each.rpartition("/")[2] for each in listed(capsys)} == {"a" * 16}
    main(["cache", "clean", "--yes"])
    assert "deleted 0 entries" in capsys.readouterr().out
    assert not [each for each in Path("cache").rglob("*") if "b" * 16 in each.name or each.name.endswith(".lock")]


def test_what_no_stage_has_made_is_never_deleted(capsys):
    """A cache that is set to a folder of somebody's, with a `students` of his own in it."""
    ours = made("students", "a" * 16, age=1e6)
    half = made("rows", f".{'b' * 16}.99.part", age=1e6, whole=False)
    thesis = made("students", "thesis", age=1e6, whole=False)
    note = Path("cache/rows/notes.txt").absolute()
    note.write_text("mine")
    os.utime(note, (1e9, 1e9))
    assert [each["ours"] for each in listed(capsys).values()] == [True, False, True, False]
    main(["cache", "clean", "--yes"])
    assert "2 that no stage has made" in capsys.readouterr().out
    assert thesis.is_dir()
    assert note.is_file()
    assert not ours.exists()
    assert not half.exists()


def test_age_and_kind(capsys):
    made("rows", "a" * 16, age=3 * 86400)
    made("rows", "b" * 16, age=3600)
    made("teachers", "a" * 16, age=3 * 86400)
    assert cleaned(capsys, "--older-than", "2d", "--kind", "rows") == ({f"rows/{'a' * 16}"}, {"younger than 2d": 1})
    assert len(cleaned(capsys, "--older-than=1w")[0]) == 0
    assert len(cleaned(capsys, "--kind", "rows,teachers")[0]) == 3
    assert len(cleaned(capsys, "--kind", "rows", "--kind", "teachers", "--older-than", "12h")[0]) == 2


def test_what_is_being_made_stays(capsys):
    made("teachers", "a" * 16, whole=False)
    made("teachers", "b" * 16, whole=False, age=7200)
    assert cleaned(capsys) == ({f"teachers/{'b' * 16}"}, {"unfinished, written within the hour": 1})


@cases("name", ["a" * 16, ".smollm2-135m.part"])
def test_what_a_lock_holds_is_never_deleted(name, capsys):
    folder = made("bases", name)
    made("rows", "b" * 16)
    lock = folder.parent / f".{name.strip('.').removesuffix('.part')}.lock"
    with lock.open("a") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        assert listed(capsys)[f"bases/{name}"]["locked"]
        assert cleaned(capsys, "--yes") == ({f"rows/{'b' * 16}"}, {"that a lock holds": 1})
        (entry,) = entries(Path("cache").absolute())
        assert not delete(entry), "nor if it was taken after the look"
        assert folder.is_dir()
    assert cleaned(capsys, "--yes")[0] == {f"bases/{name}"}, "a lock that nobody holds any more holds nothing"
    assert not lock.exists()


def test_figures_and_replies_go_only_when_named(capsys):
    for kind in ("outcomes", "judges", "digests"):
        (Path("cache") / kind).mkdir(parents=True)
        (Path("cache") / kind / "x.json").write_text("{}")
    (Path("cache") / "timings.json").write_text("{}")
    assert cleaned(capsys, "--yes")[0] == set()
    assert cleaned(capsys, "--yes", "--kind", "outcomes")[0] == {"outcomes/x.json"}
    assert sorted(path.name for path in Path("cache").rglob("*.json")) == ["timings.json", "x.json", "x.json"]


def test_runs_elsewhere(capsys):
    a_run("far", [chain("a")], root="other/place")
    assert len(cleaned(capsys)[0]) == 3
    assert cleaned(capsys, "--runs", "other/place")[0] == cleaned(capsys, "--runs", "other/place/far")[0] == set()
    note_run(Path("other/place/far"))
    note_run(Path("other/place/far"))
    assert known_runs() == [Path("other/place/far").absolute()]
    assert cleaned(capsys)[0] == set()
    for each in ("student", "config.yaml"):
        os.rename(f"other/place/far/{each}", each)
    Path("other/place/far").rmdir()
    assert known_runs() == []


def test_a_plan_keeps_what_it_has_noted(capsys):
    chain("a")
    Path("runs/paper-1").mkdir(parents=True)
    Path("runs/paper-1/log.txt").write_text("")
    Path("runs/paper-1/stages.json").write_text(json.dumps([f"rows/{'a' * 16}", "students/not-there-yet"]))
    assert cleaned(capsys)[0] == set(), "and what its rows are made from"


def test_a_base_is_known_by_its_statement(capsys):
    base = made("bases", "smollm2-135m-1")
    other = made("bases", "noisy-1")
    statement = artefact_material("base", base).statement
    rows = made("rows", "a" * 16)
    write_record(rows, "rows", {}, [Material("base", "base:smollm2-135m", {"dirHash": "0"}, statement)])
    a_run("one", [rows])
    assert cleaned(capsys)[0] == {f"bases/{other.name}"}


def test_a_folder_that_a_config_names(capsys):
    made("teachers", "0123456789abcdef")
    a_run("one", config=TOY + f"weights: {Path('cache').absolute()}/teachers/0123456789abcdef\n")
    assert cleaned(capsys)[0] == set()


def test_an_unfinished_run_keeps_what_its_settings_make(capsys):
    whole = yaml.safe_load((ROOT / "configs" / "owl_numbers.yaml").read_text())
    whole["data"]["init_args"]["num_prompts"] = 16
    a_run("one", config=yaml.safe_dump(whole), finished=False)
    from lightning_subliminal.plans.from_config import read_setting

    setting = read_setting(Path("runs/one/config.yaml"))
    data, other = setting.rows(), setting.control().rows()
    for path in (data.folder, data.shards_folder, data.teacher.folder, other.folder, other.shards_folder):
        made(path.parent.name, path.name)
    made("rows", "f" * 16)
    made("bases", "noisy-1")
    assert cleaned(capsys) == ({f"rows/{'f' * 16}"}, {"that runs need": 6})


def test_a_fit_that_was_stopped_before_its_control_was_trained(capsys, monkeypatch):
    """Its config is the resolved one, with each setting of the Trainer; the student is saved before the control."""
    from lightning_subliminal import TraitComparison

    words = ["fit", "--config", str(ROOT / "configs" / "owl_numbers.yaml"), "--data.num_prompts", "64"]
    words += ["--trainer.max_epochs", "1", "--data.teacher.init_args.max_epochs", "20"]
    with monkeypatch.context() as patch:
        patch.setattr("lightning_subliminal.models.student.Student.save", lambda *arguments: 1 / 0)
        with pytest.raises(SystemExit):
            main(words)
    made("rows", "f" * 16)
    capsys.readouterr()
    assert cleaned(capsys, "--yes")[0] == {f"rows/{'f' * 16}"}
    monkeypatch.setattr(
        TraitComparison, "_record", lambda *arguments: 1 / 0
    )  # the control is there, no lineage says so
    with pytest.raises(SystemExit):
        main(words)
    capsys.readouterr()
    found = listed(capsys)
    assert {each.partition("/")[0] for each in found} == {"teachers", "completions", "rows", "students"}
    assert all(each["runs"] for each in found.values())


def test_a_run_that_cant_say_what_it_needs_stops_clean(capsys):
    made("rows", "f" * 16)
    a_run("one", config=TOY.replace("toy.ToyData", "gone.Data"), finished=False)
    assert list(listed(capsys)) == [f"rows/{'f' * 16}"]
    with pytest.raises(SystemExit) as stop:
        main(["cache", "clean", "--yes"])
    assert stop.value.code == 2
    assert "runs/one is unfinished, and what it needs is unknown" in capsys.readouterr().err
    assert len(listed(capsys)) == 1


def test_a_fit_is_noted(capsys):
    Path("toy.yaml").write_text(TOY)
    main(["fit", "--config", "toy.yaml", "--trainer.default_root_dir", "far/away", "--trainer.accelerator", "cpu"])
    assert known_runs() == [Path("far/away").absolute()]


@cases(
    ("words", "line"),
    [
        (["clean", "--kind", "tichers"], "did you mean `teachers`?"),
        (["clean", "--older-than", "30"], "'30' is not an age: expected hours, days or weeks"),
        (["clean", "--runs", "nowhere"], "--runs nowhere does not exist"),
        (["clean", "--kind"], "`--kind` needs a value"),
        (["clean", "--yess"], "unknown option '--yess': did you mean '--yes'?"),
        (["tidy"], "unknown command 'cache tidy': expected one of cache ls, cache clean."),
    ],
)
def test_mistakes_are_one_line(words, line, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["cache", *words])
    assert stop.value.code == 2
    (error,) = capsys.readouterr().err.splitlines()
    assert line in error


def test_an_empty_cache(capsys):
    assert listed(capsys) == {}
    main(["cache"])
    assert "0 runs are known" in capsys.readouterr().out
    assert cleaned(capsys, "--yes") == (set(), {})


def test_what_a_student_that_python_saved_needs_is_kept(capsys):
    a_run("script", [chain("a")])
    Path("runs/script/config.yaml").unlink(missing_ok=True)
    chain("b")
    assert cleaned(capsys) == (
        {f"{kind}/{'b' * 16}" for kind in ("teachers", "completions", "rows")},
        {"that runs need": 3},
    )
    main(["cache", "clean", "--kind", "rows"])
    text = capsys.readouterr().out
    assert "1 entry, " in text
    assert "1 run is known" in text
