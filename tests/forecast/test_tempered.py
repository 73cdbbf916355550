"""The load of a layer as a predictor: it is regularised as the longer predictors are, which extend it."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from routestat import Trace, TraceMeta
from routestat.counting.moments import Design, count_moments
from routestat.counting.score_sums import SUMS
from routestat.forecast import catalogue, tempered
from routestat.forecast.board import make_board
from routestat.forecast.exponents import log_odds
from routestat.forecast.factorised_fit import fit_factorised
from routestat.forecast.linear_fit import linear_predictors
from routestat.forecast.tempered import KINDS, Loads, fit_load, fit_tempered
from routestat.inference.conditional_bernoulli.distribution import inclusion_probabilities
from routestat.inference.markov.order_selection import choose_order
from routestat.traces.metadata import routers_like
from routestat.traces.synthetic import expert_chain, to_trace
from tests.board_cases import rows_of
from tests.oracle.forecast_oracle import subset_distribution


def made(rng, n_experts, top_k, documents, length, layers=2, popularity=None):
    """Independent choices of k of E, and how often each fold chose each expert at the last layer."""
    weight = np.ones(n_experts) if popularity is None else np.asarray(popularity)
    times = rng.standard_exponential((documents * length, layers, n_experts)) / weight
    experts = np.sort(np.argsort(times, axis=2)[..., :top_k], axis=2)
    document = np.repeat(np.arange(documents), length)
    meta = TraceMeta(routers_like(range(layers), n_experts, top_k))
    return Trace.from_arrays(meta, document, None, None, experts=experts)


def loads_of(rows):
    return rows.loads(rows.routers[-1]).astype(np.int64)


def test_every_longer_predictor_is_the_load_where_its_other_exponents_are_zero():
    rng = np.random.default_rng(0)
    trace = made(rng, 7, 2, 20, 30, popularity=rng.dirichlet(np.full(7, 3.0)))
    rows, (source, target) = rows_of(trace, 5), trace.meta.routers
    loads = loads_of(rows)
    # Without a previous token a document's first one is in the load's table alone.
    designs = [Design(target, ()), Design(target, ((source, 0),)), Design(target, ((target, 1), (source, 0)))]
    alone, *longer = count_moments(rows, designs)
    load = fit_load(alone, Loads(loads, "empirical-bayes", 2))
    np.testing.assert_allclose(load.bias, load.exponents * load.base)
    assert load.weights.shape == (5, 0, 7)
    for moments in longer:
        widths = range(1, 1 + len(moments.design.sources))
        own = Loads(loads, "empirical-bayes", 2)
        found = fit_tempered(moments, {w: tuple(KINDS) for w in widths}, "empirical-bayes", loads=own)
        assert len(found) == len(widths) * len(KINDS)
        for fit in found.values():
            np.testing.assert_array_equal(fit.base, load.base)
    # And the base is what every fold's load says without the fold.
    share = (loads.sum(axis=0) - loads + 1 / 7) / (loads.sum() - loads.sum(axis=1, keepdims=True) + 1)
    np.testing.assert_allclose(load.base, log_odds(2 * share, 2), rtol=1e-12)


def test_the_exponent_is_that_of_greatest_likelihood_on_the_next_fold():
    rng = np.random.default_rng(1)
    trace = made(rng, 6, 2, 12, 40, popularity=[1, 1, 2, 2, 3, 4])
    rows, target = rows_of(trace, 3), trace.meta.routers[1]
    moments = count_moments(rows, [Design(target, ())])[0]
    found = fit_load(moments, Loads(loads_of(rows), 0.5, 2))
    train, test = moments.folds == 2, moments.folds == 1
    member = np.eye(6)[moments.targets].sum(axis=1)
    load = (member[train].sum(axis=0) + 0.5) / (2 * train.sum() + 3) * 2
    base = np.log(load / (1 - load / 2))

    def loss(exponent):
        distribution = subset_distribution(exponent * base, 2)
        seen = sum(np.log(distribution[tuple(chosen.tolist())]) for chosen in moments.targets[test])
        return 0.5 * (exponent - 1) ** 2 - seen

    best = minimize_scalar(loss, bounds=(-1, 4), method="bounded")
    assert found.exponents[0, 0] == pytest.approx(best.x, abs=5e-3)
    assert found.exponents[0, 0] > 0.5


def test_loads_that_differ_by_chance_alone_predict_as_uniform_choices_do():
    rng = np.random.default_rng(2)
    trace = made(rng, 32, 4, 30, 50)
    rows, target = rows_of(trace), trace.meta.routers[1]
    moments = count_moments(rows, [Design(target, ())])[0]
    found = fit_load(moments, Loads(loads_of(rows), "empirical-bayes", 4))
    # What chance alone spreads the loads by, and what is left of it.
    spread = np.std(found.base, axis=1)
    assert (spread > 0.04).all()
    assert (found.bias.std(axis=1) < 0.4 * spread).mean() > 0.6
    # Experts keep their order, even where the fit would turn it round.
    assert (found.exponents > 0).all()
    for one, base in zip(found.bias, found.base, strict=True):
        np.testing.assert_array_equal(np.argsort(one, kind="stable"), np.argsort(base, kind="stable"))


def test_of_two_folds_none_is_left_to_temper_with():
    rng = np.random.default_rng(3)
    trace = made(rng, 6, 2, 2, 60)
    rows, target = rows_of(trace), trace.meta.routers[1]
    moments = count_moments(rows, [Design(target, ())])[0]
    found = fit_load(moments, Loads(loads_of(rows), "empirical-bayes", 2))
    np.testing.assert_array_equal(found.exponents, 1.0)
    np.testing.assert_array_equal(found.bias, found.base)


def test_popularity_ranks_as_it_did_and_the_others_fall_back_on_the_tempered_one():
    rng = np.random.default_rng(4)
    trace = made(rng, 6, 2, 10, 30, popularity=[1, 2, 3, 4, 5, 6])
    rows, target = rows_of(trace), trace.meta.routers[1]
    weights = rng.normal(size=(10, 6))
    fit = partial(linear_predictors, rows, catalogue.PREDICTORS, "expert", 0.5, targets=[target])
    plain = {p.name: p for p in fit()[target.name]}
    found = {p.name: p for p in fit(tempered={target.name: weights})[target.name]}
    assert (plain["popularity"].link, found["popularity"].link) == ("inclusion", "log-weight")
    np.testing.assert_array_equal(found["popularity"].bias, weights)
    for name in ("layer-1", "layer-1-naive-bayes"):
        np.testing.assert_array_equal(found[name].bias, plain[name].bias)
        assert found[name].fallback is not None
        np.testing.assert_array_equal(found[name].fallback.bias, weights)


def test_no_order_is_found_in_independent_uniform_choices():
    """Where loads were taken as counted, each of these had one layer of memory."""
    rng = np.random.default_rng(5)
    for _ in range(3):
        trace = made(rng, 64, 6, 30, 50)
        names = ("uniform", "popularity", "layer-1-factorised")
        specs = [catalogue.specification(name) for name in names]
        board = make_board(rows_of(trace), "expert", specs=specs)
        sums = {s.predictor: s.cells.by_group(s.sums) for s in board if s.target == 1}
        bits = {name: one[:, SUMS.index("bits")] for name, one in sums.items()}
        choice = choose_order([bits[name] for name in names[1:]], sums["popularity"][:, 0])
        assert choice.chosen == 0
        assert choice.gains[0].value < 0
        # Next to nothing is lost against k drawn blindly.
        assert bits["popularity"].sum() < 1.001 * bits["uniform"].sum()


@pytest.mark.parametrize(
    ("alpha", "prior"), [("jeffreys", 0.5), (2.0, 2.0), ("perks", 1 / 6), ("empirical-bayes", 1 / 6)]
)
def test_the_prior_of_a_load_is_the_rule_that_was_given(alpha, prior):
    """A load is a single row: only empirical Bayes, which no single row defines, becomes another rule."""
    rng = np.random.default_rng(7)
    trace = made(rng, 6, 2, 8, 20)
    rows, target = rows_of(trace), trace.meta.routers[-1]
    loads = loads_of(rows)
    rest = loads.sum(axis=0) - loads
    share = 2 * (rest + prior) / (rest.sum(axis=1, keepdims=True) + 6 * prior)
    popularity = linear_predictors(rows, (), "expert", alpha, targets=[target])[target.name][0]
    np.testing.assert_allclose(popularity.bias, share, rtol=1e-12)
    moments = count_moments(rows, [Design(target, ())])[0]
    np.testing.assert_allclose(fit_load(moments, Loads(loads, alpha, 2)).base, log_odds(share, 2), rtol=1e-12)
    whole = loads.sum(axis=0)
    inclusion = 2 * (whole + prior) / (whole.sum() + 6 * prior)
    model = fit_factorised(rows, alpha)
    found = inclusion_probabilities(model.bias[1, 0][0].astype(float), 2)
    np.testing.assert_allclose(found, inclusion, rtol=1e-6)


def test_nothing_of_a_fold_is_in_its_own_prediction():
    rng = np.random.default_rng(5)
    shape = {"n_experts": 8, "top_k": 2, "layers": 2, "documents": 24, "mean_length": 30}
    first = expert_chain(coupling=1.0, rng=rng, **shape)
    mine = rows_of(to_trace(first), 4).fold == 2
    states = np.array(first.states)
    states[mine] = rng.integers(0, 28, (mine.sum(), 2))
    fits = []
    for synthetic in (first, replace(first, states=states)):
        trace = to_trace(synthetic)
        source, target = trace.meta.routers
        moments = count_moments(rows_of(trace, 4), [Design(target, ((source, 0),))])[0]
        fits.append(fit_tempered(moments, {1: ("tempered-bayes", "ridge", "factorised")}, "empirical-bayes"))
    for key, fit in fits[0].items():
        np.testing.assert_array_equal(fit.bias[2], fits[1][key].bias[2])
        np.testing.assert_array_equal(fit.weights[2], fits[1][key].weights[2])
        assert not np.allclose(fit.weights[0], fits[1][key].weights[0])


class TwoMinima:
    """Errors of penalties with a minimum at either end."""

    def error(self, at):
        return [1.0, *[3.0] * 5, 2.9, 2.0, 3.0, *[3.0] * 5, 1.5][at]


class Low:
    """Errors that fall towards the least penalty."""

    def error(self, at):
        return 1.0 + at


def test_where_another_fold_s_search_ended_decides_nothing():
    alone = tempered._penalties([TwoMinima()])
    assert tempered._penalties([Low(), TwoMinima()]) == [0, *alone]
