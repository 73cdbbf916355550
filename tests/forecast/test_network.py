"""The small network: it starts as the ridge, learns what a ridge cannot, and sees nothing of what it predicts."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the network needs torch")

from routestat import RoutestatError, Trace, TraceMeta
from routestat.counting.score_sums import SUMS
from routestat.forecast import catalogue, network, network_training
from routestat.forecast.board import make_board
from routestat.forecast.network_history import NetworkHistory
from routestat.forecast.network_start import PARTS, in_parts
from routestat.forecast.ridge_engine import score_ridges
from routestat.forecast.specification import BoardPlan
from routestat.traces.metadata import Router
from tests.board_cases import rows_of, rows_with_folds

PLAN = BoardPlan(network=True, threads=1)
BITS = SUMS.index("bits")


def registered(*names):
    return [spec for spec in catalogue.PREDICTORS if spec.name in names]


def choices(rng, n, layers, n_experts=5, top_k=2):
    """Experts ``[row, layer, k]`` that depend on the layer before and on the previous token's."""
    order = rng.random((n, layers, n_experts)).argsort(axis=2)[:, :, :top_k]
    for layer in range(1, layers):
        same = rng.random(n) < 0.5
        order[same, layer] = (order[same, layer - 1] + 1) % n_experts
        again = np.flatnonzero(rng.random(n) < 0.2)[1:]
        order[again, layer] = order[again - 1, layer]
    return np.sort(order, axis=2)


def trace_of(experts, document, token=None, routers=None):
    """A trace of experts ``[row, layer, k]``; −1 is a missing choice."""
    routers = routers or tuple(Router(at, 5, experts.shape[2]) for at in range(experts.shape[1]))
    states = np.empty(experts.shape[:2], np.uint8)
    for at, router in enumerate(routers):
        known = experts[:, at, 0] >= 0
        states[:, at] = router.alphabet.missing
        states[known, at] = router.alphabet.rank(experts[known, at, : router.top_k])
    given = {} if token is None else {"token": token}
    return Trace.from_arrays(TraceMeta(routers), document, None, states, **given)


def small_trace(seed=0, documents=20, length=15, layers=4, missing=0.0, ids=None):
    rng = np.random.default_rng(seed)
    n = documents * length
    experts = choices(rng, n, layers)
    experts[rng.random((n, layers)) < missing] = -1
    token = rng.integers(0, ids, n) if ids else None
    return trace_of(experts, np.repeat(np.arange(documents), length), token)


def states_of(trace):
    return np.stack([rows_of(trace).sample.columns[router.name] for router in trace.routers()], axis=1)


def states_trace(states, document):
    routers = tuple(Router(at, 5, 2) for at in range(states.shape[1]))
    return Trace.from_arrays(TraceMeta(routers), document, None, states)


def xor_rows(documents=60, length=40):
    """The third layer's expert is the exclusive or of the two before it."""
    rng = np.random.default_rng(3)
    n = documents * length
    first, second = rng.integers(0, 2, (2, n))
    experts = np.stack([first, second, first ^ second], axis=1)[:, :, None]
    routers = tuple(Router(at, 3, 1) for at in range(3))
    return rows_of(trace_of(experts, np.repeat(np.arange(documents), length), routers=routers))


def total(scores):
    return np.sum([score.sums.sum(axis=0) for score in scores], axis=0)


@pytest.mark.parametrize(("missing", "ids"), [(0.0, None), (0.2, 7)])
def test_before_the_first_epoch_it_is_the_ridge(monkeypatch, missing, ids):
    monkeypatch.setattr(network_training, "EPOCHS", 0)
    rows = rows_of(small_trace(missing=missing, ids=ids))
    name = "ridge-all-token-id" if ids else "ridge-all"
    found = network.score_networks(rows, registered("network"), "subset", PLAN)
    parts = in_parts(rows)
    ridge = [s for s in score_ridges(parts, registered(name), "subset", PLAN) if s.horizon == 1]
    assert [s.router for s in found] == [s.router for s in ridge] == ["L01", "L02", "L03"]
    for one, other in zip(found, ridge, strict=True):
        np.testing.assert_allclose(one.sums, other.sums, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(
            one.calibration[:, :, 1].sum(), other.calibration[:, :, 1].sum(), rtol=1e-4
        )
        assert "no epoch was better than the ridge" in one.note


def test_it_learns_an_exclusive_or_that_no_ridge_finds(monkeypatch):
    monkeypatch.setattr(network_training, "EPOCHS", 15)
    rows = xor_rows()
    ridge = [s for s in score_ridges(rows, registered("ridge-all"), "subset", PLAN) if s.router == "L02"]
    own = [
        s for s in network.score_networks(rows, registered("network"), "subset", PLAN) if s.router == "L02"
    ]
    assert ridge[0].estimate("log_loss_bits").value > 0.95
    assert own[0].estimate("log_loss_bits").value < 0.2
    assert own[0].estimate("exact_set").value > 0.97


@pytest.fixture
def later_is_better(monkeypatch):
    """Keep the last epoch, whatever it is worth: then networks that learned something are compared."""
    order = itertools.count(0, -1)
    monkeypatch.setattr(network_training.Trainer, "_loss", lambda self, *given: float(next(order)))
    monkeypatch.setattr(network_training, "EPOCHS", 3)


@pytest.mark.usefixtures("later_is_better")
def test_nothing_of_the_scored_documents_is_learned():
    states, document = states_of(small_trace()), np.repeat(np.arange(20), 15)
    rows = in_parts(rows_of(states_trace(states, document)))
    mine = np.flatnonzero(rows.fold == 1)
    changed = states.copy()
    changed[mine] = np.random.default_rng(8).integers(0, 10, changed[mine].shape)
    other = in_parts(rows_of(states_trace(changed, document)))
    assert np.array_equal(other.fold, rows.fold)
    one, two = network_training.Trainer(rows, PLAN), network_training.Trainer(other, PLAN)
    first, second = one.trained(1), two.trained(1)
    assert first.epoch == second.epoch == 3
    # Links of ridges are fitted for all parts together, until each is close enough.
    assert distance(first, second) < 1e-5
    theirs = np.flatnonzero(rows.fold != 1)
    np.testing.assert_allclose(one.log_weights(first, theirs), two.log_weights(second, theirs), atol=1e-3)
    assert distance(one.trained(0), two.trained(0)) > 1e-3


def distance(one, other):
    """The largest difference of parameters of two networks."""
    theirs = other.network.state_dict()
    return max(float((value - theirs[name]).abs().max()) for name, value in one.network.state_dict().items())


@pytest.mark.usefixtures("later_is_better")
def test_a_target_sees_no_choice_of_its_own_layer_or_of_later_ones():
    length, states = 15, states_of(small_trace()).reshape(20, 15, 4)
    # The first four documents are left out together, and equal but for some layers of the last token.
    states[1:4] = states[0]
    for layer in (1, 2, 3):
        states[layer, -1, layer:] = (states[0, -1, layer:] + 3) % 10
    trace = states_trace(states.reshape(-1, 4), np.repeat(np.arange(20), length))
    rows = rows_with_folds(trace, [0] * 4 + [1, 2, 3, 4] * 4)
    trainer = network_training.Trainer(in_parts(rows), PLAN)
    trained = trainer.trained(0)
    assert trained.epoch == 3
    found = trainer.log_weights(trained, np.arange(length - 1, 4 * length, length))
    for layer in (1, 2, 3):
        # Target i is layer i + 1.
        np.testing.assert_allclose(found[:layer, layer], found[:layer, 0], atol=1e-6)
        assert layer == 3 or not np.allclose(found[layer:, layer], found[layer:, 0], atol=1e-3)


@pytest.mark.usefixtures("later_is_better")
def test_the_seed_decides():
    rows = rows_of(small_trace())
    one, again, other = (
        total(network.score_networks(rows, registered("network"), "subset", replace(PLAN, seed=seed)))
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, again)
    assert one[BITS] != other[BITS]


def test_only_on_request_and_only_with_three_folds():
    trace = small_trace(documents=6)
    assert make_board(rows_of(trace), "subset", BoardPlan(), specs=registered("network")) == ()
    for folds in ([0] * 6, [0, 1] * 3):
        rows = rows_with_folds(trace, folds)
        assert make_board(rows, "subset", PLAN, specs=registered("network")) == ()
    one_layer = rows_of(small_trace(layers=1))
    assert make_board(one_layer, "subset", PLAN, specs=registered("network")) == ()


def test_without_torch_one_line_names_what_to_install(monkeypatch):
    monkeypatch.setattr(network, "find_spec", lambda name: None)
    with pytest.raises(RoutestatError, match=r"^network: expected .*torch.*routestat\[network\]") as caught:
        network.score_networks(rows_of(small_trace(documents=6)), registered("network"), "subset", PLAN)
    assert "\n" not in str(caught.value)


def test_every_known_choice_is_scored_where_layers_differ(monkeypatch):
    monkeypatch.setattr(network_training, "EPOCHS", 1)
    rng = np.random.default_rng(5)
    routers = (Router(0, 5, 2), Router(1, 7, 1), Router(3, 6, 3))
    experts = np.zeros((240, 3, 3), int)
    for at, router in enumerate(routers):
        drawn = rng.random((240, router.n_experts)).argsort(axis=1)[:, : router.top_k]
        experts[:, at, : router.top_k] = np.sort(drawn, axis=1)
    experts[rng.random((240, 3)) < 0.2] = -1
    rows = rows_of(trace_of(experts, np.repeat(np.arange(12), 20), routers=routers))
    found = network.score_networks(rows, registered("network"), "expert", PLAN)
    assert [score.router for score in found] == ["L01", "L03"]
    for score in found:
        target = next(r for r in routers if r.name == score.router)
        assert score.n_tokens == int(rows.known(target).sum())
        assert np.isfinite(score.sums).all()
        assert score.cost.parameters > 0
        assert score.cost.multiply_adds > network_training.WIDTH**2


def test_where_some_folds_are_scored_one_network_is_trained_and_learns_from_none_of_them(monkeypatch):
    monkeypatch.setattr(network_training, "EPOCHS", 1)
    trace = small_trace()
    rows = replace(rows_of(trace), scored_folds=(2,))
    parts = in_parts(rows)
    assert parts.scored_folds == (0,)
    assert np.array_equal(parts.fold == 0, rows.fold == 2)
    assert np.unique(parts.fold).size == PARTS
    ticks = []
    found = network.score_networks(
        rows, registered("network"), "subset", PLAN, lambda what, done, steps: ticks.append((done, steps))
    )
    assert {score.n_tokens for score in found} == {int((rows.fold == 2).sum())}
    assert ticks[-1] == (4, 4)
    assert [done for done, _ in ticks] == sorted(done for done, _ in ticks)


def test_more_tokens_have_fewer_epochs_and_then_only_some_are_used(monkeypatch):
    narrow, wide = [(Router(at, experts, 2),) * 10 for at, experts in ((1, 8), (2, 256))]
    epochs, most = network_training.plan_training(10_000, 5, narrow)
    assert epochs == network_training.EPOCHS
    assert most > 10_000
    few, least = network_training.plan_training(10_000_000, 5, narrow)
    assert few == network_training.LEAST_EPOCHS
    assert few * least * 10 <= network_training.MOST_CHOICES
    assert network_training.plan_training(1_000_000, 5, wide)[1] * 10 * 256 <= network_training.MOST_NUMBERS
    monkeypatch.setattr(network_training, "MOST_CHOICES", 300)
    found = network.score_networks(rows_of(small_trace()), registered("network"), "subset", PLAN)
    # 300 choices are 33 tokens in 3 epochs of 3 targets; of the 240 two documents are kept back.
    assert "trained on 16% of their tokens" in found[0].note


def test_features_by_hand():
    experts = np.array([[[0, 1], [2, 4]], [[1, 3], [-1, -1]], [[0, 2], [1, 2]]])
    trace = trace_of(experts, np.zeros(3, int), np.array([5, 6, 5]))
    history = NetworkHistory(rows_of(trace))
    batch = history.batch(np.arange(3), np.zeros((3, 1, 5)))
    none, (head, layers) = history.features, (batch.head, batch.layers)
    # No previous token, its two layers, four ids; then the first layer of the token itself.
    last = 1 + 5 + 5 + (none - 16)
    assert none == last + 5
    assert head[:, 0].tolist() == [0, none, none]
    assert head[:, 1:5].tolist() == [[none] * 4, [1, 2, 8, 10], [2, 4, none, none]]
    known = (head[:, 5:] != none).tolist()
    assert known == [[True, False, False, False], [True, True, False, False], [True, True, True, False]]
    assert head[0, 5] == head[2, 5] != none
    assert head[2, 6] - head[1, 5] == head[1, 6] - head[0, 5] == (none - 16) // 4
    assert layers[:, 0].tolist() == [[last, last + 1], [last + 1, last + 3], [last, last + 2]]
    assert batch.chosen[:, 0].tolist() == [[2, 4], [-1, -1], [1, 2]]
