"""Size of the tests beyond plain independence, on documents whose tokens hang together.

Every token has a type; types have their own distributions at either layer, unrelated to each other; documents prefer
some types, shift both distributions of their own accord, and tokens repeat what their type chose last in the document.
"""

import numpy as np
import pytest

from routestat.counting.document_sample import Sample
from routestat.counting.permuted_documents import permuted_tables
from routestat.counting.strata import Strata
from routestat.inference.association.stratified import stratified_independence
from routestat.inference.association.token_types import beyond_token_types
from routestat.inference.association.within_documents import within_documents
from routestat.inference.information.mutual_information import mutual_information
from routestat.traces.clusters.units import Units
from routestat.traces.metadata import Router
from tests.calibration.forms import forms


def draw(distributions, rng):
    """One state per row of `distributions`."""
    return (
        (rng.random((len(distributions), 1)) > np.cumsum(distributions, axis=1))
        .sum(axis=1)
        .clip(0, distributions.shape[1] - 1)
    )


def sticky(states, unit, stay, rng):
    """Repeat the unit's last state with probability `stay`; a unit is what shares memory."""
    order = np.argsort(unit, kind="stable")
    fresh = rng.random(len(states)) >= stay
    fresh |= np.concatenate([[True], unit[order][1:] != unit[order][:-1]])[np.argsort(order)]
    place = np.maximum.accumulate(np.where(fresh[order], np.arange(len(states)), 0))
    out = np.empty_like(states)
    out[order] = states[order][place]
    return out


def lengths(groups, mean, equal, rng):
    return np.full(groups, mean) if equal else np.maximum(5, rng.exponential(mean, groups).astype(int))


def strata_of(types, x, y, group, n_states, groups):
    keys, count = np.unique(((types * n_states + x) * n_states + y) * groups + group, return_counts=True)
    rest, g = np.divmod(keys, groups)
    rest, target = np.divmod(rest, n_states)
    stratum, source = np.divmod(rest, n_states)
    names, stratum = np.unique(stratum, return_inverse=True)
    n = len(types)
    return Strata(
        stratum, source, target, g, count, len(names), n_states, n_states, groups, (1, 1), n, n, "token"
    )


def typed(n_states, n_types, groups, mean, equal, rng):
    size = lengths(groups, mean, equal, rng)
    group = np.repeat(np.arange(groups), size)
    zipf = 1 / np.arange(1, n_types + 1)
    types = np.concatenate(
        [rng.choice(n_types, n, p=rng.dirichlet(n_types / 2 * zipf / zipf.sum() + 1e-3)) for n in size]
    )
    sides = []
    for _ in range(2):
        distributions = rng.dirichlet(np.full(n_states, 0.3), n_types)[types]
        distributions = distributions * np.exp(0.5 * rng.normal(size=(groups, n_states)))[group]
        states = draw(distributions / distributions.sum(axis=1, keepdims=True), rng)
        sides.append(sticky(states, group * n_types + types, 0.5, rng))
    return strata_of(types, *sides, group, n_states, groups)


def require_size(p, found):
    rate = np.mean(np.asarray(p) < 0.05)
    error = np.sqrt(0.05 * 0.95 / len(p))
    found.append(f"rejects {rate:.3f} at 5 % (Monte-Carlo error {error:.3f})")
    # The claim is of 3 to 7 %; this sample of the rate may be one error away.
    assert 0.03 - error < rate < 0.07 + error


@pytest.mark.parametrize(
    ("n_states", "n_types", "groups", "mean", "equal", "runs"),
    [
        *forms(8, 40, 60, 200, True, short=100, long=300, name="8-40"),
        *forms(8, 400, 60, 200, False, short=100, long=300, name="8-400"),
        *forms(28, 300, 150, 100, False, short=100, long=300, name="28-300"),
    ],
)
def test_given_the_type_and_beyond_the_types(n_states, n_types, groups, mean, equal, runs, found):
    rng = np.random.default_rng(n_types)
    given, beyond = [], []
    for _ in range(runs):
        strata = typed(n_states, n_types, groups, mean, equal, rng)
        given.append(stratified_independence(strata).p_clustered)
        beyond.append(beyond_token_types(strata, rng, n_swaps=30).p)
    require_size(given, found)
    require_size(beyond, found)


@pytest.mark.parametrize(
    ("n_states", "groups", "mean", "equal", "runs"),
    [
        *forms(8, 60, 200, True, short=150, long=300, name="8-60"),
        *forms(8, 150, 100, False, short=150, long=300, name="8-150"),
        *forms(28, 60, 200, False, short=150, long=300, name="28-60"),
        *forms(28, 150, 100, True, short=150, long=300, name="28-150"),
    ],
)
def test_within_documents(n_states, groups, mean, equal, runs, found):
    """Topics that both layers share: plain independence is false, independence within documents is true."""
    rng = np.random.default_rng(n_states + groups)
    p = []
    for _ in range(runs):
        group = np.repeat(np.arange(groups), lengths(groups, mean, equal, rng))
        topics = rng.dirichlet(np.full(n_states, 0.5), (6, 2))[rng.integers(0, 6, groups)]
        x, y = (sticky(draw(topics[group, side], rng), group, 0.5, rng) for side in (0, 1))
        flat = np.bincount((group * n_states + x) * n_states + y, minlength=groups * n_states**2)
        tables = flat.reshape(groups, n_states, n_states)
        rows, columns = tables.sum(axis=2), tables.sum(axis=1)
        expected = rows[:, :, None] * columns[:, None, :] / tables.sum(axis=(1, 2))[:, None, None]
        p.append(within_documents(tables, expected).p_clustered)
    require_size(p, found)


@pytest.mark.parametrize("equal", [True, False])
def test_exchanged_documents_of_any_length(equal, found):
    """Tables of fewer tokens show more information by chance: unless all are cut alike, nothing is ever found."""
    rng, routers, p = np.random.default_rng([20, equal]), (Router(0, 8, 2), Router(1, 8, 2)), []
    for _ in range(150):
        document = np.repeat(np.arange(40), lengths(40, 60, equal, rng)).astype(np.int32)
        columns = {r.name: sticky(rng.integers(0, 28, len(document)), document, 0.6, rng) for r in routers}
        unknown, follows = np.full(len(document), -1, np.int32), np.zeros(len(document), bool)
        sample = Sample(
            routers, unknown, document, follows, columns, Units.alone(document), 40, 40, len(document)
        )
        observed, *exchanged = (mutual_information(t) for t in permuted_tables(sample, *routers, rng, 39))
        p.append((1 + sum(bits >= observed for bits in exchanged)) / 40)
    require_size(np.array(p) - 1e-9, found)
    assert np.mean(p) == pytest.approx(0.5, abs=0.1)


def test_coupling_inside_types_is_found():
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(60), 100)
    types = rng.integers(0, 30, len(group))
    x = rng.integers(0, 8, len(group))
    y = np.where(rng.random(len(group)) < 0.2, x, rng.integers(0, 8, len(group)))
    strata = strata_of(types, x, y, group, 8, 60)
    assert stratified_independence(strata).log10_p_clustered < -8
    assert beyond_token_types(strata, rng).log10_p < -8
