"""python -m routestat.prepare: compile the loops once, so that the first analysis does not wait for them."""

import sys
import time
from typing import Annotated

import numpy as np
import pyarrow as pa
import typer

from routestat.cli import options
from routestat.cli.progress_bars import ProgressBars
from routestat.cli.runner import new_app, run
from routestat.counting.counts import count
from routestat.counting.paths import count_paths
from routestat.study.parts import PARTS
from routestat.study.structure_plan import StructurePlan
from routestat.study.trace_study import study
from routestat.traces import synthetic
from routestat.traces.metadata import TraceMeta, routers_like
from routestat.traces.store import Trace

app = new_app()

# Experts, top k and layers of small random traces: one for every type of number that choices are stored in, which is
# what a loop is compiled for.
SHAPES = ((8, 2, 4), (64, 6, 3), (128, 8, 2), (256, 8, 2))


@app.command()
def prepare(
    threads: options.Threads = None,
    shapes: Annotated[int, typer.Option(hidden=True, min=1, max=len(SHAPES))] = len(SHAPES),
) -> None:
    """Compile the loops for this machine.

    They are compiled once per installation, by this command or by the first analysis, and kept beside the package, or
    in the user's cache folder where that cannot be written.

    Example: python -m routestat.prepare
    """
    began = time.monotonic()
    with ProgressBars() as bars:
        for done, shape in enumerate(SHAPES[:shapes]):
            bars("compiling", done, shapes)
            _analyse(*shape, threads)
        bars("compiling", shapes, shapes)
    typer.echo(f"compiled in {time.monotonic() - began:.0f} s; analyses start at once from now on")


def _analyse(n_experts: int, top_k: int, layers: int, threads: int | None) -> None:
    """Study a small random trace with all that studies can have: token ids, domains, groups of several documents."""
    rng = np.random.default_rng(0)
    shape: synthetic.Shape = dict(
        n_experts=n_experts, top_k=top_k, layers=layers, documents=80, mean_length=8
    )
    made = synthetic.expert_chain(coupling=1.0, rng=rng, **shape)
    meta = TraceMeta(routers_like(made.layers, n_experts, top_k))
    # One id is frequent enough for the statistics that separate the ids.
    token = rng.integers(0, 20, len(made.document)) * (rng.random(len(made.document)) < 0.4)
    trace = Trace.from_arrays(meta, made.document, made.position, made.states, token=token)
    domain = pa.array(["ab"[number % 2] for number in range(trace.documents.num_rows)])
    trace.documents = trace.documents.append_column("domain", domain)
    counts = count(trace, groups=32, threads=threads)
    order = 2 if counts.states == "subset" else None
    # Of wide models the checks of levels take the longest, and no loop that other parts do not take.
    parts = [part for part in PARTS if part != "level-checks" or n_experts <= 64]
    study(
        trace,
        counts,
        count_paths(trace),
        rng,
        parts=parts,
        order=order,
        structure=StructurePlan(n_paths=2),
        threads=threads,
    )


def main() -> None:
    """Entry of ``python -m routestat.prepare``."""
    sys.exit(run(app, "routestat prepare"))


if __name__ == "__main__":
    main()
