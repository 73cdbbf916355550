"""Whole processes: wall time, processor time and peak memory; the version before, exported from git."""

import os
import re
import resource
import subprocess
import tarfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from tests.benchmarks.machine import ROOT

# Seconds after which a process runs what it was started for: before, it is a copy of this one.
SETTLED = 0.2


@dataclass(frozen=True)
class Measured:
    """Seconds, seconds of the processor, and peak memory in MB; `stopped` at a limit of processor time."""

    wall: float
    processor: float
    memory: float
    stopped: bool = False


def measure(
    command: Sequence[str],
    folder: Path = ROOT,
    environment: Mapping[str, str] | None = None,
    limit: int | None = None,
) -> Measured:
    """Run a command and measure it.

    ``ru_maxrss`` would begin with the memory of this process; the kernel's own mark is looked at while the other runs.
    What processes that it starts do not share with it is added.
    """
    start, peak = time.perf_counter(), 0
    process = subprocess.Popen(
        command,
        cwd=folder,
        # A user's interpreter keeps compiled modules, whatever this one does.
        env={**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "", **(environment or {})},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    if limit is not None:
        resource.prlimit(process.pid, resource.RLIMIT_CPU, (limit, limit + 5))
    mark = Path(f"/proc/{process.pid}/status")
    while not (ended := os.wait4(process.pid, os.WNOHANG))[0]:
        found = dict(re.findall(r"(VmHWM|VmRSS):\s*(\d+) kB", mark.read_text()))
        if found and time.perf_counter() - start > SETTLED:
            peak = max(peak, int(found["VmHWM"]), int(found["VmRSS"]) + _private(process.pid))
        time.sleep(0.02)
    wall, (_, status, used) = time.perf_counter() - start, ended
    process.returncode = os.waitstatus_to_exitcode(status)
    processor = used.ru_utime + used.ru_stime
    stopped = limit is not None and process.returncode < 0 and processor >= limit - 1
    assert process.stderr is not None
    words = process.stderr.read().decode()
    process.stderr.close()
    if process.returncode and not stopped:
        raise RuntimeError(f"{' '.join(map(str, command))}: {words.strip().splitlines()[-1:]}")
    return Measured(wall, processor, peak * 1024 / 1e6, stopped)


def _private(process: int) -> int:
    """The memory in kB that the children of a process share with no other process."""
    kilobytes = 0
    with suppress(OSError):
        for child in Path(f"/proc/{process}/task/{process}/children").read_text().split():
            lines = Path(f"/proc/{child}/smaps_rollup").read_text()
            kilobytes += sum(map(int, re.findall(r"Private_\w+:\s*(\d+) kB", lines)))
    return kilobytes


def export(revision: str, folder: Path) -> Path:
    """Write the package of an earlier revision into a folder."""
    archive = subprocess.run(
        ["git", "archive", revision, "routestat"], cwd=ROOT, check=True, capture_output=True
    ).stdout
    with tarfile.open(fileobj=BytesIO(archive)) as tar:
        tar.extractall(folder, filter="data")
    return folder
