"""Synthetic traces are sound for every generator, and impossible arguments are refused."""

import numpy as np
import pytest

from routestat.errors import RoutestatError
from routestat.traces import synthetic
from routestat.traces.alphabet import Alphabet
from tests.traces.agreement import PAIRS, SIGMAS, WIDE, close_to, rng

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


def build(name, seed=0, **shape):
    generator, words = GENERATORS[name]
    return generator(rng=rng(seed), **words, **shape)


@pytest.mark.parametrize("name", GENERATORS)
@pytest.mark.parametrize("top_k", [1, 2, 4, 8])
def test_every_generator_at_every_k_makes_a_valid_trace(name, top_k):
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
    # Geometric distribution from 1: variance m² − m; fourth central moment about 9 m⁴.
    assert drawn.min() == 1
    assert close_to(drawn.mean(), mean, np.sqrt(mean**2 - mean), n)
    assert close_to(drawn.var(), mean**2 - mean, np.sqrt(8) * mean**2, n)
    assert close_to(np.mean(drawn == 1), 1 / mean, np.sqrt(1 / mean), n)


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
def test_impossible_arguments_are_refused(generator, words, message):
    with pytest.raises(RoutestatError, match=message):
        generator(rng=rng(), **{**SMALL, **words})


@pytest.mark.parametrize("fraction", [-0.1, 1.1, float("nan")])
def test_no_such_fraction_missing(fraction):
    with pytest.raises(RoutestatError, match="fraction"):
        synthetic.with_missing(synthetic.independent(rng=rng(), **SMALL), fraction, rng())


def test_randomness_must_be_given():
    with pytest.raises(TypeError, match="rng"):
        synthetic.independent(**SMALL)
