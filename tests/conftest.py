"""What several folders of tests share: the report on the trace that is part of the project."""

import fcntl
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DEMO = "python -m routestat.analyze data/traces/tiny-mixtral --layers 0-31"


@pytest.fixture(scope="session")
def demo_report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run the README's first command once for all tests and all processes that run them; return the report."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "demo"
    folder.mkdir(exist_ok=True)
    report = folder / "reports" / "tiny-mixtral"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not report.is_dir():
            (folder / "data").unlink(missing_ok=True)
            (folder / "data").symlink_to(ROOT / "data")
            words = [sys.executable, *shlex.split(DEMO)[1:]]
            result = subprocess.run(
                words, capture_output=True, text=True, cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)}
            )
            assert result.returncode == 0, result.stderr
    return report
