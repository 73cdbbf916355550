"""Token ids with a memory of the document: against explicit loops, and what may not change a prediction."""

import numpy as np
import pytest

from routestat.counting.token_contexts import token_contexts
from routestat.forecast import catalogue
from routestat.forecast.board import make_board
from routestat.forecast.specification import BoardPlan
from routestat.forecast.token_cache import CARRY, PLAIN, CacheTables, Settings
from tests.forecast.similar_traces import ALPHABET, choices_of, make_arrays, rows_of
from tests.oracle import similar_oracle

PLAN = BoardPlan(alpha=0.5, similar=True, threads=1)
SPECS = [catalogue.specification(name) for name in ("popularity", "token-id", "token-id-cache")]


def board(rows, view="expert", plan=PLAN, specs=SPECS):
    return {(score.predictor, score.target): score for score in make_board(rows, view, plan, specs=specs)}


@pytest.mark.parametrize("window", [0, 5])
@pytest.mark.parametrize("settings", [PLAIN, Settings(0.5, 3.0, 0.4)])
def test_probabilities_against_explicit_loops(settings, window):
    arrays = make_arrays(6, 14, 2, ids=3, decided=0.5, missing=0.15)
    arrays[1][::11] = -1 if window else 0
    rows, target = rows_of(*arrays, folds=3, window=window), None
    target = rows.routers[1]
    experts, tables = choices_of(rows)[1], CacheTables(rows, target, token_contexts(rows), 0.5)
    chosen = np.flatnonzero(rows.fold == 1)
    for out in ((1,), (1, 2)):
        with tables.without(out):
            found = tables.given(chosen, settings)
            load = tables.load.tolist()
        for given, t in zip(found, chosen.tolist(), strict=True):
            if rows.token[t] < 0:
                np.testing.assert_allclose(given, load)
                continue
            arguments = (settings.backed, settings.own, settings.decay), CARRY
            slow = similar_oracle.cached(t, rows, experts, 6, out, load, *arguments)
            np.testing.assert_allclose(given, slow, rtol=1e-12)


def test_only_earlier_tokens_of_a_document_of_the_fold_are_used():
    documents, length = 12, 20
    document, token, states = make_arrays(documents, length, 2, decided=0.6)
    phase = np.tile(np.repeat(["prefill", "decode"], length // 2), documents)
    before = board(rows_of(document, token, states, folds=4, phase=phase))
    # Document 0 is in fold 0 with documents 4 and 8: change those, and its own second half.
    other = np.isin(document, (4, 8)) | ((document == 0) & (phase == "decode"))
    rng = np.random.default_rng(1)
    token = np.where(other, rng.integers(0, 9, len(token)), token)
    states = np.where(other[:, None], rng.integers(0, ALPHABET.size, states.shape), states).astype(
        states.dtype
    )
    rows = rows_of(document, token, states, folds=4, phase=phase)
    words = rows.cells.phase
    cell = [at for at, g in enumerate(rows.cells.group) if g == 0 and words[at] == "prefill"]
    after = board(rows)
    for layer in (0, 1):
        one, two = before["token-id-cache", layer], after["token-id-cache", layer]
        assert one.sums[cell, 0].sum() == length // 2
        assert np.array_equal(one.sums[cell], two.sums[cell])
        assert not np.array_equal(one.sums, two.sums)


def test_finds_what_a_document_repeats():
    document, token, _ = make_arrays(20, 60, 2, ids=6)
    rng = np.random.default_rng(3)
    # Each document has its own choice for each id, which no other document shares.
    own = rng.integers(0, ALPHABET.size, (20, 6, 2)).astype(ALPHABET.dtype)
    states = own[document, token]
    found = board(rows_of(document, token, states, folds=5))
    assert found["token-id-cache", 1].estimate("exact_set").low > 0.75
    assert found["token-id", 1].estimate("exact_set").high < 0.3
    assert found["token-id-cache", 1].less(found["token-id", 1], "log_loss_bits").high < -1.0


def test_gains_nothing_on_independent_choices():
    found = board(rows_of(*make_arrays(30, 80, 1, ids=5), folds=5))
    score, plain = found["token-id-cache", 0], found["popularity", 0]
    gain = score.less(plain, "recall_at_k")
    assert gain.low < 0.01
    assert gain.high > -0.02
    assert score.estimate("log_loss_bits").value < plain.estimate("log_loss_bits").value + 0.1


def test_both_views_are_the_same_and_calibration_counts_all_experts():
    rows = rows_of(*make_arrays(8, 20, 2, decided=0.7, missing=0.1), folds=4)
    one, other = (board(rows, view)["token-id-cache", 1] for view in ("subset", "expert"))
    assert np.array_equal(one.sums, other.sums)
    assert one.calibration[:, :, 0].sum() == 6 * one.n_tokens == 6 * rows.known(rows.routers[1]).sum()


def test_absent_without_ids_without_folds_and_unless_on_request():
    document, token, states = make_arrays(6, 10, 2)
    own = [catalogue.specification("token-id-cache")]
    assert not make_board(rows_of(document, None, states, folds=3), "expert", PLAN, specs=own)
    assert not make_board(rows_of(document, token, states, folds=1), "expert", PLAN, specs=own)
    assert not make_board(rows_of(document, token, states, folds=3), "expert", BoardPlan(), specs=own)
    assert catalogue.specification("token-id-cache").baseline
