"""Routes of a trace: which chain they are taken from, what takes them, and traces without any."""

import numpy as np
import pytest

from routestat.counting.context import Context
from routestat.counting.counts import count
from routestat.counting.document_sample import take_sample
from routestat.counting.paths import count_paths
from routestat.inference.markov.chain import fit_chain
from routestat.report.path_sentences import path_sentences
from routestat.report.records.plain import plain
from routestat.report.records.routes import path_records, paths_summary
from routestat.study.memory import measure_memory
from routestat.study.route_choice import choose_routes
from routestat.study.routes import find_paths
from routestat.study.structure_plan import StructurePlan
from routestat.traces.metadata import TraceMeta, routers_like
from routestat.traces.store import Trace
from routestat.traces.token_texts import TokenTexts

CONTEXTS = [Context(), Context.layer(1), Context.token(1)]


def trace_of(states, token=None, documents=40, n_experts=4, top_k=2):
    n = len(states)
    meta = TraceMeta(routers_like(range(states.shape[1]), n_experts, top_k), name="t")
    document = np.arange(n) * documents // n
    return Trace.from_arrays(meta, document, None, states.astype(np.uint8), token=token)


def paths_of(trace, memory=True, **plan):
    counts = count(trace, contexts=CONTEXTS)
    sample = take_sample(trace)
    found = measure_memory(trace, counts, sample, (), np.random.default_rng(0)) if memory else None
    chain = fit_chain(counts)
    return find_paths(
        trace, counts, sample, chain, found, count_paths(trace, None, 3), StructurePlan(n_paths=3, **plan)
    )


def second_order(rng, n, layers=5):
    """States that are the sum of the two before them, mostly; neither alone says anything."""
    states = rng.integers(0, 6, (n, layers))
    for layer in range(2, layers):
        ruled = rng.random(n) < 0.9
        states[ruled, layer] = states[ruled, layer - 2 : layer].sum(axis=1) % 6
    return states


def test_the_memory_asks_for_order_2():
    found = paths_of(trace_of(second_order(np.random.default_rng(0), 6000)))
    assert found.choice.context == "layer-2,layer-1"
    assert found.choice.gain.low > 1
    # 36 beginnings share nearly all tokens.
    assert (found.dominant_tokens > 60).all()
    np.testing.assert_allclose(found.dominant_expected, found.dominant_tokens, rtol=0.2)
    for path, tokens, documents in zip(
        found.dominant.states, found.dominant_tokens, found.dominant_documents, strict=True
    ):
        assert path[2] == (path[0] + path[1]) % 6
        assert documents <= 40 <= tokens


def by_token(rng, n, layers=8):
    """Every token id has a route of its own, which tokens leave and come back to."""
    token = rng.choice(8, n, p=np.array([30, 20, 15, 10, 8, 7, 6, 4]) / 100)
    routes = rng.integers(0, 6, (8, layers))
    states = np.where(rng.random((n, layers)) < 0.8, routes[token], rng.integers(0, 6, (n, layers)))
    return token, routes, states


def test_the_memory_asks_for_the_token():
    token, routes, states = by_token(np.random.default_rng(1), 6000)
    texts = TokenTexts({number: f"<b>{number}" for number in range(8)})
    found = paths_of(trace_of(states, token), token_texts=texts)
    assert found.choice.given_token
    assert found.dominant_token_ids.tolist() == [0, 1, 2]
    np.testing.assert_array_equal(found.dominant.states, routes[:3])
    taken = [int(((states == routes[one]).all(axis=1) & (token == one)).sum()) for one in range(3)]
    assert found.dominant_tokens.tolist() == taken
    assert found.dominant_evidence[1].token_ids == ((1, taken[1]),)
    np.testing.assert_allclose(found.dominant_expected, taken, rtol=0.15)
    np.testing.assert_allclose(found.expected, found.observed.tokens, rtol=0.15)
    records = plain(path_records(found, trace_of(states).routers(None), "subset"))
    assert records[0]["tokens"] == [{"id": 0, "count": taken[0], "text": "<b>0"}]
    assert records[0]["lift_ci95"][0] < records[0]["lift"] < records[0]["lift_ci95"][1]
    assert f"taken by {taken[0]:,} tokens of 40 documents" in path_sentences(found, "subset")[0]
    assert "the bits of the token id counted" in " ".join(paths_summary(found, "subset")["reading"])


def test_ids_that_cost_more_than_they_save_are_not_used():
    """A token id of its own for nearly every token tells which token it is, and costs more bits than it saves."""
    rng = np.random.default_rng(2)
    states = second_order(rng, 3000)
    trace = trace_of(states, rng.integers(0, 3000, 3000))
    sample = take_sample(trace)
    memory = measure_memory(trace, count(trace, contexts=CONTEXTS), sample, (), np.random.default_rng(0))
    choice = choose_routes(memory, sample.token, sample.group)
    assert choice.context == "layer-2,layer-1"
    assert choice.bits["token id,layer-1"].value > choice.bits["layer-2,layer-1"].value + 5


def test_a_path_that_repeats_by_chance_is_not_called_unexplained():
    """Among 13,824 paths of independent layers some are taken twice by 600 tokens, where a tenth of one is expected."""
    states = np.random.default_rng(5).integers(0, 24, (600, 3))
    found = paths_of(trace_of(states, n_experts=24, top_k=1))
    tokens, documents = int(found.observed.tokens[0]), int(found.observed.documents[0])
    assert tokens >= 2
    assert tokens > 10 * found.expected[0]
    assert "does not explain how often" not in " ".join(path_sentences(found, "subset"))
    # The same path in every other document is more than chance.
    states[7::30] = 3
    found = paths_of(trace_of(states, n_experts=24, top_k=1))
    assert documents < found.observed.documents[0]
    assert "does not explain how often it repeats" in " ".join(path_sentences(found, "subset"))


def test_independent_layers_and_no_memory():
    states = np.random.default_rng(3).choice(6, (3000, 3), p=np.array([30, 25, 20, 15, 6, 4]) / 100)
    found = paths_of(trace_of(states))
    assert found.choice.context == "nothing"
    assert found.dominant.states[0].tolist() == [0, 0, 0]
    assert "chain of independent layers" in path_sentences(found, "subset")[0]
    without = paths_of(trace_of(states), memory=False)
    assert without.choice.context == "layer-1"
    assert without.choice.gain is None


@pytest.mark.parametrize("states", [np.full((40, 3), 255), np.zeros((40, 3)), np.zeros((40, 1))])
@pytest.mark.parametrize("documents", [1, 10])
def test_traces_with_nothing_to_choose(states, documents):
    found = paths_of(trace_of(states, documents=documents))
    records = plain(path_records(found, trace_of(states).routers(None), "subset"))
    assert all(record["count"] in (0, 40) for record in records)
    assert path_sentences(found, "subset")
    plain(paths_summary(found, "subset"))


def expert_trace(rng, n, layers=4, n_experts=64, top_k=6):
    """Experts of a wide model; every tenth token has one choice at all layers."""
    keys = rng.random((n, layers, n_experts))
    keys[7::10] = rng.random((1, layers, n_experts))
    choices = np.sort(np.argsort(keys, axis=2)[:, :, :top_k], axis=2)
    meta = TraceMeta(routers_like(range(layers), n_experts, top_k), name="t")
    alphabet = meta.routers[0].alphabet
    states = np.stack([alphabet.rank(choices[:, layer]) for layer in range(layers)], axis=1)
    return choices, Trace.from_arrays(meta, np.arange(n) // 20, None, states)


def test_routes_through_experts():
    choices, trace = expert_trace(np.random.default_rng(4), 1200)
    found = paths_of(trace, memory=False)
    experts = found.experts
    for routes, tokens, documents in (
        (found.dominant.states, found.dominant_tokens, found.dominant_documents),
        (experts.states, experts.tokens, experts.documents),
    ):
        for route, n, of in zip(routes, tokens, documents, strict=True):
            taken = (choices == route[None, :, None]).any(axis=2).all(axis=1)
            assert (n, of) == (taken.sum(), len(np.unique(np.flatnonzero(taken) // 20)))
    assert experts.tokens[0] >= 120
    # A few other tokens share an expert of every layer with them: the most frequent path is one of theirs.
    planted = choices[7].tolist()
    assert all(set(layer) <= set(own) for layer, own in zip(experts.frequent.shared[0], planted, strict=True))
    assert found.dominant_tokens[0] >= 120
    lift = experts.lift(0)
    assert lift.low < lift.value < lift.high
    records = plain(path_records(found, trace.routers(None), "expert"))
    assert [record["kind"] for record in records] == ["dominant"] * 3 + ["observed"] * 3 + ["frequent"] * len(
        experts.tokens
    )
    assert "choice of an expert" in " ".join(paths_summary(found, "expert")["reading"])
