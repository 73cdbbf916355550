"""Fitting the chain against reading the trace it is fitted to, and against a general optimiser.

The general optimiser climbs the same evidence by its own exact slopes; both must reach the same height.
"""

import statistics
from pathlib import Path

import numpy as np
from scipy import optimize, special

from routestat.counting.context import Context
from routestat.counting.counts import count
from routestat.inference.smoothing.concentration import fit_concentration
from routestat.inference.smoothing.posterior import log_evidence
from routestat.traces.store import Trace
from tests.benchmarks.machine import print_machine, seconds

TRACE = Path(__file__).parents[2] / "data" / "traces" / "tiny-mixtral"
ROUNDS, FEW = 5, 3


def by_bfgs(table: np.ndarray) -> np.ndarray:
    """The concentration by scipy's L-BFGS-B in log alpha."""
    seen = table.any(axis=0)
    rows = table[:, seen].astype(float)
    n = rows.sum(axis=1, keepdims=True)

    def down(log_alpha: np.ndarray) -> tuple[float, np.ndarray]:
        alpha = np.exp(log_alpha)
        whole = alpha.sum()
        up = (special.psi(alpha + rows) - special.psi(alpha)).sum(axis=0)
        slope = alpha * (up - (special.psi(whole + n) - special.psi(whole)).sum())
        return -float(np.sum(log_evidence(rows.astype(int), alpha))), -slope

    found = optimize.minimize(down, np.zeros(rows.shape[1]), jac=True, method="L-BFGS-B")
    alpha = np.full(table.shape[1], 1e-6)
    alpha[seen] = np.exp(found.x)
    return alpha


def check(tables: list[np.ndarray]) -> None:
    """Stop unless ours is at least as high as the general optimiser's."""
    for table in tables:
        ours, other = (np.sum(log_evidence(table, fit(table))) for fit in (fit_concentration, by_bfgs))
        if not ours > other - 1e-6 * abs(other):
            raise SystemExit(f"evidence {ours} below {other}")
    print("  as high as L-BFGS-B")


def main() -> None:
    """Print the table."""
    print_machine()
    counts = count(Trace.open(TRACE))
    tables = [counts.table(Context.layer(1), r).sum(axis=0).astype(np.int64) for r in counts.routers[1:]]
    check(tables[:FEW])

    def fit() -> None:
        for table in tables:
            fit_concentration(table)

    def read() -> None:
        for _ in Trace.open(TRACE).batches():
            pass

    def general() -> None:
        for table in tables[:FEW]:
            by_bfgs(table)

    ours = statistics.median(seconds(fit) for _ in range(ROUNDS))
    reading = statistics.median(seconds(read) for _ in range(ROUNDS))
    other = statistics.median(seconds(general) for _ in range(ROUNDS)) * len(tables) / FEW
    print(f"{len(tables)} concentrations of 28 by 28: {ours:.3f} s")
    print(f"  checking and reading the trace's only shard takes {reading / ours:.1f} times that")
    print(f"  L-BFGS-B on the same evidence {other / ours:.1f} times that")


if __name__ == "__main__":
    main()
