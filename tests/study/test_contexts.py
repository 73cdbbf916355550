"""One question has one answer: the board and the memory take a context's log loss from one fit on the same rows."""

import numpy as np
import pytest

from routestat.counting.counts import count
from routestat.counting.document_sample import at_most, take_sample
from routestat.errors import RoutestatError
from routestat.forecast import contexts as fits
from routestat.forecast.catalogue import PREDICTORS
from routestat.forecast.specification import ContextForm
from routestat.study import trace_study
from routestat.study.contexts import CONTEXTS, context_spec
from routestat.study.trace_study import study
from routestat.traces.synthetic import chain, to_trace

SHAPE = {"n_experts": 4, "top_k": 2, "layers": 5, "documents": 80, "mean_length": 40}


@pytest.fixture(scope="module")
def trace():
    return to_trace(chain(coupling=0.7, rng=np.random.default_rng(1), **SHAPE))


@pytest.mark.parametrize("rows", [500_000, 1_500])
def test_board_and_memory_have_one_log_loss_of_one_fit(trace, rows, monkeypatch):
    calls = []
    monkeypatch.setattr(trace_study, "MOST_ROWS", rows)
    original = fits.held_out
    monkeypatch.setattr(
        fits, "held_out", lambda *args, **kwargs: calls.append(1) or original(*args, **kwargs)
    )
    found = study(trace, count(trace), None, np.random.default_rng(0), parts=["prediction", "memory"])
    assert len(calls) == len(found.routers)
    assert (found.memory.note == "") == (rows > 5_000)
    names = {spec.columns: name for name, spec in CONTEXTS.items()}
    compared = 0
    for score in (score for score in found.board.scores if score.horizon < 2):
        form = next(spec.states for spec in PREDICTORS if spec.name == score.predictor)
        name = names.get(form.columns) if isinstance(form, ContextForm) else None
        layer = next(item for item in found.memory.layers if item.target.name == score.router)
        if name in layer.scores.bits:
            assert score.estimate("log_loss_bits").value == pytest.approx(
                layer.log_loss(name).value, rel=1e-12
            )
            assert score.n_tokens == layer.scores.tokens.sum()
            compared += 1
    # Of five layers: nothing, one and two tokens; the layer before with and without a token; two and three layers.
    assert compared == 5 * 3 + 4 * 2 + 3 + 2


def test_the_memory_alone_is_that_of_the_whole_study(trace):
    counts = count(trace)
    whole = study(trace, counts, None, np.random.default_rng(0), parts=["prediction", "memory"]).memory
    alone = study(trace, counts, None, np.random.default_rng(0), parts=["memory"]).memory
    for one, other in zip(whole.layers, alone.layers, strict=True):
        assert list(one.scores.bits) == list(other.scores.bits)
        for name, bits in one.scores.bits.items():
            np.testing.assert_array_equal(bits, other.scores.bits[name])
        assert one.over_layers == other.over_layers


def test_at_most_so_many_rows_are_whole_documents_or_all_their_beginnings(trace):
    sample = take_sample(trace)
    assert at_most(sample, len(sample)) is sample
    # Half of eighty documents are fewer than 64: the first half of each is kept.
    part = at_most(sample, len(sample) // 2 + 1)
    assert part.n_documents == sample.n_documents
    assert part.note.endswith("the beginnings of 80 documents")
    for number in np.unique(sample.document):
        whole = np.flatnonzero(sample.document == number)
        kept = np.flatnonzero(part.document == number)
        assert len(kept) == -(-len(whole) // 2)
        for name, values in sample.columns.items():
            assert np.array_equal(part.columns[name][kept], values[whole[: len(kept)]])
        assert np.array_equal(part.follows[kept], sample.follows[whole[: len(kept)]])
    with pytest.raises(RoutestatError, match="expected 1 or more, got 0"):
        at_most(sample, 0)


def test_of_many_documents_some_are_kept_whole():
    many = to_trace(
        chain(coupling=0.5, rng=np.random.default_rng(2), **(SHAPE | {"documents": 400, "mean_length": 9}))
    )
    sample = take_sample(many)
    part = at_most(sample, len(sample) // 3)
    assert 64 <= part.n_documents < 400
    assert part.note.endswith("documents taken at random")
    sizes = {n: int((sample.document == n).sum()) for n in np.unique(part.document)}
    assert {n: int((part.document == n).sum()) for n in sizes} == sizes
    assert len(part) == len(part.group) == len(part.phase)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("token-1,layer-1", "layer and token before"),
        ("layer-3", "layer 3 before"),
        ("token id,layer-2", "token id, layer 2 before"),
    ],
)
def test_every_context_has_words(name, words):
    assert context_spec(name).words == words
