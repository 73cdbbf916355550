"""Are the gaps alike? On paper, against plain loops, and whatever the states are called."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routestat.errors import RoutestatError
from routestat.inference.base.clustered_score_test import score_test
from routestat.inference.base.estimate import t_quantile
from routestat.inference.information.mutual_information import mutual_information_interval
from routestat.inference.markov.homogeneity import homogeneity
from routestat.traces import synthetic
from tests.oracle import horizons_oracle as oracle


@pytest.fixture
def gaps():
    """Tables of 9 documents of unlike length, four gaps of unlike widths, the last with missing choices."""
    rng = np.random.default_rng(0)
    length = rng.geometric(0.02, 9)
    widths = [3, 4, 2, 5, 3]
    group = np.repeat(np.arange(9), length)
    states = [(rng.integers(0, k, len(group)) + (rng.random(len(group)) < 0.4) * group) % k for k in widths]
    states[1] = np.where(rng.random(len(group)) < 0.5, states[0], states[1])
    out = []
    for i in range(4):
        table = np.zeros((9, widths[i], widths[i + 1]), dtype=np.int64)
        np.add.at(table, (group, states[i], states[i + 1]), 1)
        out.append(table)
    out[3] = rng.binomial(out[3], 0.7)
    return out


def test_on_paper():
    """One gap copies a coin, the next forgets it: 1 and 0 bits of information, 0 and 1 bit left open.

    All six documents alike, so nothing moves: the scores are (1, -1) / 2 * 1/6, all products 1/72,
    tr = 1/12, U = 30/72, nu = (1/12)^2 / (30/72^2) = 6/5, and p is that of one pattern of signs in 32. Spread: pairs
    of different groups are 1 - 1/6 of all, so the squared differences are 5/12 / (5/6) = 1/2, over two gaps less one.
    """
    copy, forget = np.tile([[2, 0], [0, 2]], (6, 1, 1)), np.tile([[1, 1], [1, 1]], (6, 1, 1))
    found = homogeneity([copy, forget], layers=[4, 7])
    for part, expected in ((found.information, (1, 0)), (found.conditional_entropy, (0, 1))):
        assert part.gap_bits.value == pytest.approx(expected, abs=1e-12)
        assert part.gap_bits.low == pytest.approx(expected, abs=1e-12)
        assert part.mean_bits.value == pytest.approx(0.5)
        assert part.range_bits == pytest.approx(1.0)
        assert part.nu == pytest.approx(1.2)
        assert part.p_clustered == pytest.approx(1 / 32, rel=1e-12)
        assert part.log10_p_clustered == pytest.approx(math.log10(part.p_clustered))
    assert found.information.slope_bits_per_layer.value == pytest.approx(-1 / 3)
    assert found.conditional_entropy.slope_bits_per_layer.high == pytest.approx(1 / 3)
    assert found.information.spread_bits == pytest.approx(math.sqrt(1 / 2))
    assert (found.layers, found.n_tokens, found.n_groups, found.reason) == ((4, 7), (24, 24), 6, None)
    assert "only 6 groups" in found.note


def test_against_loops(gaps):
    found = homogeneity(gaps, layers=[0, 1, 3, 4])
    for part, figure in (
        (found.information, oracle.information),
        (found.conditional_entropy, oracle.conditional_entropy),
    ):
        scores, estimates = oracle.gap_scores(figure, gaps)
        assert part.gap_bits.value == pytest.approx(estimates, abs=1e-11)
        assert part.gap_bits.plugin == pytest.approx([figure(t.sum(axis=0)) for t in gaps], abs=1e-12)
        assert scores.sum(axis=0) == pytest.approx(estimates - estimates.mean(), abs=1e-12)
        test = score_test(scores @ scores.T)
        assert part.p_clustered == pytest.approx(test.p, rel=1e-8)
        assert part.nu == pytest.approx(test.nu, rel=1e-8)
        assert part.mean_bits.value == pytest.approx(estimates.mean(), abs=1e-12)
        slope = np.polyfit([0, 1, 3, 4], estimates, 1)[0]
        assert part.slope_bits_per_layer.value == pytest.approx(slope, abs=1e-11)
        assert part.range_bits == pytest.approx(np.ptp(estimates), abs=1e-11)


def test_intervals_are_those_of_the_groups(gaps):
    """The slope over the gaps is done again without each group."""
    found = homogeneity(gaps[:3])
    size = gaps[0].sum(axis=(1, 2))
    slopes = [
        np.polyfit([0, 1, 2], [oracle.information(np.delete(t, g, axis=0).sum(axis=0)) for t in gaps[:3]], 1)[
            0
        ]
        for g in range(9)
    ]
    whole = np.polyfit([0, 1, 2], found.information.gap_bits.plugin, 1)[0]
    moves = (1 - size / size.sum()) * (whole - np.array(slopes))
    error = math.sqrt(9 / 8 * 9 * np.var(moves))
    band = found.information.slope_bits_per_layer
    assert band.high - band.low == pytest.approx(2.0 * error * t_quantile(size, 0.95), abs=1e-11)


@given(seed=st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_no_naming_of_states_or_order_of_documents_matters(seed):
    rng = np.random.default_rng(seed)
    tables = [rng.poisson(rng.gamma(0.5, 4.0, (6, 4, 4))) for _ in range(4)]
    order = rng.permutation(6)
    renamed = []
    for table in tables:
        wide = np.zeros((7, 5, 5), dtype=np.uint32)
        wide[np.ix_(order, rng.permutation(5)[:4], rng.permutation(5)[:4])] = table
        renamed.append(wide)
    one, other = homogeneity(tables), homogeneity(renamed)
    for name in ("information", "conditional_entropy"):
        a, b = getattr(one, name), getattr(other, name)
        assert a.gap_bits.value == pytest.approx(b.gap_bits.value, abs=1e-10)
        assert a.slope_bits_per_layer.low == pytest.approx(float(b.slope_bits_per_layer.low), abs=1e-10)
        assert a.log10_p_clustered == pytest.approx(b.log10_p_clustered, abs=1e-8)
        assert a.spread_bits == pytest.approx(b.spread_bits, abs=1e-8)


def test_gaps_of_unequal_coupling_are_distinguished():
    """The coupling falls with depth: range, spread, slope and test all see it."""
    rng, n = np.random.default_rng(1), 6
    states, document = rng.integers(0, n, (1, 12_000)), np.repeat(np.arange(60), 200)
    truth = []
    for kept in (0.6, 0.5, 0.4, 0.3):
        copied = rng.random(12_000) < kept
        step = np.where(copied, rng.permutation(n)[states[-1]], rng.integers(0, n, 12_000))
        states = np.vstack([states, step])
        share = kept + (1 - kept) / n
        rest = (1 - share) / (n - 1)
        truth.append(math.log2(n) + share * math.log2(share) + (n - 1) * rest * math.log2(rest))
    tables = []
    for i in range(4):
        cells = (document * n + states[i]) * n + states[i + 1]
        tables.append(np.bincount(cells, minlength=60 * n * n).reshape(60, n, n))
    found = homogeneity(tables).information
    assert ((found.gap_bits.low <= truth) & (truth <= found.gap_bits.high)).all()
    slope = np.polyfit(range(4), truth, 1)[0]
    assert found.slope_bits_per_layer.low < slope < found.slope_bits_per_layer.high < 0
    assert found.spread_bits == pytest.approx(np.std(truth, ddof=1), rel=0.1)
    assert found.log10_p_clustered < -10


def test_documents_of_one_distribution_in_every_gap_are_alike():
    """`planted_paths` over evenly used states: the same joint distribution in all gaps, under other names."""
    trace = synthetic.planted_paths(
        weight=0.2, rng=np.random.default_rng(6), popularity=np.ones(4), n_experts=4, top_k=2, layers=8,
        documents=80, mean_length=80, lengths="exponential",
    )  # fmt: skip
    assert np.ptp(trace.truth.mi_bits) < 1e-9
    tables = []
    for i in range(7):
        cells = (trace.document * 6 + trace.states[:, i]) * 6 + trace.states[:, i + 1]
        tables.append(np.bincount(cells.astype(int), minlength=80 * 36).reshape(80, 6, 6))
    found = homogeneity(tables)
    assert found.information.p_clustered > 0.01
    assert found.conditional_entropy.p_clustered > 0.01
    mean = found.information.mean_bits
    assert mean.low <= trace.truth.mi_bits[0] <= mean.high
    for gap, table in enumerate(tables):
        assert found.information.gap_bits.value[gap] == pytest.approx(
            mutual_information_interval(table).mi_bits, abs=1e-11
        )


def test_few_tokens_for_the_states_are_said():
    rng = np.random.default_rng(3)
    tables = [rng.multinomial(30, np.full(400, 1 / 400), 40).reshape(40, 20, 20) for _ in range(3)]
    assert "so few tokens for the states" in homogeneity(tables).note


def test_what_cannot_be_had_has_a_reason(gaps):
    one = homogeneity([t[:1] for t in gaps])
    assert one.reason == "gap 0: 1 independent unit: no test or interval below 6"
    assert np.isnan(one.information.p_clustered)
    assert one.information.gap_bits.plugin[0] == pytest.approx(oracle.information(gaps[0][0]), abs=1e-12)
    assert np.isnan(one.information.gap_bits.value).all()
    assert homogeneity([t * 0 for t in gaps]).reason == "no tokens"
    single = homogeneity(gaps[:1])
    assert "2 layers" in single.reason
    assert single.information.gap_bits.value[0] == pytest.approx(
        mutual_information_interval(gaps[0]).mi_bits, abs=1e-12
    )
    assert "0 layers" in homogeneity([]).reason
    assert "gap 2" in homogeneity([*gaps[:2], gaps[2] * 0]).reason
    with pytest.raises(ValueError, match="read-only"):
        single.information.gap_bits.value[0] = 1.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: ([t[0].sum(axis=0)], {}), "same groups"),
        (lambda t: ([t[0], t[1][:5]], {}), "same groups"),
        (lambda t: (t, {"layers": [0, 1]}), "for each of 4 gaps"),
        (lambda t: (t, {"layers": [0, 1, 1, 2]}), "a different number"),
        (lambda t: (t, {"level": 0.0}), "between 0 and 1"),
    ],
)
def test_what_does_not_fit_is_refused(gaps, change, message):
    tables, words = change(gaps)
    with pytest.raises(RoutestatError, match=message):
        homogeneity(tables, **words)
