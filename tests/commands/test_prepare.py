"""prepare compiles the loops: an analysis of the same kind of trace compiles none afterwards."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Analyses a trace, and prints the names of the functions that were compiled for it.
ANALYSE = """
import sys
from numba.core import event
from routestat import analyze

class Compiled(event.Listener):
    def on_start(self, e):
        print("compiled", e.data["dispatcher"].py_func.__name__)

    def on_end(self, e):
        pass

event.register("numba:compile", Compiled())
sys.argv = ["analyze", "data/traces/tiny-mixtral", "--layers", "0-2", "--out", sys.argv[1]]
analyze.main()
"""


@pytest.mark.slow
def test_an_analysis_after_it_compiles_nothing(tmp_path):
    where = {
        **os.environ,
        "NUMBA_CACHE_DIR": str(tmp_path / "cache"),
        "PYTHONPATH": str(ROOT),
        "COLUMNS": "100",
    }

    def run(*arguments):
        shown = subprocess.run(
            [sys.executable, *arguments], capture_output=True, text=True, cwd=ROOT, env=where, check=True
        )
        return shown.stdout

    assert run("-m", "routestat.prepare", "--shapes", "1", "--threads", "1").startswith("compiled in ")
    assert list((tmp_path / "cache").rglob("*.nbc"))
    assert "compiled" not in run("-c", ANALYSE, str(tmp_path / "report"))
