"""What placements gain on held-out documents: counted token by token, with too little data, and bad input."""

import itertools
import math

import numpy as np
import pytest

from routestat.errors import RoutestatError
from routestat.serving.placement.placement import Devices
from routestat.study.placement import PlacementPlan, place_experts
from routestat.traces.metadata import Router, TraceMeta, routers_like
from routestat.traces.store import Trace
from tests.oracle import placement_oracle as oracle


def trace_of(choices, document, routers, **more):
    """A trace of choices ``[layer][token, slot]``."""
    states = {
        router.name: router.alphabet.rank(np.sort(own, axis=1))
        for router, own in zip(routers, choices, strict=True)
    }
    position = np.concatenate([np.arange(n) for n in np.unique(document, return_counts=True)[1]])
    return Trace.from_arrays(TraceMeta(routers), document, position, states, **more)


def random_choices(routers, n_tokens, rng, inside=0.0, n_groups=2):
    """Choices that stay in the group of the token with a probability; groups are the experts modulo their number."""
    group = rng.integers(0, n_groups, n_tokens)
    found = []
    for router in routers:
        weight = rng.gamma(2.0, 1.0, router.n_experts)
        own = np.arange(router.n_experts) % n_groups == group[:, None]
        score = (
            np.log(weight)
            + rng.gumbel(size=own.shape)
            + np.where(own, 1, 0) * 50 * (rng.random((n_tokens, 1)) < inside)
        )
        found.append(np.argsort(-score, axis=1)[:, : router.top_k])
    return found


def documents(n, tokens):
    return np.repeat(np.arange(n), tokens)


def place(trace, devices, seed=0, **options):
    return place_experts(trace, PlacementPlan(devices, **options), np.random.default_rng(seed))


ROUTERS = (Router(1, 8, 2), Router(2, 6, 2), Router(5, 8, 3))


@pytest.mark.parametrize("devices", [Devices(2), Devices(2, 1, 2), Devices(2, 2)])
def test_figures_are_those_of_the_tokens_of_held_out_documents(devices):
    rng = np.random.default_rng(1)
    document = documents(24, 15)
    choices = random_choices(ROUTERS, len(document), rng, 0.5)
    found = place(trace_of(choices, document, ROUTERS), devices)
    assert (found.n_made_from, found.n_held_out, found.n_units_held_out) == (16, 8, 8)
    held = document % 3 == 0
    own, others = ([layer[rows].tolist() for layer in choices] for rows in (held, ~held))
    for result in found.results:
        for gain, moment in ((result.balance, "imbalance"), (result.device_affinity, "device")):
            for estimate, made_from, placement in (
                (gain.before, gain.before_made_from, found.default),
                (gain.after, gain.after_made_from, result.placement),
            ):
                count = oracle.imbalance_of_tokens if moment == "imbalance" else oracle.affinity_of_tokens
                value = estimate.plugin if moment == "imbalance" else estimate.value
                assert value == pytest.approx(count(placement, own))
                assert made_from == pytest.approx(count(placement, others))
        nodes = oracle.affinity_of_tokens(result.placement, own, oracle.nodes_with)
        assert result.node_affinity.after.value == pytest.approx(nodes)
        gain = result.device_affinity
        assert gain.gain.value == pytest.approx(gain.after.value - gain.before.value)
        loads = oracle.loads_of_tokens(result.placement, 1, own[1])
        assert result.loads_after[1] == pytest.approx(np.array(loads) / sum(loads))
        assert result.worst_balance.after.value == pytest.approx(np.max(result.balance.by_layer_after))
        assert result.balance.by_layer_after[1] == pytest.approx(max(loads) / np.mean(loads))


def test_a_gain_that_is_there_is_found_on_other_documents():
    routers, rng = routers_like(range(3), 8, 2), np.random.default_rng(2)
    document = documents(36, 60)
    found = place(trace_of(random_choices(routers, len(document), rng, 0.9), document, routers), Devices(2))
    balance, affinity = found.result("balance"), found.result("affinity")
    assert affinity.device_affinity.gain.low > 0.2
    assert affinity.device_affinity.after.value > 0.85
    assert balance.balance.gain.low > 0
    assert affinity.main is affinity.device_affinity
    assert balance.main is balance.balance
    assert affinity.optimality.method == "dynamic programming"
    assert balance.optimality.gap >= 0


def test_without_dependence_nothing_is_gained_on_other_documents():
    routers, rng = routers_like(range(3), 8, 2), np.random.default_rng(3)
    document = documents(60, 20)
    same = np.ones(8)
    choices = [np.argsort(-rng.gumbel(size=(len(document), 8)) * same, axis=1)[:, :2] for _ in routers]
    result = place(trace_of(choices, document, routers), Devices(4)).result("affinity")
    gain = result.device_affinity
    assert gain.gain.low < 0 < gain.gain.high
    assert gain.after_by_loads == pytest.approx(gain.after.value, abs=0.02)
    # On the documents it was made from there is a gain, which is chance.
    assert gain.after_made_from > gain.before_made_from + 0.005


def test_what_uneven_loads_alone_keep_together_is_no_dependence():
    """With independent layers the placement gains, and all of that is what its loads explain."""
    routers, rng = routers_like(range(3), 8, 2), np.random.default_rng(4)
    document = documents(60, 40)
    skew = np.linspace(2, -2, 8)
    score = [np.roll(skew, 3 * at) + rng.gumbel(size=(len(document), 8)) for at in range(3)]
    choices = [np.argsort(-one, axis=1)[:, :2] for one in score]
    found = place(trace_of(choices, document, routers), Devices(4))
    gain = found.result("affinity").device_affinity
    assert gain.gain.low > 0.03
    assert gain.after_by_loads - gain.before_by_loads == pytest.approx(gain.gain.value, abs=0.01)
    assert math.isnan(found.result("affinity").balance.after_by_loads)
    # By hand from the tokens: chances of two independent choices to be on one device.
    rows = document % 3 == 0
    device = [np.argsort(order, kind="stable") // 2 for order in found.result("affinity").placement.experts]
    loads = [np.bincount(device[at][one[rows]].ravel(), minlength=4) for at, one in enumerate(choices)]
    alone = [(a / a.sum()) @ (b / b.sum()) for a, b in itertools.pairwise(loads)]
    assert gain.after_by_loads == pytest.approx(np.mean(alone))


@pytest.mark.parametrize("memory", [1, 20_000])
def test_tables_that_do_not_fit_are_counted_again(memory):
    rng = np.random.default_rng(4)
    document = documents(30, 10)
    trace = trace_of(random_choices(ROUTERS, len(document), rng, 0.7), document, ROUTERS)
    one, two = (place(trace, Devices(2), groups=32, memory=size) for size in (1 << 30, memory))
    for a, b in zip(one.results, two.results, strict=True):
        assert all((x == y).all() for x, y in zip(a.placement.experts, b.placement.experts, strict=True))
        assert a.device_affinity.gain == b.device_affinity.gain
        assert a.balance.gain == b.balance.gain


def test_clusters_are_held_out_together():
    rng = np.random.default_rng(5)
    document = documents(12, 10)
    trace = trace_of(random_choices(ROUTERS, 120, rng), document, ROUTERS, clusters=document // 2 * 2)
    found = place(trace, Devices(2))
    assert (found.n_units_made_from, found.n_units_held_out) == (4, 2)
    assert (found.n_made_from, found.n_held_out) == (8, 4)


@pytest.mark.parametrize(
    ("n_documents", "words"), [(2, "1 independent unit: no test"), (9, "3 independent units")]
)
def test_few_held_out_units_have_a_value_without_an_interval(n_documents, words):
    rng = np.random.default_rng(6)
    document = documents(n_documents, 20)
    result = place(
        trace_of(random_choices(ROUTERS, len(document), rng), document, ROUTERS), Devices(2)
    ).results[0]
    for gain in (result.balance, result.device_affinity):
        for estimate in (gain.before, gain.after, gain.gain):
            assert np.isfinite(estimate.value)
            assert np.isnan(estimate.low)
            assert words in estimate.reason
    # Without an interval the figures are those of the documents, and the gain is their difference.
    balance = result.balance
    assert balance.before.value == pytest.approx(balance.by_layer_before.mean())
    assert balance.after.value == pytest.approx(balance.by_layer_after.mean())
    assert balance.gain.value == pytest.approx(balance.before.value - balance.after.value)


def test_one_document_is_placed_but_nothing_is_measured():
    rng = np.random.default_rng(7)
    found = place(trace_of(random_choices(ROUTERS, 50, rng), documents(1, 50), ROUTERS), Devices(2), pin=2)
    assert (found.n_made_from, found.n_held_out) == (1, 0)
    assert "none could be held out" in " ".join(found.notes)
    for result in found.results:
        for gain in (result.balance, result.worst_balance, result.device_affinity, result.node_affinity):
            for estimate in (gain.before, gain.after, gain.gain):
                assert np.isnan(estimate.value)
                assert "no documents were held out" in estimate.reason
            assert np.isfinite([gain.before_made_from, gain.after_made_from]).all()
        assert result.loads_after.sum(axis=1) == pytest.approx(np.ones(3))
    assert np.isnan(found.pins.static.value)
    assert "no documents were held out" in found.pins.lru.reason


def test_one_device_gains_nothing():
    rng = np.random.default_rng(7)
    document = documents(21, 5)
    for result in place(trace_of(random_choices(ROUTERS, 105, rng), document, ROUTERS), Devices(1)).results:
        assert result.balance.after.value == result.device_affinity.after.value == 1.0
        assert result.balance.gain.value == result.device_affinity.gain.value == 0.0


def test_one_layer_has_no_affinity():
    routers, rng = routers_like([4], 8, 2), np.random.default_rng(8)
    document = documents(30, 10)
    found = place(trace_of(random_choices(routers, 300, rng), document, routers), Devices(4))
    for result in found.results:
        assert np.isnan(result.device_affinity.gain.value)
        assert result.device_affinity.gain.reason == "one layer: there is no transition that could stay"
        assert np.isfinite(result.balance.gain.low)
    assert found.result("affinity").optimality.reason == "one layer: there is no transition"


def test_pins_are_those_of_other_documents_and_lru_is_replayed():
    routers, rng = routers_like([0, 1], 8, 2), np.random.default_rng(9)
    document = documents(21, 12)
    choices = random_choices(routers, len(document), rng)
    found = place(trace_of(choices, document, routers), Devices(2), pin=3).pins
    held = document % 3 == 0
    hits = lru_hits = 0
    for layer, pinned in zip(choices, found.experts, strict=True):
        loads = np.bincount(layer[~held].ravel(), minlength=8)
        assert pinned.tolist() == sorted(range(8), key=lambda e: (-loads[e], e))[:3]
        hits += np.isin(layer[held], pinned).sum()
        recent = []
        for token in np.sort(layer[held], axis=1).tolist():
            lru_hits += len(set(token) & set(recent))
            recent = ([e for e in recent if e not in token] + token)[-3:]
    total = 2 * 2 * held.sum()
    assert found.static.value == pytest.approx(hits / total)
    assert found.lru.value == pytest.approx(lru_hits / total)
    assert found.difference.value == pytest.approx((hits - lru_hits) / total)
    assert found.difference.low < found.difference.value < found.difference.high
    assert found.uniform == pytest.approx(3 / 8)


def test_a_run_is_repeated_by_its_seed():
    rng = np.random.default_rng(10)
    document = documents(18, 10)
    trace = trace_of(random_choices(ROUTERS, 180, rng), document, ROUTERS)
    one, two = (place(trace, Devices(2), seed=5, threads=n).result("affinity") for n in (1, 2))
    assert all((a == b).all() for a, b in zip(one.placement.experts, two.placement.experts, strict=True))
    assert one.device_affinity.gain == two.device_affinity.gain


def test_layers_without_a_recorded_router_between_them_are_noted():
    rng = np.random.default_rng(11)
    found = place(trace_of(random_choices(ROUTERS, 60, rng), documents(6, 10), ROUTERS), Devices(2))
    assert any("between layers 2 and 5" in note for note in found.notes)


@pytest.mark.parametrize(
    ("devices", "options", "words"),
    [
        (Devices(3), {}, "devices that divide the 8 slots"),
        (Devices(2, 1, 8), {}, "at most 6 redundant slots"),
        (Devices(2), {"objectives": ("speed",)}, "objective: expected balance or affinity, got speed"),
        (Devices(2), {"objectives": ()}, "objective: expected balance or affinity, got none"),
        (Devices(2), {"pin": 9}, "expected 1 to 8 experts per layer to pin, got 9"),
        (Devices(2), {"layers": (7,)}, "7"),
    ],
)
def test_bad_plans_are_refused(devices, options, words):
    trace = trace_of(random_choices(ROUTERS, 20, np.random.default_rng(0)), documents(2, 10), ROUTERS)
    with pytest.raises(RoutestatError, match=words):
        place(trace, devices, **options)


def test_a_trace_without_tokens_is_refused():
    empty = np.zeros(0, np.int64)
    trace = Trace.from_arrays(
        TraceMeta(ROUTERS), empty, empty, {router.name: np.zeros(0, np.int64) for router in ROUTERS}
    )
    with pytest.raises(RoutestatError, match="holds no tokens: there is nothing to place"):
        place(trace, Devices(2))
