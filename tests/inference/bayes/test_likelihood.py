"""The collapsed likelihood of the chain against urns filled token by token, and its curves against exact sums."""

from dataclasses import replace

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest

from routestat.inference.bayes import sampler as hierarchical
from routestat.inference.bayes.loo import left_out_log_likelihood
from routestat.inference.bayes.tabulated import HIGH, joined, tabulate, terms
from routestat.traces.synthetic import chain, with_missing
from tests.inference.bayes.small_chains import counted, small
from tests.oracle import bayes_oracle


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
    evidence = data.evidence()[order]
    rng = np.random.default_rng(3)
    v = rng.normal(0, 1, (2, evidence.n_arguments))
    if order == 1:
        v[:, -2:] = np.log(np.exp(v[:, :8]).reshape(2, 2, 4).sum(axis=2))
    found = evidence.sums()(v.T).sum(axis=0)
    left = left_out_log_likelihood(evidence, v)
    used = np.unique(data.group)
    for draw in range(2):
        every = sum(
            bayes_oracle.urn_log_probability([], data.tokens(order, unit), priors(evidence, unit, v[draw]))
            for unit in range(len(evidence.units))
        )
        assert found[draw] == pytest.approx(every, rel=1e-12)
        for place, group in enumerate(used):
            own = data.group == group
            urns = bayes_oracle.urn_log_probability(
                data.tokens(order, 2 - order, ~own),
                data.tokens(order, 2 - order, own),
                priors(evidence, 2 - order, v[draw]),
            )
            assert left[draw, place] == pytest.approx(urns, rel=1e-9)


def test_order_two_backs_off_to_order_one_without_the_left_out_group():
    data = small(documents=8, mean_length=10)
    evidence = data.evidence()[2]
    u = np.log([[0.7], [3.0], [20.0]])
    left = left_out_log_likelihood(evidence, u)
    alpha = evidence.backing[0]
    for place, group in enumerate(np.unique(data.group)):
        own = data.group == group
        seen = data.tokens(2, 0, ~own)
        counts = np.zeros((4, 4))
        for _, y, z in seen:
            counts[y, z] += 1
        base = (counts + alpha) / (counts.sum(axis=1, keepdims=True) + alpha.sum())
        for draw, strength in enumerate((0.7, 3.0, 20.0)):
            urns = bayes_oracle.urn_log_probability(
                seen, data.tokens(2, 0, own), lambda row, s=strength, b=base: (s * b[row[1]]).tolist()
            )
            assert left[draw, place] == pytest.approx(urns, rel=1e-9)


def test_orders_see_the_same_tokens_where_choices_are_missing():
    rng = np.random.default_rng(4)
    made = chain(n_experts=4, top_k=1, layers=4, documents=10, mean_length=30, coupling=0.6, rng=rng)
    data = counted(with_missing(made, 0.2, rng))
    zero, one, two = data.evidence()
    for unit in range(2):
        whole = (data.states[:, unit : unit + 3] < 4).all(axis=1)
        assert two.units[unit].count.sum() == whole.sum()
        assert one.units[unit + 1].count.sum() == zero.units[unit + 2].count.sum() == whole.sum()
    assert one.units[0].count.sum() == (data.states[:, :2] < 4).all(axis=1).sum()
    assert zero.units[0].count.sum() == (data.states[:, 0] < 4).sum()
    assert [part.scored.tolist() for part in (zero, one, two)] == [
        [False, False, True, True], [False, True, True], [True, True],
    ]  # fmt: skip


def test_every_bundle_holds_scored_tokens():
    """A document without a single whole triple has nothing to be scored by, and makes no bundle of its own."""
    rng = np.random.default_rng(4)
    made = chain(n_experts=4, top_k=1, layers=3, documents=10, mean_length=30, coupling=0.6, rng=rng)
    states = made.states.copy(order="F")
    states[(made.document == 0) | (made.document == 9), 2] = made.alphabet.missing
    data = counted(replace(made, states=states))
    cells = data.evidence()[2].units[0]
    assert cells.n_bundles == 8
    assert (cells.row_totals().sum(axis=1) == 30).all()


@pytest.mark.parametrize("order", [0, 1, 2])
def test_tabulated_curves_are_the_exact_sums_and_straight_beyond(order):
    sums = small(mean_length=400).evidence()[order].sums()
    curves, row = tabulate(sums), pt.dvector()
    values = pytensor.function([row], hierarchical.curve_values(curves, row), mode="FAST_COMPILE")
    rng = np.random.default_rng(0)
    inside, outside = rng.uniform(-16, 20, (40, sums.n_functions)), np.full((1, sums.n_functions), 23.0)
    for v, rtol, atol in ((inside, 0, 1e-5), (outside, 1e-5, 0), (-outside, 1e-5, 0)):
        found = [values(row) for row in v]
        np.testing.assert_allclose(np.array(found), sums(v.T).T, rtol=rtol, atol=atol)


def test_long_rows_widen_the_grid():
    """A row of 10^9 tokens still bends where a strength is e^21; the grid must reach beyond."""
    seen = terms(0, 0, np.array([4e8, 6e8]), weight=np.array([0.4, 0.6]))
    sums = joined([seen, terms(0, 0, np.array([1e9]), times=-1.0)], 1)
    curves = tabulate(sums)
    assert curves.high > np.log(1e9) + 7 > HIGH
    v = np.linspace(15, 28, 27)
    place = np.floor((v - curves.low) / curves.step).astype(int)
    over = v - curves.low - place * curves.step
    found = (curves.coefficients[0, place] * over[:, None] ** np.arange(6)).sum(axis=1)
    np.testing.assert_allclose(found, sums(v[None])[0], atol=1e-3)
