"""Every code block of README.md and docs/ runs, and prints what stands below it."""

import importlib.util
import re
from pathlib import Path

import pytest
import yaml
from cases import cases

from docs.blocks import ROOT, blocks, pages, run_page, same
from lightning_subliminal.bases import lookup

QUICK = {"num_prompts=4096": "num_prompts=64", "max_epochs=3": "max_epochs=1"}  # the README's run takes half a minute


ERRORS, OTHERS = [
    [page for page in pages() if (page.parent.name == "errors") is is_error] for is_error in (True, False)
]


@pytest.mark.slow
@pytest.mark.parametrize("page", OTHERS, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_the_blocks_of_a_page_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_page(page, tmp_path, monkeypatch)


@cases("page", ERRORS)
def test_the_blocks_of_a_page_about_an_error_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_page(page, tmp_path, monkeypatch)


def check_page(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("_LOADERS", "_LINES"):  # a page registers a base
        monkeypatch.setattr(lookup, name, dict(getattr(lookup, name)))
    (tmp_path / "configs").symlink_to(ROOT / "configs")  # as in a clone
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)  # one page is about a machine without a GPU
    text = page.read_text(encoding="utf-8")
    for slow, quick in QUICK.items() if page.name == "README.md" else ():
        text = text.replace(slow, quick)
    for block, printed in run_page(text):
        if block.output is not None:
            where = f"{page.relative_to(ROOT)}, line {block.line}"
            assert same(block.output, printed), f"{where} prints\n{printed}\nRun: python tests/docs/blocks.py {page}"


def test_every_block_has_a_language() -> None:
    bare = [f"{page.name}:{block.line}" for page in pages() for block in blocks(page.read_text()) if not block.language]
    assert not bare


def test_the_readme_fits_its_limit() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


@cases("page", pages(), ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.S)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in target or target.startswith("#"):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve()
        assert there.exists(), f"{page.name}: {target}"
        if anchor and there.suffix == ".md":
            titles = re.findall(r"^#+ (.+)$", there.read_text(encoding="utf-8"), flags=re.M)
            slugs = {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
            assert anchor in slugs, f"{page.name}: {target}"


@cases("page", ["results", "prompted_teachers", "speed"])
def test_the_commands_of_results_name_what_is_there(page: str) -> None:
    text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    for script in re.findall(r"`python (benchmarks/\w+\.py)", text):
        assert (ROOT / script).is_file(), script
    for config in re.findall(r"`(?:run|fit) --config (?:configs/)?([\w/]+)", text):
        assert (ROOT / "configs" / f"{config}.yaml").is_file(), config
    for plan, arms in re.findall(r"`run --config experiments/(\w+)((?: --only (?:\"[^\"]+\"|\w+))+)", text):
        plan_text = (ROOT / "configs" / "experiments" / f"{plan}.yaml").read_text(encoding="utf-8")
        for arm in re.findall(r"--only \"?([^\"]+?)\"?(?= --only|$)", arms):
            assert re.search(rf"^  [\"']?{re.escape(arm)}[\"']?:", plan_text, flags=re.M), f"{plan}: {arm}"


def test_every_claim_of_the_paper_has_its_row() -> None:
    folder = ROOT / "configs" / "experiments"
    plans = [yaml.safe_load((folder / name).read_text(encoding="utf-8")) for name in _included(folder / "paper.yaml")]
    claims = [" ".join(claim["says"].split()) for plan in plans for claim in plan.get("claims", [])]
    table = (ROOT / "docs" / "claims.md").read_text(encoding="utf-8").partition("|---|")[2].partition("\n\n")[0]
    rows = table.splitlines()[1:]
    assert [re.sub(r" \*\(.*?\)\*$", "", row.split(" | ")[0].removeprefix("| ")) for row in rows] == claims


def test_every_source_of_a_plan_is_in_the_list_of_sources() -> None:
    listed = (ROOT / "docs" / "claims.md").read_text(encoding="utf-8").partition("## Sources")[2]
    keys = re.findall(r"^\| ([^|]+?) \|", listed, flags=re.M)
    for file in (ROOT / "configs" / "experiments").glob("*.yaml"):
        plan = yaml.safe_load(file.read_text(encoding="utf-8"))
        sources = [plan.get("source"), *(claim.get("source") for claim in plan.get("claims", []))]
        for source in [part for each in sources if each and not each.startswith("ours") for part in each.split("; ")]:
            assert source.startswith("paper, ") or any(source.startswith(key) for key in keys), f"{file.name}: {source}"


@cases("page", ["api", "cli"])
def test_a_page_in_a_clone_lists_what_there_is(page: str) -> None:
    spec = importlib.util.spec_from_file_location("references", ROOT / "docs" / "_ext" / "references.py")
    references = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(references)
    text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    assert references.lists()[page] in text, "run `python docs/_ext/references.py`"


def _included(paper: Path) -> list[str]:
    return yaml.safe_load(paper.read_text(encoding="utf-8"))["include"]


def test_the_code_map_names_what_is_there() -> None:
    text = (ROOT / "docs" / "code_map.md").read_text(encoding="utf-8")
    for name in re.findall(r"`([a-z_./]+/[a-z_/]*(?:\.\w+)?)`", text):
        assert (ROOT / "lightning_subliminal" / name).exists() or (ROOT / name).exists(), name
    for row in re.findall(r"^\| \d+ \| `([a-z_]+)/` \|[^|]*\|([^|]*)\|", text, flags=re.M):
        for file in re.findall(r"`([a-z_]+\.py)`", row[1]):
            assert (ROOT / "lightning_subliminal" / row[0] / file).is_file(), f"{row[0]}: {file}"


@cases("name", ["SECURITY.md", "configs/experiments/README.md", "docs/code_map.md", "docs/paper.md"])
def test_paths_of_the_package_exist(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    for path in re.findall(r"lightning_subliminal/[a-z_/]+\.(?:py|yaml|md|txt)", text):
        assert (ROOT / path).is_file(), path


def test_the_site_covers_every_public_name() -> None:
    import lightning_subliminal

    text = (ROOT / "lightning_subliminal" / "__init__.pyi").read_text(encoding="utf-8")
    listed = set(re.findall(r"^from \.\S+ import (\w+) as \1$", text, flags=re.M))
    assert listed | {"__version__"} == set(lightning_subliminal.__all__)
