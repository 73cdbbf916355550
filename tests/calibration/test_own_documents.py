"""The A/A check on the traces that ship, real documents of very unequal length, and on made ones."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from routestat.counting.context import Context
from routestat.counting.counts import count
from routestat.inference.level_checks.half_splits import HalfSplits, half_splits
from routestat.traces.store import Trace
from tests.calibration.nulls import DOCUMENTS, document_distributions, document_lengths

TRACES = Path(__file__).parents[2] / "data" / "traces"


@cache
def check(name: str, groups: int) -> HalfSplits:
    counts = count(Trace.open(TRACES / name), contexts=[Context()], groups=groups)
    loads = [counts.table(Context(), router) for router in counts.routers]
    per_token = 1 if counts.states == "subset" else counts.routers[0].top_k
    tokens = np.array([load.sum(axis=1) // per_token for load in loads])
    return half_splits(loads, np.random.default_rng(1), tokens)


@pytest.mark.parametrize(
    ("name", "groups"), [("deepseek-v2-lite-esft", 256), ("tiny-mixtral", 256), ("tiny-mixtral", 380)]
)
def test_halves_of_one_trace_are_alike_to_the_clustered_test_alone(
    name: str, groups: int, found: list[str]
) -> None:
    r = check(name, groups)
    line = (
        f"{name}, {r.n_groups} groups: i.i.d. {r.pooled_iid:.3f} ± {r.pooled_error_iid:.3f}, clustered "
        f"{r.pooled_clustered:.3f} ± {r.pooled_error_clustered:.3f} (layers {r.rate_clustered.min():.3f} to "
        f"{r.rate_clustered.max():.3f}), first order {r.pooled_first_order:.3f}, design effect "
        f"{r.pooled_design_effect:.1f}"
    )
    found.append(line)
    assert 0.03 <= r.pooled_clustered <= 0.07, line
    assert r.pooled_iid > 0.95, line
    assert r.pooled_first_order > 2 * r.pooled_clustered, line
    assert r.pooled_design_effect > 5, line
    assert "it is valid for loads here" in r.reading()


@pytest.mark.parametrize("kind", ["equal", "exponential"])
def test_halves_of_made_documents(kind: str, found: list[str]) -> None:
    """Each data set has a rate of its own; their mean is the size of the test."""
    rng, rates = np.random.default_rng([5, kind == "equal"]), []
    for _ in range(40):
        lengths = document_lengths(rng, 100, 100, kind)
        loads = [rng.multinomial(lengths, document_distributions(rng, 100, 28, DOCUMENTS.concentration))]
        r = half_splits(loads, rng, n_splits=300)
        rates.append((r.pooled_clustered, r.pooled_iid))
    clustered, iid = np.mean(rates, axis=0)
    spread = np.std(rates, axis=0)[0]
    line = f"100 {kind} documents of 28 states: clustered {clustered:.3f} (between data sets ± {spread:.3f})"
    found.append(f"{line}, i.i.d. {iid:.3f}")
    assert 0.03 <= clustered <= 0.07, line
    assert iid > 0.9, line
