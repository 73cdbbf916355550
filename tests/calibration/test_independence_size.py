"""Under true independence of dependent tokens the clustered tests reject at their nominal level.

The i.i.d. test must be seen to fail on the same data: a null that it passes would prove nothing.
"""

from itertools import product

import numpy as np
import pytest

from routestat.inference.association.expert_independence import independence_experts
from routestat.inference.association.independence import independence
from tests.calibration.forms import error, forms, within
from tests.calibration.nulls import (
    BOTH,
    DOCUMENTS,
    INDEPENDENT,
    STICKY,
    Null,
    document_lengths,
    expert_tables,
    state_tables,
)

MEAN_LENGTH = 100
NULLS = [INDEPENDENT, STICKY, DOCUMENTS]


def cells(k: int, documents: int, lengths: list[str], runs: int, long: int) -> list:
    return [
        one
        for kind in lengths
        for null in NULLS
        for one in forms(
            k, documents, kind, null, short=runs, long=long, name=f"{k}-{documents}-{kind}-{null.name}"
        )
    ]


@pytest.mark.parametrize(
    ("k", "documents", "kind", "null", "runs"),
    [
        *cells(8, 60, ["equal", "exponential"], 400, 1000),
        *cells(28, 60, ["equal", "exponential"], 300, 1000),
        *cells(8, 150, ["equal", "exponential"], 300, 1000),
        *cells(28, 150, ["equal", "exponential"], 200, 800),
    ],
)
def test_states(k: int, documents: int, kind: str, null: Null, runs: int, found: list[str]) -> None:
    rng = np.random.default_rng([k, documents, kind == "equal", NULLS.index(null)])
    results = []
    for _ in range(runs):
        r = independence(state_tables(rng, k, document_lengths(rng, documents, MEAN_LENGTH, kind), null))
        results.append((r.p_clustered, r.p_clustered_first_order, r.p_chi2, r.design_effect))
    *p, effect = np.transpose(results)
    clustered, first, iid = (float(np.mean(values < 0.05)) for values in p)
    line = (
        f"{k:2} states, {documents:3} {kind:11} documents, {null.name:18}: clustered {clustered:.3f} "
        f"± {error(clustered, runs):.3f}, first order {first:.3f}, i.i.d. {iid:.3f}, "
        f"design effect {effect.mean():.2f}"
    )
    found.append(line)
    assert within(clustered, runs, 0.03, 0.07), line
    if null is INDEPENDENT:
        assert within(iid, runs, 0.03, 0.07), line
    else:
        assert iid > 0.2, line
        assert effect.mean() > 1.1, line


@pytest.mark.parametrize(
    ("kind", "null", "runs"),
    [
        one
        for kind, null in [("exponential", BOTH), *product(("equal", "exponential"), NULLS)]
        for one in forms(kind, null, short=100, long=400, name=f"{kind}-{null.name}")
    ],
)
def test_six_of_sixty_four_experts(kind: str, null: Null, runs: int, found: list[str]) -> None:
    rng = np.random.default_rng([64, kind == "equal", len(null.name)])
    p, iid = [], []
    for _ in range(runs):
        lengths = document_lengths(rng, 60, MEAN_LENGTH, kind)
        data = expert_tables(rng, 64, 6, lengths, null)
        p.append(independence_experts(*data).p_clustered)
        iid.append(independence(data[0].sum(axis=0)).p_chi2)
    rate, plain = float(np.mean(np.array(p) < 0.05)), float(np.mean(np.array(iid) < 0.05))
    line = (
        f"6 of 64 experts, 60 {kind:11} documents, {null.name:18}: clustered {rate:.3f} "
        f"± {error(rate, runs):.3f}, i.i.d. {plain:.3f}"
    )
    found.append(line)
    low, high = (0.03, 0.07) if kind == "equal" else (0.02, 0.08)
    assert within(rate, runs, low, high), line


def test_p_values_are_spread_evenly() -> None:
    rng, runs = np.random.default_rng(2), 600
    p = np.array([independence(state_tables(rng, 8, np.full(80, 60), BOTH)).p_clustered for _ in range(runs)])
    for level in (0.1, 0.25, 0.5, 0.75):
        assert np.mean(p < level) == pytest.approx(level, abs=4 * error(level, runs)), level


def test_a_planted_coupling_is_found_in_both_views() -> None:
    rng = np.random.default_rng(3)
    p = []
    for _ in range(60):
        lengths = document_lengths(rng, 60, MEAN_LENGTH, "exponential")
        p.append(independence(state_tables(rng, 8, lengths, BOTH, coupling=0.12)).p_clustered)
    assert np.mean(np.array(p) < 0.05) > 0.9
    q = []
    for _ in range(60):
        lengths = document_lengths(rng, 60, 80, "exponential")
        q.append(independence_experts(*expert_tables(rng, 12, 3, lengths, BOTH, coupling=0.15)).p_clustered)
    assert np.mean(np.array(q) < 0.05) > 0.9
