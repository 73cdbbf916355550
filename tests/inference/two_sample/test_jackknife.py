"""The jackknife of two samples with documents of unequal length: the bias that is left, and the coverage."""

import numpy as np
import pytest

from routestat.inference.two_sample.distributions import compare_distributions, divergence_bits
from routestat.inference.two_sample.intervention import target_difference
from routestat.inference.two_sample.jackknife import jackknife
from routestat.inference.two_sample.samples import TwoSamples

GROUPS, STATES = 40, 8


def documents(rng: np.random.Generator, share: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Counts `[group, state]` of one distribution in both samples, lengths of a Pareto tail.

    Every document deviates in its own way, in both samples alike; the second holds a random part of its tokens,
    `share` on average, or all of them.
    """
    length = np.minimum(20_000, 60 * (1 + rng.pareto(1.2, GROUPS))).astype(int)
    part = (
        length if share == 1 else np.maximum(1, length * rng.beta(2.0, 2.0 / share - 2.0, GROUPS)).astype(int)
    )
    own = np.exp(rng.normal(0.0, 0.6, (GROUPS, STATES)))
    own /= own.sum(axis=1, keepdims=True)
    other = own * np.exp(rng.normal(0.0, 0.3, (GROUPS, STATES)))
    return rng.multinomial(length, own), rng.multinomial(part, other / other.sum(axis=1, keepdims=True))


def textbook(a: np.ndarray, b: np.ndarray, paired: bool) -> float:
    """G F - (G - 1) mean F_-g, in either sample or in both at once."""
    total_a, total_b = a.sum(axis=0)[None], b.sum(axis=0)[None]
    whole = float(divergence_bits(total_a, total_b)[0])
    if paired:
        return whole - (len(a) - 1) * float((divergence_bits(total_a - a, total_b - b) - whole).mean())
    shifts = (divergence_bits(total_a - a, total_b), divergence_bits(total_a, total_b - b))
    return whole - sum((len(left) - 1) * float((left - whole).mean()) for left in shifts)


@pytest.mark.parametrize("kind", ["unpaired", "paired", "intervention"])
def test_unequal_documents_leave_little_of_the_bias(kind: str) -> None:
    """The true divergence is 0: the plug-in's mean is all bias, of which the textbook form keeps two fifths."""
    rng, found = np.random.default_rng(7), []
    for _ in range(300):
        a, b = documents(rng, 0.5 if kind == "intervention" else 1.0)
        b = documents(rng)[1] if kind == "unpaired" else b
        if kind == "intervention":
            estimate = target_difference(a, b).js_bits
        else:
            estimate = compare_distributions(a, b, paired=kind == "paired").jsd
        if np.isfinite(estimate.value) and np.isfinite(estimate.low):
            found.append((estimate.plugin, textbook(a, b, kind != "unpaired"), estimate.value))
    assert len(found) > 200
    plugin, plain, weighted = np.mean(found, axis=0)
    error = np.std(found, axis=0)[2] / np.sqrt(len(found))
    print(f"{kind}: plug-in {plugin:.5f}, textbook {plain:.5f}, weighted {weighted:.5f} (error {error:.5f})")
    assert plain > plugin / 4
    assert abs(weighted) < plugin / 5 + 2 * error


def test_groups_of_one_size_are_the_textbook_s() -> None:
    rng = np.random.default_rng(3)
    a, b = (rng.multinomial(50, rng.dirichlet(np.ones(5), 9)) for _ in range(2))
    for paired in (False, True):
        samples = TwoSamples(a[:, None], b[:, None], paired)
        found = jackknife(divergence_bits, samples)
        assert found.value == pytest.approx(textbook(a, b, paired), rel=1e-10)
