"""Tests of labels: scores by definition, the test of strata as oracle, cells by hand."""

import numpy as np
import pytest

from routestat.counting.document_sample import take_sample
from routestat.counting.strata import count_strata
from routestat.inference.association.stratified import stratified_independence
from routestat.structure.label_tests import LabelScores, cells_of, scores_in_strata, scores_of_table
from routestat.traces import synthetic
from routestat.traces.metadata import TraceMeta, routers_like
from routestat.traces.store import Trace
from tests.oracle.specialisation_oracle import scores as scores_by_definition
from tests.structure.label_cases import counted, labelled


@pytest.mark.parametrize("slots", [1, 2])
def test_scores_by_definition(slots):
    stratum, label, group, chosen = labelled(np.random.default_rng(1), slots=slots)
    of, meetings = counted(stratum, label, group, chosen, 9, 5)
    place = meetings.group.astype(np.int64) * 3 + meetings.labels[0]
    found = scores_in_strata(of, meetings, 0, of.table(place, 27).reshape(9, 3, 5))
    np.testing.assert_allclose(
        found.scores, scores_by_definition(chosen, stratum, label, group, 9, 3, 5), atol=1e-9
    )
    np.testing.assert_array_equal(found.tokens, np.bincount(group * 3 + label, minlength=27).reshape(9, 3))
    # The same from a table of few strata, with labels and strata in their places.
    whole = np.zeros((9, 6, 3, 5), np.int64)
    for row in range(len(stratum)):
        whole[group[row], stratum[row], label[row], chosen[row]] += 1
    other = scores_of_table(whole, slots)
    for name in ("scores", "counts", "tokens", "overall"):
        np.testing.assert_allclose(getattr(other, name), getattr(found, name), atol=1e-9)
    assert other.bias == pytest.approx(found.bias)
    assert other.test().log10_p == pytest.approx(found.test().log10_p)


def test_the_test_is_that_of_independence_in_strata(label_sample):
    sample, source, target = label_sample
    expected = stratified_independence(count_strata(sample, source, target, "token"))
    group = sample.group
    label, chosen = (sample.columns[router.name].astype(int) for router in (source, target))
    of, meetings = counted(sample.token, label, group, chosen[:, None], sample.groups, target.alphabet.size)
    n_labels = meetings.sizes[0]
    place = meetings.group.astype(np.int64) * n_labels + meetings.labels[0]
    table = of.table(place, sample.groups * n_labels).reshape(sample.groups, n_labels, -1)
    found = scores_in_strata(of, meetings, 0, table).test()
    assert found.log10_p == pytest.approx(expected.log10_p_clustered, abs=1e-9)
    assert found.nu == pytest.approx(expected.nu)
    assert 10**found.log10_p < 0.9


@pytest.fixture
def label_sample():
    made = synthetic.chain(
        coupling=0.7,
        rng=np.random.default_rng(2),
        n_experts=4,
        top_k=1,
        layers=2,
        documents=30,
        mean_length=25,
    )
    token = np.random.default_rng(3).integers(0, 7, len(made.document))
    meta = TraceMeta(routers_like(made.layers, 4, 1))
    sample = take_sample(Trace.from_arrays(meta, made.document, made.position, made.states, token=token))
    return sample, *sample.routers


def hand():
    """Eight groups of ten tokens, half of them of label 0; label 0 takes expert 0 in 4 of 5, label 1 in 1 of 5."""
    counts = np.array([[[4.0, 1.0], [1.0, 4.0]]] * 8)
    counts[::2] += np.array([[1.0, -1.0], [0.0, 0.0]])
    tokens = np.full((8, 2), 5.0)
    rate = counts.sum(axis=(0, 1)) / 80
    scores = counts - tokens[:, :, None] * rate - 0.5 * (counts.sum(axis=1, keepdims=True) - 10 * rate)
    return LabelScores(scores, counts, tokens, np.concatenate([[0.5, 0.5], rate]), 0.0, 0.0)


def test_cells_by_hand():
    # Of 80 tokens 36 + 8 = 44 take expert 0; half of them, 22, are expected of label 0, which has 36.
    found = cells_of(hand())
    np.testing.assert_allclose(found.observed, [[36, 4], [8, 32]])
    np.testing.assert_allclose(found.expected, [[22, 18], [22, 18]])
    np.testing.assert_allclose(found.lift[0, 0], 36 / 22)
    assert (found.z[0, 0] > 0, found.z[0, 1] < 0) == (True, True)
    assert (found.low < found.lift).all()
    assert (found.high > found.lift).all()
    # Scores of groups differ by a quarter of a token in each direction: u = O - lift E, E = O - score.
    own = (1 - 36 / 22) * hand().counts[:, 0, 0] + 36 / 22 * hand().scores[:, 0, 0]
    square = (own**2).sum()
    iid = 22 * 0.5 * (1 - 44 / 80)
    others = [(((1 - found.lift) * hand().counts + found.lift * hand().scores) ** 2).sum(axis=0)]
    effect = others[0].sum() / (found.expected * 0.5 * (1 - np.array([44, 36]) / 80)).sum()
    error = np.sqrt(8 / 7 * (square + effect * iid) / 2)
    assert found.z[0, 0] == pytest.approx((36 - 22) / error)


def test_seldom_cells_and_few_groups_are_not_tested():
    of = hand()
    rare = LabelScores(of.scores / 50, of.counts / 50, of.tokens / 50, of.overall, 0.0, 0.0)
    assert np.isnan(cells_of(rare).z).all()
    few = cells_of(of, np.arange(3))
    assert np.isnan(few.z).all()
    assert "3 independent units" in few.reason
