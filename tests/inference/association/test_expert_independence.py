"""Independence in the expert view, against loops over tokens."""

import math

import numpy as np
import pytest

from routestat.errors import RoutestatError
from routestat.inference.association.expert_independence import independence_experts
from routestat.inference.association.independence import independence
from tests.inference.association.independence_examples import documents
from tests.oracle.inference_oracle import clustered_by_tokens


@pytest.mark.parametrize(("seed", "sizes"), [(0, [30] * 9), (1, [5, 80, 17, 40, 9, 30, 60])])
def test_expert_view_against_loops_over_tokens(seed: int, sizes: list[int]) -> None:
    docs = documents(seed, 6, sizes, top=2)
    slow = clustered_by_tokens(docs)
    tables = np.array([x.T @ y for x, y in docs])
    r = independence_experts(tables, [x.sum(0) for x, _ in docs], [y.sum(0) for _, y in docs], sizes)
    assert (r.nu, r.p_clustered) == pytest.approx((slow.nu, slow.p), rel=1e-8)
    total, n = tables.sum(axis=0), sum(sizes)
    x_rate, y_rate = (sum(doc[side].sum(0) for doc in docs) / n for side in (0, 1))
    np.testing.assert_allclose(r.lift, total / n / np.outer(x_rate, y_rate), rtol=1e-12)
    share = total / total.sum()
    mi = (share * np.log2(share / np.outer(share.sum(1), share.sum(0)))).sum()
    assert r.mi_bits_plugin == pytest.approx(mi, rel=1e-9)


def test_expert_view_of_one_expert_per_token_is_the_state_view() -> None:
    docs = documents(3, 5, [20, 35, 50, 10, 28, 41], top=1)
    tables = np.array([x.T @ y for x, y in docs]).astype(int)
    states = independence(tables)
    experts = independence_experts(tables, tables.sum(2), tables.sum(1), tables.sum((1, 2)))
    assert (experts.nu, experts.p_clustered) == pytest.approx((states.nu, states.p_clustered), rel=1e-12)
    assert experts.mi_bits_plugin == pytest.approx(states.mi_bits, rel=1e-12)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"tokens": [3]}, "align"),
        ({"source_inclusions": [[9, 1], [1, 1]]}, "at most one per token"),
        ({"tables": [[[3, 0], [0, 0]], [[0, 0], [0, 0]]]}, "above its expert"),
        ({"tokens": [3.5, 3]}, "fractions"),
        ({"tables": [[1, 2]]}, "align"),
    ],
)
def test_inclusions_that_do_not_fit_are_refused(change: dict, says: str) -> None:
    given = {
        "tables": [[[1, 1], [1, 0]], [[1, 0], [0, 1]]],
        "source_inclusions": [[2, 1], [1, 1]],
        "target_inclusions": [[2, 1], [1, 1]],
        "tokens": [3, 3],
    }
    assert independence_experts(**given).n == 6
    with pytest.raises(RoutestatError, match=says):
        independence_experts(**(given | change))


def test_expert_view_drops_what_was_never_used() -> None:
    docs = documents(5, 4, [20, 30, 25], top=2)
    tables = np.array([x.T @ y for x, y in docs])
    source, target = np.array([x.sum(0) for x, _ in docs]), np.array([y.sum(0) for _, y in docs])
    plain = independence_experts(tables, source, target, [20, 30, 25])
    padded = independence_experts(
        np.pad(tables, ((0, 1), (1, 0), (0, 2))),
        np.pad(source, ((0, 1), (1, 0))),
        np.pad(target, ((0, 1), (0, 2))),
        [20, 30, 25, 0],
    )
    assert (padded.rows.tolist(), padded.columns.tolist(), padded.n_groups) == ([1, 2, 3, 4], [0, 1, 2, 3], 3)
    assert (padded.p_clustered, padded.nu) == (plain.p_clustered, plain.nu)
    none = independence_experts(np.zeros((2, 3, 3), dtype=int), np.zeros((2, 3)), np.zeros((2, 3)), [0, 0])
    assert math.isnan(none.p_clustered)
    assert none.reason == "no token included any expert"
