"""Memory beyond the chain, on paper, against plain loops, and on traces whose distribution is known."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routestat.errors import RoutestatError
from routestat.inference.base.clustered_score_test import score_test
from routestat.inference.base.estimate import t_quantile
from routestat.inference.base.jackknife import jackknife_each, jackknife_sum
from routestat.inference.information.mutual_information import mutual_information_interval
from routestat.inference.markov import horizons as markov_horizons
from routestat.inference.markov.horizons import horizons, merge_groups
from routestat.traces import synthetic
from tests.inference.markov.step_tables import neighbours, tables_of, trace_tables
from tests.oracle import horizons_oracle as oracle
from tests.oracle.inference_oracle import tail_of_signs, without_bias

FIGURES = ("direct_bits", "chain_bits", "difference_bits", "discrepancy_bits")


def test_on_paper():
    """Paths 000, 010, 101, 111 in each of six documents: the middle layer is a coin, the last copies the first.

    Both steps have one token in every cell, so the chain implies 1/2 everywhere and no information; counted is the
    diagonal, one bit. Scores: Z = [[1, -1], [-1, 1]] for all, divided by the root of 12 * 1/2: every product is 2/3,
    the trace 4. Without a document the others show the same residual. nu = 16 / (30 * 4/9) = 6/5, and of the 32
    patterns of signs one gives as much.
    """
    states = np.array([[0, 0, 1, 1], [0, 1, 0, 1], [0, 0, 1, 1]])
    table = tables_of(np.hstack([states] * 6), np.repeat(np.arange(6), 4))
    found = horizons(neighbours(table, 3), table)
    assert found.horizons == (1, 2)
    for name, expected in zip(FIGURES, (1.0, 0.0, 1.0, 1.0), strict=True):
        band, mean = getattr(found, name), getattr(found, f"mean_{name}")
        for part in ("value", "low", "high", "plugin"):
            assert getattr(band, part)[0, 1] == pytest.approx(expected, abs=1e-12)
            assert getattr(mean, part)[1] == pytest.approx(expected, abs=1e-12)
            assert np.isnan(getattr(band, part)[1, 1])
            assert getattr(band, part)[0, 0] == pytest.approx(0.0, abs=1e-12)
    assert found.p_clustered[0, 1] == pytest.approx(1 / 32, rel=1e-12)
    assert (found.nu[0, 1], found.n_tokens[0, 1]) == (pytest.approx(1.2), 24)
    assert found.p_combined[1] == found.p_all == found.p_clustered[0, 1]
    assert np.isnan([*found.p_clustered[:, 0], found.p_combined[0]]).all()
    assert (found.reason, found.n_groups, found.n_replicates) == (None, 6, 6)
    assert "only 6 groups" in found.note


def test_every_figure_and_its_replicates_against_loops(small):
    table, layers = small
    steps = neighbours(table, layers)
    found = horizons(steps, table, level=0.9)
    for start in range(layers - 1):
        for n in range(1, layers - start):
            direct, own = table(start, start + n), steps[start : start + n]
            whole = oracle.figures(own, direct)
            left = []
            for g in range(7):
                *rest, ends = oracle.without([*own, direct], g)
                left.append(oracle.figures(rest, ends))
            size = direct.sum(axis=(1, 2))
            for place, name in enumerate(FIGURES):
                band, column = getattr(found, name), np.array(left)[:, place]
                assert band.plugin[start, n - 1] == pytest.approx(whole[place], abs=1e-12)
                expected = without_bias(whole[place], column, size)
                assert band.value[start, n - 1] == pytest.approx(expected, abs=1e-11)
                moves = (1 - size / size.sum()) * (whole[place] - column)
                error = math.sqrt(7 / 6 * 7 * np.var(moves))
                half = (band.high - band.low)[start, n - 1] / 2
                assert half == pytest.approx(t_quantile(size, 0.9) * error, abs=1e-11)


def test_the_test_against_loops(small):
    table, layers = small
    steps = neighbours(table, layers)
    found = horizons(steps, table)
    pooled = {}
    for start in range(layers - 1):
        for n in range(2, layers - start):
            gram, cross = oracle.gram_and_cross(steps[start : start + n], table(start, start + n))
            trace = np.trace(gram)
            nu = trace**2 / ((gram**2).sum() - (np.diag(gram) ** 2).sum())
            assert found.nu[start, n - 1] == pytest.approx(nu, rel=1e-10)
            p = tail_of_signs(gram - np.diag(np.diag(gram)), cross)
            assert found.p_clustered[start, n - 1] == pytest.approx(p, rel=1e-9)
            before = pooled.get(n, (0.0, 0.0))
            pooled[n] = before[0] + gram, before[1] + cross
    for n, (gram, cross) in pooled.items():
        test = score_test(gram, gram.sum() - np.trace(gram) - cross)
        assert found.p_combined[n - 1] == pytest.approx(test.p, rel=1e-9)
        assert found.log10_p_combined[n - 1] == pytest.approx(test.log10_p, rel=1e-9)
    gram, cross = (sum(part) for part in zip(*pooled.values(), strict=True))
    test = score_test(gram, gram.sum() - np.trace(gram) - cross)
    assert found.p_all == pytest.approx(test.p, rel=1e-9)


def test_the_mean_s_error_comes_from_shared_groups():
    """Two figures that groups move alike are no better known together than apart."""
    left, size = np.array([1.2, 0.7, 1.1, 0.9, 1.0, 0.8]), np.array([30, 10, 25, 20, 15, 20])
    alone = jackknife_each(1.0, left, size)
    both = jackknife_sum([1.0, 1.0], [left, left], [size, size], [0.5, 0.5])
    opposed = jackknife_sum([1.0, 1.0], [left, 2.0 - left], [size, size], [0.5, 0.5])
    for part in ("value", "low", "high", "plugin"):
        assert getattr(both, part) == pytest.approx(float(getattr(alone, part)), rel=1e-12)
    assert opposed.high - opposed.low == pytest.approx(0.0, abs=1e-12)


def test_first_horizon_is_the_information_of_neighbours(small):
    table, layers = small
    found = horizons(neighbours(table, layers), table)
    for start in range(layers - 1):
        known = mutual_information_interval(table(start, start + 1))
        assert found.direct_bits.value[start, 0] == pytest.approx(known.mi_bits, abs=1e-12)
        assert found.chain_bits.value[start, 0] == pytest.approx(known.mi_bits, abs=1e-12)


def test_tables_are_added_in_order_whatever_thread_measures_them(small):
    table, layers = small
    steps, asked = neighbours(table, layers), []

    def direct(start, end):
        asked.append((start, end))
        return table(start, end)

    one, several = horizons(steps, table), horizons(steps, direct, threads=3)
    assert asked == [(i, j) for i in range(layers) for j in range(i + 2, layers)]
    for name in (*FIGURES, *(f"mean_{figure}" for figure in FIGURES)):
        for part in ("value", "low", "high", "plugin"):
            values = getattr(getattr(one, name), part), getattr(getattr(several, name), part)
            np.testing.assert_array_equal(*values, err_msg=name)
    for name in ("log10_p_clustered", "nu", "n_tokens", "log10_p_combined", "log10_p_all"):
        np.testing.assert_array_equal(getattr(one, name), getattr(several, name))
    assert (one.reasons, one.scarce, one.note) == (several.reasons, several.scarce, several.note)


@given(seed=st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_no_naming_of_states_or_order_of_documents_matters(seed):
    rng = np.random.default_rng(seed)
    group = np.sort(rng.integers(0, 6, 150))
    group[:6] = np.arange(6)
    states = rng.integers(0, 4, (4, 150))
    states[3] = np.where(rng.random(150) < 0.5, states[1], states[3])
    names = rng.permuted(np.tile(np.arange(5), (4, 1)), axis=1)
    renamed, moved = np.take_along_axis(names, states, axis=1), rng.permutation(8)[group]
    first, second = (
        tables_of(s, np.append(g, 7)[:-1], [5] * 4) for s, g in ((states, group), (renamed, moved))
    )
    one, other = (horizons(neighbours(t, 4), t) for t in (first, second))
    for name in FIGURES:
        for part in ("value", "low", "high", "plugin"):
            values = getattr(getattr(one, name), part), getattr(getattr(other, name), part)
            assert values[0] == pytest.approx(values[1], abs=1e-9, nan_ok=True)
    assert one.log10_p_clustered == pytest.approx(other.log10_p_clustered, abs=1e-8, nan_ok=True)
    assert one.p_all == pytest.approx(other.p_all, abs=1e-9)


def chain_bits(truth, start, n):
    """Exact I(X_l; X_l+n) of a known chain."""
    joint = truth.marginals[start][:, None] * np.linalg.multi_dot(
        [*truth.transitions[start : start + n], np.eye(truth.marginals.shape[1])]
    )
    return oracle.information(joint)


def test_a_true_chain_is_explained():
    rng = np.random.default_rng(5)
    trace = synthetic.chain(
        coupling=0.8, rng=rng, n_experts=4, top_k=2, layers=6, documents=80, mean_length=300,
        lengths="exponential",
    )  # fmt: skip
    found = horizons(*trace_tables(trace, 80))
    truth = np.array(
        [[chain_bits(trace.truth, l, n) if l + n < 6 else math.nan for n in found.horizons] for l in range(5)]
    )
    known = np.isfinite(truth)
    for band in (found.direct_bits, found.chain_bits):
        inside = (band.low <= truth) & (truth <= band.high)
        assert inside[known].mean() > 0.8
        assert band.value[known] == pytest.approx(truth[known], abs=0.02)
    assert found.chain_bits.value[0, 2] > 10 * abs(found.discrepancy_bits.value[0, 2])
    assert (found.p_clustered[np.isfinite(found.p_clustered)] > 0.001).all()
    assert found.p_all > 0.01
    assert (found.note, found.reason, found.reasons) == (None, None, {})


def test_memory_of_second_order_shows_three_layers_on():
    """X_l+2 = X_l + X_l+1 + error: any two layers up to two apart are independent, those three apart are not."""
    trace = synthetic.second_order(
        noise=0.6, rng=np.random.default_rng(8), n_experts=4, top_k=2, layers=7, documents=60, mean_length=200
    )
    found = horizons(*trace_tables(trace, 60))
    truth = trace.truth.planted["mi_three_apart_bits"]
    difference = found.mean_difference_bits
    assert difference.low[2] <= truth <= difference.high[2]
    assert difference.low[2] > truth / 2
    assert abs(found.mean_chain_bits.value[2]) < truth / 10
    assert found.log10_p_combined[2] < -6
    # What no two layers show in the distribution of two layers is not here: the conditional information has it.
    assert found.p_combined[1] > 0.01
    assert trace.truth.cmi_bits[0] > 10 * truth


def test_planted_paths_are_remembered_through_all_layers():
    trace = synthetic.planted_paths(
        weight=0.05,
        rng=np.random.default_rng(2),
        n_experts=8,
        top_k=2,
        layers=8,
        documents=100,
        mean_length=100,
    )
    found = horizons(*trace_tables(trace, 100))
    assert (found.mean_difference_bits.low[1:] > 0.02).all()
    assert (found.log10_p_combined[1:] < -10).all()
    # The chain forgets, the paths do not.
    assert found.mean_chain_bits.value[6] < 0.001 < found.mean_direct_bits.low[6]


def test_missing_choices_leave_the_rest_as_it_is():
    rng = np.random.default_rng(4)
    trace = synthetic.chain(
        coupling=0.9,
        concentration=0.1,
        rng=rng,
        n_experts=4,
        top_k=2,
        layers=4,
        documents=40,
        mean_length=100,
    )
    states, group = trace.states.T.astype(int), trace.document
    gone = rng.random(states.shape) < 0.2

    def table(i, j):
        known = ~gone[i] & ~gone[j]
        out = np.zeros((40, 6, 6), dtype=np.uint32)
        np.add.at(out, (group[known], states[i, known], states[j, known]), 1)
        return out

    found = horizons(neighbours(table, 4), table)
    known = np.isfinite(found.p_clustered)
    assert known.sum() == 3
    assert (found.p_clustered[known] > 0.001).all()
    assert (found.discrepancy_bits.plugin[known] >= 0).all()
    assert found.n_tokens[0, 2] == (~gone[0] & ~gone[3]).sum()


def test_a_step_that_the_chain_never_takes_is_said():
    """The token 0 → ? → 1 has no middle layer, and no other token leads from 0 to 1."""
    steps = [np.tile(np.diag([5, 5]), (6, 1, 1)), np.tile(np.diag([5, 5]), (6, 1, 1))]
    direct = np.tile(np.diag([5, 5]), (6, 1, 1))
    direct[0, 0, 1] = 1
    found = horizons(steps, {(0, 2): direct})
    assert "never reaches their targets (a layer between is missing): 1" in found.reasons[0, 2]
    assert found.discrepancy_bits.plugin[0, 1] == pytest.approx(0.0, abs=1e-12)


def test_wide_tables_have_their_groups_bundled(monkeypatch):
    rng = np.random.default_rng(1)
    group, states = np.repeat(np.arange(90), 20), rng.integers(0, 3, (3, 1800))
    table = tables_of(states, group)
    monkeypatch.setattr(markov_horizons, "CELLS", 40 * 9)
    found = horizons(neighbours(table, 3), table)
    assert (found.n_groups, found.n_replicates) == (90, 40)
    together = tables_of(states, group % 40)
    expected = horizons(neighbours(together, 3), together)
    assert found.p_clustered[0, 1] == pytest.approx(expected.p_clustered[0, 1], rel=1e-9)
    assert found.discrepancy_bits.low[0, 1] == pytest.approx(expected.discrepancy_bits.low[0, 1], abs=1e-12)
    monkeypatch.setattr(markov_horizons, "CELLS", 1)
    assert len(merge_groups(neighbours(table, 3)).starts) == markov_horizons.LEAST


def test_a_function_is_called_once_in_order_and_progress_is_reported(small):
    table, layers = small
    requested, reported = [], []

    def direct(i, j):
        requested.append((i, j))
        return table(i, j)

    steps = neighbours(table, layers)
    found = horizons(steps, direct, farthest=2, progress=lambda *now: reported.append(now))
    assert requested == [(0, 2), (1, 3)]
    assert reported == [(done, 5) for done in range(6)]
    same = horizons(steps, {pair: table(*pair) for pair in requested}, farthest=2)
    assert np.array_equal(found.p_clustered, same.p_clustered, equal_nan=True)
    with pytest.raises(ValueError, match="read-only"):
        found.direct_bits.value[0, 0] = 1.0


def test_few_tokens_for_the_states_are_said():
    """Sixty states, and documents that repeat the same few paths."""
    rng = np.random.default_rng(0)
    states = rng.integers(0, 60, (3, 300)).repeat(5, axis=1)
    table = tables_of(states, np.repeat(np.arange(50), 30), [60] * 3)
    assert "few tokens for the states" in horizons(neighbours(table, 3), table).note


def test_bits_of_far_too_few_tokens_are_said_to_mean_little():
    """A chain of order 1 over 120 states and 8,000 tokens: intervals of the bits are above zero, the test is not."""
    trace = synthetic.chain(
        coupling=0.6,
        rng=np.random.default_rng(1),
        n_experts=16,
        top_k=2,
        layers=4,
        documents=40,
        mean_length=200,
    )
    found = horizons(*trace_tables(trace, 40))
    assert found.mean_difference_bits.low[2] > 0.1
    assert found.p_all > 0.05
    off = max(np.nanmax(abs(b.plugin - b.value)) for b in (found.direct_bits, found.difference_bits))
    assert found.sparse == (
        f"plug-in information was off by up to {off:.2g} bits: with so few tokens for the states the jackknife leaves "
        "a part of that"
    )
    assert found.note.endswith(found.sparse)
    assert found.note.startswith("few tokens for the states: the bias of estimated transitions")


def test_cautions_stand_beside_each_other():
    """Ten documents of two tokens in 30 states: few groups, and few tokens."""
    states = np.random.default_rng(0).integers(0, 30, (3, 20))
    table = tables_of(states, np.repeat(np.arange(10), 2), [30] * 3)
    found = horizons(neighbours(table, 3), table)
    assert found.note.startswith("only 10 groups of documents")
    assert found.note.endswith(found.sparse)


def test_horizons_without_a_table_have_no_test(small):
    """No token has both ends four apart; and no token has a layer between."""
    table, layers = small
    steps = neighbours(table, layers)
    found = horizons(steps, lambda i, j: table(i, j) * (j - i < 3))
    assert np.isfinite(found.p_combined[1])
    assert np.isnan([found.p_combined[2], found.log10_p_combined[2]]).all()
    assert found.reasons[0, 3] == "no tokens with both layers known"
    assert np.isfinite(found.p_all)
    through = horizons([steps[0], steps[1] * 0, steps[2] * 0], table)
    assert np.isnan([*through.p_combined, *through.log10_p_combined, through.p_all]).all()
    assert through.reasons[0, 2] == "the chain never reaches it: no token has the layers between"


def test_what_cannot_be_had_has_a_reason(small):
    table, layers = small
    steps = neighbours(table, layers)
    one = horizons([step[:1] for step in steps], lambda i, j: table(i, j)[:1])
    assert one.reason == "1 independent unit: no test or interval below 6"
    assert np.isnan(one.p_all)
    assert np.isnan(one.direct_bits.value).all()
    assert one.direct_bits.plugin[0, 1] == pytest.approx(oracle.information(table(0, 2)[0]), abs=1e-12)
    none = horizons([step * 0 for step in steps], lambda i, j: table(i, j) * 0)
    assert none.reason == "no tokens"
    assert none.reasons[0, 2] == "no tokens with both layers known"
    short = horizons(steps[:1], table)
    assert "2 layers" in short.reason
    assert short.horizons == (1,)
    assert short.direct_bits.value.shape == (1, 1)
    assert horizons([], table).horizons == ()
    # Steps without chance: nothing to test, nothing beyond the chain.
    sure = tables_of(np.tile([0, 1, 1, 0] * 3, (3, 1)), np.repeat(np.arange(6), 2))
    certain = horizons(neighbours(sure, 3), sure)
    assert certain.p_clustered[0, 1] == 1.0
    assert "exactly" in certain.reasons[0, 2]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s, t: ([s[0], s[2]], t, {}), "as long as the one before is wide"),
        (lambda s, t: ([s[0].sum(axis=0)], t, {}), "expected \\[group, source, target\\]"),
        (lambda s, t: (s, {(0, 2): t(0, 2)}, {}), "places 0 and 3, got none"),
        (lambda s, t: (s, lambda i, j: t(j, i), {}), "expected \\(7, 3, 3\\)|expected \\(7, 3, 4\\)"),
        (lambda s, t: (s, t, {"farthest": 1}), "farthest of 2 or more"),
        (lambda s, t: (s, t, {"level": 1.0}), "level between 0 and 1"),
    ],
)
def test_what_does_not_fit_is_refused(small, change, message):
    table, layers = small
    steps, direct, words = change(neighbours(table, layers), table)
    with pytest.raises(RoutestatError, match=message):
        horizons(steps, direct, **words)
