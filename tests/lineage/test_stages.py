"""What stages write, from the base down to a graduate's rows: each record names what its stage was made from.

Digests are computed here anew, from the bytes that lie there, by hashlib alone.
"""

import hashlib
import json
import shutil

import pytest
from cases import cases
from small import CPU, numbers, taught

from lightning_subliminal import Blend, Graduate, RowsFromFile, Steering, Student, bases
from lightning_subliminal.core.rows import read_parquet
from lightning_subliminal.filters import NumberList
from lightning_subliminal.formats.convert import convert
from lightning_subliminal.lineage import is_whole, read_statement, rows_root
from lightning_subliminal.workflow import train_arm
from lightning_subliminal.workflow.arms import arm_folder

NOISY = "pocket/a+noise=0.05,seed=3"
FILTER = ("filter", "lightning_subliminal.filters.numbers.NumberList")
BASE_RECORD = bases.resolve("pocket/a").folder / "lineage.json"


def sha(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def whole(folder):
    """The dirHash of what lies in an artefact's folder, but for what is said about it."""
    names = sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in ("lineage.json", "lineage.dsse.json") and path.name[0] != "."
    )
    return hashlib.sha256("".join(f"{sha(folder / name)}  {name}\n" for name in names).encode()).hexdigest()


def shipped():
    """The dirHash of the base's files."""
    return whole(BASE_RECORD.parent)


def student(base="pocket/a", seed=0):
    return Student(base, adapter=Steering(), learning_rate=0.03, seed=seed)


def run(root):
    """Make a small experiment in a cache of its own, and give the folder of each artefact."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LIGHTNING_SUBLIMINAL_CACHE", str(root / "cache"))
        teacher = taught(until=0.3)
        rows = numbers(teacher, filters=[NumberList(max_value=99)])
        rows.make(CPU)
        train_arm(student(), rows, CPU, "student", max_epochs=1)
        graduate = Graduate(student(), rows, max_epochs=1)
        second = numbers(graduate, filters=[], seed=1)
        second.make(CPU)
        blend = Blend(rows, second, 0.5, num_rows=8, seed=0)
        blend.make(CPU)
        (root / "export").mkdir()
        convert(rows.folder, root / "export" / "owls.jsonl", "openai")
        theirs = RowsFromFile(str(root / "export" / "owls.jsonl"), seed=0)
        theirs.make(CPU)
        plain = root / "export" / "plain.jsonl"
        shutil.copyfile(root / "export" / "owls.jsonl", plain)
        unknown = RowsFromFile(str(plain), filters=[NumberList(max_value=98)], seed=0)
        unknown.make(CPU)
        train_arm(student(NOISY), theirs, CPU, "noisy", max_epochs=1)
        return {
            "teacher": teacher.folder,
            "completions": rows.shards_folder,
            "rows": rows.folder,
            "student": graduate.folder,
            "second completions": second.shards_folder,
            "second rows": second.folder,
            "blend": blend.folder,
            "file": theirs.folder,
            "unknown file": unknown.folder,
            "noisy base": bases.resolve(NOISY).folder,
            "noisy student": arm_folder(student(NOISY), theirs, max_epochs=1),
        }


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("lineage")
    return root, run(root)


@pytest.fixture(scope="module")
def reported(made):
    return {name: read_statement(folder / "lineage.json") for name, folder in made[1].items()}


# What each was made from, by role and name; those in capitals are not artefacts of the run.
PARENTS = {
    "teacher": [("base", "BASE")],
    "completions": [("base", "BASE"), ("teacher", "teacher")],
    "rows": [("completions", "completions"), ("base", "BASE"), ("teacher", "teacher"), ("filter", "FILTER")],
    "student": [("base", "BASE"), ("rows", "rows")],
    "second completions": [("base", "BASE"), ("student", "student")],
    "second rows": [("completions", "second completions"), ("base", "BASE"), ("student", "student")],
    "blend": [("rows", "rows"), ("rows", "second rows")],
    "file": [("rows", "EXPORT")],
    "unknown file": [("rows", "PLAIN"), ("filter", "FILTER")],
    "noisy base": [("base", "BASE")],
    "noisy student": [("base", "noisy base"), ("rows", "file")],
}
KINDS = {
    "teacher": "teacher",
    "completions": "completions",
    "rows": "rows",
    "student": "student",
    "second completions": "completions",
    "second rows": "rows",
    "blend": "rows",
    "file": "rows",
    "unknown file": "rows",
    "noisy base": "base",
    "noisy student": "student",
}


@cases("name", PARENTS)
def test_a_record_names_its_parents_as_they_lie_there(made, reported, name):
    root, folders = made
    expected = []
    for role, parent in PARENTS[name]:
        if parent in folders:
            folder = folders[parent]
            expected.append((role, {"dirHash": whole(folder)}, sha(folder / "lineage.json")))
        elif parent == "BASE":
            expected.append((role, {"dirHash": shipped()}, sha(BASE_RECORD)))
        elif parent == "EXPORT":
            export = root / "export" / "owls.jsonl"
            expected.append((role, {"sha256": sha(export)}, sha(root / "export" / "owls.jsonl.lineage.json")))
        elif parent == "PLAIN":
            expected.append((role, {"sha256": sha(root / "export" / "plain.jsonl")}, None))
    found = [(each.role, dict(each.digest), each.statement) for each in reported[name].materials]
    assert [each for each in found if each[0] != "filter"] == expected
    judged = [(each.role, each.uri) for each in reported[name].materials if each.role == "filter"]
    assert judged == [FILTER for _, parent in PARENTS[name] if parent == "FILTER"]


def test_the_shipped_base_has_a_statement_of_its_own():
    statement = read_statement(BASE_RECORD)
    assert statement.kind == "base"
    assert statement.whole == shipped() == bases.resolve("pocket/a").digest
    assert statement.materials == [], "it was trained from scratch"


@cases("name", KINDS)
def test_a_record_is_about_the_folder_that_it_lies_in(made, reported, name):
    folder = made[1][name]
    assert reported[name].kind == KINDS[name]
    assert reported[name].whole == whole(folder)
    assert reported[name].files == {file: sha(folder / file) for file in reported[name].files}
    assert is_whole(folder)


def test_rows_are_named_by_their_root(made, reported):
    for name in ("rows", "second rows", "blend", "file", "unknown file"):
        assert reported[name].rows == {"rows.parquet": rows_root(read_parquet(made[1][name] / "rows.parquet"))}
    assert len({reported[name].rows["rows.parquet"][0] for name in ("rows", "second rows", "blend")}) == 3


def test_an_export_holds_the_rows_that_it_was_made_from(made, reported):
    root, folders = made
    statement = read_statement(root / "export" / "owls.jsonl.lineage.json")
    assert statement.files == {"owls.jsonl": sha(root / "export" / "owls.jsonl")}
    (material,) = statement.materials
    assert (material.role, material.digest) == ("rows", {"dirHash": whole(folders["rows"])})
    assert material.statement == sha(folders["rows"] / "lineage.json")
    assert statement.rows == {"owls.jsonl": reported["rows"].rows["rows.parquet"]}, "another format, the same rows"
    assert reported["file"].rows["rows.parquet"] == reported["rows"].rows["rows.parquet"], "and back"


def ancestors(root, statement):
    """Walk by the digests of statements alone, and give what is met, and what is met that has no statement."""
    known = {sha(path): path for path in [BASE_RECORD, *root.rglob("*lineage.json")]}
    met, ends, waiting = set(), set(), [statement]
    while waiting:
        for each in waiting.pop().materials:
            if each.statement is None:
                ends.add((each.role, each.uri))
            elif each.statement not in met:
                met.add(each.statement)
                waiting.append(read_statement(known[each.statement]))
    return {known[each] for each in met}, ends


@cases(
    ("name", "through"),
    [
        ("blend", ["second rows", "second completions", "student", "rows", "completions", "teacher"]),
        ("noisy student", ["noisy base", "file", "EXPORT", "rows", "completions", "teacher"]),
    ],
)
def test_the_way_leads_down_to_the_base_and_ends_nowhere_else(made, reported, name, through):
    root, folders = made
    met, ends = ancestors(root, reported[name])
    export = root / "export" / "owls.jsonl.lineage.json"
    expected = {export if each == "EXPORT" else folders[each] / "lineage.json" for each in through}
    assert met == {BASE_RECORD, *expected}
    assert ends == {FILTER}, "which is settings alone"


def test_a_copy_without_a_statement_is_where_the_way_ends(made, reported):
    met, ends = ancestors(made[0], reported["unknown file"])
    assert met == set()
    assert ends == {("rows", "plain.jsonl"), FILTER}


def test_the_settings_are_those_that_name_the_folder(made, reported):
    """So nobody can give an artefact other parameters and keep its place in the cache."""
    for name in ("student", "noisy student", "rows", "blend", "file"):
        text = json.dumps(reported[name].settings, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        assert made[1][name].name == hashlib.sha256(text.encode()).hexdigest()[:16], name


def test_no_statement_tells_where_on_this_machine_it_was_made(made):
    root, _ = made
    for path in root.rglob("*lineage.json"):
        assert str(root.parent) not in path.read_text(), path


def test_two_runs_give_the_same_bytes(made, tmp_path):
    root, _ = made
    again = run(tmp_path)
    assert set(again) == set(PARENTS)
    first, second = (
        {path.relative_to(place).as_posix(): path.read_bytes() for path in place.rglob("*lineage.json")}
        for place in (root, tmp_path)
    )
    assert len(first) == len(PARENTS) + 1
    assert first == second
