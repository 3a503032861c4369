"""`lightning-subliminal audit`: exit codes, what goes where, the help that can't go stale; mistakes in one line."""

import json
import re
import shutil
import sys
from xml.etree import ElementTree

import pytest
from audit.chains import generation, student, teacher
from cases import cases

from lightning_subliminal import bases
from lightning_subliminal.audit import RULES
from lightning_subliminal.cli.entry import main
from lightning_subliminal.cli.provenance.audit import VERB
from lightning_subliminal.core.console import console
from lightning_subliminal.lineage.signatures.keys import make_key


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LIGHTNING_SUBLIMINAL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("LIGHTNING_SUBLIMINAL_AUDIT_NOTES", str(tmp_path / "notes.json"))
    monkeypatch.setattr(console, "width", 160)
    return tmp_path / "cache"


@pytest.fixture
def last(cache):
    return student(cache, generation(cache, teacher(cache)))


def code(*words):
    """Run, and give the exit code."""
    try:
        main(["audit", *map(str, words)])
    except SystemExit as stop:
        return stop.code
    return 0


class TestExitCodes:
    def test_nothing_wrong(self, last, capsys):
        assert code(last) == 0
        assert capsys.readouterr().out.splitlines()[-1].startswith("Nothing is wrong with 5 artefacts")

    def test_something_wrong(self, last, capsys):
        (last / "adapter_model.safetensors").write_bytes(b"other")
        assert code(last) == 3
        reported = capsys.readouterr()
        assert reported.out.splitlines()[-1] == "Wrong: 1 error at 1 artefact (changed-file)."
        assert reported.err == ""

    def test_rules_are_denied_and_allowed(self, last, capsys):
        assert code(last, "--deny", "shared-base") == 3
        assert code(last, "--deny=flagged", "--deny", "matched-base") == 0
        (last / "adapter_model.safetensors").write_bytes(b"other")
        assert code(last, "--allow", "changed-file") == 0
        assert "You allowed changed-file." in capsys.readouterr().out

    def test_expected_is_what_was_reported(self, last, capsys):
        code(last)
        reported = re.findall(r"--expect ([0-9a-f]{64})", capsys.readouterr().out)
        assert len(reported) == 2
        for sha in reported:
            assert code(last, "--expect", sha) == 0
            assert code(last, "--expect", f"sha256:{sha.upper()}") == 0
        assert code(last, "--expect", "0" * 64) == 3
        assert "error: unexpected" in capsys.readouterr().out

    def test_required_tests(self, last):
        assert code(last, "--require", "tested") == 3

    def test_trust_and_search(self, cache, last, tmp_path, capsys):
        public = make_key(tmp_path / "keys" / "lab")
        assert code(last, "--trust", public) == 3
        assert code(last, "--trust", tmp_path / "keys") == 3
        main(["lineage", "sign", str(last), "--key", str(tmp_path / "keys" / "lab"), "--upstream"])
        capsys.readouterr()
        assert code(last, "--trust", public) == 0
        assert "4 statements by lab" in capsys.readouterr().out
        (tmp_path / "far" / "away" / "from").mkdir(parents=True)  # near by they would be found
        cache.rename(tmp_path / "far" / "away" / "from" / "here")
        place = tmp_path / "far" / "away" / "from" / "here"
        moved = (place / "students" / last.name).rename(tmp_path / "model")
        assert code(moved, "--trust", public) == 3
        assert code(moved, "--search", place, "--trust", public) == 0

    def test_a_base_by_its_name_and_against_one(self, cache, capsys):
        assert code("pocket/a") == 0
        rows = generation(cache, teacher(cache))
        assert code(rows, "--against", "pocket/a", "--deny", "shared-base") == 3
        assert code(rows, "--against", "pocket/b", "--deny", "shared-base", "--no-measure") == 0
        assert "not by lineage" in capsys.readouterr().out


class TestOut:
    @pytest.mark.parametrize("name", ["json", "sarif"])
    def test_printed_alone(self, name, last, tmp_path, capsys):
        (last / "adapter_model.safetensors").write_bytes(b"other")
        assert code(last, f"--{name}", "-", "--svg", tmp_path / "a.svg") == 3
        reported = capsys.readouterr()
        assert json.loads(reported.out)
        assert reported.err == ""
        assert (tmp_path / "a.svg").exists()

    def test_files(self, last, tmp_path, capsys):
        names = {name: tmp_path / "new" / f"audit.{name}" for name in ("json", "sarif", "html", "svg")}
        assert code(last, *(word for name, path in names.items() for word in (f"--{name}", path))) == 0
        reported = capsys.readouterr().out
        assert all(f"{name}: {path}" in reported for name, path in names.items())
        assert json.loads(names["json"].read_text())["holds"]
        assert json.loads(names["sarif"].read_text())["version"] == "2.1.0"
        assert names["html"].read_text().startswith("<!DOCTYPE html>")
        assert ElementTree.parse(names["svg"]).getroot().tag.endswith("svg")  # noqa: S314 - our own

    def test_whose_reader_leaves_files_are_whole(self, last, tmp_path, monkeypatch):
        def gone(shown):
            raise BrokenPipeError

        monkeypatch.setattr("lightning_subliminal.audit.views.terminal.print_audit", gone)
        monkeypatch.setattr(sys, "stdout", sys.stdout)  # `main` puts another there
        assert code(last, "--html", tmp_path / "a.html") == 141
        assert (tmp_path / "a.html").read_text().rstrip().endswith("</html>")

    def test_a_terminal_gets_a_bar_beside_what_is_printed(self, last, monkeypatch, capsys):
        monkeypatch.setenv("FORCE_COLOR", "1")
        assert code(last, "--no-cache", "--json", "-") == 0
        reported = capsys.readouterr()
        assert "hashing" in reported.err
        assert json.loads(reported.out)["holds"]

    def test_the_cache_of_digests_is_used_and_left_alone(self, cache, last, capsys):
        def read(*words):
            code(last, "--json", "-", *words)
            return json.loads(capsys.readouterr().out)["digested"]["files"]

        first = read()
        assert first > 3
        assert read() == 0
        assert read("--no-cache") == first


def test_all_options_come_with_each_rule_and_its_level_and_meaning(capsys):
    assert code("--help=all") == 0
    text = capsys.readouterr().out
    table = " ".join(text.partition("\nrules:\n")[2].split())
    for name, rule in RULES.items():
        assert f"{name} {rule.level} {rule.means}" in table
    assert max(map(len, text.partition("\nrules:\n")[2].splitlines())) <= 100


def test_the_help_names_the_exit_codes():
    assert re.search(r"^exit codes: 0 .*; 2 .*; 3 ", VERB.help("audit"), re.MULTILINE)


def test_rules_of_the_examples_exist():
    denied = re.findall(r"--(?:deny|allow) (\S+)", " ".join(VERB.examples))
    assert denied
    assert set(denied) <= set(RULES)


MISTAKES = {
    "nothing there": (["nowhere"], "nowhere does not exist, and is not a base on this machine"),
    "no path": (["--no-cache"], "PATH is missing"),
    "two paths": (["pocket/a", "pocket/b"], "pocket/b"),
    "no value": (["pocket/a", "--trust"], "`--trust` needs a value"),
    "unknown rule": (["pocket/a", "--deny", "shared-bases"], "did you mean `shared-base`"),
    "unknown requirement": (["pocket/a", "--require", "teste"], "did you mean `tested`"),
    "denied and allowed": (["pocket/a", "--deny", "flagged", "--allow", "flagged"], "both denied and allowed"),
    "misspelt option": (["pocket/a", "--serch", "x"], "unknown option '--serch': did you mean '--search'?"),
    "no digest": (["pocket/a", "--expect", "abc"], "is not a digest: expected 64 hexadecimal digits"),
    "both printed": (["pocket/a", "--json", "-", "--sarif", "-"], "can't both be printed"),
    "no key": (["pocket/a", "--trust", "nowhere.pub"], "The key nowhere.pub can't be read"),
    "no folder to search": (["pocket/a", "--search", "nowhere"], "--search nowhere is not a folder"),
    "unknown base": (["pocket/a", "--against", "pocket/d"], "pocket/d"),
    "a folder to write": (["pocket/a", "--json", "."], "--json . is a folder"),
}


def test_a_missing_path_is_reported_with_the_models_beside_it(tmp_path, monkeypatch, capsys):
    shutil.copytree(bases.resolve("pocket/a").folder, tmp_path / "runs" / "owl-5b0edf2e" / "student")
    monkeypatch.chdir(tmp_path)
    assert code("runs/nothing") == 2
    assert capsys.readouterr().err.endswith("or a base of `bases list`; models in runs: owl-5b0edf2e.\n")


@cases("name", MISTAKES)
def test_a_mistake_is_one_line(name, capsys):
    words, says = MISTAKES[name]
    assert code(*words) == 2
    reported = capsys.readouterr()
    (line,) = [line for line in reported.err.splitlines() if not line.startswith("warning:")]
    assert line.startswith("error: ")
    assert says in line
    assert reported.out == ""
