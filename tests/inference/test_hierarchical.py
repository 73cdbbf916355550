"""Full Bayes of the chain against urns filled token by token, quadrature and truths that were planted."""

import functools
from types import SimpleNamespace

import arviz as az
import numpy as np
import pytest

from routestat import RoutestatError, log_evidence
from routestat.counting.context import Context
from routestat.counting.counts import count
from routestat.counting.sample import take_sample
from routestat.counting.strata import count_strata
from routestat.inference import collapsed, hierarchical
from routestat.inference.hierarchical import MU_SD, SIGMA_RATE, SIGMA_SHAPE, full_bayes
from routestat.traces.synthetic import chain, second_order, to_trace
from tests.oracle import bayes_oracle


def counted(made):
    """(first, tables, triples) of a synthetic trace, and its tokens by group [token, layer]."""
    trace = to_trace(made)
    counts = count(trace, groups=32)
    routers, sample = counts.routers, take_sample(trace, None, 32)
    tables = [counts.table(Context.layer(1), router) for router in routers[1:]]
    windows = zip(routers, routers[1:], routers[2:], strict=False)
    triples = [count_strata(sample, x, z, y) for x, y, z in windows]
    rows = np.stack([sample.columns[router.name] for router in routers], axis=1)
    return SimpleNamespace(
        parts=(tables[0].sum(axis=2), tables, triples), states=rows, group=np.asarray(sample.group)
    )


def small(law=chain, seed=1, layers=3, documents=24, mean_length=40, **words):
    words = {"coupling": 0.6} if law is chain and not words else words
    shape = {"n_experts": 4, "top_k": 1, "documents": documents, "mean_length": mean_length}
    return counted(law(rng=np.random.default_rng(seed), layers=layers, **shape, **words))


def evidences(data):
    first, tables, triples = data.parts
    return collapsed.chain_evidence(
        first.astype(np.int64), [table.astype(np.int64) for table in tables], triples
    )


@functools.cache
def fitted():
    """Three layers of a chain of order 1, sampled once."""
    steps = []
    data = small()
    result = full_bayes(
        *data.parts,
        np.random.default_rng(0),
        layers=(2, 5, 6),
        draws=600,
        tune=400,
        chains=2,
        progress=lambda done, total: steps.append((done, total)),
    )
    return data, result, steps


def tokens_of(data, order, unit, kept=slice(None)):
    """(row…, target) of every token, for one layer, gap or triple."""
    return [tuple(row) for row in data.states[kept, unit : unit + order + 1].tolist()]


def priors(evidence, unit, v):
    """The alpha of a row, from the words of the model alone."""
    own = np.exp(v[evidence.arguments(unit)])
    width = evidence.units[unit].width
    if evidence.order == 0:
        return lambda row: [own[-1] / width] * width
    return lambda row: own[:-1].tolist()


@pytest.mark.parametrize("order", [0, 1])
def test_likelihood_and_left_out_terms_are_those_of_urns(order):
    data = small(documents=8, mean_length=10)
    evidence = evidences(data)[order]
    rng = np.random.default_rng(3)
    v = rng.normal(0, 1, (2, evidence.n_arguments))
    if order == 1:
        v[:, -2:] = np.log(np.exp(v[:, :8]).reshape(2, 2, 4).sum(axis=2))
    found = evidence.sums()(v.T).sum(axis=0)
    left = collapsed.left_out_log_likelihood(evidence, v)
    used = np.unique(data.group)
    for draw in range(2):
        every = sum(
            bayes_oracle.urn_log_probability(
                [], tokens_of(data, order, unit), priors(evidence, unit, v[draw])
            )
            for unit in range(len(evidence.units))
        )
        assert found[draw] == pytest.approx(every, rel=1e-12)
        for place, group in enumerate(used):
            own = data.group == group
            urns = bayes_oracle.urn_log_probability(
                tokens_of(data, order, 2 - order, ~own),
                tokens_of(data, order, 2 - order, own),
                priors(evidence, 2 - order, v[draw]),
            )
            assert left[draw, place] == pytest.approx(urns, rel=1e-9)


def test_order_two_backs_off_to_order_one_without_the_left_out_group():
    data = small(documents=8, mean_length=10)
    evidence = evidences(data)[2]
    u = np.log([[0.7], [3.0], [20.0]])
    left = collapsed.left_out_log_likelihood(evidence, u)
    alpha = evidence.backing[0]
    for place, group in enumerate(np.unique(data.group)):
        own = data.group == group
        seen = tokens_of(data, 2, 0, ~own)
        counts = np.zeros((4, 4))
        for _, y, z in seen:
            counts[y, z] += 1
        base = (counts + alpha) / (counts.sum(axis=1, keepdims=True) + alpha.sum())
        for draw, strength in enumerate((0.7, 3.0, 20.0)):
            urns = bayes_oracle.urn_log_probability(
                seen, tokens_of(data, 2, 0, own), lambda row, s=strength, b=base: (s * b[row[1]]).tolist()
            )
            assert left[draw, place] == pytest.approx(urns, rel=1e-9)


@pytest.mark.parametrize("order", [0, 1, 2])
def test_tabulated_curves_are_the_exact_sums_and_straight_beyond(order):
    sums = evidences(small(mean_length=400))[order].sums()
    curves = collapsed.tabulate(sums)
    rng = np.random.default_rng(0)
    inside, outside = rng.uniform(-16, 20, (40, sums.n_functions)), np.full((1, sums.n_functions), 23.0)
    for v, rtol, atol in ((inside, 0, 1e-5), (outside, 1e-5, 0), (-outside, 1e-5, 0)):
        found = [hierarchical.curve_values(curves, row).eval(mode="FAST_COMPILE") for row in v]
        np.testing.assert_allclose(np.array(found), sums(v.T).T, rtol=rtol, atol=atol)


def strength_grid(evidence, table, parent):
    """Grid of log strengths with the log posterior at each: order 2, one unit."""
    grid = np.linspace(-5, 9, 561)
    prior = np.log(bayes_oracle.log_strength_prior(grid, table.shape[1], MU_SD, SIGMA_SHAPE, SIGMA_RATE))
    base = evidence.bases[0][parent]
    return grid, prior, np.array([log_evidence(table, np.exp(u) * base).sum() for u in grid])


@pytest.mark.slow
def test_strength_on_a_fixed_base_is_that_of_quadrature():
    data, result, _ = fitted()
    evidence = evidences(data)[2]
    grid, prior, likelihood = strength_grid(evidence, evidence.units[0].table(), evidence.units[0].parent)
    share = bayes_oracle.weights(prior + likelihood)
    mean = share @ grid
    posterior = result.orders[2].inference_data.posterior["log_strength"]
    draws = result.orders[2].log_strength[..., 0]
    assert abs(draws.mean() - mean) < 4 * float(az.mcse(posterior)["log_strength"][0])
    error = float(az.mcse((posterior - mean) ** 2)["log_strength"][0])
    assert abs(((draws - mean) ** 2).mean() - share @ (grid - mean) ** 2) < 4 * error
    below = np.interp(0.9, np.cumsum(share), grid)
    error = float(az.mcse(posterior, method="quantile", prob=0.9)["log_strength"][0])
    assert abs(np.quantile(draws, 0.9) - below) < 4 * error + 0.025  # and one step of the grid


@pytest.mark.slow
def test_psis_loo_is_that_of_fits_without_the_group():
    """Each bundle is left out in truth: posterior and base from the others' tokens alone."""
    data, result, _ = fitted()
    evidence = evidences(data)[2]
    cells = evidence.units[0]
    grid, prior, _ = strength_grid(evidence, cells.table(), cells.parent)
    scores = collapsed.left_out_log_likelihood(evidence, grid[:, None])
    exact = []
    for bundle in range(cells.n_bundles):
        rest = cells.table() - cells.tables()[bundle]
        base = evidence._base_without(0)[bundle][cells.parent]
        likelihood = np.array([log_evidence(rest, np.exp(u) * base).sum() for u in grid])
        share = bayes_oracle.weights(prior + likelihood)
        exact.append(np.log(share @ np.exp(scores[:, bundle])))
    found = az.loo(result.orders[2].inference_data, pointwise=True)
    assert abs(found.elpd_loo - sum(exact)) < 0.05 * found.se
    np.testing.assert_allclose(found.loo_i, exact, atol=0.05)


@pytest.mark.slow
def test_transition_probabilities_are_those_of_quadrature():
    rng = np.random.default_rng(5)
    table = np.array([[6, 2], [1, 4]])
    tables = rng.multivariate_hypergeometric(table.ravel(), 7)
    grouped = np.stack([tables, table.ravel() - tables]).reshape(2, 2, 2)
    result = full_bayes(grouped.sum(axis=2), [grouped], [], rng, draws=1000, tune=500, chains=2)
    axis = np.linspace(-9, 9, 241)
    one, two = (part.ravel() for part in np.meshgrid(axis, axis))
    alpha, whole = np.exp(np.stack([one, two], axis=1)), np.logaddexp(one, two)
    fine = np.linspace(-9, 10, 400)
    prior = np.interp(
        whole, fine, np.log(bayes_oracle.log_strength_prior(fine, 2, MU_SD, SIGMA_SHAPE, SIGMA_RATE))
    )
    counts = np.broadcast_to(table, (len(alpha), 2, 2))
    likelihood = log_evidence(counts, alpha[:, None, :]).sum(axis=1)
    # d log s dm = (alpha_1 alpha_2 / s**2) d log alpha_1 d log alpha_2
    share = bayes_oracle.weights(prior + likelihood + one + two - 2 * whole)
    means = (table + alpha[:, None, :]) / (table.sum(axis=1)[:, None] + alpha.sum(axis=1)[:, None, None])
    data = result.orders[1].inference_data.posterior
    draws = np.exp(data["log_alpha"].values)
    each = (table + draws[:, :, None, :]) / (table.sum(axis=1)[:, None] + draws.sum(axis=-1)[..., None, None])
    for i in range(2):
        error = float(az.mcse(az.convert_to_dataset({"p": each[:, :, i, 0]}))["p"])
        assert abs(result.transitions[0][i, 0] - share @ means[:, i, 0]) < 4 * error
        assert result.transitions[0][i].sum() == pytest.approx(1)
    error = float(az.mcse(data["log_strength"])["log_strength"][0])
    assert abs(result.orders[1].log_strength.mean() - share @ whole) < 4 * error
    assert result.comparison.orders == (0, 1)
    assert result.comparison.layers == (1,)


@pytest.mark.slow
def test_many_gaps_of_a_common_law_are_covered():
    rng = np.random.default_rng(11)
    gaps, width, mu, sigma = 40, 5, 2.0, 0.6
    strengths = rng.normal(mu, sigma, gaps)
    bases = rng.dirichlet(np.ones(width), gaps)
    units = []
    for strength, base in zip(np.exp(strengths), bases, strict=True):
        rows = np.stack([rng.multinomial(60, rng.dirichlet(strength * base)) for _ in range(12)])
        units.append(collapsed._of_table(rows[None], np.zeros(1, np.int64)))
    evidence = collapsed.evidence(1, units, np.ones(gaps, bool))
    sampled = hierarchical._sample(evidence, rng, 500, 500, 2, 1, lambda done: None)
    low, high = np.quantile(sampled.arguments[..., -gaps:], [0.1, 0.9], axis=(0, 1))
    # Of 40 intervals at 80 %, 25 to 38 hold their truth in 99.5 of 100 such data sets.
    assert 25 <= ((low < strengths) & (strengths < high)).sum() <= 38
    for name, truth in (("mu", mu), ("sigma", sigma)):
        low, high = np.quantile(sampled.data.posterior[name], [0.005, 0.995])
        assert low < truth < high


@pytest.mark.slow
def test_order_one_is_chosen_for_a_chain():
    _, result, steps = fitted()
    found = result.comparison
    assert found.chosen_order == 1
    assert found.behind_bits[0].low > 0
    assert found.layers == (6,)
    assert found.n_tokens == 24 * 40
    assert [order.paths[-1] for order in result.orders] == [(6,), (5, 6), (2, 5, 6)]
    total = 3 * 2 * 1000
    assert steps == [(done, total) for done in range(1, total + 1)]
    assert result.converged, [order.diagnosis.verdict for order in result.orders]
    for order in result.orders:
        data = order.inference_data
        assert set(data.groups()) >= {
            "posterior", "posterior_predictive", "log_likelihood", "sample_stats", "observed_data"
        }  # fmt: skip
        assert data.log_likelihood["bundle"].shape == (2, 600, 24)
        assert not order.log_strength.flags.writeable


@pytest.mark.slow
def test_order_two_is_chosen_where_only_two_layers_tell_and_processes_agree():
    data = small(second_order, noise=0.3)
    settings = {"draws": 200, "tune": 200, "chains": 2}
    steps = []
    runs = [
        full_bayes(
            *data.parts,
            np.random.default_rng(0),
            cores=cores,
            progress=lambda done, total: steps.append(done / total),
            **settings,
        )
        for cores in (1, 2)
    ]
    assert [run.comparison.chosen_order for run in runs] == [2, 2]
    assert runs[0].comparison.behind_bits[1].low > 0.1
    np.testing.assert_array_equal(runs[0].orders[2].log_strength, runs[1].orders[2].log_strength)
    assert steps.count(1.0) == 2


@pytest.mark.slow
def test_an_interrupt_stops_the_run():
    def stop(done, total):
        if done == 30:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        full_bayes(*small().parts, np.random.default_rng(0), draws=20, tune=20, chains=2, progress=stop)


def test_tokens_that_documents_share_show_as_a_design_effect():
    # Every document is one token told eight times: its counts have eight times the variance of single tokens.
    rng = np.random.default_rng(2)
    tables = 8 * np.stack([rng.multinomial(1, np.full(16, 1 / 16)) for _ in range(400)]).reshape(400, 4, 4)
    evidence = collapsed.chain_evidence(tables.sum(axis=2), [tables], [])[1]
    v = np.concatenate([np.zeros(4), [np.log(4)]])
    checks, _ = hierarchical._check(evidence, np.broadcast_to(v, (1, 100, 5)), rng)
    assert 6 < checks.design_effect[0] < 10
    assert checks.p_exchangeable[0] < 0.05
    assert "too narrow" in checks.reading()
    single = collapsed.chain_evidence((tables // 8).sum(axis=2), [tables // 8], [])[1]
    checks, _ = hierarchical._check(single, np.broadcast_to(v, (1, 100, 5)), rng)
    assert 0.8 < checks.design_effect[0] < 1.2


def test_statistics_of_a_table_by_hand():
    # Rows (2, 0) and (0, 2): the row tells one bit; two cells; every token has its row's commonest target.
    np.testing.assert_allclose(collapsed.table_statistics(1, np.diag([2, 2]), np.arange(2)), [1, 2, 1])
    # Each its own parent: nothing is left to tell. One row alone: the entropy of (3, 1).
    np.testing.assert_allclose(collapsed.table_statistics(2, np.diag([2, 2]), np.arange(2)), [0, 2, 1])
    entropy = 2 - 0.75 * np.log2(3)
    found = collapsed.table_statistics(0, np.array([[3, 1]]), np.zeros(1, int))
    np.testing.assert_allclose(found, [entropy, 2, 0.75])


def refused(message, *parts, **words):
    with pytest.raises(RoutestatError, match=message) as caught:
        full_bayes(*parts, **({"rng": np.random.default_rng(0)} | words))
    assert "\n" not in str(caught.value)


def test_what_cannot_be_sampled_is_refused_in_one_line():
    first, tables, triples = small().parts
    refused("state view", first, tables, triples, states="expert")
    refused("two layers or more", first, [], [])
    refused("two layers or more", first, tables, [])
    refused("none; check the layers", first * 0, [tables[0] * 0], [])
    refused("of the same groups", first, [tables[0][:, :3]], [])
    refused("10 draws", first, tables, triples, draws=3)
    refused("rng", first, tables, triples, rng=0)
    refused("3 numbers", first, tables, triples, layers=[1])


def test_one_group_cannot_compare_orders():
    table = np.array([[[5, 1], [2, 7]]])
    evidence = collapsed.chain_evidence(table.sum(axis=2), [table], [])
    found = hierarchical._compare(evidence, [SimpleNamespace(order=0), SimpleNamespace(order=1)], (1,), 0)
    assert found.chosen_order is None
    assert "2 groups" in found.reading()
    checks, _ = hierarchical._check(evidence[1], np.zeros((1, 10, 3)), np.random.default_rng(0))
    assert np.isnan(checks.design_effect).all()
    assert checks.reason == "one group"
