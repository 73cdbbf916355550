"""Independent layers, and dependent tokens, follow their stated distribution."""

import numpy as np
import pytest

from routestat.traces import synthetic
from routestat.traces.synthetic import distributions
from tests.traces.agreement import (
    FIVE,
    PAIRS,
    SIGMAS,
    WIDE,
    close_to,
    fits,
    independence_p,
    mi_and_sd,
    rng,
    table,
)


def test_independent_layers_have_their_popularity_and_share_nothing():
    trace = synthetic.independent(rng=rng(), **PAIRS)
    for layer in range(4):
        assert fits(table(trace, layer), trace.truth.marginals[layer])
    popularity = trace.truth.planted["popularity"]
    np.testing.assert_allclose(distributions.subset_distribution(popularity, 2), trace.truth.marginals)
    assert not np.allclose(popularity[0], popularity[1], atol=0.01)
    for gap in range(3):
        assert fits(table(trace, gap, gap + 1), np.outer(*trace.truth.marginals[gap : gap + 2]))
    assert np.all(trace.truth.mi_bits == 0)


def test_wide_independence_has_its_loads():
    # Weights of 0 and 1 alone, so that inclusion probabilities are known: 0 and 6/50.
    weights = np.zeros(64)
    weights[:50] = 1
    trace = synthetic.independent(rng=rng(), popularity=weights, **WIDE)
    loads = np.bincount(trace.experts[:, 0].ravel(), minlength=64) / 10_000
    assert np.all(loads[50:] == 0)
    share = 6 / 50
    # Fifty bounds at once: one standard deviation more keeps the chance of a false alarm.
    assert np.all(np.abs(loads[:50] - share) < (SIGMAS + 1) * np.sqrt(share * (1 - share) / 10_000))


def test_dead_experts_are_never_seen_and_others_are():
    dead = {0: [1], 2: [0, 7, 3]}
    trace = synthetic.dead_experts(dead=dead, rng=rng(), popularity=np.ones(8), **PAIRS)
    for layer in range(4):
        seen = set(np.unique(trace.experts[:, layer]).tolist())
        assert seen == set(range(8)) - set(dead.get(layer, []))
        assert fits(table(trace, layer), trace.truth.marginals[layer])
    assert trace.truth.planted["dead"] == {0: (1,), 2: (0, 3, 7)}


def test_dead_experts_of_a_wide_router_by_layer_number():
    words = {**WIDE, "layers": [3, 5, 9]}
    trace = synthetic.dead_experts(dead={5: range(10)}, rng=rng(), **words)
    assert trace.experts[:, 1].min() == 10
    assert trace.experts[:, 0].min() == 0


def group_scores(trace, row, column):
    """Score of each document under independence with known margins, scaled to variance 1 per token and df."""
    n_states = trace.alphabet.size
    one = np.eye(n_states)
    a = one[trace.states[:, 0]] - row
    b = one[trace.states[:, 1]] - column
    cells = a[:, :, None] * b[:, None, :] / np.sqrt(np.outer(row, column))
    starts = np.flatnonzero(trace.position == 0)
    return (np.add.reduceat(cells, starts, axis=0) ** 2).sum(axis=(1, 2)) / (n_states - 1) ** 2


@pytest.mark.parametrize(("stickiness", "concentration"), [(0.0, None), (0.6, None), (0.0, 3.0), (0.6, 3.0)])
@pytest.mark.parametrize("lengths", ["equal", "exponential"])
def test_clustered_tokens_have_their_design_effect(stickiness, concentration, lengths):
    words = {"n_experts": 4, "top_k": 1, "layers": 2, "documents": 3_000, "mean_length": 15}
    trace = synthetic.clustered(
        stickiness=stickiness,
        topic_concentration=concentration,
        popularity=np.array([4.0, 3, 2, 1]),
        rng=rng(2),
        lengths=lengths,
        **words,
    )
    scores = group_scores(trace, *trace.truth.marginals)
    n, planted = len(trace.states), trace.truth.planted["design_effect"]
    error = scores.std(ddof=1) * np.sqrt(len(scores)) / n
    assert abs(scores.sum() / n - planted) < SIGMAS * error
    if stickiness == 0 and concentration is None:
        assert planted == 1
    if stickiness == 0.6 and concentration is None and lengths == "equal":
        # By hand: 1 + 2 Σ (1 − h/15) 0.36^h over h = 1 … 14.
        assert planted == pytest.approx(1 + 2 * sum((1 - h / 15) * 0.36**h for h in range(1, 15)))
    if stickiness == 0 and concentration == 3.0 and lengths == "equal":
        # Every other token of the document counts ρ² = 1/16.
        assert planted == pytest.approx(1 + 14 / 16)


def test_sticky_layers_repeat_the_previous_token_each_for_itself():
    s = 0.4
    trace = synthetic.clustered(stickiness=s, rng=rng(), **{**FIVE, "layers": 2})
    later = trace.position[1:] > 0
    again = (trace.states[1:] == trace.states[:-1])[later]
    n = len(again)
    same_by_chance = (trace.truth.marginals**2).sum(axis=1)
    expected = s + (1 - s) * same_by_chance
    # Repeats are dependent in time through the state alone, which lasts by s: at most 1 + 2s/(1 − s) the variance.
    sd = np.sqrt(expected * (1 - expected) * (1 + s) / (1 - s))
    assert np.all(np.abs(again.mean(axis=0) - expected) < SIGMAS * sd / np.sqrt(n))
    both = np.prod(expected)
    assert close_to(np.mean(again.all(axis=1)), both, np.sqrt(both * (1 - both) * (1 + s) / (1 - s)), n)
    # The first token of a document repeats nothing.
    first = (trace.states[1:] == trace.states[:-1])[~later]
    chance = np.sqrt(same_by_chance * (1 - same_by_chance) / len(first))
    assert np.all(np.abs(first.mean(axis=0) - same_by_chance) < SIGMAS * chance)


def test_wide_documents_differ_by_concentration():
    def repeats(concentration):
        trace = synthetic.clustered(
            topic_concentration=concentration, popularity=np.ones(64), rng=rng(), **WIDE
        )
        rows = np.eye(64)[trace.experts[:, 0].astype(int)].sum(axis=1).reshape(100, 100, 64)
        return ((rows.sum(axis=1) ** 2).sum() - rows.sum()) / (100 * 100 * 99)

    # Two tokens of one document share 6 · 6/64 experts if documents are alike; more if they have a topic.
    share = 36 / 64
    alike = repeats(1e9)
    assert abs(alike - share) < SIGMAS * np.sqrt(share) / np.sqrt(100 * 100 * 99 / 2)
    assert repeats(16.0) > 2 * share


def test_topics_couple_layers_in_the_pool_and_not_within():
    words = {**FIVE, "layers": 3, "documents": 5_000, "mean_length": 10}
    trace = synthetic.clustered(topic_concentration=2.0, n_topics=3, rng=rng(1), **words)
    truth = trace.truth
    topic, topic_distributions = truth.planted["topic"], truth.planted["topic_distributions"]
    of_token = topic[trace.document]
    for t in range(3):
        counts = np.zeros((5, 5))
        np.add.at(counts, tuple(trace.states[of_token == t][:, :2].T), 1)
        assert fits(counts, np.outer(topic_distributions[t, 0], topic_distributions[t, 1]))
    for gap in range(2):
        joint = np.mean([np.outer(p[gap], p[gap + 1]) for p in topic_distributions], axis=0)
        np.testing.assert_allclose(truth.marginals[gap], joint.sum(axis=1))
        exact, _ = mi_and_sd(joint)
        assert truth.mi_bits[gap] == pytest.approx(exact)
        # The pool is a mixture over documents: the delta method on documents gives the error.
        log_ratio = np.log2(joint / np.outer(joint.sum(axis=1), joint.sum(axis=0)))
        per_token = log_ratio[trace.states[:, gap], trace.states[:, gap + 1]]
        per_document = np.bincount(trace.document, weights=per_token) / 10
        assert close_to(per_document.mean(), exact, per_document.std(), 5_000)
        assert independence_p(table(trace, gap, gap + 1)) < 1e-12
