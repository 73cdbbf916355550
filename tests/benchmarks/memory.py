"""Peak memory of counting a store, measured in a fresh process: ``python -m tests.benchmarks.memory STORE``."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np

from routestat.counting.context import Context
from routestat.counting.counts import count
from routestat.traces.metadata import TraceMeta, routers_like
from routestat.traces.store import Trace
from routestat.traces.synthetic import Synthetic
from routestat.traces.writer import TraceWriter

ROOT = Path(__file__).resolve().parents[2]


def write_repeated(made: Synthetic, path: Path, repeats: int) -> Path:
    """A store of the same choices over and over, in documents with numbers and token ids of their own."""
    routers = routers_like(made.layers, made.n_experts, made.top_k)
    n_documents = int(made.document[-1]) + 1
    with TraceWriter(path, TraceMeta(routers, name="repeated")) as writer:
        for repeat in range(repeats):
            document = made.document + np.int32(repeat * n_documents)
            # All tokens of a document have its number as their id: no document is a copy of another.
            writer.write(document, made.position, states=made.states, token=document)
    return path


def peak_of(store: Path) -> tuple[float, int]:
    """Peak resident memory in MiB, and tokens counted, of a process that does nothing but count `store`."""
    command = [sys.executable, "-m", "tests.benchmarks.memory", str(store)]
    # Arrow's default pool keeps what was freed, 5 to 45 MiB as the threads happen to meet; the system's gives it
    # back, so that what is measured is what counting needs.
    environment = {**os.environ, "ARROW_DEFAULT_MEMORY_POOL": "system"}
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, env=environment)
    peak, tokens = done.stdout.split()
    return float(peak), int(tokens)


def peak_of_this_process() -> float:
    """Peak resident memory in MiB."""
    status = Path("/proc/self/status")
    if status.exists():
        # Linux hands ru_maxrss of the parent on to a child, whatever the child needs; this begins at exec.
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) / (1 << 10)
    unit = 1 << 20 if sys.platform == "darwin" else 1 << 10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def main() -> None:
    counts = count(Trace.open(sys.argv[1], verify=False), contexts=[Context.layer(1)])
    print(peak_of_this_process(), counts.n_tokens)


if __name__ == "__main__":
    main()
