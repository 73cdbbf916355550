"""The README and the documentation: what they show runs, and what they state about results.json is true."""

import json
import os
import re
import shlex
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from routestat.report.records.plain import plain
from routestat.report.records.simulation import results
from tests.conftest import DEMO
from tests.report.simulation_cases import with_model

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "analyses/README.md", ROOT / "data/README.md"]
)
# Pages whose commands need nothing but what `prepared` makes and the page's commands before them.
SHOWN = (
    "README.md",
    "docs/predicting.md",
    "docs/comparing.md",
    "docs/serving.md",
    "docs/importing.md",
    "docs/large-traces.md",
)
# Pages whose text blocks are what these commands print.
QUOTING = ("docs/predicting.md", "docs/comparing.md", "docs/large-traces.md")
# A file that the commands of each page have made in the end.
MADE = {
    "README.md": "reports/mine/index.html",
    "docs/predicting.md": "reports/drawn/index.html",
    "docs/comparing.md": "reports/compare-tiny-mixtral-prose-tiny-mixtral-code/index.html",
    "docs/serving.md": "reports/placed/affinity/sglang-expert-location.json",
    "docs/importing.md": "traces/table/manifest.json",
    "docs/large-traces.md": "counts/workers.counts",
}


def blocks(page, language):
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)


@pytest.mark.parametrize("code", blocks("README.md", "python") + blocks("docs/python.md", "python"))
def test_python_examples_run(code):
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert result.returncode == 0, result.stderr


def commands(page):
    """The commands that a page shows and no later page does, in the order in which they are shown."""
    shown = {name: re.findall(r"^python.*", "\n".join(blocks(name, "sh")), re.MULTILINE) for name in SHOWN}
    later = {line for name in SHOWN[SHOWN.index(page) + 1 :] for line in shown[name]}
    return [line for line in dict.fromkeys(shown[page]) if line not in later]


def prepared(folder, report):
    """The files that the examples read."""
    for name in ("data", "README.md", "CONTRIBUTING.md"):
        (folder / name).symlink_to(ROOT / name)
    (folder / "reports").mkdir()
    (folder / "reports" / "tiny-mixtral").symlink_to(report)
    rng = np.random.default_rng(0)
    experts = np.argsort(rng.random((300, 3, 8)), axis=2)[..., :2]
    np.savez(folder / "trace.npz", experts=experts, document=np.repeat(np.arange(6), 50), n_experts=8)
    np.argsort(rng.random((1000, 24, 8)), axis=2)[..., :2].astype(np.uint8).tofile(folder / "routes.bin")
    rows = [
        f"{i // 50},{i % 50},{layer},{a},{b}" for i in range(300) for layer, (a, b) in enumerate(experts[i])
    ]
    (folder / "routing.csv").write_text("request,step,layer,e0,e1\n" + "\n".join(rows) + "\n")


def test_every_command_of_the_pages_is_run_once():
    every = [line for page in SHOWN for line in commands(page)]
    assert DEMO in every
    assert len(every) == len(set(every)) >= 11


@pytest.mark.parametrize("page", SHOWN)
def test_commands_run_and_print_what_the_page_shows(page, demo_report, tmp_path):
    prepared(tmp_path, demo_report)
    printed = ""
    for line in commands(page):
        # The fixture has run the demo; a drawn trace is large, and one part of its analysis is enough.
        if line == DEMO or ("-m capture" in line and find_spec("torch") is None):
            continue
        words = [sys.executable, *shlex.split(line)[1:]]
        if "analyze traces/drawn" in line:
            words += ["--layers", "4-5", "--only", "dependence"]
        result = subprocess.run(
            words,
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "120"},
        )
        assert result.returncode == 0, f"{line}\n{result.stderr}"
        printed += result.stdout
    assert (tmp_path / MADE[page]).is_file()
    spaced = " ".join(printed.split())
    for block in blocks(page, "text") if page in QUOTING else ():
        for line in block.splitlines():
            assert " ".join(line.split()) in spaced


def test_the_keys_of_the_report_are_documented(demo_report):
    check_keys(json.loads((demo_report / "results.json").read_text()))


def check_keys(record):
    """Every key of results.json is in the table of the documentation."""
    table = (ROOT / "docs" / "results.md").read_text().split("## analyze")[1].split("### Scores")[0]
    words = set(re.findall(r"[a-z0-9_]+", table))
    for part, value in record.items():
        assert part in words, part
        for item in value if isinstance(value, list) else [value]:
            for key in item if isinstance(item, dict) else ():
                name = key.removesuffix("_ci95").removesuffix("_reverse")
                assert name in words | {"reason"}, f"{part}: {key}"


def test_the_keys_of_a_simulation_are_documented():
    page = (ROOT / "docs" / "results.md").read_text()
    section = page.split("## simulate")[1].split("\n## ")[0]
    # The keys of the model are those of the report of one trace.
    (model,) = (line for line in page.splitlines() if line.startswith("| `model_facts` |"))
    known = set(re.findall(r"`([a-z0-9_]+)(?:\[\])?`", section))
    record = plain(results(with_model()))
    assert set(record) | set(record["kinds"]) <= known
    assert keys_within(record) <= known | set(re.findall(r"`([a-z0-9_]+)`", model))


def keys_within(value):
    """Every key of a record and of the records in it, without those of options and labels, and without _ci95."""
    if isinstance(value, list):
        return {key for item in value for key in keys_within(item)}
    if not isinstance(value, dict):
        return set()
    inside = {
        key for name, item in value.items() if name not in {"options", "kinds"} for key in keys_within(item)
    }
    return inside | {key.removesuffix("_ci95") for key in value}


def test_the_make_targets_that_are_named_exist():
    makefile = (ROOT / "Makefile").read_text()
    named = {target for page in PAGES for target in re.findall(r"`make ([a-z-]+)", page.read_text())}
    assert {"demo", "test", "lint", "docs", "analyses"} <= named
    for target in named:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def anchors(page):
    """The anchors of a page's headings, as Sphinx and code hosts make them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_and_pictures_exist(page):
    for link in re.findall(r"\]\(([^):\s]+)\)", page.read_text()):
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 130
