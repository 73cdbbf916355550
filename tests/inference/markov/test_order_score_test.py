"""The clustered score test of order 2: by definition, and where it has no p-value."""

import math

import numpy as np
import pytest

from routestat.inference.association.independence import independence
from routestat.inference.markov.order_score_test import clustered_order
from routestat.traces import synthetic
from tests.inference.markov.order_cases import clustered_p, rng
from tests.oracle import order_oracle as oracle


def test_clustered_by_definition(cube):
    found = clustered_order(oracle.strata_of(cube))
    gram, _ = oracle.clustered(cube)
    assert found.p_clustered == pytest.approx(clustered_p(cube), rel=1e-7)
    assert found.log10_p_clustered == pytest.approx(math.log10(found.p_clustered))
    # All products add up to Pearson's X2.
    assert gram.sum() == pytest.approx(oracle.likelihood_ratio(cube.sum(axis=0))[1], rel=1e-9)
    assert (found.n_tokens, found.n_groups, found.n_strata) == (cube.sum(), 9, 4)
    assert "only 9 groups" in found.note


def strata_of_chain(n_experts, documents, length):
    """Of a chain of order 1, from the first to the third layer."""
    trace = synthetic.chain(
        coupling=0.6,
        rng=rng(1),
        n_experts=n_experts,
        top_k=2,
        layers=3,
        documents=documents,
        mean_length=length,
    )
    x, y, z = trace.states.astype(int).T
    return oracle.strata_of_tokens(x, y, z, trace.document, (trace.alphabet.size,) * 3)


@pytest.mark.parametrize(
    ("shape", "rough", "possible"),
    [((8, 100, 400), False, True), ((8, 40, 50), True, True), ((16, 20, 100), False, False)],
)
def test_few_tokens_for_the_states_are_said_or_leave_no_p(shape, rough, possible):
    """What estimated margins do to the test is 0.1, 2 and 11 times its own chance."""
    found = clustered_order(strata_of_chain(*shape))
    assert np.isfinite([found.p_clustered, found.log10_p_clustered]).all() == possible
    assert (found.reason is None) == possible
    if not possible:
        assert found.reason.startswith("too few tokens for so many states: ")
    assert ("the p-value is approximate" in (found.note or "")) == rough


def test_one_stratum_has_the_scores_of_plain_independence(cube):
    """The two differ in the bias of U alone."""
    flat = cube.sum(axis=1)
    ours, plain = clustered_order(oracle.strata_of(flat[:, None])), independence(flat)
    assert ours.nu == pytest.approx(plain.nu, rel=1e-9)
    assert ours.p_clustered == pytest.approx(plain.p_clustered, rel=0.1)
