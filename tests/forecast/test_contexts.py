"""Contexts as predictors: against a slow recursion row by row, by hand, and as the memory's log losses."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from routestat import Trace, TraceMeta
from routestat.counting.board_rows import board_rows
from routestat.counting.document_sample import take_sample
from routestat.counting.score_sums import SUMS
from routestat.forecast import whole_distributions
from routestat.forecast.board import make_board, mean_board
from routestat.forecast.catalogue import PREDICTORS
from routestat.forecast.contexts import columns_of, fit_contexts
from routestat.forecast.specification import BoardPlan, ContextForm, PredictorSpec
from routestat.inference.smoothing import backoff_step as step_file
from routestat.inference.smoothing.backoff_strength import BackoffParameters
from routestat.traces.metadata import routers_like
from routestat.traces.synthetic import chain, independent
from tests.board_cases import rows_of
from tests.oracle import context_oracle
from tests.oracle.backoff_oracle import Rule

ALPHABET = (4, 2)
COLUMNS = (
    (),
    ("layer-1",),
    ("layer-1", "layer-2"),
    ("token-1",),
    ("token-1", "token-2"),
    ("layer-1", "token id", "token-1"),
)


def small(seed=0, documents=9):
    """Rows with windows, skipped positions, missing choices and token ids, phases and domains; and as arrays."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, 16, documents)
    document = np.repeat(np.arange(documents), lengths)
    position = np.concatenate([np.cumsum(rng.choice([1, 1, 1, 2], n)) for n in lengths])
    experts = np.stack([np.argsort(rng.random((len(document), 4)), axis=1)[:, :2] for _ in range(3)], axis=1)
    # The last layer copies the one before in most rows, so that contexts matter.
    same = rng.random(len(document)) < 0.7
    experts[same, 2] = (experts[same, 1] + 1) % 4
    token = rng.integers(-1, 3, len(document))
    for column in range(3):
        experts[rng.random(len(document)) < 0.08, column] = -1
    meta = TraceMeta(routers_like(range(3), *ALPHABET), window=8)
    phase = rng.choice(["prefill", "decode"], len(document))
    trace = Trace.from_arrays(meta, document, position, None, experts=experts, token=token, phase=phase)
    domain = pa.array([("code", "prose", None)[d % 3] for d in range(documents)])
    trace.documents = trace.documents.append_column("domain", domain)
    # Four groups: each has several documents, and so several domains.
    return board_rows(take_sample(trace, groups=4), trace.routers()), (document, position, 8, experts), token


def slow_sums(rows, arrays, token, place, columns, rule=None):
    held, tokens = context_oracle.tokens_of(arrays, token, place, ALPHABET, rows.held_out)
    sums, bins = context_oracle.scores(tokens, columns, ALPHABET, rule)
    total, binned = np.zeros((len(rows.cells), sums.shape[1])), np.zeros((len(rows.cells), *bins.shape[1:]))
    np.add.at(total, rows.cell[held], sums)
    np.add.at(binned, rows.cell[held], bins)
    return total, binned


def fitted(rows, **plan):
    columns = {str(number): one for number, one in enumerate(COLUMNS)}
    return fit_contexts(rows, columns, scored=columns, plan=BoardPlan(threads=1, **plan))


@pytest.mark.parametrize("seed", range(3))
def test_every_score_is_that_of_a_recursion_row_by_row(seed):
    rows, arrays, token = small(seed)
    assert len(rows.cells) > 4
    layers = [set(), {"layer-1"}, {"layer-1", "layer-2"}]
    for place, fit in enumerate(fitted(rows)):
        there = [
            n for n, one in enumerate(COLUMNS) if not {"layer-1", "layer-2"}.intersection(one) - layers[place]
        ]
        assert list(fit.sums) == [str(n) for n in there]
        for name, found in fit.sums.items():
            sums, bins = slow_sums(rows, arrays, token, place, COLUMNS[int(name)])
            np.testing.assert_allclose(found.sums, sums, rtol=1e-9, atol=1e-9)
            np.testing.assert_allclose(found.calibration, bins, rtol=1e-9, atol=1e-9)


def test_so_are_they_with_discounts_and_any_strengths(monkeypatch):
    # Discounts are rare on small traces: here every step has one.
    def strength(counts, base, totals):
        return 0.3 + float(counts @ base) / (1.0 + float(np.sum(totals)))

    def backoff(counts, base, context, *_):
        return BackoffParameters(0.2 + float(counts @ base) / (1.0 + len(set(context.tolist()))), 0.4)

    monkeypatch.setattr(step_file, "fit_strength", strength)
    monkeypatch.setattr(step_file, "fit_backoff", backoff)
    rows, arrays, token = small(7)
    fit = fitted(rows)[2]
    for name in ("2", "4", "5"):
        sums, bins = slow_sums(rows, arrays, token, 2, COLUMNS[int(name)], Rule(strength, backoff))
        np.testing.assert_allclose(fit.sums[name].sums, sums, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(fit.sums[name].calibration, bins, rtol=1e-9, atol=1e-9)


def test_bits_are_those_of_the_memory_and_ranges_change_nothing(monkeypatch):
    rows = rows_of(trace_of(chain(coupling=0.7, rng=np.random.default_rng(3), **SHAPE)))
    whole = fitted(rows)
    for fit in whole:
        for name, found in fit.sums.items():
            bits = rows.cells.by_group(found.sums[:, SUMS.index("bits")])
            np.testing.assert_allclose(bits, fit.scores.bits[name], rtol=1e-12, atol=1e-9)
    monkeypatch.setattr(whole_distributions, "HELD", 50)
    for fit, parts in zip(whole, fitted(rows), strict=True):
        for name, found in fit.sums.items():
            np.testing.assert_array_equal(parts.sums[name].sums, found.sums)
            np.testing.assert_array_equal(parts.sums[name].calibration, found.calibration)


def test_without_reliability_curves_the_rest_is_the_same():
    rows, _, _ = small(1)
    squared = SUMS.index("brier")
    for fit, plain in zip(fitted(rows), fitted(rows, calibrate=False), strict=True):
        for name, found in fit.sums.items():
            assert plain.sums[name].calibration is None
            np.testing.assert_array_equal(
                np.delete(plain.sums[name].sums, squared, 1), np.delete(found.sums, squared, 1)
            )


def test_rows_that_only_serve_to_fit_are_not_scored():
    rows, _, _ = small(2)
    rows = replace(rows, folds=np.array([0, 1, 0, 1]))
    some = fitted(replace(rows, scored_folds=(1,)))
    left_out = rows.fold_of_cell == 0
    for fit, part in zip(fitted(rows), some, strict=True):
        for name, found in fit.sums.items():
            np.testing.assert_array_equal(part.sums[name].sums[~left_out], found.sums[~left_out])
            assert not part.sums[name].sums[left_out].any()


SHAPE = {"n_experts": 6, "top_k": 2, "layers": 4, "documents": 60, "mean_length": 200}


def trace_of(synthetic):
    meta = TraceMeta(routers_like(synthetic.layers, synthetic.n_experts, synthetic.top_k))
    return Trace.from_arrays(meta, synthetic.document, synthetic.position, synthetic.states)


def rows_by_hand(states, document, alphabet=ALPHABET):
    meta = TraceMeta(routers_like([0], *alphabet))
    position = np.concatenate([np.arange(n) for n in np.bincount(document)])
    return rows_of(Trace.from_arrays(meta, document, position, np.asarray(states)[:, None]))


def popularity_of(rows, name="popularity"):
    specs = [PredictorSpec(name, "load", "load", ("load",), states=ContextForm(()))]
    return make_board(rows, "subset", specs=specs)


def test_a_group_is_never_scored_by_itself(monkeypatch):
    # With a strength of 2 over two states, a state that only one group has can get no more than 1 / 4 there, however
    # often it was seen: the other group has two tokens of the other state.
    monkeypatch.setattr(step_file.Step, "_strengthened", staticmethod(lambda *_: BackoffParameters(2.0)))
    states, document = np.array([1] * 1000 + [0, 0]), np.array([0] * 1000 + [1] * 2)
    (score,) = popularity_of(rows_by_hand(states, document, (2, 1)))
    sums = score.cells.by_group(score.sums)
    assert sums[0, SUMS.index("bits")] == pytest.approx(1000 * 2.0)
    assert sums[0, SUMS.index("exact_set")] == 0
    assert popularity_of(rows_by_hand(states[:1000], document[:1000], (2, 1))) == ()


def test_exact_set_and_recall_decide_differently():
    # P(01) = .4, P(02) = P(12) = 0, P(23) = P(13) = .3: the best pair is 01, the best two experts 1 and 3.
    states = np.repeat([0, 4, 5], [400, 300, 300])
    (score,) = popularity_of(rows_by_hand(np.tile(states, 2), np.repeat([0, 1], 1000)))
    assert score.estimate("exact_set").value == pytest.approx(0.4)
    assert score.estimate("recall_at_k").value == pytest.approx((0.4 + 0.3 + 2 * 0.3) / 2)


def test_equal_states_and_experts_are_taken_in_order():
    # Every state was seen once in the other group: all are alike, the first state and experts 0 and 1 are predicted.
    states = np.concatenate([np.arange(6), np.arange(6)[::-1]])
    (score,) = popularity_of(rows_by_hand(states, np.repeat([0, 1], 6)))
    assert score.estimate("exact_set").value == pytest.approx(1 / 6)
    assert score.estimate("top1_hit").value == pytest.approx(3 / 6)
    assert score.estimate("hit_rate").value == pytest.approx(5 / 6)


def board_of(synthetic):
    board = make_board(rows_of(trace_of(synthetic)), "subset", specs=CONTEXTS)
    return {score.predictor: score for score in mean_board(board)}


CONTEXTS = [spec for spec in PREDICTORS if isinstance(spec.states, ContextForm)]


def test_on_independent_layers_the_chain_gains_nothing():
    board = board_of(independent(rng=np.random.default_rng(2), **SHAPE))
    loss = board["layer-1"].less(board["popularity"], "log_loss_bits")
    # The chain pays a little for the cells it has to learn, and must not seem to win.
    assert -3 * loss.standard_error < loss.value < 0.05


def test_on_a_chain_the_gain_is_its_mutual_information():
    synthetic = chain(coupling=0.7, rng=np.random.default_rng(3), **SHAPE)
    board = make_board(rows_of(trace_of(synthetic)), "subset", specs=CONTEXTS)
    by_name = {(score.predictor, score.target): score for score in board}
    for target, truth in enumerate(synthetic.truth.mi_bits, start=1):
        one = by_name["layer-1", target]
        gain = by_name["popularity", target].less(one, "log_loss_bits")
        assert truth - 4 * gain.standard_error - 0.03 < gain.value < truth + 4 * gain.standard_error
        assert one.less(by_name["popularity", target], "exact_set").low > 0
    # A second layer adds nothing to a chain of order 1.
    assert abs(by_name["layers-2", 2].less(by_name["layer-1", 2], "log_loss_bits").value) < 0.02


def test_farther_ahead_the_layer_before_is_the_layer_as_far_back():
    rows = rows_of(trace_of(chain(coupling=0.7, rng=np.random.default_rng(4), **SHAPE)))
    plan = BoardPlan(horizons=(1, 2, 3), threads=1)
    board = make_board(rows, "subset", plan, specs=CONTEXTS)
    found = [(s.predictor, s.source, s.target, s.horizon) for s in board if s.horizon > 1]
    assert found == [("layer-1", 0, 2, 2), ("layer-1", 1, 3, 2), ("layer-1", 0, 3, 3)]
    columns = columns_of(rows, CONTEXTS, plan)
    assert columns["layer-2"] == ("layer-2",)
    assert "token id" not in columns
    # One and the same context as of rows in which the layer between is not there at all.
    without = replace(rows, routers=rows.routers[:2] + rows.routers[3:])
    near = {(s.predictor, s.router): s for s in make_board(without, "subset", specs=CONTEXTS)}
    far = {(s.router, s.horizon): s for s in board if s.predictor == "layer-1"}
    np.testing.assert_allclose(far["L03", 2].sums, near["layer-1", "L03"].sums, rtol=1e-12)


def test_costs_grow_with_the_context():
    synthetic = chain(coupling=0.7, rng=np.random.default_rng(5), **SHAPE)
    rows = rows_of(trace_of(synthetic))
    costs = {s.predictor: s.cost for s in make_board(rows, "subset", specs=CONTEXTS) if s.target == 3}
    # The cells that were seen, and a strength and a discount of each step.
    cells = len(np.unique(synthetic.states[:, 2:], axis=0))
    assert costs["popularity"].parameters == 15 + 2
    assert costs["layer-1"].parameters == 15 + 2 + cells + 2
    assert costs["layers-2"].parameters > costs["layer-1"].parameters
    assert all(np.isfinite(cost.seconds) and cost.seconds >= 0 for cost in costs.values())
