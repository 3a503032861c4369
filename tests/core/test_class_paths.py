"""What a dotted path of a YAML may name, and where it is looked for."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from cases import cases

from lightning_subliminal.cli.entry import main
from lightning_subliminal.core.config.building import build
from lightning_subliminal.core.config.class_paths import import_path, own_folder
from lightning_subliminal.core.errors import InputError

ROOT = Path(__file__).parents[2]
HANDLER = "torch.distributed.elastic.multiprocessing.subprocess_handler.SubprocessHandler"
REFUSED = [
    *("subprocess.Popen", "os.system", "posix.system", "lightning.pytorch.cli.os", "pty.spawn", "runpy.run_path"),
    *("builtins.exec", "builtins.eval", "builtins.open", "builtins.__import__", "importlib.import_module"),
    *("functools.partial", "multiprocessing.Process", "ctypes.CDLL", "logging.handlers.SocketHandler", "pickle.loads"),
    *(HANDLER, "torch.load", "torch.hub.load", "torch.utils.cpp_extension.load_inline", "numpy.load", "shutil.rmtree"),
    *("lightning_subliminal.__main__.main", "lightning_subliminal.cli.entry.main", "math.__loader__", "asyncio.run"),
    *("torch.multiprocessing.spawn", "jsonargparse.set_parsing_settings", "pathlib.Path.unlink"),
]
OWN = """
import functools, os, subprocess, multiprocessing
from lightning_subliminal import PreferenceTrait
import own_neighbour_of_mine
class Mine(PreferenceTrait):
    def __init__(self, target: str = "owl", inner=None) -> None:
        super().__init__(target)
        self.inner = inner
class Popen(subprocess.Popen):
    pass
run = os.system
bound = functools.partial(os.system, "ls")
class Plain:
    pass
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with a module of a user's own; the test stands there."""
    (tmp_path / "own_module_of_mine.py").write_text(OWN)
    (tmp_path / "own_neighbour_of_mine.py").write_text("")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [place for place in sys.path if place not in ("", str(tmp_path))])
    for name in ("own_module_of_mine", "own_neighbour_of_mine"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return tmp_path


@cases("path", REFUSED)
def test_what_starts_something_is_refused(path: str) -> None:
    with pytest.raises(InputError, match="may not be named in a config"):
        import_path(path)


@cases("path", ["torch.optim.SGD", "math.sqrt", "datetime.timedelta", "lightning_subliminal.Student"])
def test_what_is_plain_is_found(path: str) -> None:
    assert callable(import_path(path))


@cases("name", ["Popen", "run", "bound"])
def test_another_name_hides_nothing(name: str, own: Path) -> None:
    with pytest.raises(InputError, match="may not be named in a config"):
        import_path(f"own_module_of_mine.{name}")


def test_a_class_of_ones_own_is_found_and_its_folder_stays(own: Path) -> None:
    with own_folder("no_module_of_mine.X"):
        assert str(own) in sys.path
    assert str(own) not in sys.path
    with own_folder("lightning.X"):  # an installed one: nothing is looked for in the folder
        assert str(own) not in sys.path
    made = build({"class_path": "own_module_of_mine.Mine", "init_args": {"inner": {"class_path": "Steering"}}})
    assert made.target == "owl"
    assert str(own) in sys.path  # for its neighbours, and for workers


@cases(
    ("reported", "says"),
    [
        ({"class_path": "own_module_of_mine.Plain"}, "`data` is a Plain: expected a LightningDataModule"),
        ({"class_path": HANDLER}, "may not be named"),
        (
            {"class_path": "NumberSequences", "init_args": {"teacher": {"class_path": "Student"}}},
            "`data.teacher` is a St",
        ),
        ({"class_path": "NumberSequences", "init_args": {"num_prompts": {"class_path": "Student"}}}, "plain value"),
        ({"class_path": "NumberSequences", "init_args": {"filters": [{"class_path": "Student"}]}}, "expected a Filter"),
        ({"class_path": "NumberSequences", "init_args": {"transforms": [{"class_path": HANDLER}]}}, "may not be named"),
        ({"class_path": "own_module_of_mine.Mine"}, "`data` is a Mine: expected a LightningDataModule"),
        ({"class_path": "NumberSequences", "init_args": ["x"]}, "expected a mapping of NumberSequences's arguments"),
        ({"class_path": "TrainingRows"}, "is abstract"),
    ],
)
def test_a_class_is_called_only_where_it_is_expected(reported: object, says: str, own: Path) -> None:
    from lightning.pytorch import LightningDataModule

    with pytest.raises(InputError, match=says):
        build(reported, 0, "data", LightningDataModule)


@cases(
    "words",
    [
        ["--data.teacher.init_args.trait", "subprocess.Popen"],
        ["--trainer.callbacks", HANDLER],
        ["--trainer.callbacks", "LambdaCallback", "--trainer.callbacks.setup", "os.system"],
        ["--trainer.callbacks", "LambdaCallback", "--trainer.callbacks.setup", "lightning.pytorch.cli.os.system"],
        ["--data.filters+", "builtins.exec"],
    ],
)
def test_fit_names_no_process_starter(words: list[str], own: Path, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["fit", "--config", "owl_numbers", *words])
    assert stop.value.code == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert "may not be named in a config" in lines[0]


def test_a_module_beside_the_data_is_not_imported(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"prompt": "a", "completion": "b"}\n')
    for name in ("gmpy2", "ujson", "orjson"):
        (tmp_path / f"{name}.py").write_text("import pathlib\npathlib.Path('RAN').write_text('')\n")
    command = [sys.executable, "-m", "lightning_subliminal", "data", "convert", "rows.jsonl", "out.jsonl"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "RAN").exists()


@cases("path", ["__main__.Owl", "__mp_main__.Owl", "__main__.inner.Owl"])
def test_a_class_of_a_script_needs_a_module(path: str) -> None:
    with pytest.raises(InputError, match=rf"`{path}` is in a script or notebook.*my_pkg.py, and name it as my_pkg.Owl"):
        import_path(path)


def test_a_config_that_names_a_scripts_class_is_refused_in_one_line(own: Path, capsys: pytest.CaptureFixture) -> None:
    (own / "trait.yaml").write_text("class_path: __main__.Owl\n")
    with pytest.raises(SystemExit):
        main(["traits", "check", "trait.yaml"])
    said = capsys.readouterr().err
    assert "put the class into a module next to the YAML" in said
    assert said.count("\n") == 1
