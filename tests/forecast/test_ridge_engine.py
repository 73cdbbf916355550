"""Ridges on histories: held-out scores against a slow way, known truths, no token of a fold in its own prediction."""

from dataclasses import replace

import numpy as np
import pytest

from routestat import Trace, TraceMeta
from routestat.counting.score_sums import SUMS
from routestat.forecast import catalogue, ridge_plan, ridge_search
from routestat.forecast.board import make_board
from routestat.forecast.history import make_history, sampled, token_codes
from routestat.forecast.history_gram import count_gram
from routestat.forecast.ridge_engine import PLAIN, score_ridges
from routestat.forecast.ridge_link import plain_link
from routestat.forecast.ridge_plan import Window, plan_designs, plan_windows
from routestat.forecast.ridge_search import PENALTIES, START, choose, partners
from routestat.forecast.specification import BoardPlan, RidgeForm
from routestat.traces.metadata import routers_like
from routestat.traces.synthetic import expert_chain, independent, to_trace
from tests.board_cases import rows_of
from tests.forecast.ridge_cases import SIZES, TOP_K, small_trace
from tests.oracle import ridge_oracle

RIDGES = [spec for spec in catalogue.PREDICTORS if isinstance(spec.experts, RidgeForm)]
NAMES = [spec.name for spec in RIDGES]
COLUMNS = [SUMS.index("exact_set"), len(SUMS), SUMS.index("recall_at_2k"), SUMS.index("bits")]


def by_name(scores):
    return {(s.predictor, int(s.router[1:]), s.horizon): s for s in scores}


def oracle_sums(
    rows, experts, target, previous, layers, penalty, codes=None, width=0, sizes=SIZES, top_k=TOP_K
):
    """Exact sets, recall at k and 2k, and bits, summed over all rows; plain links."""
    kept = [t for t in range(len(rows)) if any(layer[t] is not None for layer in experts)]
    x = np.array(
        [
            ridge_oracle.history_of(t, rows.follows, experts, sizes, previous, layers, codes, width)
            for t in kept
        ]
    )
    y = np.array([ridge_oracle.indicators(experts[target][t], sizes[target]) for t in kept])
    known = np.array([experts[target][t] is not None for t in kept])
    fold = rows.fold[kept]
    k, total = top_k[target], np.zeros(4)
    for f in np.unique(fold):
        train = fold != f
        w = ridge_oracle.weights(x[train], y[train], penalty) / known[train].mean()
        for at in np.flatnonzero((fold == f) & known):
            log_weights = [ridge_oracle.log_weight(p, 1.0, k / sizes[target], k) for p in x[at] @ w]
            total += ridge_oracle.scored(log_weights, experts[target][kept[at]], k)
    return total


@pytest.mark.parametrize("view", ["subset", "expert"])
def test_every_ridge_is_that_of_rows_built_and_solved_one_by_one(view):
    trace, experts, token = small_trace(np.random.default_rng(2), documents=5, length=40, window=17)
    rows = rows_of(trace, folds=2)
    # Of two folds none is left to choose by: penalties and links are the plain ones.
    found = by_name(score_ridges(rows, RIDGES, view, BoardPlan(horizons=(1, 2))))
    codes, width = token_codes(token, ridge_plan.token_width(rows.routers))
    every = range(len(SIZES))
    expected = {}
    for target in every:
        expected["ridge-previous-token", target, 0] = (every, (), None)
        for horizon in (1, 2):
            last = target - horizon
            if last < 0:
                continue
            before = range(last + 1)
            expected["ridge-all", target, horizon] = (every, before, None)
            expected["ridge-all-token-id", target, horizon] = (every, before, codes)
            for n in (1, 2, 4):
                if horizon == 1 or n != 2:
                    expected[f"ridge-{n}", target, horizon] = (None, before[-n:], None)
    assert set(found) == set(expected)
    for (name, target, horizon), (previous, layers, ids) in expected.items():
        score = found[name, target, horizon]
        slow = oracle_sums(rows, experts, target, previous, layers, PENALTIES[START], ids, width)
        np.testing.assert_allclose(score.sums[:, COLUMNS].sum(axis=0), slow, rtol=2e-6, err_msg=name)
        assert score.n_tokens == sum(chosen is not None for chosen in experts[target])
        assert (score.calibration is not None) == (horizon < 2)
        assert score.cost.seconds > 0
        assert score.cost.multiply_adds > 0
        # Of two folds none is left to choose a penalty on.
        assert score.note == PLAIN
        slots = 1 + sum(SIZES[layer] for layer in layers)
        if previous is None:
            assert score.cost.parameters == slots * SIZES[target] + 2


def test_windows_use_their_own_layers_and_say_so(monkeypatch):
    trace, experts, _ = small_trace(np.random.default_rng(3), documents=4, length=30, missing=0.05)
    rows = rows_of(trace, folds=2)
    monkeypatch.setattr(ridge_plan, "MOST_FEATURES", 2 * (6 + 4 + 5))
    monkeypatch.setattr(ridge_plan, "SHORT_FEATURES", 2 * (6 + 4 + 5))
    assert plan_windows(rows.routers, 10**6) == (Window(0, 3, 0), Window(1, 4, 3))
    specs = [spec for spec in RIDGES if spec.name in ("ridge-all", "ridge-previous-token", "ridge-4")]
    found = by_name(score_ridges(rows, specs, "expert", BoardPlan()))
    for name, target, horizon, previous, layers in (
        ("ridge-all", 3, 1, (1, 2, 3), (1, 2)),
        ("ridge-all", 2, 1, (0, 1, 2), (0, 1)),
        ("ridge-previous-token", 3, 0, (1, 2, 3), ()),
        ("ridge-4", 3, 1, None, (1, 2)),
    ):
        slow = oracle_sums(rows, experts, target, previous, layers, PENALTIES[START])
        np.testing.assert_allclose(
            found[name, target, horizon].sums[:, COLUMNS].sum(axis=0), slow, rtol=2e-6, err_msg=name
        )
    notes = {key: score.note for key, score in found.items()}
    assert notes["ridge-all", 3, 1] == (
        f"shortened to the last 2 layers of the token and 3 of the 4 layers of the previous token; {PLAIN}"
    )
    assert notes["ridge-all", 2, 1] == f"shortened to 3 of the 4 layers of the previous token; {PLAIN}"
    assert notes["ridge-previous-token", 3, 0] == notes["ridge-all", 2, 1]
    assert notes["ridge-4", 3, 1] == f"shortened to the last 2 layers of the token; {PLAIN}"
    assert notes["ridge-4", 2, 1] == PLAIN


@pytest.mark.parametrize(("folds", "brief", "note"), [(4, False, ""), (4, True, PLAIN), (2, False, PLAIN)])
def test_a_penalty_that_was_not_chosen_is_noted(folds, brief, note):
    trace, _, _ = small_trace(np.random.default_rng(3), documents=8, length=30, missing=0.0)
    specs = [spec for spec in RIDGES if spec.name == "ridge-all"]
    found = score_ridges(rows_of(trace, folds=folds), specs, "expert", BoardPlan(brief=brief))
    assert {score.note for score in found} == {note}


@pytest.mark.parametrize(
    ("layers", "experts", "rows"),
    [(26, 64, 10**5), (48, 128, 10**6), (60, 512, 10**6), (48, 128, 300), (1, 8, 50)],
)
def test_windows_have_every_layer_as_target_once_within_the_limit(layers, experts, rows):
    windows = plan_windows(routers_like(range(layers), experts, 1), rows)
    assert [at for w in windows for at in range(w.targets, w.stop)] == list(range(layers))
    for window in windows:
        size = window.stop - window.first
        assert 2 * size * experts <= min(ridge_plan.MOST_FEATURES, 2 * rows) or size <= 2
        # Each target has a layer before it.
        assert window.targets > window.first or window.first == 0
    if (layers, experts) == (26, 64):
        assert len(windows) == 1


def test_what_a_fold_chose_does_not_change_its_own_models():
    rng = np.random.default_rng(4)
    trace, *_ = small_trace(
        rng, documents=8, length=30, missing=0.0, tokens=3, sizes=(6, 6, 6), top_k=(2, 2, 2)
    )
    rows = rows_of(trace, folds=4)
    other = changed_choices(rows, rows.fold == 1, rng)
    kept = [models_of(each) for each in (rows, other)]
    for (penalties, links, weights), (others, other_links, other_weights) in zip(*kept, strict=True):
        np.testing.assert_array_equal(penalties[1], others[1])
        assert links[1] == other_links[1]
        for one, two in zip(weights[1], other_weights[1], strict=True):
            np.testing.assert_array_equal(one, two)
        # Other folds learn from it.
        assert any((one != two).any() for one, two in zip(weights[0], other_weights[0], strict=True))
        assert links[0] != other_links[0]


def changed_choices(rows, which, rng):
    """The rows with other choices of some of them, at every layer."""
    columns = dict(rows.sample.columns)
    for router in rows.routers:
        column = columns[router.name].copy()
        column[which] = rng.permutation(column[which])
        columns[router.name] = column
    return replace(rows, sample=replace(rows.sample, columns=columns), _experts={})


def models_of(rows):
    """Penalties, links and weights of every design."""
    history = make_history(rows, rows.routers)
    gram, trial = count_gram(history), sampled(history, 10**6)
    window = Window(0, len(rows.routers), 0)
    for designed in plan_designs(RIDGES, "expert", BoardPlan(), rows.routers, window, False):
        chosen = choose(designed, gram, trial, rows.routers, range(4), 1)
        weights = [
            [w for _, w in designed.design.fit(gram.without((f,)), 9.0, range(len(designed.models)))]
            for f in range(4)
        ]
        yield chosen.penalties, chosen.links, weights


def test_the_penalty_misses_least_on_the_partner(monkeypatch):
    trace, *_ = small_trace(np.random.default_rng(5), documents=9, length=60, missing=0.0)
    rows = rows_of(trace, folds=3)
    history = make_history(rows, rows.routers)
    gram, trial = count_gram(history), sampled(history, 10**6)
    window = Window(0, 4, 0)
    designed = plan_designs(RIDGES[:1], "expert", BoardPlan(), rows.routers, window, False)[0]
    assert partners(3) == [1, 0, 0]
    monkeypatch.setattr(ridge_search, "WORTH", 1.0)
    chosen = choose(designed, gram, trial, rows.routers, range(3), 1)
    whole = {}
    for penalty in PENALTIES:
        fits = designed.design.fit(gram.without((0, 2)), penalty, range(4))
        test = history.take(np.arange(*history.bounds[:2]))
        missed = []
        for at, weights in fits:
            predicted = ridge_search.predict(
                test, designed.design.regressions[at].blocks, weights.astype(np.float32)
            )
            members = test.block(f"L0{at}").members
            order = np.argsort(-predicted, axis=1)[:, : members.shape[1]]
            missed += [1 - np.mean([[m in o for m in ms] for ms, o in zip(members, order, strict=True)])]
        whole[penalty] = sum(missed)
    # The search ends where both neighbours miss more.
    at = PENALTIES.index(chosen.penalties[2, 0])
    assert len(set(chosen.penalties[2])) == 1
    for beside in (at - 1, at + 1):
        if 0 <= beside < len(PENALTIES):
            assert whole[PENALTIES[beside]] >= whole[PENALTIES[at]]


def test_the_search_reaches_the_edges_of_the_grid(monkeypatch):
    trace, *_ = small_trace(np.random.default_rng(6), documents=6, missing=0.0)
    rows = rows_of(trace, folds=3)
    history = make_history(rows, rows.routers)
    gram, trial = count_gram(history), sampled(history, 10**6)
    designed = plan_designs(RIDGES[:1], "expert", BoardPlan(), rows.routers, Window(0, 4, 0), False)[0]
    for sign, edge in ((1, PENALTIES[0]), (-1, PENALTIES[-1])):

        def error(self, fold, at, place, sign=sign):
            self._at(place)
            return 10.0 + sign * place

        monkeypatch.setattr(ridge_search._Judge, "error", error)
        chosen = choose(designed, gram, trial, rows.routers, range(3), 1)
        assert (chosen.penalties == edge).all()


def test_fewer_tokens_than_two_layers_have_experts_give_no_ridge():
    assert plan_windows(routers_like(range(48), 128, 8), 157) == ()
    trace, *_ = small_trace(np.random.default_rng(15), documents=5, length=2)
    assert score_ridges(rows_of(trace), RIDGES, "expert", BoardPlan()) == []


def test_with_fewer_tokens_than_features_the_plain_settings_are_kept():
    trace, *_ = small_trace(np.random.default_rng(6), documents=6, length=5)
    rows, windows = rows_of(trace, folds=3), []
    score_ridges(rows, RIDGES, "expert", BoardPlan(), kept=windows)
    settings = {key: one for window in windows for key, one in window.settings.items()}
    assert {name for name, _ in settings} == set(NAMES)
    for (_, target), one in settings.items():
        plain = plain_link(SIZES[target], TOP_K[target])
        assert (one.penalty, one.power, one.softness) == (PENALTIES[START], plain.power, plain.softness)


def test_nothing_is_held_out_of_one_document():
    trace, *_ = small_trace(np.random.default_rng(7), documents=1, missing=0.0)
    assert score_ridges(rows_of(trace), RIDGES, "expert", BoardPlan()) == []


def test_without_ids_there_is_no_ridge_on_ids():
    synthetic = expert_chain(
        n_experts=6,
        top_k=2,
        layers=2,
        documents=6,
        mean_length=20,
        coupling=1.0,
        rng=np.random.default_rng(8),
    )
    rows = rows_of(to_trace(synthetic))
    if rows.has_token_ids:
        rows = replace(rows, sample=replace(rows.sample, token=np.full(len(rows), -1, np.int32)))
    found = score_ridges(rows, RIDGES, "expert", BoardPlan())
    assert {s.predictor for s in found} == set(NAMES) - {"ridge-all-token-id"}
    # The first layer has no layer before it: nothing but the previous token predicts it.
    assert {s.predictor for s in found if s.target == 0} == {"ridge-previous-token"}


def test_a_horizon_beyond_the_first_layer_has_no_source():
    trace, *_ = small_trace(np.random.default_rng(9), documents=4)
    found = by_name(score_ridges(rows_of(trace, folds=2), RIDGES, "expert", BoardPlan(horizons=(1, 3))))
    assert {target for name, target, horizon in found if horizon == 3} == {3}
    assert {name for name, _, horizon in found if horizon == 3} == {s.name for s in RIDGES if s.ahead}
    assert all(s.source == s.target - s.horizon for s in found.values() if s.horizon)


def test_rows_that_only_serve_to_fit_are_not_scored():
    trace, *_ = small_trace(np.random.default_rng(10), documents=6, missing=0.0)
    rows = rows_of(trace, folds=3)
    whole = by_name(score_ridges(rows, RIDGES, "expert", BoardPlan()))
    part = by_name(score_ridges(replace(rows, scored_folds=(1,)), RIDGES, "expert", BoardPlan()))
    own = rows.fold_of_cell == 1
    for key, score in part.items():
        np.testing.assert_allclose(score.sums[own], whole[key].sums[own], rtol=1e-12)
        assert (score.sums[~own] == 0).all()


def test_the_number_of_threads_changes_nothing():
    trace, *_ = small_trace(np.random.default_rng(11), documents=6)
    rows = rows_of(trace, folds=3)
    one, two = (score_ridges(rows, RIDGES, "subset", BoardPlan(threads=t)) for t in (1, 2))
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a.sums, b.sums)


def gain(scores, more, than, score="log_loss_bits"):
    """What the first saves over the second at the last layer, in standard errors."""
    found = {s.predictor: s for s in scores if s.horizon in (0, 1)}
    less = found[than].less(found[more], score)
    return less.value, less.standard_error


def test_ridges_gain_nothing_from_independent_layers():
    rng = np.random.default_rng(12)
    synthetic = independent(n_experts=8, top_k=2, layers=3, documents=60, mean_length=60, rng=rng)
    board = make_board(rows_of(to_trace(synthetic)), "expert", BoardPlan())
    last = [s for s in board if s.target == 2]
    for name in ("ridge-1", "ridge-2", "ridge-all", "ridge-previous-token"):
        value, se = gain(last, name, "popularity")
        assert -0.03 < value < 3 * se + 0.003


def test_ridges_find_planted_dependence():
    rng = np.random.default_rng(13)
    shape = {"n_experts": 12, "top_k": 3, "layers": 4, "documents": 60, "mean_length": 60}
    board = make_board(rows_of(to_trace(expert_chain(coupling=1.5, rng=rng, **shape))), "expert", BoardPlan())
    last = [s for s in board if s.target == 3]
    for name in ("ridge-1", "ridge-4", "ridge-all"):
        value, se = gain(last, name, "popularity")
        assert value > 10 * se
    # The layer before is all there is: more history adds nothing, and costs little of what it gains.
    value, _ = gain(last, "ridge-all", "ridge-1")
    assert -0.1 * gain(last, "ridge-1", "popularity")[0] < value < 0.02


def test_a_choice_that_is_the_previous_tokens_is_found():
    rng = np.random.default_rng(14)
    n, documents = 1200, 20
    document = np.repeat(np.arange(documents), n // documents)
    first = rng.integers(0, 6, n)
    second = np.where(np.arange(n) % (n // documents) == 0, rng.integers(0, 6, n), np.roll(first, 1))
    states = np.stack([first, second], axis=1)
    trace = Trace.from_arrays(
        TraceMeta(routers_like(range(2), 6, 1)), document, None, states, token=(first * 5) % 7
    )
    found = by_name(score_ridges(rows_of(trace), RIDGES, "subset", BoardPlan()))
    copied = 1 - documents / n
    for name, horizon in (("ridge-previous-token", 0), ("ridge-all", 1)):
        value = found[name, 1, horizon].estimate("exact_set").value
        assert copied <= value < copied + 0.02
    # The token's id determines the first layer; the previous id and its layer the second.
    assert found["ridge-all-token-id", 1, 1].estimate("exact_set").value >= copied
    assert found["ridge-1", 1, 1].estimate("exact_set").value < 0.3
