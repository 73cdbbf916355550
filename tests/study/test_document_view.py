"""Documents by name or number, their rows, and the bits of their choices by hand."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from routestat.counting.board_rows import board_rows
from routestat.counting.counts import count
from routestat.counting.document_sample import take_sample
from routestat.errors import RoutestatError
from routestat.forecast.factorised_fit import fit_factorised
from routestat.inference.markov.chain import fit_chain
from routestat.study.document_view import MARKED, resolve_documents, view_documents
from routestat.traces.metadata import TraceMeta, routers_like
from routestat.traces.store import Trace
from routestat.traces.synthetic import chain
from routestat.traces.token_texts import TokenTexts

HOSTILE = "<b>../../etc</b>"


def trace_of(experts=4, top_k=2, layers=3, documents=12, names=None, missing=False, seed=0):
    made = chain(
        coupling=0.7,
        rng=np.random.default_rng(seed),
        n_experts=experts,
        top_k=top_k,
        layers=layers,
        documents=documents,
        mean_length=30,
    )
    states = made.states.copy()
    if missing:
        states[::3, 1] = made.alphabet.missing
    token = np.arange(len(states), dtype=np.int32) % 50
    trace = Trace.from_arrays(
        TraceMeta(routers_like(range(layers), experts, top_k)),
        made.document,
        made.position,
        states,
        token=token,
    )
    if names is not None:
        trace.documents = trace.documents.append_column("name", pa.array(names, pa.string()))
    return made, states, trace


def test_documents_are_found_by_name_then_by_number():
    _, _, trace = trace_of(names=["a", "b", "3", HOSTILE, None, *"fghijkl"])
    assert resolve_documents(trace, ["b", "4", "3", HOSTILE, "b"]) == (1, 4, 2, 3)
    assert resolve_documents(trace, []) == ()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("held-out.jsonl:10", "similar names: .*held-out.jsonl:1"),
        ("99", "expected a name or a number from 0 to 11"),
        ("-1", "a number from 0 to 11"),
        ("²", "a number from 0 to 11"),
        ("twice", "but 2 have the name .*twice.*; give a number: 10, 11"),
    ],
)
def test_an_unknown_name_is_one_line_with_similar_ones(name, message):
    names = [f"held-out.jsonl:{n}" for n in range(10)] + ["twice", "twice"]
    _, _, trace = trace_of(names=names)
    with pytest.raises(RoutestatError, match=message) as raised:
        resolve_documents(trace, [name])
    assert "\n" not in str(raised.value)
    assert str(raised.value).count("held-out") <= 6


def test_documents_without_names_have_numbers():
    _, _, trace = trace_of()
    with pytest.raises(RoutestatError, match=r"--document: expected a number from 0 to 11, found .*x"):
        resolve_documents(trace, ["x"])


def test_rows_are_those_of_the_document():
    made, states, trace = trace_of(missing=True)
    (view,) = view_documents(trace, count(trace), [5], texts=TokenTexts({7: " seven"}))
    own = made.document == 5
    np.testing.assert_array_equal(view.position, made.position[own])
    np.testing.assert_array_equal(view.token, np.flatnonzero(own) % 50)
    assert view.texts == tuple(" seven" if t == 7 else f"<id {t}>" for t in view.token.tolist())
    for place, router in enumerate(view.routers):
        known = states[own, place] < made.alphabet.size
        experts = made.alphabet.unrank(np.where(known, states[own, place], 0)).astype(int)
        np.testing.assert_array_equal(view.experts[router.name], np.where(known[:, None], experts, -1))
    assert set(view.phases) == {"prefill"}
    assert (view.document, view.name, view.domain, view.reason) == (5, "", "", "")


def test_bits_are_those_of_the_other_documents():
    made, states, trace = trace_of(missing=True)
    counts = count(trace)
    fitted = fit_chain(counts, alpha=0.5)
    (view,) = view_documents(trace, counts, [5], chain=fitted)
    own, size = made.document == 5, made.alphabet.size
    group = trace.units.group_of(made.document, counts.groups)
    others = states[group != group[own][0]]
    for row, state in enumerate(states[own]):
        for layer in range(3):
            now, before = state[layer], state[layer - 1] if layer else 0
            if now >= size or before >= size:
                assert np.isnan(view.surprise_bits[row, layer])
                continue
            rows = others if not layer else others[others[:, layer - 1] == before]
            known = rows[:, layer] < size
            probability = ((rows[known, layer] == now).sum() + 0.5) / (known.sum() + 0.5 * size)
            assert view.surprise_bits[row, layer] == pytest.approx(-np.log2(probability))


def test_a_twentieth_of_the_choices_after_the_first_layer_is_marked():
    _, _, trace = trace_of(documents=40)
    (view,) = view_documents(trace, count(trace), [2])
    assert not view.marked[:, 0].any()
    later = view.surprise_bits[:, 1:]
    assert MARKED / 2 <= view.marked.sum() / later.size <= 3 * MARKED
    assert later[view.marked[:, 1:]].min() >= later[~view.marked[:, 1:]].max()


def test_bits_of_the_expert_view_are_those_of_the_chain_without_the_fold():
    _, _, trace = trace_of(experts=12, top_k=3, documents=30)
    counts = count(trace, states="expert")
    rows = board_rows(take_sample(trace, None, counts.groups), trace.meta.routers)
    factorised = fit_factorised(rows)
    (view,) = view_documents(trace, counts, [4], factorised=factorised, rows=rows)
    fold = int(rows.fold[rows.sample.document == 4][0])
    models = [1 + fold, *range(1, rows.n_folds + 1)]
    without = replace(
        factorised,
        bias={key: value[models] for key, value in factorised.bias.items()},
        weights={key: value[models] for key, value in factorised.weights.items()},
    )
    first, second, third = (view.experts[router.name].tolist() for router in view.routers)
    for row in range(0, len(view), 7):
        for layer, (before, now) in enumerate(((first, second), (second, third)), 1):
            nats = without.predict(layer - 1, [before[row]]).log_probability(now[row])
            assert view.surprise_bits[row, layer] == pytest.approx(-nats / np.log(2), rel=1e-5)
    (unfitted,) = view_documents(trace, counts, [4])
    assert np.isnan(unfitted.surprise_bits).all()
    assert "needs the part chain" in unfitted.reason


def test_one_layer_one_document_and_no_choices_do_not_fail():
    _, _, single = trace_of(layers=1)
    (view,) = view_documents(single, count(single), [0])
    assert np.isfinite(view.surprise_bits).all()
    assert view.marked.any()
    made, states, _ = trace_of(documents=1)
    meta = TraceMeta(routers_like(range(3), 4, 2))
    alone = Trace.from_arrays(meta, made.document, made.position, states)
    (view,) = view_documents(alone, count(alone), [0])
    assert len(view) == len(states)
    nothing = Trace.from_arrays(
        meta, made.document, made.position, np.full_like(states, made.alphabet.missing)
    )
    (view,) = view_documents(nothing, count(nothing), [0])
    assert not view.marked.any()
    assert "no choice has a probability" in view.reason
