"""The second pass of the expert view against a predictor written out token by token."""

import itertools
from math import log2

import numpy as np
import pytest

from routestat import Router, Trace, TraceMeta
from routestat.counting.decisions import SUMS, LinearPredictor, count_decisions


def slow(document, source, target, bias, weights, folds, link, lag):
    """Sums per group, one token at a time; the law of a subset by listing all subsets."""
    n_experts, top_k = bias.shape[1], target.shape[1]
    sums = np.zeros((len(folds), len(SUMS)))
    for t in range(lag, len(document)):
        if lag and document[t] != document[t - lag]:
            continue
        if (source[t - lag] < 0).any() or (target[t] < 0).any():
            continue
        group = document[t] % len(folds)
        score = bias[folds[group]] + weights[folds[group]][source[t - lag]].sum(axis=0)
        order = sorted(range(n_experts), key=lambda j: (-score[j], j))
        actual = set(target[t].tolist())
        right = len(actual & set(order[:top_k]))
        sums[group] += [
            1,
            right == top_k,
            right / top_k,
            right > 0,
            order[0] in actual,
            len(actual & set(order[: 2 * top_k])) / top_k,
            0,
        ]
        if link != "rank":
            log_weight = score if link == "log-weight" else np.log(score / (1 - score))
            weight = {
                s: np.exp(log_weight[list(s)].sum()) for s in itertools.combinations(range(n_experts), top_k)
            }
            sums[group, 6] -= log2(weight[tuple(sorted(actual))] / sum(weight.values()))
    return sums


@pytest.mark.parametrize(("link", "lag"), [("rank", 0), ("inclusion", 0), ("log-weight", 0), ("rank", 1)])
def test_decisions_and_log_loss_against_the_slow_way(monkeypatch, link, lag):
    monkeypatch.setattr("routestat.traces.store.rows_at_once", lambda schema, in_memory=False: 11)
    rng = np.random.default_rng(4)
    experts = np.argsort(rng.random((80, 2, 9)), axis=2)[..., :3]
    experts[17, 0] = experts[40, 1] = -1
    document = np.repeat(np.arange(8), 10)
    routers = (Router(0, 9, 3), Router(1, 9, 3))
    trace = Trace.from_arrays(TraceMeta(routers), document, None, None, experts=experts)
    folds = np.array([0, 1, 0, 1, 1])
    bias = rng.random((2, 9)) / 10
    weights = rng.random((2, 9, 9)) / 5 if link != "log-weight" else rng.normal(size=(2, 9, 9)) * 3
    source = 1 if lag else 0
    predictor = LinearPredictor("x", routers[source], routers[1], lag, bias, weights, link)
    fast = count_decisions(trace, [predictor], folds)["x", "L01"]
    expected = slow(document, experts[:, source], experts[:, 1], bias, weights, folds, link, lag)
    np.testing.assert_allclose(fast, expected, rtol=1e-9)


def test_ties_go_to_the_lower_expert_and_narrow_routers_keep_their_width():
    routers = (Router(0, 4, 3), Router(1, 4, 3))
    trace = Trace.from_arrays(TraceMeta(routers), [0], None, None, experts=[[[0, 1, 2], [1, 2, 3]]])
    flat = LinearPredictor("x", *routers, 0, np.zeros((1, 4)), np.zeros((1, 4, 4)), "rank")
    sums = count_decisions(trace, [flat], np.zeros(1, int))["x", "L01"]
    # Predicted 0, 1, 2 of 4: two of three recalled, a hit, but expert 0 alone is wrong; 2k covers all four.
    np.testing.assert_allclose(sums[0], [1, 0, 2 / 3, 1, 0, 1, 0])
