"""Size and power of the tests of how far the memory reaches and whether the gaps are alike.

Tokens walk by a chain of order 1, so that the nulls are true, and yet those of one document hang together: it has a
distribution of its own for the first layer, and its tokens repeat whole walks of each other.
"""

from itertools import pairwise

import numpy as np
import pytest

from routestat.inference.markov.homogeneity import homogeneity
from routestat.inference.markov.horizons import horizons
from tests.calibration.forms import forms
from tests.calibration.nulls import document_lengths
from tests.oracle.horizons_oracle import information


def walks(rng, first, steps, lengths, own, repeat):
    """Groups `[token]` and states `[layer, token]`.

    With `own` documents differ in the distribution of the first layer; every walk is there `repeat` times on average.
    """
    fresh = np.maximum(1, lengths // repeat)
    group = np.repeat(np.arange(len(lengths)), fresh)
    distributions = rng.dirichlet(8.0 * first, len(lengths)) if own else np.tile(first, (len(lengths), 1))
    states = [draw(rng, distributions, group)]
    for step in steps:
        states.append(draw(rng, step, states[-1]))
    copies = rng.geometric(1.0 / repeat, len(group))
    return np.repeat(group, copies), np.repeat(np.array(states), copies, axis=1)


def draw(rng, distributions, row):
    """One state per token, by the distribution of its row; one sorted list of all rows, row r between r and r + 1."""
    steps = distributions[:, :-1].cumsum(axis=1) + np.arange(len(distributions))[:, None]
    return np.searchsorted(steps.ravel(), row + rng.random(len(row))) - row * (distributions.shape[1] - 1)


def counter(group, states, groups, k):
    def table(i, j):
        cells = (group * k + states[i]) * k + states[j]
        return np.bincount(cells, minlength=groups * k * k).reshape(groups, k, k)

    return table, [table(i, j) for i, j in pairwise(range(len(states)))]


def require_size(rates, what, found):
    """The claim is of 3 to 7 %; this sample of the rate may be one error away. Only runs are independent."""
    rate, error = np.mean(rates), np.std(rates, ddof=1) / np.sqrt(len(rates))
    found.append(f"{what}: rejects {rate:.3f} at 5 % (Monte-Carlo error {error:.3f})")
    assert 0.03 - error < rate < 0.07 + error


CASES = [
    # states, documents, tokens of each, lengths, a distribution of their own, copies, runs
    (8, 60, 200, "equal", False, 1, 150),
    (8, 60, 200, "exponential", True, 4, 150),
    (8, 150, 100, "exponential", False, 4, 150),
    *forms(28, 60, 300, "exponential", True, 1, short=40, long=80, name="28-60"),
    *forms(28, 150, 200, "equal", True, 4, short=40, long=80, name="28-150"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("k", "groups", "mean", "kind", "own", "repeat", "runs"), CASES)
def test_the_chain_is_not_refused(k, groups, mean, kind, own, repeat, runs, found):
    rng = np.random.default_rng([k, groups, repeat])
    single, combined, every, covered = [], [], [], []
    for _ in range(runs):
        steps = rng.dirichlet(np.full(k, 0.5), (4, k))
        lengths = document_lengths(rng, groups, mean, kind)
        group, states = walks(rng, rng.dirichlet(np.full(k, 3.0)), steps, lengths, own, repeat)
        table, ones = counter(group, states, groups, k)
        result = horizons(ones, table)
        p = result.p_clustered
        single.append(np.mean(p[np.isfinite(p)] < 0.05))
        combined.append(np.mean(result.p_combined[1:] < 0.05))
        every.append(result.p_all < 0.05)
        band = result.mean_difference_bits
        covered.append((band.low <= 0.0)[1:] & (band.high >= 0.0)[1:])
    what = f"k {k}, {groups} documents {kind}, own {own}, copies {repeat}"
    require_size(single, f"one table: {what}", found)
    require_size(combined, f"a horizon: {what}", found)
    require_size(every, f"all: {what}", found)
    # No memory beyond the chain is the end of no range, but the leading term of the error vanishes: wide, not narrow.
    assert np.mean(covered) > 0.93


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["equal", "exponential"])
def test_intervals_cover_memory_beyond_the_chain(kind, found):
    """One token in five takes the first layer's state again at the third; the joint distribution is known exactly."""
    rng, k, q = np.random.default_rng([len(kind)]), 6, 0.2
    first, (one, two) = rng.dirichlet(np.full(k, 5.0)), rng.dirichlet(np.full(k, 0.7), (2, k))
    cube = first[:, None, None] * one[:, :, None] * ((1 - q) * two + q * np.eye(k)[:, None, :])
    direct, middle = cube.sum(axis=1), cube.sum(axis=0)
    chain = cube.sum(axis=2) @ (middle / middle.sum(axis=1, keepdims=True))
    informations = [information(direct), information(chain)]
    discrepancy = (direct * np.log2(direct / chain)).sum()
    truth = np.array([*informations, informations[0] - informations[1], discrepancy])
    covered = []
    for _ in range(300):
        lengths = document_lengths(rng, 80, 200, kind)
        group, states = walks(rng, first, (one, two), lengths, True, 1)
        kept = rng.random(len(group)) < q
        states[2, kept] = states[0, kept]
        copies = rng.geometric(1 / 3, len(group))
        table, ones = counter(np.repeat(group, copies), np.repeat(states, copies, axis=1), 80, k)
        result = horizons(ones, table)
        names = ("direct_bits", "chain_bits", "difference_bits", "discrepancy_bits")
        bands = [getattr(result, name) for name in names]
        low, high = (np.array([getattr(band, end)[0, 1] for band in bands]) for end in ("low", "high"))
        covered.append((low <= truth) & (truth <= high))
    rates = np.mean(covered, axis=0)
    found.append(f"intervals of 95 % cover: {kind} {dict(zip(names, rates.round(3).tolist(), strict=True))}")
    assert np.abs(rates - 0.95).max() < 0.02 + np.sqrt(0.05 * 0.95 / 300)


def relabelled(rng, k, gaps, coupling):
    """Distributions of one kind under other names: rolls of one row, so that even use of the states stays even."""
    row = coupling * rng.dirichlet(np.full(k, 0.5)) + (1 - coupling) / k
    rolls = np.array([np.roll(row, i) for i in range(k)])
    names = [rng.permutation(k) for _ in range(gaps + 1)]
    steps = np.empty((gaps, k, k))
    for gap in range(gaps):
        steps[gap][np.ix_(names[gap], names[gap + 1])] = rolls
    return steps


@pytest.mark.slow
@pytest.mark.parametrize(
    ("k", "groups", "mean", "kind", "own", "repeat", "runs"),
    [
        (8, 60, 200, "equal", False, 1, 200),
        (8, 60, 200, "exponential", True, 4, 200),
        (8, 150, 100, "exponential", True, 4, 200),
        *forms(28, 150, 300, "exponential", True, 1, short=60, long=200, name="28-150"),
    ],
)
def test_gaps_of_one_distribution_are_alike(k, groups, mean, kind, own, repeat, runs, found):
    rng, p, covered = np.random.default_rng([k, groups, mean, repeat]), [], []
    for _ in range(runs):
        lengths = document_lengths(rng, groups, mean, kind)
        steps = relabelled(rng, k, 8, 0.8)
        group, states = walks(rng, np.full(k, 1 / k), steps, lengths, own, repeat)
        result = homogeneity(counter(group, states, groups, k)[1])
        p.append((result.information.p_clustered, result.conditional_entropy.p_clustered))
        slope = result.information.slope_bits_per_layer
        covered.append(slope.low <= 0.0 <= slope.high)
    rates = np.array(p) < 0.05
    for name, rate in zip(("information", "conditional entropy"), rates.T, strict=True):
        what = f"gaps alike by {name}: k {k}, {groups} documents {kind}, own {own}, copies {repeat}"
        require_size(rate, what, found)
    assert abs(np.mean(covered) - 0.95) < 0.02 + np.sqrt(0.05 * 0.95 / runs)


@pytest.mark.slow
def test_memory_and_unlike_gaps_are_found(found):
    """One token in ten remembers the first layer; one gap of six is a little looser than the others."""
    rng, k, groups, seen, tested = np.random.default_rng(9), 8, 60, [], []
    for _ in range(60):
        lengths = document_lengths(rng, groups, 200, "exponential")
        steps = relabelled(rng, k, 6, 0.8)
        group, states = walks(rng, np.full(k, 1 / k), steps, lengths, True, 2)
        kept = rng.random(states.shape[1]) < 0.1
        memory = states.copy()
        memory[3, kept] = states[0, kept]
        table, ones = counter(group, memory, groups, k)
        seen.append(horizons(ones[:3], table).p_clustered[0, 2])
        steps[3] = 0.8 * steps[3] + 0.2 / k
        group, states = walks(rng, np.full(k, 1 / k), steps, lengths, True, 2)
        tested.append(homogeneity(counter(group, states, groups, k)[1]).information.p_clustered)
    power = np.mean(np.array([seen, tested]) < 0.05, axis=1)
    found.append(f"power: memory {power[0]:.2f}, one looser gap {power[1]:.2f}")
    assert (power > 0.9).all()
