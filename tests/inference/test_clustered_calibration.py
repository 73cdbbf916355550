"""Under true independence of dependent tokens the clustered test must reject as often as it says.

Documents differ in what they prefer and tokens repeat their predecessors at both ends, so source and target
share nothing but are far from independent draws. The i.i.d. test must be seen to fail on the same data.
"""

import math
from itertools import pairwise

import numpy as np
import pytest

from routestat.inference.independence import independence, independence_experts

RUNS = 300
MONTE_CARLO = math.sqrt(0.05 * 0.95 / RUNS)


def lengths(rng: np.random.Generator, groups: int, tokens: int, equal: bool) -> np.ndarray:
    if equal:
        return np.full(groups, tokens)
    return np.maximum(5, rng.exponential(tokens, groups)).astype(int)


def repeat_earlier(
    rng: np.random.Generator, chosen: np.ndarray, document: np.ndarray, stay: float
) -> np.ndarray:
    """Each token takes over its predecessor's choice with probability `stay`, within its document."""
    fresh = rng.random(len(document)) >= stay
    fresh[0] = True
    fresh[1:] |= document[1:] != document[:-1]
    return chosen[np.maximum.accumulate(np.where(fresh, np.arange(len(document)), 0))]


def choices(
    rng: np.random.Generator, document: np.ndarray, k: int, top: int, spread: float, stay: float
) -> np.ndarray:
    """Experts `[token, top]`: the largest of document taste plus Gumbel noise, then repeats."""
    taste = rng.normal(0, spread, (document.max() + 1, k))
    noise = taste[document] + rng.gumbel(size=(len(document), k))
    return repeat_earlier(rng, np.argsort(-noise, axis=1)[:, :top], document, stay)


def states(
    rng: np.random.Generator, groups: int, tokens: int, equal: bool, coupling: float = 0.0
) -> np.ndarray:
    k, size = 8, lengths(rng, groups, tokens, equal)
    document = np.repeat(np.arange(groups), size)
    source, target = (choices(rng, document, k, 1, 0.8, 0.4)[:, 0] for _ in range(2))
    target = np.where(rng.random(len(target)) < coupling, source, target)
    return np.bincount((document * k + source) * k + target, minlength=groups * k * k).reshape(groups, k, k)


@pytest.mark.parametrize(("groups", "tokens", "equal"), [(60, 100, True), (60, 100, False), (150, 60, True)])
def test_states_reject_at_the_level_they_claim(groups: int, tokens: int, equal: bool) -> None:
    rng = np.random.default_rng([1, groups, tokens, equal])
    results = [independence(states(rng, groups, tokens, equal)) for _ in range(RUNS)]
    clustered = np.mean([r.p_clustered < 0.05 for r in results])
    first = np.mean([r.p_clustered_first_order < 0.05 for r in results])
    iid = np.mean([r.p_chi2 < 0.05 for r in results])
    effect = np.mean([r.design_effect for r in results])
    print(
        f"{groups} documents: clustered {clustered:.3f}, first order {first:.3f}, i.i.d. {iid:.3f}, ", end=""
    )
    print(f"Monte-Carlo error {MONTE_CARLO:.3f}, design effect {effect:.2f}")
    assert 0.02 <= clustered <= 0.08
    assert iid > 0.5
    assert effect > 1.5


def test_states_p_values_are_spread_evenly() -> None:
    rng = np.random.default_rng(2)
    p = np.array([independence(states(rng, 80, 60, True)).p_clustered for _ in range(RUNS)])
    for level in (0.1, 0.25, 0.5, 0.75):
        assert np.mean(p < level) == pytest.approx(level, abs=4 * math.sqrt(level * (1 - level) / RUNS)), (
            level
        )


def test_states_find_a_planted_coupling() -> None:
    rng = np.random.default_rng(3)
    found = np.mean(
        [independence(states(rng, 60, 100, False, coupling=0.12)).p_clustered < 0.05 for _ in range(60)]
    )
    assert found > 0.9


def experts(
    rng: np.random.Generator, groups: int, tokens: int, equal: bool, coupling: float = 0.0
) -> list[np.ndarray]:
    k, size = 12, lengths(rng, groups, tokens, equal)
    document = np.repeat(np.arange(groups), size)
    chosen = [choices(rng, document, k, 3, 0.8, 0.5) for _ in range(2)]
    same = rng.random(len(document)) < coupling
    chosen[1][same] = chosen[0][same]
    x, y = ((c[:, :, None] == np.arange(k)).any(axis=1).astype(float) for c in chosen)
    starts = np.concatenate([[0], np.cumsum(size)])
    tables = [x[a:b].T @ y[a:b] for a, b in pairwise(starts)]
    return [np.array(tables), np.add.reduceat(x, starts[:-1]), np.add.reduceat(y, starts[:-1]), size]


@pytest.mark.parametrize("equal", [True, False])
def test_experts_reject_at_the_level_they_claim(equal: bool) -> None:
    rng = np.random.default_rng([4, equal])
    data = [experts(rng, 60, 80, equal) for _ in range(RUNS)]
    clustered = np.mean([independence_experts(*d).p_clustered < 0.05 for d in data])
    iid = np.mean([independence(d[0].sum(axis=0)).p_chi2 < 0.05 for d in data])
    print(
        f"3 of 12 experts: clustered {clustered:.3f}, i.i.d. {iid:.3f}, Monte-Carlo error {MONTE_CARLO:.3f}"
    )
    assert 0.02 <= clustered <= 0.08
    assert iid > 0.5


def test_experts_find_a_planted_coupling() -> None:
    rng = np.random.default_rng(5)
    found = np.mean(
        [
            independence_experts(*experts(rng, 60, 80, False, coupling=0.15)).p_clustered < 0.05
            for _ in range(60)
        ]
    )
    assert found > 0.9
