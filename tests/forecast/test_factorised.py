"""The factorised chain and its predictors: exact distributions, known truths, no token of a fold in its prediction."""

import itertools
import threading
from dataclasses import replace

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from routestat import RoutestatError, Trace, TraceMeta
from routestat.counting.board_rows import board_rows
from routestat.counting.document_sample import take_sample
from routestat.counting.score_sums import SUMS
from routestat.forecast import catalogue
from routestat.forecast.board import make_board, mean_board
from routestat.forecast.designs import not_fitted, tempered_specs
from routestat.forecast.factorised import FactorisedChain
from routestat.forecast.factorised_fit import fit_factorised, fit_linear
from routestat.forecast.specification import BoardPlan, LinearForm, TemperedModel
from routestat.inference.conditional_bernoulli.sampling import best_subsets
from routestat.traces.metadata import routers_like
from routestat.traces.synthetic import chain, expert_chain, independent, to_trace, with_missing
from tests.board_cases import rows_of

LINEAR = [spec for spec in catalogue.PREDICTORS if isinstance(spec.experts, LinearForm | TemperedModel)]
TEMPERED = {spec.name for spec in LINEAR if isinstance(spec.experts, TemperedModel)}
BITS = SUMS.index("bits")


def fitted(synthetic, threads=None, tick=lambda *state: None, **options):
    return fit_linear(
        rows_of(to_trace(synthetic)), LINEAR, "expert", BoardPlan(threads=threads), tick, **options
    )


def bits(board, name, target=None):
    chosen = [s for s in board if s.predictor == name and target in (None, s.target)]
    return (
        sum(s.cells.by_group(s.sums[:, BITS]) for s in chosen),
        sum(s.cells.by_group(s.sums[:, 0]) for s in chosen),
    )


def gain(board, over, name):
    """Bits per token that `name` saves, and its standard error over groups of documents, paired."""
    before, tokens = bits(board, over)
    after, same = bits(board, name)
    np.testing.assert_array_equal(tokens, same)
    saved, used = (before - after)[tokens > 0], tokens[tokens > 0]
    value = saved.sum() / used.sum()
    rest = saved - value * used
    return value, float(np.sqrt(len(used) / (len(used) - 1) * (rest**2).sum()) / used.sum())


@pytest.fixture(scope="module")
def coupled():
    shape = {"n_experts": 12, "top_k": 3, "layers": 4, "documents": 60, "mean_length": 60}
    return fitted(expert_chain(coupling=1.5, rng=np.random.default_rng(1), **shape))


def test_the_board_is_paired_on_the_same_tokens_and_explained(coupled):
    board, _ = coupled
    for target in range(4):
        sums = {s.predictor: s.sums for s in board if s.target == target}
        assert len(sums) == (4 if target == 0 else len(LINEAR))
        for name, one in sums.items():
            assert name in catalogue.explained()
            np.testing.assert_allclose(one[:, 0], sums["popularity"][:, 0])
    assert len(mean_board(board)) == len(LINEAR)


def test_order_one_is_found_and_order_two_adds_nothing(coupled):
    board = [s for s in coupled[0] if s.target >= 2]
    for kind in ("tempered-bayes", "factorised"):
        value, error = gain(board, "popularity", f"layer-1-{kind}")
        assert value > 10 * error > 0
    value, error = gain(board, "layer-1-factorised", "layers-2-factorised")
    assert -0.1 < value < 3 * error
    value, error = gain(board, "popularity", "previous-two-tokens")
    assert -0.05 < value < 3 * error
    # The parts together are no worse than either, and tempering mends naive Bayes.
    for worse in ("layer-1-tempered-bayes", "layer-1-naive-bayes"):
        value, error = gain(board, worse, "layer-1-factorised")
        assert value > -2 * error


def test_on_independent_layers_nothing_seems_to_win():
    shape = {"n_experts": 10, "top_k": 3, "layers": 3, "documents": 60, "mean_length": 40}
    board, _ = fitted(independent(rng=np.random.default_rng(2), **shape))
    for spec in LINEAR:
        if isinstance(spec.experts, TemperedModel):
            value, error = gain([s for s in board if s.target], "popularity", spec.name)
            assert -0.03 < value < 3 * error


def test_of_top_one_routers_it_is_the_transition_distribution():
    synthetic = chain(
        coupling=0.8,
        n_experts=8,
        top_k=1,
        layers=3,
        documents=80,
        mean_length=500,
        rng=np.random.default_rng(3),
    )
    _, model = fitted(synthetic)
    for gap, source in itertools.product(range(2), range(8)):
        truth = synthetic.truth.transitions[gap][source]
        found = model.predict(gap, [source])
        n_tokens = np.count_nonzero(synthetic.states[:, gap] == source)
        # The counts themselves would be off by this much.
        expected = np.sqrt((truth * (1 - truth)).sum() / n_tokens)
        assert np.sqrt(((found.inclusion - truth) ** 2).sum()) < 2.5 * expected + 0.005


def test_a_model_that_cannot_be_fitted_looks_no_less_far():
    shape = {"n_experts": 8, "top_k": 2, "layers": 4, "documents": 20, "mean_length": 30}
    drawn = expert_chain(coupling=1.0, rng=np.random.default_rng(5), **shape)
    states = np.array(drawn.states)
    states[:, 0] = drawn.alphabet.missing
    board, _ = fitted(replace(drawn, states=states))
    for name in TEMPERED:
        # No token has the first layer: after it the load answers.
        looks = {s.horizon for s in board if s.predictor == name}
        assert looks == ({1} if "layer" in name else {0}), name
    assert {"layer-1-factorised", "popularity"} <= {one.predictor for one in mean_board(board)}


def test_names_of_experts_change_nothing():
    rng = np.random.default_rng(4)
    shape = {"n_experts": 9, "top_k": 3, "layers": 3, "documents": 30, "mean_length": 20}
    first = with_missing(expert_chain(coupling=1.0, rng=rng, **shape), 0.05, rng)
    names = np.array([rng.permutation(9) for _ in range(3)])
    states, alphabet = np.array(first.states), first.alphabet
    for place in range(3):
        known = states[:, place] < alphabet.size
        states[known, place] = alphabet.rank(names[place][alphabet.unrank(states[known, place])])
    (board, model), (other_board, other) = fitted(first), fitted(replace(first, states=states))
    for one, two in zip(board, other_board, strict=True):
        np.testing.assert_allclose(
            one.sums[:, [0, BITS]], two.sums[:, [0, BITS]], rtol=1e-5, err_msg=one.predictor
        )
    found = model.predict(1, [[0, 1, 2], [3, 4, 5]])
    again = other.predict(1, [names[0][[0, 1, 2]].tolist(), names[1][[3, 4, 5]].tolist()])
    np.testing.assert_allclose(found.inclusion, again.inclusion[names[2]], rtol=1e-4)
    np.testing.assert_allclose(found.low, again.low[names[2]], rtol=1e-3)


def test_probabilities_of_all_subsets_sum_to_one(coupled):
    _, model = coupled
    history = [[0, 1, 2], [3, 4, 11]]
    subsets = list(itertools.combinations(range(12), 3))
    for ahead in (1, 2):
        found = model.predict(1, history, ahead, rng=np.random.default_rng(8), draws=50)
        each = np.exp([found.log_probability(s) for s in subsets])
        assert each.sum() == pytest.approx(1.0)
        inclusion = sum(p * np.isin(np.arange(12), s) for p, s in zip(each, subsets, strict=True))
        np.testing.assert_allclose(found.inclusion, inclusion, rtol=1e-6)
        assert found.inclusion.sum() == pytest.approx(3.0)
        assert (found.low <= found.inclusion).all()
        assert (found.inclusion <= found.high).all()
    best, probability = model.predict(1, history).best(5)
    one = np.exp([model.predict(1, history).log_probability(s) for s in subsets])
    np.testing.assert_allclose(probability, np.sort(one)[::-1][:5])
    assert tuple(best[0].tolist()) == subsets[int(np.argmax(one))]
    with pytest.raises(RoutestatError, match="one layer ahead only"):
        found.best(3)


def test_two_layers_ahead_is_the_sum_over_all_that_may_lie_between(coupled):
    _, model = coupled
    subsets = list(itertools.combinations(range(12), 3))
    between = model.predict(0, [[0, 5, 7]])
    exact = np.zeros(12)
    for subset in subsets:
        after = model.predict(1, [[0, 5, 7], list(subset)])
        exact += np.exp(between.log_probability(subset)) * after.inclusion
    drawn = model.predict(0, [[0, 5, 7]], 2, rng=np.random.default_rng(9), draws=20000)
    np.testing.assert_allclose(drawn.inclusion, exact, atol=0.01)


def test_samples_walk_by_the_chain(coupled):
    _, model = coupled
    experts = model.sample([30000, 10000], np.random.default_rng(12))
    assert experts.shape == (40000, 4, 3)
    # What follows expert 4 at layer 0, against the chain's own prediction averaged over what was drawn there.
    some = experts[(experts[:, 0] == 4).any(axis=1)]
    seen = np.bincount(some[:, 1].ravel(), minlength=12) / len(some)
    sets, times = np.unique(some[:, 0], axis=0, return_counts=True)
    expected = sum(
        n * model.predict(0, [s]).inclusion for s, n in zip(sets.tolist(), times.tolist(), strict=True)
    )
    np.testing.assert_allclose(seen, expected / len(some), atol=4 * np.sqrt(0.25 / len(some)))
    # And the last layer against predictions from all three before, for the first few hundred tokens' histories.
    some = experts[:400]
    gap, spread = np.zeros(12), np.zeros(12)
    for token in some:
        found = model.predict(2, token[:3].tolist()).inclusion
        gap += np.isin(np.arange(12), token[3]) - found
        spread += found * (1 - found)
    assert (np.abs(gap) < 4 * np.sqrt(spread)).all()


def test_history_of_any_length(coupled):
    _, model = coupled
    sets = [[0, 1, 2], [3, 4, 5], [6, 7, 8]]
    assert model.orders(0) == (0,)
    assert model.orders(2) == (0, 1, 2)
    assert model.orders(3) == (0, 1, 2, 3)
    assert model.predict(2, sets[2:]).order == 1
    assert model.predict(2, sets[2]).order == 1
    assert model.predict(2, sets[1:]).order == 2
    assert model.predict(2, sets).order == 3
    np.testing.assert_array_equal(
        model.predict(2, sets[2]).inclusion, model.predict(2, [[8, 7, 6]]).inclusion
    )
    # Beyond the longest model older sets change nothing.
    short = FactorisedChain(
        model.layers,
        model.n_experts,
        model.top_k,
        {key: value for key, value in model.bias.items() if key[1] < 3},
        {key: value for key, value in model.weights.items() if key[1] < 3},
        model.fold_tokens,
    )
    a, b = (short.predict(2, [first, *sets[1:]]) for first in ([0, 1, 2], [9, 10, 11]))
    assert a.order == 2
    np.testing.assert_array_equal(a.inclusion, b.inclusion)


def test_bad_questions_are_one_line(coupled):
    _, model = coupled
    for ask, message in (
        (lambda: model.predict(9, [[0, 1, 2]]), "layer 9 is not in this chain; its layers are 0, 1, 2, 3"),
        (lambda: model.predict(3, [[0, 1, 2]]), "layer 3 is followed by 0 layers, 1 ahead there is none"),
        (lambda: model.predict(0, [[0, 1]]), "layer 0 chooses 3 different experts of 0 … 11, got \\[0 1\\]"),
        (lambda: model.predict(0, [[0, 1, 1]]), "3 different experts"),
        (lambda: model.predict(0, [[0, 1, 12]]), "of 0 … 11"),
        (lambda: model.predict(0, [[0, 1, 2.5]]), "3 different experts"),
        (lambda: model.predict(0, []), "expected 1 to 1 sets"),
        (lambda: model.predict(0, [[0, 1, 2]] * 2), "expected 1 to 1 sets up to layer 0, got 2"),
        (lambda: model.predict(0, [[0, 1, 2]], 2), "give rng"),
        (lambda: model.predict(0, [[0, 1, 2]], 0), "expected 1 layer or more"),
        (lambda: model.predict(0, [[0, 1, 2]], level=95), "between 0 and 1"),
        (lambda: best_subsets(np.zeros(3), 2, 0), "expected one or more"),
    ):
        with pytest.raises(RoutestatError, match=message) as caught:
            ask()
        assert "\n" not in str(caught.value)


def test_a_layer_without_data_and_documents_of_one_token():
    rng = np.random.default_rng(13)
    experts = np.argsort(rng.random((60, 3, 8)), axis=2)[..., :2]
    experts[:, 1] = -1
    meta = TraceMeta(routers_like(range(3), 8, 2))
    trace = Trace.from_arrays(meta, np.arange(60), None, None, experts=experts)
    board, model = fit_linear(rows_of(trace), LINEAR, "expert")
    with pytest.raises(RoutestatError, match="layer 1 holds no data"):
        model.predict(0, [[0, 1]])
    assert model.orders(2) == (0,)
    # Nothing can be looked back at: all say what popularity says.
    for score in board:
        if score.target == 2 and score.predictor in TEMPERED:
            np.testing.assert_array_equal(
                score.sums, next(s.sums for s in board if s.target == 2 and s.predictor == "popularity")
            )
    few = rows_of(trace, groups=1)
    assert fit_linear(few, LINEAR, "expert") == ([], None)
    with pytest.raises(RoutestatError, match="two or more groups of documents, got one"):
        fit_factorised(few)


def test_two_documents_are_enough_for_an_answer():
    shape = {"n_experts": 6, "top_k": 2, "layers": 2, "documents": 2, "mean_length": 200}
    board, model = fitted(expert_chain(coupling=1.0, rng=np.random.default_rng(14), **shape))
    found = model.predict(0, [[0, 1]])
    assert found.inclusion.sum() == pytest.approx(2.0)
    # No third fold to fit exponents to: the board's own stay with the load.
    value, _ = gain([s for s in board if s.target], "popularity", "layer-1-factorised")
    assert abs(value) < 0.1


@pytest.mark.slow
def test_eight_of_256():
    shape = {"n_experts": 256, "top_k": 8, "layers": 2, "documents": 20, "mean_length": 25}
    rows = rows_of(to_trace(expert_chain(coupling=2.0, rng=np.random.default_rng(15), **shape)))
    board = make_board(
        rows, "expert", specs=[spec for spec in LINEAR if spec.name in ("popularity", "layer-1-factorised")]
    )
    model = fit_factorised(rows, orders=(1,))
    scores = {(s.predictor, s.target): s.estimate("log_loss_bits").value for s in board}
    assert len(scores) == 3
    assert all(np.isfinite(v) for v in scores.values())
    found = model.predict(0, [list(range(8))])
    assert found.inclusion.sum() == pytest.approx(8.0)
    subsets, probability = found.best(20)
    assert subsets.shape == (20, 8)
    assert (np.diff(probability) <= 1e-12).all()
    assert model.sample(50, np.random.default_rng(16)).shape == (50, 2, 8)


def test_in_parts_that_fit_in_memory_the_same_comes_out():
    shape = {"n_experts": 7, "top_k": 2, "layers": 3, "documents": 20, "mean_length": 25}
    synthetic = expert_chain(coupling=2.0, rng=np.random.default_rng(17), **shape)
    said = []
    board, model = fitted(synthetic, memory=1, tick=lambda *state: said.append(state))
    # One stage over all parts, so that its share is that of the whole.
    shares = [done / total for what, done, total in said if what == "scoring predictors"]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert {0.0 < share <= 1 / 3 for share in shares} == {True, False}
    whole, same = fitted(synthetic)
    assert [(s.predictor, s.target) for s in board] == [(s.predictor, s.target) for s in whole]
    for one, two in zip(board, whole, strict=True):
        np.testing.assert_array_equal(one.sums, two.sums)
    for key, weights in model.weights.items():
        np.testing.assert_array_equal(weights, same.weights[key])


def test_one_thread_is_one_thread_of_linear_algebra_too():
    shape = {"n_experts": 7, "top_k": 2, "layers": 3, "documents": 20, "mean_length": 25}
    seen = {}

    def progress(what, done, total):
        pools = {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}
        seen.setdefault(what, set()).update((threading.get_ident(), threads) for threads in pools)

    with threadpool_limits(limits=2, user_api="blas"):
        one = fitted(
            expert_chain(coupling=2.0, rng=np.random.default_rng(17), **shape), threads=1, tick=progress
        )
        many = fitted(expert_chain(coupling=2.0, rng=np.random.default_rng(17), **shape), threads=4)
    assert seen["fitting predictors"] == {(threading.get_ident(), 1)}
    for first, second in zip(one[0], many[0], strict=True):
        np.testing.assert_array_equal(first.sums, second.sums)


@pytest.mark.slow
def test_limits_cover_where_tokens_of_a_document_repeat_each_other():
    shape = {"n_experts": 10, "top_k": 2, "layers": 2, "documents": 3000, "mean_length": 30}
    synthetic = expert_chain(coupling=1.0, rng=np.random.default_rng(18), **shape)
    # Every token three times over: limits that take tokens as independent would be too narrow by the root of 3.
    meta, states = TraceMeta(routers_like([0, 1], 10, 2)), np.repeat(synthetic.states, 3, axis=0)
    document = np.repeat(synthetic.document, 3)

    def model(first, stop):
        rows = (document >= first) & (document < stop)
        trace = Trace.from_arrays(meta, document[rows] - first, None, states[rows])
        return fit_factorised(rows_of(trace), orders=(1,))

    pairs = [list(pair) for pair in itertools.combinations(range(10), 2)][::3]
    # What thirty times the documents say, as nearly the truth.
    whole = model(0, 3000)
    truth = [whole.predict(0, [pair]).inclusion for pair in pairs]
    covered = []
    for first in range(0, 2000, 100):
        found = model(first, first + 100)
        for pair, true in zip(pairs, truth, strict=True):
            one = found.predict(0, [pair])
            covered.append((one.low <= true) & (true <= one.high))
    assert 0.91 < np.mean(covered) < 0.98


def test_models_with_as_many_features_as_tokens_are_not_fitted():
    shape = {"n_experts": 12, "top_k": 3, "layers": 4, "documents": 5, "mean_length": 5}
    trace = to_trace(expert_chain(coupling=1.0, rng=np.random.default_rng(5), **shape))
    rows = rows_of(trace)
    # Folds are documents here; which two are left out together depends on their order.
    sizes = np.bincount(rows.fold)
    fewest = int(sizes.sum() - (sizes + np.roll(sizes, -1)).max())
    assert 12 < fewest <= 24
    reasons = not_fitted(rows)
    wide = [s for s in tempered_specs() if len(s.experts.context.sources) > 1]
    assert list(reasons) == [spec.name for spec in wide]
    assert reasons["layers-2-factorised"] == f"not fitted: 24 features and {fewest} tokens to fit them on"
    board, model = fit_linear(rows, LINEAR, "expert")
    names = {score.predictor for score in board}
    assert not names & set(reasons)
    assert {"layer-1-factorised", "previous-token"} <= names
    assert model.orders(3) == (0, 1)
    assert len(mean_board(board)) == len(names)


def test_with_fewer_tokens_than_experts_only_what_is_read_from_tables_is_left():
    shape = {"n_experts": 12, "top_k": 3, "layers": 3, "documents": 4, "mean_length": 2}
    trace = to_trace(independent(rng=np.random.default_rng(6), **shape))
    board, model = fit_linear(rows_of(trace), LINEAR, "expert")
    assert {score.predictor for score in board} == {
        "popularity", "repeat-previous-token", "layer-1", "layer-1-naive-bayes",
    }  # fmt: skip
    assert model.orders(2) == (0,)
    assert model.predict(0, [0, 1, 2]).order == 0


def test_two_layers_ahead_is_one_layer_ahead_without_the_layer_between():
    shape = {"n_experts": 12, "top_k": 3, "layers": 3, "documents": 20, "mean_length": 30}
    trace = to_trace(expert_chain(coupling=1.5, rng=np.random.default_rng(19), **shape))
    sample = take_sample(trace)
    first, _, last = trace.routers()
    specs = [catalogue.specification("layer-1")]
    every = make_board(rows_of(trace), "expert", BoardPlan(horizons=(1, 2)), specs=specs)
    assert [(score.router, score.source, score.horizon) for score in every] == [
        ("L01", 0, 1), ("L02", 1, 1), ("L02", 0, 2),
    ]  # fmt: skip
    (alone,) = make_board(board_rows(sample, (first, last)), "expert", specs=specs)
    np.testing.assert_array_equal(every[-1].sums[:, BITS], alone.sums[:, BITS])
    np.testing.assert_array_equal(every[-1].sums[:, -10:], alone.sums[:, -10:])
