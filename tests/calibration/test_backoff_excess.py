"""Excess log loss of the back-off and of textbook smoothing on known distributions of order 2."""

import numpy as np
import pytest

from routestat.inference.smoothing.backoff import fit_distribution
from tests.oracle.kneser_ney import discount, excess_bits, kneser_ney, krichevsky_trofimov, laplace

KINDS = ["order 0", "order 1", "rows 0.5", "rows 2", "rows 20", "rows 200", "sums"]


def truth(rng: np.random.Generator, k: int, kind: str) -> np.ndarray:
    """A joint distribution `[x, y, z]`; "rows s": rows of order 2 are Dirichlet of sum s around order 1."""
    pairs = rng.dirichlet(np.full(k, 3.0))[:, None] * rng.dirichlet(np.full(k, 0.5), k)
    if kind == "order 0":
        distribution = np.broadcast_to(rng.dirichlet(np.full(k, 3.0)), (k, k, k))
    elif kind == "order 1":
        distribution = np.broadcast_to(rng.dirichlet(np.full(k, 0.5), k), (k, k, k))
    elif kind == "sums":
        distribution = np.full((k, k, k), 0.3 / k)
        x, y = np.indices((k, k))
        distribution[x, y, (x + y) % k] += 0.7
    else:
        shape = float(kind.split()[1]) * rng.dirichlet(np.full(k, 0.5), k)
        drawn = rng.standard_gamma(np.broadcast_to(shape, (k, k, k))) + 1e-12
        distribution = drawn / drawn.sum(axis=2, keepdims=True)
    joint = pairs[:, :, None] * distribution
    return joint / joint.sum()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("density", [0.1, 1.4, 14])
@pytest.mark.parametrize("k", [12, pytest.param(28, marks=pytest.mark.slow)])
def test_no_rule_of_textbooks_loses_fewer_bits(k: int, density: float, kind: str) -> None:
    lost = []
    for seed in range(4):
        rng = np.random.default_rng([seed, k, KINDS.index(kind)])
        joint = truth(rng, k, kind)
        counts = rng.multinomial(round(density * k**3), joint.ravel()).reshape(k, k, k)
        distributions = (
            fit_distribution(counts).distribution,
            kneser_ney(counts),
            laplace(counts),
            krichevsky_trofimov(counts),
        )
        lost.append([excess_bits(joint, distribution) for distribution in distributions])
    ours, *others = np.mean(lost, axis=0).tolist()
    figures = f"{kind}, N/K³ {density}: {ours:.4f} bits beyond the truth; Kneser-Ney, Laplace, KT {others}"
    assert ours > 0
    assert ours <= min(others), figures


def test_kneser_ney_by_hand() -> None:
    counts = np.zeros((2, 2, 2), int)
    counts[0, 0], counts[1, 0], counts[0, 1] = (2, 1), (1, 0), (0, 1)
    # Met once: three cells, twice: one; d = 3/5. By number of x: y = 0 (2, 1), y = 1 (0, 1), d = 2/4.
    # By number of y: (1, 2), d = 1/3, so z has (2/3 + 1/3) / 3 = 1/3 and 2/3.
    assert discount(counts) == pytest.approx(3 / 5)
    found = kneser_ney(counts)
    after_0 = np.array([1.5 + 1 / 3, 0.5 + 2 / 3]) / 3
    after_1 = np.array([0.5 * 1 / 3, 0.5 + 0.5 * 2 / 3])
    np.testing.assert_allclose(found[0, 0], (np.array([1.4, 0.4]) + 1.2 * after_0) / 3)
    np.testing.assert_allclose(found[0, 0], [32 / 45, 13 / 45])
    np.testing.assert_allclose(found[1, 0], [23 / 30, 7 / 30])
    np.testing.assert_allclose(found[0, 1], [0.1, 0.9])
    # Never met: the distribution after y alone.
    np.testing.assert_allclose(found[1, 1], after_1)


def test_adding_by_hand() -> None:
    counts = np.array([[[3, 1, 0], [0, 0, 0]]])
    np.testing.assert_allclose(laplace(counts), [[[4 / 7, 2 / 7, 1 / 7], [1 / 3, 1 / 3, 1 / 3]]])
    np.testing.assert_allclose(
        krichevsky_trofimov(counts), [[[7 / 11, 3 / 11, 1 / 11], [1 / 3, 1 / 3, 1 / 3]]]
    )


@pytest.mark.parametrize("density", [0.0, 0.05, 1, 100])
def test_every_rule_gives_distributions(density: float) -> None:
    counts = np.random.default_rng(1).poisson(density, (4, 5, 6))
    counts[1] = 0
    for rule in (
        kneser_ney,
        laplace,
        krichevsky_trofimov,
        lambda table: fit_distribution(table).distribution,
    ):
        distribution = rule(counts)
        assert distribution.shape == counts.shape
        assert (distribution > 0).all()
        np.testing.assert_allclose(distribution.sum(axis=2), 1.0, rtol=1e-12)


def test_excess_by_hand() -> None:
    joint = np.array([[[0.25, 0.25], [0.5, 0.0]]])
    distribution = np.array([[[0.5, 0.5], [0.25, 0.75]]])
    # Half of the tokens lose nothing, half lose log2 4.
    assert excess_bits(joint, distribution) == pytest.approx(1.0)
    assert excess_bits(joint, np.array([[[0.5, 0.5], [1.0, 1e-9]]])) == pytest.approx(0.0)
