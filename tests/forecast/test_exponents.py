"""Exponents of greatest likelihood, and log odds."""

import numpy as np
from scipy.optimize import minimize
from scipy.special import softmax
from sklearn.linear_model import Ridge

from routestat.counting.moments import Design, count_moments
from routestat.forecast.exponents import log_odds
from routestat.forecast.tempered import fit_tempered
from routestat.inference.conditional_bernoulli.distribution import inclusion_probabilities
from routestat.traces.synthetic import expert_chain, to_trace
from tests.board_cases import rows_of
from tests.oracle.forecast_oracle import subset_distribution


def test_exponents_are_those_of_greatest_likelihood():
    rng = np.random.default_rng(6)
    shape = {"n_experts": 6, "top_k": 2, "layers": 2, "documents": 30, "mean_length": 20}
    trace = to_trace(expert_chain(coupling=1.5, rng=rng, **shape))
    source, target = trace.meta.routers
    moments = count_moments(rows_of(trace, folds=3), [Design(target, ((source, 0),))])[0]
    found = fit_tempered(moments, {1: ("ridge",)}, 0.5)[1, "ridge"]
    # The model without folds 0 and 1, on the tokens of fold 1, written out.
    train, test = moments.folds == 2, moments.folds == 1
    member = np.eye(6)[moments.targets].sum(axis=1)
    x = np.eye(6)[moments.features].sum(axis=1)
    load = (member[train].sum(axis=0) + 0.5) / (2 * train.sum() + 3) * 2
    ridge = Ridge(alpha=found.penalties[0], solver="svd").fit(x[train], member[train])
    evidence = (ridge.predict(x[test]) - member[train].mean(axis=0)) / np.sqrt(load * (1 - load))
    base = np.log(load / (1 - load / 2))

    def loss(exponents):
        total = 0.5 * ((exponents - [1, 0]) ** 2).sum()
        for row, chosen in zip(evidence, moments.targets[test], strict=True):
            distribution = subset_distribution(exponents[0] * base + exponents[1] * row, 2)
            total -= np.log(distribution[tuple(chosen.tolist())])
        return total

    best = minimize(loss, [1.0, 1.0], method="Nelder-Mead", options={"xatol": 1e-5, "fatol": 1e-9})
    np.testing.assert_allclose(found.exponents[0], best.x, atol=2e-3)


def test_log_odds_are_exact_for_one_expert_and_near_for_several():
    p = np.array([0.5, 0.3, 0.15, 0.05])
    np.testing.assert_allclose(softmax(log_odds(p, 1)), p)
    theta = np.random.default_rng(7).normal(size=40)
    inclusion = inclusion_probabilities(theta, 6)
    moved = log_odds(inclusion, 6) - theta
    assert np.ptp(moved) < 0.25
