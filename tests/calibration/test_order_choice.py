"""Held-out gains choose the order: seldom too long a memory, however documents tie their tokens, and never too short.

Order 1 is chosen where the interval by documents of its gain over order 0 lies above zero, order 2 where that of its
gain over the better of the two does.
"""

from collections.abc import Callable

import numpy as np
import pytest

from routestat.inference.base.estimate import ratio
from routestat.inference.smoothing.context_counts import TokenRows
from routestat.inference.smoothing.held_out import NestedContexts, held_out
from routestat.traces.synthetic import second_order
from tests.calibration.nulls import DOCUMENTS, INDEPENDENT, document_lengths, states

pytestmark = pytest.mark.slow

K = 6
NESTED_BY_NAME: dict[str, NestedContexts] = {"0": [()], "1": [(), ("b",)], "2": [(), ("b",), ("b", "a")]}
Layers = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def chosen(document: np.ndarray, a: np.ndarray, b: np.ndarray, target: np.ndarray) -> tuple[int, float]:
    """The order, and the gain of order 2 in bits per token."""
    rows = TokenRows(target, int(target.max()) + 1, document, {"a": a, "b": b})
    scored = held_out(rows, NESTED_BY_NAME)
    zero, one, two = (scored.bits[name] for name in "012")
    better = one if one.sum() < zero.sum() else zero
    longest = ratio(better - two, scored.tokens)
    if longest.low > 0:
        return 2, longest.value
    return int(ratio(zero - one, scored.tokens).low > 0), longest.value


def repeated(rng: np.random.Generator, layers: Layers, times: float) -> Layers:
    """Every token a geometric number of times, in its document."""
    copies = rng.geometric(1 / times, len(layers[0]))
    document, a, b, target = (np.repeat(layer, copies) for layer in layers)
    return document, a, b, target


def after(rng: np.random.Generator, source: np.ndarray, coupling: float) -> np.ndarray:
    """The next layer: a distribution of the source's own with probability `coupling`, else the layer's."""
    own = coupling * rng.dirichlet(np.full(K, 0.5), K) + (1 - coupling) * rng.dirichlet(np.full(K, 3.0))
    return (rng.random((len(source), 1)) > own.cumsum(axis=1)[source, :-1]).sum(axis=1)


def order_one(rng: np.random.Generator, own: bool, times: float) -> Layers:
    """A chain over three layers; documents have a first-layer distribution of their own, and tokens repeat."""
    document = np.repeat(
        np.arange(60), np.maximum(1, document_lengths(rng, 60, 40, "exponential") // int(times))
    )
    first = states(rng, document, K, DOCUMENTS if own else INDEPENDENT)
    second = after(rng, first, 0.7)
    return repeated(rng, (document, first, second, after(rng, second, 0.7)), times)


def order_zero(rng: np.random.Generator, own: bool, times: float) -> Layers:
    """Layers independent of each other; documents have distributions of their own in each, drawn apart."""
    document = np.repeat(
        np.arange(60), np.maximum(1, document_lengths(rng, 60, 40, "exponential") // int(times))
    )
    a, b, target = (states(rng, document, K, DOCUMENTS if own else INDEPENDENT) for _ in range(3))
    return repeated(rng, (document, a, b, target), times)


def share_wrong(
    make: Callable[[np.random.Generator, bool, float], Layers], own: bool, times: float, runs: int, truth: int
) -> tuple[float, float]:
    """Share of runs that choose a longer memory than there is, and the mean gain of order 2."""
    results = [
        chosen(*make(np.random.default_rng([run, own, int(times)]), own, times)) for run in range(runs)
    ]
    orders, gains = zip(*results, strict=True)
    return float(np.mean(np.array(orders) > truth)), float(np.mean(gains))


# Of a longer sequence of contexts the shortest distributions are rid of copies, the last of a shorter one is not: the
# gain looks like memory: one run in ten, with gains of a hundredth of a bit.
copies_look_like_memory = pytest.mark.xfail(
    strict=True, reason="gains by a base without copies are taken for memory"
)

KINDS = [(False, 1.0), (True, 1.0), (False, 4.0), (True, 4.0)]


@pytest.mark.parametrize(
    ("make", "truth", "runs", "own", "times"),
    [
        *((order_one, 1, 120, *kind) for kind in KINDS),
        *((order_zero, 0, 60, *kind) for kind in KINDS[:2]),
        *(pytest.param(order_zero, 0, 60, *kind, marks=copies_look_like_memory) for kind in KINDS[2:]),
    ],
)
def test_no_longer_memory_is_chosen_than_there_is(
    make: Callable[[np.random.Generator, bool, float], Layers],
    truth: int,
    runs: int,
    own: bool,
    times: float,
    found: list[str],
) -> None:
    share, gain = share_wrong(make, own, times, runs, truth)
    line = (
        f"order {truth}, own distributions {own}, tokens {times:g} times: longer memory {share:.3f} of {runs}, "
        f"mean gain of order 2 {gain:+.4f} bits"
    )
    found.append(line)
    assert share <= 0.025 + np.sqrt(0.025 * 0.975 / runs), line
    assert gain < 0, line


def ten_times(rng: np.random.Generator, layers: Layers) -> Layers:
    """Every token ten times, in its document."""
    document, a, b, target = (np.repeat(layer, 10) for layer in layers)
    return document, a, b, target


def unequally(rng: np.random.Generator, layers: Layers) -> Layers:
    """Most tokens once or twice, some up to 200 times: boilerplate among text."""
    copies = np.minimum(rng.zipf(1.8, len(layers[0])), 200)
    document, a, b, target = (np.repeat(layer, copies) for layer in layers)
    return document, a, b, target


@pytest.mark.parametrize(
    ("make", "truth", "copied"),
    [
        (order_one, 1, ten_times),
        pytest.param(order_zero, 0, ten_times, marks=copies_look_like_memory),
        pytest.param(order_one, 1, unequally, marks=copies_look_like_memory),
    ],
)
def test_copies_in_a_document_are_no_memory(
    make: Callable[[np.random.Generator, bool, float], Layers],
    truth: int,
    copied: Callable[[np.random.Generator, Layers], Layers],
    found: list[str],
) -> None:
    runs, orders, gains = 60, [], []
    for run in range(runs):
        rng = np.random.default_rng([run, 1, 7])
        order, gain = chosen(*copied(rng, make(rng, True, 1.0)))
        orders.append(order)
        gains.append(gain)
    share = float(np.mean(np.array(orders) > truth))
    line = (
        f"order {truth}, copied {copied.__name__}: longer memory {share:.3f} of {runs}, shorter "
        f"{np.mean(np.array(orders) < truth):.3f}, mean gain of order 2 {np.mean(gains):+.4f} bits"
    )
    found.append(line)
    assert share <= 0.025 + np.sqrt(0.025 * 0.975 / runs), line
    assert np.mean(gains) < 0, line
    assert np.mean(np.array(orders) < truth) < 0.05, line


@pytest.mark.parametrize("noise", [0.3, 0.6])
@pytest.mark.parametrize("documents", [24, 72])
def test_a_memory_of_two_layers_alone_is_always_found(noise: float, documents: int, found: list[str]) -> None:
    orders, gains = [], []
    for run in range(25):
        rng = np.random.default_rng([run, documents])
        made = second_order(
            noise=noise,
            rng=rng,
            n_experts=K,
            top_k=1,
            layers=3,
            documents=documents,
            mean_length=4 * K**3 // documents,
        )
        layers = made.states.astype(np.int64).T
        order, gain = chosen(made.document.astype(np.int64), *layers)
        orders.append(order)
        gains.append(gain)
    assert made.truth.cmi_bits is not None
    truth = made.truth.cmi_bits[0]
    line = (
        f"second order, noise {noise}, {documents} documents, N/K^3 of 4: order 2 in "
        f"{np.mean(np.array(orders) == 2):.2f}, gain {np.mean(gains):.3f} of {truth:.3f} bits"
    )
    found.append(line)
    assert set(orders) == {2}, line
    assert 0.5 * truth < np.mean(gains) < truth, line


def test_a_memory_of_one_layer_is_always_found(found: list[str]) -> None:
    orders = [chosen(*order_one(np.random.default_rng(run), True, 1.0))[0] for run in range(30)]
    found.append(f"order 1 chosen in {np.mean(np.array(orders) == 1):.2f}")
    assert set(orders) == {1}
