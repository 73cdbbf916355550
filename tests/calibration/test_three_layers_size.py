"""How often cells of three layers depart from a chain of order 1 that holds, where tokens of a document depend."""

import numpy as np
import pytest

from routestat.counting.document_sample import take_sample
from routestat.counting.three_layers import ThreeLayers, count_three_layers
from routestat.inference.association.three_layer_cells import three_layer_cells
from routestat.traces.metadata import TraceMeta, routers_like
from routestat.traces.store import Trace
from tests.calibration.nulls import document_distributions, document_lengths, repeat_earlier

#: Documents differ in the first layer given the middle and, independently, in the last given the middle.
CONCENTRATION = 20.0


def chain_of_documents(
    rng: np.random.Generator,
    lengths: np.ndarray,
    *,
    top_k: int = 2,
    repeat: float = 0.4,
    concentration: float | None = CONCENTRATION,
) -> ThreeLayers:
    """Count three layers of 8 experts of which the last is independent of the first given the middle one."""
    routers = routers_like((0, 1, 2), 8, top_k)
    k = routers[0].alphabet.size
    document = np.repeat(np.arange(len(lengths)), lengths)
    middle = _drawn(rng, document_distributions(rng, len(lengths), k, concentration)[document])
    ends = []
    for _ in range(2):
        channel = rng.dirichlet(np.full(k, 0.5), k) + 1e-6
        channel = 0.5 * channel / channel.sum(axis=1, keepdims=True) + 0.5 * rng.dirichlet(np.full(k, 5.0))
        if concentration is None:
            ends.append(_drawn(rng, channel[middle]))
            continue
        own = rng.standard_gamma(np.broadcast_to(2 * concentration * channel, (len(lengths), k, k)))
        own = (own + 1e-12) / (own + 1e-12).sum(axis=2, keepdims=True)
        ends.append(_drawn(rng, own[document, middle]))
    # A token may repeat all three choices of the one before.
    row = repeat_earlier(rng, np.arange(len(document)), document, repeat)
    states = np.stack([ends[0], middle, ends[1]], axis=1)[row].astype(routers[0].alphabet.dtype)
    position = np.arange(len(document)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    trace = Trace.from_arrays(TraceMeta(routers), document, position, states)
    return count_three_layers(take_sample(trace), routers, "subset")


def _drawn(rng: np.random.Generator, probabilities: np.ndarray) -> np.ndarray:
    uniform = rng.random(len(probabilities))[:, None]
    return np.minimum((probabilities.cumsum(axis=1) < uniform).sum(axis=1), probabilities.shape[1] - 1)


def beyond(rng: np.random.Generator, runs: int, documents: int, mean: int, kind: str, **options) -> tuple:
    """Shares of tested cells beyond 1.96, of those with 5 tokens expected or more, and of runs with a finding."""
    every, frequent, any_found = [], [], 0
    for _ in range(runs):
        tests = three_layer_cells(
            chain_of_documents(rng, document_lengths(rng, documents, mean, kind), **options)
        ).from_chain
        tested = np.isfinite(tests.z)
        far = np.abs(tests.z) > 1.96
        every.append(far[tested].mean())
        often = tested & (tests.expected >= 5)
        frequent.append(far[often].mean() if often.any() else np.nan)
        any_found += bool((tests.log10_q <= np.log10(0.05)).any())
    known = [share for share in frequent if np.isfinite(share)]
    return np.mean(every), np.mean(known) if known else np.nan, any_found / runs


@pytest.mark.parametrize(("repeat", "kind"), [(0.4, "equal"), (0.0, "exponential")])
def test_cells_keep_their_size_under_a_chain_with_document_effects(repeat: float, kind: str):
    rng = np.random.default_rng(int(10 * repeat))
    every, frequent, found = beyond(rng, 6, 80, 100, kind, top_k=1, repeat=repeat)
    assert 0.01 < every < 0.08
    assert 0.02 < frequent < 0.08
    assert found <= 1 / 6


@pytest.mark.long
@pytest.mark.parametrize("top_k", [1, 2])
@pytest.mark.parametrize("documents", [30, 100, 250])
@pytest.mark.parametrize("kind", ["equal", "exponential"])
@pytest.mark.parametrize(
    ("repeat", "concentration"), [(0.0, None), (0.6, None), (0.0, CONCENTRATION), (0.4, CONCENTRATION)]
)
def test_sizes(top_k: int, documents: int, kind: str, repeat: float, concentration: float | None):
    rng, runs = np.random.default_rng(documents + top_k), 20
    every, frequent, found = beyond(
        rng, runs, documents, 100, kind, top_k=top_k, repeat=repeat, concentration=concentration
    )
    effects = "document effects" if concentration else "documents alike"
    print(
        f"8 choose {top_k}, {documents:3d} documents of {kind:11s} lengths, {effects:16s}, repeats {repeat:.1f}: "
        f"{every:.3f} of cells beyond 1.96, {frequent:.3f} of those with 5 tokens expected, "
        f"{found:.2f} of runs with q < .05 ({runs} runs)"
    )
    assert every <= 0.08
    assert found <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / runs)
