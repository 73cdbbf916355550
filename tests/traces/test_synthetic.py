"""Synthetic traces follow the law they say: every bound below is computed from that law, none is guessed."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2

from routestat.errors import RoutestatError
from routestat.traces import laws, synthetic
from routestat.traces.alphabet import Alphabet

# Each statistical check passes by luck of the seed with all but about this chance: 4 standard deviations.
SIGMAS = 4.0
P_MIN = 2 * 3.2e-5

PAIRS = {"n_experts": 8, "top_k": 2, "layers": 4, "documents": 400, "mean_length": 100}
FIVE = {"n_experts": 5, "top_k": 1, "layers": 5, "documents": 500, "mean_length": 100}
WIDE = {"n_experts": 64, "top_k": 6, "layers": 3, "documents": 100, "mean_length": 100}

GENERATORS = {
    "independent": (synthetic.independent, {}),
    "dead_experts": (synthetic.dead_experts, {"dead": {0: [1]}}),
    "chain": (synthetic.chain, {"coupling": 0.5}),
    "planted_blocks": (synthetic.planted_blocks, {"coupling": 0.5}),
    "second_order": (synthetic.second_order, {"noise": 0.3}),
    "clustered": (synthetic.clustered, {"stickiness": 0.3, "topic_concentration": 5.0}),
    "topics": (synthetic.clustered, {"topic_concentration": 5.0, "n_topics": 3}),
    "planted_paths": (synthetic.planted_paths, {"weight": 0.2}),
    "expert_chain": (synthetic.expert_chain, {"coupling": 1.0}),
}
WIDE_LAWS = ("independent", "dead_experts", "clustered", "topics", "planted_paths", "expert_chain")


def rng(seed=0):
    return np.random.default_rng(seed)


def build(name, seed=0, **shape):
    generator, words = GENERATORS[name]
    return generator(rng=rng(seed), **words, **shape)


def table(trace, *columns):
    """Counts over the states of the layers at `columns`."""
    size = trace.alphabet.size
    flat = np.zeros(len(trace.states), dtype=np.int64)
    for column in columns:
        flat = flat * size + trace.states[:, column]
    return np.bincount(flat, minlength=size ** len(columns)).reshape((size,) * len(columns))


def fits(counts, law):
    """Whether independent counts are compatible with an exact law (Pearson, small cells pooled)."""
    counts, expected = np.ravel(counts), np.ravel(law) * np.sum(counts)
    assert counts[expected == 0].sum() == 0
    rare = expected < 5
    counts = np.append(counts[~rare], counts[rare].sum())
    expected = np.append(expected[~rare], expected[rare].sum())
    used = expected > 1
    statistic = ((counts[used] - expected[used]) ** 2 / expected[used]).sum()
    p = chi2.sf(statistic, used.sum() - 1)
    # Too good a fit is as suspect as too bad a one.
    return P_MIN < p < 1 - P_MIN


def independence_p(counts):
    """Pearson's test of a table, tokens taken as independent."""
    expected = np.outer(counts.sum(axis=1), counts.sum(axis=0)) / counts.sum()
    return chi2.sf(((counts - expected) ** 2 / expected).sum(), np.prod(np.array(counts.shape) - 1))


def close_to(estimate, exact, sd_of_one, n):
    return abs(estimate - exact) < SIGMAS * sd_of_one / np.sqrt(n)


def mi_and_sd(joint):
    """Information of a joint law in bits, and the standard deviation of its log ratio for one token."""
    used = joint > 0
    p = joint[used]
    log_ratio = np.log2(p / np.outer(joint.sum(axis=1), joint.sum(axis=0))[used])
    mean = (p * log_ratio).sum()
    return mean, np.sqrt((p * log_ratio**2).sum() - mean**2)


def information_from_counts(counts):
    """Plug-in information of a table in bits, less its first-order bias."""
    plugin, _ = mi_and_sd(counts / counts.sum())
    return plugin - np.prod(np.array(counts.shape) - 1) / (2 * np.log(2) * counts.sum())


# The trace itself


@pytest.mark.parametrize("name", GENERATORS)
@pytest.mark.parametrize("top_k", [1, 2, 4, 8])
def test_every_law_at_every_k_makes_a_sound_trace(name, top_k):
    trace = build(name, n_experts=10, top_k=top_k, layers=[0, 2, 5], documents=[3, 1, 7])
    assert trace.document.tolist() == [0] * 3 + [1] + [2] * 7
    assert trace.position.tolist() == [0, 1, 2, 0, 0, 1, 2, 3, 4, 5, 6]
    assert trace.token.tolist() == [-1] * 11
    for column in (trace.document, trace.position, trace.token):
        assert column.dtype == np.int32
    assert trace.layers == (0, 2, 5)
    assert trace.states.shape == (11, 3)
    assert trace.states.dtype == Alphabet(10, top_k).dtype
    assert trace.states.max() < trace.alphabet.size
    np.testing.assert_array_equal(trace.alphabet.rank(trace.experts), trace.states)
    for array in (trace.document, trace.position, trace.token, trace.states):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


@pytest.mark.parametrize("name", WIDE_LAWS)
def test_wide_alphabets_by_experts(name):
    trace = build(name, **WIDE)
    assert trace.states.shape == (10_000, 3)
    assert trace.states.dtype == np.uint32
    assert trace.states.max() < trace.alphabet.size
    # 75 million subsets: hardly any is drawn twice, unless it is planted or a document has few experts.
    if name in ("independent", "expert_chain"):
        assert len(np.unique(trace.states[:, 0])) > 9_000


@pytest.mark.parametrize("name", GENERATORS)
def test_the_seed_decides_everything(name):
    first, again, other = (build(name, seed, **{**PAIRS, "lengths": "exponential"}) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first.states, again.states)
    np.testing.assert_array_equal(first.document, again.document)
    assert first.states.shape != other.states.shape or np.any(first.states != other.states)


@pytest.mark.parametrize("name", GENERATORS)
def test_the_truth_is_read_only_and_has_its_shapes(name):
    truth = build(name, **PAIRS).truth
    assert truth.mi_bits.shape == (3,)
    assert truth.marginals.shape == (4, 28)
    np.testing.assert_allclose(truth.marginals.sum(axis=1), 1)
    if truth.cmi_bits is not None:
        assert truth.cmi_bits.shape == (2,)
    with pytest.raises(ValueError, match="read-only"):
        truth.marginals[0, 0] = 1
    with pytest.raises(TypeError):
        truth.planted["more"] = 1


@pytest.mark.parametrize("name", GENERATORS)
def test_one_layer_and_one_token_are_enough(name):
    trace = build(name, n_experts=4, top_k=2, layers=1, documents=1, mean_length=1)
    assert trace.states.shape == (1, 1)
    assert trace.truth.mi_bits.shape == (0,)


def test_equal_and_given_lengths():
    assert synthetic.document_lengths(3, 7, rng=rng()).tolist() == [7, 7, 7]
    assert synthetic.document_lengths([2, 9], rng=rng()).tolist() == [2, 9]


def test_exponential_lengths_have_their_mean_and_spread():
    mean, n = 20, 20_000
    drawn = synthetic.document_lengths(n, mean, "exponential", rng=rng())
    # Geometric law from 1: variance m² − m; fourth central moment about 9 m⁴.
    assert drawn.min() == 1
    assert close_to(drawn.mean(), mean, np.sqrt(mean**2 - mean), n)
    assert close_to(drawn.var(), mean**2 - mean, np.sqrt(8) * mean**2, n)
    assert close_to(np.mean(drawn == 1), 1 / mean, np.sqrt(1 / mean), n)


# The mathematics of laws


@pytest.mark.parametrize(("n_experts", "top_k"), [(5, 1), (6, 2), (6, 3), (5, 4), (5, 5)])
def test_subset_law_is_the_sum_over_all_orders(n_experts, top_k):
    weights = rng(1).dirichlet(np.ones(n_experts))
    alphabet = Alphabet(n_experts, top_k)
    slow = np.zeros(alphabet.size)
    for order in permutations(range(n_experts), top_k):
        p, left = 1.0, 1.0
        for expert in order:
            p *= weights[expert] / left
            left -= weights[expert]
        slow[int(alphabet.rank(list(order)))] += p
    np.testing.assert_allclose(laws.subset_law(weights, top_k), slow, rtol=1e-9)


@given(st.integers(0, 2**32 - 1), st.integers(1, 6))
@settings(max_examples=25, deadline=None)
def test_subset_law_knows_no_names(seed, top_k):
    generator = rng(seed)
    weights = generator.dirichlet(np.full(6, 0.3))
    order = generator.permutation(6)
    alphabet = Alphabet(6, top_k)
    renamed = alphabet.rank(order[alphabet.unrank(np.arange(alphabet.size)).astype(np.intp)])
    # Expert e is called order[e] in the second law.
    second = laws.subset_law(weights[np.argsort(order)], top_k)
    np.testing.assert_allclose(second[renamed], laws.subset_law(weights, top_k), atol=1e-12)


def test_subset_law_of_equal_weights_is_uniform_and_batches():
    law = laws.subset_law(np.ones((3, 2, 7)), 3)
    np.testing.assert_allclose(law, np.full((3, 2, 35), 1 / 35))


def test_information_of_a_table_by_hand():
    # A noiseless bit; a bit through a channel that errs a quarter of the time: 1 − H(1/4).
    assert laws.mutual_information_bits(np.eye(2) / 2) == pytest.approx(1)
    channel = np.array([[3, 1], [1, 3]]) / 8
    assert laws.mutual_information_bits(channel) == pytest.approx(1 - (2 - 0.75 * np.log2(3)))
    assert laws.mutual_information_bits(np.outer([0.2, 0.8], [0.5, 0.5])) == pytest.approx(0, abs=1e-15)


def test_states_of_probability_zero_are_never_drawn():
    law = np.array([[0, 0.3, 0, 0.7, 0], [1e-300, 0, 0, 0, 1.0], [0, 0, 1.0, 0, 0]])
    rows = np.repeat(np.arange(3), 20_000)
    drawn = laws.draw_states(law, rows, rng())
    counts = np.zeros((3, 5), int)
    np.add.at(counts, (rows, drawn), 1)
    assert counts[law < 1e-200].sum() == 0
    assert close_to(counts[0, 1] / 20_000, 0.3, np.sqrt(0.21), 20_000)


@pytest.mark.parametrize("uniform", [0.0, 1 - 2.0**-53])
@pytest.mark.parametrize("n_rows", [1, 3, 100_000])
def test_the_ends_of_the_unit_interval_stay_in_their_row(uniform, n_rows):
    class Extreme:
        def random(self, n):
            return np.full(n, uniform)

    law = np.tile([0.0, 0.25, 0.0, 0.75, 0.0], (n_rows, 1))
    drawn = laws.draw_states(law, np.arange(n_rows, dtype=np.int32), Extreme())
    assert set(drawn.tolist()) == {1 if uniform == 0 else 3}


def test_experts_are_drawn_by_successive_sampling():
    weights = rng(2).dirichlet(np.ones(7), size=2)
    rows = np.tile([0, 1], 40_000)
    states = Alphabet(7, 3).rank(laws.draw_experts(np.log(weights), 3, rows, rng()))
    for row in range(2):
        counts = np.bincount(states[rows == row], minlength=35)
        assert fits(counts, laws.subset_law(weights[row], 3))


def test_sharp_dirichlet_laws_are_laws():
    base = np.array([0.5, 0.0, 0.3, 0.2])
    drawn = laws.dirichlet_around(base, 1e-3, 5_000, rng())
    np.testing.assert_allclose(drawn.sum(axis=1), 1)
    assert np.all(drawn[:, 1] == 0)
    # Nearly one-hot, on symbol i with probability base[i].
    assert close_to(drawn[:, 0].mean(), 0.5, 0.5, 5_000)


# The laws


def test_independent_layers_have_their_popularity_and_share_nothing():
    trace = synthetic.independent(rng=rng(), **PAIRS)
    for layer in range(4):
        assert fits(table(trace, layer), trace.truth.marginals[layer])
    popularity = trace.truth.planted["popularity"]
    np.testing.assert_allclose(laws.subset_law(popularity, 2), trace.truth.marginals)
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


@pytest.mark.parametrize("name", ["chain", "planted_blocks"])
@pytest.mark.parametrize("coupling", [0.0, 0.3, 1.0])
def test_chains_follow_their_transitions(name, coupling):
    generator, _ = GENERATORS[name]
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
    law = trace.truth.marginals[0][:, None, None] * first[:, :, None] * second[None]
    assert fits(table(trace, 0, 1, 2), law)


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
    topic, topic_laws = truth.planted["topic"], truth.planted["topic_laws"]
    of_token = topic[trace.document]
    for t in range(3):
        counts = np.zeros((5, 5))
        np.add.at(counts, tuple(trace.states[of_token == t][:, :2].T), 1)
        assert fits(counts, np.outer(topic_laws[t, 0], topic_laws[t, 1]))
    for gap in range(2):
        joint = np.mean([np.outer(p[gap], p[gap + 1]) for p in topic_laws], axis=0)
        np.testing.assert_allclose(truth.marginals[gap], joint.sum(axis=1))
        exact, _ = mi_and_sd(joint)
        assert truth.mi_bits[gap] == pytest.approx(exact)
        # The pool is a mixture over documents: the delta method on documents gives the error.
        log_ratio = np.log2(joint / np.outer(joint.sum(axis=1), joint.sum(axis=0)))
        per_token = log_ratio[trace.states[:, gap], trace.states[:, gap + 1]]
        per_document = np.bincount(trace.document, weights=per_token) / 10
        assert close_to(per_document.mean(), exact, per_document.std(), 5_000)
        assert independence_p(table(trace, gap, gap + 1)) < 1e-12


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
def test_information_of_planted_paths_against_the_whole_joint_law(weight, paths):
    words = {**FIVE, "layers": 3, "documents": 10}
    truth = synthetic.planted_paths(weight=weight, paths=paths, rng=rng(3), **words).truth
    a, b, c = laws.subset_law(truth.planted["popularity"], 1)
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
    np.testing.assert_allclose(truth.marginals[0], laws.subset_law(truth.planted["popularity"][0], 2))
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
    np.testing.assert_allclose(truth.transitions[0, 4], laws.subset_law(weights, 2))


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


def test_missing_states_are_missing_at_random():
    whole = synthetic.chain(coupling=0.5, rng=rng(), **PAIRS)
    holed = synthetic.with_missing(whole, 0.1, rng(1))
    missing = holed.states == whole.alphabet.missing
    n = len(missing)
    assert np.all(np.abs(missing.mean(axis=0) - 0.1) < SIGMAS * np.sqrt(0.09 / n))
    assert close_to(np.mean(missing[:, 0] & missing[:, 1]), 0.01, 0.1, n)
    np.testing.assert_array_equal(holed.states[~missing], whole.states[~missing])
    assert not np.any(whole.states == whole.alphabet.missing)
    assert holed.truth.planted["missing_fraction"] == 0.1
    np.testing.assert_array_equal(holed.truth.transitions, whole.truth.transitions)
    assert np.all((holed.experts == 255).all(axis=2) == missing)
    with pytest.raises(ValueError, match="read-only"):
        holed.states[0] = 0


# What is refused

SMALL = {"n_experts": 4, "top_k": 2, "layers": 2, "documents": 3, "mean_length": 5}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"documents": 0}, "documents"),
        ({"documents": -1}, "documents"),
        ({"documents": []}, "documents"),
        ({"documents": 2.5}, "documents"),
        ({"documents": [3, -1]}, "length of -1"),
        ({"documents": [3, 0]}, "length of 0"),
        ({"mean_length": 0}, "mean_length"),
        ({"mean_length": -5.0}, "mean_length"),
        ({"mean_length": float("nan")}, "mean_length"),
        ({"mean_length": 2.5}, "whole mean_length"),
        ({"lengths": "uniform"}, "'equal' or 'exponential'"),
        ({"layers": 0}, "layers"),
        ({"layers": -2}, "layers"),
        ({"layers": [1, 1]}, "layers"),
        ({"layers": [3, 2]}, "layers"),
        ({"layers": [-1, 2]}, "layers"),
        ({"layers": 2.0}, "layers"),
        ({"top_k": 5}, "top_k"),
        ({"n_experts": 512, "top_k": 10}, "64 bits"),
    ],
)
def test_no_such_trace(change, message):
    with pytest.raises(RoutestatError, match=message):
        synthetic.independent(rng=rng(), **{**SMALL, **change})


@pytest.mark.parametrize(
    ("generator", "words", "message"),
    [
        (synthetic.independent, {"popularity": 0.0}, "concentration"),
        (synthetic.independent, {"popularity": np.ones(3)}, "popularity"),
        (synthetic.independent, {"popularity": [1, 1, -1, 1]}, "negative"),
        (synthetic.independent, {"popularity": [1, 1, np.nan, 1]}, "finite"),
        (synthetic.independent, {"popularity": [1, 0, 0, 0]}, "top_k=2"),
        (synthetic.dead_experts, {"dead": {0: [0, 1, 2]}}, "top_k=2"),
        (synthetic.dead_experts, {"dead": {0: [0, 1, 2, 3]}}, "all experts"),
        (synthetic.dead_experts, {"dead": {7: [0]}}, "layer 7"),
        (synthetic.dead_experts, {"dead": {0: [4]}}, "out of range"),
        (synthetic.dead_experts, {"dead": {0: [-1]}}, "out of range"),
        (synthetic.chain, {"coupling": 1.1}, "coupling"),
        (synthetic.chain, {"coupling": -0.1}, "coupling"),
        (synthetic.chain, {"coupling": float("nan")}, "coupling"),
        (synthetic.chain, {"coupling": 0.5, "concentration": 0}, "concentration"),
        (synthetic.chain, {"coupling": 0.5, "n_experts": 64, "top_k": 6}, "expert_chain"),
        (synthetic.chain_given, {"initial": np.ones(6), "transitions": np.eye(6)[None]}, "initial"),
        (synthetic.chain_given, {"initial": np.ones(6) / 6, "transitions": np.eye(6)}, "transitions"),
        (synthetic.chain_given, {"initial": np.ones(6) / 6, "transitions": 2 * np.eye(6)[None]}, "sum to 1"),
        (synthetic.planted_blocks, {"coupling": 2}, "coupling"),
        (synthetic.planted_blocks, {"coupling": 0.5, "n_blocks": 7}, "n_blocks"),
        (synthetic.planted_blocks, {"coupling": 0.5, "n_blocks": 0}, "n_blocks"),
        (synthetic.planted_blocks, {"coupling": 0.5, "popularity": [1, 1, 1, 0]}, "every expert"),
        (synthetic.second_order, {"noise": -0.5}, "noise"),
        (synthetic.second_order, {"noise": 0.5, "n_experts": 64, "top_k": 6}, "too many"),
        (synthetic.clustered, {"stickiness": 1.5}, "stickiness"),
        (synthetic.clustered, {"topic_concentration": 0.0}, "topic_concentration"),
        (synthetic.clustered, {"n_topics": 3}, "topic_concentration"),
        (synthetic.clustered, {"n_topics": 0, "topic_concentration": 1.0}, "at least 1 topic"),
        (synthetic.planted_paths, {"weight": 1.2}, "weight"),
        (synthetic.planted_paths, {"weight": 0.5, "n_paths": 7}, "n_paths"),
        (synthetic.planted_paths, {"weight": 0.5, "n_paths": 0}, "n_paths"),
        (synthetic.planted_paths, {"weight": 0.5, "paths": [[0, 1, 2]]}, "paths"),
        (synthetic.planted_paths, {"weight": 0.5, "paths": [[0, 6]]}, "0 … 5"),
        (synthetic.planted_paths, {"weight": 0.5, "paths": [[0, 1]], "shares": [0.5]}, "shares"),
        (synthetic.expert_chain, {"coupling": -1.0}, "coupling"),
        (synthetic.expert_chain, {"coupling": float("inf")}, "coupling"),
    ],
)
def test_no_such_law(generator, words, message):
    with pytest.raises(RoutestatError, match=message):
        generator(rng=rng(), **{**SMALL, **words})


@pytest.mark.parametrize("fraction", [-0.1, 1.1, float("nan")])
def test_no_such_fraction_missing(fraction):
    with pytest.raises(RoutestatError, match="fraction"):
        synthetic.with_missing(synthetic.independent(rng=rng(), **SMALL), fraction, rng())


def test_randomness_must_be_given():
    with pytest.raises(TypeError, match="rng"):
        synthetic.independent(**SMALL)
