"""Chains, blocks, order 2 and paths follow their stated distribution."""

import numpy as np
import pytest

from routestat.traces import synthetic
from routestat.traces.synthetic import distributions
from tests.traces.agreement import (
    FIVE,
    P_MIN,
    PAIRS,
    SIGMAS,
    WIDE,
    close_to,
    fits,
    independence_p,
    information_from_counts,
    mi_and_sd,
    rng,
    table,
)


@pytest.mark.parametrize("generator", [synthetic.chain, synthetic.planted_blocks])
@pytest.mark.parametrize("coupling", [0.0, 0.3, 1.0])
def test_chains_follow_their_transitions(generator, coupling):
    trace = generator(coupling=coupling, rng=rng(1), **PAIRS)
    truth = trace.truth
    for gap in range(3):
        joint = truth.marginals[gap][:, None] * truth.transitions[gap]
        assert fits(table(trace, gap, gap + 1), joint)
        exact, sd = mi_and_sd(joint)
        assert truth.mi_bits[gap] == pytest.approx(exact, abs=1e-9)
        if coupling == 0.3:
            n = len(trace.states)
            # Cells outnumber what first-order bias covers only by terms of (K²/N)².
            found = information_from_counts(table(trace, gap, gap + 1))
            assert abs(found - exact) < SIGMAS * sd / np.sqrt(n) + (27 * 27 / n) ** 2
    if coupling == 0:
        np.testing.assert_allclose(truth.mi_bits, 0, atol=1e-12)
    else:
        assert np.all(truth.mi_bits > 0.01)


def test_a_chain_forgets_all_but_the_layer_before():
    trace = synthetic.chain(coupling=0.8, rng=rng(5), **FIVE)
    first, second = trace.truth.transitions[:2]
    probabilities = trace.truth.marginals[0][:, None, None] * first[:, :, None] * second[None]
    assert fits(table(trace, 0, 1, 2), probabilities)


def test_a_given_chain_is_that_chain():
    initial = np.array([0.5, 0.5, 0.0])
    transitions = np.array([[[0, 1, 0], [0.25, 0, 0.75], [1, 0, 0]]])
    trace = synthetic.chain_given(
        initial=initial, transitions=transitions, rng=rng(), n_experts=3, top_k=2, layers=2, documents=9_999
    )
    # X₁ is 1 after 0, and 0 or 2 after 1: it gives the bit of X₀ away.
    assert trace.truth.mi_bits[0] == pytest.approx(1)
    np.testing.assert_allclose(trace.truth.marginals, [[0.5, 0.5, 0], [0.125, 0.5, 0.375]])
    assert fits(table(trace, 0, 1), initial[:, None] * transitions[0])


def test_blocks_lead_to_blocks():
    trace = synthetic.planted_blocks(coupling=0.6, n_blocks=3, rng=rng(), **PAIRS)
    labels, marginals = trace.truth.planted["labels"], trace.truth.marginals
    for gap in range(3):
        column = labels[gap + 1]
        assert sorted(np.bincount(column)) == [9, 9, 10]
        by_block = trace.truth.transitions[gap] @ np.eye(3)[column]
        # All states of a row block lead to the column blocks alike.
        for block in range(3):
            rows = by_block[labels[gap] == block]
            np.testing.assert_allclose(rows, np.broadcast_to(rows[0], rows.shape))
            assert rows[0, block] > 0.6
        stays = labels[gap][trace.states[:, gap]] == column[trace.states[:, gap + 1]]
        expected = (marginals[gap] * by_block[np.arange(28), labels[gap]]).sum()
        assert close_to(stays.mean(), expected, np.sqrt(expected * (1 - expected)), len(stays))
    assert np.any(labels[0] != labels[1])


@pytest.mark.parametrize("n_experts", [5, 6])
def test_second_order_is_in_triples_and_in_no_pair(n_experts):
    noise = 0.4
    trace = synthetic.second_order(noise=noise, rng=rng(), **{**FIVE, "n_experts": n_experts})
    n = len(trace.states)
    for first in range(5):
        assert fits(table(trace, first), trace.truth.marginals[first])
        for second in range(first + 1, min(first + 3, 5)):
            assert P_MIN < independence_p(table(trace, first, second)) < 1 - P_MIN
    # One cell in K has probability 1 − ν + ν/K, the others ν/K each.
    hit = 1 - noise + noise / n_experts
    miss = noise / n_experts
    exact = np.log2(n_experts) + hit * np.log2(hit) + (n_experts - 1) * miss * np.log2(miss)
    np.testing.assert_allclose(trace.truth.cmi_bits, exact)
    sd = np.log2(hit / miss) * np.sqrt(hit * (1 - hit))
    for first in range(3):
        counts = table(trace, first, first + 1, first + 2)
        bias = n_experts * (n_experts - 1) ** 2 / (2 * np.log(2) * n)
        by_middle = [mi_and_sd(c / c.sum())[0] * c.sum() / n for c in counts.transpose(1, 0, 2)]
        assert close_to(sum(by_middle) - bias, exact, sd, n)


@pytest.mark.parametrize("n_experts", [5, 6])
def test_second_order_three_layers_apart(n_experts):
    trace = synthetic.second_order(noise=0.4, rng=rng(1), **{**FIVE, "n_experts": n_experts})
    exact = trace.truth.planted["mi_three_apart_bits"]
    counts = table(trace, 1, 4)
    if n_experts % 2:
        assert exact == pytest.approx(0, abs=1e-12)
        assert independence_p(counts) > P_MIN
        return
    # K even: without noise the parity passes; each of two errors keeps it with probability 1 − ν/2.
    kept = 0.6**2 + (1 - 0.6**2) / 2
    assert exact == pytest.approx(1 + kept * np.log2(kept) + (1 - kept) * np.log2(1 - kept))
    sd = np.log2(kept / (1 - kept)) * np.sqrt(kept * (1 - kept))
    assert close_to(information_from_counts(counts), exact, sd, len(trace.states))


def test_second_order_state_ids_carry_no_order():
    trace = synthetic.second_order(noise=0.0, rng=rng(), **PAIRS)
    relabelling = trace.truth.planted["relabelling"]
    hidden = np.stack([np.argsort(names)[x] for names, x in zip(relabelling, trace.states.T, strict=True)])
    np.testing.assert_array_equal((hidden[0] + hidden[1]) % 28, hidden[2])
    seen = np.unique(trace.states[:, :3].astype(int), axis=0)
    assert len(seen) == 28**2
    # Of the 28² combinations 28 satisfy the rule in ids by chance (nearly Poisson).
    agreeing = np.sum((seen[:, 0] + seen[:, 1]) % 28 == seen[:, 2])
    assert abs(agreeing - 28) < SIGMAS * np.sqrt(28)


def test_planted_paths_occur_as_often_as_said():
    words = {**FIVE, "layers": 4}
    trace = synthetic.planted_paths(weight=0.3, shares=[0.5, 0.3, 0.2], rng=rng(), **words)
    planted, n = trace.truth.planted, len(trace.states)
    np.testing.assert_allclose(planted["path_probability"], [0.15, 0.09, 0.06])
    for path, p in zip(planted["paths"], planted["occurrence_probability"], strict=True):
        found = np.mean((trace.states == path).all(axis=1))
        assert close_to(found, p, np.sqrt(p * (1 - p)), n)
    follows = planted["follows"]
    assert close_to(np.mean(follows >= 0), 0.3, np.sqrt(0.21), n)
    np.testing.assert_array_equal(trace.states[follows >= 0], planted["paths"][follows[follows >= 0]])
    for layer in range(4):
        assert fits(table(trace, layer), trace.truth.marginals[layer])
        assert len(set(planted["paths"][:, layer].tolist())) == 3


@pytest.mark.parametrize("paths", [None, [[0, 1, 2], [0, 1, 2], [0, 3, 4]]])
@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_information_of_planted_paths_against_the_joint_distribution(weight, paths):
    words = {**FIVE, "layers": 3, "documents": 10}
    truth = synthetic.planted_paths(weight=weight, paths=paths, rng=rng(3), **words).truth
    a, b, c = distributions.subset_distribution(truth.planted["popularity"], 1)
    joint = (1 - weight) * a[:, None, None] * b[:, None] * c
    for path in truth.planted["paths"]:
        joint[tuple(path)] += weight / len(truth.planted["paths"])
    assert truth.mi_bits[0] == pytest.approx(mi_and_sd(joint.sum(axis=2))[0], abs=1e-12)
    assert truth.mi_bits[1] == pytest.approx(mi_and_sd(joint.sum(axis=0))[0], abs=1e-12)
    by_middle = [
        joint[:, y].sum() * mi_and_sd(joint[:, y] / joint[:, y].sum())[0]
        for y in range(5)
        if joint[:, y].any()
    ]
    assert truth.cmi_bits[0] == pytest.approx(sum(by_middle), abs=1e-12)
    occurrence = [joint[tuple(path)] for path in truth.planted["paths"]]
    np.testing.assert_allclose(truth.planted["occurrence_probability"], occurrence)


@pytest.mark.parametrize("coupling", [0.0, 1.5])
def test_expert_chain_is_the_chain_it_says(coupling):
    words = {**PAIRS, "n_experts": 6, "layers": 3}
    trace = synthetic.expert_chain(coupling=coupling, rng=rng(), **words)
    truth = trace.truth
    np.testing.assert_allclose(
        truth.marginals[0], distributions.subset_distribution(truth.planted["popularity"][0], 2)
    )
    for gap in range(2):
        assert fits(table(trace, gap, gap + 1), truth.marginals[gap][:, None] * truth.transitions[gap])
    if coupling == 0:
        np.testing.assert_allclose(truth.mi_bits, 0, atol=1e-12)
    else:
        assert np.all(truth.mi_bits > 0.1)


def test_expert_chain_transition_by_hand():
    truth = synthetic.expert_chain(
        coupling=2.0, rng=rng(), n_experts=4, top_k=2, layers=2, documents=1, mean_length=1
    ).truth
    influence, popularity = truth.planted["influence"][0], truth.planted["popularity"][1]
    # Source state 4 is experts 1 and 3.
    weights = popularity * np.exp(2.0 * (influence[1] + influence[3]))
    np.testing.assert_allclose(truth.transitions[0, 4], distributions.subset_distribution(weights, 2))


def test_wide_expert_chain_couples_experts_and_zero_coupling_does_not():
    def chi2_of_lift(coupling):
        trace = synthetic.expert_chain(coupling=coupling, rng=rng(), **{**WIDE, "popularity": np.ones(64)})
        source, target = (np.eye(64)[trace.experts[:, l].astype(int)].sum(axis=1) for l in (0, 1))
        joint = source.T @ target / len(source)
        product = np.outer(source.mean(axis=0), target.mean(axis=0))
        return len(source) * ((joint - product) ** 2 / product).sum() / 63**2

    # Independent layers: the expected sum over cells is (Σ p(1 − p))² / p² = 58² for p = 6/64; on the
    # 63² directions that indicators of fixed sum leave, it is the sum of 63² squared normals.
    null = (58 / 63) ** 2
    assert abs(chi2_of_lift(0.0) - null) < SIGMAS * null * np.sqrt(2 / 63**2)
    assert chi2_of_lift(1.0) > 3 * null
    wide = synthetic.expert_chain(coupling=1.0, rng=rng(), **WIDE).truth
    assert wide.mi_bits is None
    assert wide.planted["influence"].shape == (2, 64, 64)
