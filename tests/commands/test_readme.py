"""The shop window: what the README shows runs, and what it says of results.json is so."""

import json
import re
import shlex
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize("code", blocks("python"))
def test_python_examples_run(code):
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert result.returncode == 0, result.stderr


def commands():
    lines = [line for block in blocks("sh") for line in block.splitlines() if line.startswith("python -m")]
    assert len(lines) >= 4
    return lines


def test_commands_run_in_the_order_they_are_shown(tmp_path):
    for name in ("data", "README.md", "CONTRIBUTING.md"):
        (tmp_path / name).symlink_to(ROOT / name)
    rng = np.random.default_rng(0)
    experts = np.argsort(rng.random((300, 3, 8)), axis=2)[..., :2]
    np.savez(tmp_path / "trace.npz", experts=experts, document=np.repeat(np.arange(6), 50), n_experts=8)
    for line in commands():
        if "-m capture" in line and find_spec("torch") is None:
            pytest.skip("the capture example needs torch")
        words = [sys.executable, *shlex.split(line)[1:]]
        if (
            "data/traces/tiny-mixtral" in line
        ):  # the whole of it runs in test_commands; two layers more than predict asks
            words = [w if w != "0-31" else "4-7" for w in words]
        result = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path)
        assert result.returncode == 0, f"{line}\n{result.stderr}"
    assert (tmp_path / "reports" / "mine" / "index.html").is_file()
    check_keys(json.loads((tmp_path / "reports" / "tiny-mixtral" / "results.json").read_text()))


def check_keys(record):
    """Every key of results.json stands in the README's table."""
    table = README.split("## What is in results.json")[1].split("Scores:")[0]
    words = set(re.findall(r"[a-z0-9_]+", table))
    for part, value in record.items():
        assert part in words, part
        for item in value if isinstance(value, list) else [value]:
            for key in item if isinstance(item, dict) else ():
                name = key.removesuffix("_ci95").removesuffix("_reverse")
                assert name in words | {"reason"}, f"{part}: {key}"


def test_the_make_targets_it_names_exist():
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"`?make ([a-z]+)", README):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_links_and_pictures_of_the_readme_exist():
    for link in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / link).exists(), link
